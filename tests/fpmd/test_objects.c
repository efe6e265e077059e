// SPDX-License-Identifier: BSD-3-Clause
/* The object store: idempotence, mark and sweep, parking, refusals, all with features that write down what is asked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake.h"

static struct shm_header header;
static struct fpm fpm;
static struct objects o;
static const char *field;

static int set_up(void **state)
{
	header = (struct shm_header){};
	fpm = (struct fpm){.config.header = &header};
	memset(fake_applied, 0, sizeof(fake_applied));
	fake_room = false;
	fake_forget();
	if (objects_init(&o, &fpm, fake_parts, N_PARTS, NULL))
		return -1;
	o.quiet = true;
	return 0;
}

static int tear_down(void **state)
{
	objects_free(&o);
	fpm_defer_drop(&fpm);
	return 0;
}

static int set(unsigned part, uint32_t id, uint32_t value, uint32_t base)
{
	struct thing t = {.id = id, .value = value, .base = base};

	return objects_set(&o, part, &t, &field, NULL);
}

static void del(unsigned part, uint32_t id)
{
	objects_del(&o, part, &id);
}

static enum object_state state_of(unsigned part, uint32_t id)
{
	const struct object *obj = objects_find(&o, part, &id);

	assert_non_null(obj);
	return obj->state;
}

static uint32_t id_of(const struct object *obj)
{
	struct thing t;

	object_whole(&o, obj, &t, sizeof(t));
	return t.id;
}

static void setting_the_same_again_does_nothing(void **state)
{
	assert_int_equal(set(PART_BASE, 1, 5, 0), 0);
	assert_int_equal(set(PART_BASE, 1, 5, 0), 0);
	assert_string_equal(fake_log, "set base 1=5;");
	assert_int_equal(header.changes, 1);
	assert_int_equal(o.n, 1);
}

static void a_change_hands_over_what_was_applied(void **state)
{
	set(PART_BASE, 1, 5, 0);
	assert_int_equal(set(PART_BASE, 1, 6, 0), 0);
	/* Longer and shorter as stored. */
	assert_int_equal(set(PART_BASE, 1, 0, 0), 0);
	assert_int_equal(set(PART_BASE, 1, 7, 9), 0);
	del(PART_BASE, 1);
	assert_string_equal(fake_log, "set base 1=5;set base 1=6 was 5;set base 1=0 was 6;"
				      "set base 1=7 was 0;del base 1=7;");
	assert_int_equal(o.n, 0);
}

static void deleting_what_isnt_there_is_fine(void **state)
{
	del(PART_BASE, 1);
	assert_string_equal(fake_log, "");
	assert_int_equal(header.changes, 0);
}

static void a_refused_object_stays_with_its_reason(void **state)
{
	const struct object *obj;
	uint32_t id = 1;

	set(PART_BASE, 1, 5, 0);
	assert_int_equal(set(PART_BASE, 1, 666, 0), -EINVAL);
	assert_string_equal(field, "value");
	obj = objects_find(&o, PART_BASE, &id);
	assert_int_equal(obj->state, OBJECT_REFUSED);
	assert_int_equal(obj->trouble->code, EINVAL);
	assert_string_equal(obj->trouble->text, "thing 1: no");
	assert_int_equal(o.lists[PART_BASE].n[OBJECT_REFUSED], 1);
	assert_int_equal(o.lists[PART_BASE].n[OBJECT_APPLIED], 0);
	/* It was taken back: the feature doesn't hear of it again as `old`, nor of its deletion. */
	fake_forget();
	assert_int_equal(set(PART_BASE, 1, 7, 0), 0);
	assert_string_equal(fake_log, "set base 1=7;");
	set(PART_BASE, 1, 666, 0);
	fake_forget();
	del(PART_BASE, 1);
	assert_string_equal(fake_log, "");
	assert_int_equal(o.n, 0);
}

static void a_refused_object_is_tried_again_when_set_again(void **state)
{
	assert_int_equal(set(PART_BASE, 1, 777, 0), -ENOSPC);
	fake_room = true;
	assert_int_equal(set(PART_BASE, 1, 777, 0), 0);
	assert_int_equal(state_of(PART_BASE, 1), OBJECT_APPLIED);
}

static void what_found_no_room_is_tried_again_when_rows_come_back(void **state)
{
	set(PART_BASE, 1, 777, 0);
	set(PART_BASE, 2, 666, 0);
	assert_false(objects_retry(&o, 100));
	assert_int_equal(fake_sets, 2);
	fake_room = true;
	fpm.freed = true;
	objects_wake_starved(&o);
	assert_false(fpm.freed);
	assert_false(objects_retry(&o, 100));
	assert_int_equal(state_of(PART_BASE, 1), OBJECT_APPLIED);
	assert_int_equal(fake_sets, 3);
}

static void a_full_table_is_not_asked_for_each_of_a_thousand_objects(void **state)
{
	for (uint32_t i = 0; i < 1000; i++)
		set(PART_BASE, i, 777, 0);
	fake_forget();
	objects_wake_starved(&o);
	assert_false(objects_retry(&o, 10000));
	assert_int_equal(fake_sets, STARVED_FAILURES);
	/* The next time it's the others' turn, and where there is room all get in. */
	fake_forget();
	fake_room = true;
	objects_wake_starved(&o);
	assert_false(objects_retry(&o, 10000));
	assert_int_equal(fake_sets, 1000);
	assert_non_null(strstr(fake_log, "set base 256=777;set base 257=777;"));
	assert_int_equal(o.lists[PART_BASE].n[OBJECT_APPLIED], 1000);
}

static void order_doesnt_matter_between_features(void **state)
{
	assert_int_equal(set(PART_CHILD, 1, 5, 3), -EAGAIN);
	assert_int_equal(state_of(PART_CHILD, 1), OBJECT_PARKED);
	assert_false(objects_retry(&o, 100));
	set(PART_BASE, 2, 5, 0);
	assert_false(objects_retry(&o, 100));
	assert_int_equal(state_of(PART_CHILD, 1), OBJECT_PARKED);
	set(PART_BASE, 3, 5, 0);
	assert_false(objects_retry(&o, 100));
	assert_int_equal(state_of(PART_CHILD, 1), OBJECT_APPLIED);
	assert_int_equal(o.lists[PART_CHILD].n[OBJECT_PARKED], 0);
}

static void a_parked_object_set_again_waits_in_peace(void **state)
{
	set(PART_CHILD, 1, 5, 3);
	fake_forget();
	assert_int_equal(set(PART_CHILD, 1, 5, 3), -EAGAIN);
	assert_int_equal(fake_sets, 0);
	assert_string_equal(field, "base");
}

static void many_parked_objects_are_tried_once_for_many_sets(void **state)
{
	unsigned tries;

	for (uint32_t i = 0; i < 1000; i++)
		set(PART_CHILD, i, 5, 50);
	fake_forget();
	for (uint32_t i = 0; i < 40; i++)
		set(PART_BASE, i, 5, 0);
	while (objects_retry(&o, 64))
		;
	tries = fake_sets - 40;
	assert_int_equal(tries, 1000);
	set(PART_BASE, 50, 5, 0);
	while (objects_retry(&o, 64))
		;
	assert_int_equal(o.lists[PART_CHILD].n[OBJECT_APPLIED], 1000);
	assert_int_equal(o.lists[PART_CHILD].parked.n, 0);
	assert_null(o.lists[PART_CHILD].parked.first);
	assert_null(o.lists[PART_CHILD].parked.last);
}

static void the_budget_of_a_retry_is_kept(void **state)
{
	for (uint32_t i = 0; i < 10; i++)
		set(PART_CHILD, i, 5, 50);
	set(PART_BASE, 50, 5, 0);
	fake_forget();
	assert_true(objects_retry(&o, 4));
	assert_int_equal(fake_sets, 4);
	assert_true(objects_retry(&o, 4));
	assert_false(objects_retry(&o, 4));
	assert_int_equal(fake_sets, 10);
}

static void parked_objects_can_be_deleted_while_they_wait_for_their_retry(void **state)
{
	for (uint32_t i = 0; i < 10; i++)
		set(PART_CHILD, i, 5, 50);
	set(PART_BASE, 50, 5, 0);
	assert_true(objects_retry(&o, 1));
	for (uint32_t i = 0; i < 9; i++)
		del(PART_CHILD, i);
	assert_false(objects_retry(&o, 100));
	assert_int_equal(state_of(PART_CHILD, 9), OBJECT_APPLIED);
	assert_int_equal(o.lists[PART_CHILD].n[OBJECT_APPLIED], 1);
}

static void a_sync_deletes_what_wasnt_set_again(void **state)
{
	for (uint32_t i = 0; i < 5; i++)
		set(PART_BASE, i, 5, 0);
	set(PART_CHILD, 1, 5, 1);
	objects_sync_begin(&o, PART_BASE);
	set(PART_BASE, 1, 5, 0);
	set(PART_BASE, 3, 6, 0);
	set(PART_BASE, 9, 5, 0);
	fake_forget();
	assert_int_equal(objects_sync_end(&o, PART_BASE, NULL), 3);
	assert_string_equal(fake_log, "del base 0=5;del base 2=5;del base 4=5;");
	assert_int_equal(o.lists[PART_BASE].n[OBJECT_APPLIED], 3);
	assert_int_equal(o.lists[PART_CHILD].n[OBJECT_APPLIED], 1);
}

static void what_is_deleted_within_a_sync_stays_deleted(void **state)
{
	set(PART_BASE, 1, 5, 0);
	objects_sync_begin(&o, PART_BASE);
	set(PART_BASE, 1, 5, 0);
	del(PART_BASE, 1);
	assert_int_equal(objects_sync_end(&o, PART_BASE, NULL), 0);
	assert_int_equal(o.n, 0);
}

static void an_aborted_sync_deletes_nothing(void **state)
{
	struct err err;

	set(PART_BASE, 1, 5, 0);
	objects_sync_begin(&o, PART_BASE);
	objects_sync_abort(&o, PART_BASE);
	assert_int_equal(objects_sync_end(&o, PART_BASE, &err), -EINVAL);
	assert_int_equal(o.n, 1);
	/* The next one starts afresh: what only the aborted one set is stale. */
	objects_sync_begin(&o, PART_BASE);
	assert_int_equal(objects_sync_end(&o, PART_BASE, NULL), 1);
}

static void refused_and_parked_objects_are_swept_too(void **state)
{
	set(PART_BASE, 1, 666, 0);
	set(PART_CHILD, 1, 5, 40);
	objects_sync_begin(&o, PART_BASE);
	objects_sync_begin(&o, PART_CHILD);
	fake_forget();
	assert_int_equal(objects_sync_end(&o, PART_CHILD, NULL), 1);
	assert_int_equal(objects_sync_end(&o, PART_BASE, NULL), 1);
	assert_string_equal(fake_log, "");
	assert_int_equal(o.n, 0);
	assert_int_equal(o.lists[PART_CHILD].parked.n, 0);
}

static void a_cursor_survives_all_that_happens_to_objects(void **state)
{
	struct object_cursor cursor;
	const struct object *obj;
	uint32_t seen = 0;

	for (uint32_t i = 0; i < 6; i++)
		set(PART_BASE, i, 5, 0);
	objects_cursor(&o, &cursor, PART_BASE);
	assert_int_equal(id_of(objects_cursor_next(&cursor)), 0);
	del(PART_BASE, 0);
	del(PART_BASE, 1);	  /* where it stands */
	set(PART_BASE, 2, 5, 99); /* moves in memory */
	del(PART_BASE, 3);
	set(PART_BASE, 40, 5, 0);
	while ((obj = objects_cursor_next(&cursor)))
		seen = seen * 100 + id_of(obj);
	assert_int_equal(seen, 2040540);
	objects_cursor_close(&o, &cursor);
	assert_null(o.cursors);
}

/* A naive model of the store, and many random steps. */
static void random_steps_end_as_in_a_naive_model(void **state)
{
	struct {
		uint32_t value, base;
		bool there, fresh;
	} model[2][64] = {};

	srand(42);
	for (int step = 0; step < 20000; step++) {
		unsigned part = (unsigned)rand() % 2, id = (unsigned)rand() % 64;
		uint32_t value = (uint32_t)rand() % 3, base = (uint32_t)rand() % 64;

		switch (rand() % 100) {
		case 0:
			objects_sync_begin(&o, part);
			for (unsigned i = 0; i < 64; i++)
				model[part][i].fresh = false;
			break;
		case 1:
			if (objects_sync_end(&o, part, NULL) < 0)
				break;
			for (unsigned i = 0; i < 64; i++)
				model[part][i].there &= model[part][i].fresh;
			break;
		case 2 ... 30:
			del(part, id);
			model[part][id].there = false;
			break;
		default:
			if (value == 2)
				value = 666;
			set(part, id, value, base);
			model[part][id].value = value;
			model[part][id].base = base;
			model[part][id].there = model[part][id].fresh = true;
		}
		if (!(rand() % 10))
			objects_retry(&o, 10);
	}
	while (objects_retry(&o, 1000))
		;
	for (uint32_t id = 0; id < 64; id++) {
		const struct object *obj = objects_find(&o, PART_BASE, &id);

		assert_int_equal(obj != NULL, model[0][id].there);
		if (obj)
			assert_int_equal(obj->state, model[0][id].value == 666 ? OBJECT_REFUSED
									       : OBJECT_APPLIED);
		assert_int_equal(fake_applied[PART_BASE][id],
				 model[0][id].there && model[0][id].value != 666);
		obj = objects_find(&o, PART_CHILD, &id);
		assert_int_equal(obj != NULL, model[1][id].there);
		/* One whose base came is applied; one whose base went may have stayed so. */
		if (obj && fake_applied[PART_BASE][model[1][id].base])
			assert_int_equal(obj->state, OBJECT_APPLIED);
		assert_int_equal(fake_applied[PART_CHILD][id], obj && obj->state == OBJECT_APPLIED);
	}
	assert_null(strstr(fake_log, "wrong"));
}

static void ten_thousand_objects_are_found_again(void **state)
{
	for (uint32_t i = 0; i < 10000; i++)
		set(PART_BOX, i * 7919, i, 0);
	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t id = i * 7919;
		const struct object *obj = objects_find(&o, PART_BOX, &id);
		struct thing t;

		assert_non_null(obj);
		object_whole(&o, obj, &t, sizeof(t));
		assert_int_equal(t.value, i);
	}
	assert_true(o.n_buckets >= 8192);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void bodies_come_out_as_they_went_in(void **state)
{
	static struct thing wanted[500];

	srand(1);
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t i = (uint32_t)rand() % 500;
		struct thing t = {.id = i << 8 | i % 3};
		uint8_t *bytes = (uint8_t *)&t;

		/* Few bytes and many, so that it's stored at other places time and again. */
		for (size_t at = 8; at < sizeof(t); at++)
			bytes[at] = rand() % (1 + round % 5) ? 0 : (uint8_t)rand();
		wanted[i] = t;
		assert_int_equal(objects_set(&o, PART_BOX, &t, &field, NULL), 0);
		i = (uint32_t)rand() % 500;
		if (wanted[i].id) {
			const struct object *obj = objects_find(&o, PART_BOX, &wanted[i].id);

			assert_non_null(obj);
			object_whole(&o, obj, &t, sizeof(t));
			assert_memory_equal(&t, &wanted[i], sizeof(t));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(setting_the_same_again_does_nothing),
		TEST(a_change_hands_over_what_was_applied),
		TEST(deleting_what_isnt_there_is_fine),
		TEST(a_refused_object_stays_with_its_reason),
		TEST(a_refused_object_is_tried_again_when_set_again),
		TEST(what_found_no_room_is_tried_again_when_rows_come_back),
		TEST(a_full_table_is_not_asked_for_each_of_a_thousand_objects),
		TEST(order_doesnt_matter_between_features),
		TEST(a_parked_object_set_again_waits_in_peace),
		TEST(many_parked_objects_are_tried_once_for_many_sets),
		TEST(the_budget_of_a_retry_is_kept),
		TEST(parked_objects_can_be_deleted_while_they_wait_for_their_retry),
		TEST(a_sync_deletes_what_wasnt_set_again),
		TEST(what_is_deleted_within_a_sync_stays_deleted),
		TEST(an_aborted_sync_deletes_nothing),
		TEST(refused_and_parked_objects_are_swept_too),
		TEST(a_cursor_survives_all_that_happens_to_objects),
		TEST(random_steps_end_as_in_a_naive_model),
		TEST(ten_thousand_objects_are_found_again),
		TEST(bodies_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
