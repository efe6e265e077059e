// SPDX-License-Identifier: BSD-3-Clause
#pragma once

/* Tells systemd @state ("READY=1", "STATUS=...") over $NOTIFY_SOCKET (sd_notify(3)); nothing without it. */
void notify_systemd(const char *state);
