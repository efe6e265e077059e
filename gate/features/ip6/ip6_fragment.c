// SPDX-License-Identifier: BSD-3-Clause
#include "features/ip6/ip6_fragment.h"

#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>

#define HEADER	      sizeof(struct rte_ipv6_hdr)
#define NEXT_FRAGMENT 44

struct fragment_header {
	uint8_t next, reserved;
	uint16_t offset; /* network byte order; bit 0: more */
	uint32_t id;
};

/* @size bytes of @m's payload from @at on, behind headers of their own. */
static struct rte_mbuf *make(const struct rte_mbuf *m, uint32_t at, uint32_t size, bool more,
			     uint32_t id)
{
	struct rte_mbuf *ret = rte_pktmbuf_copy(m, m->pool, HEADER + at, size);
	const struct rte_ipv6_hdr *whole = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
	struct fragment_header fragment = {
		.next = whole->proto,
		.offset = rte_cpu_to_be_16((uint16_t)(at | more)),
		.id = id,
	};
	struct rte_ipv6_hdr *ip;

	if (!ret)
		return NULL;
	ip = (struct rte_ipv6_hdr *)rte_pktmbuf_prepend(ret, HEADER + sizeof(fragment));
	if (!ip) {
		rte_pktmbuf_free(ret);
		return NULL;
	}
	memcpy(ip, whole, HEADER);
	ip->proto = NEXT_FRAGMENT;
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(sizeof(fragment) + size));
	memcpy(ip + 1, &fragment, sizeof(fragment));
	return ret;
}

int ip6_fragment(struct rte_mbuf *m, uint32_t len, uint32_t mtu, uint32_t id,
		 struct rte_mbuf *ret[IP6_FRAGMENTS_MAX])
{
	uint32_t left = len - HEADER, at = 0;
	uint32_t room = (mtu - HEADER - sizeof(struct fragment_header)) & ~7U;
	unsigned n = 0;

	if ((left + room - 1) / room > IP6_FRAGMENTS_MAX)
		return -EMSGSIZE;
	while (left) {
		uint32_t size = left < room ? left : room;

		ret[n] = make(m, at, size, size < left, id);
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
