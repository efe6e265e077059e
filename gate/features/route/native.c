// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/native.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "features/route/fpc_route.h"

#define HEAD	 offsetof(struct fpc_route, nexthops)
#define REST_MAX 20
#define RTAX_KNOWN                                                                                 \
	17 /* RTAX_FASTOPEN_NO_COOKIE; all but the MTU are for packets that Linux itself sends */
#define MTU_MAX	   65534
#define ATTR(type) (1ULL << (type))
/* What needs nothing of the fast path. Flow is the realm: only classifiers on an interface look at it. */
#define KNOWN_ATTRS                                                                                \
	(ATTR(RTA_DST) | ATTR(RTA_OIF) | ATTR(RTA_GATEWAY) | ATTR(RTA_PRIORITY) |                  \
	 ATTR(RTA_PREFSRC) | ATTR(RTA_METRICS) | ATTR(RTA_MULTIPATH) | ATTR(RTA_FLOW) |            \
	 ATTR(RTA_CACHEINFO) | ATTR(RTA_TABLE) | ATTR(RTA_VIA) | ATTR(RTA_PREF) |                  \
	 ATTR(RTA_EXPIRES) | ATTR(RTA_PAD) | ATTR(RTA_NH_ID))
#define KNOWN_HOP_ATTRS (ATTR(RTA_GATEWAY) | ATTR(RTA_VIA) | ATTR(RTA_FLOW))

/* An object's mark. */
enum {
	STALE = 1 << 0, /* the dump hasn't shown it yet */
	MANY = 1 << 1,	/* its note is a struct many * */
};

/* One of the kernel's routes. `rest` is what tells it apart from another one under the same key, and isn't in the body:
 * of IPv4 the scope, preferred source and next hop object, of IPv6 the source prefix. The body isn't shortened. */
struct known {
	uint16_t len;
	uint8_t rest_len;
	uint8_t pad;
	uint8_t data[]; /* body, then rest */
};

union one {
	uint64_t aligned;
	struct known k;
	uint8_t room[sizeof(struct known) + sizeof(struct fpc_route) + REST_MAX];
};

struct list {
	uint32_t n;
	uint32_t bytes;
	uint8_t data[]; /* struct known, each at a multiple of 4 */
};

/* A list with one route. */
union single {
	uint64_t aligned;
	struct list list;
	uint8_t room[sizeof(struct list) + sizeof(union one)];
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
	const struct known *put;
};

/* --- routes and lists of them */

static struct fpc_route *body_of(const struct known *k)
{
	return (struct fpc_route *)(uintptr_t)k->data;
}

static const uint8_t *rest_of(const struct known *k)
{
	return k->data + k->len;
}

static size_t known_size(const struct known *k)
{
	return (sizeof(*k) + k->len + k->rest_len + 3U) & ~(size_t)3;
}

static const struct known *list_at(const struct list *list, uint32_t place)
{
	const uint8_t *at = list->data;

	while (place--)
		at += known_size((const struct known *)(uintptr_t)at);
	return (const struct known *)(uintptr_t)at;
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

static bool same_rest(const struct known *a, const struct known *b)
{
	return a->rest_len == b->rest_len && !memcmp(rest_of(a), rest_of(b), a->rest_len);
}

/* Flags left out: the kernel changes them without a word. */
static bool same_hop(const struct fpc_nexthop *a, const struct fpc_nexthop *b)
{
	return a->ifindex == b->ifindex && a->family == b->family && a->weight == b->weight &&
	       !memcmp(a->gateway, b->gateway, sizeof(a->gateway));
}

static bool same_route(const struct known *a, const struct known *b)
{
	if (a->len != b->len || !same_rest(a, b) || memcmp(a->data, b->data, HEAD))
		return false;
	for (unsigned i = 0; i < body_of(a)->n_nexthops; i++)
		if (!same_hop(&body_of(a)->nexthops[i], &body_of(b)->nexthops[i]))
			return false;
	return true;
}

/* Its place in the list, or -1. */
static int64_t find(const struct list *list, const struct known *wanted)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (same_route(list_at(list, i), wanted))
			return i;
	return -1;
}

/* Whether each next hop of @inner is one of @outer's. */
static bool contains(const struct known *outer, const struct known *inner)
{
	const struct fpc_route *in = body_of(inner), *out = body_of(outer);

	for (unsigned i = 0; i < in->n_nexthops; i++) {
		unsigned j = 0;

		while (j < out->n_nexthops && !same_hop(&in->nexthops[i], &out->nexthops[j]))
			j++;
		if (j == out->n_nexthops)
			return false;
	}
	return true;
}

/* Of IPv6: it has one next hop without gateway, so that it's never joined to others. */
static bool alone(const struct known *k)
{
	return body_of(k)->n_nexthops == 1 && !body_of(k)->nexthops[0].family;
}

static bool alive(const struct known *k)
{
	const struct fpc_route *r = body_of(k);

	for (unsigned i = 0; i < r->n_nexthops; i++)
		if (!(r->nexthops[i].flags & FPC_NEXTHOP_DEAD))
			return true;
	return !r->n_nexthops;
}

static int compare(const struct known *a, const struct known *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int order = memcmp(a->data, b->data, n);

	return order ? order : a->len - b->len;
}

/* The FPC object for the routes under one key; returns its length. */
static size_t choose(const struct list *list, struct fpc_route *ret)
{
	const struct known *best = list_at(list, 0);

	if (body_of(best)->family == AF_INET || list->n == 1) {
		for (uint32_t i = 0; i < list->n; i++) {
			const struct known *k = list_at(list, i);

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
	memcpy(ret, best->data, HEAD);
	ret->flags |= FPC_ROUTE_UNSUPPORTED;
	ret->n_nexthops = 0;
	ret->mtu = 0;
	return HEAD;
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
	struct known *k = (struct known *)(uintptr_t)room->list.data;

	if (!o)
		return NULL;
	if (o->mark & MANY)
		return many_of(o)->known;
	/* Its zeros at the end. */
	memset(k->data, 0, HEAD);
	memcpy(k->data, store_body(o), o->len);
	k->len = (uint16_t)(HEAD + body_of(k)->n_nexthops * sizeof(struct fpc_nexthop));
	if (k->len > o->len)
		memset(k->data + o->len, 0, k->len - o->len);
	k->rest_len = o->note_len;
	memcpy(k->data + k->len, store_note(o), o->note_len);
	k->pad = 0;
	room->list.n = 1;
	room->list.bytes = (uint32_t)known_size(k);
	return &room->list;
}

static int put_single(struct routes *routes, struct store_object *o, const struct known *k)
{
	union one one;
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
static int dumped(struct routes *routes, const struct known *new)
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

static bool added4(const struct list *known, const struct known *new, uint16_t flags,
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

static bool deleted4(const struct list *known, const struct known *old, struct edit *e)
{
	int64_t place = find(known, old);

	if (place < 0)
		return false;
	*e = (struct edit){.at = (uint32_t)place, .drop = 1};
	return true;
}

static bool added6(const struct list *known, const struct known *new, uint16_t flags,
		   struct edit *e)
{
	const struct known *first = known ? list_at(known, 0) : NULL;

	if (!known || flags & NLM_F_EXCL) {
		*e = (struct edit){.drop = known ? known->n : 0, .put = new};
		return true;
	}
	if (known->n == 1 && same_rest(first, new) &&
	    (flags & NLM_F_REPLACE ||
	     (body_of(first)->flags == body_of(new)->flags &&
	      body_of(first)->type == body_of(new)->type &&
	      body_of(first)->mtu == body_of(new)->mtu && contains(new, first)))) {
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
static bool deleted6(const struct list *known, const struct known *old, struct edit *e,
		     union one *room)
{
	const struct known *first = list_at(known, 0);
	const struct fpc_route *from = body_of(first), *gone = body_of(old);
	int64_t place;

	if (known->n == 1 && same_rest(first, old) && from->n_nexthops && contains(first, old)) {
		struct fpc_route *left = body_of(&room->k);

		if (contains(old, first)) {
			e->drop = 1;
			return true;
		}
		memcpy(left, from, HEAD);
		left->n_nexthops = 0;
		for (unsigned i = 0; i < from->n_nexthops; i++) {
			unsigned j = 0;

			while (j < gone->n_nexthops &&
			       !same_hop(&from->nexthops[i], &gone->nexthops[j]))
				j++;
			if (j == gone->n_nexthops)
				left->nexthops[left->n_nexthops++] = from->nexthops[i];
		}
		room->k.len = (uint16_t)(HEAD + left->n_nexthops * sizeof(struct fpc_nexthop));
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

static int changed(struct routes *routes, const struct inlet_message *m, const struct known *new)
{
	struct store_object *o = store_find(routes->store, routes->feature, new->data);
	bool ipv4 = body_of(new)->family == AF_INET;
	union single room;
	const struct list *known = known_of(o, &room);
	union one left;
	struct edit e = {};

	if (m->type == RTM_NEWROUTE) {
		if (ipv4) {
			/* If there were two, and the first is gone by now, this isn't about the one we see. */
			if (!added4(known, new, m->flags, &e) && m->late)
				routes->notes |= ROUTES_REPLACED;
		} else if (!added6(known, new, m->flags, &e)) {
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

/* --- from the wire */

static int address(uint8_t family, struct inlet_attr attr, uint8_t ret[16], struct err *err)
{
	unsigned size = family == AF_INET ? 4 : 16;

	if (attr.len != size)
		return err_set(err, EBADMSG, "an address of %u bytes in family %u", attr.len,
			       family);
	memset(ret, 0, 16);
	memcpy(ret, attr.data, size);
	return 0;
}

static bool strange(const struct inlet_attr a[INLET_ATTRS], bool beyond, uint64_t known)
{
	for (unsigned i = 0; i < INLET_ATTRS; i++)
		if (a[i].data && !(known >> i & 1))
			return true;
	return beyond;
}

static int next_hop(const struct inlet_attr a[INLET_ATTRS], uint8_t family, uint32_t ifindex,
		    uint32_t flags, uint32_t weight, struct fpc_nexthop *ret, struct err *err)
{
	struct inlet_attr gateway = a[RTA_GATEWAY];
	uint16_t of = family;

	*ret = (struct fpc_nexthop){.ifindex = ifindex, .weight = (uint16_t)weight};
	/* The kernel itself says dead where a link that is down is to be ignored. */
	ret->flags = (uint8_t)((flags & RTNH_F_DEAD ? FPC_NEXTHOP_DEAD : 0) |
			       (flags & RTNH_F_LINKDOWN ? FPC_NEXTHOP_LINKDOWN : 0) |
			       (flags & RTNH_F_ONLINK ? FPC_NEXTHOP_ONLINK : 0));
	if (!gateway.data && a[RTA_VIA].data) {
		if (a[RTA_VIA].len < sizeof(of))
			return err_set(err, EBADMSG, "a gateway without family");
		memcpy(&of, a[RTA_VIA].data, sizeof(of));
		gateway = (struct inlet_attr){a[RTA_VIA].data + sizeof(of),
					      (uint16_t)(a[RTA_VIA].len - sizeof(of))};
		if (of != AF_INET && of != AF_INET6)
			return err_set(err, EBADMSG, "a gateway of family %u", of);
	}
	if (!gateway.data)
		return 0;
	ret->family = (uint8_t)of;
	return address(ret->family, gateway, ret->gateway, err);
}

/* Those that there's no room for are only counted in @ret_n. */
static int multipath(struct inlet_attr attr, uint8_t family, struct fpc_route *r, unsigned *ret_n,
		     bool *ret_strange, struct err *err)
{
	size_t at = 0;
	unsigned n = 0;

	while (at < attr.len && attr.len - at >= sizeof(struct rtnexthop)) {
		struct inlet_attr a[INLET_ATTRS];
		struct fpc_nexthop hop;
		struct rtnexthop head;
		bool beyond;
		int rc;

		memcpy(&head, attr.data + at, sizeof(head));
		if (head.rtnh_len < sizeof(head) || head.rtnh_len > attr.len - at)
			return err_set(err, EBADMSG, "a next hop of %u bytes, %zu there",
				       head.rtnh_len, attr.len - at);
		rc = inlet_attrs(attr.data + at + sizeof(head), head.rtnh_len - sizeof(head), a,
				 &beyond, err);
		if (rc)
			return rc;
		*ret_strange |= strange(a, beyond, KNOWN_HOP_ATTRS);
		rc = next_hop(a, family, (uint32_t)head.rtnh_ifindex, head.rtnh_flags,
			      head.rtnh_hops + 1U, &hop, err);
		if (rc)
			return rc;
		if (n < FPC_ROUTE_MAX_NEXTHOPS)
			r->nexthops[n] = hop;
		n++;
		at += RTNH_ALIGN(head.rtnh_len);
	}
	if (at < attr.len)
		return err_set(err, EBADMSG, "%zu bytes left over behind the next hops",
			       attr.len - at);
	*ret_n = n;
	return 0;
}

static int metrics(struct inlet_attr attr, uint32_t *ret_mtu, bool *ret_strange, struct err *err)
{
	struct inlet_attr a[INLET_ATTRS];
	uint32_t lock;
	bool beyond;
	int rc = inlet_attrs(attr.data, attr.len, a, &beyond, err);

	if (!rc)
		rc = inlet_number(a[RTAX_MTU], ret_mtu, err);
	if (!rc)
		rc = inlet_number(a[RTAX_LOCK], &lock, err);
	if (rc)
		return rc;
	for (unsigned i = RTAX_KNOWN + 1; i < INLET_ATTRS; i++)
		beyond |= a[i].data != NULL;
	/* A locked MTU depends on what Linux has learned of the path. */
	*ret_strange |= beyond || lock & 1 << RTAX_MTU;
	return 0;
}

/* IPv6: a message begins with the next hop that it's about, a dump with the oldest. */
static int hop_order(const void *left, const void *right)
{
	const struct fpc_nexthop *a = left, *b = right;
	int order;

	if (a->ifindex != b->ifindex)
		return a->ifindex < b->ifindex ? -1 : 1;
	/* As bytes of their own lengths: none before any. */
	order = memcmp(a->gateway, b->gateway, sizeof(a->gateway));
	if (order)
		return order;
	if (a->family != b->family)
		return !a->family ? -1 : !b->family ? 1 : a->family - b->family;
	return a->weight - b->weight;
}

/* What tells routes with equal bodies apart. */
static int rest(struct known *k, const struct rtmsg *head, const struct inlet_attr a[INLET_ATTRS],
		struct err *err)
{
	uint8_t *at = k->data + k->len;
	struct inlet_attr source = a[RTA_PREFSRC], id = a[RTA_NH_ID], from = a[RTA_SRC];

	k->rest_len = 0;
	if (head->rtm_family == AF_INET) {
		if (source.data && source.len != 4)
			return err_set(err, EBADMSG, "a preferred source of %u bytes", source.len);
		if (id.data && id.len != 4)
			return err_set(err, EBADMSG, "a next hop object's number of %u bytes",
				       id.len);
		if (!head->rtm_scope && !source.data && !id.data)
			return 0;
		*at++ = head->rtm_scope;
		if (source.data)
			at = (uint8_t *)memcpy(at, source.data, 4) + 4;
		*at++ = '|';
		if (id.data)
			at = (uint8_t *)memcpy(at, id.data, 4) + 4;
	} else if (head->rtm_src_len) {
		/* Not the preferred source: IPv6 takes it from a route without a word. */
		if (from.len > 16)
			return err_set(err, EBADMSG, "a source prefix of %u bytes", from.len);
		*at++ = head->rtm_src_len;
		if (from.len)
			at = (uint8_t *)memcpy(at, from.data, from.len) + from.len;
	}
	k->rest_len = (uint8_t)(at - (k->data + k->len));
	return 0;
}

/* INLET_PASS: of another family. */
static int decode(const struct inlet_message *m, struct known *ret, struct err *err)
{
	struct fpc_route *r = body_of(ret);
	struct inlet_attr a[INLET_ATTRS];
	bool unknown = false, beyond;
	unsigned hops = 0;
	struct rtmsg head;
	uint32_t oif, mtu = 0;
	int rc;

	if (m->len < sizeof(head))
		return err_set(err, EBADMSG, "%zu bytes, the fixed part has %zu", m->len,
			       sizeof(head));
	memcpy(&head, m->data, sizeof(head));
	if (head.rtm_family != AF_INET && head.rtm_family != AF_INET6)
		return INLET_PASS;
	if (head.rtm_dst_len > (head.rtm_family == AF_INET ? 32 : 128))
		return err_set(err, EBADMSG, "a prefix of %u bits", head.rtm_dst_len);
	rc = inlet_attrs(m->data + sizeof(head), m->len - sizeof(head), a, &beyond, err);
	if (rc)
		return rc;

	memset(r, 0, HEAD);
	r->vrf = m->vrf;
	r->table = head.rtm_table;
	r->family = head.rtm_family;
	r->plen = head.rtm_dst_len;
	r->tos = head.rtm_tos;
	r->type = head.rtm_type;
	r->protocol = head.rtm_protocol;
	if (a[RTA_TABLE].data && (rc = inlet_number(a[RTA_TABLE], &r->table, err)))
		return rc;
	rc = inlet_number(a[RTA_PRIORITY], &r->metric, err);
	if (!rc && a[RTA_DST].data)
		rc = address(r->family, a[RTA_DST], r->dst, err);
	if (!rc && a[RTA_METRICS].data)
		rc = metrics(a[RTA_METRICS], &mtu, &unknown, err);
	if (rc)
		return rc;
	unknown |= strange(a, beyond, KNOWN_ATTRS) || head.rtm_tos || head.rtm_src_len;
	if (a[RTA_MULTIPATH].data) {
		rc = multipath(a[RTA_MULTIPATH], r->family, r, &hops, &unknown, err);
	} else if (a[RTA_OIF].data || a[RTA_GATEWAY].data || a[RTA_VIA].data) {
		hops = 1;
		rc = inlet_number(a[RTA_OIF], &oif, err);
		if (!rc)
			rc = next_hop(a, r->family, oif, head.rtm_flags, 1, &r->nexthops[0], err);
	} else {
		/* A next hop object that isn't shown. */
		unknown |= head.rtm_type == RTN_UNICAST;
	}
	if (rc)
		return rc;
	/* Of joined IPv6 routes each has an MTU of its own, and a message shows that of one. */
	if (unknown || hops > FPC_ROUTE_MAX_NEXTHOPS || mtu > MTU_MAX ||
	    (r->family == AF_INET6 && mtu && hops > 1)) {
		r->flags = FPC_ROUTE_UNSUPPORTED;
		hops = 0;
	}
	if (r->family == AF_INET6 && hops > 1)
		qsort(r->nexthops, hops, sizeof(r->nexthops[0]), hop_order);
	r->n_nexthops = (uint16_t)hops;
	r->mtu = hops ? (uint16_t)mtu : 0;
	ret->len = (uint16_t)(HEAD + hops * sizeof(struct fpc_nexthop));
	ret->pad = 0;
	return rest(ret, &head, a, err);
}

int routes_message(void *state, const struct inlet_message *m, struct err *err)
{
	struct routes *routes = state;
	const struct fpc_route *r;
	struct rtmsg head = {};
	union one new;
	int rc;

	if (m->len >= sizeof(head))
		memcpy(&head, m->data, sizeof(head));
	if (head.rtm_flags & RTM_F_CLONED)
		return 0; /* a cached exception */
	rc = decode(m, &new.k, err);
	if (rc)
		return rc;
	r = body_of(&new.k);
	if (r->type == RTN_MULTICAST && r->family == AF_INET6 && !m->dumped)
		routes->notes |= ROUTES_MULTICAST6;
	if (!m->dumped)
		return changed(routes, m, &new.k);
	return m->type == RTM_NEWROUTE ? dumped(routes, &new.k) : 0;
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
	free(routes);
}
