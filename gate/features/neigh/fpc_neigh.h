// SPDX-License-Identifier: BSD-3-Clause
/* A neighbour of Linux, IPv4 or IPv6, with a known link layer address. cmgrd sends only usable ones (NUD_CONNECTED,
 * NUD_STALE, NUD_DELAY, NUD_PROBE) and deletes the others. */
#pragma once

#include <stdint.h>

struct fpc_neigh {
	uint32_t vrf; /* key: VRF, ... */
	uint32_t ifindex;
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t pad[3];
	uint8_t addr[16]; /* network byte order; IPv4: first 4 bytes, rest 0 */
	uint32_t flags;	  /* none yet */
	uint8_t mac[6];
	/* NUD_PERMANENT, NUD_NOARP, else NUD_REACHABLE whichever timed state; for people */
	uint16_t state;
};
static_assert(sizeof(struct fpc_neigh) == 40);
#define FPC_NEIGH_KEY_SIZE 28
#define FPC_NEIGH_FLAGS	   0
