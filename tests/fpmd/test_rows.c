// SPDX-License-Identifier: BSD-3-Clause
/* Rows of tables, and when they may be reused: workers are rows of quiescent counters that the test moves by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fpmd/fpm.h"

#define CAPACITY 10 /* nine rows to give */

static char path[] = "/tmp/fpm-rows-XXXXXX";
static struct worker_row workers[WORKERS_MAX], others[WORKERS_MAX];
static struct fpm fpm;
static struct fpm_rows rows;
static char freed[256];

static int set_up(void **state)
{
	static const struct shm_table_desc table = {"t", 1, 64, CAPACITY};

	memset(workers, 0, sizeof(workers));
	memset(others, 0, sizeof(others));
	freed[0] = '\0';
	fpm = (struct fpm){};
	snprintf(path, sizeof(path), "/tmp/fpm-rows-XXXXXX");
	close(mkstemp(path));
	unlink(path);
	return shm_create(&fpm.config, path, &table, 1, NULL) ||
	       fpm_rows_init(&rows, &fpm, "t", NULL);
}

static int tear_down(void **state)
{
	fpm_defer_drop(&fpm);
	fpm_rows_fini(&rows);
	shm_detach(&fpm.config);
	return unlink(path);
}

/* The worker starts another round, and one more: only then is the first one's point sure to be in order. */
static void pass(struct worker_row *worker)
{
	quiesce_point(worker);
	quiesce_point(worker);
}

static void note(void *arg, uint32_t index)
{
	sprintf(freed + strlen(freed), "%s%u ", (const char *)arg, index);
}

static void defer(uint32_t index)
{
	fpm_defer(&fpm, note, "", index);
}

static void each_row_is_given_once_and_zeroed(void **state)
{
	bool seen[CAPACITY] = {true};

	for (unsigned i = 1; i < CAPACITY; i++) {
		uint32_t row = fpm_rows_get(&rows);

		assert_true(row && row < CAPACITY && !seen[row]);
		seen[row] = true;
		memset(rows.rows + row * 64, 0xff, 64);
	}
	assert_int_equal(fpm_rows_get(&rows), 0);
	assert_int_equal(rows.dir->used, CAPACITY - 1);
	fpm_rows_put(&rows, 5);
	assert_true(fpm.freed);
	assert_int_equal(rows.dir->used, CAPACITY - 2);
	assert_int_equal(fpm_rows_get(&rows), 5);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(rows.rows[5 * 64 + i], 0);
	assert_int_equal(rows.dir->used_most, CAPACITY - 1);
}

static void a_wished_row_is_given_if_nobody_has_it(void **state)
{
	assert_int_equal(fpm_rows_get_at(&rows, 7), 7);
	assert_int_not_equal(fpm_rows_get_at(&rows, 7), 7);
	assert_int_equal(fpm_rows_get_at(&rows, 0), 2);
	assert_int_equal(fpm_rows_get_at(&rows, CAPACITY), 3);
	fpm_rows_put(&rows, 7);
	assert_int_equal(fpm_rows_get_at(&rows, 7), 7);
}

static void a_reserved_row_is_given_last(void **state)
{
	fpm_rows_reserve(&rows, 1);
	fpm_rows_reserve(&rows, 3);
	assert_int_equal(fpm_rows_get(&rows), 2);
	assert_int_equal(fpm_rows_get(&rows), 4);
	assert_int_equal(fpm_rows_get_at(&rows, 3), 3);
	for (unsigned i = 5; i < CAPACITY; i++)
		assert_int_equal(fpm_rows_get(&rows), i);
	assert_int_equal(fpm_rows_get(&rows), 1);
	assert_int_equal(fpm_rows_get(&rows), 0);
}

static void random_use_never_gives_a_row_twice(void **state)
{
	bool used[CAPACITY] = {true};
	unsigned n = 0;

	srand(1);
	for (int i = 0; i < 100000; i++) {
		uint32_t wish = (uint32_t)rand() % CAPACITY, row;

		if (rand() % 2) {
			row = rand() % 2 ? fpm_rows_get(&rows) : fpm_rows_get_at(&rows, wish);
			assert_int_equal(row == 0, n == CAPACITY - 1);
			if (!row)
				continue;
			assert_false(used[row]);
			used[row] = true;
			n++;
		} else if (wish && used[wish]) {
			fpm_rows_put(&rows, wish);
			used[wish] = false;
			n--;
		}
		assert_int_equal(rows.dir->used, n);
	}
}

static void before_it_is_published_nothing_is_deferred(void **state)
{
	quiesce_online(&workers[0]);
	fpm.workers = workers;
	defer(3);
	assert_string_equal(freed, "3 ");
	assert_false(fpm_defer_work(&fpm));
}

static void where_no_worker_runs_nothing_is_deferred(void **state)
{
	fpm.published = true;
	defer(3);
	assert_string_equal(freed, "3 ");
}

/* Looks for twice as long as a mark must age, and then some: nothing passes. */
static bool still_holds(void)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		if (!fpm_defer_work(&fpm))
			return false;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 <
		 2 * QUIESCE_WAIT_US);
	return true;
}

static bool comes_to_an_end(void)
{
	time_t until = time(NULL) + 5;

	while (fpm_defer_work(&fpm))
		if (time(NULL) > until)
			return false;
	return true;
}

static void a_running_worker_holds_until_its_second_quiescent_point(void **state)
{
	fpm.published = true;
	fpm.workers = workers;
	quiesce_online(&workers[0]);
	quiesce_online(&workers[5]);
	defer(1);
	assert_true(still_holds());
	pass(&workers[0]);
	assert_true(still_holds());
	quiesce_point(&workers[5]);
	assert_true(still_holds());
	assert_string_equal(freed, "");
	quiesce_point(&workers[5]);
	assert_true(comes_to_an_end());
	assert_string_equal(freed, "1 ");
}

static void a_sleeping_worker_holds_nothing(void **state)
{
	fpm.published = true;
	fpm.workers = workers;
	quiesce_online(&workers[0]);
	quiesce_offline(&workers[0]);
	defer(1);
	assert_true(comes_to_an_end());
	/* Asleep when marked, awake since: it can't have found what was unlinked. */
	defer(2);
	quiesce_online(&workers[1]);
	assert_true(still_holds());
	quiesce_offline(&workers[1]);
	quiesce_online(&workers[1]);
	assert_true(comes_to_an_end());
	assert_string_equal(freed, "1 2 ");
}

static void the_mark_is_taken_after_all_of_a_batch_was_unlinked(void **state)
{
	fpm.published = true;
	fpm.workers = workers;
	quiesce_online(&workers[0]);
	defer(1);
	/* A point between the two counts for neither. */
	pass(&workers[0]);
	defer(2);
	assert_true(still_holds());
	assert_string_equal(freed, "");
	pass(&workers[0]);
	/* Later ones wait for a later point. */
	defer(3);
	assert_true(still_holds());
	assert_string_equal(freed, "1 2 ");
	pass(&workers[0]);
	assert_true(comes_to_an_end());
	assert_string_equal(freed, "1 2 3 ");
}

static bool lives, visible;
static const struct worker_row *running;

static bool look(struct fpm *f)
{
	if (lives && !visible)
		return false;
	if (f->workers != (lives ? running : NULL))
		f->workers_seq++;
	f->workers = lives ? running : NULL;
	return true;
}

static void a_dead_fast_path_holds_nothing(void **state)
{
	fpm.published = true;
	fpm.look = look;
	lives = visible = true;
	running = workers;
	quiesce_online(&workers[0]);
	defer(1);
	assert_true(still_holds());
	lives = false;
	assert_true(comes_to_an_end());
	assert_string_equal(freed, "1 ");
}

static void a_restarted_fast_path_is_asked_anew(void **state)
{
	fpm.published = true;
	fpm.look = look;
	lives = visible = true;
	running = workers;
	quiesce_online(&workers[0]);
	defer(1);
	assert_true(still_holds());
	/* The new one's workers count from elsewhere: the old mark says nothing about them. */
	running = others;
	quiesce_online(&others[0]);
	assert_true(still_holds());
	pass(&others[0]);
	assert_true(comes_to_an_end());
	assert_string_equal(freed, "1 ");
}

static void a_starting_fast_path_is_waited_for(void **state)
{
	fpm.published = true;
	fpm.look = look;
	lives = true;
	visible = false;
	running = workers;
	defer(1);
	assert_true(still_holds());
	visible = true;
	assert_true(comes_to_an_end());
	assert_string_equal(freed, "1 ");
}

static void defer_again(void *arg, uint32_t index)
{
	note(arg, index);
	if (index)
		fpm_defer(&fpm, defer_again, arg, index - 1);
}

static void a_deferred_call_may_defer(void **state)
{
	fpm.published = true;
	fpm.workers = workers;
	quiesce_online(&workers[0]);
	fpm_defer(&fpm, defer_again, "r", 2);
	for (int i = 0; i < 3; i++) {
		assert_true(still_holds());
		pass(&workers[0]);
	}
	assert_true(strlen(freed) > 0);
	for (int i = 0; i < 10 && fpm_defer_work(&fpm); i++)
		pass(&workers[0]);
	assert_string_equal(freed, "r2 r1 r0 ");
}

static void a_row_put_later_is_free_later(void **state)
{
	fpm.published = true;
	fpm.workers = workers;
	quiesce_online(&workers[0]);
	for (unsigned i = 1; i < CAPACITY; i++)
		fpm_rows_get(&rows);
	fpm_rows_put_later(&rows, 4);
	assert_true(still_holds());
	assert_int_equal(fpm_rows_get(&rows), 0);
	assert_false(fpm.freed);
	pass(&workers[0]);
	assert_true(comes_to_an_end());
	assert_true(fpm.freed);
	assert_int_equal(fpm_rows_get(&rows), 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_row_is_given_once_and_zeroed),
		TEST(a_wished_row_is_given_if_nobody_has_it),
		TEST(a_reserved_row_is_given_last),
		TEST(random_use_never_gives_a_row_twice),
		TEST(before_it_is_published_nothing_is_deferred),
		TEST(where_no_worker_runs_nothing_is_deferred),
		TEST(a_running_worker_holds_until_its_second_quiescent_point),
		TEST(a_sleeping_worker_holds_nothing),
		TEST(the_mark_is_taken_after_all_of_a_batch_was_unlinked),
		TEST(a_dead_fast_path_holds_nothing),
		TEST(a_restarted_fast_path_is_asked_anew),
		TEST(a_starting_fast_path_is_waited_for),
		TEST(a_deferred_call_may_defer),
		TEST(a_row_put_later_is_free_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
