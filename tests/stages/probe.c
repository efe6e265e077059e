// SPDX-License-Identifier: BSD-3-Clause
/* A plugin for tests: does at stages, protocols and hooks what its arguments say, and counts.
 *
 *   at=STAGE:ACTION    works at a stage and enables it; at STAGE:ACTION? only works there
 *   udp=PORT:ACTION    takes UDP packets for this host
 *   ip=PROTOCOL:ACTION takes IPv4 packets of a protocol for this host
 *   hooks              counts what each hook sees, and passes it on
 *
 * Actions: pass, drop, linux (hand to Linux), take (free without a word), hold (keep until the next poll), own (resume at once as
 * own packets), open (off with 20 bytes in front and what's behind the packet within, as a decrypter would; special from there on,
 * with IPsec done but for protocol 254, of mark TOS << 24 | ID of the outer header; and again on the same interface), steer (next hop: the UDP source port), hide (next hop: 0), send (fp_ip_output), decap (off with 20 bytes, and
 * again on the same interface). */
#include <sluice/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>

#define USES_MAX 8

enum action { PASS, DROP, LINUX, TAKE, HOLD, OWN, STEER, HIDE, SEND, DECAP, OPEN };

static struct use {
	char kind[8], name[32];
	bool off;
	enum action action;
	int stage, counter;
	struct fp_burst held;
} uses[USES_MAX];
static unsigned n_uses;
static bool hooks;
static int poll_number, drop_counter, linux_counter;

/* --- actions --- */

static void free_all(struct fp_burst *b)
{
	for (uint16_t i = 0; i < b->n; i++)
		rte_pktmbuf_free(b->pkts[i].m);
	b->n = 0;
}

static void decapsulate(struct fp_worker *w, struct fp_burst *b)
{
	struct rte_mbuf *pkts[FP_BURST];
	uint16_t n = 0, kept = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		if (fp_plugin_decapsulate(b->pkts[i].m, 20))
			pkts[n++] = b->pkts[i].m;
		else
			b->pkts[kept++] = b->pkts[i];
	}
	b->n = kept;
	if (n)
		fp_plugin_receive(w, b->iface, RTE_BE16(0x0800), pkts, n);
}

/* What stands behind the packet, as an ICV does, goes; the rest is as decapsulated. */
static void open_one(struct fp_worker *w, const struct fp_burst *b, struct rte_mbuf *m)
{
	const uint8_t *outer = rte_pktmbuf_mtod(m, const uint8_t *);
	struct fp_special s = {.iface = b->iface,
			       .mark = (uint32_t)outer[1] << 24 | (uint32_t)outer[4] << 8 |
				       outer[5],
			       .flags = outer[9] == 254 ? 0 : FP_SPECIAL_IPSEC};
	const uint8_t *ip = outer + 20;
	uint32_t len;

	if (!fp_plugin_decapsulate(m, 20)) {
		fp_plugin_drop(w, m, drop_counter);
		return;
	}
	len = ip[0] >> 4 == 4 ? (uint32_t)(ip[2] << 8 | ip[3])
			      : 40 + (uint32_t)(ip[4] << 8 | ip[5]);
	if (len < m->pkt_len)
		rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - len));
	fp_make_special(m, &s);
	fp_plugin_receive(w, b->iface, ip[0] >> 4 == 4 ? RTE_BE16(0x0800) : RTE_BE16(0x86dd), &m,
			  1);
}

static void each(struct fp_worker *w, struct use *use, struct fp_burst *b)
{
	for (uint16_t i = 0; i < b->n; i++) {
		const uint8_t *ip = rte_pktmbuf_mtod(b->pkts[i].m, const uint8_t *);

		if (use->action == DROP)
			fp_plugin_drop(w, b->pkts[i].m, drop_counter);
		else if (use->action == LINUX)
			fp_plugin_to_linux(w, b->pkts[i].m, linux_counter);
		else if (use->action == STEER)
			b->pkts[i].nexthop = (uint32_t)(ip[20] << 8 | ip[21]);
		else if (use->action == HIDE)
			b->pkts[i].nexthop = 0;
	}
	if (use->action == DROP || use->action == LINUX)
		b->n = 0;
}

static void act(struct fp_worker *w, struct use *use, struct fp_burst *b)
{
	struct fp_burst copy = *b;

	fp_plugin_count(w, use->counter, b->n);
	switch (use->action) {
	case PASS:
		break;
	case TAKE:
		free_all(b);
		break;
	case HOLD:
		free_all(&use->held);
		use->held = copy;
		for (uint16_t i = 0; i < b->n; i++)
			use->held.pkts[i].nexthop = 0;
		b->n = 0;
		fp_want_poll(w, poll_number, true);
		break;
	case OWN:
		copy.flags |= FP_BURST_OWN;
		b->n = 0;
		fp_plugin_resume(w, use->stage, &copy);
		break;
	case SEND:
		for (uint16_t i = 0; i < b->n; i++)
			copy.pkts[i].nexthop = 0;
		b->n = 0;
		fp_ip_output(w, &copy);
		break;
	case DECAP:
		decapsulate(w, b);
		break;
	case OPEN:
		for (uint16_t i = 0; i < b->n; i++)
			open_one(w, b, b->pkts[i].m);
		b->n = 0;
		break;
	default:
		each(w, use, b);
	}
}

static void poll(struct fp_worker *w)
{
	for (unsigned i = 0; i < n_uses; i++)
		if (uses[i].held.n) {
			struct fp_burst b = uses[i].held;

			uses[i].held.n = 0;
			fp_plugin_resume(w, uses[i].stage, &b);
		}
	fp_want_poll(w, poll_number, false);
}

/* A function for each use: it's called without an argument. */
#define ACT(i)                                                                                     \
	static void act##i(struct fp_worker *w, struct fp_burst *b)                                \
	{                                                                                          \
		act(w, &uses[i], b);                                                               \
	}
ACT(0)
ACT(1)
ACT(2)
ACT(3)
ACT(4)
ACT(5)
ACT(6)
ACT(7)
static fp_stage_fn *const acts[USES_MAX] = {act0, act1, act2, act3, act4, act5, act6, act7};

/* --- hooks --- */

#define PORT_HOOK(name)                                                                            \
	static fp_port_fn *next_##name;                                                            \
	static int count_##name;                                                                   \
	static void on_##name(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts,          \
			      uint16_t n)                                                          \
	{                                                                                          \
		fp_plugin_count(w, count_##name, n);                                               \
		next_##name(w, port, pkts, n);                                                     \
	}
#define IFACE_HOOK(name)                                                                           \
	static fp_iface_fn *next_##name;                                                           \
	static int count_##name;                                                                   \
	static void on_##name(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts,         \
			      uint16_t n)                                                          \
	{                                                                                          \
		struct fp_plugin_iface info;                                                       \
		fp_plugin_iface(iface, &info);                                                     \
		fp_plugin_count(w, count_##name, info.ifindex ? n : 0);                            \
		next_##name(w, iface, pkts, n);                                                    \
	}
#define SEND_HOOK(name)                                                                            \
	static fp_send_fn *next_##name;                                                            \
	static int count_##name;                                                                   \
	static void on_##name(struct fp_worker *w, uint32_t iface, struct fp_send *pkts,           \
			      uint16_t n)                                                          \
	{                                                                                          \
		fp_plugin_count(w, count_##name, n);                                               \
		next_##name(w, iface, pkts, n);                                                    \
	}
PORT_HOOK(ether_input)
PORT_HOOK(process_linux_tx)
IFACE_HOOK(ip_input)
IFACE_HOOK(ip6_input)
IFACE_HOOK(ether_output)
SEND_HOOK(ip_inetif_send)
SEND_HOOK(ip6_inet6if_send)
static fp_output_fn *next_if_output;
static int count_if_output;
static void on_if_output(struct fp_worker *w, uint32_t iface, uint16_t ethertype,
			 struct fp_send *pkts, uint16_t n)
{
	fp_plugin_count(w, count_if_output, n);
	next_if_output(w, iface, ethertype, pkts, n);
}

static void hook(void)
{
#define HOOK(name)                                                                                 \
	count_##name = fp_plugin_counter(FP_COUNT_OTHER, #name, "packets that the hook saw");      \
	next_##name = fp_hook_##name(on_##name);
	HOOK(ether_input)
	HOOK(process_linux_tx)
	HOOK(ip_input)
	HOOK(ip6_input)
	HOOK(ether_output)
	HOOK(ip_inetif_send)
	HOOK(ip6_inet6if_send)
	HOOK(if_output)
}

/* --- start --- */

static const char *configure(const char *arguments)
{
	static const char *const names[] = {"pass",  "drop", "linux", "take",  "hold", "own",
					    "steer", "hide", "send",  "decap", "open"};
	char copy[512], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", arguments);
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		struct use *use = &uses[n_uses];
		char action[16];

		if (!strcmp(word, "hooks")) {
			hooks = true;
			continue;
		}
		if (n_uses == USES_MAX ||
		    sscanf(word, "%7[a-z]=%31[^:]:%15[a-z]", use->kind, use->name, action) != 3)
			return "wrong argument";
		use->off = word[strlen(word) - 1] == '?';
		for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (!strcmp(action, names[i]))
				use->action = i;
		n_uses++;
	}
	return NULL;
}

static const char *start(void)
{
	if (hooks)
		hook();
	poll_number = fp_register_poll(poll);
	drop_counter = fp_plugin_counter(FP_COUNT_DROP, "dropped", "the test wants it so");
	linux_counter = fp_plugin_counter(FP_COUNT_EXCEPTION, "to_linux", "the test wants it so");
	for (unsigned i = 0; i < n_uses; i++) {
		struct use *use = &uses[i];
		char name[40];

		snprintf(name, sizeof(name), "%.7s_%.31s", use->kind, use->name);
		use->counter = fp_plugin_counter(FP_COUNT_OTHER, name, "packets");
		if (use->action == OPEN)
			fp_want_special(true);
		if (use->counter < 0)
			return "a counter is there twice";
		if (!strcmp(use->kind, "at")) {
			use->stage = fp_plugin_stage(use->name, acts[i]);
			if (use->stage < 0)
				return "there's no such stage, or no room at it";
			if (!use->off)
				fp_plugin_enable(use->stage, true);
		} else if (!strcmp(use->kind, "udp")) {
			if (fp_register_udp(AF_INET, (uint16_t)atoi(use->name), acts[i]) ||
			    fp_register_udp(AF_INET6, (uint16_t)atoi(use->name), acts[i]))
				return "the port is taken";
		} else if (fp_register_protocol(AF_INET, (uint8_t)atoi(use->name), acts[i])) {
			return "the protocol is taken";
		}
	}
	return NULL;
}

FP_PLUGIN("probe", "0", "for tests", .configure = configure, .start = start)
