// SPDX-License-Identifier: BSD-3-Clause
#include "features/mss/mss.h"

#include "features/feature.h"
#include "fpc/fpc.h"

static const struct feature_table config_tables[] = {
	{{"mss", 1, sizeof(struct mss_row), MSS_ROWS}},
};

const struct feature mss_feature = {
	.name = "mss",
	.id = FEATURE_MSS,
	.msg_size = sizeof(struct fpc_mss),
	.key_size = FPC_MSS_KEY_SIZE,
	.known_flags = FPC_MSS_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.config_tables = config_tables,
	.n_config_tables = 1,
};
