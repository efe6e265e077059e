// SPDX-License-Identifier: BSD-3-Clause
/* A rule of nftables' forward hook that lowers the maximum segment size which TCP's SYN packets announce (RFC 9293, 3.7.1).
 * Several rules may match a packet; each only lowers, so their order means nothing. */
#pragma once

#include <stdint.h>

enum fpc_mss_flags {
	/* `set rt mtu`: to what fits the smaller of the MTUs of the ways to the destination and back to the source */
	FPC_MSS_ROUTE = 1 << 0,
};

struct fpc_mss {
	uint32_t vrf;	/* key: VRF, ... */
	uint8_t family; /* AF_INET or AF_INET6 */
	/* Matches where (TCP flags & tcp_mask) == tcp_value; SYN is in both */
	uint8_t tcp_mask, tcp_value;
	uint8_t pad;
	char input[16];	 /* interface the packet came in on, "": any */
	char output[16]; /* and leaves by */
	uint32_t flags;	 /* enum fpc_mss_flags */
	uint16_t size;	 /* `set N`, bytes; 0: none */
	uint16_t pad2;
};
static_assert(sizeof(struct fpc_mss) == 48);
#define FPC_MSS_KEY_SIZE 40
#define FPC_MSS_FLAGS	 0x1
