// SPDX-License-Identifier: BSD-3-Clause
/* A link of Linux, of whatever kind. Links that aren't ports are known too: routes may lead to them (exception). */
#pragma once

#include <stdint.h>

enum fpc_iface_flags {
	/* IFF_UP */
	FPC_IFACE_UP = 1 << 0,
	/* Operational: IFF_LOWER_UP */
	FPC_IFACE_RUNNING = 1 << 1,
	/* net.ipv4.conf.NAME.forwarding; of the VRF device, if it has one: that's where Linux receives the packets */
	FPC_IFACE_FORWARD4 = 1 << 2,
	/* net.ipv6.conf.all.forwarding (NAME's own doesn't count), IPv6 not disabled */
	FPC_IFACE_FORWARD6 = 1 << 3,
	/* max(all, NAME).rp_filter is 1, or 2 and it has no IPv4 address: the route back to the source of IPv4 packets
	 * received here must lead out here. Of its VRF device, if it has one: the route must lead out of one of its ports */
	FPC_IFACE_RPF = 1 << 4,
	FPC_IFACE_LOOPBACK = 1 << 5,
	/* Enslaved (bridge, bond, ...; not a VRF device): packets received here take Linux */
	FPC_IFACE_SLAVE = 1 << 6,
	/* tc classifiers, XDP, ... on it that the fast path doesn't know: received and sent packets take Linux */
	FPC_IFACE_FOREIGN = 1 << 7,
	/* rp_filter is 2 and it has an address: the source must have a unicast route */
	FPC_IFACE_RPF_LOOSE = 1 << 8,
	/* For people: proxy_arp or proxy_ndp is on, and a multicast routing daemon uses it. Both are Linux's */
	FPC_IFACE_PROXY = 1 << 9,
	FPC_IFACE_MULTICAST = 1 << 10,
};

struct fpc_iface {
	uint32_t vrf;	  /* key: VRF, ... */
	uint32_t ifindex; /* ... index in it */
	uint32_t flags;	  /* enum fpc_iface_flags */
	uint32_t mtu;	  /* of packets, bytes */
	uint8_t mac[6];
	uint8_t pad[2];
	char name[16];
	char kind[16];	 /* IFLA_INFO_KIND, "" for a device without; for people */
	uint32_t mtu6;	 /* of IPv6 packets (net.ipv6.conf.NAME.mtu), bytes; 0: as mtu */
	uint32_t l3mdev; /* ifindex of the VRF device that it's a port of; 0: none */
	uint32_t table;	 /* whose routing table this is */
};
static_assert(sizeof(struct fpc_iface) == 68);
#define FPC_IFACE_KEY_SIZE 8
#define FPC_IFACE_FLAGS	   0x7ff
