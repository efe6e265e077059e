// SPDX-License-Identifier: BSD-3-Clause
/* The TCP MSS clamp as the data path sees it. */
#pragma once

#include <stdint.h>

#include "features/mss/fpc_mss.h"

#define MSS_ROWS  256
#define MSS_ROUTE (1U << 16) /* in clamp */
#define MSS_LINUX                                                                                  \
	(1U << 17) /* in clamp, of row 0: rules are missing here, Linux is to see all SYN packets */

/* Row of the config table "mss"; row 0 is no rule. What is compared stays as it is while clamp isn't 0. */
struct mss_row {
	uint32_t vrf;
	uint8_t family;
	uint8_t tcp_mask, tcp_value;
	uint8_t pad;
	char input[16]; /* "": any */
	char output[16];
	_Atomic uint32_t clamp; /* 0: no rule; bits 0-15: the size set, 0: none; MSS_ROUTE */
	uint32_t pad2[5];
};
static_assert(sizeof(struct mss_row) == 64);
