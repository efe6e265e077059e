// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/message.h"

void message_send(struct mailbox *box, struct message *m, message_fn *run, void *arg)
{
	m->run = run;
	m->arg = arg;
	atomic_store_explicit(&m->done, false, memory_order_relaxed);
	m->next = atomic_load_explicit(&box->head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&box->head, &m->next, m, memory_order_release,
						      memory_order_relaxed))
		;
}

unsigned message_run(struct mailbox *box, void *worker)
{
	struct message *taken = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
	struct message *first = NULL;
	unsigned n = 0;

	while (taken) {
		struct message *next = taken->next;

		taken->next = first;
		first = taken;
		taken = next;
	}
	while (first) {
		/* Once done it's the sender's again. */
		struct message *next = first->next;

		first->run(worker, first->arg);
		atomic_store_explicit(&first->done, true, memory_order_release);
		first = next;
		n++;
	}
	return n;
}
