// SPDX-License-Identifier: BSD-3-Clause
/* A load balancer: TCP and UDP to one IPv4 address and port go to several servers in turn.
 *
 *   FP_PLUGINS="round_robin,address=203.0.113.80,port=80,servers=192.0.2.11/192.0.2.12"
 *
 * It sits in front of fp_ip_input: there it puts the server's address in the place of the virtual one, and in what servers
 * answer the virtual one in the place of theirs. From there on the packet is an ordinary one, with all that the fast path and
 * Linux do with it (routes, neighbours, MTU, ICMP errors).
 *
 * A flow stays with its server as long as it isn't silent for `timeout` seconds: each worker remembers its flows (RSS brings
 * all packets of one to the same worker). Answers need no memory: what a server sends from the port is an answer. */
#include <sluice/plugin.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_byteorder.h>
#include <rte_hash_crc.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#define SERVERS_MAX 16
#define SETS	    4096 /* of flows, of a worker; a power of two */
#define WAYS	    4
#define TCP	    6
#define UDP	    17

struct server {
	uint32_t addr; /* network byte order */
	int counter;   /* packets sent to it */
};

struct flow {
	uint32_t addr; /* client; network byte order */
	uint16_t port; /* likewise */
	uint8_t protocol;
	uint8_t server;	  /* index */
	uint32_t seconds; /* of its last packet; 0: never used */
};

static struct {
	uint32_t address; /* the virtual one, network byte order; 0: not set */
	uint16_t port;	  /* network byte order; 0: not set */
	uint32_t timeout;
	bool packets; /* each packet to the next server */
	unsigned n_servers;
	struct server servers[SERVERS_MAX];
} config = {.timeout = 300};

static int flow_counter, answer_counter;
static fp_iface_fn *next;

static struct {
	_Alignas(64) struct flow flows[SETS][WAYS];
	unsigned turn;
} workers[FP_PLUGIN_WORKERS];

/* --- arguments --- */

static bool positive(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && *ret && *ret <= max;
}

static const char *servers(char *list)
{
	char *save = NULL;

	for (char *word = strtok_r(list, "/", &save); word; word = strtok_r(NULL, "/", &save)) {
		if (config.n_servers == SERVERS_MAX)
			return "more than 16 servers";
		if (inet_pton(AF_INET, word, &config.servers[config.n_servers++].addr) != 1)
			return "servers= isn't a list of IPv4 addresses with '/' between them";
	}
	return NULL;
}

static const char *argument(const char *key, char *value)
{
	unsigned long number;

	if (!strcmp(key, "address"))
		return inet_pton(AF_INET, value, &config.address) == 1
			       ? NULL
			       : "address= isn't an IPv4 address";
	if (!strcmp(key, "port")) {
		if (!positive(value, 65535, &number))
			return "port= isn't a number from 1 to 65535";
		config.port = htons((uint16_t)number);
		return NULL;
	}
	if (!strcmp(key, "timeout")) {
		if (!positive(value, 86400, &number))
			return "timeout= isn't a number of seconds from 1 to 86400";
		config.timeout = (uint32_t)number;
		return NULL;
	}
	if (!strcmp(key, "mode")) {
		config.packets = !strcmp(value, "packets");
		return config.packets || !strcmp(value, "flows") ? NULL
								 : "mode= is flows or packets";
	}
	if (!strcmp(key, "servers"))
		return servers(value);
	return "its arguments are address=, port=, servers=, mode= and timeout=";
}

static const char *configure(const char *arguments)
{
	char copy[1024], *save = NULL;

	if (strlen(arguments) >= sizeof(copy))
		return "its arguments are too long";
	strcpy(copy, arguments);
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *value = strchr(word, '=');
		const char *wrong;

		if (value)
			*value++ = '\0';
		wrong = argument(word, value ? value : word + strlen(word));
		if (wrong)
			return wrong;
	}
	return config.address && config.port && config.n_servers
		       ? NULL
		       : "it needs address=, port= and servers=";
}

/* --- packets --- */

/* RFC 1624, equation 3: the sum after one address became another, all in network byte order. */
static uint16_t adjusted(uint16_t sum, uint32_t from, uint32_t to)
{
	uint32_t s = (uint16_t)~sum + (uint16_t)~from + (uint16_t)~(from >> 16) + (to & 0xffff) +
		     (to >> 16);

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

/* Another address in a packet whose TCP or UDP header is at @upper: the checksums cover it. */
static void replace(struct rte_ipv4_hdr *ip, uint32_t *field, uint8_t *upper, uint32_t to)
{
	uint8_t *at = upper + (ip->next_proto_id == TCP ? 16 : 6);
	uint32_t from = *field;
	uint16_t sum;

	ip->hdr_checksum = adjusted(ip->hdr_checksum, from, to);
	*field = to;
	memcpy(&sum, at, sizeof(sum));
	/* UDP: 0 says that there's none, so a sum of 0 is written as its other form. */
	if (ip->next_proto_id == UDP && !sum)
		return;
	sum = adjusted(sum, from, to);
	if (ip->next_proto_id == UDP && !sum)
		sum = 0xffff;
	memcpy(at, &sum, sizeof(sum));
}

static unsigned in_turn(unsigned worker)
{
	return workers[worker].turn++ % config.n_servers;
}

/* The server of the flow from @addr, @port. */
static unsigned server_of(struct fp_worker *w, uint32_t addr, uint16_t port, uint8_t protocol)
{
	unsigned worker = fp_plugin_worker(w);
	uint32_t now = fp_plugin_seconds(w);
	uint32_t hash = rte_hash_crc_4byte(addr, (uint32_t)port << 8 | protocol);
	struct flow *set = workers[worker].flows[hash % SETS], *oldest = set;

	for (struct flow *f = set; f < set + WAYS; f++) {
		if (f->addr == addr && f->port == port && f->protocol == protocol && f->seconds &&
		    now - f->seconds <= config.timeout) {
			f->seconds = now;
			return f->server;
		}
		if (f->seconds < oldest->seconds)
			oldest = f;
	}
	*oldest = (struct flow){.addr = addr, .port = port, .protocol = protocol, .seconds = now};
	oldest->server = (uint8_t)in_turn(worker);
	fp_plugin_count(w, flow_counter, 1);
	return oldest->server;
}

static bool is_server(uint32_t addr)
{
	for (unsigned i = 0; i < config.n_servers; i++)
		if (config.servers[i].addr == addr)
			return true;
	return false;
}

static void balance(struct fp_worker *w, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	uint8_t *upper = (uint8_t *)(ip + 1);
	uint16_t ports[2];
	uint32_t src, dst;

	/* Nothing is checked yet; what's odd takes its way unchanged. So do fragments: they have no ports. */
	if (m->data_len < sizeof(*ip) + 8 || ip->version_ihl != 0x45 ||
	    ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG))
		return;
	if (ip->next_proto_id != UDP &&
	    (ip->next_proto_id != TCP || m->data_len < sizeof(*ip) + 20))
		return;
	memcpy(ports, upper, sizeof(ports));
	memcpy(&src, &ip->src_addr, sizeof(src));
	memcpy(&dst, &ip->dst_addr, sizeof(dst));
	if (dst == config.address && ports[1] == config.port) {
		unsigned i = config.packets ? in_turn(fp_plugin_worker(w))
					    : server_of(w, src, ports[0], ip->next_proto_id);

		replace(ip, &dst, upper, config.servers[i].addr);
		memcpy(&ip->dst_addr, &dst, sizeof(dst));
		fp_plugin_count(w, config.servers[i].counter, 1);
	} else if (ports[0] == config.port && is_server(src)) {
		replace(ip, &src, upper, config.address);
		memcpy(&ip->src_addr, &src, sizeof(src));
		fp_plugin_count(w, answer_counter, 1);
	}
}

static void input(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		balance(w, pkts[i]);
	next(w, iface, pkts, n);
}

static const char *start(void)
{
	for (unsigned i = 0; i < config.n_servers; i++) {
		char name[16], text[80], address[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &config.servers[i].addr, address, sizeof(address));
		snprintf(name, sizeof(name), "server%u", i + 1);
		snprintf(text, sizeof(text), "packets sent to server %s", address);
		config.servers[i].counter = fp_plugin_counter(FP_COUNT_OTHER, name, text);
		if (config.servers[i].counter < 0)
			return "no room for its counters";
	}
	flow_counter = fp_plugin_counter(FP_COUNT_OTHER, "flows", "flows given to a server");
	answer_counter = fp_plugin_counter(FP_COUNT_OTHER, "answers",
					   "packets of servers that left with the virtual address");
	if (flow_counter < 0 || answer_counter < 0)
		return "no room for its counters";
	next = fp_hook_ip_input(input);
	return NULL;
}

FP_PLUGIN("round_robin", "1.0", "TCP and UDP to one address go to several servers in turn",
	  .configure = configure, .start = start)
