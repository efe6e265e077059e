// SPDX-License-Identifier: BSD-3-Clause
/* Stages: how a feature gets between a packet's coming in and its going out. stages.def is the table and the order; this is
 * the way in and the contract.
 *
 *   start-up   fp_register_stage(FP_STAGE_IP_MSS, mss_input)            in the feature's init (fp-rte)
 *   run time   iface_enable_stage(row, FP_STAGE_IP_MSS, true)           in the feature's apply (fpmd): packets of an interface,
 *              vrf_enable_stage(vrf, FP_STAGE_IP_MSS, true)             ... of a VRF
 *              fp_enable_stage(FP_STAGE_IP_MSS, true)                   in fp-rte itself (plugins): all packets
 *
 * An enabled stage is a bit in the row of the interface (its output interface, in the legs OUT and TX), in that of the VRF, or
 * in fp_stages_here: three words that are hot anyhow, asked once a burst. Nothing else is paid for a stage that isn't
 * enabled. A stage that is enabled but that nobody registered isn't passed by: its packets go to Linux (no_stage).
 *
 * A stage's function owns the packets of its burst. It leaves in the burst, in order, those that go on, and does with the
 * others what it likes: fp_drop, fp_exception, or keep them and let them go on later (fp_resume; fp_register_poll tells
 * when). Nothing of it may wait.
 *
 *   form       RX, TX: frames, data at the Ethernet header, `len` the frame's length. Others: data at the IP header, which
 *              is right (version, no IPv4 options, checksum, lengths within the packet) and stays so; m->l2_len bytes
 *              before it is the frame as it came in.
 *   exception  hands over the packet as it came in, so who changes a packet before the leg OUT ended must know how to
 *              get that back. In OUT and later, TTL and hop limit are those that came in.
 *   nexthop    row of "nexthop": in IN 0, or (POLICY) chosen, then the lookup leaves it as it is; in OUT what the lookup
 *              found, never a group; a stage may change it, or set it to 0: looked up again. Rows are good until the
 *              worker's next quiescent point, so who keeps a packet for longer sets it to 0.
 *   len        of the packet by its IP header; who changes the length changes it here too.
 *   m          may be longer than len: padding behind the packet is cut off on its way out. Segments are possible.
 *   scope      a stage may get packets of other output interfaces than those it's enabled for, and a function is called when
 *              another feature of the same stage is enabled. Who isn't configured for a packet lets it pass.
 *   flags      FP_BURST_OWN: packets that started here (encapsulated, fragments): no TTL is counted down, and what can't be
 *              sent is dropped, since there's nothing that Linux could get. Who makes such packets asks first whether the neighbour
 *              is there, so that what Linux must resolve goes to Linux before it's changed. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fastpath/burst.h"
#include "lib/err.h"
#include "shm/shm.h"

enum fp_leg {
	FP_LEG_RX,
	FP_LEG_IP_IN,
	FP_LEG_IP6_IN,
	FP_LEG_IP_LOCAL,
	FP_LEG_IP6_LOCAL,
	FP_LEG_IP_OUT,
	FP_LEG_IP6_OUT,
	FP_LEG_TX,
	FP_LEGS,
};

enum fp_stage {
#define STAGE(leg, name, text)	  FP_STAGE_##name,
#define IP_STAGE(leg, name, text) FP_STAGE_IP_##name, FP_STAGE_IP6_##name,
#include "fastpath/stages.def"
#undef STAGE
#undef IP_STAGE
	FP_STAGES
};

/* Further bits of such words: whether a hook of the way out has somebody in it (hooks.def). */
#define FP_HOOKED_OUT (1ULL << 63)
static_assert(FP_STAGES < 63);

/* The bits of a leg's stages. */
static inline uint64_t fp_leg_stages(enum fp_leg leg)
{
	uint64_t ret = 0;

#define BIT(of, stage)	       ret |= leg == (of) ? 1ULL << (stage) : 0;
#define STAGE(leg, name, text) BIT(FP_LEG_##leg, FP_STAGE_##name)
#define IP_STAGE(leg, name, text)                                                                  \
	BIT(FP_LEG_IP_##leg, FP_STAGE_IP_##name)                                                   \
	BIT(FP_LEG_IP6_##leg, FP_STAGE_IP6_##name)
#include "fastpath/stages.def"
#undef STAGE
#undef IP_STAGE
#undef BIT
	return ret;
}

/* Name as fp-cli shows it ("ip_mss"), and text. */
const char *fp_stage_name(enum fp_stage stage);
const char *fp_stage_text(enum fp_stage stage);
/* FP_STAGES: no such name. */
enum fp_stage fp_stage_find(const char *name);

/* Into the stats table "stage"; fp_attach. */
int fp_write_stages(struct shm *stats, struct err *err);

/* --- start-up --- */

#define FP_STAGE_USERS 4

/* Up to FP_STAGE_USERS functions a stage, called in the order of their registration: -ENOSPC. */
int fp_register_stage(enum fp_stage stage, fp_stage_fn *fn);
bool fp_stage_registered(enum fp_stage stage);

/* For features that have the legs: runs those stages of the leg that are enabled for the burst and among @allowed (bits), and
 * then takes the packets on. */
typedef void fp_leg_fn(struct fp_worker *w, struct fp_burst *b, uint64_t allowed);
void fp_register_leg(enum fp_leg leg, fp_leg_fn *fn);

/* Protocols, UDP ports, poll functions, and fp_ip_output for packets of our own: plugin.h. */

/* --- run time --- */

/* Stages that are on for all packets. */
extern _Atomic uint64_t fp_stages_here;
/* Counts: as many times on as off. Any thread but workers. */
void fp_enable_stage(enum fp_stage stage, bool on);

static inline uint64_t fp_stages_on(void)
{
	return atomic_load_explicit(&fp_stages_here, memory_order_relaxed);
}

/* Runs @stages (bits) one after the other over @b. */
void fp_run_stages(struct fp_worker *w, uint64_t stages, struct fp_burst *b);

/* @b goes on behind @after, from where a function of that stage took it, `iface`, `vrf`, `family` and `flags` as they were. On the
 * same worker, at once or in a poll function; not the very burst that a stage's function was given. */
void fp_resume(struct fp_worker *w, enum fp_stage after, struct fp_burst *b);

/* How often a packet may start again within one run (fp_ip_output, iface_receive): DROP_TOO_DEEP. */
#define FP_DEPTH 8
