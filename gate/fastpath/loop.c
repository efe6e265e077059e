// SPDX-License-Identifier: BSD-3-Clause
/* The workers. Each polls its receive queues, the ring of packets that Linux sends, and the rings of transmit queues it
 * shares out. Without traffic it dozes: sleeps between polls, longer and longer. */
#include "fastpath/rte.h"
#include "fastpath/specials.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_malloc.h>

#include "fpn/cpu.h"
#include "fpn/packets.h"

#define IDLE_LOOPS 256 /* empty polls before the first sleep */
/* A sleep is this part of the time since the last packet, at most FP_IDLE_SLEEP: a packet waits little in proportion to
 * the silence before it, and a fast path that is hardly used costs hardly anything. */
#define IDLE_PART 16

/* A receive queue is overloaded when it gives full bursts in succession, which alone only says that there's much to do,
 * and the device says that it's too much: it has lost packets, or its ring is nearly full. Asked every FULL_BURSTS. */
#define FULL_BURSTS 8

static uint16_t port_send(struct fp_worker *fp, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct rte_worker *w = (struct rte_worker *)fp;

	if (likely(w->txq[port] >= 0))
		return rte_eth_tx_burst(port, (uint16_t)w->txq[port], pkts, n);
	return (uint16_t)rte_ring_enqueue_burst(w->tx_ring[port], (void **)pkts, n, NULL);
}

static int give_tx_queues(unsigned port, struct err *err)
{
	const struct fpn_port *p = &rte.ports[port].fpn;

	for (unsigned i = 0; i < rte.n_workers; i++) {
		struct rte_worker *w = &rte.workers[i];
		struct rte_worker *owner = &rte.workers[i % p->n_txq];
		struct shared_tx *shared = NULL;
		char name[RTE_RING_NAMESIZE];

		if (i < p->n_txq) {
			w->txq[port] = (int32_t)i;
			continue;
		}
		for (unsigned j = 0; j < owner->n_shared; j++)
			if (owner->shared[j].port == port)
				shared = &owner->shared[j];
		if (!shared) {
			shared = &owner->shared[owner->n_shared++];
			shared->port = (uint16_t)port;
			shared->queue = (uint16_t)(i % p->n_txq);
			snprintf(name, sizeof(name), "tx%u.%u", port, shared->queue);
			shared->ring =
				rte_ring_create(name, SHARED_TX_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
			if (!shared->ring)
				return err_set(err, ENOMEM, "no memory for transmit rings");
		}
		w->txq[port] = -1;
		w->tx_ring[port] = shared->ring;
	}
	return 0;
}

int loop_init(struct shm *stats, struct err *err)
{
	unsigned next = 0;
	int rc;

	rte.n_workers = rte.plan->n_cores;
	rte.workers =
		rte_zmalloc("workers", rte.n_workers * sizeof(*rte.workers), RTE_CACHE_LINE_SIZE);
	if (!rte.workers)
		return err_set(err, ENOMEM, "no memory for workers");
	for (unsigned i = 0; i < rte.n_workers; i++) {
		struct rte_worker *w = &rte.workers[i];
		char name[RTE_RING_NAMESIZE];

		fp_worker_init(&w->fp, (uint16_t)i, stats);
		w->fp.row->core = rte.plan->cores[i];
		snprintf(name, sizeof(name), "from_linux%u", i);
		w->from_linux = rte_ring_create(name, LINUX_RING, SOCKET_ID_ANY,
						RING_F_SP_ENQ | RING_F_SC_DEQ);
		if (!w->from_linux)
			return err_set(err, ENOMEM, "no memory for the rings of workers");
	}
	for (unsigned i = 0; i < rte.n_ports; i++) {
		struct rte_port *p = &rte.ports[i];

		p->owner = (uint16_t)(i % rte.n_workers);
		for (uint16_t q = 0; q < p->fpn.n_rxq; q++) {
			/* One after the other, so that ports with few queues don't all end at worker 0. */
			struct rte_worker *w = &rte.workers[next++ % rte.n_workers];

			w->rx[w->n_rx++] = (struct rx_queue){.port = (uint16_t)i, .queue = q};
		}
		rc = give_tx_queues(i, err);
		if (rc)
			return rc;
	}
	rc = spread_init(err);
	if (rc)
		return rc;
	fp_edges.port_tx = port_send;
	fp_edges.to_linux = exception_put;
	fp_edges.to_special = specials_put;
	fp_edges.capture_copy = exception_copy;
	fp_edges.capture_put = exception_show;
	return 0;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t microseconds)
{
	struct timespec timeout = {.tv_sec = microseconds / 1000000,
				   .tv_nsec = microseconds % 1000000 * 1000L};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &timeout, NULL, 0);
}

/* Any thread. */
void loop_wake(struct rte_worker *w)
{
	/* Orders what the worker shall find before the look at whether it sleeps; pairs with doze(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (likely(!atomic_load_explicit(&w->sleeping, memory_order_relaxed)))
		return;
	atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
	syscall(SYS_futex, &w->sleeping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void doze(struct rte_worker *w, uint32_t microseconds)
{
	quiesce_offline(w->fp.row);
	atomic_store_explicit(&w->sleeping, 1, memory_order_seq_cst);
	if (rte_ring_empty(w->from_linux) && !spread_waits(w) &&
	    !atomic_load_explicit(&w->mail.head, memory_order_seq_cst) &&
	    !atomic_load_explicit(&rte.stop, memory_order_seq_cst))
		futex_wait(&w->sleeping, 1, microseconds);
	atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
	quiesce_online(w->fp.row);
}

static struct message pauses[WORKERS_MAX];
static _Atomic unsigned paused;

static void wait_for_resume(void *worker, void *unused)
{
	struct rte_worker *w = worker;

	quiesce_offline(w->fp.row);
	atomic_fetch_add(&paused, 1);
	while (atomic_load_explicit(&rte.pause, memory_order_acquire))
		usleep(20);
	quiesce_online(w->fp.row);
}

/* Control thread. Returns when no worker reads shared memory, until loop_resume. */
void loop_pause(void)
{
	atomic_store(&paused, 0);
	atomic_store(&rte.pause, true);
	for (unsigned i = 0; i < rte.n_workers; i++) {
		message_send(&rte.workers[i].mail, &pauses[i], wait_for_resume, NULL);
		loop_wake(&rte.workers[i]);
	}
	while (atomic_load(&paused) != rte.n_workers)
		usleep(20);
}

void loop_resume(void)
{
	atomic_store(&rte.pause, false);
	for (unsigned i = 0; i < rte.n_workers; i++)
		while (!message_done(&pauses[i]))
			usleep(20);
}

/* Packets of Linux, in runs of the same port. */
static unsigned take_from_linux(struct rte_worker *w)
{
	struct rte_mbuf *pkts[FP_BURST];
	unsigned n = rte_ring_sc_dequeue_burst(w->from_linux, (void **)pkts, FP_BURST, NULL);

	for (unsigned from = 0, to; from < n; from = to) {
		to = packets_run(pkts, from, n);
		fp_process_linux_tx(&w->fp, pkts[from]->port, pkts + from, (uint16_t)(to - from));
	}
	w->fp.row->from_linux += n;
	return n;
}

static unsigned send_shared(struct rte_worker *w, const struct shared_tx *tx)
{
	struct rte_mbuf *pkts[FP_BURST];
	unsigned n = rte_ring_sc_dequeue_burst(tx->ring, (void **)pkts, FP_BURST, NULL);
	unsigned sent = 0;

	if (!n)
		return 0;

	while (sent < n) {
		uint16_t now =
			rte_eth_tx_burst(tx->port, tx->queue, pkts + sent, (uint16_t)(n - sent));

		if (!now)
			break;
		sent += now;
	}
	if (unlikely(sent < n))
		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
	w->fp.reasons[DROP_TX_FULL] += n - sent;
	return n;
}

void loop_send_shared(struct rte_worker *w)
{
	for (unsigned i = 0; i < w->n_shared; i++)
		for (unsigned left = rte_ring_count(w->shared[i].ring), n; left; left -= n) {
			n = send_shared(w, &w->shared[i]);
			if (n >= left)
				break;
		}
}

static uint32_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)now.tv_sec;
}

static __rte_noinline void look_whether_overloaded(struct rx_queue *rx)
{
	struct rte_port *p = &rte.ports[rx->port];
	bool was = rx->overloaded;
	int waiting;

	rx->full = 0;
	rx->overloaded = atomic_load_explicit(&p->missing, memory_order_relaxed);
	if (!rx->overloaded) {
		/* Negative where the driver can't tell. */
		waiting = rte_eth_rx_queue_count(rx->port, rx->queue);
		rx->overloaded = waiting >= p->fpn.n_rxd * 3 / 4;
	}
	if (rx->overloaded && !was)
		atomic_fetch_add_explicit(&p->overloads, 1, memory_order_relaxed);
}

/* A full burst came from @rx. */
static inline void overloaded(struct rx_queue *rx)
{
	if (++rx->full >= FULL_BURSTS)
		look_whether_overloaded(rx);
}

int loop_main(void *worker)
{
	struct rte_worker *w = worker;
	struct worker_row *row = w->fp.row;
	const uint64_t clock_every = rte_get_tsc_hz() / 1000;
	const uint64_t microsecond = rte_get_tsc_hz() / 1000000;
	const uint32_t longest = rte.plan->idle_sleep;
	struct rte_mbuf *pkts[FP_BURST];
	const uint64_t start = rte_rdtsc();
	uint64_t last = start, clock_at = last, busy_at = last;
	uint32_t idle = 0;
	bool dozing = false;

	w->fp.now = seconds();
	row->state = WORKER_ON;
	quiesce_online(row);
	while (likely(!atomic_load_explicit(&rte.stop, memory_order_relaxed))) {
		unsigned received = 0, other = 0;
		uint64_t now;

		if (unlikely(message_waits(&w->mail)))
			message_run(&w->mail, w);
		quiesce_point(row);
		if (unlikely(w->spread))
			spread_look(w, last);

		for (unsigned i = 0; i < w->n_rx; i++) {
			struct rx_queue *rx = &w->rx[i];
			uint16_t n;

			if (unlikely(rx->spread) && spread_holds(w->spread))
				continue;
			n = rte_eth_rx_burst(rx->port, rx->queue, pkts, FP_BURST);
			if (!n)
				continue;
			received += n;
			if (likely(n < FP_BURST)) {
				rx->full = 0;
				rx->overloaded = false;
				if (unlikely(rx->spread))
					spread_input(w, rx, pkts, n, last);
				else
					fp_input(&w->fp, rx->port, pkts, n);
				continue;
			}
			overloaded(rx);
			if (unlikely(rx->spread)) {
				spread_input(w, rx, pkts, n, last);
			} else if (likely(!rx->overloaded)) {
				fp_input(&w->fp, rx->port, pkts, n);
			} else {
				fp_input_overloaded(&w->fp, rx->port, pkts, n);
			}
		}
		if (unlikely(!rte_ring_empty(w->from_linux)))
			other += take_from_linux(w);
		if (unlikely(w->n_in))
			other += spread_take(w);
		for (unsigned i = 0; i < w->n_shared; i++)
			if (!rte_ring_empty(w->shared[i].ring))
				other += send_shared(w, &w->shared[i]);
		if (unlikely(w->fp.polls))
			fp_poll(&w->fp);
		fp_flush(&w->fp);

		now = rte_rdtsc();
		if (likely(received | other)) {
			row->packets += received;
			cpu_busy(row, &last, now);
			idle = 0;
			busy_at = now;
			if (unlikely(dozing)) {
				/* From now on the exception thread looks by itself. */
				dozing = false;
				atomic_store_explicit(&w->dozing, false, memory_order_seq_cst);
				exception_wake();
			}
		} else {
			cpu_idle(row, &last, now);
			idle++;
		}
		if (unlikely(now - clock_at > clock_every)) {
			clock_at = now;
			w->fp.now = seconds();
			timers_run(&w->fp.timers, (uint32_t)((now - start) / clock_every), w);
			if (w->spread)
				spread_calm(w, now);
		}
		if (unlikely(idle >= IDLE_LOOPS && longest && !w->fp.polls) &&
		    !atomic_load_explicit(&rte.crowded, memory_order_relaxed)) {
			uint64_t sleep = (now - busy_at) / microsecond / IDLE_PART;

			if (!dozing) {
				dozing = true;
				atomic_store_explicit(&w->dozing, true, memory_order_seq_cst);
				exception_wake();
			}
			doze(w, sleep < longest ? (uint32_t)sleep : longest);
			cpu_slept(row, &last, rte_rdtsc());
		}
	}
	fp_flush(&w->fp);
	quiesce_offline(row);
	row->state = WORKER_OFF;
	return 0;
}
