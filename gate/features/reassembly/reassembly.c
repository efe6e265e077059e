// SPDX-License-Identifier: BSD-3-Clause
#include "features/feature.h"

const struct feature reassembly_feature = {
	.name = "reassembly",
	.id = FEATURE_REASSEMBLY,
};
