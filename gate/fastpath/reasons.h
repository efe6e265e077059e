// SPDX-License-Identifier: BSD-3-Clause
/* The counters of drop and exception reasons in shared memory, and the classes of exceptions. */
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
	uint16_t kind;	 /* enum reason_kind */
	uint16_t plugin; /* it's a plugin's, whose name it begins with */
};
static_assert(sizeof(struct reason_row) == 128);

/* Classes of exceptions, the most important first (classify.h). */
enum fp_class {
	FP_CLASS_CONTROL,   /* keeps neighbours, routing and tunnels alive */
	FP_CLASS_LOCAL,	    /* other packets for this host */
	FP_CLASS_FORWARDED, /* all others: Linux forwards, answers or drops them */
	FP_CLASSES,
};

/* Row of the stats table "worker_exception"; row index: worker. Of the packets that were to be handed to Linux: by class,
 * those that were (under the reason of the exception), and those that were dropped instead (under that reason). What's
 * counted here is counted in "worker_reason" too. */
struct worker_exception_row {
	uint64_t count[FP_CLASSES][REASONS_MAX];
};
