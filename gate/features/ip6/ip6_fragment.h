// SPDX-License-Identifier: BSD-3-Clause
/* Fragmentation of IPv6 packets that came in fragments (RFC 8200, section 4.5): a router fragments no others. */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#define IP6_FRAGMENTS_MAX 64 /* of one packet */

/* Takes @m apart into fragments of at most @mtu bytes (1280 or more), with identification @id (network byte order). @m's data is
 * the IPv6 header, in the first buffer, of a packet of @len bytes without extension headers in front of what is fragmented.
 * Fragments are copies from @m's pool, with its headroom.
 *
 * Returns how many, in order in @ret, and frees @m. Else -errno, and @m is as it was: -EMSGSIZE: there'd be too many; -ENOMEM: no
 * buffers. Any worker. */
int ip6_fragment(struct rte_mbuf *m, uint32_t len, uint32_t mtu, uint32_t id,
		 struct rte_mbuf *ret[IP6_FRAGMENTS_MAX]);
