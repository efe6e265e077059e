// SPDX-License-Identifier: BSD-3-Clause
/* ESP for this host (RFC 4303; in UDP: RFC 3948): found by SPI, checked against the replay window, decrypted where it lies, checked
 * against the policies for what comes in, and on with the packet within, on the interface where it came in.
 *
 * A packet goes to Linux as it came in, or, once decrypted, as what was in it (fastpath/special.h): so it's only decrypted where
 * Linux can get such packets. */
#include <netinet/in.h>

#include "features/iface/iface_output.h"
#include "features/ipsec/ipsec_search.h"
#include "features/ipsec/ipsec_replay.h"
#include "features/route/route.h"
#include "features/rule/rule.h"

#define ECN_MASK  3
#define ECN_CE	  3
#define ENCAP_UDP 2

/* A packet on its way in. */
struct arrival {
	struct fp_packet p;
	uint32_t sa;
	uint64_t seq;
	uint8_t header; /* bytes up to the ESP header: IP, UDP */
	uint8_t class;	/* outer traffic class */
};

static inline uint32_t load32(const uint8_t *at)
{
	uint32_t be;

	memcpy(&be, at, 4);
	return be;
}

static inline uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint8_t traffic_class(const uint8_t *ip, uint8_t family)
{
	return family == AF_INET ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

/* --- policies --- */

/* As Linux's xfrm_state_ok: whether the SA is one that a template asks for. */
static bool sa_fits(const struct fpc_ipsec_tmpl *t, const struct ipsec_sa_row *sa)
{
	static const uint8_t zero[16];

	return sa->proto == t->proto && (!t->spi || t->spi == sa->spi) &&
	       (!t->reqid || t->reqid == sa->reqid) && sa->mode == t->mode &&
	       (sa->mode == FPC_IPSEC_TRANSPORT || !memcmp(t->src, zero, 16) ||
		!memcmp(t->src, sa->src, 16));
}

/* As __xfrm_policy_check, for a packet that came in by @sa (NULL: unprotected): the DROP_ that it ends with, N_REASONS: it's
 * right. */
static enum reason judge(uint32_t spd, const struct ipsec_flow *f, const struct ipsec_sa_row *sa)
{
	bool tunnel = sa && sa->mode != FPC_IPSEC_TRANSPORT;
	const struct ipsec_policy_row *policy;
	uint32_t row;

	if (sa && unlikely(!sa->sel_any) && !ipsec_selects(&sa->sel, f))
		return DROP_IPSEC_IN_STATE_MISMATCH;
	row = ipsec_policy_find(spd, f);
	if (!row)
		return tunnel ? DROP_IPSEC_IN_NO_POLS : N_REASONS;
	policy = &ipsec_policy_rows[row];
	if (policy->action == FPC_IPSEC_BLOCK)
		return DROP_IPSEC_IN_POL_BLOCK;
	if (!policy->n_tmpls)
		return tunnel ? DROP_IPSEC_IN_TMPL_MISMATCH : N_REASONS;
	if (sa && sa_fits(&policy->tmpl[0], sa))
		return N_REASONS;
	return !tunnel && policy->tmpl[0].optional ? N_REASONS : DROP_IPSEC_IN_TMPL_MISMATCH;
}

/* The stage IPSEC_CHECK: what comes in unprotected. What was decrypted has been checked before it started again. */
void ipsec_check(struct fp_worker *w, struct fp_burst *b)
{
	uint32_t spd = ipsec_spd(b->vrf, FPC_IPSEC_FWD, b->family);
	uint16_t kept = 0;

	if ((!ipsec_spd_rows[spd].n_policies && !ipsec_spd_rows[spd].left_out) ||
	    b->flags & FP_BURST_OWN)
		return;
	for (uint16_t i = 0; i < b->n; i++) {
		const struct fp_packet *p = &b->pkts[i];
		struct ipsec_flow f;
		enum reason reason;

		if (p->m->ol_flags & fp_special_flag) {
			b->pkts[kept++] = *p;
			continue;
		}
		if (ipsec_spd_rows[spd].left_out || !ipsec_flow(&f, p->m, b->family, p->len)) {
			fp_end(w, b, p, EXCEPTION_IPSEC_POLICY);
			continue;
		}
		reason = judge(spd, &f, NULL);
		if (likely(reason == N_REASONS))
			b->pkts[kept++] = *p;
		else
			fp_end(w, b, p, reason);
	}
	b->n = kept;
}

/* Whether the packet is for this host. By the tables local and main; rules choose among routes of others. */
static bool is_local(uint32_t vrf, const struct ipsec_flow *f)
{
	uint32_t addr;

	if (f->family == AF_INET6)
		return nexthop_rows[mtrie6_lookup(vrf_root6(vrf), f->dst)].type == NEXTHOP_LOCAL;
	memcpy(&addr, f->dst, 4);
	return nexthop_rows[mtrie4_lookup(vrf_root4(vrf), rte_be_to_cpu_32(addr))].type ==
	       NEXTHOP_LOCAL;
}

/* Whether all policies for what comes in are known here. */
static bool policies_known(uint32_t vrf)
{
	const struct ipsec_spd_row *in = &ipsec_spd_rows[ipsec_spd(vrf, FPC_IPSEC_IN, AF_INET)];
	const struct ipsec_spd_row *fwd = &ipsec_spd_rows[ipsec_spd(vrf, FPC_IPSEC_FWD, AF_INET)];

	return !(in[0].left_out | in[1].left_out | fwd[0].left_out | fwd[1].left_out);
}

/* --- before decryption --- */

/* Why a packet of SA @row isn't decrypted here; N_REASONS: it is, and @a is filled. @ip: outer header. */
static enum reason refusal(struct arrival *a, const struct fp_burst *b, uint32_t row,
			   const uint8_t *ip, uint8_t encap)
{
	const struct ipsec_sa_row *sa = &ipsec_sa_rows[row];
	struct ipsec_sa_state_row *state = &ipsec_states[row];
	const uint8_t *esp = ip + a->header;
	struct rte_mbuf *m = a->p.m;
	uint32_t low = rte_be_to_cpu_32(load32(esp + 4));
	int32_t data = (int32_t)a->p.len - a->header - ESP_HEADER - sa->iv_len - sa->icv_len;

	if (!row || !ipsec_session(row) || sa->encap != encap)
		return EXCEPTION_IPSEC_SA;
	/* Within another SA: Linux wants a policy that asks for both, and of such all is Linux's. */
	if (unlikely(m->ol_flags & fp_special_flag))
		return sa->mode == FPC_IPSEC_TRANSPORT ? EXCEPTION_IPSEC_SA
						       : DROP_IPSEC_IN_TMPL_MISMATCH;
	if (encap && (sa->mode == FPC_IPSEC_TRANSPORT || memcmp(ip + 12, sa->src, 4) ||
		      memcmp(esp - 8, &sa->encap_sport, 2)))
		return EXCEPTION_IPSEC_MAPPING;
	if (m->nb_segs != 1 ||
	    m->l2_len + a->header + ESP_HEADER + sa->iv_len > IFACE_HEADERS_MAX || data < 4 ||
	    (uint32_t)data & (sa->align - 1U))
		return EXCEPTION_IPSEC_PACKET;
	if ((sa->hard_bytes != UINT64_MAX && state->bytes + sa->start_bytes >= sa->hard_bytes) ||
	    (sa->hard_packets != UINT64_MAX &&
	     state->packets + sa->start_packets >= sa->hard_packets))
		return EXCEPTION_IPSEC_EXPIRED;
	a->seq = low;
	if (sa->window) {
		uint64_t top = atomic_load_explicit(&state->received, memory_order_relaxed);
		enum ipsec_seen seen;

		if (sa->flags & FPC_IPSEC_ESN)
			a->seq = ipsec_seq_whole(low, top, sa->window);
		seen = a->seq ? ipsec_replay_look(state, a->seq, sa->window) : IPSEC_LATE;
		if (unlikely(seen != IPSEC_NEW)) {
			atomic_fetch_add_explicit(seen == IPSEC_LATE ? &state->replay_window
								     : &state->replay,
						  1, memory_order_relaxed);
			return DROP_IPSEC_IN_STATE_SEQ_ERROR;
		}
	}
	a->sa = row;
	a->class = traffic_class(ip, b->family);
	return N_REASONS;
}

/* --- after it --- */

/* Takes off what was around the packet: @data bytes behind the IV are left, padding and all. Returns AF_INET or AF_INET6, 0:
 * there's no such packet. */
static uint8_t unwrap(struct arrival *a, const struct ipsec_sa_row *sa, uint32_t data,
		      uint8_t outer)
{
	struct rte_mbuf *m = a->p.m;
	uint32_t before = a->header + ESP_HEADER + sa->iv_len;
	uint32_t ip_len = outer == AF_INET ? IP4_HEADER : IP6_HEADER;
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *), *inner = ip + before;
	uint8_t pad = inner[data - 2], next = inner[data - 1], family;

	if (pad + 2U > data)
		return 0;
	data -= pad + 2U;
	if (sa->mode == FPC_IPSEC_TRANSPORT) {
		uint8_t header[IP6_HEADER];

		memcpy(header, ip, ip_len);
		iface_decapsulate(m, (uint16_t)(before - ip_len));
		m->data_len = (uint16_t)(ip_len + data);
		m->pkt_len = m->data_len;
		ip = rte_pktmbuf_mtod(m, uint8_t *);
		memcpy(ip, header, ip_len);
		if (outer == AF_INET) {
			uint32_t sum = 0;

			ip[2] = (uint8_t)(m->data_len >> 8);
			ip[3] = (uint8_t)m->data_len;
			ip[9] = next;
			ip[10] = ip[11] = 0;
			for (unsigned i = 0; i < IP4_HEADER; i += 2)
				sum += load16(ip + i);
			sum = (sum & 0xffff) + (sum >> 16);
			sum = ~((sum & 0xffff) + (sum >> 16));
			ip[10] = (uint8_t)(sum >> 8);
			ip[11] = (uint8_t)sum;
		} else {
			ip[4] = (uint8_t)(data >> 8);
			ip[5] = (uint8_t)data;
			ip[6] = next;
		}
		return outer;
	}
	family = next == IPPROTO_IPIP ? AF_INET : next == IPPROTO_IPV6 ? AF_INET6 : 0;
	if (!family || data < (family == AF_INET ? IP4_HEADER + 0U : IP6_HEADER))
		return 0;
	iface_decapsulate(m, (uint16_t)before);
	m->data_len = (uint16_t)data;
	m->pkt_len = data;
	return family;
}

static void set_class(uint8_t *ip, uint8_t family, uint8_t class)
{
	if (family == AF_INET) {
		uint16_t sum;
		uint32_t next;

		/* RFC 1624 */
		memcpy(&sum, ip + 10, 2);
		next = (uint16_t)~sum + (uint16_t)~rte_cpu_to_be_16(ip[1]) +
		       (uint32_t)rte_cpu_to_be_16(class);
		next = (next & 0xffff) + (next >> 16);
		next = ~(next + (next >> 16));
		sum = (uint16_t)next;
		memcpy(ip + 10, &sum, 2);
		ip[1] = class;
		return;
	}
	ip[0] = 0x60 | class >> 4;
	ip[1] = (uint8_t)(class << 4) | (ip[1] & 0xf);
}

/* Traffic class of the packet within, as Linux's xfrm4_remove_tunnel_encap. */
static void inherit_class(const struct arrival *a, const struct ipsec_sa_row *sa, uint8_t family)
{
	uint8_t *ip = rte_pktmbuf_mtod(a->p.m, uint8_t *);
	uint8_t was = traffic_class(ip, family), class = was;

	if (sa->flags & FPC_IPSEC_DECAP_DSCP)
		class = (a->class & ~ECN_MASK) | (class & ECN_MASK);
	if (!(sa->flags & FPC_IPSEC_NOECN) && (a->class & ECN_MASK) == ECN_CE && class & ECN_MASK)
		class |= ECN_CE;
	if (class != was)
		set_class(ip, family, class);
}

/* A decrypted packet: what becomes of it. N_REASONS: it goes on, of family *@ret. */
static enum reason finish(struct arrival *a, const struct fp_burst *b, uint32_t data, uint8_t *ret)
{
	const struct ipsec_sa_row *sa = &ipsec_sa_rows[a->sa];
	struct rte_mbuf *m = a->p.m;
	uint8_t family = unwrap(a, sa, data, b->family);
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct ipsec_flow f;
	enum reason reason;

	/* Headers that aren't right have no flow: they're Linux's, and of no policy. */
	if (!family || ip[0] >> 4 != (family == AF_INET ? 4 : 6))
		return DROP_IPSEC_IN_STATE_PROTO_ERROR;
	if (!ipsec_flow(&f, m, family, m->pkt_len))
		return DROP_IPSEC_NO_SPECIAL;
	if (sa->mode != FPC_IPSEC_TRANSPORT)
		inherit_class(a, sa, family);
	reason = judge(
		ipsec_spd(b->vrf, is_local(b->vrf, &f) ? FPC_IPSEC_IN : FPC_IPSEC_FWD, family), &f,
		sa);
	if (unlikely(reason != N_REASONS))
		return reason;
	fp_make_special(m, &(struct fp_special){.iface = b->iface, .flags = FP_SPECIAL_IPSEC});
	*ret = family;
	return N_REASONS;
}

/* On with packets of a family, on the interface where they came in; its counters have them already. */
static void go_on(struct fp_worker *w, uint32_t iface, uint16_t ethertype, struct rte_mbuf **pkts,
		  uint16_t n)
{
	uint8_t index = fp_ethertype_index[ethertype];

	if (!n)
		return;
	if (unlikely(w->depth == FP_DEPTH || !index)) {
		for (uint16_t i = 0; i < n; i++)
			fp_drop(w, pkts[i], DROP_TOO_DEEP);
		return;
	}
	w->depth++;
	fp_ethertype_input(index)(w, iface, pkts, n);
	w->depth--;
}

/* @n packets of one SA. */
static void decrypt(struct fp_worker *w, const struct fp_burst *b, struct arrival *a, unsigned n)
{
	const struct ipsec_sa_row *sa = &ipsec_sa_rows[a[0].sa];
	const struct ipsec_session *session = ipsec_session(a[0].sa);
	struct ipsec_sa_state_row *state = &ipsec_states[a[0].sa];
	struct ipsec_work work[FP_BURST];
	struct rte_mbuf *found[2][FP_BURST];
	uint16_t n_found[2] = {0, 0};
	uint64_t bytes = 0, packets = 0;

	if (unlikely(!session)) {
		for (unsigned i = 0; i < n; i++)
			fp_end(w, b, &a[i].p, EXCEPTION_IPSEC_SA);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		work[i] = (struct ipsec_work){
			.m = a[i].p.m,
			.seq = a[i].seq,
			.esp = a[i].header,
			.len = (uint16_t)(a[i].p.len - a[i].header - sa->icv_len)};
	ipsec_crypt(w, sa, session, false, work, n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t data = work[i].len - ESP_HEADER - sa->iv_len;
		enum reason reason = N_REASONS;
		enum ipsec_seen seen = IPSEC_NEW;
		uint8_t family = 0;

		if (unlikely(!work[i].ok)) {
			atomic_fetch_add_explicit(&state->integrity_failed, 1,
						  memory_order_relaxed);
			fp_drop(w, a[i].p.m, DROP_IPSEC_IN_STATE_PROTO_ERROR);
			continue;
		}
		if (sa->window)
			seen = ipsec_replay_note(state, a[i].seq, sa->window);
		else if (a[i].seq > atomic_load_explicit(&state->received, memory_order_relaxed))
			atomic_store_explicit(&state->received, a[i].seq, memory_order_relaxed);
		if (unlikely(seen != IPSEC_NEW)) {
			atomic_fetch_add_explicit(seen == IPSEC_LATE ? &state->replay_window
								     : &state->replay,
						  1, memory_order_relaxed);
			fp_drop(w, a[i].p.m, DROP_IPSEC_IN_STATE_SEQ_ERROR);
			continue;
		}
		reason = finish(&a[i], b, data, &family);
		if (likely(reason != DROP_IPSEC_IN_STATE_PROTO_ERROR)) {
			packets++;
			bytes += sa->mode == FPC_IPSEC_TRANSPORT
					 ? a[i].p.m->pkt_len -
						   (b->family == AF_INET ? IP4_HEADER : IP6_HEADER)
					 : a[i].p.m->pkt_len;
		}
		if (unlikely(reason != N_REASONS)) {
			fp_drop(w, a[i].p.m, reason);
			continue;
		}
		found[family == AF_INET6][n_found[family == AF_INET6]++] = a[i].p.m;
	}
	if (packets) {
		atomic_fetch_add_explicit(&state->packets, packets, memory_order_relaxed);
		atomic_fetch_add_explicit(&state->bytes, bytes, memory_order_relaxed);
		if (state->used != w->now)
			atomic_store_explicit(&state->used, w->now, memory_order_relaxed);
	}
	go_on(w, b->iface, RTE_BE16(RTE_ETHER_TYPE_IPV4), found[0], n_found[0]);
	go_on(w, b->iface, RTE_BE16(RTE_ETHER_TYPE_IPV6), found[1], n_found[1]);
}

/* --- bursts --- */

/* Packets of @b with an ESP header behind IP, or UDP (@encap), leave it; Linux's stay. */
static void input(struct fp_worker *w, struct fp_burst *b, uint8_t encap)
{
	struct arrival all[FP_BURST], of_sa[FP_BURST];
	unsigned n_all = 0;
	bool ready =
		fp_special_ready(b->vrf) && policies_known(b->vrf) && !(b->flags & FP_BURST_OWN);
	uint16_t kept = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet *p = &b->pkts[i];
		const uint8_t *ip = rte_pktmbuf_mtod(p->m, const uint8_t *);
		struct arrival *a = &all[n_all];
		enum reason reason = EXCEPTION_IPSEC_SA;

		*a = (struct arrival){
			.p = *p,
			.header = (uint8_t)(p->m->l3_len + (encap ? UDP_HEADER : 0)),
		};
		if (p->m->data_len < a->header + ESP_HEADER ||
		    p->len < a->header + (uint32_t)ESP_HEADER) {
			b->pkts[kept++] = *p;
			continue;
		}
		if (likely(ready)) {
			uint32_t row = ipsec_sa_find(b->vrf, b->family,
						     ip + (b->family == AF_INET ? 16 : 24),
						     load32(ip + a->header), IPPROTO_ESP);

			reason = refusal(a, b, row, ip, encap);
		}
		if (likely(reason == N_REASONS))
			n_all++;
		else
			fp_end(w, b, p, reason);
	}
	b->n = kept;
	while (n_all) {
		uint32_t row = all[0].sa;
		unsigned n = 0, left = 0;

		for (unsigned i = 0; i < n_all; i++) {
			if (all[i].sa == row)
				of_sa[n++] = all[i];
			else
				all[left++] = all[i];
		}
		n_all = left;
		decrypt(w, b, of_sa, n);
	}
}

/* Protocol 50. */
void ipsec_esp_input(struct fp_worker *w, struct fp_burst *b)
{
	input(w, b, 0);
}

/* UDP port 4500: ESP, or IKE behind four zeros, or a keepalive (RFC 3948, 2). */
void ipsec_udp_input(struct fp_worker *w, struct fp_burst *b)
{
	struct fp_burst esp = {
		.iface = b->iface, .vrf = b->vrf, .family = b->family, .flags = b->flags};

	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet *p = &b->pkts[i];
		const uint8_t *udp = rte_pktmbuf_mtod_offset(p->m, const uint8_t *, p->m->l3_len);
		uint32_t len = load16(udp + 4);

		if (len < UDP_HEADER + ESP_HEADER || p->m->l3_len + len != p->len ||
		    p->m->data_len < p->m->l3_len + UDP_HEADER + 4U || !load32(udp + 8))
			fp_end(w, b, p, EXCEPTION_IPSEC_IKE);
		else if (load16(udp + 6))
			fp_end(w, b, p, EXCEPTION_IPSEC_MAPPING);
		else
			esp.pkts[esp.n++] = *p;
	}
	b->n = 0;
	if (esp.n)
		input(w, &esp, ENCAP_UDP);
	for (uint16_t i = 0; i < esp.n; i++)
		fp_end(w, &esp, &esp.pkts[i], EXCEPTION_IPSEC_SA);
}

/* --- wiring --- */

const struct ipsec_sa_row *ipsec_sa_rows;
struct ipsec_sa_state_row *ipsec_states;
const struct ipsec_policy_row *ipsec_policy_rows;
const struct ipsec_spd_row *ipsec_spd_rows;

static int init(struct err *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int rc = 0;

	for (unsigned i = 0; i < 2 && !rc; i++) {
		rc = fp_register_stage(i ? FP_STAGE_IP6_IPSEC_CHECK : FP_STAGE_IP_IPSEC_CHECK,
				       ipsec_check);
		if (!rc)
			rc = fp_register_stage(i ? FP_STAGE_IP6_IPSEC : FP_STAGE_IP_IPSEC,
					       ipsec_output);
		if (!rc)
			rc = fp_register_protocol(families[i], IPPROTO_ESP, ipsec_esp_input);
	}
	if (!rc)
		rc = fp_register_udp(AF_INET, NAT_T_PORT, ipsec_udp_input);
	return rc ? err_set(err, -rc, "ESP or a stage of IPsec is taken") : 0;
}

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	ipsec_sa_rows = shm_rows(config, "ipsec_sa");
	ipsec_policy_rows = shm_rows(config, "ipsec_policy");
	ipsec_spd_rows = shm_rows(config, "ipsec_spd");
	ipsec_states = shm_rows(stats, "ipsec_sa_state");
	ipsec_search_attach(config);
	return ipsec_sessions_attach(config, stats, err);
}

const struct fp_feature ipsec_fastpath = {
	.init = init, .attach = attach, .look = ipsec_sessions_look};
