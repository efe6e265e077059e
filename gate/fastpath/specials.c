// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/specials.h"

#include <unistd.h>

#include "fastpath/rte.h"
#include "features/vrf/vrf.h"
#include "fpn/fpn0.h"
#include "lib/log.h"

static_assert(FP_SPECIAL_VRFS == FPC_VRF_MAX);
#define REPAIR_LOOKS 10 /* looks between two at the policies */
#define RETRY_LOOKS  10 /* and at what couldn't be made */

/* Of a VRF. The control thread writes `next`, and changes it only when the exception thread has made it its `fd`. */
struct slot {
	struct fpn0 fpn0; /* control thread */
	bool open;
	unsigned wait;	   /* looks until it's tried again */
	_Atomic int next;  /* + 1; 0: none */
	_Atomic int taken; /* the same, exception thread's */
};

static struct slot slots[FPC_VRF_MAX];
static _Atomic uint32_t changes;

static void hand_over(struct slot *slot, int fd)
{
	atomic_store(&slot->next, fd + 1);
	atomic_fetch_add(&changes, 1);
	exception_wake();
}

static void shut(uint32_t vrf, const char *why)
{
	struct slot *slot = &slots[vrf];

	atomic_store(&fp_special_vrfs[vrf], 0);
	log_info("VRF %u: %s removed: %s", vrf, slot->fpn0.name, why);
	fpn0_close(&slot->fpn0);
	slot->open = false;
	hand_over(slot, -1);
}

static void make(uint32_t vrf, uint64_t netns)
{
	struct slot *slot = &slots[vrf];
	struct err err = {};

	if (fpn0_open(&slot->fpn0, netns, &err)) {
		log_warn("VRF %u: no special exceptions, Linux decrypts there: %s%s%s", vrf,
			 err.text, err.hint[0] ? "; " : "", err.hint);
		slot->wait = RETRY_LOOKS;
		return;
	}
	log_info("VRF %u: %s takes special exceptions", vrf, slot->fpn0.name);
	slot->open = true;
	hand_over(slot, slot->fpn0.fd);
	atomic_store_explicit(&fp_special_vrfs[vrf], 1, memory_order_release);
}

static bool wanted(uint32_t vrf)
{
	const struct vrf_row *row = &vrf_rows[vrf];

	/* Only VRF 0 has no name. */
	return (!vrf || row->netns) && (atomic_load(&row->special) || fp_special_wanted());
}

void specials_look(void)
{
	static unsigned looks;

	looks++;
	for (uint32_t vrf = 0; vrf < FPC_VRF_MAX; vrf++) {
		struct slot *slot = &slots[vrf];
		uint64_t netns = vrf ? vrf_rows[vrf].netns : 0;

		if (atomic_load(&slot->next) != atomic_load(&slot->taken))
			continue;
		if (slot->open) {
			if (!fpn0_alive(&slot->fpn0))
				shut(vrf, "the device is gone");
			else if (!wanted(vrf))
				shut(vrf, "nobody wants it any more");
			else if (slot->fpn0.netns != netns)
				shut(vrf, "the VRF is another namespace now");
			else if (looks % REPAIR_LOOKS == 0)
				fpn0_repair(&slot->fpn0);
		} else if (slot->wait) {
			slot->wait--;
		} else if (wanted(vrf)) {
			make(vrf, netns);
		}
	}
}

void specials_end(void)
{
	specials_turn();
	for (uint32_t vrf = 0; vrf < FPC_VRF_MAX; vrf++)
		if (slots[vrf].open)
			shut(vrf, "fp-rte ends");
	specials_turn();
}

bool specials_put(struct fp_worker *w, uint32_t vrf, enum fp_class class, struct rte_mbuf *m,
		  enum reason *ret_reason)
{
	m->hash.usr = vrf;
	return exception_put(w, (uint16_t)rte.n_ports, class, m, ret_reason);
}

void specials_turn(void)
{
	static uint32_t seen;
	uint32_t now = atomic_load_explicit(&changes, memory_order_acquire);

	if (likely(now == seen))
		return;
	seen = now;
	for (uint32_t vrf = 0; vrf < FPC_VRF_MAX; vrf++) {
		int next = atomic_load(&slots[vrf].next), taken = atomic_load(&slots[vrf].taken);

		if (next == taken)
			continue;
		if (taken)
			close(taken - 1);
		atomic_store(&slots[vrf].taken, next);
	}
}

int specials_fd(const struct rte_mbuf *m)
{
	return atomic_load_explicit(&slots[m->hash.usr].taken, memory_order_relaxed) - 1;
}
