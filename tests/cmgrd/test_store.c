// SPDX-License-Identifier: BSD-3-Clause
/* The store against a naive one: the queue, what is told, and that nothing is lost or told twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmgrd/store.h"

enum { FEATURE = 7, KEYS = 64, KEY = 4 };

struct body {
	uint32_t key;
	uint8_t rest[60];
};

/* What fpmd was told, and what it should have been in the end; 0: not there, else its length. */
struct naive {
	struct body body[KEYS];
	size_t len[KEYS];
};

static void random_body(struct body *body, size_t *ret_len, uint32_t key)
{
	size_t len = KEY + (size_t)(rand() % 61);

	*body = (struct body){.key = key};
	for (size_t i = 0; i + KEY < len; i++)
		body->rest[i] = (uint8_t)(rand() % 4);
	*ret_len = frame_trim(body, len, KEY);
}

static void take(struct store *store, struct naive *told, uint32_t most)
{
	struct frame_out out = {};
	struct frame_in in = {};
	struct fpc_frame head;
	const uint8_t *body;
	struct err err;
	size_t len, room;
	uint32_t n = store_take(store, &out, most, 1), seen = 0;

	if (frame_out_len(&out)) {
		memcpy(frame_in_space(&in, &room), out.data + out.start, frame_out_len(&out));
		frame_in_add(&in, frame_out_len(&out));
	}
	while (n && frame_next(&in, &head, &body, &len, &err) > 0) {
		uint32_t key;

		memcpy(&key, body, KEY);
		assert_int_equal(head.seq, ++seen);
		assert_int_equal(head.feature, FEATURE);
		assert_int_equal(head.flags, seen == n ? FPC_F_ACK : 0);
		told->len[key] = head.verb == FPC_SET ? len : 0;
		memset(&told->body[key], 0, sizeof(told->body[key]));
		memcpy(&told->body[key], body, len);
	}
	assert_int_equal(seen, n);
	frame_in_free(&in);
	frame_out_free(&out);
}

static void any_history_is_told_in_the_end(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 50; seed++) {
		struct store *store = store_new();
		static struct naive told, wanted;

		srand(seed);
		memset(&told, 0, sizeof(told));
		memset(&wanted, 0, sizeof(wanted));
		assert_int_equal(store_feature(store, FEATURE, KEY), 0);
		store_listen(store, true);
		for (unsigned i = 0; i < 3000; i++) {
			uint32_t key = (uint32_t)rand() % KEYS;
			struct body body;
			uint8_t note[16] = {};
			size_t len;

			switch (rand() % 8) {
			case 0:
				take(store, &told, 1 + (uint32_t)rand() % 9);
				break;
			case 1:
			case 2:
				assert_int_equal(store_delete(store, FEATURE, &key),
						 wanted.len[key] != 0);
				wanted.len[key] = 0;
				break;
			case 3:
				store_tell(store, FEATURE);
				break;
			default:
				random_body(&body, &len, key);
				assert_int_equal(store_set(store, FEATURE, &body, sizeof(body),
							   note, (size_t)(rand() % 16), NULL),
						 wanted.len[key] != len ||
							 memcmp(&wanted.body[key], &body,
								sizeof(body)) != 0);
				wanted.body[key] = body;
				wanted.len[key] = len;
			}
			assert_true(store->waiting <= KEYS);
			assert_int_equal(store->pushed - store->taken, store->waiting);
		}
		while (store->waiting)
			take(store, &told, 100);
		for (uint32_t key = 0; key < KEYS; key++) {
			assert_int_equal(told.len[key], wanted.len[key]);
			if (wanted.len[key])
				assert_memory_equal(&told.body[key], &wanted.body[key],
						    sizeof(struct body));
			assert_int_equal(store_find(store, FEATURE, &key) != NULL,
					 wanted.len[key] != 0);
		}
		/* Nobody listens any more: nothing is kept but objects. */
		store_listen(store, false);
		assert_int_equal(store->n, store->lists[FEATURE].n);
		store_free(store);
	}
}

static void who_is_not_listened_to_keeps_nothing(void **state)
{
	struct store *store = store_new();
	uint32_t key = 1;

	(void)state;
	store_feature(store, FEATURE, KEY);
	store_set(store, FEATURE, &key, KEY, NULL, 0, NULL);
	assert_int_equal(store->waiting, 0);
	store_delete(store, FEATURE, &key);
	assert_int_equal(store->n, 0);
	store_listen(store, true);
	store_set(store, FEATURE, &key, KEY, NULL, 0, NULL);
	store_delete(store, FEATURE, &key);
	assert_int_equal(store->waiting, 1);
	store_listen(store, false);
	assert_int_equal(store->n, 0);
	store_free(store);
}

static void the_journal_has_each_effective_change(void **state)
{
	struct store *store = store_new();
	struct body body = {.key = 3, .rest = {1}};

	(void)state;
	store_feature(store, FEATURE, KEY);
	store->journal = true;
	store_set(store, FEATURE, &body, sizeof(body), NULL, 0, NULL);
	store_set(store, FEATURE, &body, sizeof(body), "x", 1, NULL);
	store_delete(store, FEATURE, &body);
	store_delete(store, FEATURE, &body);
	assert_int_equal(frame_out_len(&store->written), 2 * sizeof(struct fpc_frame) + 5 + 4);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_history_is_told_in_the_end),
		cmocka_unit_test(who_is_not_listened_to_keeps_nothing),
		cmocka_unit_test(the_journal_has_each_effective_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
