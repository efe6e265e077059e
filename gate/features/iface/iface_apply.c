// SPDX-License-Identifier: BSD-3-Clause
/* Links of Linux become rows of "iface". Next hops and neighbours name rows by index and hold a reference; a row whose link
 * is gone but that is still named stays as a shell (ifindex 0, flags 0: packets for it take Linux) under the same key, and
 * a link that comes back under that key gets it again, with all that names it. */
#include "features/iface/iface.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/stage.h"
#include "features/neigh/neigh.h"
#include "features/port/port.h"
#include "features/route/route.h"
#include "features/vrf/vrf.h"
#include "fpmd/fpm.h"

/* What fpmd alone knows of a row; same index. */
struct shadow {
	uint32_t vrf, ifindex; /* key, also of a shell */
	uint32_t refs;	       /* of others */
	uint32_t next;	       /* in the hash chain; 0: end */
	bool live;	       /* the link exists */
};

static struct fpm_rows table;
static struct iface_row *rows;
static struct iface_kind_row *kinds;
static struct shm_table_dir *kind_dir;
static struct shadow *shadows;
static uint32_t *buckets;
static uint32_t bucket_mask;

/* Chains of the rows that the former fpmd's file shows in use, by the same hash, as long as that is there: an interface gets
 * the row again that it had, for the row's index is also that of its counters in the stats file. */
static const struct iface_row *old_rows;
static uint32_t *old_buckets, *old_next;

static uint32_t hash(uint32_t vrf, uint32_t ifindex)
{
	return (ifindex * 0x9e3779b1U ^ vrf * 0x85ebca6bU) >> 7 & bucket_mask;
}

static uint32_t *bucket(uint32_t vrf, uint32_t ifindex)
{
	return &buckets[hash(vrf, ifindex)];
}

/* The row of a key, live or shell. */
static uint32_t find(uint32_t vrf, uint32_t ifindex)
{
	uint32_t row = *bucket(vrf, ifindex);

	while (row && (shadows[row].vrf != vrf || shadows[row].ifindex != ifindex))
		row = shadows[row].next;
	return row;
}

uint32_t iface_lookup(uint32_t vrf, uint32_t ifindex)
{
	uint32_t row = find(vrf, ifindex);

	return shadows[row].live ? row : 0;
}

const struct iface_row *iface_get(uint32_t row)
{
	return &rows[row];
}

void iface_ref(uint32_t row)
{
	shadows[row].refs++;
}

static void put_if_unused(uint32_t row)
{
	struct shadow *s = &shadows[row];
	uint32_t *at = bucket(s->vrf, s->ifindex);

	if (s->refs || s->live)
		return;
	while (*at != row)
		at = &shadows[*at].next;
	*at = s->next;
	fpm_rows_put_later(&table, row);
}

void iface_unref(uint32_t row)
{
	shadows[row].refs--;
	put_if_unused(row);
}

static int remember_old(const struct fpm *fpm, uint32_t capacity)
{
	const struct shm_table_dir *dir = fpm->old ? shm_find(fpm->old, "iface") : NULL;

	free(old_buckets);
	free(old_next);
	old_buckets = old_next = NULL;
	if (!dir || dir->capacity < capacity)
		return 0;
	old_rows = shm_rows(fpm->old, "iface");
	old_buckets = calloc(bucket_mask + 1, sizeof(*old_buckets));
	old_next = calloc(capacity, sizeof(*old_next));
	if (!old_buckets || !old_next)
		return -ENOMEM;
	for (uint32_t row = 1; row < capacity; row++) {
		uint32_t *at = &old_buckets[hash(old_rows[row].vrf, old_rows[row].ifindex)];

		if (!old_rows[row].ifindex)
			continue;
		fpm_rows_reserve(&table, row);
		old_next[row] = *at;
		*at = row;
	}
	return 0;
}

/* The row that the interface had in the former fpmd's file; 0: none. */
static uint32_t old_row(const struct fpm *fpm, uint32_t vrf, uint32_t ifindex)
{
	uint32_t row = fpm->old && old_buckets ? old_buckets[hash(vrf, ifindex)] : 0;

	while (row && (old_rows[row].vrf != vrf || old_rows[row].ifindex != ifindex))
		row = old_next[row];
	return row;
}

static int init(struct fpm *fpm, struct err *err)
{
	uint32_t capacity;
	int rc = fpm_rows_init(&table, fpm, "iface", err);

	if (rc)
		return rc;
	capacity = table.dir->capacity;
	for (bucket_mask = 63; bucket_mask + 1 < capacity;)
		bucket_mask = bucket_mask * 2 + 1;
	free(shadows);
	free(buckets);
	rows = (struct iface_row *)table.rows;
	kinds = shm_rows(&fpm->config, "iface_kind");
	kind_dir = shm_find(&fpm->config, "iface_kind");
	shadows = calloc(capacity, sizeof(*shadows));
	buckets = calloc(bucket_mask + 1, sizeof(*buckets));
	if (!shadows || !buckets || remember_old(fpm, capacity))
		return err_set(err, ENOMEM, "no memory for %u interfaces", capacity);
	return iface_base_init(fpm, err);
}

/* Ties the row to the port behind its link, or unties it. */
static void bind_port(uint32_t row)
{
	uint32_t port = port_of_iface(shadows[row].vrf, shadows[row].ifindex);
	struct iface_row *iface = &rows[row];

	if (port == PORT_NONE || !shadows[row].live) {
		iface->type = IFACE_LINUX;
		if (port != PORT_NONE)
			port_set_iface(port, 0);
		return;
	}
	iface->port = port;
	atomic_store_explicit((_Atomic uint8_t *)&iface->type, IFACE_PORT, memory_order_release);
	port_set_iface(port, row);
}

void iface_port_changed(uint32_t vrf, uint32_t ifindex)
{
	uint32_t row = find(vrf, ifindex);

	if (row)
		bind_port(row);
}

/* Stages first: who sees the flag sees them. */
static void store(struct iface_row *iface, uint32_t flags, uint64_t stages)
{
	const uint64_t out = fp_leg_stages(FP_LEG_IP_OUT) | fp_leg_stages(FP_LEG_IP6_OUT) |
			     fp_leg_stages(FP_LEG_TX);

	flags = (flags & ~IFACE_STAGES_OUT) | (stages & out ? IFACE_STAGES_OUT : 0);
	atomic_store_explicit((_Atomic uint64_t *)&iface->stages, stages, memory_order_release);
	atomic_store_explicit((_Atomic uint32_t *)&iface->flags, flags, memory_order_release);
}

void iface_enable_stage(uint32_t row, unsigned stage, bool on)
{
	uint64_t bit = 1ULL << stage;

	store(&rows[row], rows[row].flags, on ? rows[row].stages | bit : rows[row].stages & ~bit);
}

static void take_back(uint32_t row)
{
	struct iface_row *iface = &rows[row];
	struct shadow *s = &shadows[row];

	store(iface, 0, 0);
	iface->ifindex = 0;
	memset(&kinds[row], 0, sizeof(kinds[row]));
	shm_count(kind_dir, -1);
	iface->l3mdev = 0;
	route_table_unref(iface->table);
	iface->table = 0;
	s->live = false;
	bind_port(row);
	put_if_unused(row);
}

static int check(const struct fpc_iface *msg, struct err *err)
{
	if (msg->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "interface %u: VRF numbers go up to %u", msg->ifindex,
			       FPC_VRF_MAX - 1);
	}
	if (!msg->ifindex) {
		fpm_field("ifindex");
		return err_set(err, EINVAL, "an interface has no number");
	}
	if (!vrf_known(msg->vrf)) {
		fpm_field("vrf");
		return err_set(err, EAGAIN, "interface %u waits for VRF %u", msg->ifindex,
			       msg->vrf);
	}
	return 0;
}

/* A row, new or a shell's, in the hash. */
static uint32_t get_row(struct fpm *fpm, const struct fpc_iface *msg)
{
	uint32_t row = find(msg->vrf, msg->ifindex);
	uint32_t *at = bucket(msg->vrf, msg->ifindex);
	uint32_t before;

	if (row) {
		/* A link that came back is another one. */
		if (!shadows[row].live)
			iface_base_begin(fpm, row, msg->vrf, msg->ifindex, false);
		return row;
	}
	before = old_row(fpm, msg->vrf, msg->ifindex);
	row = fpm_rows_get_at(&table, before);
	if (!row)
		return 0;
	iface_base_begin(fpm, row, msg->vrf, msg->ifindex, row == before);
	shadows[row] = (struct shadow){
		.vrf = msg->vrf,
		.ifindex = msg->ifindex,
		.next = *at,
	};
	*at = row;
	return row;
}

static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_iface *want = msg;
	uint64_t mac = 0;
	uint32_t flags, table_before;
	struct iface_row *iface;
	bool mac_changed;
	uint32_t row;
	int rc = check(want, err);

	if (rc) {
		if (old)
			take_back(find(want->vrf, want->ifindex));
		return rc;
	}
	row = get_row(fpm, want);
	if (!row)
		return err_set(err, ENOSPC, "the table of interfaces is full (FP_MAX_INTERFACES)");
	iface = &rows[row];
	memcpy(&mac, want->mac, sizeof(want->mac));
	mac_changed = memcmp(iface->mac, want->mac, sizeof(iface->mac)) != 0;
	iface->ifindex = want->ifindex;
	iface->vrf = want->vrf;
	iface->mtu = want->mtu;
	iface->mtu6 = want->mtu6 ? want->mtu6 : want->mtu;
	memcpy(iface->name, want->name, sizeof(iface->name));
	memcpy(kinds[row].kind, want->kind, sizeof(kinds[row].kind));
	atomic_store_explicit((_Atomic uint64_t *)(void *)iface->mac, mac, memory_order_release);
	if (!shadows[row].live)
		shm_count(kind_dir, 1);
	shadows[row].live = true;
	flags = want->flags;
	table_before = iface->table;
	iface->table = want->l3mdev ? route_table_ref(want->vrf, want->table) : 0;
	iface->l3mdev = want->l3mdev;
	if (want->l3mdev && !iface->table)
		flags |= FPC_IFACE_SLAVE; /* too many tables: Linux's */
	store(iface, flags, iface->stages);
	route_table_unref(table_before);
	if (mac_changed)
		neigh_iface_changed(row);
	bind_port(row);
	return 0;
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	const struct fpc_iface *iface = old;

	take_back(find(iface->vrf, iface->ifindex));
}

const struct fpm_apply iface_apply = {
	.depends = 1 << FEATURE_VRF,
	.init = init,
	.set = set,
	.del = del,
};
