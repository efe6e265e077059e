// SPDX-License-Identifier: BSD-3-Clause
/* What a client may send: each rule of fpc.h, once kept and once broken. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "features/iface/fpc_iface.h"
#include "features/route/fpc_route.h"
#include "fpc/check.h"

static _Alignas(64) uint8_t whole[FPC_MAX_BODY];
static const char *field;
static struct err err;

static int check(uint16_t verb, uint16_t feature, uint16_t flags, const void *body, size_t len)
{
	struct fpc_frame head = {
		.len = (uint32_t)(sizeof(head) + len),
		.head_len = sizeof(head),
		.verb = verb,
		.feature = feature,
		.flags = flags,
	};

	memset(whole, 0xaa, sizeof(whole));
	err = (struct err){};
	return check_frame(&head, body, len, feature_find(feature), whole, &field, &err);
}

static void a_whole_object_is_taken_as_it_is(void **state)
{
	struct fpc_iface iface = {.vrf = 1, .ifindex = 2, .flags = FPC_IFACE_UP, .name = "eth0"};

	assert_int_equal(check(FPC_SET, FEATURE_IFACE, FPC_F_ACK, &iface, sizeof(iface)), 0);
	assert_memory_equal(whole, &iface, sizeof(iface));
}

static void a_short_object_is_filled_with_zeros(void **state)
{
	struct fpc_iface iface = {.vrf = 1, .ifindex = 2, .flags = FPC_IFACE_UP};

	assert_int_equal(check(FPC_SET, FEATURE_IFACE, 0, &iface, 12), 0);
	assert_memory_equal(whole, &iface, sizeof(iface));
	/* The key alone: even the flags are as before. */
	iface.flags = 0;
	assert_int_equal(check(FPC_SET, FEATURE_IFACE, 0, &iface, FPC_IFACE_KEY_SIZE), 0);
	assert_memory_equal(whole, &iface, sizeof(iface));
}

static void an_object_without_its_key_is_refused(void **state)
{
	struct fpc_iface iface = {.vrf = 1, .ifindex = 2};

	for (uint16_t verb = FPC_SET; verb <= FPC_DEL; verb++) {
		assert_int_equal(check(verb, FEATURE_IFACE, 0, &iface, FPC_IFACE_KEY_SIZE - 1),
				 -EINVAL);
		assert_non_null(strstr(err.text, "iface"));
		assert_int_equal(check(verb, FEATURE_IFACE, 0, NULL, 0), -EINVAL);
	}
}

static void a_long_object_may_only_be_longer_by_zeros(void **state)
{
	uint8_t body[sizeof(struct fpc_iface) + 40] = {1};

	assert_int_equal(check(FPC_SET, FEATURE_IFACE, 0, body, sizeof(body)), 0);
	assert_memory_equal(whole, body, sizeof(struct fpc_iface));
	assert_int_equal(whole[sizeof(struct fpc_iface)], 0xaa);
	body[sizeof(body) - 1] = 1;
	assert_int_equal(check(FPC_SET, FEATURE_IFACE, 0, body, sizeof(body)), -EINVAL);
	body[sizeof(body) - 1] = 0;
	body[sizeof(struct fpc_iface)] = 1;
	assert_int_equal(check(FPC_SET, FEATURE_IFACE, 0, body, sizeof(body)), -EINVAL);
}

static void unknown_flags_are_refused_and_named(void **state)
{
	struct fpc_iface iface = {.ifindex = 2, .flags = 0x80000000 | FPC_IFACE_UP};

	assert_int_equal(check(FPC_SET, FEATURE_IFACE, 0, &iface, sizeof(iface)), -EINVAL);
	assert_string_equal(field, "flags");
	assert_non_null(strstr(err.text, "0x80000000"));
}

static void the_flags_stand_behind_the_key_of_every_feature(void **state)
{
	for (unsigned i = 0; i < n_features; i++) {
		uint8_t body[8192] = {0};
		uint32_t flags = ~features[i]->known_flags;

		if (!features[i]->msg_size)
			continue;
		assert_true(features[i]->key_size + sizeof(flags) <= features[i]->msg_size);
		assert_true(features[i]->msg_size <= sizeof(body));
		assert_int_equal(check(FPC_SET, features[i]->id, 0, body, features[i]->msg_size),
				 0);
		memcpy(body + features[i]->key_size, &flags, sizeof(flags));
		assert_int_equal(check(FPC_SET, features[i]->id, 0, body, features[i]->msg_size),
				 -EINVAL);
		assert_string_equal(field, "flags");
	}
}

static void of_a_deletion_only_the_key_is_read(void **state)
{
	uint8_t body[sizeof(struct fpc_iface) + 40];

	memset(body, 0xff, sizeof(body));
	assert_int_equal(check(FPC_DEL, FEATURE_IFACE, 0, body, sizeof(body)), 0);
	assert_memory_equal(whole, body, FPC_IFACE_KEY_SIZE);
	assert_int_equal(whole[FPC_IFACE_KEY_SIZE], 0xaa);
}

static void unknown_features_verbs_and_frame_flags_are_refused(void **state)
{
	assert_int_equal(check(FPC_SET, 999, 0, "12345678", 8), -EOPNOTSUPP);
	assert_int_equal(check(FPC_SET, 0, 0, "12345678", 8), -EOPNOTSUPP);
	/* A feature without objects. */
	assert_int_equal(check(FPC_SET, FEATURE_IP, 0, "12345678", 8), -EOPNOTSUPP);
	assert_int_equal(check(FPC_DUMP, FEATURE_IP, 0, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(check(FPC_SYNC_END, 999, 0, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(check(0, 0, 0, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(check(FPC_ACK, 0, 0, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(check(FPC_EVENT, 0, 0, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(check(99, 0, 0, NULL, 0), -EOPNOTSUPP);
	assert_string_equal(field, "frame.verb");
	assert_int_equal(check(FPC_DUMP, 0, FPC_F_REFUSED, NULL, 0), -EINVAL);
	assert_int_equal(check(FPC_DUMP, 0, 0x8000, NULL, 0), -EINVAL);
	assert_string_equal(field, "frame.flags");
}

static void brackets_and_dumps_take_no_body(void **state)
{
	for (uint16_t verb = FPC_SYNC_BEGIN; verb <= FPC_DUMP; verb++) {
		assert_int_equal(check(verb, 0, 0, NULL, 0), 0);
		assert_int_equal(check(verb, FEATURE_ROUTE, FPC_F_ACK, NULL, 0), 0);
		assert_int_equal(check(verb, 0, 0, "\0\0", 2), 0);
		assert_int_equal(check(verb, 0, 0, "\0\1", 2), -EINVAL);
	}
}

static void hello_says_who_speaks_which_version(void **state)
{
	struct fpc_hello hello = {.version = FPC_VERSION, .role = 3, .name = "test"};

	assert_int_equal(check(FPC_HELLO, 0, 0, &hello, sizeof(hello)), 0);
	assert_memory_equal(whole, &hello, sizeof(hello));
	assert_int_equal(check(FPC_HELLO, 0, 0, &hello, 8), 0);
	assert_string_equal(((struct fpc_hello *)whole)->name, "");
	assert_int_equal(check(FPC_HELLO, 0, 0, &hello, 7), -EINVAL);
	assert_int_equal(check(FPC_HELLO, FEATURE_IFACE, 0, &hello, sizeof(hello)), -EINVAL);
	memset(hello.name, 'x', sizeof(hello.name));
	assert_int_equal(check(FPC_HELLO, 0, 0, &hello, sizeof(hello)), -EINVAL);
	assert_string_equal(field, "name");
	memcpy(hello.name, "a\nb", 4);
	hello.name[31] = '\0';
	assert_int_equal(check(FPC_HELLO, 0, 0, &hello, sizeof(hello)), -EINVAL);
	hello = (struct fpc_hello){.version = FPC_VERSION + 1, .role = 3};
	assert_int_equal(check(FPC_HELLO, 0, 0, &hello, sizeof(hello)), -EPROTO);
	assert_string_equal(field, "version");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_object_is_taken_as_it_is),
		cmocka_unit_test(a_short_object_is_filled_with_zeros),
		cmocka_unit_test(an_object_without_its_key_is_refused),
		cmocka_unit_test(a_long_object_may_only_be_longer_by_zeros),
		cmocka_unit_test(unknown_flags_are_refused_and_named),
		cmocka_unit_test(the_flags_stand_behind_the_key_of_every_feature),
		cmocka_unit_test(of_a_deletion_only_the_key_is_read),
		cmocka_unit_test(unknown_features_verbs_and_frame_flags_are_refused),
		cmocka_unit_test(brackets_and_dumps_take_no_body),
		cmocka_unit_test(hello_says_who_speaks_which_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
