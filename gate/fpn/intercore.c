// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/intercore.h"

#include <stdio.h>

#include <rte_malloc.h>

struct intercore *intercore_create(uint16_t from, uint16_t to, uint32_t size)
{
	struct intercore *way = rte_zmalloc("intercore", sizeof(*way), RTE_CACHE_LINE_SIZE);
	char name[RTE_RING_NAMESIZE];

	if (!way)
		return NULL;
	snprintf(name, sizeof(name), "way%u.%u", from, to);
	way->from = from;
	way->to = to;
	way->size = size;
	way->ring = rte_ring_create(name, size, SOCKET_ID_ANY,
				    RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
	if (!way->ring) {
		rte_free(way);
		return NULL;
	}
	return way;
}
