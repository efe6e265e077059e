// SPDX-License-Identifier: BSD-3-Clause
/* A route of Linux, IPv4 or IPv6. Of several routes to one prefix the fast path uses what Linux would: table local before
 * main, then the lowest metric. */
#pragma once

#include <stdint.h>

#define FPC_ROUTE_MAX_NEXTHOPS 64

enum fpc_route_flags {
	/* Has something the fast path doesn't know (TOS, encapsulation, metrics that change packets, source routing, ...):
	 * its packets take Linux */
	FPC_ROUTE_UNSUPPORTED = 1 << 0,
};

enum fpc_nexthop_flags {
	FPC_NEXTHOP_DEAD = 1 << 0,     /* RTNH_F_DEAD: Linux doesn't use it */
	FPC_NEXTHOP_LINKDOWN = 1 << 1, /* RTNH_F_LINKDOWN */
	FPC_NEXTHOP_ONLINK = 1 << 2,
};

struct fpc_nexthop {
	uint32_t ifindex; /* 0: none (blackhole and the like) */
	uint8_t family; /* of the gateway: AF_INET, AF_INET6 (also for IPv4 routes, RFC 8950); 0: no gateway, connected */
	uint8_t flags;	 /* enum fpc_nexthop_flags */
	uint16_t weight; /* 1 to 256 */
	uint8_t gateway[16];
};
static_assert(sizeof(struct fpc_nexthop) == 24);

struct fpc_route {
	uint32_t vrf;	/* key: VRF, ... */
	uint32_t table; /* routing table of Linux: 254 main, 255 local */
	uint32_t metric;
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t plen;	/* prefix length, bits */
	uint8_t tos;
	uint8_t pad;
	uint8_t dst[16]; /* network byte order, bits beyond plen 0; IPv4: first 4 bytes */
	uint32_t flags;	 /* enum fpc_route_flags */
	uint8_t type; /* RTN_*: unicast, local, broadcast, anycast, multicast, blackhole, unreachable, prohibit, ... */
	uint8_t protocol; /* RTPROT_*; for people */
	uint16_t n_nexthops;
	uint16_t mtu; /* RTAX_MTU, bytes; 0: that of the interface */
	uint16_t pad2;
	struct fpc_nexthop nexthops[FPC_ROUTE_MAX_NEXTHOPS]; /* sent short: n_nexthops of them */
};
static_assert(sizeof(struct fpc_route) == 44 + 64 * 24);
#define FPC_ROUTE_KEY_SIZE 32
#define FPC_ROUTE_FLAGS	   0x1
