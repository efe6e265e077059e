// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/gc.h"

#include <time.h>

static uint64_t microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void gc_init(struct gc *ret, const struct worker_row *workers)
{
	*ret = (struct gc){.workers = workers};
}

void gc_later(struct gc *gc, struct gc_item *item, gc_fn *free)
{
	item->free = free;
	item->next = gc->fresh;
	gc->fresh = item;
}

static unsigned count(const struct gc_item *item)
{
	unsigned n = 0;

	for (; item; item = item->next)
		n++;
	return n;
}

unsigned gc_run(struct gc *gc)
{
	if (gc->marked && microseconds() - gc->marked_at >= QUIESCE_WAIT_US &&
	    quiesce_passed(&gc->mark, gc->workers)) {
		struct gc_item *item = gc->marked;

		gc->marked = NULL;
		while (item) {
			struct gc_item *next = item->next;

			item->free(item);
			item = next;
		}
	}
	if (!gc->marked && gc->fresh) {
		gc->marked = gc->fresh;
		gc->fresh = NULL;
		quiesce_mark(&gc->mark, gc->workers);
		gc->marked_at = microseconds();
	}
	return count(gc->marked) + count(gc->fresh);
}
