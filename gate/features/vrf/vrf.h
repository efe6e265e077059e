// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "features/vrf/fpc_vrf.h"

/* Row of the config table "vrf"; row index: VRF number (row 0 is VRF 0 here). */
struct vrf_row {
	uint32_t flags; /* enum fpc_vrf_flags; all set where there's no such VRF */
	/* How many features want fpn0 there, for special exceptions (fastpath/special.h) */
	_Atomic uint32_t special;
	/* Which IPv4 addresses may be local ones: bit vrf_local4_bit(address). Linux drops packets whose source is an address of
	 * its own; a look at one hot word spares the others the lookup of their source. All ones where a local route is
	 * shorter than /32 (127.0.0.0/8 apart). Written with the routes. */
	uint32_t local4[8];
	/* Rows of "mtrie4_root" and "mtrie6_root" of the tables local and main together; 0: no routes. Written with the routes. */
	_Atomic uint32_t root4, root6;
	uint64_t stages; /* bit a stage that has work in this VRF (fastpath/stage.h) */
	/* Rows of "rule_set"; 0: the kernel's own rules, which look up those tables. Written with the rules. */
	_Atomic uint32_t rules4, rules6;
	uint64_t netns; /* as in struct fpc_vrf, and the name */
	char name[32];
	uint32_t mroutes4, mroutes6;
	uint32_t multipath_seed; /* as in struct fpc_vrf */
	uint32_t pad2[3];
};
static_assert(sizeof(struct vrf_row) == 128);

/* @addr in host byte order. */
static inline uint8_t vrf_local4_bit(uint32_t addr)
{
	return (addr * 0x9e3779b1U) >> 24;
}

/* fp-rte: the attached table. */
extern const struct vrf_row *vrf_rows;

/* Worker: whether @addr (host byte order) may be a local address. */
static inline bool vrf_maybe_local4(const struct vrf_row *vrf, uint32_t addr)
{
	uint8_t bit = vrf_local4_bit(addr);

	return vrf->local4[bit >> 5] >> (bit & 31) & 1;
}

/* Worker: the root of a VRF's tables local and main. */
static inline uint32_t vrf_root4(uint32_t vrf)
{
	return atomic_load_explicit(&vrf_rows[vrf].root4, memory_order_acquire);
}

static inline uint32_t vrf_root6(uint32_t vrf)
{
	return atomic_load_explicit(&vrf_rows[vrf].root6, memory_order_acquire);
}

/* fpmd: whether VRF @vrf was set. */
bool vrf_known(uint32_t vrf);
/* fpmd: the row of VRF @vrf, to be written by the feature that owns the field. */
struct vrf_row *vrf_row(uint32_t vrf);

/* fpmd: a stage (enum fp_stage) has work, or none any more, for all packets of VRF @vrf. */
void vrf_enable_stage(uint32_t vrf, unsigned stage, bool on);
/* fpmd: a feature may have special exceptions (fastpath/special.h) for VRF @vrf, or no longer: as many times on as off. A VRF that
 * goes takes this along. */
void vrf_want_special(uint32_t vrf, bool on);
/* fpmd: the VRF that is the namespace @netns (0: number 0), or VRF_NONE. */
#define VRF_NONE UINT32_MAX
uint32_t vrf_of_netns(uint64_t netns);
