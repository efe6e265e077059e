// SPDX-License-Identifier: BSD-3-Clause
/* Those who look on while packets flow: packet sockets in Linux (captures), and fp-cli (traces, over rte.sock). Control
 * thread. */
#pragma once

#include <poll.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/paths.h"

#define VIEWERS_FDS 5

/* Listens, and readies captures; what Linux lacks for them is logged. */
int viewers_open(const struct paths *paths, struct err *err);
void viewers_close(const struct paths *paths);

/* What to poll for; always VIEWERS_FDS, some of them -1. */
void viewers_fds(struct pollfd *ret);
/* What came of it; @now in milliseconds. */
void viewers_turn(const struct pollfd *fds, int64_t now);
