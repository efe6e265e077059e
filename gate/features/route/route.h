// SPDX-License-Identifier: BSD-3-Clause
/* Routes: next hops, and the M-tries that lead to them.
 *
 * Strides are 16, then 8 bits each. Each routing table has a root of 65,536 entries indexed by the first 16 bits; then come
 * nodes of 256 entries, indexed by the next byte of the address. A node is stored in one of three ways, whichever is small,
 * in 1, 2, 4, 8 or 16 lines of 64 bytes:
 *
 *   runs  equal neighbouring entries stand once: a bit for each index where another entry begins, and the entries. Up to 7
 *         in one line (and in one memory access, which is what most nodes of scattered prefixes are), up to 119 in eight
 *   full  the 256 entries as they stand
 *   skip  IPv6: one range of addresses has an entry of its own and all others share one, over one level or several. A
 *         scattered prefix is one of these, however long it is
 *
 * An entry is one word, so a reader sees either the old or the new one:
 *
 *   bit 31     1: a node; 0: a leaf
 *   bits 29-30 node: how it's stored, runs (0), full (1), skip (2)
 *   bits 0-28  node: its first line in the table
 *   bits 23-30 leaf: length of the prefix that put it here (0 to 128), for fpmd
 *   bits 0-22  leaf: row in "nexthop", 0: no route
 *
 * A covering prefix is pushed down into the nodes below it, so the lookup ends at the first leaf. fpmd changes single entries
 * in place; where a node gets another shape, fpmd makes a new one, fills it before it links it, and reuses the old one's
 * lines only after a quiescent point. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "features/route/fpc_route.h"

typedef _Atomic uint32_t mtrie_entry;

#define MTRIE_NODE	  (1U << 31)
#define MTRIE_SKIP	  (1U << 30)
#define MTRIE_FULL	  (1U << 29)
#define MTRIE_LINE	  0x1fffffffU /* of a node's entry */
#define MTRIE_VALUE	  0x7fffffU   /* of a leaf */
#define MTRIE_PLEN(entry) (((entry) >> 23) & 0xff)

/* Row of the config tables "mtrie4_root" and "mtrie6_root", rows 1 and up: a routing table of a VRF, given out with its first
 * route. A VRF's tables local and main are one; vrf.h has its row. Row 0 is empty for good: no route to anywhere. */
#define MTRIE_ROOTS 1024
struct mtrie_root_row {
	mtrie_entry entry[65536];
};

/* Row of the config tables "mtrie4_line" and "mtrie6_line", rows 1 and up: nodes, and parts of larger ones. A full node is
 * nothing but its 256 entries. */
struct mtrie_line_row {
	mtrie_entry entry[16];
};
static_assert(sizeof(struct mtrie_line_row) == 64);
#define MTRIE_FULL_LINES 16

struct mtrie_runs {
	uint64_t starts[4];   /* bit i: another entry begins at index i; bit 0 is always set */
	uint8_t before[4];    /* how many begin before index 64 * i */
	mtrie_entry entry[7]; /* up to 119 if it's longer than a line */
};
static_assert(sizeof(struct mtrie_runs) == 64);
#define MTRIE_RUNS_MAX 119

struct mtrie_skip {
	uint64_t addr[2],
		mask[2]; /* as an address stands in memory; mask: the first bits, up to the range's length */
	mtrie_entry miss; /* a leaf */
	mtrie_entry hit;
	uint8_t bits; /* length of the range; a multiple of 8 if hit is a node */
	uint8_t pad[7];
	uint64_t pad2[2];
};
static_assert(sizeof(struct mtrie_skip) == 64);

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

#define NEXTHOP_NO_MTU UINT16_MAX

/* Row of the config table "nexthop", rows 1 and up; immutable while a trie names it. */
struct nexthop_row {
	uint8_t type;	  /* enum nexthop_type */
	uint8_t family;	  /* of gateway; 0: none */
	uint16_t mtu;	  /* gateway or connected: of the route, NEXTHOP_NO_MTU where it has none */
	uint32_t iface;	  /* row in "iface" */
	uint32_t neigh;	  /* NEXTHOP_GATEWAY: row in "neigh" */
	uint16_t group;	  /* NEXTHOP_GROUP: row in "nexthop_group" */
	uint8_t in_local; /* of a route of table local */
	uint8_t pad;
	uint8_t gateway[16];
};
static_assert(sizeof(struct nexthop_row) == 32);

/* Row of the config table "nexthop_group", rows 1 and up; immutable while a next hop names it. The members divide the 31 bits
 * of a flow's hash among them as Linux does (fib_rebalance, rt6_multipath_rebalance, nh_hthr_group_rebalance): in the route's
 * order, each with a range as long as its weight asks for, ends rounded. For each 256th of the hash a slot names the next hop,
 * so that choosing one costs one memory access; where a 256th belongs to several, the members tell. */
#define NEXTHOP_GROUPS	    4096
#define NEXTHOP_SLOTS	    256
#define NEXTHOP_SLOT_SHARED (1U << 31)
static_assert(NEXTHOP_GROUPS <= UINT16_MAX);
struct nexthop_member {
	uint32_t last; /* of its hashes */
	uint32_t nexthop;
};
struct nexthop_group_row {
	uint32_t slot
		[NEXTHOP_SLOTS]; /* row in "nexthop": gateway or connected; or NEXTHOP_SLOT_SHARED and the first member in it */
	uint32_t n; /* members */
	uint32_t pad[15];
	struct nexthop_member member[FPC_ROUTE_MAX_NEXTHOPS];
};
static_assert(sizeof(struct nexthop_group_row) == 1600);

/* Row of the config table "route_table": a routing table other than local and main, of one VRF. It's there while it has
 * routes or somebody names it. Rows 1 and 2 stand for main and local, wherever such a number is used: their roots are in the
 * vrf row, and in_local tells them apart. */
#define ROUTE_TABLES	  1024
#define ROUTE_TABLE_MAIN  1U
#define ROUTE_TABLE_LOCAL 2U
struct route_table_row {
	uint32_t vrf;
	uint32_t table;		       /* its number in Linux; 0: row not in use */
	_Atomic uint32_t root4, root6; /* rows in "mtrie4_root" and "mtrie6_root"; 0: no routes */
};

/* fpmd: the row for @table of VRF @vrf, with a reference; 0: there are too many. */
uint32_t route_table_ref(uint32_t vrf, uint32_t table);
void route_table_unref(uint32_t row);

extern const struct route_table_row *route_table_rows;
extern const struct nexthop_row *nexthop_rows;
extern const struct nexthop_group_row *nexthop_group_rows;
extern const struct mtrie_root_row *mtrie4_roots, *mtrie6_roots;
extern const struct mtrie_line_row *mtrie4_lines, *mtrie6_lines;

/* The member of a group that takes a flow with this hash (31 bits): its row in "nexthop". */
static inline uint32_t nexthop_choose(const struct nexthop_group_row *g, uint32_t hash)
{
	uint32_t slot = g->slot[hash >> 23];
	const struct nexthop_member *member = &g->member[slot & ~NEXTHOP_SLOT_SHARED];

	if (__builtin_expect(!(slot & NEXTHOP_SLOT_SHARED), 1))
		return slot;
	while (hash > member->last)
		member++;
	return member->nexthop;
}

static inline uint32_t mtrie_load(const mtrie_entry *at)
{
	return atomic_load_explicit(at, memory_order_acquire);
}

/* Worker: the entry at @index of the node that @e names, which is no skip. */
static inline uint32_t mtrie_pick(const struct mtrie_line_row *lines, uint32_t e, uint8_t index)
{
	const struct mtrie_line_row *line = &lines[e & MTRIE_LINE];
	const struct mtrie_runs *runs = (const struct mtrie_runs *)line;
	unsigned word = index >> 6;

	if (e & MTRIE_FULL)
		return mtrie_load((const mtrie_entry *)line + index);
	/* The last entry that begins at the index or before. */
	return mtrie_load((const mtrie_entry *)line + 8 + runs->before[word] +
			  __builtin_popcountll(runs->starts[word] & ((2ULL << (index & 63)) - 1)));
}

/* Worker: the leaf for @dst (host byte order) by the routes of row @root: MTRIE_VALUE of it is a row in "nexthop", 0: no
 * route. */
static inline uint32_t mtrie4_leaf(uint32_t root, uint32_t dst)
{
	uint32_t e = mtrie_load(&mtrie4_roots[root].entry[dst >> 16]);

	if (e & MTRIE_NODE) {
		e = mtrie_pick(mtrie4_lines, e, dst >> 8 & 0xff);
		if (e & MTRIE_NODE)
			e = mtrie_pick(mtrie4_lines, e, dst & 0xff);
	}
	return e;
}

/* Worker: the row in "nexthop". */
static inline uint32_t mtrie4_lookup(uint32_t root, uint32_t dst)
{
	return mtrie4_leaf(root, dst) & MTRIE_VALUE;
}

/* Worker: the next entry on the way of @dst (network byte order) after @e, a node; @at: the byte that it's indexed by, which
 * moves on. */
static inline uint32_t mtrie6_step(uint32_t e, const uint8_t *dst, uint8_t *at)
{
	const struct mtrie_skip *skip = (const struct mtrie_skip *)&mtrie6_lines[e & MTRIE_LINE];
	uint64_t words[2];

	if (!(e & MTRIE_SKIP))
		return mtrie_pick(mtrie6_lines, e, dst[(*at)++]);
	memcpy(words, dst, sizeof(words));
	*at = skip->bits >> 3;
	return mtrie_load(((words[0] ^ skip->addr[0]) & skip->mask[0]) |
					  ((words[1] ^ skip->addr[1]) & skip->mask[1])
				  ? &skip->miss
				  : &skip->hit);
}

/* Worker: likewise for @dst, 16 bytes in network byte order. */
static inline uint32_t mtrie6_leaf(uint32_t root, const uint8_t dst[16])
{
	uint32_t e = mtrie_load(&mtrie6_roots[root].entry[(uint32_t)dst[0] << 8 | dst[1]]);
	uint8_t at = 2;

	while (e & MTRIE_NODE)
		e = mtrie6_step(e, dst, &at);
	return e;
}

static inline uint32_t mtrie6_lookup(uint32_t root, const uint8_t dst[16])
{
	return mtrie6_leaf(root, dst) & MTRIE_VALUE;
}
