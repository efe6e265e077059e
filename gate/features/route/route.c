// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/route.h"

#include "features/feature.h"
#include "fpc/fpc.h"
#include "lib/settings.h"

static uint32_t nexthop_capacity(const struct settings *s)
{
	return setting_or(s->max_nexthops, 16384);
}

static uint32_t line4_capacity(const struct settings *s)
{
	return setting_or(s->max_lines4, 1 << 20);
}

static uint32_t line6_capacity(const struct settings *s)
{
	return setting_or(s->max_lines6, 1 << 20);
}

/* Memory that isn't touched costs nothing, so there is room for many. */
static const struct feature_table config_tables[] = {
	{{"nexthop", 3, sizeof(struct nexthop_row), 0}, nexthop_capacity},
	{{"nexthop_group", 2, sizeof(struct nexthop_group_row), NEXTHOP_GROUPS}},
	{{"route_table", 1, sizeof(struct route_table_row), ROUTE_TABLES}},
	{{"mtrie4_root", 2, sizeof(struct mtrie_root_row), MTRIE_ROOTS}},
	{{"mtrie6_root", 2, sizeof(struct mtrie_root_row), MTRIE_ROOTS}},
	{{"mtrie4_line", 1, sizeof(struct mtrie_line_row), 0}, line4_capacity},
	{{"mtrie6_line", 1, sizeof(struct mtrie_line_row), 0}, line6_capacity},
};

const struct feature route_feature = {
	.name = "route",
	.id = FEATURE_ROUTE,
	.msg_size = sizeof(struct fpc_route),
	.key_size = FPC_ROUTE_KEY_SIZE,
	.known_flags = FPC_ROUTE_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.config_tables = config_tables,
	.n_config_tables = 7,
};
