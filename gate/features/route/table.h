// SPDX-License-Identifier: BSD-3-Clause
/* fpmd: the rows of "route_table"; route.h has the rest. */
#pragma once

#include <sys/socket.h>

#include "features/route/route.h"
#include "fpmd/fpm.h"

/* For a new config file: forgets all. */
int route_tables_init(struct fpm *fpm, struct err *err);

/* Where the data path finds the root of a table that isn't main or local. */
_Atomic uint32_t *route_table_root(uint32_t row, uint8_t family);
