// SPDX-License-Identifier: BSD-3-Clause
/* From the next hop on, IPv4 and IPv6 packets go the same way: this is that way, inline in both. */
#pragma once

#include <sys/socket.h>

#include <rte_prefetch.h>

#include "fastpath/fp.h"
#include "features/iface/iface_output.h"
#include "features/neigh/neigh.h"
#include "features/route/flow.h"
#include "features/route/route.h"
#include "features/vrf/vrf.h"

/* How a family differs. A constant, so that the compiler sees through it. */
struct forward_family {
	uint8_t family;
	uint8_t dst_offset; /* of the destination address in the header */
	uint16_t ethertype; /* network byte order */
	enum reason no_route, local, broadcast, blackhole, unreachable, linux_route, output_linux,
		output_down, same_iface, mtu, neighbour, trailer;
	enum fp_leg out_leg, local_leg;
	enum fp_stage fragmentation;
	/* Row of "nexthop", by the rules for packets of @b. */
	uint32_t (*lookup)(const struct fp_burst *b, const struct rte_mbuf *m);
	void (*rewrite)(void *header); /* counts the TTL down */
	/* fp_ip_inetif_send or its like. */
	void (*send)(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n);
};

#define OUTPUT_FLAGS  (FPC_IFACE_UP | FPC_IFACE_RUNNING | FPC_IFACE_FOREIGN)
#define SHORT_FLAGS   (OUTPUT_FLAGS | IFACE_STAGES_OUT)
#define OUTPUT_WANTED (FPC_IFACE_UP | FPC_IFACE_RUNNING)

/* One more packet by its ECN bits: of the second byte of the header, 16 bits for each of the four values. */
static inline uint64_t forward_ecn(const struct rte_mbuf *m, const struct forward_family *f)
{
	uint8_t byte = rte_pktmbuf_mtod(m, const uint8_t *)[1];

	return 1ULL << (f->family == AF_INET ? (byte & 3) << 4 : byte & 0x30);
}

/* Adds received packets that never reach Linux to their interface's counters. */
static inline void forward_count_in(const struct fp_worker *w, uint32_t iface,
				    const struct forward_family *f, uint64_t bytes, uint64_t ecn)
{
	struct ip_counters *c = ip_counters(iface_stats(w->id, iface), IP_COUNTERS(f->family));

	c->in_bytes += bytes;
	c->in_ecn[0] += ecn & 0xffff;
	if (likely(ecn < 1 << 16))
		return;
	for (unsigned i = 1; i < 4; i++)
		c->in_ecn[i] += ecn >> 16 * i & 0xffff;
}

/* The row for a packet of VRF @vrf of the group that @row names; @row itself where only Linux knows how to choose. */
uint32_t forward_choose(struct fp_worker *w, uint32_t vrf, const struct rte_mbuf *m, uint32_t row,
			const struct forward_family *f);

/* The legs OUT and LOCAL, for packets that don't go the short way: all that have to pass stages (@allowed: those among these),
 * are too large, go to this host, leave by an interface that isn't a port, or leave the fast path. Those without a next hop
 * are looked up. */
void forward_leg(struct fp_worker *w, struct fp_burst *b, const struct forward_family *f,
		 uint64_t allowed);

/* Behind the stages of the leg LOCAL. */
void forward_local(struct fp_worker *w, struct fp_burst *b, const struct forward_family *f,
		   uint64_t allowed);

/* forward_leg for @n packets (1 to FP_BURST) from @iface that just came in. */
void forward_aside(struct fp_worker *w, uint32_t iface, const struct fp_packet *pkts, uint16_t n,
		   const struct forward_family *f);

/* A packet on its way out by @output, that came in with @in_len bytes: as received and forwarded. Before its header is
 * rewritten. */
static inline void forward_count_forwarded(const struct fp_worker *w, uint32_t iface,
					   uint32_t output, const struct rte_mbuf *m,
					   uint32_t in_len, const struct forward_family *f)
{
	forward_count_in(w, iface, f, in_len, forward_ecn(m, f));
	ip_counters(iface_stats(w->id, output), IP_COUNTERS(f->family))->out_forwarded++;
}

static inline uint32_t forward_iface_mtu(const struct iface_row *out,
					 const struct forward_family *f)
{
	return f->family == AF_INET ? out->mtu : out->mtu6;
}

/* Whether a packet of @len bytes from @iface goes the short way to @nexthop. */
static inline bool forward_usable(const struct iface_row *ifaces, const struct nexthop_row *nexthop,
				  uint32_t iface, uint32_t len, const struct forward_family *f)
{
	const struct iface_row *out = &ifaces[nexthop->iface];
	uint8_t type = nexthop->type;

	return (type == NEXTHOP_GATEWAY || type == NEXTHOP_CONNECTED) &&
	       (out->flags & SHORT_FLAGS) == OUTPUT_WANTED && out->type == IFACE_PORT &&
	       len <= nexthop->mtu && len <= forward_iface_mtu(out, f) && nexthop->iface != iface;
}

/* The MTU that Linux fragments for: the route's if it has one. */
static inline uint32_t forward_mtu(const struct nexthop_row *nexthop)
{
	return nexthop->mtu != NEXTHOP_NO_MTU ? nexthop->mtu : iface_rows[nexthop->iface].mtu;
}

/* What a packet may meet from here on: without any of these stages and hooks the short way is the whole way. */
static inline uint64_t forward_stages(const struct forward_family *f)
{
	return fp_leg_stages(FP_LEG_TX) | FP_HOOKED_OUT |
	       (f->out_leg == FP_LEG_IP_OUT ? fp_leg_stages(FP_LEG_IP_OUT)
					    : fp_leg_stages(FP_LEG_IP6_OUT));
}

/* Whether @m can be cut to @len bytes: its last segment holds all that is too much. */
static inline bool forward_can_trim(struct rte_mbuf *m, uint32_t len)
{
	return m->nb_segs == 1 || m->pkt_len - len <= rte_pktmbuf_lastseg(m)->data_len;
}

/* Where a packet goes that takes the short way. */
struct forward_to {
	uint32_t neigh, iface; /* rows */
};

/* Whether all packets go the short way to the same neighbour, *@ret: as nearly all bursts do where there's one way out, and many
 * where there are few. */
static inline bool forward_same(const struct fp_packet *pkts, uint16_t n, uint32_t iface,
				const struct forward_family *f, struct forward_to *ret)
{
	const struct nexthop_row *nexthop = &nexthop_rows[pkts[0].nexthop];
	uint32_t longest = 0, others = 0;

	/* Mostly all that's needed to see that they don't. */
	if (pkts[n - 1].nexthop != pkts[0].nexthop)
		return false;
	for (uint16_t i = 0; i < n; i++) {
		others |= pkts[i].nexthop ^ pkts[0].nexthop;
		longest = RTE_MAX(longest, pkts[i].len);
	}
	*ret = (struct forward_to){nexthop->neigh, nexthop->iface};
	return !others && nexthop->type == NEXTHOP_GATEWAY &&
	       forward_usable(iface_rows, nexthop, iface, longest, f);
}

/* The last steps of the short way. @same: @to is one, of all packets. */
static __rte_always_inline void forward_send(struct fp_worker *w, uint32_t iface,
					     struct fp_packet *pkts, uint16_t n,
					     const struct forward_to *to, bool same, bool has_ecn,
					     const struct forward_family *f)
{
	const struct iface_row *ifaces = iface_rows;
	const struct neigh_row *neighs = neigh_rows;
	struct ether_words l2 = ether_load(&neighs[to[0].neigh]);
	struct tx_tally tally = {.ip = IP_COUNTERS(f->family)};
	struct fp_tx tx = {0};
	uint64_t trimmed = 0, ecn = 0;

	fp_trace(w, TRACE_NEXTHOP, pkts[0].nexthop);
	fp_trace(w, TRACE_NEIGH, to[0].neigh);
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i].m;
		struct forward_to at = to[same ? 0 : i];

		if (!same)
			l2 = ether_load(&neighs[at.neigh]);
		if (unlikely(!ether_valid(&l2))) {
			fp_exception(w, m, f->neighbour);
			continue;
		}
		if (unlikely(m->pkt_len != pkts[i].len)) {
			if (!forward_can_trim(m, pkts[i].len)) {
				fp_exception(w, m, f->trailer);
				continue;
			}
			trimmed += m->pkt_len - pkts[i].len;
			rte_pktmbuf_trim(m, m->pkt_len - pkts[i].len);
		}
		if (unlikely(has_ecn))
			ecn += forward_ecn(m, f);
		f->rewrite(rte_pktmbuf_mtod(m, void *));
		if (!same)
			neigh_hit(at.neigh, w->now);
		tx_tally_add(w, &tally, at.iface, pkts[i].len + RTE_ETHER_HDR_LEN);
		ether_put(m, &l2, f->ethertype);
		fp_tx_put(w, &tx, ifaces[at.iface].port, m);
	}
	fp_tx_end(w, &tx);
	if (tally.sum) {
		if (same)
			neigh_hit(to[0].neigh, w->now);
		tx_tally_end(w, &tally);
		forward_count_in(w, iface, f,
				 TALLY_BYTES(tally.all) + trimmed -
					 TALLY_PACKETS(tally.all) * RTE_ETHER_HDR_LEN,
				 has_ecn ? ecn : TALLY_PACKETS(tally.all));
	}
}

/* Sends @n packets on by the short way, or else by forward_leg. @has_ecn: some may have ECN bits. */
static __rte_always_inline void forward_burst(struct fp_worker *w, uint32_t iface,
					      struct fp_packet *pkts, uint16_t n, bool has_ecn,
					      const struct forward_family *f)
{
	const struct nexthop_row *nexthops = nexthop_rows;
	const struct iface_row *ifaces = iface_rows;
	const struct neigh_row *neighs = neigh_rows;
	struct fp_packet aside[FP_BURST];
	struct forward_to to[FP_BURST];
	uint16_t kept = 0, n_aside = 0;
	bool large = false;

	if (unlikely(!n))
		return;
	if (unlikely((vrf_rows[ifaces[iface].vrf].stages | fp_stages_on()) & forward_stages(f))) {
		forward_aside(w, iface, pkts, n, f);
		return;
	}
	if (forward_same(pkts, n, iface, f, to)) {
		forward_send(w, iface, pkts, n, to, true, has_ecn, f);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(&nexthops[pkts[i].nexthop]);
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i].m;
		const struct nexthop_row *nexthop = &nexthops[pkts[i].nexthop];
		uint32_t row;

		if (unlikely(!forward_usable(ifaces, nexthop, iface, pkts[i].len, f))) {
			if (nexthop->type == NEXTHOP_GROUP) {
				pkts[i].nexthop =
					forward_choose(w, ifaces[iface].vrf, m, pkts[i].nexthop, f);
				nexthop = &nexthops[pkts[i].nexthop];
			}
			if (!forward_usable(ifaces, nexthop, iface, pkts[i].len, f)) {
				if (forward_usable(ifaces, nexthop, iface, 0, f)) {
					large = true;
					pkts[kept++] = pkts[i];
				} else {
					aside[n_aside++] = pkts[i];
				}
				continue;
			}
		}
		row = nexthop->neigh;
		if (nexthop->type == NEXTHOP_CONNECTED) {
			uint8_t addr[16] = {0};

			memcpy(addr, rte_pktmbuf_mtod_offset(m, char *, f->dst_offset),
			       f->family == AF_INET ? 4 : 16);
			row = neigh_find(nexthop->iface, f->family, addr);
		}
		rte_prefetch0(&neighs[row]);
		rte_prefetch0(&neigh_hits[row]);
		to[kept] = (struct forward_to){row, nexthop->iface};
		pkts[kept++] = pkts[i];
	}
	if (unlikely(n_aside))
		forward_aside(w, iface, aside, n_aside, f);
	/* All of them, so that those of a flow stay in order. */
	if (unlikely(large))
		forward_aside(w, iface, pkts, kept, f);
	else if (likely(kept))
		forward_send(w, iface, pkts, kept, to, false, has_ecn, f);
}
