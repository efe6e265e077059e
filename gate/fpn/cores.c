// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/cores.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int cores_parse(const char *text, uint16_t *ret, unsigned *ret_n)
{
	bool set[CORES_MAX] = {};
	const char *c = text;
	unsigned n = 0;

	if (!*c)
		return -EINVAL;
	for (;;) {
		unsigned long first, last;
		char *end;

		if (!isdigit((unsigned char)*c))
			return -EINVAL;
		first = last = strtoul(c, &end, 10);
		c = end;
		if (*c == '-') {
			if (!isdigit((unsigned char)*++c))
				return -EINVAL;
			last = strtoul(c, &end, 10);
			c = end;
		}
		if (last < first || last >= CORES_MAX)
			return -EINVAL;
		for (unsigned long i = first; i <= last; i++)
			set[i] = true;
		if (!*c)
			break;
		if (*c++ != ',')
			return -EINVAL;
	}
	for (uint16_t i = 0; i < CORES_MAX; i++)
		if (set[i])
			ret[n++] = i;
	*ret_n = n;
	return 0;
}

void cores_print(const uint16_t *cores, unsigned n, char *ret, size_t size)
{
	size_t at = 0;

	snprintf(ret, size, "none");
	for (unsigned from = 0, to; from < n && at < size; from = to) {
		for (to = from + 1; to < n && cores[to] == cores[to - 1] + 1; to++)
			;
		at += (size_t)snprintf(ret + at, size - at, "%s%u", from ? "," : "", cores[from]);
		/* "1,2" is as short as "1-2" and says that they are two. */
		if (to - from > 1 && at < size)
			at += (size_t)snprintf(ret + at, size - at, "%c%u",
					       to - from > 2 ? '-' : ',', cores[to - 1]);
	}
}
