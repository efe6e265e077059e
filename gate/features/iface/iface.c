// SPDX-License-Identifier: BSD-3-Clause
#include "features/iface/iface.h"

#include "features/feature.h"
#include "features/vrf/fpc_vrf.h"
#include "fpc/fpc.h"
#include "lib/settings.h"
#include "shm/quiesce.h"

static uint32_t capacity(const struct settings *s)
{
	return setting_or(s->max_ifaces, 1024);
}

static uint32_t stats_capacity(const struct settings *s)
{
	return capacity(s) * WORKERS_MAX;
}

static const struct feature_table config_tables[] = {
	{{"iface", 3, sizeof(struct iface_row), 0}, capacity},
	{{"iface_kind", 1, sizeof(struct iface_kind_row), 0}, capacity},
	{{"iface_base", 1, sizeof(struct iface_base_row), 0}, capacity},
	{{"iface_retired", 1, sizeof(struct iface_retired_row), FPC_VRF_MAX}},
};

static const struct feature_table stats_tables[] = {
	{{"iface_stats", 2, sizeof(struct iface_stats_row), 0}, stats_capacity},
};

const struct feature iface_feature = {
	.name = "iface",
	.id = FEATURE_IFACE,
	.msg_size = sizeof(struct fpc_iface),
	.key_size = FPC_IFACE_KEY_SIZE,
	.known_flags = FPC_IFACE_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.config_tables = config_tables,
	.n_config_tables = 4,
	.stats_tables = stats_tables,
	.n_stats_tables = 1,
};
