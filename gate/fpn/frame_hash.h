// SPDX-License-Identifier: BSD-3-Clause
/* A hash over a frame's flow, to sort flows onto workers where the device doesn't (RSS). All packets of a flow have the same:
 * addresses, protocol, and ports of TCP, UDP, SCTP; of IPv4 fragments, and behind IPv6 extension headers, no ports; of
 * what isn't IP, the MAC addresses and the ethertype. Up to two VLAN tags are looked through. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>

/* Pure; reads nothing beyond the @len bytes at @frame, which starts with the Ethernet header and may be of any length. */
uint32_t frame_hash(const uint8_t *frame, size_t len);

/* Of a received packet: the device's if it has computed one. */
static inline uint32_t packet_hash(const struct rte_mbuf *m)
{
	return m->ol_flags & RTE_MBUF_F_RX_RSS_HASH
		       ? m->hash.rss
		       : frame_hash(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}
