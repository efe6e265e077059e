// SPDX-License-Identifier: BSD-3-Clause
/* Which policy a packet meets, inline for those who ask for each packet. */
#pragma once

#include "features/ipsec/ipsec_path.h"

extern const struct ipsec_policy_bucket_row *ipsec_policy_buckets;
extern uint32_t ipsec_policy_mask;

/* What a packet is compared by. */
struct ipsec_flow {
	const uint8_t *src, *dst;
	uint32_t ifindex;      /* of the output interface */
	uint16_t sport, dport; /* network byte order; ICMP: type and code */
	uint8_t family, proto;
};

/* Ports, and the protocol behind IPv6 extension headers. False: as ipsec_flow. */
bool ipsec_flow_ports(struct ipsec_flow *ret, const struct rte_mbuf *m, uint32_t len);

/* Of @m, data at its IP header, @len bytes of it. As Linux's flow dissector: fragments have no ports. False: it can't be told
 * (headers in several segments, or too many). */
static inline bool ipsec_flow(struct ipsec_flow *ret, const struct rte_mbuf *m, uint8_t family,
			      uint32_t len)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);

	ret->family = family;
	ret->sport = ret->dport = 0;
	ret->ifindex = 0;
	ret->src = ip + (family == AF_INET ? 12 : 8);
	ret->dst = ip + (family == AF_INET ? 16 : 24);
	ret->proto = ip[family == AF_INET ? 9 : 6];
	/* UDP and TCP, mostly. */
	if (likely(family == AF_INET && ip[0] == 0x45 && (ret->proto == 17 || ret->proto == 6) &&
		   !((ip[6] & 0x3f) | ip[7]) && len >= IP4_HEADER + 4U &&
		   m->data_len >= IP4_HEADER + 4)) {
		memcpy(&ret->sport, ip + IP4_HEADER, 2);
		memcpy(&ret->dport, ip + IP4_HEADER + 2, 2);
		return true;
	}
	return ipsec_flow_ports(ret, m, len);
}

static inline bool addr_in(const uint8_t *addr, const uint8_t *prefix, uint8_t plen)
{
	uint8_t bytes = plen / 8, bits = plen % 8;

	return !memcmp(addr, prefix, bytes) &&
	       (!bits || !((addr[bytes] ^ prefix[bytes]) >> (8 - bits)));
}

static inline bool rest_selects(const struct fpc_ipsec_selector *s, const struct ipsec_flow *f)
{
	return !((f->sport ^ s->sport) & s->sport_mask) &&
	       !((f->dport ^ s->dport) & s->dport_mask) && (!s->proto || s->proto == f->proto) &&
	       (!s->ifindex || s->ifindex == f->ifindex);
}

static inline bool ipsec_selects(const struct fpc_ipsec_selector *s, const struct ipsec_flow *f)
{
	return addr_in(f->dst, s->dst, s->dst_plen) && addr_in(f->src, s->src, s->src_plen) &&
	       rest_selects(s, f);
}

/* Row of the policy that counts for @f, 0: none. @spd: row. */
static inline uint32_t ipsec_policy_find(uint32_t spd, const struct ipsec_flow *f)
{
	const struct ipsec_spd_row *of = &ipsec_spd_rows[spd];
	const struct ipsec_policy_row *best = NULL;
	uint32_t ret = 0;
	uint32_t n = atomic_load_explicit(&of->n_pairs, memory_order_relaxed);

	for (unsigned i = 0; i < n; i++) {
		uint64_t word = atomic_load_explicit(&of->pair[i], memory_order_acquire);
		struct ipsec_pair pair;
		uint64_t dst[2], src[2];
		uint32_t row;

		memcpy(&pair, &word, 8);
		if (!pair.used || (best && best->priority < pair.first_priority))
			continue;
		ipsec_cut(dst, f->dst, f->family, pair.dst_plen);
		ipsec_cut(src, f->src, f->family, pair.src_plen);
		row = atomic_load_explicit(
			&ipsec_policy_buckets[ipsec_policy_hash(spd, dst, src, pair.dst_plen,
								pair.src_plen) &
					      ipsec_policy_mask]
				 .first,
			memory_order_acquire);
		for (; row; row = atomic_load_explicit(&ipsec_policy_rows[row].next,
						       memory_order_acquire)) {
			const struct ipsec_policy_row *p = &ipsec_policy_rows[row];

			if (best && (p->priority > best->priority ||
				     (p->priority == best->priority && p->index > best->index)))
				continue;
			if (p->sel.dst_plen != pair.dst_plen || p->sel.src_plen != pair.src_plen ||
			    ipsec_spd(p->vrf, p->direction, p->sel.family) != spd ||
			    (p->only_addrs ? !(addr_in(f->dst, p->sel.dst, pair.dst_plen) &&
					       addr_in(f->src, p->sel.src, pair.src_plen))
					   : !ipsec_selects(&p->sel, f)))
				continue;
			best = p;
			ret = row;
		}
	}
	return ret;
}
