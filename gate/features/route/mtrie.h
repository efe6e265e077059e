// SPDX-License-Identifier: BSD-3-Clause
/* The writer's side of an M-trie: route.h tells how it looks and how it is read. One thread writes; readers never stop.
 *
 * The trie holds, for each address, the value of the longest prefix over it. It doesn't remember covered prefixes: who
 * removes a prefix says what shows up from beneath.
 *
 * When no block is left, the slot where the prefix would have gone deeper is pinned: the whole slot (a range that is larger
 * than the prefix) reads as the trie's `fallback` value, which means "Linux decides", until all longer prefixes in the slot
 * are gone. So a full trie costs speed, never a wrong answer. */
#pragma once

#include "features/route/route.h"
#include "fpmd/fpm.h"

struct mtrie {
	struct mtrie_root_row *roots;
	struct mtrie_block_row *blocks;
	struct fpm_rows rows; /* of blocks */
	uint8_t bits;	      /* of an address: 32 or 128 */
	uint32_t fallback;    /* value of pinned slots */
	/* Pins, hashed by root, slot's prefix and its length. */
	struct mtrie_pin **pins;
	uint32_t pin_mask;
	uint32_t n_pins;
};

/* What a prefix's removal uncovers. */
struct mtrie_cover {
	uint32_t value; /* 0: nothing */
	uint8_t plen;
};

/* Finds the longest prefix of at most @plen bits over @addr, among all that were set. */
typedef struct mtrie_cover mtrie_cover_fn(void *arg, uint32_t root, const uint8_t *addr,
					  uint8_t plen);

/* Whether a prefix that is there under a pinned slot could be removed and added with success, given that it's alone. */
bool mtrie_room(const struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen);

int mtrie_init(struct mtrie *t, struct fpm *fpm, const char *root_table, const char *block_table,
	       uint8_t bits, uint32_t fallback, struct err *err);
void mtrie_close(struct mtrie *t);

/* A prefix that wasn't there. -ENOSPC: a slot over it is pinned now; the prefix counts as there all the same and needs its
 * mtrie_remove. -ENOMEM: nothing was done. */
int mtrie_add(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value);

/* Another value for a prefix that is there. */
void mtrie_change(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen,
		  uint32_t value);

/* Removes a prefix that is there. @cover tells what is beneath; it must not find the prefix itself any more. */
void mtrie_remove(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen,
		  mtrie_cover_fn *cover, void *arg);
