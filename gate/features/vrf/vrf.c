// SPDX-License-Identifier: BSD-3-Clause
#include "features/vrf/vrf.h"

#include "features/feature.h"
#include "fpc/fpc.h"

static const struct feature_table config_tables[] = {
	{{"vrf", 3, sizeof(struct vrf_row), FPC_VRF_MAX}},
};

const struct feature vrf_feature = {
	.name = "vrf",
	.id = FEATURE_VRF,
	.msg_size = sizeof(struct fpc_vrf),
	.key_size = FPC_VRF_KEY_SIZE,
	.known_flags = FPC_VRF_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.config_tables = config_tables,
	.n_config_tables = 1,
};
