// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <stdint.h>

#include "features/vrf/fpc_vrf.h"

/* Row of the config table "vrf"; row index: VRF number (row 0 is VRF 0 here). */
struct vrf_row {
	uint32_t flags; /* enum fpc_vrf_flags */
	uint32_t pad[15];
};
static_assert(sizeof(struct vrf_row) == 64);

/* fp-rte: the attached table. */
extern const struct vrf_row *vrf_rows;
