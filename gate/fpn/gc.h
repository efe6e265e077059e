// SPDX-License-Identifier: BSD-3-Clause
/* Garbage: objects that workers may still be reading. Who takes an object out of reach hands it in here and it's freed
 * after each worker has passed a quiescent point (shm/quiesce.h). Workers pay nothing. For objects of one process; rows of
 * shared memory wait in fpmd/rows.c, by the same marks.
 *
 * One thread: the one that takes objects out of reach. Two generations: those under a mark, and those since. */
#pragma once

#include <stdint.h>

#include "shm/quiesce.h"

struct gc_item;
typedef void gc_fn(struct gc_item *item);

/* Part of the object. */
struct gc_item {
	struct gc_item *next;
	gc_fn *free;
};

struct gc {
	const struct worker_row *workers; /* WORKERS_MAX rows */
	struct gc_item *fresh, *marked;
	uint64_t marked_at; /* microseconds */
	struct quiesce_mark mark;
};

void gc_init(struct gc *ret, const struct worker_row *workers);

/* No new reader can find @item's object any more; @free is called with it, from gc_run. */
void gc_later(struct gc *gc, struct gc_item *item, gc_fn *free);

/* Frees what may be freed now, marks what came since; how many are left. Never waits: to be called now and then. */
unsigned gc_run(struct gc *gc);
