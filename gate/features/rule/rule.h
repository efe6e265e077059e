// SPDX-License-Identifier: BSD-3-Clause
/* Policy routing: which table a packet's route is looked up in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "features/iface/iface.h"
#include "features/rule/fpc_rule.h"
#include "features/vrf/vrf.h"

struct rte_mbuf;

/* A rule in shared memory: as in FPC, but for what its fields lead to. */
struct rule_row {
	struct fpc_rule_entry entry; /* table: row in "route_table" */
};

/* Row of the config table "rule_set", rows 1 and up: a list, immutable while a vrf row names it. Row RULE_SET_LINUX: all packets
 * are Linux's. */
#define RULE_SETS      (2 * FPC_VRF_MAX + 16)
#define RULE_SET_LINUX 1U
struct rule_set_row {
	uint32_t n;
	/* All others than the kernel's own look up VRF devices' tables: nothing but the main tables for packets without one */
	uint32_t only_l3mdev;
	/* Rows in "nexthop" for packets whose route isn't found in a table */
	uint32_t blackhole, unreachable, linux_decides;
	uint32_t pad[11];
	struct rule_row rule[FPC_RULES_MAX];
};
static_assert(sizeof(struct rule_set_row) == 64 + 64 * 64);

extern const struct rule_set_row *rule_set_rows;

/* Worker: the rules that packets received on @iface must be shown to, NULL: none, the VRF's main tables do. @family: AF_INET or
 * AF_INET6. */
static inline const struct rule_set_row *rule_set_for(const struct iface_row *iface, uint32_t row)
{
	if (__builtin_expect(!row, 1))
		return NULL;
	return rule_set_rows[row].only_l3mdev && !iface->l3mdev ? NULL : &rule_set_rows[row];
}

static inline const struct rule_set_row *rule_set4(const struct iface_row *iface)
{
	return rule_set_for(
		iface, atomic_load_explicit(&vrf_rows[iface->vrf].rules4, memory_order_acquire));
}

static inline const struct rule_set_row *rule_set6(const struct iface_row *iface)
{
	return rule_set_for(
		iface, atomic_load_explicit(&vrf_rows[iface->vrf].rules6, memory_order_acquire));
}

/* Likewise for packets that this host sends into VRF @vrf. */
static inline const struct rule_set_row *rule_set_own(uint32_t row)
{
	return row && !rule_set_rows[row].only_l3mdev ? &rule_set_rows[row] : NULL;
}

static inline const struct rule_set_row *rule_set4_own(uint32_t vrf)
{
	return rule_set_own(atomic_load_explicit(&vrf_rows[vrf].rules4, memory_order_acquire));
}

static inline const struct rule_set_row *rule_set6_own(uint32_t vrf)
{
	return rule_set_own(atomic_load_explicit(&vrf_rows[vrf].rules6, memory_order_acquire));
}

/* Worker: row in "nexthop" for the packet @m (data at its header, which is complete and right), received on @iface; 0: no
 * rule finds a route. */
uint32_t rule_route4(const struct rule_set_row *set, const struct iface_row *iface,
		     const struct rte_mbuf *m);
uint32_t rule_route6(const struct rule_set_row *set, const struct iface_row *iface,
		     const struct rte_mbuf *m);

/* Worker: likewise for @m that this host sends into VRF @vrf; rules for its own packets alone (marks, users, output interfaces)
 * aren't in the list, nor does the fast path send such. */
uint32_t rule_route4_own(const struct rule_set_row *set, uint32_t vrf, const struct rte_mbuf *m);
uint32_t rule_route6_own(const struct rule_set_row *set, uint32_t vrf, const struct rte_mbuf *m);
/* ... and of which nothing is known but its destination @dst, 4 or 16 bytes in network byte order. */
uint32_t rule_route_to(const struct rule_set_row *set, uint32_t vrf, uint8_t family,
		       const uint8_t *dst);

/* Worker: likewise for the way back to the source, as Linux's reverse path filter asks. */
uint32_t rule_route4_back(const struct rule_set_row *set, const struct iface_row *iface,
			  const struct rte_mbuf *m);
