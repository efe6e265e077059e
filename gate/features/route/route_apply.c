// SPDX-License-Identifier: BSD-3-Clause
/* From Linux's routes to next hops and tries.
 *
 * The RIB keeps, for each (family, VRF, table, prefix), the candidates in the order in which Linux would take them: table local
 * before main, then the lowest metric. The first one's next hop stands in the trie.
 *
 * The kernel looks through table local as a whole before main (IPv6 always; IPv4 too once the two tables aren't merged any
 * more), the trie finds the longest prefix of both. The two differ only for a prefix of main below a shorter one of local,
 * so those are left to Linux.
 *
 * A prefix whose route can't be used (it waits for its interface, a table is full, Linux knows something about it that we
 * don't) still has its place in the trie, as Linux's to decide: its packets must not follow a shorter prefix. */
#include "features/route/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "features/iface/iface.h"
#include "features/neigh/neigh.h"
#include "features/route/mtrie.h"
#include "features/route/nexthop.h"
#include "features/route/table.h"
#include "features/vrf/vrf.h"
#include "fpmd/fpm.h"
#include "fpmd/pool.h"

/* --- RIB: there are millions of these, so they are small --- */

struct candidate {
	struct candidate *next;
	struct prefix *prefix;
	uint32_t metric;
	uint32_t nexthop : 23; /* with a reference */
	bool has_tos : 1;
	bool in_local : 1; /* table local, else main */
	bool is_local : 1; /* RTN_LOCAL */
};
static_assert(sizeof(struct candidate) == 24);

struct prefix {
	struct prefix *chain;
	struct candidate *first;
	uint32_t value : 23; /* row in "nexthop" that the trie has for it */
	bool in_trie : 1;    /* mtrie_add was called */
	bool starved : 1;    /* but there was no room */
	uint16_t fib;	     /* number of its routing table */
	uint8_t family;
	uint8_t plen;
	uint8_t dst[]; /* 4 or 16 bytes */
};
static_assert(offsetof(struct prefix, dst) == 24);

/* One routing table of one family of one VRF; local and main are one, called main. It's there while it has prefixes, and
 * its number is its root's row. */
struct fib {
	uint32_t vrf, table;
	uint32_t row; /* in "route_table", with a reference */
	uint32_t n_prefixes;
	uint32_t n[129];       /* by length */
	uint32_t n_local[129]; /* those with a candidate of table local */
};

static struct fib *fibs4[MTRIE_ROOTS], *fibs6[MTRIE_ROOTS];
static struct fpm_rows roots4, roots6;
static struct mtrie trie4, trie6;
static struct prefix **buckets;
static uint32_t n_buckets, n_prefixes;

/* Local IPv4 addresses by vrf_local4_bit, and local prefixes shorter than /32. */
static struct {
	uint32_t n[256];
	uint32_t n_short;
} local4[FPC_VRF_MAX];

/* There is no state to go back to without memory, and the next fpmd starts from nothing anyway. */
static void *allocated(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static struct fib *fib_of(const struct prefix *p)
{
	return p->family == AF_INET ? fibs4[p->fib] : fibs6[p->fib];
}

static struct mtrie *trie_of(const struct prefix *p)
{
	return p->family == AF_INET ? &trie4 : &trie6;
}

static uint8_t family_bits(uint8_t family)
{
	return family == AF_INET ? 32 : 128;
}

static void mask_bits(uint8_t dst[16], uint8_t plen)
{
	for (unsigned i = 0; i < 16; i++) {
		if (plen >= 8 * (i + 1))
			continue;
		dst[i] &= plen > 8 * i ? (uint8_t)(0xff00 >> (plen - 8 * i)) : 0;
	}
}

static uint64_t hash_prefix(uint8_t family, uint32_t fib, uint8_t plen, const uint8_t *dst)
{
	uint64_t words[2] = {0};
	uint64_t h = (uint64_t)family << 40 | (uint64_t)fib << 8 | plen;

	memcpy(words, dst, family_bits(family) / 8);
	h = (h ^ words[0]) * 0x9e3779b97f4a7c15ULL;
	h = (h ^ (h >> 32) ^ words[1]) * 0xbf58476d1ce4e5b9ULL;
	return h ^ h >> 32;
}

static struct prefix **find_link(uint8_t family, uint32_t fib, uint8_t plen, const uint8_t *dst)
{
	struct prefix **at = &buckets[hash_prefix(family, fib, plen, dst) & (n_buckets - 1)];

	while (*at && ((*at)->plen != plen || (*at)->fib != fib || (*at)->family != family ||
		       memcmp((*at)->dst, dst, family_bits(family) / 8) != 0))
		at = &(*at)->chain;
	return at;
}

/* The prefix of @plen bits over @addr, NULL if there's none. */
static struct prefix *find_over(uint8_t family, uint32_t fib, uint8_t plen, const uint8_t *addr)
{
	uint8_t dst[16] = {0};

	memcpy(dst, addr, family_bits(family) / 8);
	mask_bits(dst, plen);
	return *find_link(family, fib, plen, dst);
}

static struct mtrie_cover cover(struct fib *const *fibs, uint8_t family, uint32_t number,
				const uint8_t *addr, uint8_t plen)
{
	for (int i = plen; i >= 0; i--) {
		struct prefix *p = fibs[number]->n[i] ? find_over(family, number, i, addr) : NULL;

		if (p)
			return (struct mtrie_cover){p->value, p->plen};
	}
	return (struct mtrie_cover){0};
}

static struct mtrie_cover cover4(void *arg, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	return cover(fibs4, AF_INET, root, addr, plen);
}

static struct mtrie_cover cover6(void *arg, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	return cover(fibs6, AF_INET6, root, addr, plen);
}

static mtrie_cover_fn *cover_of(const struct prefix *p)
{
	return p->family == AF_INET ? cover4 : cover6;
}

static bool has_local_table(const struct prefix *p)
{
	return p->first && p->first->in_local;
}

static bool below_local_table(const struct prefix *p)
{
	const struct fib *fib = fib_of(p);

	for (unsigned i = 0; i < p->plen; i++) {
		const struct prefix *over =
			fib->n_local[i] ? find_over(p->family, p->fib, i, p->dst) : NULL;

		if (over && has_local_table(over))
			return true;
	}
	return false;
}

/* What the trie should have for a prefix with candidates. */
static uint32_t wanted_value(const struct prefix *p)
{
	const struct candidate *best = p->first;

	for (const struct candidate *c = best; c; c = c->next)
		if (c->has_tos)
			return nexthop_linux;
	if (!best->in_local && below_local_table(p))
		return nexthop_linux;
	return best->nexthop;
}

/* There is room again: what stands in pinned ranges gets its place. */
static void refill(uint8_t family)
{
	struct mtrie *t = family == AF_INET ? &trie4 : &trie6;

	mtrie_unpin(t, family == AF_INET ? cover4 : cover6, NULL);
	for (uint32_t i = 0; i < n_buckets; i++)
		for (struct prefix *p = buckets[i]; p; p = p->chain)
			if (p->family == family && p->in_trie &&
			    !mtrie_change(t, p->fib, p->dst, p->plen, p->value))
				p->starved = false;
}

/* Brings the trie to what's wanted. */
static void install(struct prefix *p)
{
	uint32_t value = wanted_value(p);
	struct mtrie *t = trie_of(p);
	bool changed = value != p->value;

	p->value = value;
	if (p->starved && mtrie_room(t, mtrie_pinned(t)))
		refill(p->family);
	if (!p->in_trie) {
		int rc = mtrie_add(t, p->fib, p->dst, p->plen, value);

		if (rc == -ENOMEM)
			abort();
		p->in_trie = true;
		p->starved = rc != 0;
	} else if (changed) {
		p->starved = mtrie_change(t, p->fib, p->dst, p->plen, value) != 0;
	}
}

/* The prefix of table local came or went: those of main below it change hands. */
static void install_below(uint8_t family, uint32_t number, uint8_t plen, const uint8_t *over)
{
	const struct fib *fib = family == AF_INET ? fibs4[number] : fibs6[number];
	uint8_t dst[16] = {0};
	uint32_t below = 0;

	if (!fib)
		return;
	for (unsigned i = plen + 1; i <= family_bits(family); i++)
		below += fib->n[i];
	if (!below)
		return;
	for (uint32_t i = 0; i < n_buckets; i++)
		for (struct prefix *p = buckets[i]; p; p = p->chain) {
			if (p->family != family || p->fib != number || p->plen <= plen)
				continue;
			memcpy(dst, p->dst, family_bits(family) / 8);
			mask_bits(dst, plen);
			if (!memcmp(dst, over, family_bits(family) / 8))
				install(p);
		}
}

static void write_local4(uint32_t vrf)
{
	struct vrf_row *row = vrf_row(vrf);
	uint32_t words[8] = {0};

	for (unsigned bit = 0; bit < 256; bit++)
		if (local4[vrf].n_short || local4[vrf].n[bit])
			words[bit >> 5] |= 1U << (bit & 31);
	for (unsigned i = 0; i < 8; i++)
		if (row->local4[i] != words[i])
			atomic_store_explicit((_Atomic uint32_t *)&row->local4[i], words[i],
					      memory_order_release);
}

/* Counts a local candidate of @p in (+1) or out (-1). Linux doesn't take 127.0.0.0/8 for a custom local route either. */
static void count_local4(const struct prefix *p, int delta)
{
	uint32_t vrf = fib_of(p)->vrf;
	uint32_t addr;

	if (p->family != AF_INET || (p->dst[0] == 127 && p->plen >= 8))
		return;
	addr = (uint32_t)p->dst[0] << 24 | p->dst[1] << 16 | p->dst[2] << 8 | p->dst[3];
	if (p->plen == 32)
		local4[vrf].n[vrf_local4_bit(addr)] += delta;
	else
		local4[vrf].n_short += delta;
	write_local4(vrf);
}

static void grow(void)
{
	uint32_t n = n_buckets * 2;
	struct prefix **bigger = calloc(n, sizeof(struct prefix *));

	if (!bigger)
		return; /* longer chains will do */
	for (uint32_t i = 0; i < n_buckets; i++)
		for (struct prefix *p = buckets[i], *next; p; p = next) {
			uint64_t h = hash_prefix(p->family, p->fib, p->plen, p->dst);

			next = p->chain;
			p->chain = bigger[h & (n - 1)];
			bigger[h & (n - 1)] = p;
		}
	free(buckets);
	buckets = bigger;
	n_buckets = n;
}

/* --- routing tables --- */

/* Where the data path finds the root of a table. */
static _Atomic uint32_t *root_of(uint8_t family, uint32_t vrf, uint32_t row)
{
	if (row != ROUTE_TABLE_MAIN)
		return route_table_root(row, family);
	return family == AF_INET ? &vrf_row(vrf)->root4 : &vrf_row(vrf)->root6;
}

/* The number of a routing table, made if need be; 0: there are too many. */
static uint32_t fib_get(uint8_t family, uint32_t vrf, uint32_t table)
{
	struct fib **fibs = family == AF_INET ? fibs4 : fibs6;
	uint32_t number, row;

	if (table == RT_TABLE_LOCAL)
		table = RT_TABLE_MAIN;
	row = route_table_ref(vrf, table);
	if (!row)
		return 0;
	number = atomic_load(root_of(family, vrf, row));
	if (number) {
		route_table_unref(row);
		return number;
	}
	number = fpm_rows_get(family == AF_INET ? &roots4 : &roots6);
	if (!number) {
		route_table_unref(row);
		return 0;
	}
	fibs[number] = allocated(calloc(1, sizeof(*fibs[number])));
	fibs[number]->vrf = vrf;
	fibs[number]->table = table;
	fibs[number]->row = row;
	atomic_store_explicit(root_of(family, vrf, row), number, memory_order_release);
	return number;
}

/* The last prefix is gone: the root is all zeros. */
static void fib_put(uint8_t family, uint32_t number)
{
	struct fib **at = family == AF_INET ? &fibs4[number] : &fibs6[number];

	atomic_store_explicit(root_of(family, (*at)->vrf, (*at)->row), 0, memory_order_release);
	route_table_unref((*at)->row);
	free(*at);
	*at = NULL;
	fpm_rows_put_later(family == AF_INET ? &roots4 : &roots6, number);
}

/* --- */

static size_t prefix_size(uint8_t family)
{
	return offsetof(struct prefix, dst) + family_bits(family) / 8;
}

static struct prefix *prefix_get(const struct fpc_route *r, uint32_t fib)
{
	struct prefix **at = find_link(r->family, fib, r->plen, r->dst);
	struct prefix *p = *at;

	if (p)
		return p;
	p = allocated(pool_get(prefix_size(r->family)));
	memset(p, 0, offsetof(struct prefix, dst));
	p->fib = (uint16_t)fib;
	p->family = r->family;
	p->plen = r->plen;
	memcpy(p->dst, r->dst, family_bits(r->family) / 8);
	*at = p;
	fib_of(p)->n[p->plen]++;
	fib_of(p)->n_prefixes++;
	if (++n_prefixes > n_buckets)
		grow();
	return p;
}

/* The last candidate is gone. */
static void prefix_free(struct prefix *p)
{
	struct prefix **at = find_link(p->family, p->fib, p->plen, p->dst);

	/* First out of the hash: cover must not find it. */
	*at = p->chain;
	fib_of(p)->n[p->plen]--;
	n_prefixes--;
	if (p->in_trie)
		mtrie_remove(trie_of(p), p->fib, p->dst, p->plen, cover_of(p), NULL);
	if (!--fib_of(p)->n_prefixes)
		fib_put(p->family, p->fib);
	pool_put(p, prefix_size(p->family));
}

static bool before(const struct candidate *a, const struct candidate *b)
{
	if (a->in_local != b->in_local)
		return a->in_local;
	return a->metric < b->metric;
}

/* A new candidate in its place; its next hop isn't known yet. */
static struct candidate *candidate_add(const struct fpc_route *r, uint32_t fib)
{
	struct prefix *p = prefix_get(r, fib);
	struct candidate *c = allocated(pool_get(sizeof(*c)));
	struct candidate **at = &p->first;

	*c = (struct candidate){
		.prefix = p,
		.metric = r->metric,
		.has_tos = r->tos != 0,
		.in_local = r->table == RT_TABLE_LOCAL,
	};
	if (c->in_local && !has_local_table(p))
		fib_of(p)->n_local[p->plen]++;
	while (*at && before(*at, c))
		at = &(*at)->next;
	c->next = *at;
	*at = c;
	return c;
}

static void candidate_free(struct candidate *c)
{
	struct prefix *p = c->prefix;
	struct candidate **at = &p->first;
	bool was_local = has_local_table(p);
	uint8_t family = p->family, plen = p->plen, dst[16];
	uint32_t fib = p->fib;

	memcpy(dst, p->dst, family_bits(family) / 8);

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (c->is_local)
		count_local4(p, -1);
	if (was_local && !has_local_table(p))
		fib_of(p)->n_local[p->plen]--;
	else
		was_local = false;
	if (p->first)
		install(p);
	else
		prefix_free(p);
	if (was_local)
		install_below(family, fib, plen, dst);
	nexthop_put(c->nexthop);
	pool_put(c, sizeof(*c));
}

/* --- objects --- */

static uint8_t nexthop_type(const struct fpc_route *r)
{
	switch (r->type) {
	case RTN_UNICAST:
		if (!r->n_nexthops || !r->nexthops[0].ifindex)
			return NEXTHOP_LINUX;
		if (r->n_nexthops > 1) /* of table local: nobody does that */
			return r->table == RT_TABLE_LOCAL ? NEXTHOP_LINUX : NEXTHOP_GROUP;
		return r->nexthops[0].family ? NEXTHOP_GATEWAY : NEXTHOP_CONNECTED;
	case RTN_LOCAL:
	case RTN_ANYCAST:
		return NEXTHOP_LOCAL;
	case RTN_BROADCAST:
	case RTN_MULTICAST:
		return NEXTHOP_BROADCAST;
	case RTN_BLACKHOLE:
		return NEXTHOP_BLACKHOLE;
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		return NEXTHOP_UNREACHABLE;
	default:
		return NEXTHOP_LINUX;
	}
}

/* The row for one next hop of a route, with a reference. */
static int make_single(const struct fpc_route *r, const struct fpc_nexthop *hop, uint32_t *ret_row,
		       struct err *err)
{
	struct nexthop_row want = {
		.type = hop->family ? NEXTHOP_GATEWAY : NEXTHOP_CONNECTED,
		.in_local = r->table == RT_TABLE_LOCAL,
		.iface = iface_lookup(r->vrf, hop->ifindex),
		.family = hop->family,
		.mtu = r->mtu ? r->mtu : NEXTHOP_NO_MTU,
	};
	uint32_t row;

	if (hop->family)
		memcpy(want.gateway, hop->gateway, hop->family == AF_INET ? 4 : 16);
	if (!want.iface) {
		fpm_field("nexthops");
		return err_set(err, EAGAIN, "the route waits for interface %u", hop->ifindex);
	}
	row = nexthop_get(&want);
	if (!row)
		return err_set(err, ENOSPC,
			       "the table of next hops or neighbours is full (FP_MAX_NEXTHOPS, "
			       "FP_MAX_NEIGHBOURS)");
	*ret_row = row;
	return 0;
}

/* Likewise for several: those that Linux uses. It shows a next hop whose link is down as dead where it's to be ignored. */
static int make_group(const struct fpc_route *r, uint32_t *ret_row, struct err *err)
{
	uint32_t rows[FPC_ROUTE_MAX_NEXTHOPS], weights[FPC_ROUTE_MAX_NEXTHOPS];
	unsigned n = 0;
	uint32_t row = 0;
	int rc = 0;

	for (unsigned i = 0; i < r->n_nexthops && !rc; i++) {
		const struct fpc_nexthop *hop = &r->nexthops[i];

		if (hop->flags & FPC_NEXTHOP_DEAD)
			continue;
		rc = make_single(r, hop, &rows[n], err);
		if (!rc)
			weights[n++] = hop->weight ? hop->weight : 1;
	}
	if (!rc && n == 1) {
		*ret_row = rows[0];
		return 0;
	}
	if (!rc && n) {
		row = nexthop_get_group(rows, weights, n);
		if (!row)
			rc = err_set(err, ENOSPC,
				     "the table of next hops or of their groups is full "
				     "(FP_MAX_NEXTHOPS)");
	} else if (!rc) {
		/* All are dead: what Linux makes of it is its business. */
		row = nexthop_get_linux();
	}
	/* The group has its own references. */
	for (unsigned i = 0; i < n; i++)
		nexthop_put(rows[i]);
	if (!rc)
		*ret_row = row;
	return rc;
}

/* The next hop for a route: its row in *@ret_row, with a reference; on failure that's Linux's. If there's only one, it isn't
 * asked whether it's dead or its link down: its interface says the same, sooner, and packets for it are exceptions then. */
static int make_nexthop(const struct fpc_route *r, uint32_t *ret_row, struct err *err)
{
	uint8_t type = r->flags & FPC_ROUTE_UNSUPPORTED ? NEXTHOP_LINUX : nexthop_type(r);
	int rc;

	switch (type) {
	case NEXTHOP_GATEWAY:
	case NEXTHOP_CONNECTED:
		rc = make_single(r, &r->nexthops[0], ret_row, err);
		break;
	case NEXTHOP_GROUP:
		rc = make_group(r, ret_row, err);
		break;
	case NEXTHOP_LINUX:
		*ret_row = nexthop_get_linux();
		return 0;
	default:
		*ret_row = nexthop_get(&(struct nexthop_row){
			.type = type, .in_local = r->table == RT_TABLE_LOCAL});
		rc = *ret_row ? 0
			      : err_set(err, ENOSPC,
					"the table of next hops is full (FP_MAX_NEXTHOPS)");
	}
	if (rc)
		*ret_row = nexthop_get_linux();
	return rc;
}

/* What can't stand in the trie at all. */
static int check(const struct fpc_route *r, struct err *err)
{
	uint8_t dst[16];

	if (r->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "route in VRF %u: numbers go up to %u", r->vrf,
			       FPC_VRF_MAX - 1);
	}
	if (r->family != AF_INET && r->family != AF_INET6) {
		fpm_field("family");
		return err_set(err, EAFNOSUPPORT, "route of address family %u", r->family);
	}
	if (r->plen > family_bits(r->family)) {
		fpm_field("plen");
		return err_set(err, EINVAL, "prefix length %u is too long", r->plen);
	}
	memcpy(dst, r->dst, sizeof(dst));
	mask_bits(dst, r->plen);
	if (memcmp(dst, r->dst, sizeof(dst)) != 0) {
		fpm_field("dst");
		return err_set(err, EINVAL, "bits beyond the prefix length %u are set", r->plen);
	}
	if (!r->table) {
		fpm_field("table");
		return err_set(err, EINVAL, "a route without table");
	}
	return 0;
}

/* What is wrong with the rest: the prefix is Linux's then. */
static int check_nexthops(const struct fpc_route *r, struct err *err)
{
	if (r->n_nexthops > FPC_ROUTE_MAX_NEXTHOPS) {
		fpm_field("n_nexthops");
		return err_set(err, EINVAL, "%u next hops, the most are %u", r->n_nexthops,
			       FPC_ROUTE_MAX_NEXTHOPS);
	}
	for (unsigned i = 0; i < r->n_nexthops; i++) {
		uint8_t family = r->nexthops[i].family;

		if (family && family != AF_INET6 && family != r->family) {
			fpm_field("nexthops");
			return err_set(err, EINVAL, "next hop %u has a gateway of family %u", i,
				       family);
		}
	}
	return 0;
}

/* @priv: the candidate, which also refused and parked routes have if only their prefix is right. */
static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_route *r = msg;
	struct candidate *c = (struct candidate *)*priv;
	uint32_t fib, row, before_row = 0;
	bool is_local, new_local_table = false;
	int rc;

	if (!c) {
		rc = check(r, err);
		if (rc)
			return rc;
		fib = fib_get(r->family, r->vrf, r->table);
		if (!fib)
			return err_set(err, ENOSPC, "there are more than %u routing tables",
				       MTRIE_ROOTS - 1);
		c = candidate_add(r, fib);
		*priv = (uint64_t)c;
		new_local_table = c->in_local;
	} else {
		before_row = c->nexthop;
	}
	rc = check_nexthops(r, err);
	if (rc) {
		row = nexthop_get_linux();
	} else {
		rc = make_nexthop(r, &row, err);
	}
	c->nexthop = row;
	is_local = r->type == RTN_LOCAL;
	if (is_local != c->is_local)
		count_local4(c->prefix, is_local ? 1 : -1);
	c->is_local = is_local;
	install(c->prefix);
	if (new_local_table)
		install_below(r->family, c->prefix->fib, r->plen, r->dst);
	if (before_row)
		nexthop_put(before_row);
	if (!rc && c->prefix->starved)
		rc = err_set(err, ENOSPC, "the IPv%u trie is full (FP_MAX_IPV%u_LINES)",
			     r->family == AF_INET ? 4 : 6, r->family == AF_INET ? 4 : 6);
	return rc;
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	candidate_free((struct candidate *)priv);
}

static void forget(void)
{
	for (uint32_t i = 0; i < n_buckets; i++)
		for (struct prefix *p = buckets[i], *next; p; p = next) {
			next = p->chain;
			for (struct candidate *c = p->first, *after; c; c = after) {
				after = c->next;
				pool_put(c, sizeof(*c));
			}
			pool_put(p, prefix_size(p->family));
		}
	free(buckets);
	n_prefixes = 0;
	n_buckets = 1024;
	buckets = allocated(calloc(n_buckets, sizeof(struct prefix *)));
	for (uint32_t i = 0; i < MTRIE_ROOTS; i++) {
		free(fibs4[i]);
		free(fibs6[i]);
		fibs4[i] = fibs6[i] = NULL;
	}
	memset(local4, 0, sizeof(local4));
}

static int init(struct fpm *fpm, struct err *err)
{
	int rc = nexthops_init(fpm, err);

	if (!rc)
		rc = route_tables_init(fpm, err);
	if (!rc)
		rc = mtrie_init(&trie4, fpm, "mtrie4_root", "mtrie4_line", 32, nexthop_linux, err);
	if (!rc)
		rc = mtrie_init(&trie6, fpm, "mtrie6_root", "mtrie6_line", 128, nexthop_linux, err);
	if (!rc)
		rc = fpm_rows_init(&roots4, fpm, "mtrie4_root", err);
	if (!rc)
		rc = fpm_rows_init(&roots6, fpm, "mtrie6_root", err);
	if (!rc)
		forget();
	return rc;
}

const struct fpm_apply route_apply = {
	.depends = 1 << FEATURE_IFACE,
	.init = init,
	.set = set,
	.del = del,
};
