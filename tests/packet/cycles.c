// SPDX-License-Identifier: BSD-3-Clause
/* Cycles per packet of the fast path alone, from fp_input to the port's queue, without any driver: packets are set up before
 * and put right again after the clock has stopped. For looking at a change by itself; what users get is measured by
 * tests/bench with drivers.
 *
 *   packet_cycles DIR [BURST [PLUGINS]]   tables in DIR (removed by the caller); with plugins, as FP_PLUGINS names them */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "fastpath/fp.h"
#include "fastpath/plugins.h"
#include "features/iface/fpc_iface.h"
#include "features/neigh/fpc_neigh.h"
#include "features/port/fpc_port.h"
#include "features/route/fpc_route.h"
#include "features/vrf/fpc_vrf.h"
#include "fpmd/objects.h"
#include "lib/settings.h"

#define PACKETS 512 /* about what a driver has in its rings */
#define ROUNDS	4000

static struct fpm fpm;
static struct objects objects;
static struct fp_worker worker;
static struct rte_mbuf *packets[PACKETS];
static unsigned n_sent, n_linux;

[[noreturn]] static void die(const char *what)
{
	fprintf(stderr, "packet_cycles: error: %s\n", what);
	exit(1);
}

static uint16_t port_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	n_sent += n;
	return n;
}

static bool to_linux(struct fp_worker *w, uint16_t port, enum fp_class class, struct rte_mbuf *m,
		     enum reason *ret_reason)
{
	n_linux++;
	return true;
}

static void set(uint16_t feature, const void *msg, size_t size)
{
	static uint8_t whole[4096];
	const char *field;
	struct err err = {0};

	memset(whole, 0, sizeof(whole));
	memcpy(whole, msg, size);
	if (objects_set(&objects, objects_part(&objects, feature), whole, &field, &err))
		die(err.text);
}

/* Ports 0 and 1, hosts 10.0.0.0/8 and 2001:db8::/32 behind gateways of port 1: @gateways routes by as many gateways. */
static void set_state(unsigned gateways)
{
	struct fpc_vrf vrf = {0};

	set(FEATURE_VRF, &vrf, sizeof(vrf));
	for (unsigned i = 0; i < 2; i++) {
		struct fpc_port port = {.port = i, .tap_ifindex = 10 + i};
		struct fpc_iface iface = {
			.ifindex = 10 + i, .mtu = 1500, .mac = {2, 0, 0, 0, 0, i}};

		iface.flags =
			FPC_IFACE_UP | FPC_IFACE_RUNNING | FPC_IFACE_FORWARD4 | FPC_IFACE_FORWARD6;
		set(FEATURE_PORT, &port, sizeof(port));
		set(FEATURE_IFACE, &iface, sizeof(iface));
	}
	for (unsigned i = 0; i < gateways; i++) {
		struct fpc_neigh neigh = {
			.ifindex = 11, .family = AF_INET, .mac = {2, 1, 0, 0, i >> 8, i}};
		struct fpc_route route = {.table = 254, .type = 1, .n_nexthops = 1};

		memcpy(neigh.addr, (uint8_t[]){198, 18, i >> 8, i}, 4);
		set(FEATURE_NEIGH, &neigh, sizeof(neigh));
		route.nexthops[0] = (struct fpc_nexthop){.ifindex = 11, .family = AF_INET};
		memcpy(route.nexthops[0].gateway, neigh.addr, 16);
		route.family = AF_INET;
		route.plen = 24;
		memcpy(route.dst, (uint8_t[]){10, i >> 8, i}, 3);
		set(FEATURE_ROUTE, &route, sizeof(route));

		neigh.family = AF_INET6;
		memset(neigh.addr, 0, 16);
		memcpy(neigh.addr, (uint8_t[]){0xfe, 0x80}, 2);
		memcpy(neigh.addr + 14, (uint8_t[]){i >> 8, i}, 2);
		set(FEATURE_NEIGH, &neigh, sizeof(neigh));
		route.family = AF_INET6;
		route.plen = 48;
		memset(route.dst, 0, 16);
		memcpy(route.dst, (uint8_t[]){0x20, 1, 0xd, 0xb8, i >> 8, i}, 6);
		route.nexthops[0].family = AF_INET6;
		memcpy(route.nexthops[0].gateway, neigh.addr, 16);
		set(FEATURE_ROUTE, &route, sizeof(route));
	}
}

static void fill(struct rte_mbuf *m, unsigned i, bool v6)
{
	struct rte_ether_hdr *eth;

	rte_pktmbuf_reset(m);
	m->port = 0;
	m->data_len = m->pkt_len = 60;
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	memset(eth, 0, 60);
	memcpy(&eth->dst_addr, (uint8_t[]){2, 0, 0, 0, 0, 0}, 6);
	if (v6) {
		uint8_t *ip = (uint8_t *)(eth + 1);

		eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV6);
		ip[0] = 0x60;
		ip[6] = 59;
		ip[5] = 6;
		ip[7] = 64;
		memcpy(ip + 8, (uint8_t[]){0x20, 1, 0xd, 0xb9}, 4);
		memcpy(ip + 24, (uint8_t[]){0x20, 1, 0xd, 0xb8, i >> 8, i}, 6);
	} else {
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);

		eth->ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
		ip->version_ihl = 0x45;
		ip->total_length = RTE_BE16(46);
		ip->time_to_live = 64;
		ip->next_proto_id = 17;
		ip->src_addr = RTE_BE32(0xc0000201);
		ip->dst_addr = rte_cpu_to_be_32(0x0a000001 | i << 8);
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	}
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(const char *name, unsigned destinations, bool v6, unsigned burst)
{
	static double rounds[ROUNDS];

	n_sent = n_linux = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t start;

		/* Neither in order nor the same each round. */
		for (unsigned i = 0; i < PACKETS; i++)
			fill(packets[i], ((round * PACKETS + i) * 2654435761U >> 8) % destinations,
			     v6);
		start = rte_rdtsc_precise();
		for (unsigned i = 0; i < PACKETS; i += burst) {
			fp_input(&worker, 0, packets + i, burst);
			fp_flush(&worker);
		}
		rounds[round] = (double)(rte_rdtsc_precise() - start) / PACKETS;
	}
	if (n_sent != PACKETS * ROUNDS || n_linux)
		die("not all packets were forwarded");
	/* The best shows what the code costs, the median what this machine makes of it just now. */
	qsort(rounds, ROUNDS, sizeof(*rounds), compare);
	printf("%-24s %5u destinations: median %.1f, best %.1f cycles per packet\n", name,
	       destinations, rounds[ROUNDS / 2], rounds[0]);
}

int main(int argc, char **argv)
{
	char *eal[] = {"cycles",	 "--no-huge",	  "--no-shconf", "--no-pci",
		       "--no-telemetry", "--log-level=4", "-m",		 "64"};
	struct shm_table_desc tables[SHM_MAX_TABLES];
	static struct settings settings;
	static struct shm stats;
	struct rte_mempool *pool;
	struct err err = {0}, refused[PLUGINS_MAX];
	unsigned burst = argc > 2 ? (unsigned)atoi(argv[2]) : 32;
	char path[256];

	if (argc < 2 || !burst || burst > FP_BURST || PACKETS % burst)
		die("usage: packet_cycles DIR [BURST [PLUGINS]]");
	if (argc > 3 && plugins_load(argv[3], refused))
		die(refused[0].text);
	if (rte_eal_init(sizeof(eal) / sizeof(*eal), eal) < 0)
		die("DPDK doesn't start");
	pool = rte_pktmbuf_pool_create("packets", 1023, 256, 0, FP_HEADROOM + 256, SOCKET_ID_ANY);
	if (!pool || rte_pktmbuf_alloc_bulk(pool, packets, PACKETS))
		die("no memory for packets");
	settings_init(&settings);
	fpm.settings = &settings;
	snprintf(path, sizeof(path), "%s/config", argv[1]);
	if (shm_create(&fpm.config, path, tables, feature_config_tables(tables, &settings), &err))
		die(err.text);
	snprintf(path, sizeof(path), "%s/stats", argv[1]);
	if (shm_create(&stats, path, tables, feature_stats_tables(tables, &settings), &err))
		die(err.text);
	if (objects_init(&objects, &fpm, fpm_parts, n_features, &err) || fp_init(&err) ||
	    plugins_start(&err) || fp_attach(&fpm.config, &stats, &err))
		die(err.text);
	fp_worker_init(&worker, 0, &stats);
	fp_edges = (struct fp_edges){.port_tx = port_tx, .to_linux = to_linux};
	set_state(4096);
	for (unsigned i = 0; i < 2; i++) {
		measure(i ? "IPv6" : "IPv4", 1, i, burst);
		measure(i ? "IPv6" : "IPv4", 4096, i, burst);
	}
	return 0;
}
