// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/spread.h"

#include <errno.h>

#include <rte_malloc.h>

#include "fastpath/rte.h"
#include "fpn/frame_hash.h"
#include "fpn/packets.h"

#define SPREAD_OWN UINT32_MAX
#define CALM_PART  1000 /* of a second without a full burst: the worker can keep up again */

/* --- start-up --- */

static bool needs_spread(const struct rx_queue *rx)
{
	return rte.ports[rx->port].fpn.n_rxq < rte.n_workers;
}

static int add_way(struct spread *s, struct rte_worker *from, struct rte_worker *to,
		   struct err *err)
{
	struct intercore *way = intercore_create(from->fp.id, to->fp.id, SPREAD_RING);

	if (!way)
		return err_set(err, ENOMEM, "no memory for the rings between workers");
	s->ways[s->n_ways++] = (struct spread_way){.way = way, .worker = to};
	to->in[to->n_in++] = way;
	return 0;
}

static int add_spread(struct rte_worker *w, struct err *err)
{
	size_t size = sizeof(struct spread) + (rte.n_workers - 1) * sizeof(struct spread_way);
	int rc = 0;

	for (unsigned i = 0; i < w->n_rx; i++) {
		struct spread_queue *q;

		if (!needs_spread(&w->rx[i]))
			continue;
		q = rte_zmalloc("spread", sizeof(*q), RTE_CACHE_LINE_SIZE);
		if (!q)
			goto no_memory;
		for (unsigned b = 0; b < SPREAD_BUCKETS; b++)
			q->buckets[b].way = SPREAD_OWN;
		q->on = rte.plan->spread == PLAN_SPREAD_ALWAYS;
		w->rx[i].spread = q;
		if (!w->spread)
			w->spread = rte_zmalloc("spread", size, RTE_CACHE_LINE_SIZE);
		if (!w->spread)
			goto no_memory;
	}
	for (unsigned i = 1; w->spread && i < rte.n_workers && !rc; i++)
		rc = add_way(w->spread, w, &rte.workers[(w->fp.id + i) % rte.n_workers], err);
	return rc;

no_memory:
	return err_set(err, ENOMEM, "no memory to spread packets over workers");
}

int spread_init(struct err *err)
{
	int rc = 0;

	if (rte.plan->spread == PLAN_SPREAD_NO || rte.n_workers < 2)
		return 0;
	for (unsigned i = 0; i < rte.n_workers && !rc; i++)
		rc = add_spread(&rte.workers[i], err);
	return rc;
}

/* --- the worker that polls --- */

void spread_look(struct rte_worker *w, uint64_t now)
{
	struct spread *s = w->spread;
	uint32_t done[WORKERS_MAX];
	bool pending = false, room = true;

	if (!s->pending)
		return;
	for (unsigned i = 0; i < s->n_ways; i++)
		done[i] = intercore_done(s->ways[i].way);
	/* What became of those packets may wait for this worker to send it. That comes before anything it sends itself. */
	loop_send_shared(w);
	for (unsigned i = 0; i < s->n_ways; i++) {
		struct intercore *way = s->ways[i].way;

		way->seen = done[i];
		pending |= way->seen != way->sent;
		room &= way->sent - way->seen <= SPREAD_MORE;
	}
	s->pending = pending;
	if (likely(!s->holding))
		return;
	if (room) {
		s->holding = false;
	} else if (now >= s->hold_until) {
		/* It doesn't come to its work: others shall not suffer from that, its packets are dropped. */
		s->holding = false;
		s->hold_after = now + rte_get_tsc_hz() / CALM_PART;
	}
}

/* Turns @q's spreading on or off. */
static void turn(struct rte_worker *w, struct spread_queue *q, bool on)
{
	q->on = on;
	q->full = 0;
	atomic_fetch_add_explicit(&w->crowded, on ? 1 : -1, memory_order_relaxed);
	atomic_fetch_add_explicit(&rte.crowded, on ? 1 : -1, memory_order_relaxed);
}

void spread_calm(struct rte_worker *w, uint64_t now)
{
	for (unsigned i = 0; i < w->n_rx; i++) {
		struct spread_queue *q = w->rx[i].spread;

		if (q && q->on && rte.plan->spread == PLAN_SPREAD_AUTO &&
		    now - q->full_at > rte_get_tsc_hz() / CALM_PART)
			turn(w, q, false);
	}
}

/* The worker with the least to do, for flows that may go anywhere; SPREAD_OWN: this one. Workers that can't keep up
 * themselves get nothing. Those that doze wake by themselves while a queue is crowded (loop.c), which costs nobody a
 * system call. */
static uint32_t choose(const struct spread *s)
{
	bool always = rte.plan->spread == PLAN_SPREAD_ALWAYS;
	uint32_t best = SPREAD_OWN, least = SPREAD_MORE;

	for (uint32_t i = 0; i < s->n_ways; i++) {
		const struct intercore *way = s->ways[i].way;
		uint32_t waiting = way->sent - way->seen;

		if (waiting >= least)
			continue;
		if (!always &&
		    (atomic_load_explicit(&s->ways[i].worker->crowded, memory_order_relaxed) ||
		     atomic_load_explicit(&s->ways[i].worker->dozing, memory_order_relaxed)))
			continue;
		best = i;
		least = waiting;
	}
	return best;
}

static void give(struct rte_worker *w, uint64_t now)
{
	struct spread *s = w->spread;

	for (unsigned i = 0; i < s->n_ways; i++) {
		struct spread_way *to = &s->ways[i];

		if (!to->n)
			continue;
		intercore_send(to->way, to->pkts, to->n);
		w->fp.row->given += to->n;
		to->n = 0;
		s->pending = true;
		loop_wake(to->worker);
		/* What comes next might find no room. The flows it has would stay there for as long as they go on, so it's
		 * given time to come through with all: then they may go elsewhere. */
		if (unlikely(intercore_room(to->way) < FP_BURST && now >= s->hold_after)) {
			s->holding = true;
			s->hold_until = now + SPREAD_HOLD * (rte_get_tsc_hz() / 1000000);
		}
	}
}

static void handle(struct rte_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n,
		   bool overloaded)
{
	if (!n)
		return;
	if (unlikely(overloaded))
		fp_input_overloaded(&w->fp, port, pkts, n);
	else
		fp_input(&w->fp, port, pkts, n);
}

void spread_input(struct rte_worker *w, struct rx_queue *rx, struct rte_mbuf **pkts, uint16_t n,
		  uint64_t now)
{
	struct spread_queue *q = rx->spread;
	struct spread *s = w->spread;
	const uint32_t round = (uint32_t)w->fp.row->loops;
	struct rte_mbuf *own[FP_BURST];
	uint32_t free_way;
	uint16_t n_own = 0;

	if (n == FP_BURST) {
		q->full_at = now;
		if (!q->on && ++q->full >= SPREAD_AFTER)
			turn(w, q, true);
	} else {
		q->full = 0;
	}
	if (!q->on && !s->pending) {
		handle(w, rx->port, pkts, n, rx->overloaded);
		return;
	}

	free_way = q->on ? choose(s) : SPREAD_OWN;
	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t hash = packet_hash(m);
		typeof(&q->buckets[0]) b = &q->buckets[hash % SPREAD_BUCKETS];
		struct spread_way *to;

		if (b->way == SPREAD_OWN ? b->seq != round
					 : intercore_is_through(s->ways[b->way].way, b->seq))
			b->way = free_way;
		if (b->way == SPREAD_OWN) {
			b->seq = round;
			own[n_own++] = m;
			continue;
		}
		to = &s->ways[b->way];
		if (unlikely(intercore_room(to->way) <= to->n)) {
			/* Better out of order than lost. */
			if (fp_is_control(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len))
				own[n_own++] = m;
			else
				fp_drop(&w->fp, m, DROP_SPREAD_FULL);
			continue;
		}
		to->pkts[to->n++] = m;
		b->seq = to->way->sent + to->n;
	}
	/* First what others are to do, then the own work. */
	give(w, now);
	handle(w, rx->port, own, n_own, rx->overloaded);
}

/* --- the others --- */

bool spread_waits(const struct rte_worker *w)
{
	for (unsigned i = 0; i < w->n_in; i++)
		if (!rte_ring_empty(w->in[i]->ring))
			return true;
	return false;
}

static uint32_t take(struct rte_worker *w, struct intercore *way)
{
	struct rte_mbuf *pkts[FP_BURST];
	bool overloaded = rte_ring_count(way->ring) > SPREAD_RING * 3 / 4;
	uint32_t n = intercore_take(way, pkts, FP_BURST);

	if (!n)
		return 0;
	/* The sender has just written to all of it: fetch at once, not one after the other. */
	for (uint32_t i = 0; i < n; i++) {
		rte_mbuf_prefetch_part1(pkts[i]);
		rte_mbuf_prefetch_part2(pkts[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
	/* Former packets of these flows, from the sender's hands, go first. */
	loop_send_shared(w);
	for (uint32_t from = 0, to; from < n; from = to) {
		to = packets_run(pkts, from, n);
		handle(w, pkts[from]->port, pkts + from, (uint16_t)(to - from), overloaded);
	}
	fp_flush(&w->fp);
	intercore_finish(way, n);
	return n;
}

unsigned spread_take(struct rte_worker *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->n_in; i++)
		n += take(w, w->in[i]);
	w->fp.row->taken += n;
	return n;
}
