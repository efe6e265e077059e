// SPDX-License-Identifier: BSD-3-Clause
/* Sockets for programs on this machine: root, the daemon's own user, and members of one group may connect. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "lib/err.h"

#define LOCAL_GROUP "sluice"

/* The group's number; -1: there's no such group. */
gid_t local_group(void);

/* Listens at @path for connections of @type (SOCK_STREAM, SOCK_SEQPACKET), in place of a dead one's socket: the caller
 * holds the instance's lock. Returns the fd, -errno. */
int local_listen(const char *path, int type, gid_t group, struct err *err);

/* Whether who connected on @fd may. */
bool local_allowed(int fd, gid_t group);
