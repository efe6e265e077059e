// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/stage.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "fastpath/fp.h"

#define FP_STAGE_NAME 32

static const struct {
	const char *name, *text;
	enum fp_leg leg;
} table[FP_STAGES] = {
#define STAGE(leg, name, text) [FP_STAGE_##name] = {#name, text, FP_LEG_##leg},
#define IP_STAGE(leg, name, text)                                                                  \
	[FP_STAGE_IP_##name] = {"IP_" #name, text, FP_LEG_IP_##leg},                               \
	[FP_STAGE_IP6_##name] = {"IP6_" #name, text, FP_LEG_IP6_##leg},
#include "fastpath/stages.def"
#undef STAGE
#undef IP_STAGE
};

static fp_stage_fn *users[FP_STAGES][FP_STAGE_USERS];
static fp_leg_fn *legs[FP_LEGS];
static struct stage_row *shown;
static uint16_t enabled[FP_STAGES];
_Atomic uint64_t fp_stages_here;

static fp_poll_fn *polls[64];
static int n_polls;

const char *fp_stage_text(enum fp_stage stage)
{
	return table[stage].text;
}

const char *fp_stage_name(enum fp_stage stage)
{
	static char names[FP_STAGES][FP_STAGE_NAME];
	char *name = names[stage];

	for (size_t i = 0; table[stage].name[i] && i < FP_STAGE_NAME - 1; i++)
		name[i] = (char)tolower((unsigned char)table[stage].name[i]);
	return name;
}

enum fp_stage fp_stage_find(const char *name)
{
	for (enum fp_stage i = 0; i < FP_STAGES; i++)
		if (!strcmp(fp_stage_name(i), name))
			return i;
	return FP_STAGES;
}

int fp_write_stages(struct shm *stats, struct err *err)
{
	struct stage_row *rows = shm_rows(stats, "stage");
	struct shm_table_dir *dir = shm_find(stats, "stage");

	static_assert(FP_STAGES <= STAGES_MAX && FP_STAGE_NAME <= sizeof(rows->name));
	if (!rows || dir->capacity < FP_STAGES)
		return err_set(err, EPROTO, "the stats file has no table 'stage'");
	for (enum fp_stage i = 0; i < FP_STAGES; i++) {
		struct stage_row row = {.everywhere = enabled[i] != 0};

		strcpy(row.name, fp_stage_name(i));
		if (strlen(table[i].text) >= sizeof(row.text))
			return err_set(err, EINVAL, "stages.def: the text of '%s' is too long",
				       row.name);
		strcpy(row.text, table[i].text);
		while (row.registered < FP_STAGE_USERS && users[i][row.registered])
			row.registered++;
		rows[i] = row;
	}
	shown = rows;
	shm_count(dir, (int)FP_STAGES - (int)atomic_load(&dir->used));
	return 0;
}

int fp_register_stage(enum fp_stage stage, fp_stage_fn *fn)
{
	for (unsigned i = 0; i < FP_STAGE_USERS; i++)
		if (!users[stage][i]) {
			users[stage][i] = fn;
			return 0;
		}
	return -ENOSPC;
}

bool fp_stage_registered(enum fp_stage stage)
{
	return users[stage][0];
}

void fp_register_leg(enum fp_leg leg, fp_leg_fn *fn)
{
	legs[leg] = fn;
}

int fp_register_poll(fp_poll_fn *fn)
{
	if (n_polls == 64)
		return -ENOSPC;
	polls[n_polls] = fn;
	return n_polls++;
}

void fp_enable_stage(enum fp_stage stage, bool on)
{
	enabled[stage] += on ? 1 : -1;
	if (enabled[stage])
		atomic_fetch_or(&fp_stages_here, 1ULL << stage);
	else
		atomic_fetch_and(&fp_stages_here, ~(1ULL << stage));
	if (shown)
		shown[stage].everywhere = enabled[stage] != 0;
}

/* Worse than slow would be a filter that nobody applies. */
static void refuse(struct fp_worker *w, struct fp_burst *b)
{
	for (uint16_t i = 0; i < b->n; i++)
		fp_end(w, b, &b->pkts[i], EXCEPTION_NO_STAGE);
	b->n = 0;
}

__rte_noinline void fp_run_stages(struct fp_worker *w, uint64_t stages, struct fp_burst *b)
{
	for (; stages && b->n; stages &= stages - 1) {
		enum fp_stage stage = rte_ctz64(stages);

		fp_trace(w, TRACE_STAGE, stage);
		if (!users[stage][0]) {
			refuse(w, b);
			return;
		}
		for (unsigned i = 0; i < FP_STAGE_USERS && users[stage][i] && b->n; i++)
			users[stage][i](w, b);
	}
}

void fp_resume(struct fp_worker *w, enum fp_stage after, struct fp_burst *b)
{
	uint64_t exceptions = w->exceptions, bytes = w->exception_bytes, drops = w->drops;
	uint32_t iface = b->iface;

	if (!b->n)
		return;
	legs[table[after].leg](w, b, ~((2ULL << after) - 1));
	/* Within a run, who started the run counts. */
	if (w->polling && fp_hooks.resumed)
		fp_hooks.resumed(w, iface, w->exceptions - exceptions, w->exception_bytes - bytes,
				 w->drops - drops);
}

void fp_ip_output(struct fp_worker *w, struct fp_burst *b)
{
	b->flags |= FP_BURST_OWN;
	if (w->depth == FP_DEPTH) {
		for (uint16_t i = 0; i < b->n; i++)
			fp_drop(w, b->pkts[i].m, DROP_TOO_DEEP);
		return;
	}
	w->depth++;
	legs[b->family == AF_INET ? FP_LEG_IP_OUT : FP_LEG_IP6_OUT](w, b, ~0ULL);
	w->depth--;
}

void fp_poll(struct fp_worker *w)
{
	w->polling = true;
	for (uint64_t left = w->polls; left; left &= left - 1)
		polls[rte_ctz64(left)](w);
	w->polling = false;
}

/* --- packets for this host --- */

#define PROTOCOL_UDP  17
#define FRAGMENT_MASK 0x3fff /* of IPv4's offset field: more fragments, and the offset */

struct locals {
	fp_stage_fn *protocols[256];
	uint8_t udp[65536]; /* index in ports */
	fp_stage_fn *ports[UINT8_MAX + 1];
	uint8_t n_ports;
	bool any;
};

static struct locals locals4, locals6;

static struct locals *locals(uint8_t family)
{
	return family == AF_INET ? &locals4 : &locals6;
}

int fp_register_protocol(uint8_t family, uint8_t protocol, fp_stage_fn *fn)
{
	struct locals *l = locals(family);

	if (l->protocols[protocol])
		return -EEXIST;
	l->protocols[protocol] = fn;
	l->any = true;
	return 0;
}

int fp_register_udp(uint8_t family, uint16_t port, fp_stage_fn *fn)
{
	struct locals *l = locals(family);

	if (l->udp[port])
		return -EEXIST;
	if (l->n_ports == UINT8_MAX)
		return -ENOSPC;
	l->ports[++l->n_ports] = fn;
	l->udp[port] = l->n_ports;
	l->any = true;
	return 0;
}

/* Who takes the packet; NULL: Linux. Sets m->l3_len. */
static fp_stage_fn *taker(const struct locals *l, uint8_t family, struct rte_mbuf *m)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned header = family == AF_INET ? 20 : 40;
	uint8_t protocol = ip[family == AF_INET ? 9 : 6];
	fp_stage_fn *fn = l->protocols[protocol];

	if (family == AF_INET && ((ip[6] << 8 | ip[7]) & FRAGMENT_MASK))
		return NULL;
	if (m->data_len < header + 8U)
		return NULL;
	if (!fn && protocol == PROTOCOL_UDP)
		fn = l->ports[l->udp[ip[header + 2] << 8 | ip[header + 3]]];
	m->l3_len = header;
	return fn;
}

bool fp_local_wanted(uint8_t family)
{
	return locals(family)->any;
}

void fp_local(struct fp_worker *w, struct fp_burst *b, enum reason reason)
{
	const struct locals *l = locals(b->family);
	struct fp_burst run = *b;

	/* Runs of packets with the same taker. */
	run.n = 0;
	for (uint16_t i = 0; i < b->n;) {
		fp_stage_fn *fn = taker(l, b->family, b->pkts[i].m);

		run.n = 0;
		do {
			run.pkts[run.n++] = b->pkts[i++];
		} while (i < b->n && taker(l, b->family, b->pkts[i].m) == fn);
		if (fn)
			fn(w, &run);
		for (uint16_t j = 0; j < run.n; j++)
			fp_end(w, &run, &run.pkts[j], reason);
	}
	b->n = 0;
}
