// SPDX-License-Identifier: BSD-3-Clause
/* Interfaces: the links of Linux as the data path sees them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "features/iface/fpc_iface.h"

struct err;
struct fp_worker;
struct fpm;
struct rte_mbuf;

enum iface_type {
	IFACE_LINUX = 0, /* only Linux can send there: packets for it are exceptions */
	IFACE_PORT = 1,	 /* Ethernet on a fast path port */
	IFACE_TYPES = 16,
};

/* In a row's flags beside those of Linux: packets that leave there meet stages. One look at the flags tells that an interface
 * needs more than the short way. */
#define IFACE_STAGES_OUT (1U << 31)
static_assert(!(FPC_IFACE_FLAGS & IFACE_STAGES_OUT));

/* Row of the config table "iface", rows 1 and up. A row outlives its link while next hops still name it: then ifindex is
 * 0 and flags too. */
struct iface_row {
	uint32_t ifindex;
	uint32_t vrf;
	uint32_t flags; /* enum fpc_iface_flags, IFACE_STAGES_OUT */
	uint32_t mtu;
	uint8_t mac[6]; /* with the pad one aligned word: a change is one store */
	uint8_t pad[2];
	uint8_t type; /* enum iface_type */
	uint8_t pad2;
	uint16_t port;	 /* of an IFACE_PORT */
	uint32_t mtu6;	 /* of IPv6 packets */
	uint64_t stages; /* bit a stage that has work here (fastpath/stage.h) */
	char name[16];
	uint32_t l3mdev; /* ifindex of its VRF device; 0: none */
	uint32_t table;	 /* row in "route_table" of that one's routing table */
};
static_assert(sizeof(struct iface_row) == 64);

/* Row of the config table "iface_kind", by the same index: what no worker asks for. */
struct iface_kind_row {
	char kind[16]; /* as in struct fpc_iface */
};

/* What Linux would have counted of IPv4 or IPv6 packets that never reached it (RFC 4293; names as in /proc/net/snmp6). Bytes
 * are from the IP header on. */
struct ip_counters {
	/* InOctets: of packets received here, and forwarded or dropped; with what stands behind the packet in its frame */
	uint64_t in_bytes;
	/* InNoECTPkts, InECT1Pkts, InECT0Pkts, InCEPkts: these packets by their ECN bits; together InReceives */
	uint64_t in_ecn[4];
	uint64_t out_forwarded; /* OutForwDatagrams: forwarded, to be sent here */
	uint64_t out_packets;	/* OutTransmits: sent here, fragments one by one */
	uint64_t out_bytes;	/* OutOctets: of these */
	uint64_t frag_oks, frag_fails, frag_creates;
};
static_assert(sizeof(struct ip_counters) == 88);

/* Row of the stats table "iface_stats"; row index: worker * capacity / WORKERS_MAX + iface row. What the fast path carried,
 * without what it handed to Linux or took from it: Linux counts that. A row is never cleared, it has had other interfaces
 * before: see struct iface_base_row. */
struct iface_stats_row {
	/* Forwarded or dropped by the fast path; bytes with the Ethernet header */
	uint64_t rx_packets, rx_bytes;
	uint64_t tx_packets, tx_bytes; /* sent */
	uint64_t rx_dropped,
		tx_dropped;	/* those of tx are in tx_packets too: the port didn't take them */
	uint64_t exceptions;	/* received here and handed to Linux */
	uint64_t rx_other_host; /* of rx_dropped: their destination is another host */
	struct ip_counters ip4, ip6;
	uint64_t tx_dropped_bytes; /* of tx_dropped */
	uint64_t
		rx_ip_dropped; /* of rx_dropped: in the IP layer, where Linux drops them too (blackhole routes) */
};
static_assert(sizeof(struct iface_stats_row) == 256);

/* Row of the config table "iface_base"; row index: as in "iface". Where the counters of the interface that has the row now
 * began: its own are what all workers' rows of "iface_stats" add up to, less these. Outlives the interface, until another one
 * gets the row. */
struct iface_base_row {
	uint64_t
		created; /* of the stats file that it's about (shm_header); with another file the base is zero */
	uint32_t vrf, ifindex; /* whose counters they are; ifindex 0: nobody's yet */
	struct iface_stats_row base;
};
static_assert(sizeof(struct iface_base_row) == 272);

/* Row of the config table "iface_retired"; row index: VRF. What was counted for interfaces of that VRF whose rows went to
 * others, so that sums over a VRF never go backwards. */
struct iface_retired_row {
	_Atomic uint32_t
		seq; /* of row 0, for all rows and "iface_base" too: odd while they are changed */
	uint32_t pad[15];
	struct iface_stats_row sum;
};
static_assert(sizeof(struct iface_retired_row) == 320);

/* fp-rte: the attached tables. */
extern const struct iface_row *iface_rows;
extern struct iface_stats_row *iface_stats_rows;
extern uint32_t iface_capacity; /* rows of one worker */

/* This worker's counters of an interface. */
static inline struct iface_stats_row *iface_stats(unsigned worker, uint32_t iface)
{
	return &iface_stats_rows[worker * iface_capacity + iface];
}

/* Worker: decapsulated packets start again on @iface (row): of @ethertype (network byte order), data at the layer 3 header; or
 * frames, data at the Ethernet header. m->l2_len bytes before it is the frame as the port received it, so that Linux can get
 * that (iface_decapsulate keeps count). 1 to FP_BURST packets; owns them. Not deeper than FP_DEPTH within each other. */
void iface_receive(struct fp_worker *w, uint32_t iface, uint16_t ethertype, struct rte_mbuf **pkts,
		   uint16_t n);
void iface_receive_frames(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n);

/* fpmd: the row of an interface, 0 if there's none; and a reference that keeps the row (not the interface) alive. */
uint32_t iface_lookup(uint32_t vrf, uint32_t ifindex);
void iface_ref(uint32_t row);
void iface_unref(uint32_t row);
const struct iface_row *iface_get(uint32_t row);
/* fpmd: a stage (enum fp_stage) has work, or none any more, for packets of the interface in @row: those that come in there, in the
 * legs OUT and TX those that leave there. A link that's gone and comes back has none. */
void iface_enable_stage(uint32_t row, unsigned stage, bool on);
/* fpmd, iface_base.c: once per config file; and when row @row got an interface, which keeps its counters (@same: it had them
 * under a former fpmd) or begins at 0. */
int iface_base_init(struct fpm *fpm, struct err *err);
void iface_base_begin(struct fpm *fpm, uint32_t row, uint32_t vrf, uint32_t ifindex, bool same);
/* fpmd: the port behind the link @ifindex came or went; the link needn't be known. */
void iface_port_changed(uint32_t vrf, uint32_t ifindex);
