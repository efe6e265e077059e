// SPDX-License-Identifier: BSD-3-Clause
/* From Linux's rules to lists in shared memory. A list is written before its VRF's row names it, and given back once no worker
 * can see it; so packets meet one list or the other. A list that can't be had is Linux's. */
#include "features/rule/rule.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "features/route/nexthop.h"
#include "fpmd/fpm.h"

static struct fpm_rows table;
static struct rule_set_row *sets;

static _Atomic uint32_t *place(uint32_t vrf, uint8_t family)
{
	return family == AF_INET ? &vrf_row(vrf)->rules4 : &vrf_row(vrf)->rules6;
}

static int init(struct fpm *fpm, struct err *err)
{
	int rc = fpm_rows_init(&table, fpm, "rule_set", err);

	if (rc)
		return rc;
	sets = (struct rule_set_row *)table.rows;
	/* Never given back: one rule that says it. */
	fpm_rows_get(&table);
	sets[RULE_SET_LINUX].n = 1;
	sets[RULE_SET_LINUX].linux_decides = nexthop_linux;
	sets[RULE_SET_LINUX].rule[0].entry.action = FPC_RULE_LINUX;
	return 0;
}

/* Nobody names the list any more. */
static void put(uint32_t row)
{
	struct rule_set_row *set = &sets[row];

	if (row <= RULE_SET_LINUX)
		return;
	for (uint32_t i = 0; i < set->n; i++)
		if (set->rule[i].entry.action == FPC_RULE_TABLE)
			route_table_unref(set->rule[i].entry.table);
	if (set->blackhole)
		nexthop_put(set->blackhole);
	if (set->unreachable)
		nexthop_put(set->unreachable);
	fpm_rows_put_later(&table, row);
}

static void name(uint32_t vrf, uint8_t family, uint32_t row)
{
	_Atomic uint32_t *at = place(vrf, family);
	uint32_t before = atomic_load(at);

	atomic_store_explicit(at, row, memory_order_release);
	put(before);
}

/* Whether all rules but the kernel's own look up the tables of VRF devices, whatever the packet. */
static bool only_l3mdev(const struct fpc_rule *msg)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < msg->n_rules; i++) {
		const struct fpc_rule_entry *e = &msg->rules[i];
		uint32_t rank = e->table == RT_TABLE_LOCAL     ? 1
				: e->table == RT_TABLE_MAIN    ? 2
				: e->table == RT_TABLE_DEFAULT ? 3
							       : 0;

		if (e->action != FPC_RULE_TABLE || e->src_plen || e->dst_plen || e->tos_mask ||
		    (e->flags & ~FPC_RULE_ENTRY_L3MDEV))
			return false;
		if (e->flags & FPC_RULE_ENTRY_L3MDEV)
			continue;
		if (rank != last + 1)
			return false;
		last = rank;
	}
	return last >= 2;
}

static int check_entry(const struct fpc_rule *msg, uint32_t i, struct err *err)
{
	const struct fpc_rule_entry *e = &msg->rules[i];
	unsigned bits = msg->family == AF_INET ? 32 : 128;

	if (e->src_plen > bits || e->dst_plen > bits)
		return err_set(err, EINVAL, "rule %u has a prefix of %u bits", i,
			       e->src_plen > bits ? e->src_plen : e->dst_plen);
	switch (e->action) {
	case FPC_RULE_TABLE:
		if (!e->table && !(e->flags & FPC_RULE_ENTRY_L3MDEV))
			return err_set(err, EINVAL, "rule %u looks up no table", i);
		return 0;
	case FPC_RULE_GOTO:
		if (e->target <= i || e->target > msg->n_rules)
			return err_set(err, EINVAL, "rule %u goes to rule %u", i, e->target);
		return 0;
	case FPC_RULE_BLACKHOLE:
	case FPC_RULE_UNREACHABLE:
	case FPC_RULE_LINUX:
		return 0;
	default:
		return err_set(err, EINVAL, "rule %u has the action %u", i, e->action);
	}
}

static int check(const struct fpc_rule *msg, struct err *err)
{
	if (msg->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "rules of VRF %u: numbers go up to %u", msg->vrf,
			       FPC_VRF_MAX - 1);
	}
	if (msg->family != AF_INET && msg->family != AF_INET6) {
		fpm_field("family");
		return err_set(err, EAFNOSUPPORT, "rules of address family %u", msg->family);
	}
	if (msg->n_rules > FPC_RULES_MAX) {
		fpm_field("n_rules");
		return err_set(err, EINVAL, "%u rules, the most are %u", msg->n_rules,
			       FPC_RULES_MAX);
	}
	for (uint32_t i = 0; i < msg->n_rules; i++) {
		int rc = check_entry(msg, i, err);

		if (rc) {
			fpm_field("rules");
			return rc;
		}
	}
	return 0;
}

/* The list as a row; 0: no room for it or for what it names. */
static uint32_t make(const struct fpc_rule *msg)
{
	uint32_t row = fpm_rows_get(&table);
	struct rule_set_row *set = &sets[row];

	if (!row)
		return 0;
	set->linux_decides = nexthop_linux;
	set->blackhole = nexthop_get(&(struct nexthop_row){.type = NEXTHOP_BLACKHOLE});
	set->unreachable = nexthop_get(&(struct nexthop_row){.type = NEXTHOP_UNREACHABLE});
	set->only_l3mdev = only_l3mdev(msg);
	if (!set->blackhole || !set->unreachable) {
		put(row);
		return 0;
	}
	for (; set->n < msg->n_rules; set->n++) {
		struct fpc_rule_entry *e = &set->rule[set->n].entry;

		*e = msg->rules[set->n];
		if (e->action != FPC_RULE_TABLE)
			continue;
		e->table =
			e->flags & FPC_RULE_ENTRY_L3MDEV ? 0 : route_table_ref(msg->vrf, e->table);
		if (!e->table && !(e->flags & FPC_RULE_ENTRY_L3MDEV)) {
			put(row);
			return 0;
		}
	}
	return row;
}

/* @priv: 1 where the family is Linux's because the rules were refused. */
static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_rule *rules = msg;
	int rc = check(rules, err);
	uint32_t row = RULE_SET_LINUX;

	if (rc &&
	    (rules->vrf >= FPC_VRF_MAX || (rules->family != AF_INET && rules->family != AF_INET6)))
		return rc;
	*priv = 1;
	if (!rc && !(rules->flags & FPC_RULE_ALL_LINUX)) {
		row = make(rules);
		if (!row) {
			row = RULE_SET_LINUX;
			rc = err_set(err, ENOSPC, "no room for these rules or their tables");
		}
	}
	name(rules->vrf, rules->family, row);
	return rc;
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	const struct fpc_rule *rules = old;

	name(rules->vrf, rules->family, 0);
}

const struct fpm_apply rule_apply = {.init = init, .set = set, .del = del};
