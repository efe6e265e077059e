// SPDX-License-Identifier: BSD-3-Clause
/* Fragmentation of IPv4 packets on their way out (RFC 791, section 3.2), with the sizes that Linux's ip_do_fragment gives. */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#define IP_FRAGMENTS_MAX 64 /* of one packet */

/* Takes @m apart into fragments of at most @mtu bytes. @m's data is a right IPv4 header without options, in the first
 * buffer; the packet is @len bytes long by it, what stands behind is left out. It may be a fragment itself. Each fragment has
 * the header of @m, with length, offset, more-fragments bit and checksum of its own; as from Linux, the reserved bit is
 * cleared. Fragments are copies from @m's pool, with its headroom.
 *
 * Returns how many, in order in @ret, and frees @m. Else -errno, and @m is as it was: -EMSGSIZE: it mustn't be fragmented, or
 * there'd be too many, or offsets beyond what a header can say; -ENOMEM: no buffers. Any worker. */
int ip_fragment(struct rte_mbuf *m, uint32_t len, uint32_t mtu,
		struct rte_mbuf *ret[IP_FRAGMENTS_MAX]);
