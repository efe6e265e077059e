// SPDX-License-Identifier: BSD-3-Clause
/* Policies become rows in the chains of their pair of prefix lengths. Where there's no room for one, all packets that it could
 * be for are Linux's (left_out of the spd row). */
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "fastpath/stage.h"
#include "features/ipsec/ipsec_apply.h"
#include "features/vrf/vrf.h"

#define LEFT_OUT UINT32_MAX /* priv of a policy without a row, else its row */

static const uint8_t families[] = {AF_INET, AF_INET6};

static struct fpm_rows table;
static struct ipsec_policy_row *rows;
static struct ipsec_policy_bucket_row *buckets;
static struct ipsec_spd_row *spds;
static uint32_t mask;
/* Of each pair of each spd row: how many policies. */
static uint16_t n_of_pair[IPSEC_SPD_ROWS][IPSEC_PAIRS];

int ipsec_policy_init(struct fpm *fpm, struct err *err)
{
	rows = shm_rows(&fpm->config, "ipsec_policy");
	buckets = shm_rows(&fpm->config, "ipsec_policy_bucket");
	mask = shm_find(&fpm->config, "ipsec_policy_bucket")->capacity - 1;
	spds = shm_rows(&fpm->config, "ipsec_spd");
	memset(n_of_pair, 0, sizeof(n_of_pair));
	return fpm_rows_init(&table, fpm, "ipsec_policy", err);
}

static uint8_t direction(const struct fpc_ipsec *m)
{
	return m->index & 7;
}

/* The stages that ask this part of the SPD. Packets that come in for this host are Linux's, which asks `in` itself. */
static void switch_stages(uint32_t vrf, uint8_t dir)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct ipsec_spd_row *spd = &spds[ipsec_spd(vrf, dir, families[i])];
		bool on = spd->n_policies || spd->left_out;

		if (dir == FPC_IPSEC_OUT)
			vrf_enable_stage(vrf, i ? FP_STAGE_IP6_IPSEC : FP_STAGE_IP_IPSEC, on);
		else if (dir == FPC_IPSEC_FWD)
			ipsec_enable_check(vrf, families[i], on);
	}
}

/* --- the SA of a policy --- */

static bool any_addr(const uint8_t *addr)
{
	static const uint8_t zero[16];

	return !memcmp(addr, zero, 16);
}

/* As xfrm_state_find in Linux: whether SA @sa can serve policy @p. */
static bool fits(const struct ipsec_policy_row *p, const struct ipsec_sa_row *sa)
{
	const struct fpc_ipsec_tmpl *t = &p->tmpl[0];
	const uint8_t *dst = t->dst, *src = t->src;

	/* Transport: the ends of the packet itself, which must be the same for all packets of the policy. */
	if (t->mode == FPC_IPSEC_TRANSPORT) {
		uint8_t bits = p->sel.family == AF_INET ? 32 : 128;

		if (p->sel.dst_plen != bits || p->sel.src_plen != bits)
			return false;
		dst = p->sel.dst;
		src = p->sel.src;
	}
	return sa->generation && sa->vrf == p->vrf && sa->proto == t->proto &&
	       sa->mode == t->mode &&
	       sa->family == (t->mode == FPC_IPSEC_TRANSPORT ? p->sel.family : t->family) &&
	       sa->reqid == t->reqid && (!t->spi || t->spi == sa->spi) && sa->direction != 1 &&
	       !(sa->mark & sa->mark_mask) && sa->if_id == p->if_id && !memcmp(sa->dst, dst, 16) &&
	       (any_addr(src) || !memcmp(sa->src, src, 16)) &&
	       (!sa->sel_family || sa->sel_family == p->sel.family);
}

/* Linux takes the one that came last. */
static bool is_better(uint32_t a, uint32_t b)
{
	uint32_t n;
	const struct ipsec_sa_row *sas = ipsec_sas(&n);

	return !b || sas[a].add_time > sas[b].add_time ||
	       (sas[a].add_time == sas[b].add_time && sas[a].generation > sas[b].generation);
}

static bool wants_sa(const struct ipsec_policy_row *p)
{
	return p->used && p->direction == FPC_IPSEC_OUT && p->n_tmpls == 1;
}

/* Chooses anew; not @but. */
static void choose(struct ipsec_policy_row *p, uint32_t but)
{
	uint32_t n, best = 0;
	const struct ipsec_sa_row *sas = ipsec_sas(&n);

	for (uint32_t i = 1; i < n; i++)
		if (i != but && sas[i].generation && fits(p, &sas[i]) && is_better(i, best))
			best = i;
	atomic_store_explicit(&p->sa, best, memory_order_release);
}

void ipsec_policy_sa_came(uint32_t row)
{
	uint32_t n;
	const struct ipsec_sa_row *sas = ipsec_sas(&n);

	for (uint32_t i = 1; i < table.next; i++) {
		struct ipsec_policy_row *p = &rows[i];

		if (!wants_sa(p))
			continue;
		if (fits(p, &sas[row])) {
			if (p->sa != row && is_better(row, p->sa))
				atomic_store_explicit(&p->sa, row, memory_order_release);
		} else if (p->sa == row) {
			choose(p, row);
		}
	}
}

void ipsec_policy_sa_goes(uint32_t row)
{
	for (uint32_t i = 1; i < table.next; i++)
		if (wants_sa(&rows[i]) && rows[i].sa == row)
			choose(&rows[i], row);
}

/* --- chains and pairs --- */

static uint32_t spd_of(const struct ipsec_policy_row *p)
{
	return ipsec_spd(p->vrf, p->direction, p->sel.family);
}

static _Atomic uint32_t *bucket(const struct ipsec_policy_row *p)
{
	uint64_t dst[2], src[2];

	ipsec_cut(dst, p->sel.dst, p->sel.family, p->sel.dst_plen);
	ipsec_cut(src, p->sel.src, p->sel.family, p->sel.src_plen);
	return &buckets[ipsec_policy_hash(spd_of(p), dst, src, p->sel.dst_plen, p->sel.src_plen) &
			mask]
			.first;
}

static struct ipsec_pair load_pair(uint32_t spd, unsigned i)
{
	uint64_t word = spds[spd].pair[i];
	struct ipsec_pair ret;

	memcpy(&ret, &word, 8);
	return ret;
}

static void store_pair(uint32_t spd, unsigned i, struct ipsec_pair pair)
{
	uint32_t n = IPSEC_PAIRS;
	uint64_t word;

	memcpy(&word, &pair, 8);
	atomic_store_explicit(&spds[spd].pair[i], word, memory_order_release);
	while (n && !spds[spd].pair[n - 1])
		n--;
	atomic_store_explicit(&spds[spd].n_pairs, n, memory_order_release);
}

/* The pair of these lengths, or a free one; IPSEC_PAIRS: none is left. */
static unsigned find_pair(const struct ipsec_policy_row *p)
{
	uint32_t spd = spd_of(p);
	unsigned free = IPSEC_PAIRS;

	for (unsigned i = IPSEC_PAIRS; i-- > 0;) {
		struct ipsec_pair pair = load_pair(spd, i);

		if (!pair.used)
			free = i;
		else if (pair.dst_plen == p->sel.dst_plen && pair.src_plen == p->sel.src_plen)
			return i;
	}
	return free;
}

static uint32_t lowest_priority(const struct ipsec_policy_row *of)
{
	uint32_t ret = UINT32_MAX;

	for (uint32_t i = 1; i < table.next; i++) {
		const struct ipsec_policy_row *p = &rows[i];

		if (p->used && !p->never && spd_of(p) == spd_of(of) &&
		    p->sel.dst_plen == of->sel.dst_plen && p->sel.src_plen == of->sel.src_plen &&
		    p->priority < ret)
			ret = p->priority;
	}
	return ret;
}

/* What comes in can be judged by all policies or by none: one that's Linux's takes all with it. */
static void count(const struct ipsec_policy_row *p, int delta)
{
	struct ipsec_spd_row *spd = &spds[spd_of(p)];

	atomic_fetch_add(&spd->n_policies, (uint32_t)delta);
	if (p->why != IPSEC_POLICY_FAST && p->direction != FPC_IPSEC_OUT)
		atomic_fetch_add(&spd->left_out, (uint32_t)delta);
}

static bool link_row(uint32_t row)
{
	struct ipsec_policy_row *p = &rows[row];
	unsigned at = find_pair(p);
	uint32_t spd = spd_of(p);
	struct ipsec_pair pair;
	_Atomic uint32_t *first = bucket(p);

	if (at == IPSEC_PAIRS)
		return false;
	pair = load_pair(spd, at);
	if (!pair.used)
		pair = (struct ipsec_pair){.used = 1,
					   .dst_plen = p->sel.dst_plen,
					   .src_plen = p->sel.src_plen,
					   .first_priority = p->priority};
	if (p->priority < pair.first_priority)
		pair.first_priority = p->priority;
	atomic_store_explicit(&p->next, *first, memory_order_relaxed);
	atomic_store_explicit(&p->used, 1, memory_order_release);
	atomic_store_explicit(first, row, memory_order_release);
	n_of_pair[spd][at]++;
	store_pair(spd, at, pair);
	count(p, 1);
	return true;
}

static void remove_row(uint32_t row)
{
	struct ipsec_policy_row *p = &rows[row];
	_Atomic uint32_t *at = bucket(p);
	uint32_t spd = spd_of(p);
	struct ipsec_pair pair;
	unsigned i;

	if (p->never) {
		p->used = 0;
		fpm_rows_put(&table, row);
		return;
	}
	while (*at != row)
		at = &rows[*at].next;
	atomic_store_explicit(at, p->next, memory_order_release);
	atomic_store_explicit(&p->used, 0, memory_order_release);
	i = find_pair(p);
	pair = load_pair(spd, i);
	if (--n_of_pair[spd][i] == 0)
		store_pair(spd, i, (struct ipsec_pair){});
	else if (pair.first_priority == p->priority) {
		pair.first_priority = lowest_priority(p);
		store_pair(spd, i, pair);
	}
	count(p, -1);
	fpm_rows_put_later(&table, row);
}

/* --- set and del --- */

static int check(const struct fpc_ipsec *m, struct err *err)
{
	const struct fpc_ipsec_policy *p = &m->policy;
	unsigned bits = p->sel.family == AF_INET ? 32 : 128;

	if (p->sel.dst_plen > bits || p->sel.src_plen > bits) {
		fpm_field("sel");
		return err_set(err, EINVAL, "IPsec policy for a prefix of %u bits",
			       p->sel.dst_plen > bits ? p->sel.dst_plen : p->sel.src_plen);
	}
	if (p->n_tmpls > FPC_IPSEC_TMPLS) {
		fpm_field("n_tmpls");
		return err_set(err, EINVAL, "IPsec policy with %u templates", p->n_tmpls);
	}
	if (p->action != FPC_IPSEC_ALLOW && p->action != FPC_IPSEC_BLOCK) {
		fpm_field("action");
		return err_set(err, EINVAL, "IPsec policy with the action %u", p->action);
	}
	return 0;
}

static bool is_for_linux(const struct fpc_ipsec *m)
{
	const struct fpc_ipsec_policy *p = &m->policy;

	if (m->flags & FPC_IPSEC_LINUX)
		return true;
	/* Ports of protocols whose ports aren't where TCP has them. */
	if ((p->sel.dport_mask || p->sel.sport_mask) && p->sel.proto != IPPROTO_TCP &&
	    p->sel.proto != IPPROTO_UDP && p->sel.proto != IPPROTO_SCTP &&
	    p->sel.proto != IPPROTO_ICMP && p->sel.proto != IPPROTO_ICMPV6)
		return true;
	return p->action == FPC_IPSEC_ALLOW &&
	       (p->n_tmpls > 1 ||
		(direction(m) == FPC_IPSEC_OUT && p->n_tmpls == 1 && p->tmpl[0].optional));
}

static void write_row(struct ipsec_policy_row *row, const struct fpc_ipsec *m)
{
	const struct fpc_ipsec_policy *p = &m->policy;

	row->sel = p->sel;
	row->vrf = m->vrf;
	row->priority = p->priority;
	row->index = m->index;
	row->direction = direction(m);
	row->action = p->action;
	row->why = is_for_linux(m) ? IPSEC_POLICY_LINUX : IPSEC_POLICY_FAST;
	row->n_tmpls = p->n_tmpls;
	row->only_addrs =
		!p->sel.proto && !p->sel.dport_mask && !p->sel.sport_mask && !p->sel.ifindex;
	row->never = p->mark & p->mark_mask || p->if_id;
	row->flags = m->flags;
	row->mark = p->mark;
	row->mark_mask = p->mark_mask;
	row->if_id = p->if_id;
	memcpy(row->tmpl, p->tmpl, sizeof(row->tmpl));
}

/* Its packets are those of one family or, where that isn't known, of both. */
static void leave_out(const struct fpc_ipsec *m, int delta)
{
	for (unsigned i = 0; i < 2; i++) {
		uint32_t spd = ipsec_spd(m->vrf, direction(m), families[i]);

		if (m->policy.sel.family != families[1 - i])
			atomic_fetch_add(&spds[spd].left_out, (uint32_t)delta);
	}
	switch_stages(m->vrf, direction(m));
}

static int no_direction(const struct fpc_ipsec *m, struct err *err)
{
	if (direction(m) <= FPC_IPSEC_FWD)
		return 0;
	fpm_field("index");
	return err_set(err, EINVAL, "IPsec policy of direction %u", direction(m));
}

static int add(const struct fpc_ipsec *m, uint32_t *ret, struct err *err)
{
	int rc = check(m, err);
	uint32_t row;

	if (m->policy.sel.family != AF_INET && m->policy.sel.family != AF_INET6) {
		fpm_field("sel");
		return err_set(err, EAFNOSUPPORT, "IPsec policy for address family %u",
			       m->policy.sel.family);
	}
	if (rc)
		return rc;
	row = fpm_rows_get(&table);
	if (!row)
		return err_set(err, ENOSPC,
			       "no room for another IPsec policy (FP_MAX_IPSEC_POLICIES)");
	write_row(&rows[row], m);
	if (rows[row].never) {
		rows[row].used = 1;
	} else if (!link_row(row)) {
		fpm_rows_put(&table, row);
		return err_set(err, ENOSPC,
			       "more than %u pairs of prefix lengths in IPsec policies",
			       IPSEC_PAIRS);
	}
	if (wants_sa(&rows[row]))
		choose(&rows[row], 0);
	*ret = row;
	return 0;
}

/* The new one first: there's no moment without either. */
int ipsec_policy_set(const struct fpc_ipsec *m, uint64_t *priv, struct err *err)
{
	uint32_t before = (uint32_t)*priv, row = 0;
	int rc = no_direction(m, err);

	if (rc)
		return rc;
	rc = add(m, &row, err);
	if (rc) {
		row = LEFT_OUT;
		leave_out(m, 1);
	}
	if (before == LEFT_OUT)
		leave_out(m, -1);
	else if (before)
		remove_row(before);
	*priv = row;
	switch_stages(m->vrf, direction(m));
	return rc;
}

void ipsec_policy_del(const struct fpc_ipsec *m, uint64_t priv)
{
	if (priv == LEFT_OUT)
		leave_out(m, -1);
	else if (priv)
		remove_row((uint32_t)priv);
	switch_stages(m->vrf, direction(m));
}
