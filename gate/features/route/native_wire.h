// SPDX-License-Identifier: BSD-3-Clause
/* A route as cmgrd keeps it, from the kernel's message. */
#pragma once

#include <stddef.h>

#include "cmgrd/inlet.h"
#include "features/route/fpc_route.h"
#include "features/route/native.h"

#define ROUTE_HEAD     offsetof(struct fpc_route, nexthops)
#define ROUTE_REST_MAX 20

/* One of the kernel's routes. `rest` is what tells it apart from another one under the same key, and isn't in the body:
 * of IPv4 the scope, preferred source and next hop object, of IPv6 the source prefix. The body isn't shortened. */
struct route_known {
	uint16_t len;
	uint8_t rest_len;
	uint8_t pad;
	uint8_t data[]; /* body, then rest */
};

union route_known_room {
	uint64_t aligned;
	struct route_known k;
	uint8_t room[sizeof(struct route_known) + sizeof(struct fpc_route) + ROUTE_REST_MAX];
};

static inline struct fpc_route *route_body(const struct route_known *k)
{
	return (struct fpc_route *)(uintptr_t)k->data;
}

/* From RTM_NEWROUTE or RTM_DELROUTE. INLET_PASS: of another family. */
int route_decode(const struct routes *routes, const struct inlet_message *m,
		 struct route_known *ret, struct err *err);
