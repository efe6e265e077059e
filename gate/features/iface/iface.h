// SPDX-License-Identifier: BSD-3-Clause
/* Interfaces: the links of Linux as the data path sees them. */
#pragma once

#include <stdint.h>

#include "features/iface/fpc_iface.h"

enum iface_type {
	IFACE_LINUX = 0, /* only Linux can send there: packets for it are exceptions */
	IFACE_PORT = 1,	 /* Ethernet on a fast path port */
	IFACE_TYPES = 16,
};

/* Row of the config table "iface", rows 1 and up. A row outlives its link while next hops still name it: then ifindex is
 * 0 and flags too. */
struct iface_row {
	uint32_t ifindex;
	uint32_t vrf;
	uint32_t flags; /* enum fpc_iface_flags */
	uint32_t mtu;
	uint8_t mac[6]; /* with the pad one aligned word: a change is one store */
	uint8_t pad[2];
	uint8_t type; /* enum iface_type */
	uint8_t pad2;
	uint16_t port; /* of an IFACE_PORT */
	char name[16];
	char kind[16];
	uint32_t pad3;
};
static_assert(sizeof(struct iface_row) == 64);

/* Row of the stats table "iface_stats"; row index: worker * FP_MAX_INTERFACES's capacity + iface row. What the fast path
 * carried, without what it handed to Linux or took from it: Linux counts that. */
struct iface_stats_row {
	/* Forwarded or dropped by the fast path; bytes with the Ethernet header */
	uint64_t rx_packets, rx_bytes;
	uint64_t tx_packets, tx_bytes; /* sent */
	uint64_t rx_dropped,
		tx_dropped;  /* those of tx are in tx_packets too: the port didn't take them */
	uint64_t exceptions; /* received here and handed to Linux */
	uint64_t pad;
};
static_assert(sizeof(struct iface_stats_row) == 64);

/* fp-rte: the attached tables. */
extern const struct iface_row *iface_rows;
extern struct iface_stats_row *iface_stats_rows;
extern uint32_t iface_capacity;

/* This worker's counters of an interface. */
static inline struct iface_stats_row *iface_stats(unsigned worker, uint32_t iface)
{
	return &iface_stats_rows[worker * iface_capacity + iface];
}

/* fpmd: the row of an interface, 0 if there's none; and a reference that keeps the row (not the interface) alive. */
uint32_t iface_lookup(uint32_t vrf, uint32_t ifindex);
void iface_ref(uint32_t row);
void iface_unref(uint32_t row);
const struct iface_row *iface_get(uint32_t row);
/* fpmd: the port behind the link @ifindex came or went; the link needn't be known. */
void iface_port_changed(uint32_t vrf, uint32_t ifindex);
