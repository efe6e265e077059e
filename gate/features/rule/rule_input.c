// SPDX-License-Identifier: BSD-3-Clause
/* The walk through the rules, as Linux's fib_rules_lookup makes it for a packet that it received and may forward: no mark, no
 * output interface, user 0. Whether a rule matches may be unsure, because ports aren't where they're looked for; then the
 * packet is Linux's.
 *
 * Tables local and main are one trie. What it finds says which of the two it's from; where a route of main lies below one of
 * local, it says "Linux decides". So whatever it finds that isn't from local is what main alone has. */
#include "features/rule/rule.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "fastpath/fp.h"
#include "features/route/route.h"

#define LOOPBACK_IFINDEX 1 /* where Linux says that packets of its own come from */

const struct rule_set_row *rule_set_rows;

struct flow {
	const struct rte_mbuf *m; /* NULL: there's only a destination */
	uint32_t vrf;
	uint32_t l3mdev, table; /* its VRF device's; 0: it has none */
	uint32_t iif;
	uint8_t src[16], dst[16]; /* network byte order */
	uint8_t tos;
	bool is6, back;
	/* Of what's behind the header, once somebody asks. */
	bool parsed;
	bool has_ports; /* they're known; 0 for protocols without */
	uint8_t proto;
	uint16_t sport, dport;
	/* The leaf of the main trie, once somebody asks. */
	bool has_main;
	uint32_t main;
};

enum match { NO, YES, UNSURE };

static bool in_prefix(const uint8_t *addr, const uint8_t *prefix, uint8_t plen)
{
	unsigned bytes = plen >> 3, bits = plen & 7;

	if (memcmp(addr, prefix, bytes) != 0)
		return false;
	return !bits || !((addr[bytes] ^ prefix[bytes]) >> (8 - bits));
}

/* Linux's flow dissector: ports of whatever has them; none of fragments. */
static void parse(struct flow *f)
{
	uint32_t offset = f->is6 ? 40 : sizeof(struct rte_ipv4_hdr);
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(f->m, const struct rte_ipv4_hdr *);
	uint16_t ports[2];

	f->parsed = true;
	f->proto = f->is6 ? rte_pktmbuf_mtod(f->m, const uint8_t *)[6] : ip->next_proto_id;
	if (!f->is6 && ip->fragment_offset & RTE_BE16(0x3fff)) {
		f->has_ports = true;
		return;
	}
	switch (f->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		if (f->m->data_len < offset + sizeof(ports))
			return;
		memcpy(ports, rte_pktmbuf_mtod_offset(f->m, char *, offset), sizeof(ports));
		f->has_ports = true;
		f->sport = rte_be_to_cpu_16(ports[f->back]);
		f->dport = rte_be_to_cpu_16(ports[!f->back]);
		return;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_IGMP:
		f->has_ports = true;
		return;
	default:
		/* Extension headers, tunnels, SPIs: leave it to who knows. */
		return;
	}
}

static bool is_extension(uint8_t proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT ||
	       proto == IPPROTO_DSTOPTS || proto == IPPROTO_AH || proto == IPPROTO_MH;
}

/* The selectors that need what's behind the header. */
static enum match match_deep(const struct fpc_rule_entry *e, struct flow *f)
{
	if (!f->parsed)
		parse(f);
	if (e->flags & FPC_RULE_ENTRY_PROTO) {
		if (f->is6 && f->m && is_extension(f->proto))
			return UNSURE;
		if (f->proto != e->proto)
			return NO;
	}
	if (!(e->flags & (FPC_RULE_ENTRY_SPORT | FPC_RULE_ENTRY_DPORT)))
		return YES;
	if (!f->has_ports)
		return UNSURE;
	if ((e->flags & FPC_RULE_ENTRY_SPORT) && (f->sport < e->sport[0] || f->sport > e->sport[1]))
		return NO;
	if ((e->flags & FPC_RULE_ENTRY_DPORT) && (f->dport < e->dport[0] || f->dport > e->dport[1]))
		return NO;
	return YES;
}

static enum match match(const struct fpc_rule_entry *e, struct flow *f)
{
	enum match ret = YES;

	if ((e->src_plen && !in_prefix(f->src, e->src, e->src_plen)) ||
	    (e->dst_plen && !in_prefix(f->dst, e->dst, e->dst_plen)) ||
	    (f->tos & e->tos_mask) != e->tos ||
	    ((e->flags & FPC_RULE_ENTRY_IIF) && f->iif != e->iif) ||
	    ((e->flags & FPC_RULE_ENTRY_L3MDEV) && !f->l3mdev))
		ret = NO;
	else if (e->flags & (FPC_RULE_ENTRY_PROTO | FPC_RULE_ENTRY_SPORT | FPC_RULE_ENTRY_DPORT))
		ret = match_deep(e, f);
	if (e->flags & FPC_RULE_ENTRY_INVERT && ret != UNSURE)
		ret = ret == YES ? NO : YES;
	return ret;
}

static uint32_t leaf(const struct flow *f, uint32_t root)
{
	uint32_t addr;

	if (f->is6)
		return mtrie6_leaf(root, f->dst);
	memcpy(&addr, f->dst, sizeof(addr));
	return mtrie4_leaf(root, rte_be_to_cpu_32(addr));
}

static uint32_t main_leaf(struct flow *f)
{
	if (!f->has_main)
		f->main = leaf(f, f->is6 ? vrf_root6(f->vrf) : vrf_root4(f->vrf));
	f->has_main = true;
	return f->main;
}

/* The leaf for the packet in the table of row @table, 0: it has none. */
static uint32_t look_up(const struct rule_set_row *set, uint32_t table, struct flow *f)
{
	const struct route_table_row *row = &route_table_rows[table];
	const struct nexthop_row *nexthop;
	uint32_t found;

	if (table > ROUTE_TABLE_LOCAL)
		return leaf(f, atomic_load_explicit(f->is6 ? &row->root6 : &row->root4,
						    memory_order_acquire));
	found = main_leaf(f);
	nexthop = &nexthop_rows[found & MTRIE_VALUE];
	if (!(found & MTRIE_VALUE) || nexthop->type == NEXTHOP_LINUX)
		return found;
	if (table == ROUTE_TABLE_LOCAL)
		return nexthop->in_local ? found : 0;
	/* Local covers what main has. */
	return nexthop->in_local ? set->linux_decides : found;
}

static bool suppressed(const struct fpc_rule_entry *e, uint32_t found)
{
	uint8_t type = nexthop_rows[found & MTRIE_VALUE].type;

	/* Errors aren't. */
	return e->flags & FPC_RULE_ENTRY_SUPPRESS && MTRIE_PLEN(found) <= e->suppress_plen &&
	       type != NEXTHOP_LINUX && type != NEXTHOP_BLACKHOLE && type != NEXTHOP_UNREACHABLE;
}

static uint32_t walk(const struct rule_set_row *set, struct flow *f)
{
	for (uint32_t i = 0; i < set->n; i++) {
		const struct fpc_rule_entry *e = &set->rule[i].entry;
		enum match matches = match(e, f);
		uint32_t found;

		if (matches == NO)
			continue;
		if (matches == UNSURE)
			return set->linux_decides;
		switch (e->action) {
		case FPC_RULE_TABLE:
			/* Inverted, it also matches packets that have no VRF device. */
			if (e->flags & FPC_RULE_ENTRY_L3MDEV && !f->l3mdev)
				return set->linux_decides;
			found = look_up(set, e->flags & FPC_RULE_ENTRY_L3MDEV ? f->table : e->table,
					f);
			if (found & MTRIE_VALUE && !suppressed(e, found))
				return found & MTRIE_VALUE;
			break;
		case FPC_RULE_GOTO:
			i = e->target - 1; /* beyond this one */
			break;
		case FPC_RULE_BLACKHOLE:
			return set->blackhole;
		case FPC_RULE_UNREACHABLE:
			return set->unreachable;
		default:
			return set->linux_decides;
		}
	}
	return 0;
}

/* Where Linux receives packets of this interface. */
static uint32_t input_of(const struct iface_row *iface)
{
	return iface->l3mdev ? iface->l3mdev : iface->ifindex;
}

static struct flow flow_from(const struct iface_row *iface, const struct rte_mbuf *m)
{
	return (struct flow){
		.m = m,
		.vrf = iface->vrf,
		.l3mdev = iface->l3mdev,
		.table = iface->table,
		.iif = input_of(iface),
	};
}

static struct flow flow_own(uint32_t vrf, const struct rte_mbuf *m)
{
	return (struct flow){.m = m, .vrf = vrf, .iif = LOOPBACK_IFINDEX};
}

static uint32_t walk4(const struct rule_set_row *set, struct flow *f)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(f->m, const struct rte_ipv4_hdr *);

	f->tos = ip->type_of_service;
	memcpy(f->back ? f->dst : f->src, &ip->src_addr, 4);
	memcpy(f->back ? f->src : f->dst, &ip->dst_addr, 4);
	return walk(set, f);
}

static uint32_t walk6(const struct rule_set_row *set, struct flow *f)
{
	const uint8_t *header = rte_pktmbuf_mtod(f->m, const uint8_t *);

	f->is6 = true;
	f->tos = (uint8_t)(header[0] << 4 | header[1] >> 4);
	memcpy(f->src, header + 8, 16);
	memcpy(f->dst, header + 24, 16);
	return walk(set, f);
}

uint32_t rule_route4(const struct rule_set_row *set, const struct iface_row *iface,
		     const struct rte_mbuf *m)
{
	struct flow f = flow_from(iface, m);

	return walk4(set, &f);
}

uint32_t rule_route6(const struct rule_set_row *set, const struct iface_row *iface,
		     const struct rte_mbuf *m)
{
	struct flow f = flow_from(iface, m);

	return walk6(set, &f);
}

uint32_t rule_route4_back(const struct rule_set_row *set, const struct iface_row *iface,
			  const struct rte_mbuf *m)
{
	struct flow f = flow_from(iface, m);

	f.back = true;
	f.iif = LOOPBACK_IFINDEX;
	return walk4(set, &f);
}

uint32_t rule_route4_own(const struct rule_set_row *set, uint32_t vrf, const struct rte_mbuf *m)
{
	struct flow f = flow_own(vrf, m);

	return walk4(set, &f);
}

uint32_t rule_route6_own(const struct rule_set_row *set, uint32_t vrf, const struct rte_mbuf *m)
{
	struct flow f = flow_own(vrf, m);

	return walk6(set, &f);
}

uint32_t rule_route_to(const struct rule_set_row *set, uint32_t vrf, uint8_t family,
		       const uint8_t *dst)
{
	struct flow f = flow_own(vrf, NULL);

	f.is6 = family == AF_INET6;
	f.parsed = f.has_ports = true; /* all zeros, as Linux's are then */
	memcpy(f.dst, dst, f.is6 ? 16 : 4);
	return walk(set, &f);
}

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	rule_set_rows = shm_rows(config, "rule_set");
	return 0;
}

const struct fp_feature rule_fastpath = {.attach = attach};
