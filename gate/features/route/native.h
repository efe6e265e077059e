// SPDX-License-Identifier: BSD-3-Clause
/* cmgrd's decoder of routes: RTM_NEWROUTE and RTM_DELROUTE into objects of the store, every VRF and table.
 *
 * The kernel may hold several routes under what is one key in FPC (prefix, table, metric, type of service):
 *
 * - IPv4 keeps a list and uses its first living route. Each message tells what happened to the list: NLM_F_EXCL is the
 *   only one, NLM_F_REPLACE takes the first one's place, NLM_F_APPEND goes to the end, neither to the front.
 * - IPv6 joins routes with a gateway into one multipath route; a message shows it whole (RTA_MULTIPATH), a deletion shows
 *   what is deleted of it. Others lie side by side, such as every device's fe80::/64: which of them is used is Linux's to
 *   decide, so such a key is marked unsupported.
 *
 * Routes of a resilient next hop group are marked so, too: which bucket leads where, and when one is idle, is Linux's to know.
 *
 * What can't be fitted to what's known is noted, and the family must be dumped. tests/cmgrd/oracle.py is the same in a few
 * lines of Python, and tests hold the two against each other. */
#pragma once

#include "cmgrd/inlet.h"
#include "cmgrd/store.h"

/* What a message showed beside its route. */
enum routes_note {
	ROUTES_REPLACED = 1 << 0, /* IPv4: a replacement from before the last dump; dump again */
	ROUTES_DELETED4 = 1 << 1, /* a deletion of another route than those known */
	ROUTES_ADDED6 = 1 << 2,	  /* one more route to a prefix, of another sort */
	ROUTES_DELETED6 = 1 << 3,
	ROUTES_MULTICAST6 =
		1 << 4, /* a device's multicast route: IPv6 was enabled or disabled on it */
};

struct routes {
	struct store *store;
	uint16_t feature;
	uint32_t notes; /* enum routes_note; the caller takes them by setting 0 */
	/* Next hop groups that don't choose by a hash alone (resilient ones): VRF in the upper half, number. */
	uint64_t *strange;
	uint32_t n_strange;
};

/* NULL: no memory. */
struct routes *routes_new(struct store *store, uint16_t feature);
void routes_free(struct routes *routes);

/* inlet_decoder; the state is struct routes. */
int routes_message(void *state, const struct inlet_message *m, struct err *err);

/* Whether routes of that next hop group are left to Linux; they must be dumped if that's new, which is 1 then, else 0. -ENOMEM. */
int routes_strange_group(struct routes *routes, uint32_t vrf, uint32_t number, bool strange);

/* A dump of a VRF's routes of @family (AF_INET, AF_INET6) begins; is over: what it didn't show is gone; broke off. */
void routes_begin(struct routes *routes, uint32_t vrf, uint8_t family);
void routes_end(struct routes *routes, uint32_t vrf, uint8_t family);
void routes_abandon(struct routes *routes, uint32_t vrf, uint8_t family);
/* The VRF is gone. */
void routes_forget(struct routes *routes, uint32_t vrf);
/* How many keys have several routes. */
uint32_t routes_lists(const struct routes *routes);
