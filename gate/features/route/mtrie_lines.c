// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/mtrie_lines.h"

#include <errno.h>
#include <stdlib.h>

/* What stands in a free piece's first line. */
struct chain {
	uint32_t next, previous;
};

static struct chain *chain_of(const struct mtrie_lines *l, uint32_t line)
{
	return (struct chain *)(void *)&l->lines[line];
}

static void push(struct mtrie_lines *l, uint32_t line, unsigned order)
{
	struct chain *c = chain_of(l, line);

	*c = (struct chain){.next = l->free[order]};
	if (c->next)
		chain_of(l, c->next)->previous = line;
	l->free[order] = line;
	l->order[line] = (uint8_t)(order + 1);
}

static void take(struct mtrie_lines *l, uint32_t line, unsigned order)
{
	struct chain *c = chain_of(l, line);

	if (c->next)
		chain_of(l, c->next)->previous = c->previous;
	if (c->previous)
		chain_of(l, c->previous)->next = c->next;
	else
		l->free[order] = c->next;
	l->order[line] = 0;
}

/* A piece that was never given out. What lies before the next multiple of its size is free from now on. */
static uint32_t fresh(struct mtrie_lines *l, unsigned order)
{
	uint32_t size = 1U << order;
	uint32_t line = (l->next + size - 1) & ~(size - 1);

	if (line + size > l->dir->capacity)
		return 0;
	while (l->next < line) {
		unsigned gap = (unsigned)__builtin_ctz(l->next);

		push(l, l->next, gap);
		l->next += 1U << gap;
	}
	l->next = line + size;
	return line;
}

uint32_t mtrie_lines_get(struct mtrie_lines *l, unsigned order)
{
	uint32_t line = 0;
	unsigned from = order;

	while (from < MTRIE_ORDERS && !l->free[from])
		from++;
	if (from < MTRIE_ORDERS) {
		line = l->free[from];
		take(l, line, from);
		while (from > order) {
			from--;
			push(l, line + (1U << from), from);
		}
	} else {
		line = fresh(l, order);
	}
	if (line)
		shm_count(l->dir, 1 << order);
	return line;
}

static void put(void *arg, uint32_t packed)
{
	struct mtrie_lines *l = arg;
	uint32_t line = packed & MTRIE_LINE;
	unsigned order = packed >> 29;

	shm_count(l->dir, -(1 << order));
	l->fpm->freed = true;
	for (; order + 1 < MTRIE_ORDERS; order++) {
		uint32_t buddy = line ^ 1U << order;

		if (buddy >= l->dir->capacity || l->order[buddy] != order + 1)
			break;
		take(l, buddy, order);
		line &= ~(1U << order);
	}
	push(l, line, order);
}

void mtrie_lines_put_later(struct mtrie_lines *l, uint32_t line, unsigned order)
{
	fpm_defer(l->fpm, put, l, line | order << 29);
}

uint32_t mtrie_lines_left(const struct mtrie_lines *l)
{
	return l->dir->capacity - 1 - atomic_load_explicit(&l->dir->used, memory_order_relaxed);
}

int mtrie_lines_init(struct mtrie_lines *l, struct fpm *fpm, const char *table, struct err *err)
{
	struct shm_table_dir *dir = shm_find(&fpm->config, table);

	if (!dir)
		return err_set(err, EPROTO, "the config file has no table '%s'", table);
	mtrie_lines_fini(l);
	*l = (struct mtrie_lines){
		.fpm = fpm,
		.dir = dir,
		.lines = shm_rows(&fpm->config, table),
		.next = 1,
		.order = calloc(dir->capacity, 1), /* zero pages until touched */
	};
	if (!l->order)
		return err_set(err, ENOMEM, "no memory to manage table '%s'", table);
	return 0;
}

void mtrie_lines_fini(struct mtrie_lines *l)
{
	free(l->order);
	l->order = NULL;
}
