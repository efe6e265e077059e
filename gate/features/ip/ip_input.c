// SPDX-License-Identifier: BSD-3-Clause
/* IPv4 forwarding (RFC 1812) in phases over a burst: check the headers, look up the routes level by level, forward. Each
 * phase's loads don't depend on each other, so that the cores overlap them.
 *
 * All that isn't plain forwarding is Linux's, malformed packets too: there they are counted. Checks see the header as it
 * came in; nothing is changed before it's certain that the packet goes out. */
#include <errno.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "fastpath/fp.h"
#include "features/iface/iface.h"
#include "features/ip/ip_fragment.h"
#include "features/route/forward.h"
#include "features/route/route.h"
#include "features/rule/rule.h"
#include "features/vrf/vrf.h"

/* A header without options in three loads, network byte order. */
struct header {
	uint64_t a, b;
	uint32_t c;
};

static inline struct header load_header(const struct rte_mbuf *m)
{
	const char *at = rte_pktmbuf_mtod(m, const char *);
	struct header h;

	memcpy(&h.a, at, 8);
	memcpy(&h.b, at + 8, 8);
	memcpy(&h.c, at + 16, 4);
	return h;
}

static inline uint8_t version_ihl(const struct header *h)
{
	return h->a & 0xff;
}

static inline uint16_t total_length(const struct header *h)
{
	return rte_be_to_cpu_16(h->a >> 16 & 0xffff);
}

static inline uint8_t ttl(const struct header *h)
{
	return h->b & 0xff;
}

static inline uint32_t source(const struct header *h)
{
	return rte_be_to_cpu_32(h->b >> 32);
}

static inline uint32_t destination(const struct header *h)
{
	return rte_be_to_cpu_32(h->c);
}

/* RFC 1071: the sum over a right header, its checksum included, is all ones: a multiple of 65535. So is that of larger words
 * with their carries brought round. */
static inline bool checksum_right(const struct header *h)
{
	uint64_t sum = h->a + h->b;

	sum += sum < h->b;
	sum += h->c;
	sum += sum < h->c;
	return sum % 0xffff == 0;
}

/* By the first byte, 0/8, 127/8 and from 224/4 on: no source or destination that a router forwards. */
static const bool special[256] = {[0] = true, [127] = true, [224 ... 255] = true};

/* Linux takes no packet from its own addresses; with custom local routes it looks up the source's route. */
static __rte_noinline bool source_is_local(uint32_t vrf, uint32_t src)
{
	uint8_t type = nexthop_rows[mtrie4_lookup(vrf_root4(vrf), src)].type;

	return type == NEXTHOP_LOCAL || type == NEXTHOP_BROADCAST || type == NEXTHOP_LINUX;
}

/* Why a packet with this header isn't forwarded; the checks of ip_input in Linux's order. */
static __rte_noinline enum reason refusal(const struct rte_mbuf *m)
{
	struct header h = load_header(m);
	uint8_t ihl = version_ihl(&h) & 0xf;

	if (version_ihl(&h) >> 4 != 4)
		return EXCEPTION_IP_VERSION;
	if (ihl < 5)
		return EXCEPTION_IP_HEADER_LENGTH;
	if (ihl == 5 && !checksum_right(&h))
		return EXCEPTION_IP_CHECKSUM;
	if (total_length(&h) > m->pkt_len || total_length(&h) < 4 * ihl)
		return EXCEPTION_IP_LENGTH;
	if (ihl > 5)
		return EXCEPTION_IP_OPTIONS;
	if (special[source(&h) >> 24])
		return EXCEPTION_IP_SOURCE;
	if (special[destination(&h) >> 24])
		return EXCEPTION_IP_DESTINATION;
	return EXCEPTION_IP_TTL;
}

/* As Linux's ip_decrease_ttl. RFC 1624 gives the same: the sum of a right header is never 0x0000. */
static inline void decrease_ttl(void *header)
{
	uint8_t *at = (uint8_t *)header + offsetof(struct rte_ipv4_hdr, time_to_live);
	uint32_t word, sum;

	memcpy(&word, at, sizeof(word)); /* TTL, protocol, checksum */
	sum = (word >> 16) + RTE_BE16(0x0100);
	sum += sum >= 0xffff;
	word = (word & 0xffff) - 1 + (sum << 16);
	memcpy(at, &word, sizeof(word));
}

static uint32_t lookup_one(const struct fp_burst *b, const struct rte_mbuf *m)
{
	const struct iface_row *in = b->flags & FP_BURST_OWN ? NULL : &iface_rows[b->iface];
	const struct rule_set_row *rules = in ? rule_set4(in) : rule_set4_own(b->vrf);
	struct header h = load_header(m);

	if (unlikely(rules))
		return in ? rule_route4(rules, in, m) : rule_route4_own(rules, b->vrf, m);
	return mtrie4_lookup(vrf_root4(b->vrf), destination(&h));
}

static const struct forward_family family = {
	.family = AF_INET,
	.dst_offset = offsetof(struct rte_ipv4_hdr, dst_addr),
	.ethertype = RTE_BE16(RTE_ETHER_TYPE_IPV4),
	.no_route = EXCEPTION_IP_NO_ROUTE,
	.local = EXCEPTION_IP_LOCAL,
	.broadcast = EXCEPTION_IP_BROADCAST,
	.blackhole = DROP_IP_BLACKHOLE,
	.unreachable = EXCEPTION_IP_UNREACHABLE,
	.linux_route = EXCEPTION_IP_LINUX_ROUTE,
	.output_linux = EXCEPTION_IP_OUTPUT_LINUX,
	.output_down = EXCEPTION_IP_OUTPUT_DOWN,
	.same_iface = EXCEPTION_IP_SAME_IFACE,
	.mtu = EXCEPTION_IP_MTU,
	.neighbour = EXCEPTION_IP_NEIGHBOUR,
	.trailer = EXCEPTION_IP_TRAILER,
	.out_leg = FP_LEG_IP_OUT,
	.local_leg = FP_LEG_IP_LOCAL,
	.fragmentation = FP_STAGE_IP_FRAGMENTATION,
	.lookup = lookup_one,
	.rewrite = decrease_ttl,
	.send = fp_ip_inetif_send,
};

/* Headers that are all right go to @ret, with their destinations; how many. *@ret_ecn: whether some have ECN bits. */
static inline uint16_t check(struct fp_worker *w, uint32_t vrf, struct rte_mbuf **pkts, uint16_t n,
			     struct fp_packet *ret, uint32_t *ret_dst, bool *ret_ecn)
{
	const struct vrf_row *vrf_row_ = &vrf_rows[vrf];
	const mtrie_entry *root = mtrie4_roots[vrf_root4(vrf)].entry;
	uint16_t kept = 0;
	uint64_t seen = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		struct header h;
		uint32_t len, src, dst;

		if (unlikely(m->data_len < sizeof(struct rte_ipv4_hdr))) {
			fp_exception(w, m, EXCEPTION_IP_TOO_SHORT);
			continue;
		}
		h = load_header(m);
		seen |= h.a;
		len = total_length(&h);
		src = source(&h);
		dst = destination(&h);
		if (unlikely(version_ihl(&h) != 0x45 || len > m->pkt_len ||
			     len < sizeof(struct rte_ipv4_hdr) || !checksum_right(&h) ||
			     ttl(&h) <= 1 || (special[src >> 24] | special[dst >> 24]))) {
			fp_exception(w, m, refusal(m));
			continue;
		}
		if (unlikely(vrf_maybe_local4(vrf_row_, src) && source_is_local(vrf, src))) {
			fp_exception(w, m, EXCEPTION_IP_SOURCE_LOCAL);
			continue;
		}
		rte_prefetch0(&root[dst >> 16]);
		ret[kept].m = m;
		ret[kept].len = len;
		ret_dst[kept++] = dst;
	}
	*ret_ecn = seen & 0x300;
	return kept;
}

static inline void prefetch_node(const struct mtrie_line_row *lines, uint32_t e, unsigned index)
{
	const mtrie_entry *at = lines[e & MTRIE_LINE].entry;

	rte_prefetch0(e & MTRIE_FULL ? at + index : at);
}

/* mtrie4_lookup over a burst, a level at a time: with large tables nearly all of it is waiting for memory, together. */
static __rte_always_inline void lookup(uint32_t vrf, struct fp_packet *pkts, const uint32_t *dst,
				       uint16_t n)
{
	const mtrie_entry *root = mtrie4_roots[vrf_root4(vrf)].entry;
	const struct mtrie_line_row *lines = mtrie4_lines;

	for (uint16_t i = 0; i < n; i++) {
		uint32_t e = mtrie_load(&root[dst[i] >> 16]);

		pkts[i].nexthop = e;
		if (e & MTRIE_NODE)
			prefetch_node(lines, e, dst[i] >> 8 & 0xff);
	}
	for (uint16_t i = 0; i < n; i++) {
		uint32_t e = pkts[i].nexthop;

		if (!(e & MTRIE_NODE))
			continue;
		e = mtrie_pick(lines, e, dst[i] >> 8 & 0xff);
		pkts[i].nexthop = e;
		if (e & MTRIE_NODE)
			prefetch_node(lines, e, dst[i] & 0xff);
	}
	for (uint16_t i = 0; i < n; i++) {
		uint32_t e = pkts[i].nexthop;

		if (e & MTRIE_NODE)
			e = mtrie_pick(lines, e, dst[i] & 0xff);
		pkts[i].nexthop = e & MTRIE_VALUE;
	}
}

/* Why no packet of the interface may be forwarded here; N_REASONS: none. */
static enum reason closed(uint32_t iface)
{
	const struct iface_row *in = &iface_rows[iface];

	if (vrf_rows[in->vrf].flags & FPC_VRF_POLICY4)
		return EXCEPTION_VRF_POLICY;
	return in->flags & FPC_IFACE_FORWARD4 ? N_REASONS : EXCEPTION_IP_NOT_FORWARDING;
}

static bool usable(uint32_t iface)
{
	return (iface_rows[iface].flags & OUTPUT_WANTED) == OUTPUT_WANTED;
}

/* Whether one interface is the other, or both are ports of one VRF device. */
static bool is_same(uint32_t a, uint32_t b)
{
	uint32_t l3mdev = iface_rows[a].l3mdev;

	return a == b ||
	       (l3mdev && l3mdev == iface_rows[b].l3mdev && iface_rows[a].vrf == iface_rows[b].vrf);
}

/* Whether Linux surely takes a packet of interface @iface with this route back to its source (__fib_validate_source). Links
 * that are down aren't sure: Linux may have a shorter prefix then. */
static bool way_back(uint32_t iface, uint32_t back, bool loose)
{
	const struct nexthop_row *nexthop = &nexthop_rows[back];
	const struct nexthop_group_row *group = &nexthop_group_rows[nexthop->group];

	switch (nexthop->type) {
	case NEXTHOP_GATEWAY:
	case NEXTHOP_CONNECTED:
		return is_same(nexthop->iface, iface) || (loose && usable(nexthop->iface));
	case NEXTHOP_GROUP:
		if (loose)
			return usable(nexthop_rows[group->member[0].nexthop].iface);
		for (unsigned i = 0; i < group->n; i++)
			if (is_same(nexthop_rows[group->member[i].nexthop].iface, iface))
				return true;
		return false;
	default:
		return false;
	}
}

/* The reverse path filter: leaves those in @pkts and @dst that pass; how many. Linux drops and counts the others. */
static __rte_noinline uint16_t reverse_path(struct fp_worker *w, uint32_t iface,
					    struct fp_packet *pkts, uint32_t *dst, uint16_t n)
{
	const struct iface_row *in = &iface_rows[iface];
	bool loose = !(in->flags & FPC_IFACE_RPF);
	struct fp_packet back[FP_BURST];
	uint32_t src[FP_BURST];
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct header h = load_header(pkts[i].m);

		src[i] = source(&h);
	}
	lookup(in->vrf, back, src, n);
	for (uint16_t i = 0; i < n; i++) {
		/* Linux doesn't ask where what was decrypted came from: its SA does. */
		if (!way_back(iface, back[i].nexthop, loose) &&
		    !(pkts[i].m->ol_flags & fp_special_flag)) {
			fp_exception(w, pkts[i].m, EXCEPTION_IP_RPF);
			continue;
		}
		dst[kept] = dst[i];
		pkts[kept++] = pkts[i];
	}
	return kept;
}

/* Why Linux perhaps doesn't take a packet whose route back is this, where rules choose the table: __fib_validate_source looks up
 * all sources then, and refuses those that aren't somebody else's unicast address. N_REASONS: it does. */
static enum reason source_refusal(const struct iface_row *in, uint32_t iface, uint32_t back,
				  bool decrypted)
{
	uint8_t type = nexthop_rows[back].type;

	if (type == NEXTHOP_LINUX)
		return EXCEPTION_IP_LINUX_ROUTE;
	if (type == NEXTHOP_LOCAL || type == NEXTHOP_BROADCAST)
		return EXCEPTION_IP_SOURCE_LOCAL;
	if (in->flags & (FPC_IFACE_RPF | FPC_IFACE_RPF_LOOSE) && !decrypted &&
	    !way_back(iface, back, !(in->flags & FPC_IFACE_RPF)))
		return EXCEPTION_IP_RPF;
	return N_REASONS;
}

/* As check, reverse_path and lookup, where rules choose the table. Next hops that are chosen stay. */
static __rte_noinline uint16_t by_rules(struct fp_worker *w, const struct rule_set_row *rules,
					uint32_t iface, struct fp_packet *pkts, uint16_t n)
{
	const struct iface_row *in = &iface_rows[iface];
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i].m;
		enum reason reason = source_refusal(in, iface, rule_route4_back(rules, in, m),
						    m->ol_flags & fp_special_flag);

		if (reason != N_REASONS) {
			fp_exception(w, m, reason);
			continue;
		}
		pkts[kept] = pkts[i];
		if (!pkts[kept].nexthop)
			pkts[kept].nexthop = rule_route4(rules, in, m);
		kept++;
	}
	return kept;
}

/* Behind the stages before routing: headers may have changed, next hops may be chosen. */
static void route(struct fp_worker *w, struct fp_burst *b)
{
	const struct rule_set_row *rules = rule_set4(&iface_rows[b->iface]);
	uint32_t chosen[FP_BURST], dst[FP_BURST];

	if (rules) {
		b->n = by_rules(w, rules, b->iface, b->pkts, b->n);
		forward_burst(w, b->iface, b->pkts, b->n, true, &family);
		return;
	}
	for (uint16_t i = 0; i < b->n; i++) {
		struct header h = load_header(b->pkts[i].m);

		dst[i] = destination(&h);
	}
	if (iface_rows[b->iface].flags & (FPC_IFACE_RPF | FPC_IFACE_RPF_LOOSE))
		b->n = reverse_path(w, b->iface, b->pkts, dst, b->n);
	for (uint16_t i = 0; i < b->n; i++)
		chosen[i] = b->pkts[i].nexthop;
	lookup(b->vrf, b->pkts, dst, b->n);
	for (uint16_t i = 0; i < b->n; i++)
		if (chosen[i])
			b->pkts[i].nexthop = chosen[i];
	forward_burst(w, b->iface, b->pkts, b->n, true, &family);
}

static uint64_t stages_in(uint32_t iface, uint32_t vrf)
{
	return (iface_rows[iface].stages | vrf_rows[vrf].stages | fp_stages_on()) &
	       fp_leg_stages(FP_LEG_IP_IN);
}

/* The leg IN. */
static __rte_noinline void input_leg(struct fp_worker *w, struct fp_burst *b, uint64_t allowed)
{
	fp_run_stages(w, stages_in(b->iface, b->vrf) & allowed, b);
	if (b->flags & FP_BURST_OWN) {
		forward_leg(w, b, &family, ~0ULL);
		return;
	}
	route(w, b);
}

static __rte_noinline void input_stages(struct fp_worker *w, uint32_t iface,
					const struct fp_packet *pkts, uint16_t n)
{
	struct fp_burst b = {
		.iface = iface, .vrf = iface_rows[iface].vrf, .n = n, .family = AF_INET};

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

static void ip_input(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	struct fp_packet forward[FP_BURST];
	uint32_t dst[FP_BURST];
	uint32_t vrf = iface_rows[iface].vrf;
	enum reason reason = closed(iface);
	bool ecn;

	if (unlikely(reason != N_REASONS)) {
		for (uint16_t i = 0; i < n; i++)
			fp_exception(w, pkts[i], reason);
		return;
	}
	n = check(w, vrf, pkts, n, forward, dst, &ecn);
	if (unlikely(stages_in(iface, vrf) || rule_set4(&iface_rows[iface]))) {
		if (n)
			input_stages(w, iface, forward, n);
		return;
	}
	if (iface_rows[iface].flags & (FPC_IFACE_RPF | FPC_IFACE_RPF_LOOSE))
		n = reverse_path(w, iface, forward, dst, n);
	lookup(vrf, forward, dst, n);
	forward_burst(w, iface, forward, n, ecn, &family);
}

fp_iface_fn *fp_hook_ip_input(fp_iface_fn *hook)
{
	return fp_hook_ethertype(RTE_ETHER_TYPE_IPV4, "ip_input", hook);
}

static void send_ip(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n)
{
	fp_if_output(w, iface, RTE_BE16(RTE_ETHER_TYPE_IPV4), pkts, n);
}

/* The stage FRAGMENTATION. What can't be fragmented stays in @b. */
static void fragment(struct fp_worker *w, struct fp_burst *b)
{
	struct rte_mbuf *fragments[IP_FRAGMENTS_MAX];
	uint16_t kept = 0;

	static_assert(IP_FRAGMENTS_MAX <= FP_BURST);
	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet p = b->pkts[i];
		const struct nexthop_row *nexthop = &nexthop_rows[p.nexthop];
		struct ip_counters *c = &iface_stats(w->id, nexthop->iface)->ip4;
		uint32_t mtu = forward_mtu(nexthop);
		uint32_t in_len = p.m->pkt_len;
		const struct fp_special_field *s = fp_special_field(p.m);
		struct fp_burst out;
		int n = -EMSGSIZE;

		/* What came in fragments leaves in none larger. */
		if (p.m->ol_flags & fp_special_flag && s->largest)
			mtu = RTE_MIN(mtu, s->largest);
		/* A route's MTU may be larger than that of its interface: what comes of that is Linux's business. */
		if (mtu <= iface_rows[nexthop->iface].mtu)
			n = ip_fragment(p.m, p.len, mtu, fragments);
		if (n < 0 && n != -ENOMEM) {
			b->pkts[kept++] = p;
			continue;
		}
		/* Linux counts the whole packet as forwarded, and its fragments as sent. */
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
		out.family = AF_INET;
		out.flags = b->flags | FP_BURST_OWN;
		for (int j = 0; j < n; j++) {
			struct rte_mbuf *m = fragments[j];

			if (!(b->flags & FP_BURST_OWN))
				decrease_ttl(rte_pktmbuf_mtod(m, void *));
			out.pkts[j] =
				(struct fp_packet){.m = m, .len = m->pkt_len, .nexthop = p.nexthop};
		}
		fp_resume(w, FP_STAGE_IP_FRAGMENTATION, &out);
	}
	b->n = kept;
}

static int init(struct err *err)
{
	int rc = fp_register_ethertype(RTE_ETHER_TYPE_IPV4, ip_input);

	if (!rc)
		rc = fp_register_stage(FP_STAGE_IP_FRAGMENTATION, fragment);
	fp_hooks.ip_inetif_send = send_ip;
	fp_register_leg(FP_LEG_IP_IN, input_leg);
	fp_register_leg(FP_LEG_IP_LOCAL, local_leg);
	fp_register_leg(FP_LEG_IP_OUT, output_leg);
	return rc ? err_set(err, -rc, "the ethertype or the fragmentation of IPv4 is taken") : 0;
}

const struct fp_feature ip_fastpath = {.init = init};
