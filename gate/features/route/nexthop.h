// SPDX-License-Identifier: BSD-3-Clause
/* fpmd's side of next hops: rows of "nexthop" and "nexthop_group", each shared by all routes with the same one and kept as
 * long as somebody has a reference. A row that was put back is given out again only when no worker can see it. */
#pragma once

#include "features/route/route.h"
#include "fpmd/fpm.h"

/* Row of the next hop NEXTHOP_LINUX, which is always there. */
extern uint32_t nexthop_linux;

/* For a new config file: forgets all. */
int nexthops_init(struct fpm *fpm, struct err *err);

/* A reference to the row like @want (neigh not filled in); 0: no room. */
uint32_t nexthop_get(const struct nexthop_row *want);

/* A reference to the row of a group that divides flows among @n rows by weight; 0: no room. 1 to FPC_ROUTE_MAX_NEXTHOPS rows; the
 * group takes references of its own. */
uint32_t nexthop_get_group(const uint32_t *rows, const uint32_t *weights, unsigned n);

/* A reference to nexthop_linux. */
uint32_t nexthop_get_linux(void);

/* Takes back a reference; no trie leads to the row by it any more. */
void nexthop_put(uint32_t row);
