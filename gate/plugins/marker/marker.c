// SPDX-License-Identifier: BSD-3-Clause
/* A packet marker: sets the DSCP (RFC 2474) of forwarded IPv4 and IPv6 packets by rule.
 *
 *   FP_PLUGINS="marker,rule=udp:5060-5061:46,rule=any:0"
 *
 * It sits in front of fp_ip_inetif_send and fp_ip6_inet6if_send, where a packet is as it will be on the wire and can no more
 * become an exception: Linux never sees a packet that was marked here. */
#include <sluice/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#define RULES_MAX 32
#define ANY	  256

struct rule {
	uint16_t protocol; /* IPv4 protocol, IPv6 next header; ANY */
	bool ports;	   /* only to these destination ports */
	uint16_t first, last;
	uint8_t dscp;
	int counter; /* packets whose DSCP this rule decided */
};

static struct rule rules[RULES_MAX];
static unsigned n_rules;
static fp_send_fn *next4, *next6;

/* --- rules --- */

/* A number from 0 to @max at *@at, which moves behind it. */
static bool number(const char **at, unsigned long max, unsigned long *ret)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	*ret = strtoul(*at, &end, 10);
	*at = end;
	return *ret <= max;
}

static bool protocol(const char **at, uint16_t *ret)
{
	static const struct {
		const char *name;
		uint16_t number;
	} names[] = {{"any", ANY}, {"tcp", 6}, {"udp", 17}, {"sctp", 132}};
	unsigned long value;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i].name);

		if (!strncmp(*at, names[i].name, n) && (*at)[n] == ':') {
			*ret = names[i].number;
			*at += n;
			return true;
		}
	}
	if (!number(at, 255, &value))
		return false;
	*ret = (uint16_t)value;
	return true;
}

/* PROTOCOL:[FIRST[-LAST]:]DSCP */
static bool parse_rule(const char *text, struct rule *ret)
{
	unsigned long first, last;

	*ret = (struct rule){};
	if (!protocol(&text, &ret->protocol) || *text++ != ':' || !number(&text, 65535, &first))
		return false;
	last = first;
	if (*text == '-' && (text++, !number(&text, 65535, &last)))
		return false;
	if (*text == ':') {
		text++;
		ret->ports = true;
		ret->first = (uint16_t)first;
		ret->last = (uint16_t)last;
		if (first > last || !number(&text, 63, &first))
			return false;
	} else if (first != last || first > 63) {
		return false;
	}
	ret->dscp = (uint8_t)first;
	return !*text;
}

static const char *configure(const char *arguments)
{
	char copy[1024], *save = NULL;

	if (strlen(arguments) >= sizeof(copy))
		return "its arguments are too long";
	strcpy(copy, arguments);
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		static char wrong[160];

		if (n_rules == RULES_MAX)
			return "more than 32 rules";
		if (!strncmp(word, "rule=", 5) && parse_rule(word + 5, &rules[n_rules])) {
			n_rules++;
			continue;
		}
		snprintf(wrong, sizeof(wrong),
			 "'%.60s' isn't rule=PROTOCOL:[PORT[-PORT]:]DSCP, such as rule=udp:5060:46",
			 word);
		return wrong;
	}
	return n_rules ? NULL : "it has no rule";
}

/* --- packets --- */

/* The rule for a packet of @protocol whose upper header is at @at, @room readable bytes; NULL: none. */
static const struct rule *match(uint8_t protocol, const uint8_t *at, int room)
{
	bool has_ports = (protocol == 6 || protocol == 17 || protocol == 132) && room >= 4;
	uint16_t port = has_ports ? (uint16_t)(at[2] << 8 | at[3]) : 0;

	for (unsigned i = 0; i < n_rules; i++) {
		const struct rule *r = &rules[i];

		if (r->protocol != ANY && r->protocol != protocol)
			continue;
		if (r->ports && (!has_ports || port < r->first || port > r->last))
			continue;
		return r;
	}
	return NULL;
}

static void mark4(struct fp_worker *w, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	int header = rte_ipv4_hdr_len(ip);
	/* Only the first fragment has ports. */
	bool first = !(ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK));
	const struct rule *rule =
		match(ip->next_proto_id, (uint8_t *)ip + header, first ? m->data_len - header : 0);
	uint8_t tos;
	uint32_t sum;

	if (!rule)
		return;
	tos = (uint8_t)(rule->dscp << 2) | (ip->type_of_service & 3);
	/* RFC 1624, equation 3; the field is the low byte of its word. */
	sum = (uint16_t)~rte_be_to_cpu_16(ip->hdr_checksum) +
	      (uint16_t)~(ip->version_ihl << 8 | ip->type_of_service) +
	      (uint32_t)(ip->version_ihl << 8 | tos);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->hdr_checksum = rte_cpu_to_be_16((uint16_t)~sum);
	ip->type_of_service = tos;
	fp_plugin_count(w, rule->counter, 1);
}

static void mark6(struct fp_worker *w, struct rte_mbuf *m)
{
	uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);
	const struct rule *rule = match(ip[6], ip + 40, m->data_len - 40);

	if (!rule)
		return;
	/* 4 bits of version, 6 of DSCP, 2 of ECN, 20 of flow label. */
	ip[0] = (uint8_t)(0x60 | rule->dscp >> 2);
	ip[1] = (uint8_t)(rule->dscp << 6) | (ip[1] & 0x3f);
	fp_plugin_count(w, rule->counter, 1);
}

static void send4(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		mark4(w, pkts[i].m);
	next4(w, iface, pkts, n);
}

static void send6(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		mark6(w, pkts[i].m);
	next6(w, iface, pkts, n);
}

static const char *start(void)
{
	for (unsigned i = 0; i < n_rules; i++) {
		char name[16], text[64];

		snprintf(name, sizeof(name), "rule%u", i + 1);
		snprintf(text, sizeof(text), "packets that rule %u gave DSCP %u", i + 1,
			 rules[i].dscp);
		rules[i].counter = fp_plugin_counter(FP_COUNT_OTHER, name, text);
		if (rules[i].counter < 0)
			return "no room for its counters";
	}
	next4 = fp_hook_ip_inetif_send(send4);
	next6 = fp_hook_ip6_inet6if_send(send6);
	return NULL;
}

FP_PLUGIN("marker", "1.0", "sets the DSCP of forwarded packets", .configure = configure,
	  .start = start)
