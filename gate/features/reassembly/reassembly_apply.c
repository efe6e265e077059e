// SPDX-License-Identifier: BSD-3-Clause
#include "features/reassembly/reassembly.h"

#include <sys/socket.h>

#include "fastpath/stage.h"
#include "features/vrf/vrf.h"

static uint32_t wanted[FPC_VRF_MAX][2][2];

void reassembly_require(uint32_t vrf, uint8_t family, enum reassembly_of of, bool on)
{
	static const enum fp_stage stages[2][2] = {
		[REASSEMBLY_ALL] = {FP_STAGE_IP_REASSEMBLY, FP_STAGE_IP6_REASSEMBLY},
		[REASSEMBLY_LOCAL] = {FP_STAGE_IP_LOCAL_REASSEMBLY, FP_STAGE_IP6_LOCAL_REASSEMBLY},
	};
	bool is6 = family == AF_INET6;
	uint32_t *count = &wanted[vrf][of][is6];

	if (!on && !*count)
		return;
	*count += on ? 1 : -1;
	vrf_want_special(vrf, on);
	vrf_enable_stage(vrf, stages[of][is6], *count);
}
