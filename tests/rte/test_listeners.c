// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HEAD "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"
static const unsigned ifindex[] = {4, 0, 7};

static uint64_t listeners(const char *text)
{
	return capture_listeners(text, ifindex, 3);
}

static void tcpdump_on_a_port_is_seen(void **state)
{
	assert_int_equal(
		listeners(HEAD
			  "000000004cf24ac3 3      3    0003   4     1 0      0      761792\n"),
		1);
	assert_int_equal(
		listeners(HEAD
			  "000000004cf24ac3 3      3    0003   7     1 0      0      761792\n"
			  "00000000a06ca57e 3      3    0003   4     1 0      0      761805\n"),
		5);
}

static void tcpdump_on_any_is_on_all_ports(void **state)
{
	assert_int_equal(
		listeners(HEAD
			  "000000004cf24ac3 3      2    0003   0     1 0      0      761792\n"),
		5);
}

static void others_are_not(void **state)
{
	/* fp-rte's own and unbound ones, LLDP, other interfaces. */
	assert_int_equal(
		listeners(HEAD
			  "00000000e8f1599f 2      3    0000   0     0 0      0      761656\n"
			  "00000000e8f1599f 2      3    0003   4     0 0      0      761656\n"
			  "00000000e8f1599f 2      3    88cc   4     1 0      0      761656\n"
			  "00000000e8f1599f 2      3    0003   9     1 0      0      761656\n"),
		0);
}

static void junk_is_passed_over(void **state)
{
	assert_int_equal(listeners(""), 0);
	assert_int_equal(listeners(HEAD), 0);
	assert_int_equal(listeners("0003 4 1"), 0);
	assert_int_equal(listeners(HEAD "\n\n1 2 3\nx y z 0003 4\n"
					"1 2 3 0003 4 1 0 0 9"),
			 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcpdump_on_a_port_is_seen),
		cmocka_unit_test(tcpdump_on_any_is_on_all_ports),
		cmocka_unit_test(others_are_not),
		cmocka_unit_test(junk_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
