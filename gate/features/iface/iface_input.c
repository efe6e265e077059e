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
#include "features/iface/iface_special.h"
#include "features/port/port.h"

const struct iface_row *iface_rows;
struct iface_stats_row *iface_stats_rows;
uint32_t iface_capacity;

static_assert(IFACE_TYPES == FP_OUTPUTS_MAX);
#define MAC_BITS 0xffffffffffffULL /* of the first 8 bytes of a frame */

/* Flags that decide what becomes of a packet received here; only UP may be set. */
#define INPUT_FLAGS (FPC_IFACE_UP | FPC_IFACE_SLAVE | FPC_IFACE_FOREIGN)

/* What has come in on a port is at its Ethernet header, whatever its driver left in l2_len. What was decapsulated has what it
 * was in before it (iface_receive). */
enum origin { FROM_PORT, DECAPSULATED };

static void exception(struct fp_worker *w, struct rte_mbuf *m, enum origin origin,
		      enum reason reason)
{
	if (origin == FROM_PORT)
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
static __rte_noinline void other(struct fp_worker *w, uint32_t iface, struct rte_mbuf *m,
				 uint64_t mac, enum origin origin)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint64_t first;

	if (m->pkt_len < RTE_ETHER_HDR_LEN) {
		fp_drop(w, m, DROP_TOO_SHORT);
		return;
	}
	if (m->data_len < RTE_ETHER_HDR_LEN) {
		exception(w, m, origin, EXCEPTION_IFACE_SPLIT_HEADER);
		return;
	}
	memcpy(&first, eth, sizeof(first));
	if (rte_is_multicast_ether_addr(&eth->dst_addr))
		exception(w, m, origin, EXCEPTION_MULTICAST);
	else if ((first & MAC_BITS) != mac) {
		iface_stats(w->id, iface)->rx_other_host++;
		fp_drop(w, m, DROP_OTHER_HOST);
	} else if (eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_VLAN) ||
		   eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_QINQ))
		exception(w, m, origin, EXCEPTION_IFACE_VLAN);
	else
		exception(w, m, origin, EXCEPTION_ETHERTYPE);
}

/* Takes the Ethernet header off; all three lengths in two words. */
static inline void ether_pull(struct rte_mbuf *m)
{
	static_assert(offsetof(struct rte_mbuf, data_len) ==
		      offsetof(struct rte_mbuf, pkt_len) + sizeof(m->pkt_len));
	uint64_t lengths;

	m->data_off += RTE_ETHER_HDR_LEN;
	memcpy(&lengths, &m->pkt_len, sizeof(lengths));
	lengths -= RTE_ETHER_HDR_LEN * (1ULL << 32 | 1);
	memcpy(&m->pkt_len, &lengths, sizeof(lengths));
}

/* Which protocol takes the frame: its index, 0: none, or it isn't for this host. Of others nothing is changed. */
static __rte_always_inline uint8_t pick(struct rte_mbuf *m, uint64_t mac, enum origin origin)
{
	const char *at = rte_pktmbuf_mtod(m, const char *);
	uint64_t first;
	uint16_t type;
	uint8_t index;

	if (unlikely(m->data_len < RTE_ETHER_HDR_LEN))
		return 0;
	memcpy(&first, at, sizeof(first));
	memcpy(&type, at + 12, sizeof(type));
	index = fp_ethertype_index[type];
	if (unlikely((first & MAC_BITS) != mac || !index))
		return 0;
	ether_pull(m);
	/* l2_len; nothing else of it is used */
	m->tx_offload = RTE_ETHER_HDR_LEN + (origin == FROM_PORT ? 0U : m->l2_len);
	return index;
}

/* Calls the protocols of a burst that isn't all of one; the order of packets of one protocol stays. */
static __rte_noinline void sort(struct fp_worker *w, uint32_t iface, uint64_t mac,
				struct rte_mbuf **pkts, const uint8_t *index, uint16_t n,
				enum origin origin)
{
	struct rte_mbuf *sorted[FP_ETHERTYPES_MAX + 1][FP_BURST];
	uint16_t count[FP_ETHERTYPES_MAX + 1] = {0};

	for (uint16_t i = 0; i < n; i++)
		sorted[index[i]][count[index[i]]++] = pkts[i];
	for (uint16_t i = 0; i < count[0]; i++)
		other(w, iface, sorted[0][i], mac, origin);
	for (unsigned i = 1; i <= FP_ETHERTYPES_MAX; i++)
		if (count[i])
			fp_ethertype_input(i)(w, iface, sorted[i], count[i]);
}

/* A burst of frames to its protocol: nearly always it's the same one's. */
static __rte_always_inline void dispatch(struct fp_worker *w, uint32_t iface, uint64_t mac,
					 struct rte_mbuf **pkts, uint16_t n, enum origin origin)
{
	uint8_t index[FP_BURST] = {0}, mixed = 0;

	for (uint16_t i = 0; i < n; i++) {
		index[i] = pick(pkts[i], mac, origin);
		mixed |= index[i] ^ index[0];
	}
	if (likely(!mixed && index[0]))
		fp_ethertype_input(index[0])(w, iface, pkts, n);
	else
		sort(w, iface, mac, pkts, index, n, origin);
}

static uint32_t load_flags(const struct iface_row *row)
{
	return atomic_load_explicit((const _Atomic uint32_t *)&row->flags, memory_order_acquire);
}

static uint64_t load_mac(const struct iface_row *row)
{
	return atomic_load_explicit((const _Atomic uint64_t *)(const void *)row->mac,
				    memory_order_relaxed) &
	       MAC_BITS;
}

/* Frames behind the leg RX. */
static __rte_always_inline void receive(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts,
					uint16_t n, enum origin origin)
{
	const struct iface_row *row = &iface_rows[iface];
	uint32_t flags = load_flags(row);
	uint64_t mac = load_mac(row);

	if (likely((flags & INPUT_FLAGS) == FPC_IFACE_UP))
		dispatch(w, iface, mac, pkts, n, origin);
	else
		for (uint16_t i = 0; i < n; i++)
			exception(w, pkts[i], origin, refusal(iface, flags));
}

static uint64_t stages_of(uint32_t iface, uint64_t leg)
{
	return (iface_rows[iface].stages | fp_stages_on()) & leg;
}

static void frames(struct fp_burst *b, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	*b = (struct fp_burst){.iface = iface, .vrf = iface_rows[iface].vrf, .n = n};
	for (uint16_t i = 0; i < n; i++)
		b->pkts[i] = (struct fp_packet){.m = pkts[i], .len = pkts[i]->pkt_len};
}

static uint16_t unframe(const struct fp_burst *b, struct rte_mbuf **pkts)
{
	for (uint16_t i = 0; i < b->n; i++)
		pkts[i] = b->pkts[i].m;
	return b->n;
}

/* The leg RX. Stages get frames that are exceptions as they stand: l2_len says how much is in front of them. */
static void rx_leg(struct fp_worker *w, struct fp_burst *b, uint64_t allowed)
{
	struct rte_mbuf *pkts[FP_BURST];
	uint64_t stages = stages_of(b->iface, fp_leg_stages(FP_LEG_RX)) & allowed;
	uint16_t n;

	fp_run_stages(w, stages, b);
	n = unframe(b, pkts);
	if (n)
		receive(w, b->iface, pkts, n, DECAPSULATED);
}

static __rte_noinline void rx_stages(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts,
				     uint16_t n)
{
	struct fp_burst b;

	frames(&b, iface, pkts, n);
	rx_leg(w, &b, ~0ULL);
}

static void ether_input(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	uint32_t iface = atomic_load_explicit((const _Atomic uint32_t *)&port_rows[port].iface,
					      memory_order_acquire);
	uint64_t exceptions = w->exceptions, exception_bytes = w->exception_bytes;
	uint64_t drops = w->drops, bytes = 0;
	struct iface_stats_row *s = iface_stats(w->id, iface);

	fp_trace(w, TRACE_IFACE, iface);
	for (uint16_t i = 0; i < n; i++) {
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
		bytes += pkts[i]->pkt_len;
	}
	if (unlikely(stages_of(iface, fp_leg_stages(FP_LEG_RX)))) {
		for (uint16_t i = 0; i < n; i++)
			pkts[i]->l2_len = 0;
		rx_stages(w, iface, pkts, n);
	} else {
		receive(w, iface, pkts, n, FROM_PORT);
	}

	exceptions = w->exceptions - exceptions;
	exception_bytes = w->exception_bytes - exception_bytes;
	s->rx_packets += n - exceptions;
	s->rx_bytes += bytes - exception_bytes;
	s->rx_dropped += w->drops - drops;
	s->exceptions += exceptions;
}

/* Counts what comes in on an interface that's no port, and bounds how deep it may lie. False: too deep, all dropped. */
static bool enter(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n,
		  struct iface_stats_row *ret_before)
{
	struct iface_stats_row *s = iface_stats(w->id, iface);

	fp_trace(w, TRACE_IFACE, iface);
	s->rx_packets += n;
	for (uint16_t i = 0; i < n; i++)
		s->rx_bytes += pkts[i]->pkt_len;
	if (w->depth == FP_DEPTH) {
		s->rx_dropped += n;
		for (uint16_t i = 0; i < n; i++)
			fp_drop(w, pkts[i], DROP_TOO_DEEP);
		return false;
	}
	w->depth++;
	ret_before->exceptions = w->exceptions;
	ret_before->rx_dropped = w->drops;
	return true;
}

/* Exceptions stay those of the port as well: what Linux gets is what the port received. */
static void leave(struct fp_worker *w, uint32_t iface, const struct iface_stats_row *before)
{
	struct iface_stats_row *s = iface_stats(w->id, iface);
	uint64_t exceptions = w->exceptions - before->exceptions;

	w->depth--;
	s->rx_packets -= exceptions;
	s->exceptions += exceptions;
	s->rx_dropped += w->drops - before->rx_dropped;
	w->drops = before->rx_dropped;
}

void iface_receive(struct fp_worker *w, uint32_t iface, uint16_t ethertype, struct rte_mbuf **pkts,
		   uint16_t n)
{
	uint32_t flags = load_flags(&iface_rows[iface]);
	uint8_t index = fp_ethertype_index[ethertype];
	struct iface_stats_row before;

	if (!enter(w, iface, pkts, n, &before))
		return;
	if ((flags & INPUT_FLAGS) == FPC_IFACE_UP && index)
		fp_ethertype_input(index)(w, iface, pkts, n);
	else
		for (uint16_t i = 0; i < n; i++)
			fp_exception(w, pkts[i],
				     index ? refusal(iface, flags) : EXCEPTION_ETHERTYPE);
	leave(w, iface, &before);
}

void iface_receive_frames(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	struct iface_stats_row before;

	if (!enter(w, iface, pkts, n, &before))
		return;
	if (unlikely(stages_of(iface, fp_leg_stages(FP_LEG_RX))))
		rx_stages(w, iface, pkts, n);
	else
		receive(w, iface, pkts, n, DECAPSULATED);
	leave(w, iface, &before);
}

/* The leg TX. */
static void tx_leg(struct fp_worker *w, struct fp_burst *b, uint64_t allowed)
{
	uint16_t port = iface_rows[b->iface].port;

	fp_run_stages(w, stages_of(b->iface, fp_leg_stages(FP_LEG_TX)) & allowed, b);
	for (uint16_t i = 0; i < b->n; i++)
		fp_port_send(w, port, b->pkts[i].m);
}

static __rte_noinline void tx_stages(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts,
				     uint16_t n)
{
	struct fp_burst b;

	frames(&b, iface, pkts, n);
	tx_leg(w, &b, ~0ULL);
}

static void ether_output_(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t port = iface_rows[iface].port;

	if (unlikely(stages_of(iface, fp_leg_stages(FP_LEG_TX)))) {
		tx_stages(w, iface, pkts, n);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		fp_port_send(w, port, pkts[i]);
}

/* Interfaces that Linux doesn't know yet have no stages. */
static void linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	uint32_t iface = atomic_load_explicit((const _Atomic uint32_t *)&port_rows[port].iface,
					      memory_order_acquire);

	if (unlikely(iface && stages_of(iface, fp_leg_stages(FP_LEG_TX)))) {
		tx_stages(w, iface, pkts, n);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		fp_port_send(w, port, pkts[i]);
}

/* IP packets that leave by a port. */
static void output(struct fp_worker *w, uint32_t iface, uint16_t ethertype, struct fp_send *pkts,
		   uint16_t n)
{
	struct tx_tally tally = {.iface = iface};
	struct rte_mbuf *ready[FP_BURST];
	uint16_t n_ready = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct ether_words l2 = ether_load(&neigh_rows[pkts[i].neigh]);
		struct rte_mbuf *m = pkts[i].m;

		if (unlikely(!ether_valid(&l2))) {
			fp_drop(w, m, DROP_OWN);
			continue;
		}
		if (unlikely(rte_pktmbuf_headroom(m) < RTE_ETHER_HDR_LEN)) {
			fp_drop(w, m, DROP_NO_MBUF);
			continue;
		}
		ether_put(m, &l2, ethertype);
		neigh_hit(pkts[i].neigh, w->now);
		tx_tally_add(w, &tally, iface, m->pkt_len);
		ready[n_ready++] = m;
	}
	tx_tally_end(w, &tally);
	if (n_ready)
		fp_ether_output(w, iface, ready, n_ready);
}

static void if_output(struct fp_worker *w, uint32_t iface, uint16_t ethertype, struct fp_send *pkts,
		      uint16_t n)
{
	fp_outputs[iface_rows[iface].type](w, iface, ethertype, pkts, n);
}

/* The port didn't take them; they stand in tx_packets as well. */
static void tx_full(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct iface_stats_row *s = iface_stats(w->id, port_rows[port].iface);

	s->tx_dropped += n;
	for (uint16_t i = 0; i < n; i++)
		s->tx_dropped_bytes += pkts[i]->pkt_len;
}

/* They were counted as carried when they were put aside. */
static void resumed(struct fp_worker *w, uint32_t iface, uint64_t exceptions,
		    uint64_t exception_bytes, uint64_t drops)
{
	struct iface_stats_row *s = iface_stats(w->id, iface);

	s->rx_packets -= exceptions;
	s->rx_bytes -= exception_bytes;
	s->exceptions += exceptions;
	s->rx_dropped += drops;
}

void fp_plugin_iface(uint32_t iface, struct fp_plugin_iface *ret)
{
	const struct iface_row *row = &iface_rows[iface];

	*ret = (struct fp_plugin_iface){.ifindex = row->ifindex, .vrf = row->vrf, .mtu = row->mtu};
	memcpy(ret->mac, row->mac, sizeof(ret->mac));
	memcpy(ret->name, row->name, sizeof(ret->name));
}

bool fp_plugin_decapsulate(struct rte_mbuf *m, uint16_t len)
{
	return iface_decapsulate(m, len);
}

void fp_plugin_receive(struct fp_worker *w, uint32_t iface, uint16_t ethertype,
		       struct rte_mbuf **pkts, uint16_t n)
{
	iface_receive(w, iface, ethertype, pkts, n);
}

static int init(struct err *err)
{
	fp_hooks.ether_input = ether_input;
	fp_hooks.process_linux_tx = linux_tx;
	fp_hooks.if_output = if_output;
	fp_hooks.ether_output = ether_output_;
	fp_hooks.tx_full = tx_full;
	fp_hooks.resumed = resumed;
	fp_hooks.special_frame = iface_special_frame;
	fp_register_leg(FP_LEG_RX, rx_leg);
	fp_register_leg(FP_LEG_TX, tx_leg);
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
	/* Not the config file's: rows stay where they are when fpmd comes with fewer. */
	iface_capacity = room;
	return 0;
}

const struct fp_feature iface_fastpath = {.init = init, .attach = attach};
