// SPDX-License-Identifier: BSD-3-Clause
/* Frames on a byte stream: what goes in comes out, whatever pieces it arrives in; what isn't FPC is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fpc/frame.h"

static void add(struct frame_in *in, const void *bytes, size_t len)
{
	size_t room;
	uint8_t *space = frame_in_space(in, &room);

	assert_non_null(space);
	assert_true(room >= len);
	if (len)
		memcpy(space, bytes, len);
	frame_in_add(in, len);
}

static void add_head(struct frame_in *in, uint32_t len, uint16_t head_len)
{
	struct fpc_frame head = {.len = len, .head_len = head_len, .verb = FPC_SET};

	add(in, &head, sizeof(head));
}

static void frames_come_out_as_they_went_in_byte_by_byte(void **state)
{
	struct frame_out out = {};
	struct frame_in in = {};
	struct fpc_frame head;
	const uint8_t *body;
	size_t len;
	int n = 0;

	assert_int_equal(frame_put(&out, FPC_SET, 3, FPC_F_ACK, 77, "hello", 5), 0);
	assert_int_equal(frame_put(&out, FPC_DUMP, 0, 0, 78, NULL, 0), 0);
	for (size_t i = 0; i < frame_out_len(&out); i++) {
		add(&in, out.data + i, 1);
		while (frame_next(&in, &head, &body, &len, NULL) == 1) {
			if (n++ == 0) {
				assert_int_equal(head.verb, FPC_SET);
				assert_int_equal(head.feature, 3);
				assert_int_equal(head.flags, FPC_F_ACK);
				assert_int_equal(head.seq, 77);
				assert_int_equal(len, 5);
				assert_memory_equal(body, "hello", 5);
			} else {
				assert_int_equal(head.verb, FPC_DUMP);
				assert_int_equal(len, 0);
			}
		}
	}
	assert_int_equal(n, 2);
	frame_in_free(&in);
	frame_out_free(&out);
}

static void a_million_bytes_pass_through_in_odd_pieces(void **state)
{
	static uint8_t body[FPC_MAX_FRAME - 16];
	struct frame_out out = {};
	struct frame_in in = {};
	struct fpc_frame head;
	const uint8_t *got;
	uint32_t put = 0, taken = 0;
	size_t len;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	while (put < 60 || frame_out_len(&out)) {
		size_t room, n;
		uint8_t *space = frame_in_space(&in, &room);

		if (put < 60) {
			assert_int_equal(
				frame_put(&out, FPC_SET, 1, 0, put, body, put * 1000 % 65000), 0);
			put++;
		}
		n = frame_out_len(&out) < 30011 ? frame_out_len(&out) : 30011;
		assert_true(room > 0);
		if (n > room)
			n = room;
		memcpy(space, out.data + out.start, n);
		frame_in_add(&in, n);
		frame_out_sent(&out, n);
		while (frame_next(&in, &head, &got, &len, NULL) == 1) {
			assert_int_equal(head.seq, taken);
			assert_int_equal(len, taken * 1000 % 65000);
			assert_memory_equal(got, body, len);
			taken++;
		}
	}
	assert_int_equal(taken, 60);
	frame_in_free(&in);
	frame_out_free(&out);
}

static void the_longest_frame_fits_and_a_longer_one_doesnt(void **state)
{
	static const uint8_t body[FPC_MAX_FRAME];
	struct frame_out out = {};
	struct frame_in in = {};
	struct fpc_frame head;
	const uint8_t *got;
	size_t len;

	assert_int_equal(frame_put(&out, FPC_SET, 1, 0, 0, body, FPC_MAX_FRAME - 15), -EMSGSIZE);
	assert_int_equal(frame_out_len(&out), 0);
	assert_int_equal(frame_put(&out, FPC_SET, 1, 0, 0, body, FPC_MAX_FRAME - 16), 0);
	add(&in, out.data, FPC_MAX_FRAME);
	assert_int_equal(frame_next(&in, &head, &got, &len, NULL), 1);
	assert_int_equal(len, FPC_MAX_FRAME - 16);
	frame_in_free(&in);
	frame_out_free(&out);
}

static void heads_that_are_no_fpc_are_refused(void **state)
{
	static const struct {
		uint32_t len;
		uint16_t head_len;
		int code;
	} bad[] = {
		{FPC_MAX_FRAME + 1, 16, -EMSGSIZE},
		{UINT32_MAX, 16, -EMSGSIZE},
		{100, 15, -EPROTO},
		{100, 0, -EPROTO},
		{15, 16, -EPROTO},
		{0, 16, -EPROTO},
		{20, 24, -EPROTO},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct frame_in in = {};
		struct fpc_frame head = {.seq = 4711};
		const uint8_t *body = NULL;
		struct err err = {};
		size_t len;

		add_head(&in, bad[i].len, bad[i].head_len);
		assert_int_equal(frame_next(&in, &head, &body, &len, &err), bad[i].code);
		assert_int_equal(err.code, -bad[i].code);
		assert_true(err.text[0] != '\0');
		assert_int_equal(head.seq, 4711);
		assert_null(body);
		frame_in_free(&in);
	}
}

static void a_longer_head_is_skipped(void **state)
{
	struct frame_in in = {};
	struct fpc_frame head;
	const uint8_t *body;
	size_t len;

	add_head(&in, 16 + 8 + 3, 24);
	add(&in, "12345678abc", 11);
	assert_int_equal(frame_next(&in, &head, &body, &len, NULL), 1);
	assert_int_equal(len, 3);
	assert_memory_equal(body, "abc", 3);
	frame_in_free(&in);
}

static void trimming_keeps_the_key(void **state)
{
	assert_int_equal(frame_trim("a\0b\0\0", 5, 0), 3);
	assert_int_equal(frame_trim("a\0b\0\0", 5, 4), 4);
	assert_int_equal(frame_trim("\0\0\0", 3, 0), 0);
	assert_int_equal(frame_trim("", 0, 0), 0);
}

static void verbs_have_names(void **state)
{
	assert_string_equal(frame_verb_name(FPC_SYNC_BEGIN), "SYNC_BEGIN");
	assert_null(frame_verb_name(0));
	assert_null(frame_verb_name(10));
	assert_null(frame_verb_name(UINT16_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_went_in_byte_by_byte),
		cmocka_unit_test(a_million_bytes_pass_through_in_odd_pieces),
		cmocka_unit_test(the_longest_frame_fits_and_a_longer_one_doesnt),
		cmocka_unit_test(heads_that_are_no_fpc_are_refused),
		cmocka_unit_test(a_longer_head_is_skipped),
		cmocka_unit_test(trimming_keeps_the_key),
		cmocka_unit_test(verbs_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
