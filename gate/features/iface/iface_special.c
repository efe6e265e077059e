// SPDX-License-Identifier: BSD-3-Clause
/* The frame that carries a special exception to fpn0. */
#include "features/iface/iface_special.h"

#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>

#include "bpf/fptun/fptun.h"
#include "fastpath/fp.h"
#include "features/iface/iface.h"
#include "fpn/packets.h"

static_assert((int)FP_SPECIAL_IPSEC == (int)FPTUN_IPSEC);
static_assert(sizeof(struct fptun_trailer) == FPTUN_TRAILER_SIZE);

/* Room for the trailer behind @m; NULL: no memory. */
static void *append_trailer(struct rte_mbuf *m)
{
	void *at = packet_append(m, FPTUN_TRAILER_SIZE);
	struct rte_mbuf *tail;

	if (likely(at))
		return at;
	tail = rte_pktmbuf_alloc(m->pool);
	if (!tail)
		return NULL;
	at = rte_pktmbuf_append(tail, FPTUN_TRAILER_SIZE);
	if (!at || rte_pktmbuf_chain(m, tail)) {
		rte_pktmbuf_free(tail);
		return NULL;
	}
	return at;
}

enum reason iface_special_frame(struct rte_mbuf *m, uint32_t *ret_vrf)
{
	const struct fp_special_field *s = fp_special_field(m);
	const struct iface_row *iface = &iface_rows[s->iface];
	uint16_t inner = m->l2_len - s->headers; /* taken off since */
	struct fptun_trailer trailer = {
		.magic = RTE_BE32(FPTUN_MAGIC),
		.version = FPTUN_VERSION,
		.type = FPTUN_RECEIVED,
		.flags = s->flags,
		.vrf = rte_cpu_to_be_32(iface->vrf),
		.ifindex = rte_cpu_to_be_32(iface->ifindex),
		.mark = rte_cpu_to_be_32(s->mark),
	};
	struct rte_ether_hdr eth = {};
	void *at;

	*ret_vrf = iface->vrf;
	if (s->flags & FP_SPECIAL_IPSEC && s->mark & FPTUN_MARK_MASK)
		return DROP_SPECIAL_MARK;
	if (!iface->ifindex)
		return DROP_SPECIAL_NOT_READY;
	if (m->l2_len < s->headers || rte_pktmbuf_headroom(m) < m->l2_len)
		return DROP_NO_MBUF;
	/* Who sent it: the frame as it came in still stands in front. */
	if (s->headers >= RTE_ETHER_HDR_LEN)
		memcpy(&eth.src_addr,
		       rte_pktmbuf_mtod_offset(m, char *, -(int)m->l2_len + RTE_ETHER_ADDR_LEN),
		       RTE_ETHER_ADDR_LEN);
	if (inner)
		rte_pktmbuf_prepend(m, inner);
	if (!m->data_len)
		return DROP_NO_MBUF;
	memcpy(&eth.dst_addr, iface->mac, RTE_ETHER_ADDR_LEN);
	eth.ether_type = *rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 4
				 ? RTE_BE16(RTE_ETHER_TYPE_IPV4)
				 : RTE_BE16(RTE_ETHER_TYPE_IPV6);
	at = rte_pktmbuf_prepend(m, RTE_ETHER_HDR_LEN);
	if (!at)
		return DROP_NO_MBUF;
	memcpy(at, &eth, RTE_ETHER_HDR_LEN);
	at = append_trailer(m);
	if (!at)
		return DROP_NO_MBUF;
	memcpy(at, &trailer, sizeof(trailer));
	m->l2_len = 0;
	m->ol_flags &= ~fp_special_flag;
	return N_REASONS;
}
