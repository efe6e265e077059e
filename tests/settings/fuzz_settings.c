// SPDX-License-Identifier: BSD-3-Clause
#include "lib/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings settings;
	struct err err;

	settings_init(&settings);
	settings_parse(&settings, (const char *)data, size, "fuzz", &err);
	return 0;
}
