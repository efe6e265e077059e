// SPDX-License-Identifier: BSD-3-Clause
/* Messages: functions that other threads have a worker call, between two of its bursts. Whatever only its worker may touch
 * (timers, queues, a pause) is reached this way without a lock.
 *
 * A mailbox is a worker's. Any thread puts messages in; the worker takes all that are there and calls them in the order
 * they came. A message is the sender's memory and stays untouched by it until it's done. An empty mailbox costs the worker
 * a load a loop. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Worker: @worker is what the mailbox's owner gave message_run. Holds no config row, runs no packet meanwhile. */
typedef void message_fn(void *worker, void *arg);

struct message {
	struct message *next;
	message_fn *run;
	void *arg;
	_Atomic bool done;
};

struct mailbox {
	struct message *_Atomic head; /* the latest first */
};

/* Any thread. The worker may be asleep: who sends wakes it. */
void message_send(struct mailbox *box, struct message *m, message_fn *run, void *arg);

/* Sender: whether it has been called and has returned; what it wrote is seen then. */
static inline bool message_done(const struct message *m)
{
	return atomic_load_explicit(&m->done, memory_order_acquire);
}

static inline bool message_waits(const struct mailbox *box)
{
	return atomic_load_explicit(&box->head, memory_order_relaxed);
}

/* The mailbox's worker: calls all that is there; how many. */
unsigned message_run(struct mailbox *box, void *worker);
