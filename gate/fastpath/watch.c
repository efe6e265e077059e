// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/watch.h"

#include <errno.h>

_Atomic bool fp_watched;

static _Atomic uint64_t captures;
static struct watch_trace *_Atomic trace;
static struct trace_row *rows;
/* By worker: the last record's serial. It goes on where a former fp-rte's records ended. */
static uint64_t serials[WORKERS_MAX];
/* By worker: the session of the trace that the packet in hand belongs to, which may not be armed any more. */
static uint32_t sessions[WORKERS_MAX];

static void look(void)
{
	atomic_store(&fp_watched, atomic_load(&captures) || atomic_load(&trace));
}

bool watch_filter_ok(const struct watch_trace *t)
{
	return !t->n_filter ||
	       (t->n_filter <= WATCH_FILTER_MAX && bpf_validate(t->filter, (int)t->n_filter));
}

struct watch_trace *watch_set_trace(struct watch_trace *t)
{
	struct watch_trace *before = atomic_exchange(&trace, t);

	look();
	return before;
}

void watch_set_captures(uint64_t ports)
{
	atomic_store(&captures, ports);
	look();
}

int watch_attach(struct shm *stats, struct err *err)
{
	const struct shm_table_dir *dir = shm_find(stats, "trace");

	rows = shm_rows(stats, "trace");
	if (!rows || dir->capacity < WORKERS_MAX * TRACE_ROWS)
		return err_set(err, EPROTO, "the stats file has no table 'trace'");
	for (unsigned w = 0; w < WORKERS_MAX; w++) {
		/* A worker that never traced has never touched its rows, and reading all would make them cost memory. */
		if (!rows[w * TRACE_ROWS + 1].serial || serials[w])
			continue;
		for (unsigned i = 0; i < TRACE_ROWS; i++)
			serials[w] = RTE_MAX(serials[w], rows[w * TRACE_ROWS + i].serial);
	}
	return 0;
}

/* A reader takes the row if its serial is the same before and after. */
static void record(struct fp_worker *w, enum trace_step step, uint32_t port, uint32_t row,
		   enum reason reason, const struct rte_mbuf *m)
{
	uint64_t serial = ++serials[w->id];
	struct trace_row *r = &rows[w->id * TRACE_ROWS + serial % TRACE_ROWS];

	atomic_store_explicit(&r->serial, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	r->tsc = rte_rdtsc();
	r->session = sessions[w->id];
	r->packet = w->traced;
	r->step = step;
	r->port = (uint16_t)port;
	r->row = row;
	r->reason = reason;
	r->len = m ? m->pkt_len : 0;
	r->n_data = m ? RTE_MIN(m->data_len, TRACE_DATA) : 0;
	if (m)
		memcpy(r->data, rte_pktmbuf_mtod(m, void *), r->n_data);
	atomic_store_explicit(&r->serial, serial, memory_order_release);
}

void fp_trace_row(struct fp_worker *w, enum trace_step step, uint32_t row)
{
	record(w, step, 0, row, 0, NULL);
}

void fp_trace_end(struct fp_worker *w, enum trace_step step, const struct rte_mbuf *m,
		  enum reason reason)
{
	record(w, step, m->port, 0, reason, m);
}

/* Whether @m, as port @port received it, is to be followed; sets w->traced. */
static void begin(struct fp_worker *w, enum trace_step step, uint16_t port,
		  const struct rte_mbuf *m)
{
	static uint32_t packets[WORKERS_MAX];
	struct watch_trace *t = atomic_load_explicit(&trace, memory_order_acquire);

	w->traced = 0;
	if (!t || (t->port != WATCH_ANY_PORT && t->port != port) || atomic_load(&t->left) <= 0)
		return;
	if (t->n_filter &&
	    !bpf_filter(t->filter, rte_pktmbuf_mtod(m, const u_char *), m->pkt_len, m->data_len))
		return;
	if (atomic_fetch_sub(&t->left, 1) <= 0)
		return;
	if (!++packets[w->id])
		packets[w->id] = 1;
	w->traced = packets[w->id];
	sessions[w->id] = t->session;
	record(w, step, port, 0, 0, m);
}

static bool captured(uint16_t port)
{
	return atomic_load_explicit(&captures, memory_order_relaxed) >> port & 1;
}

void watch_input(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	bool is_captured = captured(port);

	fp_flush(w);
	for (uint16_t i = 0; i < n; i++) {
		/* It will be changed, and what becomes of it decides: an exception is seen in Linux anyhow. */
		struct rte_mbuf *copy = is_captured ? fp_edges.capture_copy(w, pkts[i]) : NULL;
		uint64_t exceptions = w->exceptions;

		begin(w, TRACE_RECEIVED, port, pkts[i]);
		fp_hooks.ether_input(w, port, &pkts[i], 1);
		if (copy && w->exceptions == exceptions)
			fp_edges.capture_put(w, port, copy, false);
		else
			rte_pktmbuf_free(copy);
		fp_flush(w);
		w->traced = 0;
	}
}

/* Packets of Linux are on the TAP already: they aren't captured again. */
void watch_linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	fp_flush(w);
	w->of_linux = true;
	for (uint16_t i = 0; i < n; i++) {
		begin(w, TRACE_FROM_LINUX, port, pkts[i]);
		fp_linux_tx(w, port, &pkts[i], 1);
		fp_flush(w);
		w->traced = 0;
	}
	w->of_linux = false;
}

void watch_sent(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	bool is_captured = captured(port) && !w->of_linux;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *copy = is_captured ? fp_edges.capture_copy(w, pkts[i]) : NULL;

		if (w->traced)
			record(w, TRACE_SENT, port, 0, 0, pkts[i]);
		if (copy)
			fp_edges.capture_put(w, port, copy, true);
	}
}
