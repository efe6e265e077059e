// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/native.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "features/route/native_wire.h"

/* An object's mark. */
enum {
	STALE = 1 << 0, /* the dump hasn't shown it yet */
	MANY = 1 << 1,	/* its note is a struct many * */
};

struct list {
	uint32_t n;
	uint32_t bytes;
	uint8_t data[]; /* struct route_known, each at a multiple of 4 */
};

/* A list with one route. */
union single {
	uint64_t aligned;
	struct list list;
	uint8_t room[sizeof(struct list) + sizeof(union route_known_room)];
};

/* Where an object's single route isn't enough. */
struct many {
	struct list *known;
	struct list *
		fresh; /* what a dump has shown so far, NULL: none; takes known's place at its end */
};

/* What becomes of a list: `drop` routes at `at` go, `put` (NULL: none) comes there. */
struct edit {
	uint32_t at, drop;
	const struct route_known *put;
};

/* --- routes and lists of them */

static const uint8_t *rest_of(const struct route_known *k)
{
	return k->data + k->len;
}

static size_t known_size(const struct route_known *k)
{
	return (sizeof(*k) + k->len + k->rest_len + 3U) & ~(size_t)3;
}

static const struct route_known *list_at(const struct list *list, uint32_t place)
{
	const uint8_t *at = list->data;

	while (place--)
		at += known_size((const struct route_known *)(uintptr_t)at);
	return (const struct route_known *)(uintptr_t)at;
}

/* NULL: no memory. @old NULL: empty. */
static struct list *list_edit(const struct list *old, const struct edit *e)
{
	size_t before = old ? (size_t)((const uint8_t *)list_at(old, e->at) - old->data) : 0;
	size_t after =
		old ? (size_t)((const uint8_t *)list_at(old, e->at + e->drop) - old->data) : 0;
	size_t left = old ? old->bytes - after : 0, put = e->put ? known_size(e->put) : 0;
	struct list *list = malloc(sizeof(*list) + before + put + left);

	if (!list)
		return NULL;
	list->n = (old ? old->n : 0) - e->drop + (e->put != NULL);
	list->bytes = (uint32_t)(before + put + left);
	if (before)
		memcpy(list->data, old->data, before);
	if (put)
		memcpy(list->data + before, e->put, put);
	if (left)
		memcpy(list->data + before + put, old->data + after, left);
	return list;
}

static bool same_rest(const struct route_known *a, const struct route_known *b)
{
	return a->rest_len == b->rest_len && !memcmp(rest_of(a), rest_of(b), a->rest_len);
}

/* Flags left out: the kernel changes them without a word. */
static bool same_hop(const struct fpc_nexthop *a, const struct fpc_nexthop *b)
{
	return a->ifindex == b->ifindex && a->family == b->family && a->weight == b->weight &&
	       !memcmp(a->gateway, b->gateway, sizeof(a->gateway));
}

static bool same_route(const struct route_known *a, const struct route_known *b)
{
	if (a->len != b->len || !same_rest(a, b) || memcmp(a->data, b->data, ROUTE_HEAD))
		return false;
	for (unsigned i = 0; i < route_body(a)->n_nexthops; i++)
		if (!same_hop(&route_body(a)->nexthops[i], &route_body(b)->nexthops[i]))
			return false;
	return true;
}

/* Its place in the list, or -1. */
static int64_t find(const struct list *list, const struct route_known *wanted)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (same_route(list_at(list, i), wanted))
			return i;
	return -1;
}

static const struct fpc_nexthop *find_hop(const struct fpc_route *r, const struct fpc_nexthop *hop)
{
	for (unsigned i = 0; i < r->n_nexthops; i++)
		if (same_hop(&r->nexthops[i], hop))
			return &r->nexthops[i];
	return NULL;
}

/* Whether each next hop of @inner is one of @outer's. */
static bool contains(const struct route_known *outer, const struct route_known *inner)
{
	const struct fpc_route *in = route_body(inner);

	for (unsigned i = 0; i < in->n_nexthops; i++)
		if (!find_hop(route_body(outer), &in->nexthops[i]))
			return false;
	return true;
}

/* Of IPv6: it has one next hop without gateway, so that it's never joined to others. */
static bool alone(const struct route_known *k)
{
	return route_body(k)->n_nexthops == 1 && !route_body(k)->nexthops[0].family;
}

static bool alive(const struct route_known *k)
{
	const struct fpc_route *r = route_body(k);

	for (unsigned i = 0; i < r->n_nexthops; i++)
		if (!(r->nexthops[i].flags & FPC_NEXTHOP_DEAD))
			return true;
	return !r->n_nexthops;
}

static int compare(const struct route_known *a, const struct route_known *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int order = memcmp(a->data, b->data, n);

	return order ? order : a->len - b->len;
}

/* The FPC object for the routes under one key; returns its length. */
static size_t choose(const struct list *list, struct fpc_route *ret)
{
	const struct route_known *best = list_at(list, 0);

	if (route_body(best)->family == AF_INET || list->n == 1) {
		for (uint32_t i = 0; i < list->n; i++) {
			const struct route_known *k = list_at(list, i);

			if (alive(k)) {
				best = k;
				break;
			}
		}
		memcpy(ret, best->data, best->len);
		return best->len;
	}
	/* The same whatever their order, which a message doesn't tell. */
	for (uint32_t i = 1; i < list->n; i++)
		if (compare(list_at(list, i), best) < 0)
			best = list_at(list, i);
	memcpy(ret, best->data, ROUTE_HEAD);
	ret->flags |= FPC_ROUTE_UNSUPPORTED;
	ret->n_nexthops = 0;
	ret->mtu = 0;
	return ROUTE_HEAD;
}

/* --- the routes under a key */

static struct many *many_of(struct store_object *o)
{
	struct many *many;

	memcpy(&many, store_note(o), sizeof(many));
	return many;
}

static void many_free(struct store_object *o)
{
	struct many *many;

	if (!o || !(o->mark & MANY))
		return;
	many = many_of(o);
	o->mark &= (uint8_t)~MANY;
	free(many->known);
	free(many->fresh);
	free(many);
}

/* What is known under the object's key; @room: for a single one. */
static const struct list *known_of(struct store_object *o, union single *room)
{
	struct route_known *k = (struct route_known *)(uintptr_t)room->list.data;

	if (!o)
		return NULL;
	if (o->mark & MANY)
		return many_of(o)->known;
	/* Its zeros at the end. */
	memset(k->data, 0, ROUTE_HEAD);
	memcpy(k->data, store_body(o), o->len);
	k->len = (uint16_t)(ROUTE_HEAD + route_body(k)->n_nexthops * sizeof(struct fpc_nexthop));
	if (k->len > o->len)
		memset(k->data + o->len, 0, k->len - o->len);
	k->rest_len = o->note_len;
	memcpy(k->data + k->len, store_note(o), o->note_len);
	k->pad = 0;
	room->list.n = 1;
	room->list.bytes = (uint32_t)known_size(k);
	return &room->list;
}

static int put_single(struct routes *routes, struct store_object *o, const struct route_known *k)
{
	union route_known_room one;
	int rc;

	/* It may stand in the list that's freed. */
	memcpy(one.room, k, sizeof(*k) + k->len + k->rest_len);
	many_free(o);
	rc = store_set(routes->store, routes->feature, one.k.data, one.k.len, rest_of(&one.k),
		       one.k.rest_len, NULL);
	return rc < 0 ? rc : 0;
}

/* Takes @known and @fresh over. */
static int put_many(struct routes *routes, struct store_object *o, struct list *known,
		    struct list *fresh)
{
	bool had = o && o->mark & MANY;
	struct many *many = had ? many_of(o) : calloc(1, sizeof(*many));
	struct fpc_route chosen;
	int rc = -ENOMEM;
	size_t len;

	if (many && known) {
		len = choose(known, &chosen);
		rc = store_set(routes->store, routes->feature, &chosen, len, &many, sizeof(many),
			       &o);
	}
	if (rc < 0) {
		/* What was there stays. */
		if (!had || known != many->known)
			free(known);
		if (!had || fresh != many->fresh)
			free(fresh);
		if (!had)
			free(many);
		return rc;
	}
	o->mark |= MANY;
	if (many->known != known)
		free(many->known);
	if (many->fresh != fresh)
		free(many->fresh);
	*many = (struct many){.known = known, .fresh = fresh};
	return 0;
}

static int put(struct routes *routes, const void *key, struct store_object *o,
	       const struct list *old, const struct edit *e)
{
	uint32_t n = (old ? old->n : 0) - e->drop + (e->put != NULL);

	if (n > 1)
		return put_many(routes, o, list_edit(old, e), NULL);
	if (n)
		return put_single(routes, o, e->put ? e->put : list_at(old, e->at ? 0 : e->drop));
	many_free(o);
	store_delete(routes->store, routes->feature, key);
	return 0;
}

/* A dump shows a key's routes in the kernel's order. */
static int dumped(struct routes *routes, const struct route_known *new)
{
	struct store_object *o = store_find(routes->store, routes->feature, new->data);
	struct many *many = o && o->mark & MANY ? many_of(o) : NULL;
	const struct edit all = {.put = new};
	int rc = 0;

	if ((many && many->fresh) || (many && o->mark & STALE)) {
		struct list *fresh = list_edit(
			many->fresh,
			&(struct edit){.at = many->fresh ? many->fresh->n : 0, .put = new});

		if (!fresh)
			return -ENOMEM;
		free(many->fresh);
		many->fresh = fresh;
	} else if (!o || o->mark & STALE) {
		rc = put(routes, new->data, o, NULL, &all);
	} else {
		union single room;
		const struct list *known = known_of(o, &room);
		struct list *fresh = list_edit(known, &(struct edit){.at = known->n, .put = new});

		if (!fresh)
			return -ENOMEM;
		rc = put_many(routes, o, list_edit(known, &(struct edit){}), fresh);
	}
	o = store_find(routes->store, routes->feature, new->data);
	if (o)
		o->mark &= (uint8_t)~STALE;
	return rc;
}

/* --- what a message does to the routes under its key; false: it fits nothing */

static bool added4(const struct list *known, const struct route_known *new, uint16_t flags,
		   struct edit *e)
{
	uint32_t n = known ? known->n : 0;
	int64_t place = known ? find(known, new) : -1;

	e->put = new;
	if (flags & NLM_F_EXCL)
		e->drop = n;
	else if (place >= 0)
		*e = (struct edit){.at = (uint32_t)place, .drop = 1, .put = new};
	else if (flags & NLM_F_REPLACE)
		e->drop = n > 0;
	else if (flags & NLM_F_APPEND)
		e->at = n;
	return place >= 0 || !(flags & NLM_F_REPLACE) || flags & NLM_F_EXCL || !n;
}

static bool deleted4(const struct list *known, const struct route_known *old, struct edit *e)
{
	int64_t place = find(known, old);

	if (place < 0)
		return false;
	*e = (struct edit){.at = (uint32_t)place, .drop = 1};
	return true;
}

/* @new with its next hops in the kernel's order, in which the hash is divided among them: those of @old, then what came. The
 * message begins with the one that it's about. */
static const struct route_known *joined(const struct route_known *old,
					const struct route_known *new, union route_known_room *room)
{
	const struct fpc_route *before = route_body(old), *now = route_body(new);
	struct fpc_route *r = route_body(&room->k);
	unsigned n = before->n_nexthops;

	for (unsigned i = 0; i < now->n_nexthops; i++)
		n += !find_hop(before, &now->nexthops[i]);
	if (n != now->n_nexthops)
		return new; /* one is there twice, which the kernel doesn't do */
	memcpy(room->room, new, sizeof(*new) + new->len + new->rest_len);
	n = 0;
	for (unsigned i = 0; i < before->n_nexthops; i++)
		r->nexthops[n++] = *find_hop(now, &before->nexthops[i]);
	for (unsigned i = 0; i < now->n_nexthops; i++)
		if (!find_hop(before, &now->nexthops[i]))
			r->nexthops[n++] = now->nexthops[i];
	return &room->k;
}

/* @room: for a route that the message has told in another order. */
static bool added6(const struct list *known, const struct route_known *new, uint16_t flags,
		   struct edit *e, union route_known_room *room)
{
	const struct route_known *first = known ? list_at(known, 0) : NULL;

	if (!known || flags & NLM_F_EXCL) {
		*e = (struct edit){.drop = known ? known->n : 0, .put = new};
		return true;
	}
	if (known->n == 1 && same_rest(first, new) &&
	    (flags & NLM_F_REPLACE ||
	     (route_body(first)->flags == route_body(new)->flags &&
	      route_body(first)->type == route_body(new)->type &&
	      route_body(first)->mtu == route_body(new)->mtu && contains(new, first)))) {
		if (!(flags & NLM_F_REPLACE) && contains(new, first))
			new = joined(first, new, room);
		*e = (struct edit){.drop = 1, .put = new};
		return true;
	}
	if (!alone(new) || flags & NLM_F_REPLACE)
		return false;
	if (find(known, new) < 0)
		*e = (struct edit){.at = known->n, .put = new};
	return true;
}

/* @room: for what is left of a route. */
static bool deleted6(const struct list *known, const struct route_known *old, struct edit *e,
		     union route_known_room *room)
{
	const struct route_known *first = list_at(known, 0);
	const struct fpc_route *from = route_body(first), *gone = route_body(old);
	int64_t place;

	if (known->n == 1 && same_rest(first, old) && from->n_nexthops && contains(first, old)) {
		struct fpc_route *left = route_body(&room->k);

		if (contains(old, first)) {
			e->drop = 1;
			return true;
		}
		memcpy(left, from, ROUTE_HEAD);
		left->n_nexthops = 0;
		for (unsigned i = 0; i < from->n_nexthops; i++)
			if (!find_hop(gone, &from->nexthops[i]))
				left->nexthops[left->n_nexthops++] = from->nexthops[i];
		room->k.len =
			(uint16_t)(ROUTE_HEAD + left->n_nexthops * sizeof(struct fpc_nexthop));
		room->k.rest_len = old->rest_len;
		room->k.pad = 0;
		memcpy(room->k.data + room->k.len, rest_of(old), old->rest_len);
		*e = (struct edit){.drop = 1, .put = &room->k};
		return true;
	}
	place = alone(old) ? find(known, old) : -1;
	if (place < 0)
		return false;
	*e = (struct edit){.at = (uint32_t)place, .drop = 1};
	return true;
}

static int changed(struct routes *routes, const struct inlet_message *m,
		   const struct route_known *new)
{
	struct store_object *o = store_find(routes->store, routes->feature, new->data);
	bool ipv4 = route_body(new)->family == AF_INET;
	union single room;
	const struct list *known = known_of(o, &room);
	union route_known_room left;
	struct edit e = {};

	if (m->type == RTM_NEWROUTE) {
		if (ipv4) {
			/* If there were two, and the first is gone by now, this isn't about the one we see. */
			if (!added4(known, new, m->flags, &e) && m->late)
				routes->notes |= ROUTES_REPLACED;
		} else if (!added6(known, new, m->flags, &e, &left)) {
			routes->notes |= ROUTES_ADDED6;
			return 0;
		}
	} else {
		if (!known)
			return 0;
		if (ipv4 ? !deleted4(known, new, &e) : !deleted6(known, new, &e, &left)) {
			routes->notes |= ipv4 ? ROUTES_DELETED4 : ROUTES_DELETED6;
			return 0;
		}
	}
	if (!e.drop && !e.put)
		return 0;
	return put(routes, new->data, o, known, &e);
}

int routes_message(void *state, const struct inlet_message *m, struct err *err)
{
	struct routes *routes = state;
	const struct fpc_route *r;
	struct rtmsg head = {};
	union route_known_room new;
	int rc;

	if (m->len >= sizeof(head))
		memcpy(&head, m->data, sizeof(head));
	if (head.rtm_flags & RTM_F_CLONED)
		return 0; /* a cached exception */
	rc = route_decode(routes, m, &new.k, err);
	if (rc)
		return rc;
	r = route_body(&new.k);
	if (r->type == RTN_MULTICAST && r->family == AF_INET6 && !m->dumped)
		routes->notes |= ROUTES_MULTICAST6;
	if (!m->dumped)
		return changed(routes, m, &new.k);
	return m->type == RTM_NEWROUTE ? dumped(routes, &new.k) : 0;
}

int routes_strange_group(struct routes *routes, uint32_t vrf, uint32_t number, bool strange)
{
	uint64_t group = (uint64_t)vrf << 32 | number, *grown;
	uint32_t i = 0;

	while (i < routes->n_strange && routes->strange[i] != group)
		i++;
	if (strange == (i < routes->n_strange))
		return 0;
	if (!strange) {
		routes->strange[i] = routes->strange[--routes->n_strange];
		return 1;
	}
	grown = realloc(routes->strange, (i + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[i] = group;
	routes->strange = grown;
	routes->n_strange++;
	return 1;
}

/* --- dumps */

static bool of(const struct store_object *o, uint32_t vrf, uint8_t family)
{
	const struct fpc_route *key = (const struct fpc_route *)(uintptr_t)o->data;
	uint32_t v;

	memcpy(&v, &key->vrf, sizeof(v));
	return v == vrf && (!family || key->family == family);
}

static void delete(struct routes *routes, struct store_object *o)
{
	uint8_t key[FPC_ROUTE_KEY_SIZE];

	memcpy(key, o->data, sizeof(key));
	many_free(o);
	store_delete(routes->store, routes->feature, key);
}

static uint32_t count(const struct routes *routes)
{
	return routes->store->lists[routes->feature].n;
}

void routes_begin(struct routes *routes, uint32_t vrf, uint8_t family)
{
	for (uint32_t i = 0; i < count(routes); i++) {
		struct store_object *o = store_at(routes->store, routes->feature, i);

		if (of(o, vrf, family))
			o->mark |= STALE;
	}
}

/* A list that is complete now, or isn't to come: an object's only route needs none. */
static void settle(struct routes *routes, struct store_object *o, bool fresh)
{
	struct many *many = many_of(o);
	struct list *list = fresh ? many->fresh : many->known;

	if (fresh)
		many->fresh = NULL;
	if (list->n > 1) {
		put_many(routes, o, list, NULL);
		return;
	}
	put_single(routes, o, list_at(list, 0));
	if (fresh)
		free(list);
}

/* From the last one on, for a deletion moves that one. */
void routes_end(struct routes *routes, uint32_t vrf, uint8_t family)
{
	for (uint32_t i = count(routes); i-- > 0;) {
		struct store_object *o = store_at(routes->store, routes->feature, i);

		if (!of(o, vrf, family))
			continue;
		if (o->mark & STALE)
			delete (routes, o);
		else if (o->mark & MANY && many_of(o)->fresh)
			settle(routes, o, true);
	}
}

void routes_abandon(struct routes *routes, uint32_t vrf, uint8_t family)
{
	for (uint32_t i = count(routes); i-- > 0;) {
		struct store_object *o = store_at(routes->store, routes->feature, i);

		if (!of(o, vrf, family))
			continue;
		o->mark &= (uint8_t)~STALE;
		if (o->mark & MANY && many_of(o)->fresh)
			settle(routes, o, false);
	}
}

void routes_forget(struct routes *routes, uint32_t vrf)
{
	for (uint32_t i = count(routes); i-- > 0;) {
		struct store_object *o = store_at(routes->store, routes->feature, i);

		if (of(o, vrf, 0))
			delete (routes, o);
	}
	for (uint32_t i = routes->n_strange; i-- > 0;)
		if (routes->strange[i] >> 32 == vrf)
			routes->strange[i] = routes->strange[--routes->n_strange];
}

uint32_t routes_lists(const struct routes *routes)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count(routes); i++)
		n += (store_at(routes->store, routes->feature, i)->mark & MANY) != 0;
	return n;
}

struct routes *routes_new(struct store *store, uint16_t feature)
{
	struct routes *routes = calloc(1, sizeof(*routes));

	if (!routes)
		return NULL;
	routes->store = store;
	routes->feature = feature;
	store->lists[feature].drop = many_free;
	return routes;
}

void routes_free(struct routes *routes)
{
	free(routes->strange);
	free(routes);
}
