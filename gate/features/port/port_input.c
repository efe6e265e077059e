// SPDX-License-Identifier: BSD-3-Clause
#include "features/port/port.h"

#include "fastpath/fp.h"

static_assert(FPC_PORT_MAX == FP_PORTS_MAX);

const struct port_row *port_rows;

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	port_rows = shm_rows(config, "port");
	return 0;
}

const struct fp_feature port_fastpath = {.attach = attach};
