// SPDX-License-Identifier: BSD-3-Clause
/* Which policy a packet meets, which SA it came in for. */
#include <netinet/in.h>

#include "features/ipsec/ipsec_search.h"

static const struct ipsec_sa_bucket_row *sa_buckets;
static uint32_t sa_mask;

const struct ipsec_policy_bucket_row *ipsec_policy_buckets;
uint32_t ipsec_policy_mask;

void ipsec_search_attach(const struct shm *config)
{
	sa_buckets = shm_rows(config, "ipsec_sa_bucket");
	ipsec_policy_buckets = shm_rows(config, "ipsec_policy_bucket");
	sa_mask = shm_find(config, "ipsec_sa_bucket")->capacity - 1;
	ipsec_policy_mask = shm_find(config, "ipsec_policy_bucket")->capacity - 1;
}

uint32_t ipsec_sa_find(uint32_t vrf, uint8_t family, const uint8_t *dst, uint32_t spi,
		       uint8_t proto)
{
	uint32_t row = atomic_load_explicit(
		&sa_buckets[ipsec_sa_hash(vrf, spi, proto) & sa_mask].first, memory_order_acquire);

	while (row) {
		const struct ipsec_sa_row *sa = &ipsec_sa_rows[row];

		if (sa->spi == spi && sa->vrf == vrf && sa->proto == proto &&
		    sa->family == family && !memcmp(sa->dst, dst, family == AF_INET ? 4 : 16) &&
		    !(sa->mark & sa->mark_mask))
			return row;
		row = atomic_load_explicit(&sa->next, memory_order_acquire);
	}
	return 0;
}

/* Where the header behind IPv6 extension headers is, its protocol in @ret->proto; 0: there are no ports, UINT32_MAX: it can't be
 * told. */
static uint32_t behind_extensions(struct ipsec_flow *ret, const struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t at = IP6_HEADER;

	for (unsigned i = 0; i < 8; i++) {
		bool fragment = ret->proto == IPPROTO_FRAGMENT;

		if (ret->proto != IPPROTO_HOPOPTS && ret->proto != IPPROTO_ROUTING &&
		    ret->proto != IPPROTO_DSTOPTS && !fragment)
			return ret->proto == IPPROTO_MH ? UINT32_MAX : at;
		if (m->data_len < at + 8)
			return UINT32_MAX;
		ret->proto = ip[at];
		if (fragment)
			return 0;
		at += 8U * (ip[at + 1] + 1U);
	}
	return UINT32_MAX;
}

bool ipsec_flow_ports(struct ipsec_flow *ret, const struct rte_mbuf *m, uint32_t len)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *), *l4;
	uint32_t at = 4U * (ip[0] & 0xf);

	if (ret->family == AF_INET) {
		if (at < IP4_HEADER)
			return false;
		if ((ip[6] & 0x3f) | ip[7])
			return true;
	} else {
		at = behind_extensions(ret, m);
		if (!at)
			return true;
		if (at == UINT32_MAX)
			return false;
	}
	switch (ret->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		/* A packet that's too short for ports has none. */
		if (len < at + 4)
			return true;
		if (m->data_len < at + 4)
			return false;
		l4 = ip + at;
		if (ret->proto == IPPROTO_ICMP || ret->proto == IPPROTO_ICMPV6) {
			ret->sport = htons(l4[0]);
			ret->dport = htons(l4[1]);
		} else {
			memcpy(&ret->sport, l4, 2);
			memcpy(&ret->dport, l4 + 2, 2);
		}
		return true;
	default:
		return true;
	}
}
