// SPDX-License-Identifier: BSD-3-Clause
/* CPU usage: where a worker's time goes, in cycles of the time stamp counter, counted in its row of the stats table "worker"
 * (shm/quiesce.h). Busy: turns of the loop that found work; idle: those that didn't; sleep: between them. The three add up
 * to all of its time. fp-cpu-usage and `fp-cli monitor` show them.
 *
 * Its worker only. @last: end of the turn before, moved on to @now. */
#pragma once

#include "shm/quiesce.h"

static inline void cpu_busy(struct worker_row *row, uint64_t *last, uint64_t now)
{
	row->loops++;
	row->busy_loops++;
	row->busy_cycles += now - *last;
	*last = now;
}

static inline void cpu_idle(struct worker_row *row, uint64_t *last, uint64_t now)
{
	row->loops++;
	row->idle_cycles += now - *last;
	*last = now;
}

static inline void cpu_slept(struct worker_row *row, uint64_t *last, uint64_t now)
{
	row->sleep_cycles += now - *last;
	*last = now;
}
