// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/queues.h"

#include <errno.h>
#include <stdio.h>

int queues_init(struct queues *ret, unsigned n_ports, unsigned size)
{
	*ret = (struct queues){.n_ports = n_ports};
	for (unsigned port = 0; port < n_ports; port++)
		for (unsigned class = 0; class < FP_CLASSES; class ++) {
			char name[RTE_RING_NAMESIZE];

			snprintf(name, sizeof(name), "to_linux%u.%u", port, class);
			ret->rings[port][class] =
				rte_ring_create(name, size, SOCKET_ID_ANY, RING_F_SC_DEQ);
			if (!ret->rings[port][class])
				return -ENOMEM;
		}
	return 0;
}

static unsigned take(struct queues *q, struct rte_mbuf **ret, unsigned n, unsigned port,
		     enum fp_class class, uint16_t *ret_port, enum fp_class *ret_class)
{
	*ret_port = (uint16_t)port;
	*ret_class = class;
	return rte_ring_sc_dequeue_burst(q->rings[port][class], (void **)ret, n, NULL);
}

unsigned queues_take(struct queues *q, struct rte_mbuf **ret, unsigned n, uint16_t *ret_port,
		     enum fp_class *ret_class)
{
	unsigned others = q->n_ports * (FP_CLASSES - 1);

	for (unsigned i = 0; i < q->n_ports; i++) {
		unsigned port = (q->next_control + i) % q->n_ports;
		unsigned taken = take(q, ret, n, port, FP_CLASS_CONTROL, ret_port, ret_class);

		if (taken) {
			q->next_control = port + 1;
			return taken;
		}
	}
	for (unsigned i = 0; i < others; i++) {
		unsigned at = (q->next_other + i) % others;
		unsigned taken = take(q, ret, n, at % q->n_ports, FP_CLASS_LOCAL + at / q->n_ports,
				      ret_port, ret_class);

		if (taken) {
			q->next_other = at + 1;
			return taken;
		}
	}
	return 0;
}

bool queues_empty(const struct queues *q)
{
	for (unsigned port = 0; port < q->n_ports; port++)
		for (unsigned class = 0; class < FP_CLASSES; class ++)
			if (!rte_ring_empty(q->rings[port][class]))
				return false;
	return true;
}
