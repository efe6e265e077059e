// SPDX-License-Identifier: BSD-3-Clause
/* cmgrd's decoder of neighbours: RTM_NEWNEIGH and RTM_DELNEIGH into objects of the store, in every VRF. An object is there
 * while Linux would send to the neighbour's address; on a device that resolves none (quiet: the kernel makes an entry
 * for every destination, without a word) only for entries that somebody made. */
#pragma once

#include "cmgrd/inlet.h"
#include "cmgrd/store.h"

struct shm;

struct neighs {
	struct store *store;
	uint16_t feature;
	uint32_t (*quiet)[2]; /* VRF and index of the quiet devices */
	uint32_t n_quiet, size;
};

/* NULL: no memory. */
struct neighs *neighs_new(struct store *store, uint16_t feature);
void neighs_free(struct neighs *neighs);

/* inlet_decoder; the state is struct neighs. Proxy entries are left out; those of bridges are passed. */
int neighs_message(void *state, const struct inlet_message *m, struct err *err);

/* A dump of a VRF's neighbours begins; is over: what it didn't show is gone; broke off. */
void neighs_begin(struct neighs *neighs, uint32_t vrf);
void neighs_end(struct neighs *neighs, uint32_t vrf);
void neighs_abandon(struct neighs *neighs, uint32_t vrf);

/* Whether the device resolves addresses. 1: it does again, so that its neighbours must be dumped; -ENOMEM. */
int neighs_quiet(struct neighs *neighs, uint32_t vrf, uint32_t ifindex, bool quiet);
/* The device is gone, with ifindex 0 the whole VRF. */
void neighs_forget(struct neighs *neighs, uint32_t vrf, uint32_t ifindex);

/* CLOCK_MONOTONIC seconds when the fast path last used the neighbour @addr (16 bytes, IPv4 zero-filled) of the interface in
 * row @iface; 0: not since it's a neighbour, or it's none. @config, @stats: attached files of one instance. */
uint32_t neigh_last_hit(const struct shm *config, const struct shm *stats, uint32_t iface,
			uint8_t family, const uint8_t *addr);
