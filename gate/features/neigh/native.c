// SPDX-License-Identifier: BSD-3-Clause
#include "features/neigh/native.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "features/neigh/fpc_neigh.h"
#include "features/neigh/neigh.h"
#include "shm/shm.h"

#define STALE  1 /* an object's mark: the dump hasn't shown it yet */
#define FIXED  (NUD_PERMANENT | NUD_NOARP)
#define USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | FIXED)

struct neighs *neighs_new(struct store *store, uint16_t feature)
{
	struct neighs *neighs = calloc(1, sizeof(*neighs));

	if (!neighs)
		return NULL;
	neighs->store = store;
	neighs->feature = feature;
	return neighs;
}

void neighs_free(struct neighs *neighs)
{
	if (neighs)
		free(neighs->quiet);
	free(neighs);
}

static int64_t find_quiet(const struct neighs *neighs, uint32_t vrf, uint32_t ifindex)
{
	for (uint32_t i = 0; i < neighs->n_quiet; i++)
		if (neighs->quiet[i][0] == vrf && neighs->quiet[i][1] == ifindex)
			return i;
	return -1;
}

/* An Ethernet address of one host. Group addresses are the kernel's own, made without a word. */
static bool usable(uint16_t state, struct inlet_attr mac)
{
	static const uint8_t none[6];

	return state & USABLE && mac.data && mac.len == 6 && !(mac.data[0] & 1) &&
	       memcmp(mac.data, none, 6) != 0;
}

int neighs_message(void *state, const struct inlet_message *m, struct err *err)
{
	struct neighs *neighs = state;
	struct inlet_attr a[INLET_ATTRS];
	struct fpc_neigh neigh = {.vrf = m->vrf};
	struct store_object *o;
	struct ndmsg head;
	unsigned size;
	bool beyond;
	int rc;

	if (m->len < sizeof(head))
		return err_set(err, EBADMSG, "%zu bytes, the fixed part has %zu", m->len,
			       sizeof(head));
	memcpy(&head, m->data, sizeof(head));
	if (head.ndm_family != AF_INET && head.ndm_family != AF_INET6)
		return INLET_PASS;
	rc = inlet_attrs(m->data + sizeof(head), m->len - sizeof(head), a, &beyond, err);
	if (rc)
		return rc;
	if (!a[NDA_DST].data)
		return err_set(err, EBADMSG, "no address");
	size = head.ndm_family == AF_INET ? 4 : 16;
	if (a[NDA_DST].len != size)
		return err_set(err, EBADMSG, "an address of %u bytes in family %u", a[NDA_DST].len,
			       head.ndm_family);
	if (head.ndm_flags & NTF_PROXY || (m->dumped && m->type == RTM_DELNEIGH))
		return 0;
	neigh.ifindex = (uint32_t)head.ndm_ifindex;
	neigh.family = head.ndm_family;
	memcpy(neigh.addr, a[NDA_DST].data, size);
	if (m->type == RTM_DELNEIGH || !usable(head.ndm_state, a[NDA_LLADDR]) ||
	    (head.ndm_state & NUD_NOARP && find_quiet(neighs, neigh.vrf, neigh.ifindex) >= 0)) {
		store_delete(neighs->store, neighs->feature, &neigh);
		return 0;
	}
	memcpy(neigh.mac, a[NDA_LLADDR].data, 6);
	/* The state moves without a packet's way changing. So that this isn't a new object each time, the timed ones are
	 * all called reachable. */
	neigh.state = head.ndm_state & FIXED ? head.ndm_state & FIXED : NUD_REACHABLE;
	rc = store_set(neighs->store, neighs->feature, &neigh, sizeof(neigh), NULL, 0, &o);
	if (rc < 0)
		return rc;
	o->mark &= (uint8_t)~STALE;
	return 0;
}

/* --- many at once */

static struct store_object *at(const struct neighs *neighs, uint32_t place,
			       struct fpc_neigh *ret_whole)
{
	struct store_object *o = store_at(neighs->store, neighs->feature, place);

	*ret_whole = (struct fpc_neigh){};
	memcpy(ret_whole, o->data, o->len);
	return o;
}

static uint32_t count(const struct neighs *neighs)
{
	return neighs->store->lists[neighs->feature].n;
}

void neighs_begin(struct neighs *neighs, uint32_t vrf)
{
	struct fpc_neigh neigh;

	for (uint32_t i = 0; i < count(neighs); i++) {
		struct store_object *o = at(neighs, i, &neigh);

		if (neigh.vrf == vrf)
			o->mark |= STALE;
	}
}

void neighs_end(struct neighs *neighs, uint32_t vrf)
{
	struct fpc_neigh neigh;

	/* From the last one on, for a deletion moves that one. */
	for (uint32_t i = count(neighs); i-- > 0;) {
		struct store_object *o = at(neighs, i, &neigh);

		if (neigh.vrf == vrf && o->mark & STALE)
			store_delete(neighs->store, neighs->feature, &neigh);
	}
}

void neighs_abandon(struct neighs *neighs, uint32_t vrf)
{
	struct fpc_neigh neigh;

	for (uint32_t i = 0; i < count(neighs); i++) {
		struct store_object *o = at(neighs, i, &neigh);

		if (neigh.vrf == vrf)
			o->mark &= (uint8_t)~STALE;
	}
}

void neighs_forget(struct neighs *neighs, uint32_t vrf, uint32_t ifindex)
{
	struct fpc_neigh neigh;

	for (uint32_t i = count(neighs); i-- > 0;) {
		at(neighs, i, &neigh);
		if (neigh.vrf == vrf && (!ifindex || neigh.ifindex == ifindex))
			store_delete(neighs->store, neighs->feature, &neigh);
	}
	for (uint32_t i = neighs->n_quiet; i-- > 0;)
		if (neighs->quiet[i][0] == vrf && (!ifindex || neighs->quiet[i][1] == ifindex))
			neighs_quiet(neighs, vrf, neighs->quiet[i][1], false);
}

int neighs_quiet(struct neighs *neighs, uint32_t vrf, uint32_t ifindex, bool quiet)
{
	int64_t place = find_quiet(neighs, vrf, ifindex);
	struct fpc_neigh neigh;

	if (quiet == (place >= 0))
		return 0;
	if (!quiet) {
		uint32_t last = --neighs->n_quiet;

		neighs->quiet[place][0] = neighs->quiet[last][0];
		neighs->quiet[place][1] = neighs->quiet[last][1];
		return 1;
	}
	if (neighs->n_quiet == neighs->size) {
		uint32_t size = neighs->size ? neighs->size * 2 : 16;
		uint32_t(*more)[2] = realloc(neighs->quiet, size * sizeof(neighs->quiet[0]));

		if (!more)
			return -ENOMEM;
		neighs->quiet = more;
		neighs->size = size;
	}
	neighs->quiet[neighs->n_quiet][0] = vrf;
	neighs->quiet[neighs->n_quiet++][1] = ifindex;
	for (uint32_t i = count(neighs); i-- > 0;) {
		at(neighs, i, &neigh);
		if (neigh.vrf == vrf && neigh.ifindex == ifindex && neigh.state & NUD_NOARP)
			store_delete(neighs->store, neighs->feature, &neigh);
	}
	return 0;
}

/* --- hits --- */

uint32_t neigh_last_hit(const struct shm *config, const struct shm *stats, uint32_t iface,
			uint8_t family, const uint8_t *addr)
{
	const struct neigh_row *rows = shm_rows(config, "neigh");
	const struct neigh_bucket_row *buckets = shm_rows(config, "neigh_bucket");
	const struct neigh_hit_row *hits = shm_rows(stats, "neigh_hit");
	uint32_t n = shm_find(config, "neigh")->capacity;
	uint32_t mask = shm_find(config, "neigh_bucket")->capacity - 1;
	uint32_t row = atomic_load_explicit(&buckets[neigh_hash(iface, addr) & mask].first,
					    memory_order_acquire);

	/* A chain can change while it's followed; it needn't end then. */
	for (uint32_t steps = 0; row && row < n && steps < n; steps++) {
		const struct neigh_row *neigh = &rows[row];

		if (neigh->iface == iface && neigh->family == family &&
		    !memcmp(neigh->addr, addr, sizeof(neigh->addr))) {
			uint32_t hit;

			if (row >= shm_find(stats, "neigh_hit")->capacity)
				return 0;
			hit = atomic_load_explicit(&hits[row].seconds, memory_order_relaxed);
			return hit > neigh->born ? hit : 0;
		}
		row = atomic_load_explicit(&neigh->next, memory_order_acquire);
	}
	return 0;
}
