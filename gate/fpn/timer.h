// SPDX-License-Identifier: BSD-3-Clause
/* Timers of a worker: a wheel of four levels with 256 slots each, one millisecond a slot at the lowest (Varghese and Lauck,
 * "Hashed and hierarchical timing wheels", 1987). Setting and cancelling take constant time whatever their number, nothing
 * is allocated, no kernel is asked: the clock is the processor's counter.
 *
 * All calls: the wheel's own worker; other threads send it a message (fpn/message.h). A timer is part of the caller's
 * object and must be cancelled before that goes. Timers run between bursts, no earlier than asked and at most as much later
 * as the loop takes; a worker that dozes looks each FP_IDLE_SLEEP. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TIMER_LEVELS 4
#define TIMER_SLOTS  256

struct timer;
/* @t isn't set any more and may be set again, here too. */
typedef void timer_fn(void *worker, struct timer *t);

struct timer {
	struct timer *next, **link; /* link: what points here; NULL: not set */
	uint32_t at;		    /* millisecond of the wheel */
	timer_fn *run;
};

/* All zero: empty, at millisecond 0. */
struct timers {
	uint32_t now; /* all until then have run */
	uint32_t n;   /* that are set */
	struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
};

/* Has @run called @ms milliseconds (1 to INT32_MAX; 0 counts as 1) after the wheel's now; whatever it was set to before is
 * void. */
void timer_set(struct timers *wheel, struct timer *t, uint32_t ms, timer_fn *run);
void timer_cancel(struct timers *wheel, struct timer *t);

static inline bool timer_is_set(const struct timer *t)
{
	return t->link;
}

/* Turns the wheel to @now, in milliseconds, and runs what is due, in order of its time; how many. @now wraps around, and
 * the first call may give any. */
unsigned timers_run(struct timers *wheel, uint32_t now, void *worker);
