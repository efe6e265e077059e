// SPDX-License-Identifier: BSD-3-Clause
/* The counters of drop and exception reasons in shared memory. */
#pragma once

#include <stdint.h>

/* Row of the stats table "worker_reason": how often each reason was met by one worker; row index: worker.
 * The readers take the names from the table "reason", so a new reason changes no layout. */
#define REASONS_MAX 512
struct worker_reason_row {
	uint64_t count[REASONS_MAX];
};

/* Row of the stats table "reason"; row index: enum reason. Written at start-up. */
struct reason_row {
	char name[40]; /* "": no such reason */
	char text[84];
	uint32_t kind; /* enum reason_kind */
};
static_assert(sizeof(struct reason_row) == 128);
