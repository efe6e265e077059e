// SPDX-License-Identifier: BSD-3-Clause
/* Reassembly: fragments become packets, for features that need whole ones (ESP for this host, filters, NAT). README.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum reassembly_of {
	REASSEMBLY_ALL,	  /* packets before routing: stage IN REASSEMBLY */
	REASSEMBLY_LOCAL, /* those for this host: stage LOCAL_REASSEMBLY */
};

/* fpmd: a feature needs whole packets of @family (AF_INET, AF_INET6) in VRF @vrf, or no longer: as many times on as off. Asks for
 * fpn0 there too: a packet that was put together can't go to Linux otherwise. */
void reassembly_require(uint32_t vrf, uint8_t family, enum reassembly_of of, bool on);
