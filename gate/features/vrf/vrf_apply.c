// SPDX-License-Identifier: BSD-3-Clause
#include "features/vrf/vrf.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "features/port/port.h"
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

void vrf_want_special(uint32_t vrf, bool on)
{
	if (on)
		atomic_fetch_add(&rows[vrf].special, 1);
	else if (atomic_load(&rows[vrf].special))
		atomic_fetch_sub(&rows[vrf].special, 1);
}

uint32_t vrf_of_netns(uint64_t netns)
{
	if (!netns)
		return 0;
	for (uint32_t i = 0; i < FPC_VRF_MAX; i++)
		if (known[i] && rows[i].netns == netns)
			return i;
	return VRF_NONE;
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
	const struct fpc_vrf *before = old;

	if (vrf->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "VRF %u: numbers go up to %u", vrf->vrf,
			       FPC_VRF_MAX - 1);
	}
	if (!known[vrf->vrf])
		shm_count(dir, 1);
	known[vrf->vrf] = true;
	memcpy(rows[vrf->vrf].name, vrf->name, sizeof(vrf->name));
	rows[vrf->vrf].netns = vrf->netns;
	rows[vrf->vrf].mroutes4 = vrf->mroutes4;
	rows[vrf->vrf].mroutes6 = vrf->mroutes6;
	rows[vrf->vrf].multipath_seed = vrf->multipath_seed;
	atomic_store_explicit((_Atomic uint32_t *)&rows[vrf->vrf].flags, vrf->flags,
			      memory_order_release);
	if (!before || before->netns != vrf->netns)
		port_vrf_changed(vrf->vrf);
	return 0;
}

/* Interfaces that still name it give their packets to Linux. */
static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	const struct fpc_vrf *vrf = old;

	known[vrf->vrf] = false;
	rows[vrf->vrf].stages = 0;
	atomic_store(&rows[vrf->vrf].special, 0);
	atomic_store_explicit((_Atomic uint32_t *)&rows[vrf->vrf].flags, FPC_VRF_FLAGS,
			      memory_order_release);
	memset(rows[vrf->vrf].name, 0, sizeof(rows[vrf->vrf].name));
	rows[vrf->vrf].netns = 0;
	rows[vrf->vrf].mroutes4 = rows[vrf->vrf].mroutes6 = rows[vrf->vrf].multipath_seed = 0;
	port_vrf_changed(vrf->vrf);
	shm_count(dir, -1);
}

const struct fpm_apply vrf_apply = {.init = init, .set = set, .del = del};
