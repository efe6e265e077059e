// SPDX-License-Identifier: BSD-3-Clause
#include "features/port/port.h"

#include "features/feature.h"
#include "fpc/fpc.h"

static const struct feature_table config_tables[] = {
	{{"port", 2, sizeof(struct port_row), FPC_PORT_MAX}},
};

static const struct feature_table stats_tables[] = {
	{{"port_state", 2, sizeof(struct port_state_row), FPC_PORT_MAX}},
};

const struct feature port_feature = {
	.name = "port",
	.id = FEATURE_PORT,
	.msg_size = sizeof(struct fpc_port),
	.key_size = FPC_PORT_KEY_SIZE,
	.known_flags = FPC_PORT_FLAGS,
	.owner = FPC_ROLE_RTE,
	.config_tables = config_tables,
	.n_config_tables = 1,
	.stats_tables = stats_tables,
	.n_stats_tables = 1,
};
