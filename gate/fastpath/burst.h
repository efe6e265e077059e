// SPDX-License-Identifier: BSD-3-Clause
/* Packets on their way, in bursts. */
#pragma once

#include <stdint.h>

#define FP_BURST 64 /* packets of a burst at the most */

struct fp_worker;
struct rte_mbuf;

struct fp_packet {
	struct rte_mbuf *m;
	uint32_t
		len; /* of the IP packet by its header, bytes; not beyond the frame. Of a frame: its length */
	uint32_t nexthop; /* row in "nexthop"; 0: none yet */
};

enum fp_burst_flags {
	FP_BURST_OWN = 1 << 0, /* started here: no TTL is counted down, and Linux can't get it */
};

struct fp_burst {
	uint32_t
		iface; /* row in "iface" of the interface they came in on; in the leg TX, that they leave by */
	uint32_t vrf;
	uint16_t n;
	uint8_t family; /* AF_INET, AF_INET6; 0: frames */
	uint8_t flags;	/* enum fp_burst_flags */
	uint32_t pad;
	struct fp_packet pkts[FP_BURST];
};

typedef void fp_stage_fn(struct fp_worker *w, struct fp_burst *b);

/* A packet whose neighbour is known, on its way out: row in "neigh", 0 where the interface needs none. */
struct fp_send {
	struct rte_mbuf *m;
	uint32_t neigh;
	uint32_t pad;
};
