// SPDX-License-Identifier: BSD-3-Clause
/* Packets (DPDK's mbufs) and bursts of them, where DPDK has no word for it. The owner's thread. */
#pragma once

#include <sys/uio.h>

#include <rte_mbuf.h>

/* With the address sanitizer the packet harness lets nobody touch what lies behind a packet in its buffers. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define PACKET_UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define PACKET_UNPOISON(at, size) ((void)(at), (void)(size))
#endif

/* The run of packets with the same m->port that starts at @pkts[@from]: its end, from @from + 1 to @n. */
static inline unsigned packets_run(struct rte_mbuf *const *pkts, unsigned from, unsigned n)
{
	unsigned to = from + 1;

	while (to < n && pkts[to]->port == pkts[from]->port)
		to++;
	return to;
}

/* @len bytes more at the end of @m, for the caller to fill; NULL: there's no room in its last buffer. */
static inline void *packet_append(struct rte_mbuf *m, uint16_t len)
{
	struct rte_mbuf *last = rte_pktmbuf_lastseg(m);

	if (rte_pktmbuf_tailroom(last) < len)
		return NULL;
	PACKET_UNPOISON(rte_pktmbuf_mtod_offset(last, char *, last->data_len), len);
	return rte_pktmbuf_append(m, len);
}

/* The pieces of @m for the kernel, into @ret[@max]: how many there are; more than @max: the rest isn't in @ret. */
static inline unsigned packet_pieces(const struct rte_mbuf *m, struct iovec *ret, unsigned max)
{
	unsigned n = 0;

	for (; m; m = m->next, n++)
		if (n < max)
			ret[n] = (struct iovec){rte_pktmbuf_mtod(m, void *), m->data_len};
	return n;
}
