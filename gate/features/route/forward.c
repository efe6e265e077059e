// SPDX-License-Identifier: BSD-3-Clause
/* The way of packets that something happens to between their lookup and a port: forward.h is that of all others. */
#include "features/route/forward.h"

#define FRAGMENTS(f) (1ULL << (f)->fragmentation)

uint32_t forward_choose(struct fp_worker *w, uint32_t vrf, const struct rte_mbuf *m, uint32_t row,
			const struct forward_family *f)
{
	uint32_t flags = vrf_rows[vrf].flags, seed = vrf_rows[vrf].multipath_seed;
	uint32_t hash;

	fp_trace(w, TRACE_GROUP, row);
	if (f->family == AF_INET) {
		if (flags & FPC_VRF_MULTIPATH4_LINUX)
			return row;
		hash = flow_hash4(m, flags & FPC_VRF_MULTIPATH4_PORTS, seed);
	} else {
		if (flags & FPC_VRF_MULTIPATH6_LINUX)
			return row;
		hash = flow_hash6(m, flags & FPC_VRF_MULTIPATH6_PORTS, seed);
	}
	return nexthop_choose(&nexthop_group_rows[nexthop_rows[row].group], hash);
}

/* Why a packet doesn't go to its next hop from here. */
static enum reason refusal(const struct fp_burst *b, const struct fp_packet *p,
			   const struct forward_family *f)
{
	const struct nexthop_row *nexthop = &nexthop_rows[p->nexthop];
	const struct iface_row *out = &iface_rows[nexthop->iface];

	switch (nexthop->type) {
	case NEXTHOP_NONE:
		return f->no_route;
	case NEXTHOP_LOCAL:
		return f->local;
	case NEXTHOP_BROADCAST:
		return f->broadcast;
	case NEXTHOP_BLACKHOLE:
		return f->blackhole;
	case NEXTHOP_UNREACHABLE:
		return f->unreachable;
	case NEXTHOP_LINUX:
	case NEXTHOP_GROUP:
		return f->linux_route;
	default:
		if (nexthop->iface == b->iface)
			return f->same_iface; /* Linux may send a redirect */
		if ((out->flags & OUTPUT_FLAGS) != OUTPUT_WANTED)
			return f->output_down;
		return fp_outputs[out->type] ? f->mtu : f->output_linux;
	}
}

/* Ends a packet that doesn't. What Linux gets it counts itself. */
static void refuse(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
		   const struct forward_family *f)
{
	enum reason reason = refusal(b, p, f);

	if (reason == f->blackhole && !(b->flags & FP_BURST_OWN)) {
		forward_count_in(w, b->iface, f, p->m->pkt_len, forward_ecn(p->m, f));
		iface_stats(w->id, b->iface)->rx_ip_dropped++;
	}
	fp_end(w, b, p, reason);
}

/* Whether @p can leave by its next hop's interface, in one piece or several. The way back to where it came from would be a
 * redirect's cause, but not for what was decrypted. */
static bool leads_out(const struct fp_burst *b, const struct fp_packet *p)
{
	const struct nexthop_row *nexthop = &nexthop_rows[p->nexthop];
	const struct iface_row *out = &iface_rows[nexthop->iface];

	return (nexthop->type == NEXTHOP_GATEWAY || nexthop->type == NEXTHOP_CONNECTED) &&
	       (out->flags & OUTPUT_FLAGS) == OUTPUT_WANTED && fp_outputs[out->type] &&
	       (nexthop->iface != b->iface || b->flags & FP_BURST_OWN ||
		p->m->ol_flags & fp_special_flag);
}

static uint32_t neighbour(const struct fp_packet *p, const struct forward_family *f)
{
	const struct nexthop_row *nexthop = &nexthop_rows[p->nexthop];
	uint8_t addr[16] = {0};

	if (nexthop->type == NEXTHOP_GATEWAY)
		return nexthop->neigh;
	memcpy(addr, rte_pktmbuf_mtod_offset(p->m, char *, f->dst_offset),
	       f->family == AF_INET ? 4 : 16);
	return neigh_find(nexthop->iface, f->family, addr);
}

/* The next hop of a packet without one, or with a group. */
static void resolve(struct fp_worker *w, const struct fp_burst *b, struct fp_packet *p,
		    const struct forward_family *f)
{
	if (!p->nexthop)
		p->nexthop = f->lookup(b, p->m);
	if (nexthop_rows[p->nexthop].type == NEXTHOP_GROUP)
		p->nexthop = forward_choose(w, b->vrf, p->m, p->nexthop, f);
}

/* Cuts off what lies behind the packet. False: not possible, and @p is ended. */
static bool ready(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
		  const struct forward_family *f)
{
	if (likely(p->m->pkt_len == p->len))
		return true;
	if (!forward_can_trim(p->m, p->len)) {
		fp_end(w, b, p, f->trailer);
		return false;
	}
	rte_pktmbuf_trim(p->m, p->m->pkt_len - p->len);
	return true;
}

/* As Linux counts it: the IP layer has sent it, whatever becomes of it behind that. */
static void count_sent(const struct fp_worker *w, uint32_t output, const struct fp_packet *p,
		       const struct forward_family *f)
{
	struct ip_counters *c = ip_counters(iface_stats(w->id, output), IP_COUNTERS(f->family));

	c->out_packets++;
	c->out_bytes += p->len;
}

/* A packet that is larger than the MTU. */
static void send_large(struct fp_worker *w, const struct fp_burst *of, const struct fp_packet *p,
		       const struct forward_family *f)
{
	struct fp_burst b = {.iface = of->iface,
			     .vrf = of->vrf,
			     .n = 1,
			     .family = of->family,
			     .flags = of->flags};

	b.pkts[0] = *p;
	fp_run_stages(w, FRAGMENTS(f), &b);
	if (b.n)
		fp_end(w, &b, &b.pkts[0], f->mtu);
}

/* Packets that passed all stages but fragmentation, and have a next hop or are to be looked up again. @fragments: whether
 * fragmentation lies ahead. */
static void send_on(struct fp_worker *w, struct fp_burst *b, const struct forward_family *f,
		    bool fragments)
{
	struct fp_send run[FP_BURST];
	uint32_t iface = 0;
	uint16_t n = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet *p = &b->pkts[i];
		const struct iface_row *out;
		uint32_t output, neigh, in_len;

		resolve(w, b, p, f);
		if (!leads_out(b, p)) {
			refuse(w, b, p, f);
			continue;
		}
		output = nexthop_rows[p->nexthop].iface;
		out = &iface_rows[output];
		neigh = neighbour(p, f);
		fp_trace(w, TRACE_NEIGH, neigh);
		if (out->type == IFACE_PORT) {
			struct ether_words l2 = ether_load(&neigh_rows[neigh]);

			if (!ether_valid(&l2)) {
				fp_end(w, b, p, f->neighbour);
				continue;
			}
		}
		if (p->len > nexthop_rows[p->nexthop].mtu || p->len > forward_iface_mtu(out, f)) {
			if (!fragments) {
				fp_end(w, b, p, f->mtu);
				continue;
			}
			/* In order. */
			if (n)
				f->send(w, iface, run, n);
			n = 0;
			send_large(w, b, p, f);
			continue;
		}
		in_len = p->m->pkt_len;
		if (!ready(w, b, p, f))
			continue;
		if (!(b->flags & FP_BURST_OWN)) {
			forward_count_forwarded(w, b->iface, output, p->m, in_len, f);
			f->rewrite(rte_pktmbuf_mtod(p->m, void *));
		}
		count_sent(w, output, p, f);
		if (n && output != iface) {
			f->send(w, iface, run, n);
			n = 0;
		}
		iface = output;
		run[n++] = (struct fp_send){.m = p->m, .neigh = neigh};
	}
	if (n)
		f->send(w, iface, run, n);
}

/* Takes those packets out of @b that nobody has to see on their way out, and ends them, or sends them to this host. */
static void sort_out(struct fp_worker *w, struct fp_burst *b, const struct forward_family *f)
{
	struct fp_burst local = {
		.iface = b->iface, .vrf = b->vrf, .family = b->family, .flags = b->flags};
	uint16_t kept = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet *p = &b->pkts[i];

		resolve(w, b, p, f);
		fp_trace(w, TRACE_NEXTHOP, p->nexthop);
		if (leads_out(b, p)) {
			b->pkts[kept++] = *p;
			continue;
		}
		if (nexthop_rows[p->nexthop].type == NEXTHOP_LOCAL && fp_local_wanted(f->family))
			local.pkts[local.n++] = *p;
		else
			refuse(w, b, p, f);
	}
	b->n = kept;
	if (local.n)
		forward_local(w, &local, f, ~0ULL);
}

void forward_leg(struct fp_worker *w, struct fp_burst *b, const struct forward_family *f,
		 uint64_t allowed)
{
	uint64_t stages = vrf_rows[b->vrf].stages | fp_stages_on();
	bool fragments = allowed & FRAGMENTS(f) && fp_stage_registered(f->fragmentation);

	sort_out(w, b, f);
	for (uint16_t i = 0; i < b->n; i++)
		stages |= iface_rows[nexthop_rows[b->pkts[i].nexthop].iface].stages;
	stages &= forward_stages(f) & ~fp_leg_stages(FP_LEG_TX) & ~FP_HOOKED_OUT;
	fp_run_stages(w, stages & allowed & ~FRAGMENTS(f), b);
	send_on(w, b, f, fragments);
}

void forward_local(struct fp_worker *w, struct fp_burst *b, const struct forward_family *f,
		   uint64_t allowed)
{
	uint64_t stages = vrf_rows[b->vrf].stages | fp_stages_on() | iface_rows[b->iface].stages;

	stages &= f->local_leg == FP_LEG_IP_LOCAL ? fp_leg_stages(FP_LEG_IP_LOCAL)
						  : fp_leg_stages(FP_LEG_IP6_LOCAL);
	fp_run_stages(w, stages & allowed, b);
	fp_local(w, b, f->local);
}

void forward_aside(struct fp_worker *w, uint32_t iface, const struct fp_packet *pkts, uint16_t n,
		   const struct forward_family *f)
{
	struct fp_burst b = {
		.iface = iface, .vrf = iface_rows[iface].vrf, .n = n, .family = f->family};

	memcpy(b.pkts, pkts, n * sizeof(*pkts));
	forward_leg(w, &b, f, ~0ULL);
}
