// SPDX-License-Identifier: BSD-3-Clause
/* A port of the fast path and the TAP that stands for it in Linux. SET by fp-rte. */
#pragma once

#include <stdint.h>

#define FPC_PORT_MAX 64

struct fpc_port {
	uint32_t port;	      /* key; below FPC_PORT_MAX */
	uint32_t flags;	      /* none yet */
	uint32_t tap_ifindex; /* of the TAP in the namespace netns */
	uint8_t mac[6];
	uint8_t pad[2];
	char name[16]; /* of the port, and of its TAP at first */
	uint32_t pad2;
	uint64_t netns; /* where the TAP is, as in struct fpc_vrf; 0: in the VRF with number 0 */
};
static_assert(sizeof(struct fpc_port) == 48);
#define FPC_PORT_KEY_SIZE 4
#define FPC_PORT_FLAGS	  0
