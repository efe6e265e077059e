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
};

/* What is known of a packet on its way. */
struct forward {
	struct rte_mbuf *m; /* data at the layer 3 header */
	uint32_t len;	    /* of the packet by its header, bytes; not beyond the frame */
	uint32_t nexthop;   /* row */
};

#define OUTPUT_FLAGS  (FPC_IFACE_UP | FPC_IFACE_RUNNING | FPC_IFACE_FOREIGN)
#define OUTPUT_WANTED (FPC_IFACE_UP | FPC_IFACE_RUNNING)

static __rte_noinline void forward_refuse(struct fp_worker *w, uint32_t iface, struct rte_mbuf *m,
					  uint32_t row, const struct forward_family *f)
{
	const struct nexthop_row *nexthop = &nexthop_rows[row];
	const struct iface_row *out = &iface_rows[nexthop->iface];
	enum reason reason;

	switch (nexthop->type) {
	case NEXTHOP_NONE:
		reason = f->no_route;
		break;
	case NEXTHOP_LOCAL:
		reason = f->local;
		break;
	case NEXTHOP_BROADCAST:
		reason = f->broadcast;
		break;
	case NEXTHOP_BLACKHOLE:
		fp_drop(w, m, f->blackhole);
		return;
	case NEXTHOP_UNREACHABLE:
		reason = f->unreachable;
		break;
	case NEXTHOP_LINUX:
	case NEXTHOP_GROUP:
		reason = f->linux_route;
		break;
	default:
		if (nexthop->iface == iface)
			reason = f->same_iface; /* Linux may send a redirect */
		else if ((out->flags & OUTPUT_FLAGS) != OUTPUT_WANTED)
			reason = f->output_down;
		else if (out->type != IFACE_PORT)
			reason = f->output_linux;
		else
			reason = f->mtu;
	}
	fp_exception(w, m, reason);
}

/* The row for a packet of the group that @row names; @row itself where only Linux knows how to choose. */
static __rte_noinline uint32_t forward_choose(uint32_t iface, const struct rte_mbuf *m,
					      uint32_t row, const struct forward_family *f)
{
	uint32_t flags = vrf_rows[iface_rows[iface].vrf].flags;
	uint32_t hash;

	if (f->family == AF_INET) {
		if (flags & FPC_VRF_MULTIPATH4_LINUX)
			return row;
		hash = flow_hash4(m, flags & FPC_VRF_MULTIPATH4_PORTS);
	} else {
		if (flags & FPC_VRF_MULTIPATH6_LINUX)
			return row;
		hash = flow_hash6(m, flags & FPC_VRF_MULTIPATH6_PORTS);
	}
	return nexthop_group_rows[nexthop_rows[row].group].slot[hash >> 24];
}

/* Whether a packet of @len bytes from @iface can go to @nexthop without Linux. */
static inline bool forward_usable(const struct nexthop_row *nexthop, uint32_t iface, uint32_t len)
{
	const struct iface_row *out = &iface_rows[nexthop->iface];
	uint8_t type = nexthop->type;

	return (type == NEXTHOP_GATEWAY || type == NEXTHOP_CONNECTED) &&
	       (out->flags & OUTPUT_FLAGS) == OUTPUT_WANTED && out->type == IFACE_PORT &&
	       len <= out->mtu && nexthop->iface != iface;
}

/* Whether @m can be cut to @len bytes: its last segment holds all that is too much. */
static inline bool forward_can_trim(struct rte_mbuf *m, uint32_t len)
{
	return m->nb_segs == 1 || m->pkt_len - len <= rte_pktmbuf_lastseg(m)->data_len;
}

/* Sends @n packets on, or ends them otherwise. @rewrite counts the TTL down. */
static __rte_always_inline void forward_burst(struct fp_worker *w, uint32_t iface,
					      struct forward *pkts, uint16_t n,
					      const struct forward_family *f,
					      void (*rewrite)(void *header))
{
	const struct nexthop_row *nexthops = nexthop_rows;
	const struct iface_row *ifaces = iface_rows;
	const struct neigh_row *neighs = neigh_rows;
	struct tx_tally tally = {0};
	uint32_t neigh[FP_BURST];
	uint32_t output[FP_BURST];
	uint16_t kept = 0;

	if (n)
		fp_trace(w, TRACE_NEXTHOP, pkts[0].nexthop);
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i].m;
		const struct nexthop_row *nexthop = &nexthops[pkts[i].nexthop];
		uint32_t row;

		if (unlikely(!forward_usable(nexthop, iface, pkts[i].len))) {
			if (nexthop->type == NEXTHOP_GROUP) {
				pkts[i].nexthop = forward_choose(iface, m, pkts[i].nexthop, f);
				nexthop = &nexthops[pkts[i].nexthop];
			}
			if (!forward_usable(nexthop, iface, pkts[i].len)) {
				forward_refuse(w, iface, m, pkts[i].nexthop, f);
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
		neigh[kept] = row;
		output[kept] = nexthop->iface;
		pkts[kept++] = pkts[i];
	}

	if (kept)
		fp_trace(w, TRACE_NEIGH, neigh[0]);
	for (uint16_t i = 0; i < kept; i++) {
		struct rte_mbuf *m = pkts[i].m;
		struct ether_words l2 = ether_load(&neighs[neigh[i]]);

		if (unlikely(!ether_valid(&l2))) {
			fp_exception(w, m, f->neighbour);
			continue;
		}
		if (unlikely(m->pkt_len != pkts[i].len)) {
			if (!forward_can_trim(m, pkts[i].len)) {
				fp_exception(w, m, f->trailer);
				continue;
			}
			rte_pktmbuf_trim(m, m->pkt_len - pkts[i].len);
		}
		rewrite(rte_pktmbuf_mtod(m, void *));
		neigh_hit(neigh[i], w->now);
		tx_tally_add(w, &tally, output[i], pkts[i].len + RTE_ETHER_HDR_LEN);
		ether_output(w, ifaces[output[i]].port, &l2, f->ethertype, m);
	}
	if (tally.packets)
		tx_tally_end(w, &tally);
}
