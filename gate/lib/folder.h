// SPDX-License-Identifier: BSD-3-Clause
/* Hears what comes to a folder and what goes. */
#pragma once

/* A file descriptor (inotify, non-blocking) that is readable once something came to the folder @path or went, also the
 * folder itself; what is read tells nothing more. -errno: -ENOENT if there's no such folder. Close it. */
int folder_watch(const char *path);
