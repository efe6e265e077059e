// SPDX-License-Identifier: BSD-3-Clause
/* The middle of the fast path: what features registered, and the ends a packet can come to. It knows no protocol, no
 * port and no TAP, so the packet harness links it as it stands. */
#include "fastpath/fp.h"
#include "fastpath/plugins.h"
#include "fastpath/watch.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>

/* As the table "reason" has them: those of features, then those of plugins. */
static struct reason_row all[REASONS_MAX] = {
#define REASON(kind_, name_, text_) {.name = #name_, .text = text_, .kind = REASON_##kind_},
	REASONS(REASON)
#undef REASON
};
static unsigned n_reasons = N_REASONS;
#define REASON(kind, name_, text_)                                                                 \
	static_assert(sizeof(#name_) <= sizeof(((struct reason_row *)0)->name) &&                  \
		      sizeof(text_) <= sizeof(((struct reason_row *)0)->text));
REASONS(REASON)
#undef REASON

int fp_add_reason(enum reason_kind kind, const char *name, const char *text)
{
	struct reason_row row = {.kind = kind, .plugin = 1};

	if (!*name || strlen(name) >= sizeof(row.name) || strlen(text) >= sizeof(row.text))
		return -EINVAL;
	for (const char *c = name; *c; c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_')
			return -EINVAL;
	for (unsigned i = 0; i < n_reasons; i++)
		if (!strcmp(all[i].name, name))
			return -EINVAL;
	if (n_reasons == REASONS_MAX)
		return -ENOSPC;
	strcpy(row.name, name);
	strcpy(row.text, text);
	all[n_reasons] = row;
	return (int)n_reasons++;
}

struct fp_edges fp_edges;
struct fp_hooks fp_hooks;

uint8_t fp_ethertype_index[65536];
static fp_burst_fn *ethertype_inputs[FP_ETHERTYPES_MAX + 1];
static unsigned n_ethertypes;

fp_output_fn *fp_outputs[FP_OUTPUTS_MAX];

int fp_register_ethertype(uint16_t ethertype, fp_burst_fn *input)
{
	uint8_t *index = &fp_ethertype_index[rte_cpu_to_be_16(ethertype)];

	if (*index)
		return -EEXIST;
	if (n_ethertypes == FP_ETHERTYPES_MAX)
		return -ENOSPC;
	ethertype_inputs[++n_ethertypes] = input;
	*index = n_ethertypes;
	return 0;
}

fp_iface_fn *fp_swap_ethertype(uint16_t ethertype, fp_iface_fn *input)
{
	uint8_t index = fp_ethertype_index[rte_cpu_to_be_16(ethertype)];
	fp_iface_fn *previous = ethertype_inputs[index];

	if (index)
		ethertype_inputs[index] = input;
	return previous;
}

fp_burst_fn *fp_ethertype_input(unsigned index)
{
	return ethertype_inputs[index];
}

int fp_register_output(uint8_t iface_type, fp_output_fn *output)
{
	if (iface_type >= FP_OUTPUTS_MAX)
		return -EINVAL;
	if (fp_outputs[iface_type])
		return -EEXIST;
	fp_outputs[iface_type] = output;
	return 0;
}

void fp_drop(struct fp_worker *w, struct rte_mbuf *m, enum reason reason)
{
	w->drops++;
	fp_count(w, reason);
	if (unlikely(w->traced))
		fp_trace_end(w, TRACE_DROPPED, m, reason);
	rte_pktmbuf_free(m);
}

void fp_end(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
	    enum reason reason)
{
	if (all[reason].kind == REASON_DROP)
		fp_drop(w, p->m, reason);
	else if (b->flags & FP_BURST_OWN)
		fp_drop(w, p->m, DROP_OWN);
	else
		fp_exception(w, p->m, reason);
}

static struct budget control_budget, other_budget;

void fp_limit_exceptions(const struct fp_exception_rates *rates, unsigned n_ports)
{
	uint64_t hz = rte_get_tsc_hz();

	budget_init(&control_budget, hz, rates->control_port, rates->control_total, n_ports, 1);
	budget_init(&other_budget, hz, rates->port, rates->total, n_ports, BUDGET_CLASSES);
}

/* Why a packet can't be paid for; N_REASONS: it was. */
static enum reason pay(const struct fp_worker *w, uint16_t port, enum fp_class class)
{
	uint64_t now = rte_rdtsc();

	if (class == FP_CLASS_CONTROL)
		return budget_pay(&control_budget, port, 0, false, now) == BUDGET_PAID
			       ? N_REASONS
			       : DROP_EXCEPTION_CONTROL;
	switch (budget_pay(&other_budget, port, class - FP_CLASS_LOCAL, w->overload, now)) {
	case BUDGET_PAID:
		return N_REASONS;
	case BUDGET_OVER_SHARE:
		return DROP_EXCEPTION_OVERLOAD;
	case BUDGET_PORT_SPENT:
		return DROP_EXCEPTION_BUDGET;
	case BUDGET_TOTAL_SPENT:
		break;
	}
	return DROP_EXCEPTION_TOTAL;
}

/* Not one of w->exceptions: what it was in never comes to Linux, which counts nothing of it. */
static __rte_noinline void special_exception(struct fp_worker *w, struct rte_mbuf *m,
					     enum reason reason)
{
	uint32_t vrf;
	enum reason why = fp_hooks.special_frame(m, &vrf);
	enum fp_class class;

	if (unlikely(why != N_REASONS)) {
		fp_drop(w, m, why);
		return;
	}
	if (unlikely(w->traced))
		fp_trace_end(w, TRACE_TO_LINUX, m, reason);
	class = fp_classify(reason, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	why = fp_special_ready(vrf) ? pay(w, m->port, class) : DROP_SPECIAL_NOT_READY;
	if (unlikely(why != N_REASONS || !fp_edges.to_special(w, vrf, class, m, &why))) {
		w->classes->count[class][why]++;
		fp_drop(w, m, why);
		return;
	}
	w->classes->count[class][reason]++;
	fp_count(w, reason);
}

void fp_exception(struct fp_worker *w, struct rte_mbuf *m, enum reason reason)
{
	enum fp_class class;
	enum reason why;
	uint32_t len;

	if (unlikely(m->ol_flags & fp_special_flag)) {
		special_exception(w, m, reason);
		return;
	}
	/* The Ethernet header was in the first segment before it was cut off, so it fits there again. */
	if (m->l2_len) {
		rte_pktmbuf_prepend(m, m->l2_len);
		m->l2_len = 0;
	}
	if (unlikely(w->traced))
		fp_trace_end(w, TRACE_TO_LINUX, m, reason);
	len = m->pkt_len; /* once taken, m may be gone at any moment */
	class = fp_classify(reason, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	why = pay(w, m->port, class);
	if (unlikely(why != N_REASONS || !fp_edges.to_linux(w, m->port, class, m, &why))) {
		w->classes->count[class][why]++;
		fp_drop(w, m, why);
		return;
	}
	w->classes->count[class][reason]++;
	w->exceptions++;
	w->exception_bytes += len;
	fp_count(w, reason);
}

void fp_input(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	if (unlikely(atomic_load_explicit(&fp_watched, memory_order_relaxed)))
		watch_input(w, port, pkts, n);
	else
		fp_hooks.ether_input(w, port, pkts, n);
}

void fp_input_overloaded(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct rte_mbuf *control[FP_BURST];
	uint16_t n_control = 0, n_other = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (fp_is_control(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len))
			control[n_control++] = m;
		else
			pkts[n_other++] = m;
	}
	w->overload = true;
	if (n_control)
		fp_input(w, port, control, n_control);
	if (n_other)
		fp_input(w, port, pkts, n_other);
	w->overload = false;
}

void fp_process_linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	if (unlikely(atomic_load_explicit(&fp_watched, memory_order_relaxed)))
		watch_linux_tx(w, port, pkts, n);
	else
		fp_linux_tx(w, port, pkts, n);
}

void fp_linux_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	fp_hooks.process_linux_tx(w, port, pkts, n);
}

void fp_ip_inetif_send(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n)
{
	fp_hooks.ip_inetif_send(w, iface, pkts, n);
}

void fp_ip6_inet6if_send(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n)
{
	fp_hooks.ip6_inet6if_send(w, iface, pkts, n);
}

void fp_if_output(struct fp_worker *w, uint32_t iface, uint16_t ethertype, struct fp_send *pkts,
		  uint16_t n)
{
	fp_hooks.if_output(w, iface, ethertype, pkts, n);
}

void fp_ether_output(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	fp_hooks.ether_output(w, iface, pkts, n);
}

void fp_port_flush(struct fp_worker *w, uint16_t port)
{
	struct fp_txq *q = &w->tx[port];
	uint16_t n = q->n;
	uint16_t sent;

	q->n = 0;
	w->dirty &= ~(1ULL << port);
	if (!n)
		return;
	if (unlikely(atomic_load_explicit(&fp_watched, memory_order_relaxed)))
		watch_sent(w, port, q->pkts, n);
	sent = fp_edges.port_tx(w, port, q->pkts, n);
	if (unlikely(sent < n)) {
		if (unlikely(w->traced))
			fp_trace_end(w, TRACE_DROPPED, q->pkts[sent], DROP_TX_FULL);
		/* Not by fp_drop: these aren't drops of whoever is handling a burst just now. */
		w->reasons[DROP_TX_FULL] += n - sent;
		if (fp_hooks.tx_full)
			fp_hooks.tx_full(w, port, q->pkts + sent, n - sent);
		rte_pktmbuf_free_bulk(q->pkts + sent, n - sent);
	}
}

void fp_flush(struct fp_worker *w)
{
	while (w->dirty)
		fp_port_flush(w, rte_ctz64(w->dirty));
}

/* In features.def's order; NULL for a feature without a part here. */
static const struct fp_feature *const fastpaths[] = {
#define ADDRESS(name) &name##_fastpath,
	FEATURES(ADDRESS)
#undef ADDRESS
};

int fp_init(struct err *err)
{
	int special = fp_special_init(err);

	if (special)
		return special;
	for (unsigned i = 0; i < n_features; i++) {
		int rc = fastpaths[i] && fastpaths[i]->init ? fastpaths[i]->init(err) : 0;

		if (rc)
			return rc;
	}
	if (!fp_hooks.ether_input)
		return err_set(err, ENOSYS, "no feature takes packets from ports");
	return 0;
}

/* So that readers of the stats file need no list of their own. What a former fp-rte counted under another name isn't this
 * reason's. */
static int write_reasons(struct shm *stats, struct err *err)
{
	struct reason_row *rows = shm_rows(stats, "reason");
	struct shm_table_dir *dir = shm_find(stats, "reason");
	struct worker_reason_row *counts = shm_rows(stats, "worker_reason");
	struct worker_exception_row *classes = shm_rows(stats, "worker_exception");

	if (!rows || !dir)
		return err_set(err, EPROTO, "the stats file has no table 'reason'");
	if (dir->capacity < REASONS_MAX)
		return err_set(err, ENOSPC, "the table 'reason' has %u rows, not %u", dir->capacity,
			       REASONS_MAX);
	for (unsigned i = 0; i < REASONS_MAX; i++) {
		if (rows[i].name[0] && strcmp(rows[i].name, all[i].name))
			for (unsigned w = 0; w < WORKERS_MAX; w++) {
				counts[w].count[i] = 0;
				for (unsigned c = 0; c < FP_CLASSES; c++)
					classes[w].count[c][i] = 0;
			}
		rows[i] = all[i];
	}
	shm_count(dir, (int)n_reasons - (int)atomic_load(&dir->used));
	return 0;
}

int fp_attach(const struct shm *config, struct shm *stats, struct err *err)
{
	int rc = write_reasons(stats, err);

	if (!rc)
		rc = fp_write_stages(stats, err);
	if (!rc)
		rc = plugins_write(stats, err);
	if (!rc)
		rc = watch_attach(stats, err);
	for (unsigned i = 0; i < n_features && !rc; i++)
		if (fastpaths[i] && fastpaths[i]->attach)
			rc = fastpaths[i]->attach(config, stats, err);
	return rc;
}

int fp_look(struct gc *gc, unsigned n_workers, struct err *err)
{
	struct err other;
	int ret = 0;

	for (unsigned i = 0; i < n_features; i++) {
		int rc = fastpaths[i] && fastpaths[i]->look
				 ? fastpaths[i]->look(gc, n_workers, ret ? &other : err)
				 : 0;

		ret = ret ? ret : rc;
	}
	return ret;
}

void fp_worker_init(struct fp_worker *w, uint16_t id, struct shm *stats)
{
	struct worker_reason_row *reasons = shm_rows(stats, "worker_reason");
	struct worker_exception_row *classes = shm_rows(stats, "worker_exception");
	struct worker_row *rows = shm_rows(stats, "worker");

	w->id = id;
	w->reasons = reasons[id].count;
	w->classes = &classes[id];
	w->row = &rows[id];
}
