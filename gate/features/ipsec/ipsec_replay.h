// SPDX-License-Identifier: BSD-3-Clause
/* The anti-replay window (RFC 4303, 3.4.3 and appendix A) without a lock: any worker may check and note any packet of an SA.
 *
 * Sequence numbers are 64 bits here; without ESN the upper half is 0. What was seen stands in a ring of blocks of 32 numbers,
 * each one word: the block's number (its lowest 32 bits) above 32 bits, one for each number. So a block is taken over by a
 * newer one and gets its first bit in one step, and no worker ever clears what another has set. Blocks that lie so far
 * apart that they share a word can't both be in a window (IPSEC_WINDOW_MAX). */
#pragma once

#include "features/ipsec/ipsec.h"

enum ipsec_seen {
	IPSEC_NEW,
	IPSEC_REPLAY, /* seen before */
	IPSEC_LATE,   /* below the window */
};

static_assert(IPSEC_BLOCKS >= 2 * (IPSEC_WINDOW_MAX / 32 + 1) - 2 &&
	      !(IPSEC_BLOCKS & (IPSEC_BLOCKS - 1)));

/* The whole number of a packet that carries its lower half @low; @top: the highest one so far (RFC 4303, A2.2). */
static inline uint64_t ipsec_seq_whole(uint32_t low, uint64_t top, uint32_t window)
{
	uint32_t t = (uint32_t)top, high = (uint32_t)(top >> 32);
	uint32_t bottom = t - window + 1;

	if (t >= window - 1) {
		/* The window lies within one subspace. */
		if (low < bottom)
			high++;
	} else if (low >= bottom) {
		high--;
	}
	return (uint64_t)high << 32 | low;
}

/* Before a packet is decrypted: whether it can be new. */
static inline enum ipsec_seen ipsec_replay_look(const struct ipsec_sa_state_row *s, uint64_t seq,
						uint32_t window)
{
	uint64_t top = atomic_load_explicit(&s->received, memory_order_relaxed);
	uint64_t block, word;

	if (seq > top)
		return IPSEC_NEW;
	if (top - seq >= window)
		return IPSEC_LATE;
	block = seq >> 5;
	word = atomic_load_explicit(&s->blocks[block & (IPSEC_BLOCKS - 1)], memory_order_relaxed);
	return word >> 32 == (uint32_t)block && word >> (seq & 31) & 1 ? IPSEC_REPLAY : IPSEC_NEW;
}

/* After it proved right: notes it, unless somebody was faster. */
static inline enum ipsec_seen ipsec_replay_note(struct ipsec_sa_state_row *s, uint64_t seq,
						uint32_t window)
{
	uint64_t block = seq >> 5, bit = 1ULL << (seq & 31);
	_Atomic uint64_t *at = &s->blocks[block & (IPSEC_BLOCKS - 1)];
	uint64_t word = atomic_load_explicit(at, memory_order_relaxed), next;
	uint64_t top = atomic_load_explicit(&s->received, memory_order_relaxed);

	if (seq <= top && top - seq >= window)
		return IPSEC_LATE;
	do {
		int32_t newer = (int32_t)((uint32_t)block - (uint32_t)(word >> 32));

		if (newer < 0)
			return IPSEC_LATE;
		if (!newer && word & bit)
			return IPSEC_REPLAY;
		next = newer ? block << 32 | bit : word | bit;
	} while (!atomic_compare_exchange_weak_explicit(at, &word, next, memory_order_relaxed,
							memory_order_relaxed));
	while (seq > top &&
	       !atomic_compare_exchange_weak_explicit(&s->received, &top, seq, memory_order_relaxed,
						      memory_order_relaxed))
		;
	return IPSEC_NEW;
}
