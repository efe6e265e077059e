// SPDX-License-Identifier: BSD-3-Clause
/* What plugins call (plugin.h), apart from what features bring. */
#include "fastpath/plugin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fastpath/fp.h"
#include "fastpath/plugins.h"

/* --- hooks --- */

/* From the short way: bits of fp_stages_here. */
static void leave_short_way(void)
{
	atomic_fetch_or(&fp_stages_here, FP_HOOKED_OUT);
}

fp_port_fn *fp_hook_ether_input(fp_port_fn *hook)
{
	fp_port_fn *previous = fp_hooks.ether_input;

	plugins_note("ether_input");
	fp_hooks.ether_input = hook;
	return previous;
}

fp_send_fn *fp_hook_ip_inetif_send(fp_send_fn *hook)
{
	fp_send_fn *previous = fp_hooks.ip_inetif_send;

	plugins_note("ip_inetif_send");
	leave_short_way();
	fp_hooks.ip_inetif_send = hook;
	return previous;
}

fp_send_fn *fp_hook_ip6_inet6if_send(fp_send_fn *hook)
{
	fp_send_fn *previous = fp_hooks.ip6_inet6if_send;

	plugins_note("ip6_inet6if_send");
	leave_short_way();
	fp_hooks.ip6_inet6if_send = hook;
	return previous;
}

fp_output_fn *fp_hook_if_output(fp_output_fn *hook)
{
	fp_output_fn *previous = fp_hooks.if_output;

	plugins_note("if_output");
	leave_short_way();
	fp_hooks.if_output = hook;
	return previous;
}

fp_iface_fn *fp_hook_ether_output(fp_iface_fn *hook)
{
	fp_iface_fn *previous = fp_hooks.ether_output;

	plugins_note("ether_output");
	leave_short_way();
	fp_hooks.ether_output = hook;
	return previous;
}

fp_port_fn *fp_hook_process_linux_tx(fp_port_fn *hook)
{
	fp_port_fn *previous = fp_hooks.process_linux_tx;

	plugins_note("process_linux_tx");
	fp_hooks.process_linux_tx = hook;
	return previous;
}

fp_iface_fn *fp_hook_ethertype(uint16_t ethertype, const char *name, fp_iface_fn *hook)
{
	plugins_note(name);
	return fp_swap_ethertype(ethertype, hook);
}

/* --- stages --- */

int fp_plugin_stage(const char *name, fp_stage_fn *fn)
{
	enum fp_stage stage = fp_stage_find(name);
	int rc = stage == FP_STAGES ? -ENOENT : fp_register_stage(stage, fn);

	if (rc)
		return rc;
	plugins_note(name);
	return (int)stage;
}

void fp_plugin_enable(int stage, bool on)
{
	fp_enable_stage((enum fp_stage)stage, on);
}

void fp_plugin_resume(struct fp_worker *w, int stage, struct fp_burst *b)
{
	fp_resume(w, (enum fp_stage)stage, b);
}

void fp_want_poll(struct fp_worker *w, int poll, bool wanted)
{
	uint64_t bit = 1ULL << poll;

	w->polls = wanted ? w->polls | bit : w->polls & ~bit;
}

/* --- ends --- */

int fp_plugin_counter(enum fp_plugin_count kind, const char *name, const char *text)
{
	static const enum reason_kind kinds[] = {
		[FP_COUNT_DROP] = REASON_DROP,
		[FP_COUNT_EXCEPTION] = REASON_EXCEPTION,
		[FP_COUNT_OTHER] = REASON_COUNTER,
	};
	char whole[sizeof(((struct reason_row *)0)->name)];
	int n = snprintf(whole, sizeof(whole), "%s_%s", plugins_starting(), name);

	if ((unsigned)kind > FP_COUNT_OTHER || n < 0 || n >= (int)sizeof(whole))
		return -EINVAL;
	return fp_add_reason(kinds[kind], whole, text);
}

void fp_plugin_drop(struct fp_worker *w, struct rte_mbuf *m, int counter)
{
	fp_drop(w, m, (enum reason)counter);
}

void fp_plugin_to_linux(struct fp_worker *w, struct rte_mbuf *m, int counter)
{
	fp_exception(w, m, (enum reason)counter);
}

void fp_plugin_count(struct fp_worker *w, int counter, uint64_t n)
{
	w->reasons[counter] += n;
}

unsigned fp_plugin_worker(const struct fp_worker *w)
{
	return w->id;
}

bool fp_plugin_special_ready(uint32_t vrf)
{
	return fp_special_ready(vrf);
}

uint32_t fp_plugin_seconds(const struct fp_worker *w)
{
	return w->now;
}
