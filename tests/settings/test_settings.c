// SPDX-License-Identifier: BSD-3-Clause
/* fast-path.env: what is accepted, and that a bad line changes nothing and is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/settings.h"

static int parse(struct settings *s, const char *text, struct err *err)
{
	return settings_parse(s, text, strlen(text), "f", err);
}

static void everything_is_auto_at_first(void **state)
{
	struct settings s;

	settings_init(&s);
	assert_string_equal(s.ports, "");
	assert_int_equal(s.mbufs, SETTING_AUTO);
	assert_int_equal(setting_or(s.mbufs, 7), 7);
}

static void values_comments_and_quotes_are_read(void **state)
{
	struct settings s;

	settings_init(&s);
	assert_int_equal(parse(&s,
			       "# comment\n\n; another\nFP_PORTS=\"a=0000:01:00.0 b=net_null0\"\n"
			       "FP_TAP='queue'\n FP_MBUFS=2048  \nFP_HUGEPAGES=no",
			       NULL),
			 0);
	assert_string_equal(s.ports, "a=0000:01:00.0 b=net_null0");
	assert_int_equal(s.tap, TAP_QUEUE);
	assert_int_equal(s.mbufs, 2048);
	assert_int_equal(s.hugepages, HUGEPAGES_NO);
}

static void auto_takes_a_value_back(void **state)
{
	struct settings s;

	settings_init(&s);
	assert_int_equal(
		parse(&s, "FP_PORTS=x=net_null0\nFP_PORTS=auto\nFP_TAP=vhost\nFP_TAP=auto\n", NULL),
		0);
	assert_string_equal(s.ports, "");
	assert_int_equal(s.tap, SETTING_AUTO);
}

static void a_bad_line_is_named_and_changes_nothing(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"FP_MBUFS=4096\nFP_TAP=kni\n", "f:2: FP_TAP=kni is none of its values"},
		{"FP_MBUFS=99\n", "f:1: FP_MBUFS=99 is no number from 1024 to 16777216"},
		{"FP_MBUFS=4k\n", "f:1: FP_MBUFS=4k is no number from 1024 to 16777216"},
		{"FP_MBUFS=99999999999999999999999\n",
		 "f:1: FP_MBUFS=99999999999999999999999 is no number from 1024 to 16777216"},
		{"FP_MBUFS=\n", "f:1: FP_MBUFS= is no number from 1024 to 16777216"},
		{"\n\nFP_SPEED=9\n", "f:3: unknown setting FP_SPEED"},
		{"FP_PORTS=\"a\n", "f:1: FP_PORTS has a quote too many or too few"},
		{"FP_PORTS=a\"b\n", "f:1: FP_PORTS has a quote too many or too few"},
		{"hello\n", "f:1: no KEY=VALUE line"},
		{"=1\n", "f:1: no KEY=VALUE line"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings s, before;
		struct err err = {};

		settings_init(&s);
		before = s;
		assert_int_equal(parse(&s, cases[i].text, &err), -22);
		assert_string_equal(err.text, cases[i].error);
		assert_memory_equal(&s, &before, sizeof(s));
	}
}

static void a_refused_choice_hints_at_the_right_ones(void **state)
{
	struct settings s;
	struct err err;

	settings_init(&s);
	parse(&s, "FP_TAP=kni", &err);
	assert_string_equal(err.hint, "use auto or vhost or queue");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_auto_at_first),
		cmocka_unit_test(values_comments_and_quotes_are_read),
		cmocka_unit_test(auto_takes_a_value_back),
		cmocka_unit_test(a_bad_line_is_named_and_changes_nothing),
		cmocka_unit_test(a_refused_choice_hints_at_the_right_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
