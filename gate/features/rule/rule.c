// SPDX-License-Identifier: BSD-3-Clause
#include "features/rule/rule.h"

#include "features/feature.h"
#include "fpc/fpc.h"

static const struct feature_table config_tables[] = {
	{{"rule_set", 1, sizeof(struct rule_set_row), RULE_SETS}},
};

const struct feature rule_feature = {
	.name = "rule",
	.id = FEATURE_RULE,
	.msg_size = sizeof(struct fpc_rule),
	.key_size = FPC_RULE_KEY_SIZE,
	.known_flags = FPC_RULE_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.config_tables = config_tables,
	.n_config_tables = 1,
};
