// SPDX-License-Identifier: BSD-3-Clause
/* Ethernet: what a port received is sorted by destination and ethertype, and goes to the protocols in bursts; and the
 * interfaces' counters, which are added to once a burst. */
#include "features/iface/iface.h"

#include <errno.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_prefetch.h>

#include "fastpath/fp.h"
#include "features/iface/iface_output.h"
#include "features/port/port.h"

const struct iface_row *iface_rows;
struct iface_stats_row *iface_stats_rows;
uint32_t iface_capacity;

static_assert(IFACE_TYPES == FP_OUTPUTS_MAX);
#define MAC_BITS 0xffffffffffffULL /* of the first 8 bytes of a frame */

/* Flags that decide what becomes of a packet received here; only UP may be set. */
#define INPUT_FLAGS (FPC_IFACE_UP | FPC_IFACE_SLAVE | FPC_IFACE_FOREIGN)

/* As it came in: data is at the Ethernet header. */
static void exception(struct fp_worker *w, struct rte_mbuf *m, enum reason reason)
{
	m->l2_len = 0;
	fp_exception(w, m, reason);
}

static enum reason refusal(uint32_t iface, uint32_t flags)
{
	if (!iface)
		return EXCEPTION_UNKNOWN_IFACE;
	if (!(flags & FPC_IFACE_UP))
		return EXCEPTION_IFACE_DOWN;
	return flags & FPC_IFACE_SLAVE ? EXCEPTION_IFACE_SLAVE : EXCEPTION_IFACE_FOREIGN;
}

/* A packet that isn't for a protocol of this host. */
static __rte_noinline void other(struct fp_worker *w, struct rte_mbuf *m, uint64_t mac)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint64_t first;

	if (m->pkt_len < RTE_ETHER_HDR_LEN) {
		fp_drop(w, m, DROP_TOO_SHORT);
		return;
	}
	if (m->data_len < RTE_ETHER_HDR_LEN) {
		exception(w, m, EXCEPTION_IFACE_SPLIT_HEADER);
		return;
	}
	memcpy(&first, eth, sizeof(first));
	if (rte_is_multicast_ether_addr(&eth->dst_addr))
		exception(w, m, EXCEPTION_MULTICAST);
	else if ((first & MAC_BITS) != mac)
		fp_drop(w, m, DROP_OTHER_HOST);
	else if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_VLAN) ||
		 eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_QINQ))
		exception(w, m, EXCEPTION_IFACE_VLAN);
	else
		exception(w, m, EXCEPTION_ETHERTYPE);
}

/* Sorts by ethertype and calls the protocols; the order of packets of one protocol stays. */
static void sort(struct fp_worker *w, uint32_t iface, uint64_t mac, struct rte_mbuf **pkts,
		 uint16_t n)
{
	struct rte_mbuf *sorted[FP_ETHERTYPES_MAX + 1][FP_BURST];
	uint16_t count[FP_ETHERTYPES_MAX + 1] = {0};
	uint32_t seen = 0; /* bit an index */

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		const char *at = rte_pktmbuf_mtod(m, const char *);
		uint64_t first;
		uint16_t type;
		uint8_t index;

		if (unlikely(m->data_len < RTE_ETHER_HDR_LEN)) {
			other(w, m, mac);
			continue;
		}
		memcpy(&first, at, sizeof(first));
		memcpy(&type, at + 12, sizeof(type));
		index = fp_ethertype_index[type];
		if (unlikely((first & MAC_BITS) != mac || !index)) {
			other(w, m, mac);
			continue;
		}
		m->data_off += RTE_ETHER_HDR_LEN;
		m->data_len -= RTE_ETHER_HDR_LEN;
		m->pkt_len -= RTE_ETHER_HDR_LEN;
		m->tx_offload = RTE_ETHER_HDR_LEN; /* l2_len; nothing else of it is used */
		sorted[index][count[index]++] = m;
		seen |= 1U << index;
	}
	while (seen) {
		unsigned index = rte_ctz32(seen);

		seen &= seen - 1;
		fp_ethertype_input(index)(w, iface, sorted[index], count[index]);
	}
}

static void ether_input(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	uint32_t iface = atomic_load_explicit((const _Atomic uint32_t *)&port_rows[port].iface,
					      memory_order_acquire);
	const struct iface_row *row = &iface_rows[iface];
	uint32_t flags =
		atomic_load_explicit((const _Atomic uint32_t *)&row->flags, memory_order_acquire);
	uint64_t mac = atomic_load_explicit((const _Atomic uint64_t *)(const void *)row->mac,
					    memory_order_relaxed) &
		       MAC_BITS;
	uint64_t exceptions = w->exceptions, exception_bytes = w->exception_bytes;
	uint64_t drops = w->drops, bytes = 0;
	struct iface_stats_row *s = iface_stats(w->id, iface);

	fp_trace(w, TRACE_IFACE, iface);
	for (uint16_t i = 0; i < n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
		bytes += pkts[i]->pkt_len;
	}
	if (likely((flags & INPUT_FLAGS) == FPC_IFACE_UP))
		sort(w, iface, mac, pkts, n);
	else
		for (uint16_t i = 0; i < n; i++)
			exception(w, pkts[i], refusal(iface, flags));

	exceptions = w->exceptions - exceptions;
	exception_bytes = w->exception_bytes - exception_bytes;
	s->rx_packets += n - exceptions;
	s->rx_bytes += bytes - exception_bytes;
	s->rx_dropped += w->drops - drops;
	s->exceptions += exceptions;
}

/* For those who send single packets. */
static void output(struct fp_worker *w, uint32_t iface, uint32_t neigh, struct rte_mbuf *m)
{
	struct ether_words l2 = ether_load(&neigh_rows[neigh]);
	struct tx_tally tally = {.iface = iface, .packets = 1};
	const uint8_t *header = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t type =
		header[0] >> 4 == 6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4);

	if (rte_pktmbuf_headroom(m) < RTE_ETHER_HDR_LEN) {
		fp_drop(w, m, DROP_NO_MBUF);
		return;
	}
	tally.bytes = m->pkt_len + RTE_ETHER_HDR_LEN;
	ether_output(w, iface_rows[iface].port, &l2, type, m);
	tx_tally_end(w, &tally);
}

/* The port didn't take them; they stand in tx_packets as well. */
static void tx_full(struct fp_worker *w, uint16_t port, uint16_t n)
{
	iface_stats(w->id, port_rows[port].iface)->tx_dropped += n;
}

static int init(struct err *err)
{
	fp_hooks.ether_input = ether_input;
	fp_hooks.tx_full = tx_full;
	return fp_register_output(IFACE_PORT, output);
}

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	uint32_t rows = shm_find(config, "iface")->capacity;
	uint32_t room = shm_find(stats, "iface_stats")->capacity / WORKERS_MAX;

	if (room < rows)
		return err_set(err, EPROTO,
			       "fpmd has room for %u interfaces, fp-rte was started with %u", rows,
			       room);
	iface_rows = shm_rows(config, "iface");
	iface_stats_rows = shm_rows(stats, "iface_stats");
	iface_capacity = rows;
	return 0;
}

const struct fp_feature iface_fastpath = {.init = init, .attach = attach};
