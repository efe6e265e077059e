// SPDX-License-Identifier: BSD-3-Clause
/* The last step of a packet on its way out of an Ethernet port, inline for those who send bursts. */
#pragma once

#include <sys/socket.h>

#include <rte_ether.h>

#include "fastpath/fp.h"
#include "features/iface/iface.h"
#include "features/neigh/neigh.h"

/* Bytes before decapsulated data: what l2_len can hold, less another Ethernet header. */
#define IFACE_HEADERS_MAX (127 - RTE_ETHER_HDR_LEN)

/* A neighbour's Ethernet header as the two words it is read in (see neigh_apply.c). */
struct ether_words {
	uint64_t first, second;
};

static inline bool ether_valid(const struct ether_words *l2)
{
	return l2->second >> 48 & 0xff;
}

/* Worker: the second word first, so that a valid header is complete. */
static inline struct ether_words ether_load(const struct neigh_row *neigh)
{
	const _Atomic uint64_t *at = (const _Atomic uint64_t *)(const void *)neigh->l2;
	struct ether_words ret;

	ret.second = atomic_load_explicit(&at[1], memory_order_acquire);
	ret.first = atomic_load_explicit(&at[0], memory_order_relaxed);
	return ret;
}

/* Puts the header in front of @m, whose headroom has place for it. @type: network byte order. */
static inline void ether_put(struct rte_mbuf *m, const struct ether_words *l2, uint16_t type)
{
	char *at;
	uint32_t tail = (uint32_t)l2->second;

	m->data_off -= RTE_ETHER_HDR_LEN;
	m->data_len += RTE_ETHER_HDR_LEN;
	m->pkt_len += RTE_ETHER_HDR_LEN;
	at = rte_pktmbuf_mtod(m, char *);
	memcpy(at, &l2->first, 8);
	memcpy(at + 8, &tail, 4);
	memcpy(at + 12, &type, 2);
}

/* Worker: takes @len bytes of headers off the front of @m, for iface_receive. They stay before the data, unchanged. False: that
 * doesn't work (more than l2_len can count, or not in the first segment); nothing was done, and Linux should have it. */
static inline bool iface_decapsulate(struct rte_mbuf *m, uint16_t len)
{
	if (m->l2_len + len > IFACE_HEADERS_MAX || len > m->data_len)
		return false;
	m->l2_len += len;
	m->data_off += len;
	m->data_len -= len;
	m->pkt_len -= len;
	return true;
}

/* Packets sent on one interface after another, added to its counters when it changes and at the end. */
struct tx_tally {
	uint32_t iface;
	/* Where in struct iface_stats_row the counters of forwarded packets' protocol are (IP_COUNTERS); 0: not counted */
	uint32_t ip;
	uint64_t sum; /* packets in the upper 16 bits, bytes in the others */
	uint64_t all; /* the same of those that were added already */
};

#define TALLY_PACKETS(sum) ((sum) >> 48)
#define TALLY_BYTES(sum)   ((sum) & 0xffffffffffffULL)

#define IP_COUNTERS(family)                                                                        \
	((family) == AF_INET ? offsetof(struct iface_stats_row, ip4)                               \
			     : offsetof(struct iface_stats_row, ip6))

static inline struct ip_counters *ip_counters(struct iface_stats_row *row, uint32_t ip)
{
	return (struct ip_counters *)(void *)((char *)row + ip);
}

static inline void tx_tally_end(const struct fp_worker *w, struct tx_tally *t)
{
	struct iface_stats_row *s = iface_stats(w->id, t->iface);
	uint64_t packets = TALLY_PACKETS(t->sum), bytes = TALLY_BYTES(t->sum);

	s->tx_packets += packets;
	s->tx_bytes += bytes;
	if (t->ip) {
		struct ip_counters *c = ip_counters(s, t->ip);

		c->out_forwarded += packets;
		c->out_packets += packets;
		c->out_bytes += bytes - packets * RTE_ETHER_HDR_LEN;
	}
	t->all += t->sum;
	t->sum = 0;
}

/* At most 64 Ki packets until the end. */
static inline void tx_tally_add(const struct fp_worker *w, struct tx_tally *t, uint32_t iface,
				uint32_t bytes)
{
	if (iface != t->iface) {
		if (t->sum)
			tx_tally_end(w, t);
		t->iface = iface;
	}
	t->sum += 1ULL << 48 | bytes;
}
