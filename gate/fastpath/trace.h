// SPDX-License-Identifier: BSD-3-Clause
/* What a trace leaves in shared memory: steps of single packets, written by workers while a trace is armed. */
#pragma once

#include <stdint.h>

/* Row of the stats table "stage"; row index: enum fp_stage, in the order of a packet's way. Written at start-up, so that readers
 * need no list of their own; `everywhere` at any time. */
#define STAGES_MAX 64
struct stage_row {
	char name[32]; /* "": no such stage */
	char text[88];
	uint32_t registered; /* functions that work there */
	uint32_t
		everywhere; /* it's on for all packets (plugins); for those of interfaces and VRFs see their rows */
};
static_assert(sizeof(struct stage_row) == 128);

#define TRACE_ROWS 1024 /* of one worker: it writes them round and round */
#define TRACE_DATA 80

/* What happened to the packet; `row` is of the named table. */
enum trace_step {
	TRACE_RECEIVED = 1, /* on port `port`: its bytes */
	TRACE_FROM_LINUX,   /* Linux sent it on the TAP of `port`: its bytes */
	TRACE_IFACE,	    /* its interface: row of "iface" */
	TRACE_NEXTHOP,	    /* what the lookup found: row of "nexthop", 0: no route */
	TRACE_NEIGH,	    /* the neighbour it goes to: row of "neigh", 0: unknown */
	TRACE_SENT,	    /* on port `port`: its bytes as they left */
	TRACE_TO_LINUX,	    /* handed over on the TAP of `port`, for `reason` */
	TRACE_DROPPED,	    /* for `reason` */
	TRACE_STAGE,	    /* a stage of its way: `row` is its number, of table "stage" */
	TRACE_GROUP, /* the lookup found several next hops: row of "nexthop" that names the group; which was taken follows */
};

/* Row of the stats table "trace"; row index: worker * TRACE_ROWS + serial % TRACE_ROWS. */
struct trace_row {
	_Atomic uint64_t serial; /* of the worker's records, from 1 on; 0: none, or being written */
	uint64_t tsc;
	uint32_t session; /* that armed the trace */
	uint32_t packet;  /* the worker's number for it, from 1 on */
	uint16_t step;	  /* enum trace_step */
	uint16_t port;
	uint32_t row;
	uint32_t reason; /* enum reason */
	uint32_t len;	 /* of the frame, bytes */
	uint32_t n_data; /* bytes of it in data */
	uint8_t data[TRACE_DATA];
	uint32_t pad;
};
static_assert(sizeof(struct trace_row) == 128);

/* --- fp-cli to fp-rte, one packet each way over <run_dir>/rte.sock (SOCK_SEQPACKET). The trace is armed until the connection
 * ends; one at a time. */
#define TRACE_VERSION	 1
#define TRACE_FILTER_MAX 512 /* instructions */
#define TRACE_ANY_PORT	 0xffff

/* Classic BPF, as pcap_compile makes it for Ethernet. */
struct trace_insn {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

struct trace_request {
	uint32_t version;  /* TRACE_VERSION */
	uint32_t count;	   /* packets to follow, at least 1 */
	uint16_t port;	   /* only those that come in there; TRACE_ANY_PORT: all */
	uint16_t n_filter; /* instructions that follow; 0: all packets */
	uint32_t pad;
	struct trace_insn filter[TRACE_FILTER_MAX];
};

struct trace_reply {
	int32_t error;	  /* errno; 0: armed */
	uint32_t session; /* in the records of this trace */
	uint64_t tsc_hz;  /* of the records */
	char text[120];	  /* what is wrong */
};
