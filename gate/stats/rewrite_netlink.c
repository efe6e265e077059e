// SPDX-License-Identifier: BSD-3-Clause
#include "stats/rewrite.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define ALIGN4(n) (((n) + 3) & ~(size_t)3)

/* An attribute of @n bytes at most; false: none. Its payload, and its length of that. */
struct attr {
	uint16_t type;
	uint8_t *data;
	size_t len;
};

static bool next_attr(uint8_t **at, size_t *left, struct attr *ret)
{
	struct nlattr head;

	if (*left < sizeof(head))
		return false;
	memcpy(&head, *at, sizeof(head));
	if (head.nla_len < sizeof(head) || head.nla_len > *left)
		return false;
	*ret = (struct attr){head.nla_type & NLA_TYPE_MASK, *at + sizeof(head),
			     head.nla_len - sizeof(head)};
	if (ALIGN4(head.nla_len) >= *left) {
		*left = 0;
		return true;
	}
	*at += ALIGN4(head.nla_len);
	*left -= ALIGN4(head.nla_len);
	return true;
}

static void add64(uint8_t *data, size_t len, size_t index, uint64_t delta)
{
	uint64_t value;

	if (!delta || (index + 1) * sizeof(value) > len)
		return;
	memcpy(&value, data + index * sizeof(value), sizeof(value));
	value += delta;
	memcpy(data + index * sizeof(value), &value, sizeof(value));
}

static void add32(uint8_t *data, size_t len, size_t index, uint64_t delta)
{
	uint32_t value;

	if (!delta || (index + 1) * sizeof(value) > len)
		return;
	memcpy(&value, data + index * sizeof(value), sizeof(value));
	value += (uint32_t)delta;
	memcpy(data + index * sizeof(value), &value, sizeof(value));
}

/* struct rtnl_link_stats64 and its older twin have the same fields in the same order. */
static void add_link(uint8_t *data, size_t len, const struct stats_delta *d,
		     void (*add)(uint8_t *, size_t, size_t, uint64_t))
{
#define FIELD(name) (offsetof(struct rtnl_link_stats64, name) / sizeof(uint64_t))
	add(data, len, FIELD(rx_packets), d->rx_packets);
	add(data, len, FIELD(tx_packets), d->tx_packets);
	add(data, len, FIELD(rx_bytes), d->rx_bytes);
	add(data, len, FIELD(tx_bytes), d->tx_bytes);
	add(data, len, FIELD(rx_errors), d->rx_errors);
	add(data, len, FIELD(tx_errors), d->tx_errors);
	add(data, len, FIELD(rx_dropped), d->rx_dropped);
	add(data, len, FIELD(tx_dropped), d->tx_dropped);
	add(data, len, FIELD(rx_missed_errors), d->rx_missed);
	add(data, len, FIELD(rx_otherhost_dropped), d->rx_otherhost);
#undef FIELD
}

void rewrite_link_stats(struct rtnl_link_stats *stats, const struct stats_delta *delta)
{
	add_link((uint8_t *)stats, sizeof(*stats), delta, add32);
}

/* Where the kernel has what: IPSTATS_MIB_ of <linux/snmp.h>, which changed. The first word is how many there are. */
struct layout {
	unsigned since; /* version */
	uint8_t in_packets, in_bytes, in_ecn, out_forwarded, out_packets, out_bytes, frag_oks;
};
static const struct layout layouts[] = {
	{6 << 8 | 15, 1, 2, 4, 11, 9, 10, 25},
	{6 << 8 | 7, 1, 2, 32, 4, 37, 6, 20},
};

static void add_ip(uint8_t *data, size_t len, const struct ip_counters *c, unsigned version)
{
	const struct layout *at = layouts;

	while (version < at->since)
		if (++at == layouts + sizeof(layouts) / sizeof(layouts[0]))
			return;
	add64(data, len, at->in_packets, c->in_ecn[0] + c->in_ecn[1] + c->in_ecn[2] + c->in_ecn[3]);
	add64(data, len, at->in_bytes, c->in_bytes);
	for (unsigned i = 0; i < 4; i++)
		add64(data, len, at->in_ecn + i, c->in_ecn[i]);
	add64(data, len, at->out_forwarded, c->out_forwarded);
	add64(data, len, at->out_packets, c->out_packets);
	add64(data, len, at->out_bytes, c->out_bytes);
	add64(data, len, at->frag_oks, c->frag_oks);
	add64(data, len, at->frag_oks + 1U, c->frag_fails);
	add64(data, len, at->frag_oks + 2U, c->frag_creates);
}

/* Of an IPv6 device: IFLA_INET6_STATS in here. */
static void inet6(struct attr in, const struct stats_delta *d, unsigned version)
{
	struct attr a;

	while (next_attr(&in.data, &in.len, &a))
		if (a.type == IFLA_INET6_STATS)
			add_ip(a.data, a.len, &d->ip6, version);
}

static void af_spec(struct attr in, const struct stats_delta *d, unsigned version)
{
	struct attr a;

	while (next_attr(&in.data, &in.len, &a))
		if (a.type == AF_INET6)
			inet6(a, d, version);
}

static void link_message(uint8_t *at, size_t left, const struct stats_source *source)
{
	struct ifinfomsg head;
	struct stats_delta d;
	struct attr a;
	uint8_t *start;
	size_t len;

	if (left < sizeof(head))
		return;
	memcpy(&head, at, sizeof(head));
	start = at + sizeof(head);
	len = left - sizeof(head);
	/* Of another namespace than the socket's. */
	for (uint8_t *p = start; next_attr(&p, &len, &a);)
		if (a.type == IFLA_TARGET_NETNSID)
			return;
	if (head.ifi_family == AF_BRIDGE || head.ifi_index <= 0 ||
	    !source->iface(source->arg, (uint32_t)head.ifi_index, &d))
		return;
	len = left - sizeof(head);
	while (next_attr(&start, &len, &a)) {
		if (a.type == IFLA_STATS64)
			add_link(a.data, a.len, &d, add64);
		else if (a.type == IFLA_STATS)
			add_link(a.data, a.len, &d, add32);
		else if (a.type == IFLA_AF_SPEC)
			af_spec(a, &d, source->version);
		else if (a.type == IFLA_PROTINFO && head.ifi_family == AF_INET6)
			inet6(a, &d, source->version);
	}
}

static void stats_message(uint8_t *at, size_t left, const struct stats_source *source)
{
	struct if_stats_msg head;
	struct stats_delta d;
	struct attr a;

	if (left < sizeof(head))
		return;
	memcpy(&head, at, sizeof(head));
	if (!source->iface(source->arg, head.ifindex, &d))
		return;
	at += sizeof(head);
	left -= sizeof(head);
	while (next_attr(&at, &left, &a))
		if (a.type == IFLA_STATS_LINK_64)
			add_link(a.data, a.len, &d, add64);
}

bool rewrite_wanted(const void *data, size_t len)
{
	struct nlmsghdr head;

	if (len < sizeof(head))
		return false;
	memcpy(&head, data, sizeof(head));
	return head.nlmsg_len >= sizeof(head) &&
	       (head.nlmsg_type == RTM_NEWLINK || head.nlmsg_type == RTM_NEWSTATS);
}

void rewrite_netlink(void *data, size_t len, const struct stats_source *source)
{
	uint8_t *at = data;

	while (len >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr head;
		size_t body, step;

		memcpy(&head, at, sizeof(head));
		if (head.nlmsg_len < sizeof(head))
			return;
		/* The end of a message may have been cut off. */
		body = (head.nlmsg_len > len ? len : head.nlmsg_len) - sizeof(head);
		if (head.nlmsg_type == RTM_NEWLINK)
			link_message(at + sizeof(head), body, source);
		else if (head.nlmsg_type == RTM_NEWSTATS)
			stats_message(at + sizeof(head), body, source);
		step = ALIGN4((size_t)head.nlmsg_len);
		if (step >= len)
			return;
		at += step;
		len -= step;
	}
}
