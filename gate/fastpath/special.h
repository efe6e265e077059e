// SPDX-License-Identifier: BSD-3-Clause
/* Special exceptions: packets that can't go to Linux as they came in, for that's gone: what they were in was decrypted.
 * Linux gets such a packet on fpn0, with a trailer that says where to go on (bpf/fptun/fptun.h).
 *
 *   start-up  fp_want_special(true), or for one VRF vrf_want_special in the feature's apply: fpn0 is made there
 *   packet    fp_make_special(m, &(struct fp_special){...}) once what it was in is taken off, then on with it: iface_receive
 *
 * From there on fp_exception does the rest, wherever it's called and for whatever reason (for this host, options, TTL, neighbour
 * unknown, ...): same budgets, classes and reasons as any exception, only that Linux gets the packet as it was at
 * fp_make_special. Header fields changed since must be put back before, as ever. A packet that is sent or dropped costs nothing.
 *
 * In the counters of interfaces such a packet is one that the fast path carried: Linux counts nothing of what it was in, and not
 * on the interface where it goes on. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/plugin.h"

struct err;

#define FP_SPECIAL_VRFS 256

/* Start-up or control thread; counts: as many times on as off. In all VRFs. */
void fp_want_special(bool on);

/* Whether fpn0 is there in VRF @vrf: who decrypts leaves packets to Linux as they came in until then, so that none is lost. Any
 * thread. */
extern _Atomic uint8_t fp_special_vrfs[FP_SPECIAL_VRFS];
static inline bool fp_special_ready(uint32_t vrf)
{
	return vrf < FP_SPECIAL_VRFS &&
	       atomic_load_explicit(&fp_special_vrfs[vrf], memory_order_acquire);
}

/* --- for fastpath/core.c and who makes the frames --- */

/* As in a packet's dynamic field. */
struct fp_special_field {
	uint32_t iface;
	uint32_t mark;
	uint8_t flags;
	uint8_t headers; /* m->l2_len when it was made special: bytes in front of what Linux gets */
	uint16_t
		largest; /* of a packet that was put together: bytes of its largest fragment; else 0 */
	uint32_t id;	 /* and of IPv6: the fragments' identification, network byte order */
};

/* Of packets' ol_flags; 0 before fp_init. */
extern uint64_t fp_special_flag;
const struct fp_special_field *fp_special_field(const struct rte_mbuf *m);
int fp_special_init(struct err *err);
/* @m, special already, was put together of fragments. */
void fp_special_fragments(struct rte_mbuf *m, uint16_t largest, uint32_t id);
/* fp-rte (packet harness): whether anybody wants fpn0 everywhere. */
bool fp_special_wanted(void);
