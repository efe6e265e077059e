// SPDX-License-Identifier: BSD-3-Clause
#include "features/ip/ip_fragment.h"

#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>

#define HEADER	   sizeof(struct rte_ipv4_hdr)
#define LENGTH_MAX 65535U

/* @size bytes of @m's payload from @at on, behind a header of their own. */
static struct rte_mbuf *make(const struct rte_mbuf *m, uint32_t at, uint32_t size, uint16_t offset)
{
	struct rte_mbuf *ret = rte_pktmbuf_copy(m, m->pool, HEADER + at, size);
	struct rte_ipv4_hdr *ip;

	if (!ret)
		return NULL;
	ip = (struct rte_ipv4_hdr *)rte_pktmbuf_prepend(ret, HEADER);
	if (!ip) {
		rte_pktmbuf_free(ret);
		return NULL;
	}
	memcpy(ip, rte_pktmbuf_mtod(m, const void *), HEADER);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(HEADER + size));
	ip->fragment_offset = rte_cpu_to_be_16(offset);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	return ret;
}

int ip_fragment(struct rte_mbuf *m, uint32_t len, uint32_t mtu,
		struct rte_mbuf *ret[IP_FRAGMENTS_MAX])
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	uint16_t field = rte_be_to_cpu_16(ip->fragment_offset);
	uint32_t first = (uint32_t)(field & RTE_IPV4_HDR_OFFSET_MASK) << 3;
	uint32_t left = len - HEADER, room, at = 0;
	unsigned n = 0;

	if (field & RTE_IPV4_HDR_DF_FLAG || mtu < HEADER + 8 || first + left > LENGTH_MAX)
		return -EMSGSIZE;
	room = mtu - HEADER;
	/* The last one may have a rest that's no multiple of 8. */
	if ((left + (room & ~7U) - 1) / (room & ~7U) > IP_FRAGMENTS_MAX)
		return -EMSGSIZE;
	while (left) {
		uint32_t size = left <= room ? left : room & ~7U;
		uint16_t offset = (uint16_t)((first + at) >> 3);

		if (size < left || field & RTE_IPV4_HDR_MF_FLAG)
			offset |= RTE_IPV4_HDR_MF_FLAG;
		ret[n] = make(m, at, size, offset);
		if (!ret[n]) {
			rte_pktmbuf_free_bulk(ret, n);
			return -ENOMEM;
		}
		n++;
		at += size;
		left -= size;
	}
	rte_pktmbuf_free(m);
	return (int)n;
}
