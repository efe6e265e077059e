// SPDX-License-Identifier: BSD-3-Clause
/* Neighbours: layer 2 rewrite of an (interface, address).
 *
 * Rows hang in hash chains for connected routes, whose neighbour is the packet's destination, and are named by index in
 * next hops with a gateway. A row may exist without a MAC (valid 0) because a next hop names it: packets for it are
 * exceptions, and Linux resolves it. fpmd writes valid last and clears it first. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "features/neigh/fpc_neigh.h"

/* Row of the config table "neigh", rows 1 and up. */
struct neigh_row {
	/* Ethernet header without type: destination MAC, then source; bytes 12-13 unused */
	uint8_t l2[14];
	_Atomic uint8_t valid; /* l2 can be used */
	uint8_t family;	       /* AF_INET or AF_INET6 */
	uint32_t iface;	       /* row in "iface" */
	_Atomic uint32_t next; /* row of the next one in the hash chain; 0: end */
	uint8_t addr[16];      /* as in struct fpc_neigh */
	uint16_t state;
	uint16_t pad;
	/* CLOCK_MONOTONIC seconds when the row got this neighbour: hits up to then were another's */
	uint32_t born;
	uint32_t pad2[4];
};
static_assert(sizeof(struct neigh_row) == 64);

/* Row of the config table "neigh_bucket": the first row of a chain. Capacity: a power of two. */
struct neigh_bucket_row {
	_Atomic uint32_t first;
};

/* Row of the stats table "neigh_hit"; row index: as in "neigh". When a packet last used it, CLOCK_MONOTONIC seconds;
 * written by any worker (the same value, give or take a second). Never cleared: see neigh_row's born. */
struct neigh_hit_row {
	_Atomic uint32_t seconds;
};

extern const struct neigh_row *neigh_rows;
extern const struct neigh_bucket_row *neigh_buckets;
extern uint32_t neigh_bucket_mask;
extern struct neigh_hit_row *neigh_hits;

/* FNV-like mix of interface row and the address's four words: same in fpmd and fp-rte. */
static inline uint32_t neigh_hash(uint32_t iface, const uint8_t addr[16])
{
	uint64_t a, b;

	memcpy(&a, addr, 8);
	memcpy(&b, addr + 8, 8);
	a = (a ^ iface) * 0x9e3779b97f4a7c15ULL;
	b = (b + (a >> 32)) * 0xbf58476d1ce4e5b9ULL;
	a ^= b;
	return (uint32_t)(a ^ (a >> 32));
}

/* Worker: row of the neighbour @addr (16 bytes, IPv4 zero-filled) on @iface, 0 if unknown. */
static inline uint32_t neigh_find(uint32_t iface, uint8_t family, const uint8_t addr[16])
{
	uint32_t row = atomic_load_explicit(
		&neigh_buckets[neigh_hash(iface, addr) & neigh_bucket_mask].first,
		memory_order_acquire);

	while (row) {
		const struct neigh_row *n = &neigh_rows[row];

		if (n->iface == iface && n->family == family && !memcmp(n->addr, addr, 16))
			return row;
		row = atomic_load_explicit(&n->next, memory_order_acquire);
	}
	return 0;
}

/* Worker: notes that a packet used @row at @now (seconds); writes at most once a second. */
static inline void neigh_hit(uint32_t row, uint32_t now)
{
	if (atomic_load_explicit(&neigh_hits[row].seconds, memory_order_relaxed) != now)
		atomic_store_explicit(&neigh_hits[row].seconds, now, memory_order_relaxed);
}

/* fpmd: a reference to the row of (@iface, @addr), made without a MAC if need be; 0: table full. It keeps the row of the
 * interface too. */
uint32_t neigh_ref(uint32_t iface, uint8_t family, const uint8_t addr[16]);
void neigh_unref(uint32_t row);
/* fpmd: the MAC of the interface in row @iface changed. */
void neigh_iface_changed(uint32_t iface);
