// SPDX-License-Identifier: BSD-3-Clause
/* The writer's side of an M-trie: route.h tells how it looks and how it is read. One thread writes; readers never stop.
 *
 * The trie holds, for each address, the value of the longest prefix over it. It doesn't remember covered prefixes: who
 * removes a prefix says what shows up from beneath.
 *
 * When lines run out, a range around the prefix is pinned: an IPv4 /16, an IPv6 /32 or /16. The whole range reads as the
 * trie's `fallback` value then, which means "Linux decides", until all longer prefixes in it are gone, or mtrie_unpin. So a
 * full trie costs speed, never a wrong answer. An eighth of the lines is kept for changes, for pins, and for prefixes no longer
 * than such a range. */
#pragma once

#include "features/route/mtrie_lines.h"
#include "features/route/route.h"
#include "fpmd/fpm.h"

struct mtrie {
	struct mtrie_root_row *roots;
	struct mtrie_lines lines;
	uint8_t bits;	   /* of an address: 32 or 128 */
	uint32_t fallback; /* value of pinned ranges */
	/* How many prefixes lie in each range that may be pinned, hashed. */
	struct mtrie_census **census;
	uint32_t n_census;
	uint32_t n_pins;
	uint32_t n_pinned; /* prefixes counted in pinned ranges; in two of them: twice */
};

/* What a prefix's removal uncovers. */
struct mtrie_cover {
	uint32_t value; /* 0: nothing */
	uint8_t plen;
};

/* Finds the longest prefix of at most @plen bits over @addr, among all that were set. */
typedef struct mtrie_cover mtrie_cover_fn(void *arg, uint32_t root, const uint8_t *addr,
					  uint8_t plen);

/* Rows of the table @root_table are named by number; who gives them out is the caller's business. */
int mtrie_init(struct mtrie *t, struct fpm *fpm, const char *root_table, const char *line_table,
	       uint8_t bits, uint32_t fallback, struct err *err);
void mtrie_close(struct mtrie *t);

/* A prefix that wasn't there. -ENOSPC: a range over it is pinned now; the prefix counts as there all the same and needs its
 * mtrie_remove. -ENOMEM: nothing was done. */
int mtrie_add(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value);

/* Another value for a prefix that is there. Also puts in one that counts as there since its range was pinned. -ENOSPC: a
 * range over it is pinned. */
int mtrie_change(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value);

/* Removes a prefix that is there. @cover tells what is beneath; it must not find the prefix itself any more. */
void mtrie_remove(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen,
		  mtrie_cover_fn *cover, void *arg);

/* Whether there is room again for @n prefixes more, wherever they lie. */
bool mtrie_room(const struct mtrie *t, uint32_t n);

/* Takes all pins away: their ranges read as what covers them until each prefix in them that is there has had its
 * mtrie_change. How many prefixes that are, at the most. */
uint32_t mtrie_pinned(const struct mtrie *t);
void mtrie_unpin(struct mtrie *t, mtrie_cover_fn *cover, void *arg);
