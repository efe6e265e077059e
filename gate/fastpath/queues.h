// SPDX-License-Identifier: BSD-3-Clause
/* Packets on their way to Linux: a ring for each port and class, filled by all workers, emptied by the exception thread.
 * As long as there's a control plane packet of any port, no other is taken. The other classes and ports take turns, for the
 * budget (budget.h) has already decided how much each of them may have. */
#pragma once

#include <rte_ring.h>

#include "fastpath/fp.h"

struct queues {
	/* Behind the ports' those of special exceptions */
	struct rte_ring *rings[FP_PORTS_MAX + 1][FP_CLASSES];
	unsigned n_ports;
	unsigned next_control, next_other; /* exception thread: where to look first */
};

/* -ENOMEM; @size: packets of a ring, a power of two. */
int queues_init(struct queues *ret, unsigned n_ports, unsigned size);

/* Any worker. False: the ring is full. */
static inline bool queues_put(struct queues *q, uint16_t port, enum fp_class class,
			      struct rte_mbuf *m)
{
	return !rte_ring_mp_enqueue(q->rings[port][class], m);
}

/* Exception thread: up to @n packets of one port and class, the most important there are; how many. */
unsigned queues_take(struct queues *q, struct rte_mbuf **ret, unsigned n, uint16_t *ret_port,
		     enum fp_class *ret_class);

bool queues_empty(const struct queues *q);
