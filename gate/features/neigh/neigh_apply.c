// SPDX-License-Identifier: BSD-3-Clause
/* Neighbours become rows of "neigh". A row lives while Linux knows the neighbour or a next hop names it.
 *
 * Workers read the 16 bytes from l2 to family as two words, the second one (with valid) first. A new MAC of the neighbour
 * changes the first word only. A new MAC of the interface changes both: then the row is invalid until no worker can be
 * between its two loads, so nobody sends a header that is half old and half new. */
#include "features/neigh/neigh.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "features/iface/iface.h"
#include "fpmd/fpm.h"

static_assert(offsetof(struct neigh_row, valid) == 14 && offsetof(struct neigh_row, family) == 15);

/* What fpmd alone knows of a row; same index. */
struct shadow {
	uint32_t refs;	 /* next hops, the object itself, a pending settle */
	bool live;	 /* Linux knows the neighbour */
	bool pending;	 /* settle is under way */
	bool source_set; /* l2 was written once */
	uint8_t mac[6];
};

static struct fpm *the_fpm;
static struct fpm_rows table;
static struct neigh_row *rows;
static struct neigh_bucket_row *buckets;
static uint32_t mask;
static struct shadow *shadows;

static _Atomic uint32_t *bucket(uint32_t iface, const uint8_t addr[16])
{
	return &buckets[neigh_hash(iface, addr) & mask].first;
}

static uint32_t find(uint32_t iface, uint8_t family, const uint8_t addr[16])
{
	uint32_t row = *bucket(iface, addr);

	while (row && (rows[row].iface != iface || rows[row].family != family ||
		       memcmp(rows[row].addr, addr, 16) != 0))
		row = rows[row].next;
	return row;
}

/* The two words for what is wanted now. */
static void make_words(uint32_t row, uint64_t words[2])
{
	static const uint8_t no_mac[6];
	const struct shadow *s = &shadows[row];
	uint8_t bytes[16] = {0};

	memcpy(bytes, s->mac, 6);
	memcpy(bytes + 6, iface_get(rows[row].iface)->mac, 6);
	bytes[14] = s->live && memcmp(s->mac, no_mac, 6) != 0;
	bytes[15] = rows[row].family;
	memcpy(words, bytes, 16);
}

static void store_words(uint32_t row, const uint64_t words[2])
{
	_Atomic uint64_t *at = (_Atomic uint64_t *)(void *)rows[row].l2;

	atomic_store_explicit(&at[0], words[0], memory_order_relaxed);
	atomic_store_explicit(&at[1], words[1], memory_order_release);
}

static void settle(void *arg, uint32_t row)
{
	uint64_t words[2];

	shadows[row].pending = false;
	make_words(row, words);
	store_words(row, words);
	neigh_unref(row);
}

/* Brings the row's header to what is wanted. */
static void refresh(uint32_t row)
{
	struct shadow *s = &shadows[row];
	uint64_t words[2];

	if (s->pending)
		return;
	make_words(row, words);
	if (!s->source_set || memcmp(rows[row].l2 + 6, (uint8_t *)words + 6, 6) == 0) {
		s->source_set = true;
		store_words(row, words);
		return;
	}
	atomic_store_explicit(&rows[row].valid, 0, memory_order_release);
	s->pending = true;
	s->refs++;
	fpm_defer(the_fpm, settle, NULL, row);
}

/* The row it had in the file a former fpmd left, 0: none. Hit times go by that number. Interfaces keep theirs too. */
static uint32_t old_row(uint32_t iface, uint8_t family, const uint8_t addr[16])
{
	const struct shm *old = the_fpm->old;
	const struct shm_table_dir *dir = old ? shm_find(old, "neigh") : NULL;
	const struct shm_table_dir *bucket_dir = old ? shm_find(old, "neigh_bucket") : NULL;
	const struct neigh_bucket_row *first;
	const struct neigh_row *row;
	uint32_t at;

	if (!dir || !bucket_dir)
		return 0;
	row = shm_rows(old, "neigh");
	first = shm_rows(old, "neigh_bucket");
	at = first[neigh_hash(iface, addr) & (bucket_dir->capacity - 1)].first;
	/* It may have been killed at any moment: no index in it is sure, and a chain may be a ring. */
	for (uint32_t steps = 0; at && at < dir->capacity && steps < 1000; steps++) {
		if (row[at].iface == iface && row[at].family == family &&
		    !memcmp(row[at].addr, addr, 16))
			return at;
		at = row[at].next;
	}
	return 0;
}

static void reserve_old(void)
{
	const struct shm_table_dir *dir = the_fpm->old ? shm_find(the_fpm->old, "neigh") : NULL;
	const struct neigh_row *row = dir ? shm_rows(the_fpm->old, "neigh") : NULL;

	for (uint32_t i = 1; dir && i < dir->capacity; i++)
		if (row[i].family)
			fpm_rows_reserve(&table, i);
}

static uint32_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)now.tv_sec;
}

static uint32_t old_born(uint32_t row)
{
	const struct neigh_row *old = shm_rows(the_fpm->old, "neigh");

	return old[row].born;
}

uint32_t neigh_ref(uint32_t iface, uint8_t family, const uint8_t addr[16])
{
	_Atomic uint32_t *first = bucket(iface, addr);
	uint32_t row = find(iface, family, addr), before;

	if (row) {
		shadows[row].refs++;
		return row;
	}
	before = old_row(iface, family, addr);
	row = fpm_rows_get_at(&table, before);
	if (!row)
		return 0;
	shadows[row] = (struct shadow){.refs = 1};
	rows[row].born = row == before ? old_born(row) : seconds();
	rows[row].iface = iface;
	rows[row].family = family;
	memcpy(rows[row].addr, addr, 16);
	rows[row].next = *first;
	atomic_store_explicit(first, row, memory_order_release);
	iface_ref(iface);
	return row;
}

void neigh_unref(uint32_t row)
{
	_Atomic uint32_t *at;

	if (--shadows[row].refs)
		return;
	/* The row's own next stays for those who are standing on it. */
	for (at = bucket(rows[row].iface, rows[row].addr); *at != row;)
		at = &rows[*at].next;
	atomic_store_explicit(at, rows[row].next, memory_order_release);
	iface_unref(rows[row].iface);
	fpm_rows_put_later(&table, row);
}

void neigh_iface_changed(uint32_t iface)
{
	for (uint32_t row = 1; row < table.dir->capacity; row++)
		if (shadows[row].refs && rows[row].iface == iface)
			refresh(row);
}

static int init(struct fpm *fpm, struct err *err)
{
	int rc = fpm_rows_init(&table, fpm, "neigh", err);

	if (rc)
		return rc;
	the_fpm = fpm;
	rows = (struct neigh_row *)table.rows;
	buckets = shm_rows(&fpm->config, "neigh_bucket");
	mask = shm_find(&fpm->config, "neigh_bucket")->capacity - 1;
	free(shadows);
	shadows = calloc(table.dir->capacity, sizeof(*shadows));
	if (!shadows)
		return err_set(err, ENOMEM, "no memory for %u neighbours", table.dir->capacity);
	reserve_old();
	return 0;
}

static void take_back(uint32_t row)
{
	shadows[row].live = false;
	memset(shadows[row].mac, 0, sizeof(shadows[row].mac));
	rows[row].state = 0;
	refresh(row);
	neigh_unref(row);
}

static int check(const struct fpc_neigh *msg, struct err *err)
{
	static const uint8_t zeros[12];

	if (msg->family != AF_INET && msg->family != AF_INET6) {
		fpm_field("family");
		return err_set(err, EAFNOSUPPORT, "neighbour of address family %u", msg->family);
	}
	if (msg->family == AF_INET && memcmp(msg->addr + 4, zeros, sizeof(zeros)) != 0) {
		fpm_field("addr");
		return err_set(err, EINVAL, "an IPv4 address has 4 bytes, the other 12 are zero");
	}
	return 0;
}

/* @priv: the row, with the object's reference. */
static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_neigh *want = msg;
	uint32_t iface = iface_lookup(want->vrf, want->ifindex);
	uint32_t row = *priv;
	int rc = check(want, err);

	if (!rc && !iface) {
		fpm_field("ifindex");
		rc = err_set(err, EAGAIN, "the neighbour waits for interface %u", want->ifindex);
	}
	if (rc) {
		if (old)
			take_back(row);
		*priv = 0;
		return rc;
	}
	if (!old)
		row = neigh_ref(iface, want->family, want->addr);
	if (!row)
		return err_set(err, ENOSPC, "the table of neighbours is full (FP_MAX_NEIGHBOURS)");
	*priv = row;
	shadows[row].live = true;
	memcpy(shadows[row].mac, want->mac, 6);
	rows[row].state = want->state;
	refresh(row);
	return 0;
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	take_back(priv);
}

const struct fpm_apply neigh_apply = {
	.depends = 1 << FEATURE_IFACE,
	.init = init,
	.set = set,
	.del = del,
};
