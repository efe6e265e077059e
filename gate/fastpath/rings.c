// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/rings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fastpath/rte.h"

struct watched {
	const struct rte_ring *ring;
	const struct rte_mempool *pool;
};

static struct watched watched[RINGS_MAX];
static struct ring_row *rows;
static const struct worker_row *workers;
static const char *const classes[FP_CLASSES] = {"control", "local", "forwarded"};
static unsigned n_rows;

[[gnu::format(printf, 4, 5)]] static void add(struct watched what, enum ring_kind kind,
					      unsigned owner, const char *fmt, ...)
{
	struct ring_row *row = &rows[n_rows];
	va_list args;

	if (n_rows == RINGS_MAX)
		return;
	va_start(args, fmt);
	vsnprintf(row->name, sizeof(row->name), fmt, args);
	va_end(args);
	row->kind = kind;
	row->owner = owner;
	row->size = what.ring ? rte_ring_get_capacity(what.ring) : what.pool->size;
	watched[n_rows++] = what;
}

static void add_pool(struct rte_mempool *pool, void *unused)
{
	add((struct watched){.pool = pool}, RING_MEMORY, (unsigned)pool->socket_id, "memory %s",
	    pool->name);
}

void rings_init(struct shm *stats)
{
	struct shm_table_dir *dir = shm_find(stats, "ring");

	rows = shm_rows(stats, "ring");
	workers = shm_rows(stats, "worker");
	n_rows = 0;
	memset(rows, 0, RINGS_MAX * sizeof(*rows));
	for (unsigned i = 0; i < rte.n_ports; i++)
		for (unsigned c = 0; c < FP_CLASSES; c++)
			add((struct watched){.ring = rte.to_linux.rings[i][c]}, RING_TO_LINUX, i,
			    "to Linux: %s %s", rte.ports[i].tap.name, classes[c]);
	for (unsigned c = 0; c < FP_CLASSES; c++)
		add((struct watched){.ring = rte.to_linux.rings[rte.n_ports][c]}, RING_TO_LINUX,
		    rte.n_ports, "to Linux: fpn0 %s", classes[c]);
	for (unsigned i = 0; i < rte.n_workers; i++)
		add((struct watched){.ring = rte.workers[i].from_linux}, RING_FROM_LINUX, i,
		    "from Linux: worker %u", i);
	for (unsigned i = 0; i < rte.n_workers; i++)
		for (unsigned j = 0; j < rte.workers[i].n_shared; j++) {
			const struct shared_tx *tx = &rte.workers[i].shared[j];

			add((struct watched){.ring = tx->ring}, RING_TX, i, "transmit: %s.%u",
			    rte.ports[tx->port].tap.name, tx->queue);
		}
	for (unsigned i = 0; i < rte.n_workers; i++)
		for (unsigned j = 0; j < rte.workers[i].n_in; j++)
			add((struct watched){.ring = rte.workers[i].in[j]->ring}, RING_INTERCORE, i,
			    "spread: worker %u to %u", rte.workers[i].in[j]->from, i);
	add((struct watched){.ring = rte.captures}, RING_CAPTURE, 0, "captures");
	rte_mempool_walk(add_pool, NULL);
	shm_count(dir, (int)n_rows - (int)atomic_load(&dir->used));
}

/* By workers, and the exception thread in the row behind theirs. */
static uint64_t not_shown(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i <= rte.n_workers && i < WORKERS_MAX; i++)
		sum += workers[i].capture_missed;
	return sum;
}

void rings_look(void)
{
	for (unsigned i = 0; i < n_rows; i++) {
		struct ring_row *row = &rows[i];

		row->used = watched[i].ring ? rte_ring_count(watched[i].ring)
					    : rte_mempool_in_use_count(watched[i].pool);
		if (row->used > row->used_most)
			row->used_most = row->used;
		if (row->kind == RING_CAPTURE)
			row->lost = not_shown();
	}
}
