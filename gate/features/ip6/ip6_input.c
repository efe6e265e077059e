// SPDX-License-Identifier: BSD-3-Clause
/* IPv6 forwarding (RFC 8200) in phases over a burst, as in ip_input.c. Extension headers other than hop-by-hop options
 * aren't a router's business and are forwarded untouched. */
#include <errno.h>

#include <rte_byteorder.h>
#include <rte_ether.h>

#include "fastpath/fp.h"
#include "features/iface/iface.h"
#include "features/ip6/ip6_fragment.h"
#include "features/route/forward.h"
#include "features/route/route.h"
#include "features/rule/rule.h"
#include "features/vrf/vrf.h"

/* RFC 8200, section 3. Behind an Ethernet header it's aligned to two bytes. */
struct [[gnu::packed, gnu::aligned(2)]] header {
	uint32_t version_class_flow;
	uint16_t payload_length;
	uint8_t next_header;
	uint8_t hop_limit;
	uint8_t src[16];
	uint8_t dst[16];
};
static_assert(sizeof(struct header) == 40);
#define HOP_BY_HOP 0
#define MTU_MIN	   1280U
/* next_header and hop_limit of neighbour discovery (RFC 4861) */
#define ND_NEXT_HEADER 58
#define ND_HOP_LIMIT   255
#define ND_FIRST       133 /* ICMPv6 types */
#define ND_LAST	       137

static inline uint32_t packet_length(const struct header *h)
{
	return sizeof(*h) + rte_be_to_cpu_16(h->payload_length);
}

/* Those that begin with 0x00, 0xfe or 0xff. */
static inline bool maybe_special(const uint8_t addr[16])
{
	return (uint8_t)(addr[0] + 2) <= 2;
}

/* ::/64 (unspecified, loopback, addresses that hold IPv4 ones), fe80::/10, ff00::/8. */
static bool special(const uint8_t addr[16])
{
	uint64_t high;

	memcpy(&high, addr, sizeof(high));
	return !high || addr[0] == 0xff || (addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80);
}

static __rte_noinline bool is_special(const struct header *h)
{
	return special(h->src) || special(h->dst);
}

/* Linux may answer for an address that it's a proxy of (ip neigh add proxy), though it forwards what else is for it. */
static inline bool is_neighbour_discovery(const struct rte_mbuf *m, const struct header *h)
{
	uint8_t type;

	if (likely(h->next_header != ND_NEXT_HEADER || h->hop_limit != ND_HOP_LIMIT))
		return false;
	if (m->data_len <= sizeof(*h))
		return true;
	type = *rte_pktmbuf_mtod_offset(m, const uint8_t *, sizeof(*h));
	return type >= ND_FIRST && type <= ND_LAST;
}

/* Why a packet with this header isn't forwarded. */
static __rte_noinline enum reason refusal(const struct rte_mbuf *m, const struct header *h)
{
	if (*(const uint8_t *)h >> 4 != 6)
		return EXCEPTION_IP6_VERSION;
	if (special(h->src))
		return EXCEPTION_IP6_SOURCE;
	if (h->next_header == HOP_BY_HOP)
		return EXCEPTION_IP6_HOP_BY_HOP;
	if (packet_length(h) > m->pkt_len)
		return EXCEPTION_IP6_LENGTH;
	if (special(h->dst))
		return EXCEPTION_IP6_DESTINATION;
	return EXCEPTION_IP6_HOP_LIMIT;
}

static inline void decrease_hop_limit(void *header)
{
	struct header *h = header;

	h->hop_limit--;
}

static uint32_t lookup_one(const struct fp_burst *b, const struct rte_mbuf *m)
{
	const struct iface_row *in = b->flags & FP_BURST_OWN ? NULL : &iface_rows[b->iface];
	const struct rule_set_row *rules = in ? rule_set6(in) : rule_set6_own(b->vrf);

	if (unlikely(rules))
		return in ? rule_route6(rules, in, m) : rule_route6_own(rules, b->vrf, m);
	return mtrie6_lookup(vrf_root6(b->vrf), rte_pktmbuf_mtod(m, const struct header *)->dst);
}

static const struct forward_family family = {
	.family = AF_INET6,
	.dst_offset = offsetof(struct header, dst),
	.ethertype = RTE_BE16(RTE_ETHER_TYPE_IPV6),
	.no_route = EXCEPTION_IP6_NO_ROUTE,
	.local = EXCEPTION_IP6_LOCAL,
	.broadcast = EXCEPTION_IP6_BROADCAST,
	.blackhole = DROP_IP6_BLACKHOLE,
	.unreachable = EXCEPTION_IP6_UNREACHABLE,
	.linux_route = EXCEPTION_IP6_LINUX_ROUTE,
	.output_linux = EXCEPTION_IP6_OUTPUT_LINUX,
	.output_down = EXCEPTION_IP6_OUTPUT_DOWN,
	.same_iface = EXCEPTION_IP6_SAME_IFACE,
	.mtu = EXCEPTION_IP6_MTU,
	.neighbour = EXCEPTION_IP6_NEIGHBOUR,
	.trailer = EXCEPTION_IP6_TRAILER,
	.out_leg = FP_LEG_IP6_OUT,
	.local_leg = FP_LEG_IP6_LOCAL,
	.fragmentation = FP_STAGE_IP6_FRAGMENTATION,
	.lookup = lookup_one,
	.rewrite = decrease_hop_limit,
	.send = fp_ip6_inet6if_send,
};

/* Headers that are all right go to @ret, with their destinations; how many. *@ret_ecn: whether some have ECN bits. */
static inline uint16_t check(struct fp_worker *w, uint32_t vrf, struct rte_mbuf **pkts, uint16_t n,
			     struct fp_packet *ret, const uint8_t **ret_dst, bool *ret_ecn)
{
	const mtrie_entry *root = mtrie6_roots[vrf_root6(vrf)].entry;
	uint16_t kept = 0;
	uint8_t seen = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const struct header *h = rte_pktmbuf_mtod(m, const struct header *);

		if (unlikely(m->data_len < sizeof(*h))) {
			fp_exception(w, m, EXCEPTION_IP6_TOO_SHORT);
			continue;
		}
		if (unlikely(*(const uint8_t *)h >> 4 != 6 || packet_length(h) > m->pkt_len ||
			     h->next_header == HOP_BY_HOP || h->hop_limit <= 1 ||
			     ((maybe_special(h->src) | maybe_special(h->dst)) && is_special(h)))) {
			fp_exception(w, m, refusal(m, h));
			continue;
		}
		if (unlikely(is_neighbour_discovery(m, h))) {
			fp_exception(w, m, EXCEPTION_IP6_NEIGHBOUR_DISCOVERY);
			continue;
		}
		seen |= ((const uint8_t *)h)[1];
		rte_prefetch0(&root[(uint32_t)h->dst[0] << 8 | h->dst[1]]);
		ret[kept].m = m;
		ret[kept].len = packet_length(h);
		ret_dst[kept++] = h->dst;
	}
	*ret_ecn = seen & 0x30;
	return kept;
}

/* mtrie6_lookup over a burst, a level at a time, for those that have one more. */
static __rte_always_inline void lookup(uint32_t vrf, struct fp_packet *pkts,
				       const uint8_t *const *dst, uint16_t n)
{
	const mtrie_entry *root = mtrie6_roots[vrf_root6(vrf)].entry;
	uint8_t deeper[FP_BURST], at[FP_BURST];
	uint32_t node[FP_BURST];
	uint16_t n_deeper = 0;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t e = mtrie_load(&root[(uint32_t)dst[i][0] << 8 | dst[i][1]]);

		pkts[i].nexthop = e & MTRIE_VALUE;
		node[n_deeper] = e;
		at[n_deeper] = 2;
		deeper[n_deeper] = i;
		n_deeper += e >> 31;
	}
	while (n_deeper) {
		uint16_t still = 0;

		for (uint16_t j = 0; j < n_deeper; j++) {
			uint8_t i = deeper[j], byte = at[j];
			uint32_t e = mtrie6_step(node[j], dst[i], &byte);

			pkts[i].nexthop = e & MTRIE_VALUE;
			node[still] = e;
			at[still] = byte;
			deeper[still] = i;
			still += e >> 31;
		}
		n_deeper = still;
	}
}

static uint64_t stages_in(uint32_t iface, uint32_t vrf)
{
	return (iface_rows[iface].stages | vrf_rows[vrf].stages | fp_stages_on()) &
	       fp_leg_stages(FP_LEG_IP6_IN);
}

/* The leg IN. Behind its stages headers may have changed, next hops may be chosen. */
static __rte_noinline void input_leg(struct fp_worker *w, struct fp_burst *b, uint64_t allowed)
{
	const struct iface_row *in = &iface_rows[b->iface];
	const struct rule_set_row *rules;
	const uint8_t *dst[FP_BURST];
	uint32_t chosen[FP_BURST];

	fp_run_stages(w, stages_in(b->iface, b->vrf) & allowed, b);
	if (b->flags & FP_BURST_OWN) {
		forward_leg(w, b, &family, ~0ULL);
		return;
	}
	rules = rule_set6(in);
	for (uint16_t i = 0; i < b->n; i++) {
		dst[i] = rte_pktmbuf_mtod(b->pkts[i].m, const struct header *)->dst;
		chosen[i] = b->pkts[i].nexthop;
		if (rules && !chosen[i])
			chosen[i] = rule_route6(rules, in, b->pkts[i].m);
	}
	lookup(b->vrf, b->pkts, dst, b->n);
	for (uint16_t i = 0; i < b->n; i++)
		if (rules || chosen[i])
			b->pkts[i].nexthop = chosen[i];
	forward_burst(w, b->iface, b->pkts, b->n, true, &family);
}

static __rte_noinline void input_stages(struct fp_worker *w, uint32_t iface,
					const struct fp_packet *pkts, uint16_t n)
{
	struct fp_burst b = {
		.iface = iface, .vrf = iface_rows[iface].vrf, .n = n, .family = AF_INET6};

	for (uint16_t i = 0; i < n; i++)
		b.pkts[i] = (struct fp_packet){.m = pkts[i].m, .len = pkts[i].len};
	input_leg(w, &b, ~0ULL);
}

static void output_leg(struct fp_worker *w, struct fp_burst *b, uint64_t allowed)
{
	forward_leg(w, b, &family, allowed);
}

static void local_leg(struct fp_worker *w, struct fp_burst *b, uint64_t allowed)
{
	forward_local(w, b, &family, allowed);
}

static void ip6_input(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	const struct iface_row *in = &iface_rows[iface];
	struct fp_packet forward[FP_BURST];
	const uint8_t *dst[FP_BURST];
	enum reason reason = N_REASONS;
	bool ecn;

	if (vrf_rows[in->vrf].flags & FPC_VRF_POLICY6)
		reason = EXCEPTION_VRF_POLICY;
	else if (!(in->flags & FPC_IFACE_FORWARD6))
		reason = EXCEPTION_IP6_NOT_FORWARDING;
	if (unlikely(reason != N_REASONS)) {
		for (uint16_t i = 0; i < n; i++)
			fp_exception(w, pkts[i], reason);
		return;
	}
	n = check(w, in->vrf, pkts, n, forward, dst, &ecn);
	if (unlikely(stages_in(iface, in->vrf) || rule_set6(in))) {
		if (n)
			input_stages(w, iface, forward, n);
		return;
	}
	lookup(in->vrf, forward, dst, n);
	forward_burst(w, iface, forward, n, ecn, &family);
}

fp_iface_fn *fp_hook_ip6_input(fp_iface_fn *hook)
{
	return fp_hook_ethertype(RTE_ETHER_TYPE_IPV6, "ip6_input", hook);
}

static void send_ip(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n)
{
	fp_if_output(w, iface, RTE_BE16(RTE_ETHER_TYPE_IPV6), pkts, n);
}

/* The stage FRAGMENTATION, for packets that came in fragments; others stay in @b, for Linux answers them. */
static void fragment(struct fp_worker *w, struct fp_burst *b)
{
	struct rte_mbuf *fragments[IP6_FRAGMENTS_MAX];
	uint16_t kept = 0;

	static_assert(IP6_FRAGMENTS_MAX <= FP_BURST);
	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet p = b->pkts[i];
		const struct fp_special_field *s = fp_special_field(p.m);
		const struct nexthop_row *nexthop = &nexthop_rows[p.nexthop];
		struct ip_counters *c = &iface_stats(w->id, nexthop->iface)->ip6;
		uint32_t in_len = p.m->pkt_len, id = s->id;
		uint32_t mtu = RTE_MIN(nexthop->mtu, iface_rows[nexthop->iface].mtu6);
		struct fp_burst out;
		int n = -EMSGSIZE;

		/* They must fit as they came, or their sender must hear of it. */
		if (p.m->ol_flags & fp_special_flag && s->largest && s->largest <= mtu)
			n = ip6_fragment(p.m, p.len, RTE_MAX(s->largest, MTU_MIN), id, fragments);
		if (n < 0 && n != -ENOMEM) {
			b->pkts[kept++] = p;
			continue;
		}
		if (!(b->flags & FP_BURST_OWN))
			forward_count_forwarded(w, b->iface, nexthop->iface,
						n < 0 ? p.m : fragments[0], in_len, &family);
		if (n < 0) {
			c->frag_fails++;
			fp_drop(w, p.m, DROP_NO_MBUF);
			continue;
		}
		c->frag_oks++;
		c->frag_creates += (unsigned)n;
		out.iface = b->iface;
		out.vrf = b->vrf;
		out.n = (uint16_t)n;
		out.family = AF_INET6;
		out.flags = b->flags | FP_BURST_OWN;
		for (int j = 0; j < n; j++) {
			struct rte_mbuf *m = fragments[j];

			if (!(b->flags & FP_BURST_OWN))
				decrease_hop_limit(rte_pktmbuf_mtod(m, void *));
			out.pkts[j] =
				(struct fp_packet){.m = m, .len = m->pkt_len, .nexthop = p.nexthop};
		}
		fp_resume(w, FP_STAGE_IP6_FRAGMENTATION, &out);
	}
	b->n = kept;
}

static int init(struct err *err)
{
	int rc = fp_register_ethertype(RTE_ETHER_TYPE_IPV6, ip6_input);

	if (!rc)
		rc = fp_register_stage(FP_STAGE_IP6_FRAGMENTATION, fragment);
	fp_hooks.ip6_inet6if_send = send_ip;
	fp_register_leg(FP_LEG_IP6_IN, input_leg);
	fp_register_leg(FP_LEG_IP6_LOCAL, local_leg);
	fp_register_leg(FP_LEG_IP6_OUT, output_leg);
	return rc ? err_set(err, -rc, "the ethertype or the fragmentation of IPv6 is taken") : 0;
}

const struct fp_feature ip6_fastpath = {.init = init};
