// SPDX-License-Identifier: BSD-3-Clause
#include "features/feature.h"

const struct feature control_feature = {
	.name = "control",
	.id = FEATURE_CONTROL,
};
