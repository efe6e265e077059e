// SPDX-License-Identifier: BSD-3-Clause
#include <stdio.h>
#include <string.h>

#include "fpn/capture.h"

#define ALL_PROTOCOLS 0x0003 /* ETH_P_ALL */

/* Columns: sk RefCnt Type Proto(hex) Iface R Rmem User Inode. R: whether it's bound to a protocol and gets packets. */
uint64_t capture_listeners(const char *text, const unsigned *ifindex, unsigned n)
{
	uint64_t found = 0;

	for (const char *line = strchr(text, '\n'); line && *++line; line = strchr(line, '\n')) {
		unsigned protocol, iface, running;

		if (sscanf(line, "%*s %*u %*u %x %u %u", &protocol, &iface, &running) != 3 ||
		    protocol != ALL_PROTOCOLS || !running)
			continue;
		for (unsigned i = 0; i < n; i++)
			if (ifindex[i] && (!iface || iface == ifindex[i]))
				found |= 1ULL << i;
	}
	return found;
}
