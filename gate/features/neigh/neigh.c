// SPDX-License-Identifier: BSD-3-Clause
#include "features/neigh/neigh.h"

#include "features/feature.h"
#include "fpc/fpc.h"
#include "lib/settings.h"

static uint32_t capacity(const struct settings *s)
{
	return setting_or(s->max_neighs, 16384);
}

/* Chains of one row on average: the next power of two. */
static uint32_t bucket_capacity(const struct settings *s)
{
	uint32_t n = 64;

	while (n < capacity(s))
		n *= 2;
	return n;
}

static const struct feature_table config_tables[] = {
	{{"neigh", 1, sizeof(struct neigh_row), 0}, capacity},
	{{"neigh_bucket", 1, sizeof(struct neigh_bucket_row), 0}, bucket_capacity},
};

static const struct feature_table stats_tables[] = {
	{{"neigh_hit", 1, sizeof(struct neigh_hit_row), 0}, capacity},
};

const struct feature neigh_feature = {
	.name = "neigh",
	.id = FEATURE_NEIGH,
	.msg_size = sizeof(struct fpc_neigh),
	.key_size = FPC_NEIGH_KEY_SIZE,
	.known_flags = FPC_NEIGH_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.config_tables = config_tables,
	.n_config_tables = 2,
	.stats_tables = stats_tables,
	.n_stats_tables = 1,
};
