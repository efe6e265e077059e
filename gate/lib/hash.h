// SPDX-License-Identifier: BSD-3-Clause
/* A hash of some bytes, for tables that nobody attacks: whoever could choose the keys is root already. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t hash_bytes(uint32_t seed, const void *bytes, size_t len)
{
	uint64_t h = 0x9e3779b97f4a7c15ULL * (seed + 1);
	const uint8_t *at = bytes;

	while (len) {
		uint64_t word = 0;
		size_t n = len < 8 ? len : 8;

		memcpy(&word, at, n);
		h = (h ^ word) * 0xbf58476d1ce4e5b9ULL;
		h ^= h >> 29;
		at += n;
		len -= n;
	}
	h *= 0x94d049bb133111ebULL;
	return (uint32_t)(h >> 32);
}
