// SPDX-License-Identifier: BSD-3-Clause
/* The timer wheel beside a list that is searched for what's due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fpn/timer.h"

#define N 500

struct entry {
	struct timer timer;
	uint32_t due;
	bool is_set;
	unsigned ran;
	unsigned again;	      /* milliseconds that it sets itself for, when it runs */
	struct entry *victim; /* that it cancels */
};

static struct timers wheel;
static struct entry entries[N];
static uint32_t last_run;

static void on_time(void *worker, struct timer *t);

static void set(struct entry *e, uint32_t ms)
{
	timer_set(&wheel, &e->timer, ms, on_time);
	e->due = wheel.now + (ms ? ms : 1);
	e->is_set = true;
}

static void on_time(void *worker, struct timer *t)
{
	struct entry *e = (struct entry *)(void *)t;

	assert_ptr_equal(worker, &entries);
	assert_false(timer_is_set(t));
	assert_int_equal(e->due, wheel.now);
	assert_true((int32_t)(wheel.now - last_run) >= 0);
	last_run = wheel.now;
	e->is_set = false;
	e->ran++;
	if (e->again)
		set(e, e->again);
	if (e->victim) {
		timer_cancel(&wheel, &e->victim->timer);
		e->victim->is_set = false;
	}
}

static int fresh(void **state)
{
	memset(&wheel, 0, sizeof(wheel));
	memset(entries, 0, sizeof(entries));
	last_run = 0;
	return 0;
}

static void timers_run_once_and_on_time(void **state)
{
	static const uint32_t times[] = {1,	255,   256,   257,	  511,	    512,
					 65535, 65536, 65537, 131072 + 3, 16777216, 16777217 + 255};
	unsigned n = sizeof(times) / sizeof(times[0]);

	for (unsigned i = 0; i < n; i++)
		set(&entries[i], times[i]);
	for (unsigned i = 0; i < n; i++) {
		timers_run(&wheel, times[i] - 1, &entries);
		assert_int_equal(entries[i].ran, 0);
		assert_int_equal(timers_run(&wheel, times[i], &entries), 1);
		assert_int_equal(entries[i].ran, 1);
	}
	assert_int_equal(wheel.n, 0);
	assert_int_equal(timers_run(&wheel, times[n - 1] + 5, &entries), 0);
	assert_int_equal(wheel.now, times[n - 1] + 5);
}

static uint32_t some_time(void)
{
	static const uint32_t most[] = {3, 300, 3000, 70000, 200000};

	return (uint32_t)random() % most[random() % 5];
}

/* Each entry's due time is the oracle: on_time checks it, and here that none is late. */
static void random_timers_agree_with_a_list(void **state)
{
	uint32_t now = UINT32_MAX - 100000; /* the clock wraps around on the way */

	srandom(1);
	timers_run(&wheel, now, &entries);
	last_run = now;
	for (unsigned round = 0; round < 20000; round++) {
		struct entry *e = &entries[random() % N];
		unsigned expected = 0;

		if (random() % 4) {
			set(e, some_time());
			e->again = random() % 8 ? 0 : 1 + (unsigned)random() % 500;
		} else {
			timer_cancel(&wheel, &e->timer);
			e->is_set = false;
		}
		now += (uint32_t)random() % 40;
		timers_run(&wheel, now, &entries);
		assert_int_equal(wheel.now, now);
		for (unsigned i = 0; i < N; i++) {
			assert_int_equal(timer_is_set(&entries[i].timer), entries[i].is_set);
			if (entries[i].is_set) {
				assert_true((int32_t)(entries[i].due - now) > 0);
				expected++;
			}
		}
		assert_int_equal(wheel.n, expected);
	}
}

static void a_timer_may_cancel_one_of_the_same_time_and_set_itself(void **state)
{
	/* The one set last runs first. */
	set(&entries[0], 200);
	set(&entries[1], 200);
	set(&entries[2], 200);
	entries[2].victim = &entries[0];
	entries[2].again = 1;
	assert_int_equal(timers_run(&wheel, 200, &entries), 2);
	assert_int_equal(entries[0].ran, 0);
	assert_int_equal(entries[1].ran, 1);
	entries[2].again = 0;
	entries[2].victim = NULL;
	assert_int_equal(timers_run(&wheel, 201, &entries), 1);
	assert_int_equal(wheel.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(timers_run_once_and_on_time, fresh),
		cmocka_unit_test_setup(random_timers_agree_with_a_list, fresh),
		cmocka_unit_test_setup(a_timer_may_cancel_one_of_the_same_time_and_set_itself,
				       fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
