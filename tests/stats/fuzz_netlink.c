// SPDX-License-Identifier: BSD-3-Clause
/* Any bytes from a netlink socket: nothing outside of them is touched, and their headers stay as they were, so that the
 * program sees the same messages. */
#include <stdlib.h>
#include <string.h>

#include "stats/rewrite.h"

static bool iface(void *arg, uint32_t ifindex, struct stats_delta *ret)
{
	memset(ret, (int)(ifindex & 0xff), sizeof(*ret));
	return ifindex & 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned versions[] = {0, 6 << 8 | 1, 6 << 8 | 12, 6 << 8 | 18};
	struct stats_source source = {.iface = iface};
	/* Of that size, so that a sanitizer sees each byte beyond. */
	uint8_t *copy = malloc(size);

	if (!copy && size)
		abort();
	for (unsigned i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (size)
			memcpy(copy, data, size);
		source.version = versions[i];
		rewrite_wanted(copy, size);
		rewrite_netlink(copy, size, &source);
		if (size >= 16 && memcmp(copy, data, 16) != 0)
			abort();
	}
	free(copy);
	return 0;
}
