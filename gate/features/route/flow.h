// SPDX-License-Identifier: BSD-3-Clause
/* A flow's hash, for the choice among the next hops of a route: over what Linux looks at under its settings
 * fib_multipath_hash_policy 0 and 1 (net/ipv4/route.c fib_multipath_hash, net/ipv6/route.c rt6_multipath_hash). Linux's own
 * hash has a random key of each boot, so its choice for a flow can't be foretold; ours is another, as lasting, and the same
 * on all workers and after a restart. Both directions of a flow have the same hash, as in Linux. */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

/* @m's data is the IP header, complete. @ports: policy 1 (addresses, protocol, ports; of fragments no ports), else 0
 * (addresses; IPv6: flow label and protocol too). Under policy 0 ICMP errors go with the flow they are about. */
uint32_t flow_hash4(const struct rte_mbuf *m, bool ports);
uint32_t flow_hash6(const struct rte_mbuf *m, bool ports);
