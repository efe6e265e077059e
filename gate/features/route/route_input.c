// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/route.h"

#include "fastpath/fp.h"

const struct route_table_row *route_table_rows;
const struct nexthop_row *nexthop_rows;
const struct nexthop_group_row *nexthop_group_rows;
const struct mtrie_root_row *mtrie4_roots, *mtrie6_roots;
const struct mtrie_line_row *mtrie4_lines, *mtrie6_lines;

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	route_table_rows = shm_rows(config, "route_table");
	nexthop_rows = shm_rows(config, "nexthop");
	nexthop_group_rows = shm_rows(config, "nexthop_group");
	mtrie4_roots = shm_rows(config, "mtrie4_root");
	mtrie6_roots = shm_rows(config, "mtrie6_root");
	mtrie4_lines = shm_rows(config, "mtrie4_line");
	mtrie6_lines = shm_rows(config, "mtrie6_line");
	return 0;
}

const struct fp_feature route_fastpath = {.attach = attach};
