// SPDX-License-Identifier: BSD-3-Clause
/* Lock files that say whether a daemon of an instance lives (flock: gone with its process, however it ends). */
#pragma once

#include "lib/err.h"

/* Takes @path's lock for the rest of the process's life, and writes the process number into it. -EBUSY: another process
 * has it (@err names it). @what: the daemon, for the error. The file stays when the process ends: only the lock counts. */
int lock_take(const char *path, const char *what, const char *instance, struct err *err);

/* Whether a process holds it. */
bool lock_held(const char *path);
