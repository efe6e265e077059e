// SPDX-License-Identifier: BSD-3-Clause
#include "features/vrf/vrf.h"

#include "fastpath/fp.h"

const struct vrf_row *vrf_rows;

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	vrf_rows = shm_rows(config, "vrf");
	return 0;
}

const struct fp_feature vrf_fastpath = {.attach = attach};
