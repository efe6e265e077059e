// SPDX-License-Identifier: BSD-3-Clause
/* A flow's hash, for the choice among the next hops of a route: over what Linux looks at under its settings
 * fib_multipath_hash_policy 0 and 1 (net/ipv4/route.c fib_multipath_hash, net/ipv6/route.c rt6_multipath_hash). With the seed
 * that net.ipv4.fib_multipath_hash_seed names (Linux 6.11) it is Linux's own hash, bit for bit. Without one (0) Linux's hash
 * has a random key of each boot, so its choice for a flow can't be foretold; ours is another then, as lasting, and the same on
 * all workers and after a restart. Both directions of a flow have the same hash. */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

/* 31 bits. @m's data is the IP header, complete. @ports: policy 1 (addresses, protocol, ports; of fragments no ports), else 0
 * (addresses; IPv6: flow label and protocol too). Under policy 0 ICMP errors go with the flow they are about. */
uint32_t flow_hash4(const struct rte_mbuf *m, bool ports, uint32_t seed);
uint32_t flow_hash6(const struct rte_mbuf *m, bool ports, uint32_t seed);
