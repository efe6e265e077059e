// SPDX-License-Identifier: BSD-3-Clause
/* Any bursts into a router with all that the fast path can do: from fp_input to what a port sends. What must hold, besides
 * the sanitizers' rules (nothing behind a packet may be read: it is poisoned):
 *
 *   - each packet ends once: sent, or its fragments are; handed to Linux as it came in; or dropped, and what isn't sent is
 *     counted by one reason;
 *   - what is sent fits the interface's MTU, has an Ethernet header of it, a right IPv4 checksum and is consistent;
 *   - no packet buffer is left over.
 *
 * The input: packets, each {u8 port, u8 how, u8 buffers, u16 length, bytes}. `how` says what is put right before: random
 * bytes alone would hardly get past the checks. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <sanitizer/asan_interface.h>

#include "fastpath/fp.h"
#include "features/iface/fpc_iface.h"
#include "features/neigh/fpc_neigh.h"
#include "features/port/fpc_port.h"
#include "features/route/fpc_route.h"
#include "features/vrf/fpc_vrf.h"
#include "fpmd/objects.h"
#include "lib/settings.h"

#define PORTS	    6
#define BUFFERS	    4095 /* more than one input can use, so that none is given out twice meanwhile */
#define ROOM	    2048
#define LONGEST	    9500
#define RTN_UNICAST 1

enum how {
	RIGHT_MAC = 1,
	RIGHT_TYPE = 2,
	RIGHT_ADDRESSES = 4,
	RIGHT_LENGTH = 8,
	RIGHT_SUM = 16,
	RIGHT_REST = 32,
	V6 = 64
};

static struct fpm fpm;
static struct objects objects;
static struct fp_worker worker;
static struct rte_mempool *pool;
static uint64_t n_sent_from, n_linux;
static uint8_t came[FP_BURST][LONGEST]; /* by m->hash.usr */
static uint32_t came_len[FP_BURST];
static bool ended[FP_BURST];
static struct rte_mbuf *poisoned[BUFFERS];
static unsigned n_poisoned;

static const uint32_t mtus[PORTS] = {1500, 1500, 576, 9000, 1280, 68};

/* --- the edges --- */

static void check_consistent(const struct rte_mbuf *m)
{
	uint32_t len = 0;
	unsigned n = 0;

	for (const struct rte_mbuf *s = m; s; s = s->next, n++)
		len += s->data_len;
	assert(len == m->pkt_len && n == m->nb_segs);
}

static void check_sent(uint16_t port, const struct rte_mbuf *m)
{
	struct rte_ipv4_hdr copy;
	uint8_t head[RTE_ETHER_HDR_LEN + sizeof(copy)];
	const uint8_t *at = rte_pktmbuf_read(m, 0, sizeof(head), head);

	assert(port < PORTS && at && m->data_len >= RTE_ETHER_HDR_LEN);
	assert(m->pkt_len <= mtus[port] + RTE_ETHER_HDR_LEN);
	assert(at[0] == 2 && at[1] == 1 && at[6] == 2 && at[11] == port);
	if (at[12] == 8) {
		memcpy(&copy, at + RTE_ETHER_HDR_LEN, sizeof(copy));
		assert(copy.version_ihl == 0x45 && copy.time_to_live);
		assert(rte_be_to_cpu_16(copy.total_length) + RTE_ETHER_HDR_LEN == m->pkt_len);
		assert(rte_raw_cksum(&copy, sizeof(copy)) == 0xffff);
	} else {
		assert(at[12] == 0x86 && at[13] == 0xdd && at[14] >> 4 == 6 && at[21]);
	}
}

static uint16_t port_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint32_t usr = pkts[i]->hash.usr;

		check_consistent(pkts[i]);
		check_sent(port, pkts[i]);
		assert(usr < FP_BURST);
		n_sent_from += !ended[usr];
		ended[usr] = true;
	}
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static bool to_linux(struct fp_worker *w, uint16_t port, enum fp_class class, struct rte_mbuf *m,
		     enum reason *ret_reason)
{
	static uint8_t copy[LONGEST];
	uint32_t usr = m->hash.usr;
	const void *at;

	check_consistent(m);
	assert(usr < FP_BURST && !ended[usr] && m->pkt_len == came_len[usr]);
	at = rte_pktmbuf_read(m, 0, m->pkt_len, copy);
	assert(at && !memcmp(at, came[usr], m->pkt_len));
	ended[usr] = true;
	n_linux++;
	rte_pktmbuf_free(m);
	return true;
}

/* --- the router --- */

static void set(uint16_t feature, const void *msg, size_t size)
{
	static uint8_t whole[4096];
	const char *field;
	struct err err = {0};

	memset(whole, 0, sizeof(whole));
	memcpy(whole, msg, size);
	if (objects_set(&objects, objects_part(&objects, feature), whole, &field, &err)) {
		fprintf(stderr, "fuzz_input: error: %s\n", err.text);
		abort();
	}
}

static void add_neigh(unsigned port, uint8_t family, const uint8_t addr[16])
{
	struct fpc_neigh neigh = {
		.ifindex = 10 + port, .family = family, .mac = {2, 1, 0, 0, port, addr[3]}};

	memcpy(neigh.addr, addr, 16);
	set(FEATURE_NEIGH, &neigh, sizeof(neigh));
}

static void add_route(uint8_t family, const uint8_t *dst, uint8_t plen, uint8_t type,
		      uint32_t table, unsigned n, const unsigned *ports, uint16_t mtu)
{
	struct fpc_route route = {.table = table,
				  .type = type,
				  .family = family,
				  .plen = plen,
				  .n_nexthops = n,
				  .mtu = mtu};

	memcpy(route.dst, dst, (plen + 7) / 8);
	for (unsigned i = 0; i < n; i++) {
		route.nexthops[i] = (struct fpc_nexthop){
			.ifindex = 10 + ports[i], .family = family, .weight = i + 1};
		memcpy(route.nexthops[i].gateway,
		       family == AF_INET ? (uint8_t[16]){10, ports[i], 0, 2}
					 : (uint8_t[16]){0x20, 1, 0xd, 0xb8, ports[i], [15] = 2},
		       16);
	}
	set(FEATURE_ROUTE, &route, sizeof(route));
}

/* Port p has 10.p.0.0/16 and 2001:db8:p00::/40 with neighbours 1 to 15; 10.(16 + i)/16 and 2001:db8:(16 + i)00::/40 are routes
 * of every kind. */
static void set_state(void)
{
	struct fpc_vrf vrf = {.flags = FPC_VRF_MULTIPATH4_PORTS | FPC_VRF_MULTIPATH6_PORTS};
	static const uint8_t types[] = {RTN_UNICAST, RTN_UNICAST, RTN_UNICAST, 2, 3, 5, 6, 7, 8, 9};

	set(FEATURE_VRF, &vrf, sizeof(vrf));
	for (unsigned p = 0; p <= PORTS; p++) {
		struct fpc_port port = {.port = p, .tap_ifindex = 10 + p};
		struct fpc_iface iface = {.ifindex = 10 + p,
					  .mtu = p < PORTS ? mtus[p] : 1500,
					  .mac = {2, 0, 0, 0, 0, p}};

		iface.flags =
			FPC_IFACE_UP | FPC_IFACE_RUNNING | FPC_IFACE_FORWARD4 | FPC_IFACE_FORWARD6;
		iface.flags |= p == 3 ? FPC_IFACE_RPF : p == 4 ? FPC_IFACE_RPF_LOOSE : 0;
		/* The last one is no port. */
		if (p < PORTS)
			set(FEATURE_PORT, &port, sizeof(port));
		set(FEATURE_IFACE, &iface, sizeof(iface));
	}
	for (unsigned p = 0; p <= PORTS; p++) {
		for (uint8_t i = 2; i < 16; i++) {
			add_neigh(p, AF_INET, (uint8_t[16]){10, p, 0, i});
			add_neigh(p, AF_INET6, (uint8_t[16]){0x20, 1, 0xd, 0xb8, p, [15] = i});
		}
		for (unsigned six = 0; six < 2; six++) {
			struct fpc_route connected = {.table = 254,
						      .type = RTN_UNICAST,
						      .family = six ? AF_INET6 : AF_INET,
						      .plen = six ? 40 : 16,
						      .n_nexthops = 1,
						      .nexthops = {{.ifindex = 10 + p}}};

			memcpy(connected.dst,
			       six ? (uint8_t[]){0x20, 1, 0xd, 0xb8, p} : (uint8_t[]){10, p},
			       six ? 5 : 2);
			set(FEATURE_ROUTE, &connected, sizeof(connected));
		}
		add_route(AF_INET, (uint8_t[]){10, p, 0, 1}, 32, 2, 255, 0, NULL, 0);
		add_route(AF_INET6, (uint8_t[16]){0x20, 1, 0xd, 0xb8, p, [15] = 1}, 128, 2, 255, 0,
			  NULL, 0);
	}
	for (unsigned i = 0; i < 24; i++) {
		uint8_t type = i < 14 ? RTN_UNICAST : types[i - 14];
		unsigned n = type != RTN_UNICAST ? 0 : i < 7 ? 1 : 1 + i % 5;
		const unsigned ports[] = {i % (PORTS + 1), (i + 1) % PORTS, (i + 2) % PORTS,
					  (i + 3) % PORTS, (i + 4) % PORTS};
		uint16_t mtu = i >= 17 ? 0 : i % 3 ? 0 : 600 + 100 * i;

		add_route(AF_INET, (uint8_t[]){10, 16 + i}, 16, type, 254, n, ports, mtu);
		add_route(AF_INET, (uint8_t[]){10, 16 + i, 7, 16}, 28, RTN_UNICAST, 254, 1, ports,
			  0);
		add_route(AF_INET6, (uint8_t[]){0x20, 1, 0xd, 0xb8, 16 + i}, 40, type, 254, n,
			  ports, mtu);
		add_route(AF_INET6, (uint8_t[]){0x20, 1, 0xd, 0xb8, 16 + i, 7, 7, 7, 7}, 72,
			  RTN_UNICAST, 254, 1, ports, 0);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *eal[] = {"fuzz",		 "--no-huge",	  "--no-shconf", "--no-pci",
		       "--no-telemetry", "--log-level=4", "-m",		 "64"};
	char dir[] = "/tmp/fuzz_input.XXXXXX", path[64];
	struct shm_table_desc tables[SHM_MAX_TABLES];
	static struct settings settings;
	static struct shm stats;
	struct err err = {0};

	if (rte_eal_init(sizeof(eal) / sizeof(*eal), eal) < 0 || !mkdtemp(dir))
		abort();
	pool = rte_pktmbuf_pool_create("packets", BUFFERS, 0, 0, FP_HEADROOM + ROOM, SOCKET_ID_ANY);
	settings_init(&settings);
	fpm.settings = &settings;
	snprintf(path, sizeof(path), "%s/config", dir);
	if (!pool ||
	    shm_create(&fpm.config, path, tables, feature_config_tables(tables, &settings), &err))
		abort();
	unlink(path);
	snprintf(path, sizeof(path), "%s/stats", dir);
	if (shm_create(&stats, path, tables, feature_stats_tables(tables, &settings), &err))
		abort();
	unlink(path);
	rmdir(dir);
	if (objects_init(&objects, &fpm, fpm_parts, n_features, &err) || fp_init(&err) ||
	    fp_attach(&fpm.config, &stats, &err))
		abort();
	fp_worker_init(&worker, 0, &stats);
	fp_edges = (struct fp_edges){.port_tx = port_tx, .to_linux = to_linux};
	set_state();
	return 0;
}

/* --- packets --- */

static void put_right(uint8_t *frame, uint32_t len, uint8_t port, uint8_t how)
{
	uint8_t *ip = frame + RTE_ETHER_HDR_LEN;
	uint32_t room = len - RTE_ETHER_HDR_LEN;

	if (len < RTE_ETHER_HDR_LEN)
		return;
	if (how & RIGHT_MAC)
		memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, port}, 6);
	if (how & RIGHT_TYPE)
		memcpy(frame + 12, how & V6 ? (uint8_t[]){0x86, 0xdd} : (uint8_t[]){8, 0}, 2);
	if (how & V6 && room >= 40) {
		if (how & RIGHT_REST) {
			ip[0] = 0x60 | (ip[0] & 15);
			ip[6] |= 1; /* no hop-by-hop options */
			ip[7] |= 2;
		}
		if (how & RIGHT_LENGTH) {
			ip[4] = (uint8_t)((room - 40) >> 8);
			ip[5] = (uint8_t)(room - 40);
		}
		if (how & RIGHT_ADDRESSES) {
			for (unsigned at = 8; at < 40; at += 16) {
				memcpy(ip + at, (uint8_t[]){0x20, 1, 0xd, 0xb8}, 4);
				ip[at + 4] %= 42;
				if (ip[at + 5] & 1)
					memset(ip + at + 5, 0, 10);
			}
		}
	} else if (!(how & V6) && room >= 20) {
		if (how & RIGHT_REST) {
			ip[0] = 0x45;
			ip[8] |= 2;
		}
		if (how & RIGHT_LENGTH) {
			ip[2] = (uint8_t)(room >> 8);
			ip[3] = (uint8_t)room;
		}
		if (how & RIGHT_ADDRESSES) {
			for (unsigned at = 12; at < 20; at += 4) {
				ip[at] = 10;
				ip[at + 1] %= 42;
				if (ip[at + 2] & 1)
					ip[at + 2] = 0;
			}
		}
		if (how & RIGHT_SUM) {
			uint16_t sum;

			ip[10] = ip[11] = 0;
			sum = (uint16_t)~rte_raw_cksum(ip, 20);
			memcpy(ip + 10, &sum, 2);
		}
	}
}

/* The frame in buffers: as few as possible, or of lengths that @seed gives, the first one too. */
static struct rte_mbuf *buffers(const uint8_t *frame, uint32_t len, uint8_t seed, uint16_t port)
{
	struct rte_mbuf *first = NULL, *last = NULL;
	uint32_t at = 0, random = seed;

	do {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t size = ROOM;

		assert(m);
		if (seed) {
			random = random * 1103515245 + 12345;
			size = (random >> 16) % (seed < 64 ? 64 : seed < 128 ? 512 : 2048) + 1;
		}
		size = RTE_MIN(size, len - at);
		memcpy(rte_pktmbuf_mtod(m, void *), frame + at, size);
		m->data_len = (uint16_t)size;
		ASAN_POISON_MEMORY_REGION(rte_pktmbuf_mtod_offset(m, char *, size),
					  rte_pktmbuf_tailroom(m));
		poisoned[n_poisoned++] = m;
		if (!first) {
			first = m;
			m->port = port;
			m->pkt_len = len;
		} else {
			last->next = m;
			first->nb_segs++;
		}
		last = m;
		at += size;
	} while (at < len && first->nb_segs < 200);
	/* What didn't fit into so many buffers isn't there. */
	first->pkt_len = at;
	return first;
}

/* Whoever gets the buffers next may write all of them. */
static void heal(void)
{
	while (n_poisoned) {
		struct rte_mbuf *m = poisoned[--n_poisoned];

		ASAN_UNPOISON_MEMORY_REGION(m->buf_addr, m->buf_len);
	}
}

static uint64_t reasons_met(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < N_REASONS; i++)
		sum += worker.reasons[i];
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rte_mbuf *pkts[FP_BURST];
	uint64_t before = reasons_met(), drops = worker.drops;
	uint16_t port = 0, n = 0, used = 0;
	uint64_t sent = 0, handed = 0;

	n_sent_from = n_linux = 0;
	while (n < 8 && size >= 5) {
		uint8_t to = data[0] % PORTS, how = data[1], seed = data[2];
		uint32_t len = (data[3] << 8 | data[4]) % LONGEST, given;

		data += 5;
		size -= 5;
		/* A burst has one port. */
		if (!n)
			port = to;
		given = RTE_MIN(len, size);
		/* What the input lacks is a pattern: large packets needn't be found byte by byte. */
		memset(came[n], 0x5a, len);
		memcpy(came[n], data, given);
		data += given;
		size -= given;
		put_right(came[n], len, (uint8_t)port, how);
		pkts[n] = buffers(came[n], len, seed, port);
		pkts[n]->hash.usr = n;
		pkts[n]->l2_len = 77;
		came_len[n] = pkts[n]->pkt_len;
		ended[n] = false;
		n++;
	}
	used = n;
	if (!n)
		return 0;
	fp_input(&worker, port, pkts, n);
	fp_flush(&worker);
	sent = n_sent_from;
	handed = n_linux;
	assert(sent + handed + (worker.drops - drops) == used);
	assert(reasons_met() - before == handed + (worker.drops - drops));
	assert(!rte_mempool_in_use_count(pool));
	heal();
	return 0;
}
