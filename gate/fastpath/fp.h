// SPDX-License-Identifier: BSD-3-Clause
/* The fast path's inner contract: workers, handlers, verdicts. No protocol stands here; features register.
 *
 * A worker is one thread on one CPU. It takes bursts from its receive queues and runs each packet to its end: sent,
 * handed to Linux (fp_exception), or dropped with a reason (fp_drop). Nothing here locks, allocates outside a mempool,
 * calls the kernel or logs. Handlers get bursts of packets that share their input interface. They own the packets.
 *
 * A packet's data starts at the layer the handler works on: ether handlers see the Ethernet header, protocol handlers
 * the header after it, with the Ethernet header still in the headroom (m->l2_len bytes before), so that an exception
 * can hand the frame over as it came in. */
#pragma once

#include <stdbool.h>

#include <rte_branch_prediction.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "fastpath/budget.h"
#include "fastpath/burst.h"
#include "fastpath/classify.h"
#include "fastpath/plugin.h"
#include "fastpath/reasons.h"
#include "fastpath/special.h"
#include "fastpath/stage.h"
#include "fastpath/trace.h"
#include "features/feature.h"
#include "fpn/gc.h"
#include "fpn/timer.h"
#include "lib/err.h"
#include "shm/quiesce.h"
#include "shm/shm.h"

#define FP_PORTS_MAX 64	 /* ports of an instance */
#define FP_HEADROOM  128 /* bytes before a received frame that encapsulation can use */
#define FP_NONE	     UINT32_MAX

static_assert(N_REASONS <= REASONS_MAX);
static_assert(FP_PORTS_MAX == BUDGET_PORTS && FP_CLASSES - 1 == BUDGET_CLASSES);

/* Packets bound for one port, sent when full and at the end of each loop. */
struct fp_txq {
	uint16_t n;
	struct rte_mbuf *pkts[FP_BURST];
};

struct fp_worker {
	uint16_t id; /* row in the tables "worker" and "worker_reason" */
	/* The port whose burst is handled has more than this worker can take: exceptions pass within their share only. */
	bool overload;
	uint8_t pad;
	uint32_t now; /* CLOCK_MONOTONIC in seconds, refreshed about every millisecond */
	/* Packets ended so far by fp_exception and fp_drop. Who calls handlers takes the difference, for its own counters. */
	uint64_t exceptions, exception_bytes, drops;
	uint64_t *reasons; /* count[] of this worker's worker_reason row */
	struct worker_exception_row *classes;
	struct worker_row *row;
	uint64_t dirty; /* bit a port: packets in tx[] */
	uint32_t
		traced; /* number of the packet in hand where a trace follows it, else 0 (fastpath/watch.h) */
	bool of_linux;	/* the packet in hand is Linux's; kept only while somebody looks on */
	uint8_t depth;	/* how often the packets in hand have started again (FP_DEPTH) */
	bool polling;	/* within a poll function */
	uint64_t polls; /* bit a poll function that wants to be called (fp_register_poll) */
	struct fp_txq tx[FP_PORTS_MAX];
	struct timers timers; /* those of features; the clock is milliseconds */
} __rte_cache_aligned;

/* A burst of @n packets (1 to FP_BURST) that came in on the interface in row @iface of the config table "iface". */
typedef fp_iface_fn fp_burst_fn;

/* The fast path's side of a feature. */
struct fp_feature {
	/* Once at start-up, in features.def's order: registers handlers. */
	int (*init)(struct err *err);
	/* The config file to work from, at start-up and whenever fpmd published another; no worker runs meanwhile. The
	 * feature keeps pointers to its tables in variables of its own. */
	int (*attach)(const struct shm *config, const struct shm *stats, struct err *err);
	/* Control thread, while workers run: ten times a second, and when fpmd says that something changed (fpm.changed). What a
	 * feature of fpmd's can't make in shared memory is made here. */
	int (*look)(struct gc *gc, unsigned n_workers, struct err *err);
};

#define FASTPATH_DECLARE(name) [[gnu::weak]] extern const struct fp_feature name##_fastpath;
FEATURES(FASTPATH_DECLARE)
#undef FASTPATH_DECLARE

/* --- registration (start-up only) --- */

/* fp_register_ethertype: plugin.h. Another function for an ethertype that has one; returns the former, NULL: there's none. */
fp_iface_fn *fp_swap_ethertype(uint16_t ethertype, fp_iface_fn *input);
/* For features that have a hook fp_hook_<name> of their ethertype. */
fp_iface_fn *fp_hook_ethertype(uint16_t ethertype, const char *name, fp_iface_fn *hook);

/* The output function of interfaces of one type (enum iface_type in features/iface/iface.h): packets of @ethertype (network
 * byte order) for interface @iface, 1 to FP_BURST, data at the layer 3 header. Owns them; nothing can go to Linux any more. */
int fp_register_output(uint8_t iface_type, fp_output_fn *output);

/* What was registered, for those who call it: NULL where nothing was. */
fp_burst_fn *fp_ethertype_input(unsigned index);
#define FP_ETHERTYPES_MAX 15
/* By ethertype in network byte order: index for fp_ethertype_input, 1 to FP_ETHERTYPES_MAX; 0: nobody's. */
extern uint8_t fp_ethertype_index[65536];
#define FP_OUTPUTS_MAX 16
extern fp_output_fn *fp_outputs[FP_OUTPUTS_MAX];

/* Packets of @b for this host: to those who registered for their protocol or port, the others to Linux for @reason. Ends the
 * burst. Whether there's anybody to ask. */
void fp_local(struct fp_worker *w, struct fp_burst *b, enum reason reason);
bool fp_local_wanted(uint8_t family);

/* The hooks of the way: each has a function of the feature that the step belongs to, set in its init; plugins put themselves
 * in front. Bursts of 1 to FP_BURST packets; who is called owns them. */
struct fp_hooks {
	/* A burst as port @port received it, data at the Ethernet header (fp_input). */
	fp_port_fn *ether_input;
	/* Packets that Linux sent on port @port's TAP. */
	fp_port_fn *process_linux_tx;
	/* IPv4 (IPv6) packets that leave by @iface, as they will be on the wire: fp_ip_inetif_send. */
	fp_send_fn *ip_inetif_send, *ip6_inet6if_send;
	/* To the output function of @iface's type: fp_if_output. */
	fp_output_fn *if_output;
	/* Frames for an Ethernet interface: fp_ether_output. */
	fp_iface_fn *ether_output;
	/* No plugin's: port @port didn't take these packets, which stay the caller's. May be NULL. */
	void (*tx_full)(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
	/* No plugin's: makes of a special packet (special.h) the frame that Linux gets, and tells the VRF where. N_REASONS; else the
	 * DROP_ that it ends with. @m stays the caller's. */
	enum reason (*special_frame)(struct rte_mbuf *m, uint32_t *ret_vrf);
	/* No plugin's: packets of @iface that went on later (fp_resume) have ended: so many handed to Linux, so many dropped. */
	void (*resumed)(struct fp_worker *w, uint32_t iface, uint64_t exceptions,
			uint64_t exception_bytes, uint64_t drops);
};
extern struct fp_hooks fp_hooks;

/* --- verdicts: each ends the packet --- */

/* A reason more, for plugins; before fp_attach. -EINVAL: not a name (lower-case letters, digits, '_') or too long, or there is
 * one; -ENOSPC. */
int fp_add_reason(enum reason_kind kind, const char *name, const char *text);

/* Frees @m and counts @reason (a DROP_). */
void fp_drop(struct fp_worker *w, struct rte_mbuf *m, enum reason reason);

/* Hands @m to Linux as it came in, on the TAP of port m->port: data is put back to the Ethernet header (m->l2_len bytes
 * before the layer 3 header; l2_len 0: data is there already). Counts @reason (an EXCEPTION_), or a drop where a budget of
 * its class (classify.h) or the ring is full. Header fields already changed must be restored by the caller before. A packet
 * that fp_make_special was called for goes to Linux as it was then (special.h). */
void fp_exception(struct fp_worker *w, struct rte_mbuf *m, enum reason reason);

/* Ends a packet of a burst: drops it for a DROP_, hands it to Linux for an EXCEPTION_, or, one that started here (FP_BURST_OWN),
 * drops it for DROP_OWN. */
void fp_end(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
	    enum reason reason);

/* Queues @m, data at the Ethernet header, for port @port. It's sent at the latest at the end of this loop. */
static inline void fp_port_send(struct fp_worker *w, uint16_t port, struct rte_mbuf *m);

/* --- entry points (run loop, packet harness) --- */

/* A burst as port @port received it. */
void fp_input(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);

/* The same while the port's receive ring overflows: the control plane's packets go first, other exceptions are dropped
 * beyond their share of the budget (budget.h) instead of beyond the budget. */
void fp_input_overloaded(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);

/* Packets that Linux sent on port @port's TAP: hook fp_process_linux_tx, then out. */
void fp_process_linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);

/* Calls the poll functions that this worker wants called: w->polls isn't 0. */
void fp_poll(struct fp_worker *w);

/* Sends what's queued. */
void fp_flush(struct fp_worker *w);

/* init of all features, then attach; for fp-rte and the packet harness alike. */
int fp_init(struct err *err);
int fp_attach(const struct shm *config, struct shm *stats, struct err *err);
/* look of all features; the first one's error. */
int fp_look(struct gc *gc, unsigned n_workers, struct err *err);
/* Binds a zeroed worker to its rows. */
void fp_worker_init(struct fp_worker *w, uint16_t id, struct shm *stats);

/* The budgets of exceptions (classes FP_CLASS_CONTROL, and the other two). Without this call there's no limit. Before
 * workers run; rates in packets a second. */
struct fp_exception_rates {
	uint32_t port, total; /* but for the control plane's */
	uint32_t control_port, control_total;
};
void fp_limit_exceptions(const struct fp_exception_rates *rates, unsigned n_ports);

/* What the outside does for the fast path; fp-rte sets them to DPDK ports and TAPs, the packet harness to lists. */
struct fp_edges {
	/* Sends @n packets on @port, queue of worker @w; returns how many it took (the rest is dropped, tx_full). */
	uint16_t (*port_tx)(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
	/* Takes @m for Linux; false: no room (sets *ret_reason); @m stays the caller's. */
	bool (*to_linux)(struct fp_worker *w, uint16_t port, enum fp_class class,
			 struct rte_mbuf *m, enum reason *ret_reason);
	/* Takes @m, a frame for fpn0 in VRF @vrf; as above. */
	bool (*to_special)(struct fp_worker *w, uint32_t vrf, enum fp_class class,
			   struct rte_mbuf *m, enum reason *ret_reason);
	/* For captures (fastpath/watch.h): a copy of @m, NULL if there's no room for one; and takes the copy, of a packet that
	 * port @port sent or received. */
	struct rte_mbuf *(*capture_copy)(struct fp_worker *w, const struct rte_mbuf *m);
	void (*capture_put)(struct fp_worker *w, uint16_t port, struct rte_mbuf *copy, bool sent);
};
extern struct fp_edges fp_edges;

/* --- inline --- */

void fp_port_flush(struct fp_worker *w, uint16_t port);

static inline void fp_port_send(struct fp_worker *w, uint16_t port, struct rte_mbuf *m)
{
	struct fp_txq *q = &w->tx[port];

	w->dirty |= 1ULL << port;
	q->pkts[q->n++] = m;
	if (unlikely(q->n == FP_BURST))
		fp_port_flush(w, port);
}

/* fp_port_send for many packets after one another, most of them for the same port: its queue stays at hand until the port
 * changes, or fp_tx_end. Zeroed at the beginning. */
struct fp_tx {
	struct fp_txq *q;
	uint16_t port, n;
};

static inline void fp_tx_end(struct fp_worker *w, struct fp_tx *t)
{
	if (likely(t->n)) {
		t->q->n = t->n;
		w->dirty |= 1ULL << t->port;
	}
}

static inline void fp_tx_put(struct fp_worker *w, struct fp_tx *t, uint16_t port,
			     struct rte_mbuf *m)
{
	if (port != t->port || !t->q) {
		fp_tx_end(w, t);
		t->q = &w->tx[port];
		t->port = port;
		t->n = t->q->n;
	}
	t->q->pkts[t->n++] = m;
	if (unlikely(t->n == FP_BURST)) {
		t->q->n = t->n;
		fp_port_flush(w, port);
		t->n = 0;
	}
}

/* Features, for a packet that a trace follows (bursts are of one packet then): what was found. Costs a branch. */
void fp_trace_row(struct fp_worker *w, enum trace_step step, uint32_t row);
static inline void fp_trace(struct fp_worker *w, enum trace_step step, uint32_t row)
{
	if (unlikely(w->traced))
		fp_trace_row(w, step, row);
}
void fp_trace_end(struct fp_worker *w, enum trace_step step, const struct rte_mbuf *m,
		  enum reason reason);

/* Whether somebody looks on. */
extern _Atomic bool fp_watched;
/* fp_process_linux_tx, apart from that. */
void fp_linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);

static inline void fp_count(struct fp_worker *w, enum reason reason)
{
	w->reasons[reason]++;
}
