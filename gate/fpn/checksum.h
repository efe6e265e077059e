// SPDX-License-Identifier: BSD-3-Clause
/* The Internet checksum (RFC 1071), and what changes in it when a field changes (RFC 1624, equation 3). Sums are in the
 * byte order of the data: add up words as they lie, and store what checksum_fold gives as it is. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rte_ip.h>

/* Adds @len bytes to @sum, 0 at first. Pieces but the last must be of even length. */
static inline uint32_t checksum_add(uint32_t sum, const void *data, size_t len)
{
	return __rte_raw_cksum(data, len, sum);
}

/* The checksum of all that was added. */
static inline uint16_t checksum_fold(uint32_t sum)
{
	return (uint16_t)~__rte_raw_cksum_reduce(sum);
}

/* The same for UDP, and harmless for TCP and ICMP: 0, which says "none" there, as its other form (RFC 768). */
static inline uint16_t checksum_fold_nonzero(uint32_t sum)
{
	uint16_t check = checksum_fold(sum);

	return check ? check : 0xffff;
}

/* The checksum @check after a 16-bit field it covers went from @was to @is; all as they lie. */
static inline uint16_t checksum_replace16(uint16_t check, uint16_t was, uint16_t is)
{
	return checksum_fold((uint32_t)(uint16_t)~check + (uint16_t)~was + is);
}

static inline uint16_t checksum_replace32(uint16_t check, uint32_t was, uint32_t is)
{
	check = checksum_replace16(check, (uint16_t)was, (uint16_t)is);
	return checksum_replace16(check, (uint16_t)(was >> 16), (uint16_t)(is >> 16));
}
