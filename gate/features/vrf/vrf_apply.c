// SPDX-License-Identifier: BSD-3-Clause
#include "features/vrf/vrf.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "fpmd/fpm.h"

static struct vrf_row *rows;
static struct shm_table_dir *dir;
static bool known[FPC_VRF_MAX];

bool vrf_known(uint32_t vrf)
{
	return vrf < FPC_VRF_MAX && known[vrf];
}

struct vrf_row *vrf_row(uint32_t vrf)
{
	return &rows[vrf];
}

void vrf_enable_stage(uint32_t vrf, unsigned stage, bool on)
{
	uint64_t bit = 1ULL << stage;
	uint64_t stages = on ? rows[vrf].stages | bit : rows[vrf].stages & ~bit;

	atomic_store_explicit((_Atomic uint64_t *)&rows[vrf].stages, stages, memory_order_release);
}

static int init(struct fpm *fpm, struct err *err)
{
	rows = shm_rows(&fpm->config, "vrf");
	dir = shm_find(&fpm->config, "vrf");
	memset(known, 0, sizeof(known));
	for (unsigned i = 0; i < FPC_VRF_MAX; i++)
		rows[i].flags = FPC_VRF_FLAGS;
	return 0;
}

static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_vrf *vrf = msg;

	if (vrf->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "VRF %u: numbers go up to %u", vrf->vrf,
			       FPC_VRF_MAX - 1);
	}
	if (!known[vrf->vrf])
		shm_count(dir, 1);
	known[vrf->vrf] = true;
	rows[vrf->vrf].netns = vrf->netns;
	rows[vrf->vrf].flags = vrf->flags;
	return 0;
}

/* Interfaces that still name it give their packets to Linux. */
static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	const struct fpc_vrf *vrf = old;

	known[vrf->vrf] = false;
	rows[vrf->vrf].stages = 0;
	rows[vrf->vrf].netns = 0;
	rows[vrf->vrf].flags = FPC_VRF_FLAGS;
	shm_count(dir, -1);
}

const struct fpm_apply vrf_apply = {.init = init, .set = set, .del = del};
