// SPDX-License-Identifier: BSD-3-Clause
/* The lines that an M-trie's nodes are made of, given out in pieces of 1, 2, 4, 8 or 16 (order 0 to 4). A buddy allocator:
 * a piece lies at a multiple of its size; two free halves of one become one again. What is free is chained through the free
 * lines themselves. */
#pragma once

#include "features/route/route.h"
#include "fpmd/fpm.h"

#define MTRIE_ORDERS 5

struct mtrie_lines {
	struct fpm *fpm;
	struct shm_table_dir *dir;
	struct mtrie_line_row *lines;
	uint32_t next;		     /* all from here on were never given out */
	uint32_t free[MTRIE_ORDERS]; /* first free piece; 0: none */
	uint8_t *order; /* of a free piece, by its first line: 1 and its order; else 0 */
};

int mtrie_lines_init(struct mtrie_lines *l, struct fpm *fpm, const char *table, struct err *err);
void mtrie_lines_fini(struct mtrie_lines *l);

/* First line of a piece of that order, not cleared; 0: none left. */
uint32_t mtrie_lines_get(struct mtrie_lines *l, unsigned order);

/* Gives it back once no worker can see it any more. It must be unlinked by the time fpm_defer_work is called. */
void mtrie_lines_put_later(struct mtrie_lines *l, uint32_t line, unsigned order);

/* How many are free, in pieces of any size. */
uint32_t mtrie_lines_left(const struct mtrie_lines *l);
