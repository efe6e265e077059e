// SPDX-License-Identifier: BSD-3-Clause
/* Software distribution: where a port has fewer receive queues than there are workers, the worker that polls one of them
 * gives flows to others. README.md has the rules; the order of a flow's packets is kept whatever happens.
 *
 * A flow is one of SPREAD_BUCKETS of its queue. A bucket belongs to a worker as long as packets of it are on their way
 * there, and to nobody when all are through: only then may it go elsewhere. So flows move at any time, even in mid-flow. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/fp.h"
#include "fpn/intercore.h"

#define SPREAD_BUCKETS 1024 /* of a queue */
#define SPREAD_RING    1024 /* packets between two workers */
#define SPREAD_MORE    128  /* a worker with fewer before it gets more flows */
#define SPREAD_HOLD    100 /* microseconds that are waited for a worker with a full ring, at most */
#define SPREAD_AFTER   8   /* full bursts in succession: the worker can't keep up */

struct rte_worker;
struct rx_queue;

/* Of a receive queue; its worker's. */
struct spread_queue {
	bool on;	  /* packets are given away */
	uint16_t full;	  /* full bursts in succession */
	uint64_t full_at; /* TSC at the last one */
	struct {
		uint32_t seq; /* of its last packet: of the way, or the worker's own loop */
		uint32_t way; /* SPREAD_OWN: of this worker */
	} buckets[SPREAD_BUCKETS];
};

struct spread_way {
	struct intercore *way;
	struct rte_worker *worker;
	uint32_t n; /* packets of the burst in hand */
	struct rte_mbuf *pkts[FP_BURST];
};

/* What a worker that polls such queues has. */
struct spread {
	unsigned n_ways;
	bool pending;			 /* not all that was given away is through */
	bool holding;			 /* a ring is full: its queues aren't polled */
	uint64_t hold_until, hold_after; /* TSC: how long; and not again before */
	struct spread_way ways[];
};

/* Control thread, before workers run, when their receive queues are known. */
int spread_init(struct err *err);

/* Worker, at the top of a loop, if it has a spread: how far the others are. @now: TSC. */
void spread_look(struct rte_worker *w, uint64_t now);

/* Whether to leave packets in the device's ring for now, so that a worker whose flows they may be gets on. */
static inline bool spread_holds(const struct spread *s)
{
	return s->holding;
}

/* @n packets that came on @rx: some are handled, some given away. @now: TSC. */
void spread_input(struct rte_worker *w, struct rx_queue *rx, struct rte_mbuf **pkts, uint16_t n,
		  uint64_t now);

/* Every millisecond or so: queues that are calm again keep their packets. */
void spread_calm(struct rte_worker *w, uint64_t now);

/* Handles what others gave; how many packets. */
unsigned spread_take(struct rte_worker *w);

/* Whether there is any. */
bool spread_waits(const struct rte_worker *w);
