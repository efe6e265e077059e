// SPDX-License-Identifier: BSD-3-Clause
/* Reading interfaces' counters: what all workers have counted in a row. */
#pragma once

#include <string.h>

#include "features/iface/iface.h"
#include "shm/quiesce.h"

#define IFACE_COUNTERS (sizeof(struct iface_stats_row) / sizeof(uint64_t))

/* Counter by counter: all of them are 64-bit numbers, and differences may be below zero for a while (modulo 2^64). */
static inline void iface_counters_add(struct iface_stats_row *to,
				      const struct iface_stats_row *from)
{
	uint64_t *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)from;

	for (unsigned i = 0; i < IFACE_COUNTERS; i++)
		a[i] += b[i];
}

static inline void iface_counters_take(struct iface_stats_row *from,
				       const struct iface_stats_row *less)
{
	uint64_t *a = (uint64_t *)from;
	const uint64_t *b = (const uint64_t *)less;

	for (unsigned i = 0; i < IFACE_COUNTERS; i++)
		a[i] -= b[i];
}

/* What all workers have counted in interface row @row. @rows: the table "iface_stats" of @total rows. */
static inline void iface_counters_sum(struct iface_stats_row *ret,
				      const struct iface_stats_row *rows, uint32_t total,
				      const struct worker_row *workers, uint32_t row)
{
	uint32_t each = total / WORKERS_MAX;

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < WORKERS_MAX && row < each; i++)
		/* Most have never run, and cost a cache miss for each line. */
		if (workers[i].state == WORKER_ON || workers[i].loops)
			iface_counters_add(ret, &rows[i * each + row]);
}
