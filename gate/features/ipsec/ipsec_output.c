// SPDX-License-Identifier: BSD-3-Clause
/* Packets on their way out that a policy protects: ESP in tunnel and transport mode (RFC 4303, 4301 5.1.2, 6040, 3948).
 *
 * A burst is sorted by policy, then goes SA by SA: where the outer packet will go is found out first, so that Linux gets the
 * packet as it came in if that can't be; then headers and trailers, one call of the cipher for all of them, and the outer
 * packets go on behind this stage, for Linux too asks no policy about them. */
#include <netinet/in.h>

#include <rte_ip.h>

#include "features/ipsec/ipsec_search.h"
#include "features/route/forward.h"
#include "features/rule/rule.h"

#define TTL	  64 /* net.ipv4.ip_default_ttl, net.ipv6.conf.default.hop_limit */
#define IP_DF	  0x4000
#define ECN_MASK  3
#define PAD_MAX	  16
#define ENCAP_UDP 2

/* For the counters of forward.h. */
static const struct forward_family family4 = {.family = AF_INET};
static const struct forward_family family6 = {.family = AF_INET6};

/* What is the same for all packets of an SA in a burst. */
struct way {
	const struct ipsec_sa_row *sa;
	const struct ipsec_session *session;
	struct ipsec_sa_state_row *state;
	uint32_t nexthop; /* of the outer packets; 0: to be looked up by packet */
	uint32_t mtu;	  /* of what fits into the tunnel */
	uint32_t path;	  /* MTU of the way */
	uint16_t header;  /* bytes in front of the ESP header: IP, UDP */
	bool tunnel;
};

/* --- which policy --- */

/* Decides about a packet: false, and *@ret is the SA's row, 0: it passes unprotected; or true, and it's ended. */
static bool decide(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
		   uint32_t spd, uint32_t *ret)
{
	const struct ipsec_policy_row *policy;
	struct ipsec_flow f;
	uint32_t row;

	*ret = 0;
	if (unlikely(ipsec_spd_rows[spd].left_out || !ipsec_flow(&f, p->m, b->family, p->len))) {
		fp_end(w, b, p, EXCEPTION_IPSEC_POLICY);
		return true;
	}
	f.ifindex = iface_rows[nexthop_rows[p->nexthop].iface].ifindex;
	row = ipsec_policy_find(spd, &f);
	if (!row)
		return false;
	policy = &ipsec_policy_rows[row];
	if (policy->why != IPSEC_POLICY_FAST) {
		fp_end(w, b, p, EXCEPTION_IPSEC_POLICY);
		return true;
	}
	if (policy->action == FPC_IPSEC_BLOCK) {
		fp_end(w, b, p, DROP_IPSEC_OUT_POL_BLOCK);
		return true;
	}
	if (!policy->n_tmpls)
		return false;
	*ret = atomic_load_explicit(&policy->sa, memory_order_acquire);
	if (likely(*ret && ipsec_session(*ret) &&
		   (ipsec_sa_rows[*ret].sel_any || ipsec_selects(&ipsec_sa_rows[*ret].sel, &f))))
		return false;
	fp_end(w, b, p, EXCEPTION_IPSEC_ACQUIRE);
	return true;
}

/* --- where the outer packet goes --- */

static uint32_t lookup(const struct ipsec_sa_row *sa)
{
	const struct rule_set_row *rules =
		sa->family == AF_INET ? rule_set4_own(sa->vrf) : rule_set6_own(sa->vrf);
	uint32_t addr;

	if (unlikely(rules))
		return rule_route_to(rules, sa->vrf, sa->family, sa->dst);
	if (sa->family == AF_INET6)
		return mtrie6_lookup(vrf_root6(sa->vrf), sa->dst);
	memcpy(&addr, sa->dst, 4);
	return mtrie4_lookup(vrf_root4(sa->vrf), rte_be_to_cpu_32(addr));
}

static bool leads_out(const struct nexthop_row *nexthop, const struct ipsec_sa_row *sa)
{
	const struct iface_row *out = &iface_rows[nexthop->iface];
	uint32_t neigh = nexthop->neigh;
	struct ether_words l2;

	if ((nexthop->type != NEXTHOP_GATEWAY && nexthop->type != NEXTHOP_CONNECTED) ||
	    (out->flags & OUTPUT_FLAGS) != OUTPUT_WANTED || !fp_outputs[out->type])
		return false;
	if (out->type != IFACE_PORT)
		return true;
	if (nexthop->type == NEXTHOP_CONNECTED)
		neigh = neigh_find(nexthop->iface, sa->family, sa->dst);
	l2 = ether_load(&neigh_rows[neigh]);
	return ether_valid(&l2);
}

/* As xfrm_state_mtu in Linux: the longest packet that fits into @path. */
static uint32_t fits(const struct ipsec_sa_row *sa, uint32_t path, bool tunnel, uint16_t header)
{
	uint32_t ip = sa->family == AF_INET ? IP4_HEADER : IP6_HEADER;
	uint32_t around = ESP_HEADER + sa->iv_len + (tunnel ? header : header - ip);
	uint32_t adjust = tunnel ? 0 : ip;

	if (path < around + sa->icv_len + adjust + sa->align)
		return 0;
	return ((path - around - sa->icv_len - adjust) & ~((uint32_t)sa->align - 1)) + adjust - 2;
}

static bool find_way(struct way *ret, uint32_t row)
{
	const struct ipsec_sa_row *sa = &ipsec_sa_rows[row];
	const struct nexthop_row *nexthop;

	ret->sa = sa;
	ret->session = ipsec_session(row);
	ret->state = &ipsec_states[row];
	ret->tunnel = sa->mode == FPC_IPSEC_TUNNEL;
	ret->header = (sa->family == AF_INET ? IP4_HEADER : IP6_HEADER) +
		      (sa->encap == ENCAP_UDP ? UDP_HEADER : 0);
	ret->nexthop = lookup(sa);
	nexthop = &nexthop_rows[ret->nexthop];
	if (nexthop->type == NEXTHOP_GROUP) {
		nexthop = &nexthop_rows[nexthop_group_rows[nexthop->group].slot[0]];
		ret->nexthop = 0;
	}
	if (!ret->session || !leads_out(nexthop, sa))
		return false;
	ret->path = RTE_MIN(forward_mtu(nexthop), iface_rows[nexthop->iface].mtu);
	ret->mtu = fits(sa, ret->path, ret->tunnel, ret->header);
	return true;
}

/* --- packets --- */

static inline void decrease_ttl(uint8_t *ip, uint8_t family)
{
	struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)(void *)ip;
	uint32_t sum;

	if (family == AF_INET6) {
		ip[7]--;
		return;
	}
	sum = ip4->hdr_checksum + (uint32_t)RTE_BE16(0x0100);
	ip4->hdr_checksum = sum + (sum >= 0xffff);
	ip4->time_to_live--;
}

static inline uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void store16(uint8_t *at, uint32_t value)
{
	uint16_t be = rte_cpu_to_be_16((uint16_t)value);

	memcpy(at, &be, 2);
}

static inline uint8_t traffic_class(const uint8_t *ip, uint8_t family)
{
	return family == AF_INET ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

/* As Linux's xfrm4_tunnel_encap_add. */
static inline uint8_t outer_class(const struct ipsec_sa_row *sa, uint8_t inner)
{
	uint8_t ecn = inner & ECN_MASK;

	if (sa->flags & FPC_IPSEC_NOECN)
		ecn = 0;
	else if (ecn == 3)
		ecn = 2; /* CE: ECT(0) */
	return (sa->flags & FPC_IPSEC_DONT_ENCAP_DSCP ? 0 : inner & ~ECN_MASK) | ecn;
}

static inline void checksum4(uint8_t *ip)
{
	uint64_t a, b;
	uint32_t c;
	uint64_t sum;

	ip[10] = ip[11] = 0;
	memcpy(&a, ip, 8);
	memcpy(&b, ip + 8, 8);
	memcpy(&c, ip + 16, 4);
	sum = (a & UINT32_MAX) + (a >> 32) + (b & UINT32_MAX) + (b >> 32) + c;
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum ^= 0xffff;
	memcpy(ip + 10, &sum, 2);
}

/* The outer header at @ip, of a packet that is @len bytes with it. In registers: what was just written in pieces can't be read as
 * a whole without a wait. @inner: the header within. */
static inline void put_header4(uint8_t *ip, uint32_t len, const struct way *way,
			       const uint8_t *inner, uint8_t family, uint64_t seq)
{
	const struct ipsec_sa_row *sa = way->sa;
	bool df = (family == AF_INET6 || inner[6] & IP_DF >> 8) &&
		  !(sa->flags & FPC_IPSEC_NOPMTUDISC);
	uint64_t class = outer_class(sa, traffic_class(inner, family));
	uint64_t id = df ? 0 : (uint16_t)seq;
	uint64_t a = 0x45 | class << 8 | (uint64_t)rte_cpu_to_be_16((uint16_t)len) << 16 |
		     id << 32 | (df ? (uint64_t)RTE_BE16(IP_DF) << 48 : 0);
	uint32_t b = TTL | (sa->encap ? IPPROTO_UDP : IPPROTO_ESP) << 8;
	uint32_t src, dst;
	uint64_t sum;

	memcpy(&src, sa->src, 4);
	memcpy(&dst, sa->dst, 4);
	sum = (a & UINT32_MAX) + (a >> 32) + b + src + dst;
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	b |= (uint32_t)(sum ^ 0xffff) << 16;
	memcpy(ip, &a, 8);
	memcpy(ip + 8, &b, 4);
	memcpy(ip + 12, &src, 4);
	memcpy(ip + 16, &dst, 4);
}

/* Transport mode: the packet's own header, which stands at @ip already. */
static void change_header4(uint8_t *ip, uint32_t len, const struct ipsec_sa_row *sa)
{
	store16(ip + 2, len);
	ip[9] = sa->encap ? IPPROTO_UDP : IPPROTO_ESP;
	checksum4(ip);
}

static inline void put_header6(uint8_t *ip, uint32_t len, const struct way *way,
			       const uint8_t *inner, uint8_t family)
{
	const struct ipsec_sa_row *sa = way->sa;

	if (inner) {
		uint8_t class = outer_class(sa, traffic_class(inner, family));

		memset(ip, 0, 4);
		if (family == AF_INET6)
			memcpy(ip, inner, 4);
		ip[0] = 0x60 | class >> 4;
		ip[1] = (uint8_t)(class << 4) | (ip[1] & 0xf);
		ip[7] = TTL;
		memcpy(ip + 8, sa->src, 16);
		memcpy(ip + 24, sa->dst, 16);
	}
	store16(ip + 4, len - IP6_HEADER);
	ip[6] = IPPROTO_ESP;
}

/* Whether @p can become a packet of @way's SA; else it's ended, and Linux says what is wrong. */
static bool suits(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
		  const struct way *way)
{
	const struct ipsec_sa_row *sa = way->sa;
	const uint8_t *ip = rte_pktmbuf_mtod(p->m, const uint8_t *);
	uint32_t before = way->header + ESP_HEADER + sa->iv_len;
	uint32_t mtu = RTE_MIN(way->mtu, fits(sa, forward_mtu(&nexthop_rows[p->nexthop]),
					      way->tunnel, way->header));
	bool whole = b->family == AF_INET6 || ip[6] & IP_DF >> 8;

	if (p->m->nb_segs != 1 || rte_pktmbuf_headroom(p->m) < before + RTE_ETHER_HDR_LEN ||
	    p->m->buf_len - p->m->data_off - p->len < PAD_MAX + 2U + sa->icv_len) {
		fp_end(w, b, p, EXCEPTION_IPSEC_PACKET);
		return false;
	}
	/* What is larger than the way and may be taken apart is so behind the cipher, as in Linux; of IPv6 Linux does it. */
	if (p->len > mtu && (whole || sa->family == AF_INET6)) {
		fp_end(w, b, p, EXCEPTION_IPSEC_MTU);
		return false;
	}
	/* A fragment is no whole packet to protect; IPv6 extension headers stay with Linux. */
	if (!way->tunnel &&
	    ((b->family == AF_INET && (load16(ip + 6) & ~IP_DF)) ||
	     (b->family == AF_INET6 && ip[6] <= 60 &&
	      1ULL << ip[6] & (1ULL << 0 | 1ULL << 43 | 1ULL << 44 | 1ULL << 60)))) {
		fp_end(w, b, p, EXCEPTION_IPSEC_PACKET);
		return false;
	}
	return true;
}

/* With the address sanitizer the packet harness forbids what lies behind a packet; this is allowed to be written. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

/* Puts everything around the packet but IV and ICV. @ret: where. */
static inline void encapsulate(struct ipsec_work *ret, struct rte_mbuf *m, uint32_t len,
			       uint8_t family, const struct way *way, uint64_t seq)
{
	const struct ipsec_sa_row *sa = way->sa;
	uint32_t before = way->header + ESP_HEADER + sa->iv_len;
	uint32_t ip_len = family == AF_INET ? IP4_HEADER : IP6_HEADER;
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *), *outer, *esp, *tail;
	uint32_t data = way->tunnel ? len : len - ip_len;
	uint32_t pad, all;
	uint8_t next;
	uint64_t esp_header = sa->spi | (uint64_t)rte_cpu_to_be_32((uint32_t)seq) << 32;

	if (likely(way->tunnel)) {
		next = family == AF_INET ? IPPROTO_IPIP : IPPROTO_IPV6;
		outer = ip - before;
	} else {
		next = family == AF_INET ? ip[9] : ip[6];
		outer = ip - (before - ip_len);
		memmove(outer, ip, ip_len);
	}
	pad = -(data + 2) & (sa->align - 1U);
	all = before + data + pad + 2 + sa->icv_len;
	tail = outer + before + data;
	ASAN_UNPOISON_MEMORY_REGION(tail, pad + 2 + sa->icv_len);
	for (uint32_t i = 0; i < pad; i++)
		tail[i] = (uint8_t)(i + 1);
	tail[pad] = (uint8_t)pad;
	tail[pad + 1] = next;

	m->data_off = (uint16_t)(outer - (uint8_t *)m->buf_addr);
	m->data_len = (uint16_t)all;
	m->pkt_len = all;
	if (sa->family == AF_INET && way->tunnel)
		put_header4(outer, all, way, ip, family, seq);
	else if (sa->family == AF_INET)
		change_header4(outer, all, sa);
	else
		put_header6(outer, all, way, way->tunnel ? ip : NULL, family);
	esp = outer + way->header;
	if (sa->encap) {
		memcpy(esp - 8, &sa->encap_sport, 2);
		memcpy(esp - 6, &sa->encap_dport, 2);
		store16(esp - 4, all - IP4_HEADER);
		memset(esp - 2, 0, 2);
	}
	memcpy(esp, &esp_header, 8);
	*ret = (struct ipsec_work){.m = m,
				   .seq = seq,
				   .esp = way->header,
				   .len = (uint16_t)(all - way->header - sa->icv_len)};
}

/* The first of @n sequence numbers; 0: there aren't so many left. */
static uint64_t take_numbers(const struct way *way, unsigned n)
{
	uint64_t last = atomic_fetch_add_explicit(&way->state->sent, n, memory_order_relaxed);

	if (likely(last + n <= UINT32_MAX ||
		   way->sa->flags & (FPC_IPSEC_ESN | FPC_IPSEC_OSEQ_MAY_WRAP)))
		return last + 1;
	atomic_fetch_sub(&way->state->sent, n);
	return 0;
}

static bool expired(const struct way *way)
{
	const struct ipsec_sa_row *sa = way->sa;

	return unlikely((sa->hard_bytes != UINT64_MAX &&
			 way->state->bytes + sa->start_bytes >= sa->hard_bytes) ||
			(sa->hard_packets != UINT64_MAX &&
			 way->state->packets + sa->start_packets >= sa->hard_packets));
}

static void count(struct fp_worker *w, const struct way *way, unsigned packets, uint64_t bytes)
{
	atomic_fetch_add_explicit(&way->state->packets, packets, memory_order_relaxed);
	atomic_fetch_add_explicit(&way->state->bytes, bytes, memory_order_relaxed);
	if (way->state->used != w->now)
		atomic_store_explicit(&way->state->used, w->now, memory_order_relaxed);
}

/* @pkts of @b, all of one SA. */
static void protect(struct fp_worker *w, const struct fp_burst *b, const struct way *way,
		    struct fp_packet *pkts, unsigned n)
{
	struct ipsec_work work[FP_BURST];
	const struct forward_family *f = b->family == AF_INET ? &family4 : &family6;
	struct fp_burst out = {.iface = b->iface,
			       .vrf = b->vrf,
			       .family = way->sa->family,
			       .flags = b->flags | FP_BURST_OWN};
	uint64_t bytes = 0, seq;
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++)
		if (suits(w, b, &pkts[i], way))
			pkts[kept++] = pkts[i];
	if (!kept)
		return;
	if (expired(way)) {
		for (unsigned i = 0; i < kept; i++)
			fp_end(w, b, &pkts[i], EXCEPTION_IPSEC_EXPIRED);
		return;
	}
	seq = take_numbers(way, kept);
	if (!seq) {
		for (unsigned i = 0; i < kept; i++)
			fp_end(w, b, &pkts[i], DROP_IPSEC_OUT_STATE_SEQ_ERROR);
		return;
	}
	for (unsigned i = 0; i < kept; i++) {
		const struct fp_packet *p = &pkts[i];
		uint32_t ip_len = b->family == AF_INET ? IP4_HEADER : IP6_HEADER;

		if (!(b->flags & FP_BURST_OWN)) {
			forward_count_forwarded(w, b->iface, nexthop_rows[p->nexthop].iface, p->m,
						p->m->pkt_len, f);
			decrease_ttl(rte_pktmbuf_mtod(p->m, uint8_t *), b->family);
		}
		bytes += way->tunnel ? p->len : p->len - ip_len;
		encapsulate(&work[i], p->m, p->len, b->family, way, seq + i);
	}
	ipsec_crypt(w, way->sa, way->session, true, work, kept);
	count(w, way, kept, bytes);
	for (unsigned i = 0; i < kept; i++) {
		struct rte_mbuf *m = work[i].m;

		/* A device that fails is no packet's fault. */
		if (unlikely(!work[i].ok)) {
			fp_drop(w, m, DROP_OWN);
			continue;
		}
		out.pkts[out.n++] =
			(struct fp_packet){.m = m, .len = m->pkt_len, .nexthop = way->nexthop};
	}
	fp_resume(w, way->sa->family == AF_INET ? FP_STAGE_IP_IPSEC : FP_STAGE_IP6_IPSEC, &out);
}

/* The stage IPSEC. */
void ipsec_output(struct fp_worker *w, struct fp_burst *b)
{
	uint32_t spd = ipsec_spd(b->vrf, FPC_IPSEC_OUT, b->family);
	struct fp_packet todo[FP_BURST], of_sa[FP_BURST];
	uint32_t sa[FP_BURST];
	unsigned n_todo = 0;
	uint16_t kept = 0;

	if (!ipsec_spd_rows[spd].n_policies && !ipsec_spd_rows[spd].left_out)
		return;
	for (uint16_t i = 0; i < b->n; i++) {
		uint32_t row;

		if (decide(w, b, &b->pkts[i], spd, &row))
			continue;
		if (!row) {
			b->pkts[kept++] = b->pkts[i];
			continue;
		}
		sa[n_todo] = row;
		todo[n_todo++] = b->pkts[i];
	}
	b->n = kept;
	/* SA by SA; those of one stay in order. */
	while (n_todo) {
		uint32_t row = sa[0];
		unsigned n = 0, left = 0;
		struct way way;

		for (unsigned i = 0; i < n_todo; i++) {
			if (sa[i] == row) {
				of_sa[n++] = todo[i];
				continue;
			}
			sa[left] = sa[i];
			todo[left++] = todo[i];
		}
		n_todo = left;
		if (find_way(&way, row)) {
			protect(w, b, &way, of_sa, n);
			continue;
		}
		for (unsigned i = 0; i < n; i++)
			fp_end(w, b, &of_sa[i], EXCEPTION_IPSEC_NEIGHBOUR);
	}
}
