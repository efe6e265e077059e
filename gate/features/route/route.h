// SPDX-License-Identifier: BSD-3-Clause
/* Routes: next hops, and the M-tries that lead to them.
 *
 * IPv4: strides 16/8/8. Each routing table has a root of 65,536 entries indexed by the first 16 bits, then blocks of 256 entries.
 * IPv6: 16, then fourteen times 8, the same blocks. An entry is one word, so a reader sees either the old or the new one:
 *
 *   bit 31     1: the rest is the number of a block; 0: a leaf
 *   bits 23-30 leaf: length of the prefix that put it here (0 to 128), for fpmd
 *   bits 0-22  leaf: row in "nexthop", 0: no route; block: its number in the table
 *
 * A covering prefix is pushed down into the blocks below it, so the lookup ends at the first leaf. fpmd fills a new block
 * before it links it, and reuses an unlinked one only after a quiescent point. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "features/route/fpc_route.h"

typedef _Atomic uint32_t mtrie_entry;

#define MTRIE_BLOCK	  (1U << 31)
#define MTRIE_VALUE	  0x7fffffU
#define MTRIE_PLEN(entry) (((entry) >> 23) & 0xff)

/* Row of the config tables "mtrie4_root" and "mtrie6_root", rows 1 and up: a routing table of a VRF, given out with its first
 * route. A VRF's tables local and main are one; vrf.h has its row. Row 0 is empty for good: no route to anywhere. */
#define MTRIE_ROOTS 1024
struct mtrie_root_row {
	mtrie_entry entry[65536];
};

/* Row of the config tables "mtrie4_block" and "mtrie6_block", rows 1 and up. */
struct mtrie_block_row {
	mtrie_entry entry[256];
};

enum nexthop_type {
	NEXTHOP_NONE = 0,    /* row not in use: no route */
	NEXTHOP_GATEWAY,     /* to neigh */
	NEXTHOP_CONNECTED,   /* to the neighbour with the packet's destination address on iface */
	NEXTHOP_LOCAL,	     /* this host: RTN_LOCAL, RTN_ANYCAST */
	NEXTHOP_BROADCAST,   /* RTN_BROADCAST, RTN_MULTICAST: Linux decides */
	NEXTHOP_BLACKHOLE,   /* dropped, no ICMP */
	NEXTHOP_UNREACHABLE, /* Linux answers with an ICMP error; RTN_PROHIBIT, RTN_THROW too */
	NEXTHOP_LINUX,	     /* a route the fast path doesn't know enough of */
	NEXTHOP_GROUP,	     /* one of several: a row of "nexthop_group" */
};

/* Row of the config table "nexthop", rows 1 and up; immutable while a trie names it. */
struct nexthop_row {
	uint8_t type;	/* enum nexthop_type */
	uint8_t family; /* of gateway; 0: none */
	uint8_t pad[2];
	uint32_t iface; /* row in "iface" */
	uint32_t neigh; /* NEXTHOP_GATEWAY: row in "neigh" */
	uint32_t group; /* NEXTHOP_GROUP: row in "nexthop_group" */
	uint8_t gateway[16];
};
static_assert(sizeof(struct nexthop_row) == 32);

/* Row of the config table "nexthop_group", rows 1 and up; immutable while a next hop names it. The next hop for each 256th
 * of a flow's hash, so that choosing one costs one memory access. Each next hop has a range of them as long as its weight
 * asks for, in the route's order, which is how Linux divides its hash; the shortest is one. */
#define NEXTHOP_GROUPS 4096
#define NEXTHOP_SLOTS  256
struct nexthop_group_row {
	uint32_t slot[NEXTHOP_SLOTS]; /* row in "nexthop": gateway or connected */
};

extern const struct nexthop_row *nexthop_rows;
extern const struct nexthop_group_row *nexthop_group_rows;
extern const struct mtrie_root_row *mtrie4_roots, *mtrie6_roots;
extern const struct mtrie_block_row *mtrie4_blocks, *mtrie6_blocks;

/* Worker: row in "nexthop" for @dst (host byte order) by the routes of row @root, 0: no route. */
static inline uint32_t mtrie4_lookup(uint32_t root, uint32_t dst)
{
	uint32_t e =
		atomic_load_explicit(&mtrie4_roots[root].entry[dst >> 16], memory_order_acquire);

	if (e & MTRIE_BLOCK) {
		e = atomic_load_explicit(&mtrie4_blocks[e & MTRIE_VALUE].entry[(dst >> 8) & 0xff],
					 memory_order_acquire);
		if (e & MTRIE_BLOCK)
			e = atomic_load_explicit(&mtrie4_blocks[e & MTRIE_VALUE].entry[dst & 0xff],
						 memory_order_acquire);
	}
	return e & MTRIE_VALUE;
}

/* Worker: likewise for @dst, 16 bytes in network byte order. */
static inline uint32_t mtrie6_lookup(uint32_t root, const uint8_t dst[16])
{
	uint32_t e = atomic_load_explicit(&mtrie6_roots[root].entry[(uint32_t)dst[0] << 8 | dst[1]],
					  memory_order_acquire);

	for (unsigned i = 2; e & MTRIE_BLOCK; i++)
		e = atomic_load_explicit(&mtrie6_blocks[e & MTRIE_VALUE].entry[dst[i]],
					 memory_order_acquire);
	return e & MTRIE_VALUE;
}
