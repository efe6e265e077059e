// SPDX-License-Identifier: BSD-3-Clause
/* Any datagrams, dumped and not, in any order: no harm is done, what is in the store is well-formed FPC, and the store's
 * books are right. The input is steps: a byte that says what to do, a byte of length, so much data. */
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "cmgrd/inlet.h"
#include "cmgrd/store.h"
#include "features/neigh/native.h"
#include "features/route/native.h"
#include "fpc/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VRFS = 2, RTM_NEWROUTE = 24, RTM_NEWNEIGH = 28 };

static void step(uint8_t what, struct inlet *inlet, struct store *store, struct routes *routes,
		 struct neighs *neighs, const uint8_t *data, size_t len)
{
	struct inlet_message about = {.vrf = what & 1, .dumped = what & 2, .late = what & 4};
	/* An own copy at its exact size: reading beyond it is seen. */
	uint8_t family = what & 8 ? AF_INET : AF_INET6, *copy = malloc(len ? len : 1);
	struct frame_out out = {};
	struct inlet_end end;

	memcpy(copy, data, len);
	switch (what >> 4) {
	case 0:
		routes_begin(routes, about.vrf, family);
		break;
	case 1:
		routes_end(routes, about.vrf, family);
		break;
	case 2:
		routes_abandon(routes, about.vrf, family);
		break;
	case 3:
		neighs_begin(neighs, about.vrf);
		break;
	case 4:
		neighs_end(neighs, about.vrf);
		break;
	case 5:
		neighs_quiet(neighs, about.vrf, len, what & 2);
		break;
	case 6:
		routes_forget(routes, about.vrf);
		neighs_forget(neighs, about.vrf, 0);
		break;
	case 7:
		store_listen(store, what & 1);
		break;
	case 8:
		store_tell(store, neighs->feature);
		store_tell(store, routes->feature);
		break;
	case 9:
		store_take(store, &out, (uint32_t)len, 1);
		frame_out_free(&out);
		break;
	default:
		inlet_datagram(inlet, copy, len, &about, &end);
		inlet->passed_len = 0;
	}
	free(copy);
}

static void check(struct store *store, uint16_t feature)
{
	static _Alignas(64) uint8_t whole[FPC_MAX_BODY];
	const struct store_list *list = &store->lists[feature];

	for (uint32_t i = 0; i < list->n; i++) {
		const struct store_object *o = store_at(store, feature, i);
		struct fpc_frame head = {.len = sizeof(head) + o->len,
					 .head_len = sizeof(head),
					 .feature = feature,
					 .verb = FPC_SET};
		const char *field = "";
		struct err err;

		assert(o->place == i && store_find(store, feature, o->data) == o);
		assert(!check_frame(&head, store_body(o), o->len, feature_find(feature), whole,
				    &field, &err));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct feature *route = NULL, *neigh = NULL;
	struct inlet *inlet = inlet_new();
	struct store *store = store_new();
	struct routes *routes;
	struct neighs *neighs;
	uint32_t waiting = 0;

	for (unsigned i = 0; i < n_features; i++) {
		if (!strcmp(features[i]->name, "route"))
			route = features[i];
		if (!strcmp(features[i]->name, "neigh"))
			neigh = features[i];
	}
	assert(inlet && store && route && neigh);
	store_feature(store, route->id, route->key_size);
	store_feature(store, neigh->id, neigh->key_size);
	routes = routes_new(store, route->id);
	neighs = neighs_new(store, neigh->id);
	for (unsigned i = 0; i < 2; i++) {
		inlet_decode(inlet, (uint16_t)(RTM_NEWROUTE + i), routes_message, routes);
		inlet_decode(inlet, (uint16_t)(RTM_NEWNEIGH + i), neighs_message, neighs);
	}
	while (size >= 2) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		step(data[0], inlet, store, routes, neighs, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	check(store, route->id);
	check(store, neigh->id);
	for (const struct store_object *o = store->first; o; o = o->after)
		waiting++;
	assert(waiting == store->waiting && store->pushed - store->taken == waiting);
	assert(!store->failed);
	routes_free(routes);
	neighs_free(neighs);
	store_free(store);
	inlet_free(inlet);
	return 0;
}
