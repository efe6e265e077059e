// SPDX-License-Identifier: BSD-3-Clause
/* What the fast path adds to Linux's counters, out of an instance's shared memory, for libfp-stats.so. All functions may be
 * called by any thread at any time, from signal handlers too: they lock nothing and allocate nothing but mappings. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "features/iface/iface.h"

/* To be added to an interface's counters in Linux (struct rtnl_link_stats64), modulo 2^64; and to the IP counters. */
struct stats_delta {
	uint64_t rx_packets, rx_bytes, rx_errors, rx_dropped, rx_missed, rx_otherhost;
	uint64_t tx_packets, tx_bytes, tx_errors, tx_dropped;
	struct ip_counters ip4, ip6;
};

/* Of interface @ifindex of VRF @vrf, or the one called @name: false if the fast path doesn't know it. */
bool stats_of_iface(uint32_t vrf, uint32_t ifindex, struct stats_delta *ret);
bool stats_of_name(uint32_t vrf, const char *name, struct stats_delta *ret);

/* Of all interfaces of a VRF, those that are gone too; only the IP counters are filled. */
bool stats_of_vrf(uint32_t vrf, struct stats_delta *ret);

/* Counters of the port behind interface @name, as its device and its TAP have them: false if there's none. stats_port_names has
 * their names. */
#define STATS_PORT 14
extern const char *const stats_port_names[STATS_PORT];
bool stats_of_port(uint32_t vrf, const char *name, uint64_t ret[STATS_PORT]);

/* The VRF that is the network namespace with this SO_NETNS_COOKIE; STATS_NO_VRF if it's none, or no fast path has ever run. */
#define STATS_NO_VRF UINT32_MAX
uint32_t stats_vrf_of(uint64_t cookie);
