// SPDX-License-Identifier: BSD-3-Clause
/* Ways between workers: packets from one worker (the sender) to another (the receiver), in order, without a lock. The
 * sender learns how far the receiver has come, so that it can tell when what it gave away is through.
 *
 * Sequence numbers count packets and wrap around: compare with intercore_is_through. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

struct intercore {
	struct rte_ring *ring;
	uint16_t from, to; /* workers */
	uint32_t size;	   /* packets that find room */
	/* Sender: packets given so far, and of these, those that were through when it last looked. */
	_Alignas(RTE_CACHE_LINE_SIZE) uint32_t sent;
	uint32_t seen;
	/* Receiver: packets that are through. */
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t done;
};

/* Control thread, at start-up: a way for @size packets (a power of two) from worker @from to worker @to. Stays until the
 * process ends. NULL: no memory. */
struct intercore *intercore_create(uint16_t from, uint16_t to, uint32_t size);

/* Sender: packets that surely find room. */
static inline uint32_t intercore_room(const struct intercore *way)
{
	return way->size - (way->sent - way->seen);
}

/* Sender: gives @n packets, at most intercore_room. The receiver may be asleep. */
static inline void intercore_send(struct intercore *way, struct rte_mbuf **pkts, uint32_t n)
{
	rte_ring_sp_enqueue_bulk(way->ring, (void **)pkts, n, NULL);
	way->sent += n;
}

/* Sender: how many packets of this way the receiver is through with. */
static inline uint32_t intercore_done(const struct intercore *way)
{
	return atomic_load_explicit(&way->done, memory_order_acquire);
}

/* Sender: whether the packet that had number @seq (sent, after it was given) was through at the last look. */
static inline bool intercore_is_through(const struct intercore *way, uint32_t seq)
{
	return (int32_t)(way->seen - seq) >= 0;
}

/* Receiver: up to @n packets; how many. */
static inline uint32_t intercore_take(struct intercore *way, struct rte_mbuf **pkts, uint32_t n)
{
	return rte_ring_sc_dequeue_burst(way->ring, (void **)pkts, n, NULL);
}

/* Receiver: the next @n packets that it took are through: handled, and all they became has been sent. */
static inline void intercore_finish(struct intercore *way, uint32_t n)
{
	uint32_t done = atomic_load_explicit(&way->done, memory_order_relaxed);

	atomic_store_explicit(&way->done, done + n, memory_order_release);
}
