// SPDX-License-Identifier: BSD-3-Clause
/* A VRF: a network namespace. Number 0 is the one the daemons run in; the others' numbers are the ids that the kernel keeps for
 * them there (RTM_GETNSID), and one. */
#pragma once

#include <stdint.h>

#define FPC_VRF_MAX 256

enum fpc_vrf_flags {
	/* Linux would apply something to forwarded packets that the fast path doesn't know (ip rules beyond the default
	 * ones, nftables base chains on a forwarding hook, a default XFRM policy that blocks): all packets of the family take Linux. */
	FPC_VRF_POLICY4 = 1 << 0,
	FPC_VRF_POLICY6 = 1 << 1,
	/* net.ipv4.fib_multipath_hash_policy is 1: ports and protocol count too */
	FPC_VRF_MULTIPATH4_PORTS = 1 << 2,
	/* net.ipv6.fib_multipath_hash_policy is 1 */
	FPC_VRF_MULTIPATH6_PORTS = 1 << 3,
	/* Another policy, or (IPv4) fib_multipath_use_neigh: packets of routes with several next hops take Linux */
	FPC_VRF_MULTIPATH4_LINUX = 1 << 4,
	FPC_VRF_MULTIPATH6_LINUX = 1 << 5,
};

struct fpc_vrf {
	uint32_t vrf; /* key; below FPC_VRF_MAX */
	uint32_t flags;
	uint64_t
		netns; /* SO_NETNS_COOKIE: tells the namespace apart from all others since boot; 0: unknown */
	char name[32];		     /* as in `ip netns`, cut; "" for number 0; for people */
	uint32_t mroutes4, mroutes6; /* multicast routes; for people: Linux forwards multicast */
	uint32_t
		multipath_seed; /* net.ipv4.fib_multipath_hash_seed, for both families; 0: Linux's own is unknown */
	uint32_t pad;
};
static_assert(sizeof(struct fpc_vrf) == 64);
#define FPC_VRF_KEY_SIZE 4
#define FPC_VRF_FLAGS	 0x3f
