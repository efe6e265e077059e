// SPDX-License-Identifier: BSD-3-Clause
/* What fp-rte's threads share. All of it is laid out by the control thread before the others start, and taken down
 * after they ended; in between:
 *
 *   control thread    main.c, control.c  FPC, config files, device counters, link, MTU. Ticks every 10 ms
 *   exception thread  exception.c        TAPs: the only one that calls the kernel for packets
 *   workers           loop.c, spread.c   packets; never call the kernel except to sleep, or to wake another
 *
 * Packets for Linux go through a ring per port and class (queues.h), packets of Linux through a ring per worker. A worker that
 * runs wakes nobody but a worker that fell asleep just when it got packets: the exception thread looks by itself every
 * millisecond while any worker runs, and sleeps for long only while all of them doze. */
#pragma once

#include <rte_ring.h>

#include "fastpath/fp.h"
#include "fastpath/plan.h"
#include "fastpath/queues.h"
#include "fastpath/spread.h"
#include "fpn/capture.h"
#include "fpn/ports.h"
#include "fpn/fpvi.h"
#include "fpn/gc.h"
#include "fpn/message.h"

#define EXCEPTION_RING 1024 /* packets for Linux, of each port and class */
#define CONTROL_PORTS  5    /* as many ports' worth of control plane packets may come from all */
#define LINUX_RING     1024
#define SHARED_TX_RING 1024
#define CAPTURE_RING   512

struct rte_port {
	struct fpn_port fpn;
	struct fpvi tap;
	uint16_t vhost; /* DPDK port of its virtio-user device; UINT16_MAX: TAP queue */
	uint16_t
		owner; /* worker that sends Linux's packets: always the same one, so that they stay in order */
	struct port_state_row *row;
	_Atomic bool
		missing; /* control thread: the device has lost packets within the last second */
	_Atomic uint64_t overloads; /* workers: how often a receive queue became overloaded */
};

struct rx_queue {
	uint16_t port, queue;
	uint16_t
		full; /* full bursts in succession, since the last look at whether it's overloaded */
	bool overloaded;
	struct spread_queue *spread; /* NULL: its packets are this worker's alone */
};

/* A transmit queue that several workers share: they put packets on the ring, its owner sends. */
struct shared_tx {
	uint16_t port, queue;
	struct rte_ring *ring;
};

struct rte_worker {
	struct fp_worker fp; /* first: fp_edges get this one */
	unsigned n_rx, n_shared;
	struct rx_queue rx[FP_PORTS_MAX];
	struct shared_tx shared[FP_PORTS_MAX];
	struct rte_ring *from_linux;
	struct spread *spread; /* of receive queues that have one; else NULL */
	unsigned n_in;
	struct intercore *in[WORKERS_MAX]; /* from other workers */
	/* By port: queue of its own, or a ring where queue is negative. */
	int32_t txq[FP_PORTS_MAX];
	struct rte_ring *tx_ring[FP_PORTS_MAX];
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t sleeping; /* futex: 1 while asleep */
	_Atomic bool dozing; /* sleeps between polls; false while it runs */
	_Atomic uint32_t
		crowded; /* its queues whose packets are given to others for it can't keep up */
	struct mailbox mail;
};

struct rte {
	const struct plan *plan;
	struct rte_port ports[FP_PORTS_MAX];
	unsigned n_ports;
	struct rte_worker *workers;
	unsigned n_workers;
	struct rte_mempool *linux_pool; /* for packets of Linux */
	struct capture capture;
	struct rte_ring
		*captures; /* copies for packet sockets: m->port, and whether sent in m->hash.usr */
	int wake_fd;	   /* eventfd: wakes the exception thread */
	_Atomic bool exception_sleeps;
	_Atomic bool stop;
	_Atomic uint32_t crowded; /* of all workers: as long as there is any, none dozes */
	_Atomic bool pause;	  /* workers in loop_pause shall stay there */
	struct gc gc;		  /* control thread */
	struct queues to_linux;
};

extern struct rte rte;

/* loop.c */
int loop_init(struct shm *stats, struct err *err);
int loop_main(void *worker); /* lcore function */
void loop_wake(struct rte_worker *w);
/* Sends what waits in the rings of transmit queues that @w shares out. */
void loop_send_shared(struct rte_worker *w);
void loop_pause(void);
void loop_resume(void);

/* exception.c */
int exception_init(struct shm *stats, struct err *err);
int exception_main(void *unused); /* lcore function */
/* After all threads ended: what's still on its way to Linux gets there. */
void exception_finish(void);
bool exception_put(struct fp_worker *w, uint16_t port, enum fp_class class, struct rte_mbuf *m,
		   enum reason *ret_reason);
void exception_wake(void);
struct rte_mbuf *exception_copy(struct fp_worker *w, const struct rte_mbuf *m);
void exception_show(struct fp_worker *w, uint16_t port, struct rte_mbuf *copy, bool sent);

/* rings.c; control thread */
void rings_init(struct shm *stats);
void rings_look(void);
