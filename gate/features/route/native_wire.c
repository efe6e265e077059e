// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/native_wire.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

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

/* What tells routes with equal bodies apart. */
static int rest(struct route_known *k, const struct rtmsg *head,
		const struct inlet_attr a[INLET_ATTRS], struct err *err)
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

static bool is_strange(const struct routes *routes, uint32_t vrf, struct inlet_attr id)
{
	uint32_t number;

	if (id.len != sizeof(number))
		return false;
	memcpy(&number, id.data, sizeof(number));
	for (uint32_t i = 0; i < routes->n_strange; i++)
		if (routes->strange[i] == ((uint64_t)vrf << 32 | number))
			return true;
	return false;
}

int route_decode(const struct routes *routes, const struct inlet_message *m,
		 struct route_known *ret, struct err *err)
{
	struct fpc_route *r = route_body(ret);
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

	memset(r, 0, ROUTE_HEAD);
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
	unknown |= routes->n_strange && is_strange(routes, m->vrf, a[RTA_NH_ID]);
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
	r->n_nexthops = (uint16_t)hops;
	r->mtu = hops ? (uint16_t)mtu : 0;
	ret->len = (uint16_t)(ROUTE_HEAD + hops * sizeof(struct fpc_nexthop));
	ret->pad = 0;
	return rest(ret, &head, a, err);
}
