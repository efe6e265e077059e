// SPDX-License-Identifier: BSD-3-Clause
#include "features/feature.h"

const struct feature ip6_feature = {
	.name = "ip6",
	.id = FEATURE_IP6,
};
