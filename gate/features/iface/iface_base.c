// SPDX-License-Identifier: BSD-3-Clause
/* Where interfaces' counters begin. Only workers write counters, so a row that goes to another interface isn't cleared: fpmd
 * notes what it had been up to. Nobody counts in the row then: it has passed a quiescent point since its last interface. */
#include <errno.h>
#include <stdatomic.h>

#include "features/feature.h"
#include "features/iface/iface_counters.h"
#include "features/vrf/fpc_vrf.h"
#include "fpmd/fpm.h"

static struct iface_base_row *bases;
static struct iface_retired_row *retired;
static uint32_t n_bases;

static void sum(const struct shm *stats, uint32_t row, struct iface_stats_row *ret)
{
	iface_counters_sum(ret, shm_rows(stats, "iface_stats"),
			   shm_find(stats, "iface_stats")->capacity, shm_rows(stats, "worker"),
			   row);
}

/* What a former fpmd knew. It may have been killed at any moment; at worst some counters are wrong then. */
static void take_over(const struct shm *old)
{
	const struct shm_table_dir *dir = shm_find(old, "iface_base");
	const struct iface_base_row *base = shm_rows(old, "iface_base");
	const struct iface_retired_row *sums = shm_rows(old, "iface_retired");

	if (!dir || !sums)
		return;
	for (uint32_t i = 0; i < n_bases && i < dir->capacity; i++)
		bases[i] = base[i];
	for (uint32_t i = 0; i < FPC_VRF_MAX; i++)
		retired[i].sum = sums[i].sum;
}

int iface_base_init(struct fpm *fpm, struct err *err)
{
	bases = shm_rows(&fpm->config, "iface_base");
	retired = shm_rows(&fpm->config, "iface_retired");
	n_bases = shm_find(&fpm->config, "iface_base")->capacity;
	if (fpm->old)
		take_over(fpm->old);
	return 0;
}

static void change(int by)
{
	/* Full fences, so that a reader who sees the same even number before and after has seen no half. */
	atomic_thread_fence(memory_order_seq_cst);
	atomic_fetch_add_explicit(&retired[0].seq, (uint32_t)by, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
}

void iface_base_begin(struct fpm *fpm, uint32_t row, uint32_t vrf, uint32_t ifindex, bool same)
{
	struct iface_base_row *base = &bases[row];
	struct iface_stats_row now = {}, counted;
	const struct shm *stats;
	uint64_t created = 0;

	if (same && base->vrf == vrf && base->ifindex == ifindex)
		return;
	stats = fpm->stats ? fpm->stats(fpm) : NULL;
	if (stats) {
		sum(stats, row, &now);
		created = stats->header->created;
	}
	change(1);
	if (base->ifindex && base->vrf < FPC_VRF_MAX) {
		counted = now;
		if (base->created == created)
			iface_counters_take(&counted, &base->base);
		iface_counters_add(&retired[base->vrf].sum, &counted);
	}
	base->created = created;
	base->vrf = vrf;
	base->ifindex = ifindex;
	base->base = now;
	change(1);
}
