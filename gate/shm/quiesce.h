// SPDX-License-Identifier: BSD-3-Clause
/* Quiescent states across processes: when may fpmd reuse memory that workers of fp-rte could still be reading?
 *
 * Each worker counts in its row of the stats file: it stores a new odd number at the top of every loop, when it holds
 * no index taken from the config file, and an even one before it sleeps or pauses. fpmd unlinks a row, takes a mark,
 * and reuses the row once quiesce_passed() says so. A dead fp-rte (its lock is free) reads nothing. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WORKERS_MAX 64

/* Row of the stats table "worker"; one cache line pair of its own per worker. Written by its worker only. */
struct worker_row {
	_Atomic uint64_t quiescent; /* odd: running since that point; even: holds nothing */
	uint32_t core;		    /* CPU number */
	uint32_t state;		    /* enum worker_state */
	uint64_t loops;		    /* polls of all its queues */
	uint64_t busy_loops;	    /* those that found packets */
	uint64_t packets;	    /* received from ports */
	uint64_t busy_cycles;	    /* TSC cycles in loops that found packets */
	uint64_t idle_cycles;	    /* in the others, without sleeping */
	uint64_t sleep_cycles;
	uint64_t from_linux;	 /* packets that Linux sent */
	uint64_t capture_missed; /* not shown in captures: no room for a copy */
	uint64_t given;		 /* packets from ports that other workers were given to handle */
	uint64_t taken;		 /* and those that this one was given */
	uint64_t pad[4];
};
static_assert(sizeof(struct worker_row) == 128);

enum worker_state { WORKER_OFF, WORKER_ON };

struct quiesce_mark {
	uint64_t at[WORKERS_MAX];
};

static inline void quiesce_mark(struct quiesce_mark *ret, const struct worker_row *workers)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		ret->at[i] = atomic_load_explicit(&workers[i].quiescent, memory_order_acquire);
}

/* True once no worker can hold what was unlinked before @mark was taken. To be asked QUIESCE_WAIT_US after the mark.
 *
 * A running worker stores without a fence, so at the time of the mark it may have loaded for later rounds than its number
 * tells (x86 lets loads pass earlier stores). That's why it must have stored twice since, the second time after the loads
 * of such a round, and why one waits a little: store buffers empty within far less. */
#define QUIESCE_WAIT_US 100
static inline bool quiesce_passed(const struct quiesce_mark *mark, const struct worker_row *workers)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		uint64_t now = atomic_load_explicit(&workers[i].quiescent, memory_order_acquire);

		if ((mark->at[i] & 1) && (now & 1) && now - mark->at[i] < 4)
			return false;
	}
	return true;
}

/* Worker: holds nothing now, goes on running. */
static inline void quiesce_point(struct worker_row *me)
{
	uint64_t now = atomic_load_explicit(&me->quiescent, memory_order_relaxed);

	/* Odd numbers only. On x86 the store is a plain one: quiesce_passed makes up for the missing fence. */
	atomic_store_explicit(&me->quiescent, (now | 1) + 2, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void quiesce_offline(struct worker_row *me)
{
	uint64_t now = atomic_load_explicit(&me->quiescent, memory_order_relaxed);

	atomic_store_explicit(&me->quiescent, (now | 1) + 1, memory_order_release);
}

static inline void quiesce_online(struct worker_row *me)
{
	uint64_t now = atomic_load_explicit(&me->quiescent, memory_order_relaxed);

	atomic_store_explicit(&me->quiescent, (now | 1) + 2, memory_order_seq_cst);
}
