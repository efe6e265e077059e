// SPDX-License-Identifier: BSD-3-Clause
#include "features/feature.h"

const struct feature ip_feature = {
	.name = "ip",
	.id = FEATURE_IP,
};
