// SPDX-License-Identifier: BSD-3-Clause
/* Plugins that must not be taken; BAD says which. */
#include <sluice/plugin.h>

#define NO_SYMBOL  1
#define OTHER_ABI  2
#define OTHER_DPDK 3
#define UNDEFINED  4
#define NO_START   5
#define BAD_NAME   6
#define WONT_START 7

static const char *start(void)
{
#if BAD == UNDEFINED
	void fp_there_is_no_such_function(void);

	fp_there_is_no_such_function();
#endif
	return BAD == WONT_START ? "its licence has run out" : NULL;
}

#if BAD == NO_SYMBOL
int start_of_something_else(void)
{
	return start() != NULL;
}
#elif BAD == OTHER_ABI
FP_PLUGIN("bad", "1", "of another version", .start = start, .abi = FP_PLUGIN_ABI + 1)
#elif BAD == OTHER_DPDK
FP_PLUGIN("bad", "1", "built with another DPDK", .start = start, .dpdk = 1911)
#elif BAD == NO_START
FP_PLUGIN("bad", "1", "without start", .configure = NULL, .start = BAD ? NULL : start)
#elif BAD == BAD_NAME
FP_PLUGIN("Bad Name", "1", "badly named", .start = start)
#else
FP_PLUGIN("bad", "1", "bad", .start = start)
#endif
