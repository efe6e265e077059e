// SPDX-License-Identifier: BSD-3-Clause
/* DPDK's devices as ports. A port's number is its DPDK port number too, so that mbuf.port needs no translation. Control
 * thread only. */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include <rte_mempool.h>

#include "fastpath/plan.h"
#include "features/port/port.h"
#include "lib/err.h"

struct fpn_port {
	const struct plan_port *plan;
	uint16_t id;
	uint16_t n_rxq, n_txq;
	uint16_t n_rxd;		   /* descriptors of a receive queue */
	uint64_t underlay_dropped; /* what the underlay had dropped before */
	char driver[24];	   /* of DPDK */
	char underlay
		[IFNAMSIZ]; /* the interface of Linux below net_af_packet and net_af_xdp, else "" */
	uint8_t mac[6];	    /* that the device filters by */
	uint8_t linux_mac[6]; /* for a new TAP */
	bool started;
};

/* Starts DPDK's EAL; lcore 0 is this thread, lcores 1 to n_cores the workers, the one behind them the exception thread.
 * @debug: DPDK's messages on standard error. Once a process. */
int eal_start(const struct plan *plan, const char *instance, bool debug, struct err *err);

/* What DPDK complained of last, "" if it didn't: for hints. */
const char *eal_complaint(void);

/* The buffers for packets received on CPU socket @socket, made at the first call; NULL: no memory. */
struct rte_mempool *eal_pool(const struct plan *plan, int socket, struct err *err);

/* Opens the device of @plan->ports[@id], not yet started. All ports are opened in order before any other DPDK port. */
int port_open(struct fpn_port *ret, const struct plan *plan, unsigned id, struct err *err);

/* Starts to receive. @mac: what Linux calls the port's address. */
int port_start(struct fpn_port *port, const uint8_t mac[6], struct err *err);
void port_close(struct fpn_port *port);

/* Linux changed MAC or MTU. Best effort. */
void port_set_mac(struct fpn_port *port, const uint8_t mac[6]);
void port_set_mtu(struct fpn_port *port, uint16_t mtu);

/* Counters since port_open, and link, into @row. */
void port_read(const struct fpn_port *port, struct port_state_row *row);
