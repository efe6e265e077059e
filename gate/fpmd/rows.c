// SPDX-License-Identifier: BSD-3-Clause
/* Rows of tables, and putting off their reuse.
 *
 * What is deferred between two batches of messages shares one mark: fpm_defer puts it into the open batch, and
 * fpm_defer_work closes that with a mark taken after all of it was unlinked. A batch is over once its mark has passed. A
 * mark is worth nothing for another fp-rte's workers: when the workers changed, the batch is marked anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fpmd/fpm.h"

struct deferred_call {
	void (*free)(void *arg, uint32_t index);
	void *arg;
	uint32_t index;
};

struct batch {
	struct batch *next;
	bool marked;
	uint32_t workers_seq; /* of the workers that mark is of */
	struct quiesce_mark mark;
	uint64_t marked_at; /* CLOCK_MONOTONIC, microseconds */
	size_t n, size;
	struct deferred_call *calls;
};

struct fpm_deferred {
	struct batch *open;
	struct batch *first, **last; /* marked, oldest first */
};

static const char *field = "";

void fpm_field(const char *name)
{
	field = name;
}

const char *fpm_field_take(void)
{
	const char *ret = field;

	field = "";
	return ret;
}

static struct deferred_call *new_call(struct fpm *fpm)
{
	struct fpm_deferred *d = fpm->deferred;
	struct deferred_call *calls;
	struct batch *b;

	if (!d) {
		d = calloc(1, sizeof(*d));
		if (!d)
			return NULL;
		d->last = &d->first;
		fpm->deferred = d;
	}
	if (!d->open) {
		d->open = calloc(1, sizeof(*d->open));
		if (!d->open)
			return NULL;
	}
	b = d->open;
	if (b->n == b->size) {
		size_t size = b->size ? b->size * 2 : 64;

		calls = realloc(b->calls, size * sizeof(*calls));
		if (!calls)
			return NULL;
		b->calls = calls;
		b->size = size;
	}
	return &b->calls[b->n++];
}

void fpm_defer(struct fpm *fpm, void (*free_fn)(void *arg, uint32_t index), void *arg,
	       uint32_t index)
{
	struct deferred_call *call;

	/* Nobody else has mapped the file; or (packet harness) nobody runs, and none can come unseen. */
	if (!fpm->published || (!fpm->workers && !fpm->look)) {
		free_fn(arg, index);
		return;
	}
	call = new_call(fpm);
	/* Without memory to remember it, the row stays out of use until fpmd's restart: safe, and next to impossible. */
	if (call)
		*call = (struct deferred_call){free_fn, arg, index};
}

static void run(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		b->calls[i].free(b->calls[i].arg, b->calls[i].index);
}

static void batch_free(struct batch *b)
{
	free(b->calls);
	free(b);
}

static void close_batch(struct fpm_deferred *d)
{
	struct batch *b = d->open;

	if (!b)
		return;
	d->open = NULL;
	*d->last = b;
	d->last = &b->next;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Marks @b and the batches after it that have no mark of these workers. */
static void mark(struct batch *b, const struct fpm *fpm)
{
	for (; b; b = b->next) {
		if (b->marked && b->workers_seq == fpm->workers_seq)
			continue;
		b->marked = true;
		b->workers_seq = fpm->workers_seq;
		quiesce_mark(&b->mark, fpm->workers);
		b->marked_at = now_us();
	}
}

static bool passed(const struct batch *b, const struct fpm *fpm)
{
	return now_us() - b->marked_at >= QUIESCE_WAIT_US && quiesce_passed(&b->mark, fpm->workers);
}

bool fpm_defer_work(struct fpm *fpm)
{
	struct fpm_deferred *d = fpm->deferred;

	if (!d || (!d->open && !d->first))
		return false;
	if (fpm->look && !fpm->look(fpm))
		return true;
	close_batch(d);
	/* A deferred call may defer again: that goes into a new open batch. */
	while (d->first) {
		struct batch *b = d->first;

		if (fpm->workers) {
			mark(b, fpm);
			if (!passed(b, fpm))
				return true;
		}
		d->first = b->next;
		if (!d->first)
			d->last = &d->first;
		run(b);
		batch_free(b);
	}
	return d->open != NULL;
}

void fpm_defer_drop(struct fpm *fpm)
{
	struct fpm_deferred *d = fpm->deferred;

	if (!d)
		return;
	close_batch(d);
	while (d->first) {
		struct batch *b = d->first;

		d->first = b->next;
		batch_free(b);
	}
	free(d);
	fpm->deferred = NULL;
}

static bool bit(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ULL << (i % 64);
}

static void bit_clear(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(1ULL << (i % 64));
}

int fpm_rows_init(struct fpm_rows *rows, struct fpm *fpm, const char *table, struct err *err)
{
	struct shm_table_dir *dir = shm_find(&fpm->config, table);
	size_t words;

	if (!dir)
		return err_set(err, EPROTO, "the config file has no table '%s'", table);
	fpm_rows_fini(rows);
	words = dir->capacity / 64 + 1;
	*rows = (struct fpm_rows){
		.fpm = fpm,
		.dir = dir,
		.rows = (char *)fpm->config.header + dir->offset,
		.next = 1,
		/* Zero pages until touched. */
		.stack = calloc(dir->capacity + 1, sizeof(uint32_t)),
		.used = calloc(words, sizeof(uint64_t)),
		.stacked = calloc(words, sizeof(uint64_t)),
		.reserved = calloc(words, sizeof(uint64_t)),
	};
	if (!rows->stack || !rows->used || !rows->stacked || !rows->reserved) {
		fpm_rows_fini(rows);
		return err_set(err, ENOMEM, "no memory to manage table '%s'", table);
	}
	return 0;
}

void fpm_rows_fini(struct fpm_rows *rows)
{
	free(rows->stack);
	free(rows->used);
	free(rows->stacked);
	free(rows->reserved);
	*rows = (struct fpm_rows){};
}

static uint32_t give(struct fpm_rows *rows, uint32_t index)
{
	bit_set(rows->used, index);
	bit_clear(rows->reserved, index);
	memset(rows->rows + (size_t)index * rows->dir->row_size, 0, rows->dir->row_size);
	shm_count(rows->dir, 1);
	return index;
}

uint32_t fpm_rows_get(struct fpm_rows *rows)
{
	uint32_t capacity = rows->dir->capacity;

	while (rows->n_stack) {
		uint32_t index = rows->stack[--rows->n_stack];

		bit_clear(rows->stacked, index);
		if (!bit(rows->used, index))
			return give(rows, index);
	}
	while (rows->next < capacity) {
		uint32_t index = rows->next++;

		if (!bit(rows->used, index) && !bit(rows->reserved, index))
			return give(rows, index);
	}
	if (atomic_load_explicit(&rows->dir->used, memory_order_relaxed) + 1 >= capacity)
		return 0;
	for (uint32_t index = 1; index < capacity; index++)
		if (!bit(rows->used, index))
			return give(rows, index);
	return 0;
}

uint32_t fpm_rows_get_at(struct fpm_rows *rows, uint32_t index)
{
	if (!index || index >= rows->dir->capacity || bit(rows->used, index))
		return fpm_rows_get(rows);
	return give(rows, index);
}

void fpm_rows_reserve(struct fpm_rows *rows, uint32_t index)
{
	if (index && index < rows->dir->capacity && !bit(rows->used, index))
		bit_set(rows->reserved, index);
}

void fpm_rows_put(struct fpm_rows *rows, uint32_t index)
{
	bit_clear(rows->used, index);
	if (!bit(rows->stacked, index)) {
		bit_set(rows->stacked, index);
		rows->stack[rows->n_stack++] = index;
	}
	shm_count(rows->dir, -1);
	rows->fpm->freed = true;
}

static void put(void *arg, uint32_t index)
{
	fpm_rows_put(arg, index);
}

void fpm_rows_put_later(struct fpm_rows *rows, uint32_t index)
{
	fpm_defer(rows->fpm, put, rows, index);
}
