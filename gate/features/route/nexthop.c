// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/nexthop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "features/iface/iface.h"
#include "features/neigh/neigh.h"

static struct fpm_rows nexthop_table;
static struct nexthop_row *nexthops;
static struct {
	uint32_t refs;
	uint32_t next; /* in the hash chain */
} *nexthop_shadows;
static uint32_t *nexthop_buckets;
static uint32_t nexthop_mask;
uint32_t nexthop_linux;

static uint32_t *nexthop_bucket(const struct nexthop_row *want)
{
	uint64_t a, b;
	uint64_t h = want->type * 31U + want->family + want->in_local * 63U +
		     ((uint64_t)want->iface << 16) + ((uint64_t)want->group << 32) +
		     ((uint64_t)want->mtu << 48);

	memcpy(&a, want->gateway, 8);
	memcpy(&b, want->gateway + 8, 8);
	h = (h ^ a) * 0x9e3779b97f4a7c15ULL;
	h = (h ^ (h >> 32) ^ b) * 0xbf58476d1ce4e5b9ULL;
	return &nexthop_buckets[(h ^ h >> 32) & nexthop_mask];
}

static bool nexthop_equal(const struct nexthop_row *a, const struct nexthop_row *b)
{
	return a->type == b->type && a->family == b->family && a->in_local == b->in_local &&
	       a->iface == b->iface && a->group == b->group && a->mtu == b->mtu &&
	       !memcmp(a->gateway, b->gateway, sizeof(a->gateway));
}

uint32_t nexthop_get(const struct nexthop_row *want)
{
	uint32_t *first = nexthop_bucket(want);
	uint32_t neigh = 0;
	uint32_t row;

	for (row = *first; row; row = nexthop_shadows[row].next)
		if (nexthop_equal(&nexthops[row], want)) {
			nexthop_shadows[row].refs++;
			return row;
		}
	if (want->type == NEXTHOP_GATEWAY) {
		neigh = neigh_ref(want->iface, want->family, want->gateway);
		if (!neigh)
			return 0;
	}
	row = fpm_rows_get(&nexthop_table);
	if (!row) {
		if (neigh)
			neigh_unref(neigh);
		return 0;
	}
	nexthops[row] = *want;
	nexthops[row].neigh = neigh;
	if (want->iface)
		iface_ref(want->iface);
	nexthop_shadows[row].refs = 1;
	nexthop_shadows[row].next = *first;
	*first = row;
	return row;
}

static void group_put(uint32_t group);

void nexthop_put(uint32_t row)
{
	uint32_t *at;

	if (--nexthop_shadows[row].refs)
		return;
	for (at = nexthop_bucket(&nexthops[row]); *at != row;)
		at = &nexthop_shadows[*at].next;
	*at = nexthop_shadows[row].next;
	if (nexthops[row].group)
		group_put(nexthops[row].group);
	if (nexthops[row].neigh)
		neigh_unref(nexthops[row].neigh);
	if (nexthops[row].iface)
		iface_unref(nexthops[row].iface);
	fpm_rows_put_later(&nexthop_table, row);
}

/* --- groups: one for all routes that divide their flows alike; each has one next hop, by which it's named and kept --- */

static struct fpm_rows group_table;
static struct nexthop_group_row *groups;
static uint32_t group_next[NEXTHOP_GROUPS]; /* in the hash chain */
static uint32_t group_buckets[NEXTHOP_GROUPS];

static uint32_t *group_bucket(const struct nexthop_group_row *want)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < want->n; i++)
		h = (h ^ want->member[i].nexthop ^ (uint64_t)want->member[i].last << 32) *
		    0x9e3779b97f4a7c15ULL;
	return &group_buckets[h >> 52];
}
static_assert(NEXTHOP_GROUPS == 1 << 12);

/* Takes back the reference of the last next hop that named it. */
static void group_put(uint32_t group)
{
	struct nexthop_group_row copy = groups[group];
	uint32_t *at;

	for (at = group_bucket(&copy); *at != group;)
		at = &group_next[*at];
	*at = group_next[group];
	fpm_rows_put_later(&group_table, group);
	for (unsigned i = 0; i < copy.n; i++)
		nexthop_put(copy.member[i].nexthop);
}

/* A reference to the next hop that names the group like @want; 0: no room. */
static uint32_t group_get(const struct nexthop_group_row *want)
{
	uint32_t *first = group_bucket(want);
	struct nexthop_row by = {.type = NEXTHOP_GROUP};
	uint32_t row;

	for (by.group = *first; by.group; by.group = group_next[by.group])
		if (!memcmp(&groups[by.group], want, sizeof(*want)))
			return nexthop_get(&by);
	by.group = fpm_rows_get(&group_table);
	if (!by.group)
		return 0;
	groups[by.group] = *want;
	row = nexthop_get(&by);
	if (!row) {
		fpm_rows_put(&group_table, by.group);
		return 0;
	}
	group_next[by.group] = *first;
	*first = by.group;
	for (unsigned i = 0; i < want->n; i++)
		nexthop_shadows[want->member[i].nexthop].refs++;
	return row;
}

/* Divides the hash among @n next hops. */
static void divide(struct nexthop_group_row *ret, const uint32_t *rows, const uint32_t *weights,
		   unsigned n)
{
	uint64_t total = 0, before = 0;
	unsigned at = 0;

	memset(ret, 0, sizeof(*ret));
	ret->n = n;
	for (unsigned i = 0; i < n; i++)
		total += weights[i];
	for (unsigned i = 0; i < n; i++) {
		before += weights[i];
		ret->member[i].last = (uint32_t)(((before << 31) + total / 2) / total - 1);
		ret->member[i].nexthop = rows[i];
	}
	for (uint32_t i = 0; i < NEXTHOP_SLOTS; i++) {
		while (ret->member[at].last < i << 23)
			at++;
		ret->slot[i] = ret->member[at].last >= (i << 23 | 0x7fffff)
				       ? rows[at]
				       : NEXTHOP_SLOT_SHARED | at;
	}
}

uint32_t nexthop_get_group(const uint32_t *rows, const uint32_t *weights, unsigned n)
{
	struct nexthop_group_row want;

	divide(&want, rows, weights, n);
	return group_get(&want);
}

uint32_t nexthop_get_linux(void)
{
	nexthop_shadows[nexthop_linux].refs++;
	return nexthop_linux;
}

int nexthops_init(struct fpm *fpm, struct err *err)
{
	uint32_t capacity;
	int rc = fpm_rows_init(&nexthop_table, fpm, "nexthop", err);

	if (rc)
		return rc;
	capacity = nexthop_table.dir->capacity;
	for (nexthop_mask = 63; nexthop_mask + 1 < capacity;)
		nexthop_mask = nexthop_mask * 2 + 1;
	free(nexthop_shadows);
	free(nexthop_buckets);
	nexthops = (struct nexthop_row *)nexthop_table.rows;
	rc = fpm_rows_init(&group_table, fpm, "nexthop_group", err);
	if (rc)
		return rc;
	groups = (struct nexthop_group_row *)group_table.rows;
	memset(group_buckets, 0, sizeof(group_buckets));
	nexthop_shadows = calloc(capacity, sizeof(*nexthop_shadows));
	nexthop_buckets = calloc(nexthop_mask + 1, sizeof(*nexthop_buckets));
	if (!nexthop_shadows || !nexthop_buckets)
		return err_set(err, ENOMEM, "no memory for %u next hops", capacity);
	nexthop_linux = nexthop_get(&(struct nexthop_row){.type = NEXTHOP_LINUX});
	return 0;
}
