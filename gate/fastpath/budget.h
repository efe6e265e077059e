// SPDX-License-Identifier: BSD-3-Clause
/* How many packets a second may go to Linux: token buckets for each port and class, for each port, and for all.
 *
 * A budget is for one or more classes that share it: their packets, together, stay below a rate for each port and a rate
 * for all ports. Each class of each port has a share in it, and what is within its share always passes; what is beyond
 * passes only while the port's and the common bucket are more than half full, that is as long as others leave something.
 * So a flood of one class on one port takes neither from another class nor from another port, and alone it may have all.
 *
 * Times are in cycles of one clock that all threads share. Workers call without a lock; a full bucket costs loads only. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_PORTS   64
#define BUDGET_CLASSES 2

/* When what was taken so far is paid for; it never lies further back than the burst is worth. */
struct bucket {
	_Atomic uint64_t paid_until;
};

/* Of a bucket, in cycles: what one packet costs, what may be spent at once, and what of this is kept for packets within
 * their share. All zero: no limit. */
struct bucket_rate {
	uint64_t cost, burst, reserve;
};

struct budget {
	struct bucket_rate port, total, share;
	_Alignas(64) struct bucket common;
	struct {
		_Alignas(64) struct bucket all;
		struct bucket share[BUDGET_CLASSES];
	} ports[BUDGET_PORTS];
};

enum budget_answer {
	BUDGET_PAID,
	BUDGET_OVER_SHARE, /* asked for what's within the share only */
	BUDGET_PORT_SPENT,
	BUDGET_TOTAL_SPENT,
};

/* @hz: cycles a second. Rates in packets a second, at least 1; a tenth of a second's worth, and at least 32 packets, may
 * come at once. @n_ports from 1, @n_classes from 1 to BUDGET_CLASSES. All buckets are full at first. */
void budget_init(struct budget *ret, uint64_t hz, uint32_t port_rate, uint32_t total_rate,
		 unsigned n_ports, unsigned n_classes);

/* Takes one packet of the class @class of this budget from @port's buckets; @now must have passed a burst since 0.
 * @within_share: refuse what's beyond. */
enum budget_answer budget_pay(struct budget *budget, unsigned port, unsigned class,
			      bool within_share, uint64_t now);
