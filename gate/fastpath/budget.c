// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/budget.h"

#include <string.h>

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* @parts: how many shares there are in it. Half of a bucket is kept for them, unless one has it alone. */
static struct bucket_rate bucket_rate(uint64_t hz, uint32_t rate, unsigned parts)
{
	struct bucket_rate ret = {.cost = hz / rate};

	ret.burst = larger(hz / 10, 32 * ret.cost);
	ret.reserve = parts > 1 ? ret.burst / 2 : 0;
	return ret;
}

/* Packets at once that each of @parts shares can be sure of. */
static uint64_t sure(const struct bucket_rate *rate, unsigned parts)
{
	return (parts > 1 ? rate->reserve : rate->burst) / rate->cost / parts;
}

void budget_init(struct budget *ret, uint64_t hz, uint32_t port_rate, uint32_t total_rate,
		 unsigned n_ports, unsigned n_classes)
{
	unsigned shares = n_ports * n_classes;

	memset(ret, 0, sizeof(*ret));
	ret->port = bucket_rate(hz, port_rate, n_classes);
	ret->total = bucket_rate(hz, total_rate, shares);
	/* The shares' rates add up to neither more than the port's nor to more than the common one, and so do bursts. */
	ret->share.cost = larger(n_classes * ret->port.cost, shares * ret->total.cost);
	ret->share.burst =
		larger(1, smaller(sure(&ret->port, n_classes), sure(&ret->total, shares))) *
		ret->share.cost;
}

/* Takes one packet unless less than @reserve would be left. */
static bool take(struct bucket *b, const struct bucket_rate *rate, uint64_t reserve, uint64_t now)
{
	uint64_t was = atomic_load_explicit(&b->paid_until, memory_order_relaxed);

	for (;;) {
		uint64_t from = was + rate->burst > now ? was : now - rate->burst;
		uint64_t to = from + rate->cost;

		if (to + reserve > now)
			return false;
		if (atomic_compare_exchange_weak_explicit(
			    &b->paid_until, &was, to, memory_order_relaxed, memory_order_relaxed))
			return true;
	}
}

static void give_back(struct bucket *b, const struct bucket_rate *rate)
{
	atomic_fetch_sub_explicit(&b->paid_until, rate->cost, memory_order_relaxed);
}

enum budget_answer budget_pay(struct budget *budget, unsigned port, unsigned class,
			      bool within_share, uint64_t now)
{
	struct bucket *share = &budget->ports[port].share[class];
	struct bucket *all = &budget->ports[port].all;
	bool shared = take(share, &budget->share, 0, now);

	if (!shared && within_share)
		return BUDGET_OVER_SHARE;
	if (!take(all, &budget->port, shared ? 0 : budget->port.reserve, now)) {
		if (shared)
			give_back(share, &budget->share);
		return BUDGET_PORT_SPENT;
	}
	if (!take(&budget->common, &budget->total, shared ? 0 : budget->total.reserve, now)) {
		give_back(all, &budget->port);
		if (shared)
			give_back(share, &budget->share);
		return BUDGET_TOTAL_SPENT;
	}
	return BUDGET_PAID;
}
