// SPDX-License-Identifier: BSD-3-Clause
/* Budgets over simulated time: rates are kept, shares are left to each, nothing is wasted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fastpath/budget.h"

#define HZ    1000000000ULL /* a nanosecond a cycle */
#define START (1000 * HZ)   /* a clock that has run for a while */
#define PORTS 8

static struct budget budget;

/* A source of packets: a port's class, and cycles between two packets; 0: none. */
struct source {
	unsigned port, class;
	uint64_t every, next;
	uint64_t sent, passed;
};

/* Runs all sources for @seconds, in the order of time, beginning @settle seconds before what's counted. */
static void run(struct source *sources, unsigned n, uint64_t settle, uint64_t seconds)
{
	uint64_t counted = START + settle * HZ, end = counted + seconds * HZ;

	for (unsigned i = 0; i < n; i++)
		sources[i].next = START + i;
	for (;;) {
		struct source *s = &sources[0];

		for (unsigned i = 1; i < n; i++)
			if (sources[i].next < s->next)
				s = &sources[i];
		if (s->next >= end)
			break;
		if (s->next >= counted)
			s->sent++;
		if (budget_pay(&budget, s->port, s->class, false, s->next) == BUDGET_PAID &&
		    s->next >= counted)
			s->passed++;
		s->next += s->every;
	}
}

static void assert_near(uint64_t value, uint64_t wanted, unsigned percent)
{
	if (value * 100 < wanted * (100 - percent) || value * 100 > wanted * (100 + percent))
		fail_msg("%lu isn't within %u %% of %lu", value, percent, wanted);
}

static void one_flood_may_have_all_of_its_port(void **state)
{
	struct source flood = {.port = 0, .class = 0, .every = HZ / 200000};

	budget_init(&budget, HZ, 1000, 100000, PORTS, 2);
	run(&flood, 1, 1, 10);
	assert_near(flood.passed, 10 * 1000, 1);
}

static void at_once_a_tenth_of_a_second_s_worth_passes_at_most(void **state)
{
	unsigned passed = 0;

	budget_init(&budget, HZ, 10000, 1000000, 1, 2);
	for (unsigned i = 0; i < 5000; i++)
		passed += budget_pay(&budget, 0, 0, false, START) == BUDGET_PAID;
	assert_in_range(passed, 500, 1000);
}

static void two_floods_have_half_of_the_port_each(void **state)
{
	struct source floods[] = {
		{.port = 0, .class = 0, .every = HZ / 200000},
		{.port = 0, .class = 1, .every = HZ / 50000},
	};

	budget_init(&budget, HZ, 1000, 100000, PORTS, 2);
	run(floods, 2, 1, 10);
	assert_near(floods[0].passed + floods[1].passed, 10 * 1000, 1);
	assert_near(floods[0].passed, 10 * 500, 5);
}

static void what_is_within_the_share_passes_to_the_packet(void **state)
{
	struct source sources[] = {
		{.port = 0, .class = 0, .every = HZ / 200000},
		{.port = 0, .class = 1, .every = HZ / 490},
	};

	budget_init(&budget, HZ, 1000, 100000, PORTS, 2);
	run(sources, 2, 1, 10);
	assert_int_equal(sources[1].passed, sources[1].sent);
	assert_near(sources[0].passed, 10 * (1000 - 490), 2);
}

static void all_ports_flooded_share_what_all_may_have(void **state)
{
	struct source floods[PORTS];
	uint64_t all = 0;

	for (unsigned i = 0; i < PORTS; i++)
		floods[i] = (struct source){.port = i, .class = i % 2, .every = HZ / 20000};
	budget_init(&budget, HZ, 5000, 8000, PORTS, 2);
	run(floods, PORTS, 1, 10);
	for (unsigned i = 0; i < PORTS; i++)
		all += floods[i].passed;
	assert_near(all, 10 * 8000, 1);
	for (unsigned i = 0; i < PORTS; i++)
		assert_true(floods[i].passed >= 10UL * 8000 / PORTS / 2 - 10);
}

static void flooded_ports_leave_a_quiet_one_its_share(void **state)
{
	struct source sources[PORTS];

	for (unsigned i = 0; i < PORTS; i++)
		sources[i] = (struct source){.port = i, .class = 0, .every = HZ / 20000};
	sources[3].every = HZ / 480;
	budget_init(&budget, HZ, 5000, 8000, PORTS, 2);
	run(sources, PORTS, 1, 10);
	assert_int_equal(sources[3].passed, sources[3].sent);
}

static void answers_tell_which_budget_is_spent(void **state)
{
	enum budget_answer answer;

	budget_init(&budget, HZ, 1, 1000, 1, 1);
	do
		answer = budget_pay(&budget, 0, 0, false, START);
	while (answer == BUDGET_PAID);
	assert_int_equal(answer, BUDGET_PORT_SPENT);
	budget_init(&budget, HZ, 1000, 1, 1, 1);
	do
		answer = budget_pay(&budget, 0, 0, false, START);
	while (answer == BUDGET_PAID);
	assert_int_equal(answer, BUDGET_TOTAL_SPENT);
	budget_init(&budget, HZ, 1000, 1000, 1, 2);
	do
		answer = budget_pay(&budget, 0, 0, true, START);
	while (answer == BUDGET_PAID);
	assert_int_equal(answer, BUDGET_OVER_SHARE);
}

static void the_lowest_and_highest_rates_work(void **state)
{
	struct source slow = {.port = 0, .class = 0, .every = HZ / 100};
	struct source fast = {.port = 0, .class = 0, .every = HZ / 1000000};

	budget_init(&budget, HZ, 1, 1, 64, 2);
	run(&slow, 1, 100, 100);
	assert_near(slow.passed, 100, 2);
	budget_init(&budget, HZ, 100000000, 100000000, 64, 2);
	run(&fast, 1, 0, 1);
	assert_int_equal(fast.passed, fast.sent);
}

static void without_rates_there_is_no_limit(void **state)
{
	budget = (struct budget){};
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(budget_pay(&budget, 63, 1, true, START), BUDGET_PAID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_flood_may_have_all_of_its_port),
		cmocka_unit_test(at_once_a_tenth_of_a_second_s_worth_passes_at_most),
		cmocka_unit_test(two_floods_have_half_of_the_port_each),
		cmocka_unit_test(what_is_within_the_share_passes_to_the_packet),
		cmocka_unit_test(all_ports_flooded_share_what_all_may_have),
		cmocka_unit_test(flooded_ports_leave_a_quiet_one_its_share),
		cmocka_unit_test(answers_tell_which_budget_is_spent),
		cmocka_unit_test(the_lowest_and_highest_rates_work),
		cmocka_unit_test(without_rates_there_is_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
