// SPDX-License-Identifier: BSD-3-Clause
/* Ports: which exist (config, from fp-rte by way of FPC) and how they fare (stats). */
#pragma once

#include <stdint.h>

#include "features/port/fpc_port.h"

/* Row of the config table "port"; row index: port number (row 0 is port 0 here). */
struct port_row {
	uint32_t iface; /* row in "iface" of the TAP's link; 0: Linux's link isn't known yet */
	uint32_t tap_ifindex; /* 0: no such port */
	uint8_t mac[6];
	uint8_t pad[2];
	char name[16];
	uint64_t netns; /* of the TAP, as in struct fpc_port */
	uint32_t pad2[6];
};
static_assert(sizeof(struct port_row) == 64);

/* Row of the stats table "port_state"; row index: port number. Written by fp-rte's control thread about ten times a second
 * (counters of the device) and at start-up. */
struct port_state_row {
	char name[16];	 /* "": no such port */
	char driver[24]; /* of DPDK, such as net_virtio */
	char device[64]; /* PCI address or virtual device as configured */
	char backend[8]; /* "vhost" or "queue" */
	uint8_t mac[6];
	uint8_t link_up;
	uint8_t capturing; /* copies go to packet sockets on the TAP */
	uint32_t speed;	   /* Mbit/s; 0: unknown */
	uint32_t tap_ifindex;
	uint16_t n_rxq, n_txq;
	uint32_t mtu;
	uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, rx_nombuf;
	uint64_t tx_packets, tx_bytes, tx_errors;
	uint64_t to_linux_packets, to_linux_bytes;     /* written to the TAP */
	uint64_t from_linux_packets, from_linux_bytes; /* read from it */
	uint64_t tap_drops;			       /* not taken by the TAP */
	uint64_t
		overloads; /* how often a receive queue became overloaded (gate/fastpath/README.md) */
	uint64_t captured; /* copies shown to packet sockets on the TAP */
	uint64_t
		captured_sent; /* of these, sent packets: Linux counts each as dropped by the TAP */
	/* For the truth of `ip -s link`. Of tap_drops: packets for Linux that it hasn't counted as dropped; packets of Linux, which
	 * it has counted as sent */
	uint64_t to_linux_lost, to_linux_lost_bytes;
	uint64_t from_linux_lost, from_linux_lost_bytes;
	uint64_t netns; /* where the TAP is: SO_NETNS_COOKIE; 0: where fp-rte is */
	uint64_t pad[2];
};
static_assert(sizeof(struct port_state_row) == 320);

#define PORT_NONE UINT32_MAX
/* fpmd: the port that stands behind a link of Linux, or PORT_NONE; and which row of "iface" that link has now (0: none). */
uint32_t port_of_iface(uint32_t vrf, uint32_t ifindex);
void port_set_iface(uint32_t port, uint32_t iface);
/* fpmd: VRF @vrf came, went, or is another namespace now. */
void port_vrf_changed(uint32_t vrf);

/* fp-rte: the attached table. */
extern const struct port_row *port_rows;
