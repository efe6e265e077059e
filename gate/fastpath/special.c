// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/special.h"

#include <errno.h>
#include <stdatomic.h>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include "fastpath/fp.h"

uint64_t fp_special_flag;
_Atomic uint8_t fp_special_vrfs[FP_SPECIAL_VRFS];
static int offset;
static _Atomic int wanted;

int fp_special_init(struct err *err)
{
	static const struct rte_mbuf_dynfield field = {.name = "sluice_special",
						       .size = sizeof(struct fp_special_field),
						       .align = _Alignof(struct fp_special_field)};
	static const struct rte_mbuf_dynflag flag = {.name = "sluice_special"};
	int bit = rte_mbuf_dynflag_register(&flag);

	offset = rte_mbuf_dynfield_register(&field);
	if (bit < 0 || offset < 0)
		return err_set(err, rte_errno, "no room in packets for special exceptions");
	fp_special_flag = 1ULL << bit;
	return 0;
}

void fp_want_special(bool on)
{
	atomic_fetch_add(&wanted, on ? 1 : -1);
}

bool fp_special_wanted(void)
{
	return atomic_load(&wanted) > 0;
}

void fp_make_special(struct rte_mbuf *m, const struct fp_special *s)
{
	struct fp_special_field *field = RTE_MBUF_DYNFIELD(m, offset, struct fp_special_field *);

	*field = (struct fp_special_field){
		.iface = s->iface,
		.mark = s->mark,
		.flags = (uint8_t)s->flags,
		.headers = (uint8_t)m->l2_len,
	};
	m->ol_flags |= fp_special_flag;
}

void fp_special_fragments(struct rte_mbuf *m, uint16_t largest, uint32_t id)
{
	struct fp_special_field *field = RTE_MBUF_DYNFIELD(m, offset, struct fp_special_field *);

	field->largest = largest;
	field->id = id;
}

const struct fp_special_field *fp_special_field(const struct rte_mbuf *m)
{
	return RTE_MBUF_DYNFIELD(m, offset, const struct fp_special_field *);
}
