// SPDX-License-Identifier: BSD-3-Clause
/* Looking on: captures (copies of a port's packets for packet sockets in Linux) and traces (the steps of single packets,
 * in shared memory). While somebody looks on, packets go one by one; else a worker asks once a burst whether anyone does.
 *
 * The control thread changes what is watched at any time. */
#pragma once

#include <stdatomic.h>
#include <sys/types.h> /* of which <pcap/bpf.h> makes use */

#include <pcap/bpf.h>

#include "fastpath/fp.h"
#include "fastpath/trace.h"
#include "fpn/gc.h"

#define WATCH_FILTER_MAX 512 /* instructions */
#define WATCH_ANY_PORT	 UINT16_MAX

/* An armed trace. */
struct watch_trace {
	uint32_t session;
	uint16_t port; /* only packets that came in there; WATCH_ANY_PORT: all */
	uint16_t pad;
	_Atomic int64_t left; /* packets still to be followed */
	struct gc_item gc;
	unsigned n_filter;			  /* instructions; 0: all packets */
	struct bpf_insn filter[WATCH_FILTER_MAX]; /* of libpcap, over the Ethernet frame */
};

/* Whether @trace's filter is safe to run. */
bool watch_filter_ok(const struct watch_trace *trace);

/* Arms @trace; NULL: none. It stays the caller's, but for workers that may read it until they have passed a quiescent point
 * after another one was set. Returns the one before. */
struct watch_trace *watch_set_trace(struct watch_trace *trace);

/* Captures from now on on these ports: bit a port. */
void watch_set_captures(uint64_t ports);

/* fp_attach: where records go. */
int watch_attach(struct shm *stats, struct err *err);

/* The watched ways of fp_input, fp_process_linux_tx and of packets on their way to a port. */
void watch_input(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
void watch_linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
void watch_sent(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
