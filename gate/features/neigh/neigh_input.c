// SPDX-License-Identifier: BSD-3-Clause
#include "features/neigh/neigh.h"

#include <errno.h>

#include "fastpath/fp.h"

const struct neigh_row *neigh_rows;
const struct neigh_bucket_row *neigh_buckets;
uint32_t neigh_bucket_mask;
struct neigh_hit_row *neigh_hits;

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	uint32_t rows = shm_find(config, "neigh")->capacity;
	uint32_t hits = shm_find(stats, "neigh_hit")->capacity;

	if (hits < rows)
		return err_set(err, EPROTO,
			       "fpmd has room for %u neighbours, fp-rte was started with %u", rows,
			       hits);
	neigh_rows = shm_rows(config, "neigh");
	neigh_buckets = shm_rows(config, "neigh_bucket");
	neigh_bucket_mask = shm_find(config, "neigh_bucket")->capacity - 1;
	neigh_hits = shm_rows(stats, "neigh_hit");
	return 0;
}

const struct fp_feature neigh_fastpath = {.attach = attach};
