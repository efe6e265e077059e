// SPDX-License-Identifier: BSD-3-Clause
/* SAs become rows. One that changes in what the data path computed from becomes another row; lifetimes, the selector and the
 * ports of UDP encapsulation change in place, because sequence numbers and the replay window hang on the row. */
#include "features/ipsec/ipsec_apply.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "fastpath/stage.h"
#include "features/vrf/vrf.h"
#include "fpmd/fpm.h"
#include "lib/settings.h"

/* What the fast path's ciphers want: lengths in bytes. */
static const struct {
	uint8_t key_min, key_max, salt, iv_len, align;
} ciphers[] = {
	[FPC_IPSEC_NULL] = {0, 0, 0, 0, 4},
	[FPC_IPSEC_3DES_CBC] = {24, 24, 0, 8, 8},
	[FPC_IPSEC_AES_CBC] = {16, 32, 0, 16, 16},
	[FPC_IPSEC_AES_CTR] = {16, 32, 4, 8, 4},
	[FPC_IPSEC_AES_GCM] = {16, 32, 4, 8, 4},
	[FPC_IPSEC_AES_GMAC] = {16, 32, 4, 8, 4},
	[FPC_IPSEC_CHACHA20_POLY1305] = {32, 32, 4, 8, 4},
};
#define N_CIPHERS (sizeof(ciphers) / sizeof(*ciphers))

static struct fpm *the_fpm;
static struct fpm_rows table;
static struct ipsec_row *head;
static struct ipsec_sa_row *sas;
static struct ipsec_key_row *keys;
static struct ipsec_sa_bucket_row *buckets;
static uint32_t mask;
static uint32_t n_sas[FPC_VRF_MAX];
static bool forwards[FPC_VRF_MAX]
		    [2]; /* has policies for forwarded packets; by family: IPv4, IPv6 */
static uint64_t last_generation;

const struct ipsec_sa_row *ipsec_sas(uint32_t *ret_n)
{
	*ret_n = table.dir->capacity;
	return sas;
}

static _Atomic uint32_t *bucket(const struct ipsec_sa_row *sa)
{
	return &buckets[ipsec_sa_hash(sa->vrf, sa->spi, sa->proto) & mask].first;
}

/* Rows of a former fpmd stay with their SAs. */
static void reserve_old(void)
{
	const struct shm_table_dir *dir = the_fpm->old ? shm_find(the_fpm->old, "ipsec_sa") : NULL;
	const struct ipsec_sa_row *row = dir ? shm_rows(the_fpm->old, "ipsec_sa") : NULL;

	for (uint32_t i = 1; dir && i < dir->capacity; i++)
		if (row[i].generation)
			fpm_rows_reserve(&table, i);
}

static int init(struct fpm *fpm, struct err *err)
{
	int rc = fpm_rows_init(&table, fpm, "ipsec_sa", err);
	struct timespec now;

	if (rc)
		return rc;
	the_fpm = fpm;
	head = shm_rows(&fpm->config, "ipsec");
	sas = shm_rows(&fpm->config, "ipsec_sa");
	keys = shm_rows(&fpm->config, "ipsec_key");
	buckets = shm_rows(&fpm->config, "ipsec_sa_bucket");
	mask = shm_find(&fpm->config, "ipsec_sa_bucket")->capacity - 1;
	memset(n_sas, 0, sizeof(n_sas));
	memset(forwards, 0, sizeof(forwards));
	/* Other numbers than those of any fpmd before, whose SAs' state may still be in the stats file. */
	clock_gettime(CLOCK_REALTIME, &now);
	last_generation = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	reserve_old();
	return ipsec_policy_init(fpm, err);
}

/* --- SAs --- */

static bool no_selection(const struct fpc_ipsec_selector *s)
{
	return !s->dst_plen && !s->src_plen && !s->dport_mask && !s->sport_mask && !s->proto &&
	       !s->ifindex;
}

/* Whether FP_MAX_SAS is a number: else all SAs are Linux's. */
static bool wanted;

/* Whose this SA's packets are. */
static uint8_t why(const struct fpc_ipsec *m)
{
	const struct fpc_ipsec_sa *sa = &m->sa;

	if (m->flags & FPC_IPSEC_LINUX || !wanted)
		return IPSEC_SA_LINUX;
	if (m->mark & m->mark_mask || sa->if_id || sa->output_mark || sa->output_mask)
		return IPSEC_SA_MARK;
	if (m->proto != IPPROTO_ESP || !sa->cipher || (sa->encap && m->family != AF_INET))
		return IPSEC_SA_MODE;
	if (sa->mode != FPC_IPSEC_TUNNEL && sa->mode != FPC_IPSEC_TRANSPORT)
		return IPSEC_SA_MODE;
	return IPSEC_SA_FAST;
}

static void write_row(struct ipsec_sa_row *row, const struct fpc_ipsec *m)
{
	const struct fpc_ipsec_sa *sa = &m->sa;
	uint8_t salt = ciphers[sa->cipher].salt;

	memcpy(row->dst, m->dst, 16);
	memcpy(row->src, sa->src, 16);
	row->spi = m->spi;
	row->vrf = m->vrf;
	row->family = m->family;
	row->proto = m->proto;
	row->mode = sa->mode;
	row->why = why(m);
	row->flags = m->flags;
	row->cipher = sa->cipher;
	row->auth = sa->auth;
	row->icv_len = sa->icv_len;
	row->iv_len = ciphers[sa->cipher].iv_len;
	row->align = ciphers[sa->cipher].align;
	row->encap = sa->encap;
	row->direction = sa->direction;
	row->window = sa->replay_window;
	row->reqid = sa->reqid;
	row->mark = m->mark;
	row->mark_mask = m->mark_mask;
	row->if_id = sa->if_id;
	row->output_mark = sa->output_mark;
	row->output_mask = sa->output_mask;
	row->add_time = sa->add_time;
	row->start_bytes = sa->bytes;
	row->start_packets = sa->packets;
	row->key_len = sa->key_len - salt;
	row->auth_key_len = sa->auth_key_len;
	memcpy(row->salt, m->key + row->key_len, salt);
}

/* What may change while the row is in use. */
static void write_changing(struct ipsec_sa_row *row, const struct fpc_ipsec *m)
{
	const struct fpc_ipsec_sa *sa = &m->sa;

	row->sel = sa->sel;
	row->sel_family = sa->sel.family;
	row->sel_any = no_selection(&sa->sel);
	row->encap_sport = sa->encap_sport;
	row->encap_dport = sa->encap_dport;
	row->soft_bytes = sa->soft_bytes;
	row->hard_bytes = sa->hard_bytes;
	row->soft_packets = sa->soft_packets;
	row->hard_packets = sa->hard_packets;
	row->start_seq = (uint64_t)sa->oseq_hi << 32 | sa->oseq;
	row->start_received = (uint64_t)sa->seq_hi << 32 | sa->seq;
}

/* Whether @a can become @b in its row. */
static bool same_row(const struct fpc_ipsec *a, const struct fpc_ipsec *b)
{
	struct fpc_ipsec x = *a, y = *b;

	for (unsigned i = 0; i < 2; i++) {
		struct fpc_ipsec_sa *sa = i ? &x.sa : &y.sa;

		memset(&sa->sel, 0, sizeof(sa->sel));
		sa->encap_sport = sa->encap_dport = 0;
		sa->soft_bytes = sa->hard_bytes = sa->soft_packets = sa->hard_packets = 0;
		sa->oseq = sa->oseq_hi = sa->seq = sa->seq_hi = 0;
		sa->bytes = sa->packets = 0;
	}
	return !memcmp(&x, &y, sizeof(x));
}

/* The row that this very SA had in the file of a former fpmd, and its number; 0: none. */
static uint32_t old_row(const struct fpc_ipsec *m, uint64_t *ret_generation)
{
	const struct shm *old = the_fpm->old;
	const struct shm_table_dir *dir = old ? shm_find(old, "ipsec_sa") : NULL;
	const struct ipsec_sa_row *row = dir ? shm_rows(old, "ipsec_sa") : NULL;

	for (uint32_t i = 1; dir && i < dir->capacity; i++) {
		const struct ipsec_sa_row *r = &row[i];

		if (!r->generation || r->spi != m->spi || r->vrf != m->vrf ||
		    r->proto != m->proto || r->family != m->family || r->mark != m->mark ||
		    r->mark_mask != m->mark_mask || r->add_time != m->sa.add_time ||
		    memcmp(r->dst, m->dst, 16) || memcmp(r->src, m->sa.src, 16))
			continue;
		*ret_generation = r->generation;
		return i;
	}
	return 0;
}

/* A worker that found the row may still be using it. */
static void unlink_row(uint32_t row)
{
	_Atomic uint32_t *at = bucket(&sas[row]);

	while (*at != row)
		at = &sas[*at].next;
	atomic_store_explicit(at, sas[row].next, memory_order_release);
}

static void changed(void)
{
	atomic_fetch_add_explicit(&head->changes, 1, memory_order_release);
	the_fpm->changed = true;
}

static void remove_row(uint32_t row)
{
	unlink_row(row);
	ipsec_policy_sa_goes(row);
	atomic_store_explicit(&sas[row].generation, 0, memory_order_release);
	explicit_bzero(&keys[row], sizeof(keys[row]));
	fpm_rows_put_later(&table, row);
	changed();
}

static uint32_t add_row(const struct fpc_ipsec *m)
{
	uint64_t generation = 0;
	uint32_t was = old_row(m, &generation), row;
	_Atomic uint32_t *first;

	row = was ? fpm_rows_get_at(&table, was) : fpm_rows_get(&table);
	if (!row)
		return 0;
	if (row != was)
		generation = ++last_generation;
	write_row(&sas[row], m);
	write_changing(&sas[row], m);
	memcpy(keys[row].key, m->key, sas[row].key_len);
	memcpy(keys[row].auth_key, m->auth_key, sas[row].auth_key_len);
	first = bucket(&sas[row]);
	atomic_store_explicit(&sas[row].next, *first, memory_order_relaxed);
	atomic_store_explicit(&sas[row].generation, generation, memory_order_release);
	atomic_store_explicit(first, row, memory_order_release);
	changed();
	return row;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	while (n && !*bytes)
		bytes++, n--;
	return !n;
}

static int check_sa(const struct fpc_ipsec *m, struct err *err)
{
	const struct fpc_ipsec_sa *sa = &m->sa;

	if (m->family != AF_INET && m->family != AF_INET6) {
		fpm_field("family");
		return err_set(err, EAFNOSUPPORT, "SA of address family %u", m->family);
	}
	if (m->proto != IPPROTO_ESP && m->proto != IPPROTO_AH) {
		fpm_field("proto");
		return err_set(err, EPROTONOSUPPORT, "SA of protocol %u", m->proto);
	}
	/* Lengths must be right before anything is copied; those of Linux's own SAs are for people to read. */
	if (sa->key_len > FPC_IPSEC_KEY_MAX || sa->auth_key_len > FPC_IPSEC_AUTH_KEY_MAX ||
	    sa->cipher >= N_CIPHERS || sa->auth > FPC_IPSEC_AES_XCBC) {
		fpm_field("sa");
		return err_set(err, EINVAL, "SA with an algorithm or key that isn't one");
	}
	if (sa->cipher && (sa->key_len < ciphers[sa->cipher].key_min + ciphers[sa->cipher].salt ||
			   sa->key_len > ciphers[sa->cipher].key_max + ciphers[sa->cipher].salt)) {
		fpm_field("key_len");
		return err_set(err, EINVAL, "SA whose cipher has no keys of %u bytes", sa->key_len);
	}
	if (!sa->cipher && sa->key_len) {
		fpm_field("key_len");
		return err_set(err, EINVAL, "SA with a key and without a cipher");
	}
	/* Everybody would know that key. */
	if ((sa->key_len && is_zero(m->key, sa->key_len)) ||
	    (sa->auth_key_len && is_zero(m->auth_key, sa->auth_key_len))) {
		fpm_field("key");
		return err_set(err, EKEYREJECTED,
			       "SA with a key of zeros: recordings and dumps have those instead");
	}
	if (sa->replay_window > IPSEC_WINDOW_MAX && !(m->flags & FPC_IPSEC_LINUX)) {
		fpm_field("replay_window");
		return err_set(err, ENOTSUP, "SA with a replay window of %u packets",
			       sa->replay_window);
	}
	return 0;
}

/* What was decrypted is checked even where there's no policy. */
static void switch_check(uint32_t vrf)
{
	vrf_enable_stage(vrf, FP_STAGE_IP_IPSEC_CHECK, n_sas[vrf] || forwards[vrf][0]);
	vrf_enable_stage(vrf, FP_STAGE_IP6_IPSEC_CHECK, n_sas[vrf] || forwards[vrf][1]);
}

void ipsec_enable_check(uint32_t vrf, uint8_t family, bool on)
{
	forwards[vrf][family == AF_INET6] = on;
	switch_check(vrf);
}

static void count(uint32_t vrf, int delta)
{
	bool before = n_sas[vrf];

	n_sas[vrf] += (uint32_t)delta;
	if (before != !!n_sas[vrf])
		vrf_want_special(vrf, n_sas[vrf]);
	switch_check(vrf);
}

/* @priv: the row. An SA that's refused has none: packets for it are Linux's, as those of any unknown SPI. */
static int set_sa(const struct fpc_ipsec *m, const struct fpc_ipsec *old, uint64_t *priv,
		  struct err *err)
{
	int rc = check_sa(m, err);
	uint32_t before = (uint32_t)*priv, row;

	if (!rc && before && same_row(m, old)) {
		write_changing(&sas[before], m);
		changed();
		ipsec_policy_sa_came(before);
		return 0;
	}
	/* The old one first, so that nobody finds two of the same key; and so that policies choose the new one. */
	if (before) {
		remove_row(before);
		count(m->vrf, -1);
		*priv = 0;
	}
	if (rc)
		return rc;
	row = add_row(m);
	if (!row)
		return err_set(err, ENOSPC, "no room for another SA (FP_MAX_SAS)");
	count(m->vrf, 1);
	*priv = row;
	ipsec_policy_sa_came(row);
	return 0;
}

/* --- both --- */

static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_ipsec *m = msg;

	if (m->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "IPsec in VRF %u: numbers go up to %u", m->vrf,
			       FPC_VRF_MAX - 1);
	}
	switch (m->kind) {
	case FPC_IPSEC_SA:
		wanted = fpm->settings->max_sas != SETTING_AUTO;
		return set_sa(m, old, priv, err);
	case FPC_IPSEC_POLICY:
		return ipsec_policy_set(m, priv, err);
	default:
		fpm_field("kind");
		return err_set(err, EINVAL, "neither an SA nor a policy");
	}
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	const struct fpc_ipsec *m = old;

	if (m->kind == FPC_IPSEC_POLICY) {
		ipsec_policy_del(m, priv);
	} else if (priv) {
		remove_row((uint32_t)priv);
		count(m->vrf, -1);
	}
}

const struct fpm_apply ipsec_apply = {.init = init, .set = set, .del = del};
