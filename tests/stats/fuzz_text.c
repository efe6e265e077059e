// SPDX-License-Identifier: BSD-3-Clause
/* Any text in any of the files; the first byte chooses which. */
#include <stdlib.h>
#include <string.h>

#include "stats/rewrite.h"

static bool some(void *arg, uint32_t ifindex, struct stats_delta *ret)
{
	memset(ret, 3, sizeof(*ret));
	return true;
}

static bool some_name(void *arg, const char *name, struct stats_delta *ret)
{
	return some(arg, (uint32_t)strlen(name), ret);
}

static bool all(void *arg, struct stats_delta *ret)
{
	return some(arg, 0, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct stats_source source = {some, some_name, all, NULL, 0};
	char *text, *path, out[4096];
	size_t part = 0;

	if (!size)
		return 0;
	text = malloc(size);
	path = malloc(size);
	if (!text || !path)
		abort();
	memcpy(text, data + 1, size - 1);
	memcpy(path, data + 1, size - 1);
	path[size - 1] = '\0';
	if (stats_file_of(path, &part) != STATS_NONE && part >= strlen(path))
		abort();
	if (rewrite_text(data[0] % 6, path, text, size - 1, out, sizeof(out), &source) >
	    (int64_t)sizeof(out))
		abort();
	free(text);
	free(path);
	return 0;
}
