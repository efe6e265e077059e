// SPDX-License-Identifier: BSD-3-Clause
/* The packet harness: fpmd's dispatcher and the fast path in one thread, without ports, root or huge pages. Bytes of FPC set
 * the state, a packet goes in, a verdict comes out. harness.py starts it and speaks with it over a pipe:
 *
 *   request: {u32 length of what follows the op, u8 op, bytes}     answer: {u32 length, bytes}; host byte order
 *
 *   'F' {u8 peer, FPC bytes}          what fpmd answers that peer (a peer is a connection, made by its first use)
 *   'D' {u8 peer}                     closes that connection
 *   'P' {u16 port, packets}           a burst received on a port: verdicts
 *   'L' {u16 port, packets}           a burst that Linux sends on the port's TAP: verdicts
 *   'N' {u32 seconds}                 sets the worker's clock
 *   'B' {u32 n}                       from now on Linux takes n packets, then its ring is full
 *   'E' {u32 rate, u32 total, u32 control, u32 control total, u32 ports}  limits exceptions as fp-rte does, buckets full
 *   'O' {u8 on}                       whether bursts are received while the port is overloaded
 *   'Q' {packets}                     puts them into the queues for Linux (see queue) and takes all: verdicts
 *   'X' {u32 n}                       likewise the ports' transmit rings
 *   'C' {u64 ports}                   captures on these ports (bit a port): copies are verdicts too
 *   'T' {struct trace_request}        arms a trace; count 0: none
 *   'W' {}                            one loop of the worker without packets: poll functions are called, timers run: verdicts
 *   'S' {u32 iface, u8 stage, u8 on}  enables a stage as a feature's apply would: for an interface's row, 0: for VRF 0
 *   'Y' {u32 iface}                   makes the interface in this row one of a type of our own: what leaves there is a verdict,
 *                                     'S' on port TUNNEL_PORT, data at the layer 3 header behind the neighbour's row (u32)
 *   'V' {u32 vrf, u8 on}             whether fpn0 is there in that VRF
 *   'M' {u32 n}                       from now on there are n packet buffers for the fast path, packets that come in apart
 *   'U'                               {u32 packet buffers in use}: 0 when nothing leaked
 *
 *   packets:  u16 n, then each: u16 segments, u16 length of each, bytes of all
 *   verdicts: u16 n, then each: 'S' sent or 'L' to Linux, 'I' or 'O' a copy of one received or sent, u16 port, u32 length,
 *             bytes; 'F' to Linux on fpn0, the VRF for the port
 *
 * The tables stand in the directory it was given, as "config" and "stats": the tests read them there. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "fastpath/fp.h"
#include "fastpath/plugins.h"
#include "fastpath/queues.h"
#include "fastpath/watch.h"
#include "features/iface/iface.h"
#include "features/vrf/vrf.h"
#include "fpmd/dispatch.h"
#include "lib/settings.h"

/* In a build with the address sanitizer, what lies behind a packet in its buffers can't even be read. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define PEERS	    4
#define SEGMENT_MAX 2048
#define REQUEST_MAX (8U << 20)
#define POISON	    0xa5
#define TUNNEL_PORT (FP_PORTS_MAX - 1)
#define TUNNEL_TYPE (IFACE_TYPES - 1)
#define BUFFERS	    1023

struct buffer {
	uint8_t *data;
	size_t len, size;
};

static struct fpm fpm;
static struct dispatch dispatch;
static struct peer *peers[PEERS];
static struct fp_worker worker;
static struct rte_mempool *pool;
static struct watch_trace trace;
static uint32_t spare = UINT32_MAX;
static struct rte_mbuf *hoard[BUFFERS];
static unsigned n_hoard;
static uint32_t linux_takes = UINT32_MAX, ports_take = UINT32_MAX;
static bool overloaded;
static struct buffer answer;
static uint16_t n_verdicts;
static struct gc gc;

[[noreturn]] static void die(const char *what)
{
	fprintf(stderr, "harness: error: %s\n", what);
	exit(1);
}

static void add(struct buffer *b, const void *bytes, size_t len)
{
	if (b->len + len > b->size) {
		b->size = (b->len + len) * 2;
		b->data = realloc(b->data, b->size);
		if (!b->data)
			die("no memory");
	}
	memcpy(b->data + b->len, bytes, len);
	b->len += len;
}

/* --- the fast path's edges --- */

static void verdict(char kind, uint16_t port, struct rte_mbuf *m)
{
	uint32_t len = 0, all = m->pkt_len;

	for (const struct rte_mbuf *s = m; s; s = s->next)
		len += s->data_len;
	if (len != all)
		die("a packet's length isn't that of its segments");
	add(&answer, &kind, 1);
	add(&answer, &port, 2);
	add(&answer, &len, 4);
	for (const struct rte_mbuf *s = m; s; s = s->next)
		add(&answer, rte_pktmbuf_mtod(s, void *), s->data_len);
	n_verdicts++;
	rte_pktmbuf_free(m);
}

static uint16_t port_tx(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t sent = RTE_MIN(n, ports_take);

	for (uint16_t i = 0; i < sent; i++)
		verdict('S', port, pkts[i]);
	return sent;
}

static bool to_linux(struct fp_worker *w, uint16_t port, enum fp_class class, struct rte_mbuf *m,
		     enum reason *ret_reason)
{
	if (!linux_takes) {
		*ret_reason = DROP_EXCEPTION_RING;
		return false;
	}
	if (linux_takes != UINT32_MAX)
		linux_takes--;
	verdict('L', port, m);
	return true;
}

static bool to_special(struct fp_worker *w, uint32_t vrf, enum fp_class class, struct rte_mbuf *m,
		       enum reason *ret_reason)
{
	if (!linux_takes) {
		*ret_reason = DROP_EXCEPTION_RING;
		return false;
	}
	if (linux_takes != UINT32_MAX)
		linux_takes--;
	verdict('F', (uint16_t)vrf, m);
	return true;
}

static struct rte_mbuf *capture_copy(struct fp_worker *w, const struct rte_mbuf *m)
{
	return rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
}

static void capture_put(struct fp_worker *w, uint16_t port, struct rte_mbuf *copy, bool sent)
{
	verdict(sent ? 'O' : 'I', port, copy);
}

/* --- requests --- */

struct request {
	const uint8_t *at;
	size_t left;
};

static const uint8_t *take(struct request *r, size_t n)
{
	const uint8_t *ret = r->at;

	if (n > r->left)
		die("a request is too short");
	r->at += n;
	r->left -= n;
	return ret;
}

static uint16_t take16(struct request *r)
{
	uint16_t ret;

	memcpy(&ret, take(r, 2), 2);
	return ret;
}

static uint32_t take32(struct request *r)
{
	uint32_t ret;

	memcpy(&ret, take(r, 4), 4);
	return ret;
}

static struct rte_mbuf *segment(uint16_t port)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (!m)
		die("no packet buffers left: they leak");
	/* What lies outside a packet must not look like one. */
	memset(m->buf_addr, POISON, m->buf_len);
	m->port = port;
	m->l2_len = 77; /* as a driver may leave it */
	return m;
}

static struct rte_mbuf *packet(struct request *r, uint16_t port)
{
	uint16_t n = take16(r);
	const uint8_t *lengths = take(r, 2UL * n);
	struct rte_mbuf *first = NULL, *last = NULL;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = segment(port);
		uint16_t len;

		memcpy(&len, lengths + 2 * i, 2);
		if (len > rte_pktmbuf_tailroom(m))
			die("a segment is too long");
		memcpy(rte_pktmbuf_mtod(m, void *), take(r, len), len);
		m->data_len = len;
		ASAN_POISON_MEMORY_REGION(rte_pktmbuf_mtod_offset(m, char *, len),
					  rte_pktmbuf_tailroom(m));
		if (!first) {
			first = m;
		} else {
			last->next = m;
			first->nb_segs++;
		}
		last = m;
		first->pkt_len += i ? len : 0;
		if (!i)
			first->pkt_len = len;
	}
	if (!first)
		die("a packet without segments");
	return first;
}

static void heal(struct rte_mempool *of, void *opaque, void *object, unsigned index)
{
	struct rte_mbuf *m = object;

	ASAN_UNPOISON_MEMORY_REGION(m->buf_addr, m->buf_len);
}

/* Takes away the buffers that the fast path shall not have; and gives them back. */
static void take_buffers(void)
{
	while (rte_mempool_avail_count(pool) > spare) {
		hoard[n_hoard] = rte_pktmbuf_alloc(pool);
		if (!hoard[n_hoard])
			break;
		n_hoard++;
	}
}

static void give_buffers(void)
{
	rte_pktmbuf_free_bulk(hoard, n_hoard);
	n_hoard = 0;
}

static void burst(struct request *r, bool from_linux)
{
	struct rte_mbuf *pkts[FP_BURST];
	uint16_t port = take16(r);
	uint16_t n = take16(r);
	uint16_t zero = 0;

	if (n > FP_BURST || port >= FP_PORTS_MAX)
		die("no such burst");
	for (uint16_t i = 0; i < n; i++)
		pkts[i] = packet(r, port);
	add(&answer, &zero, 2);
	n_verdicts = 0;
	quiesce_point(worker.row);
	if (spare != UINT32_MAX)
		take_buffers();
	if (from_linux)
		fp_process_linux_tx(&worker, port, pkts, n);
	else if (overloaded)
		fp_input_overloaded(&worker, port, pkts, n);
	else
		fp_input(&worker, port, pkts, n);
	fp_flush(&worker);
	give_buffers();
	rte_mempool_obj_iter(pool, heal, NULL);
	memcpy(answer.data, &n_verdicts, 2);
}

static void poll_once(void)
{
	uint16_t zero = 0;

	add(&answer, &zero, 2);
	n_verdicts = 0;
	quiesce_point(worker.row);
	if (worker.polls)
		fp_poll(&worker);
	if ((int32_t)(worker.now * 1000 - worker.timers.now) > 0)
		timers_run(&worker.timers, worker.now * 1000, &worker);
	fp_flush(&worker);
	memcpy(answer.data, &n_verdicts, 2);
}

static void enable_stage(struct request *r)
{
	uint32_t iface = take32(r);
	uint8_t stage = *take(r, 1), on = *take(r, 1);

	if (stage >= FP_STAGES)
		die("no such stage");
	if (iface)
		iface_enable_stage(iface, stage, on);
	else
		vrf_enable_stage(0, stage, on);
}

/* An output function as a tunnel would have one. */
static void tunnel_output(struct fp_worker *w, uint32_t iface, uint16_t ethertype,
			  struct fp_send *pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		memcpy(rte_pktmbuf_prepend(pkts[i].m, 4), &pkts[i].neigh, 4);
		fp_port_send(w, TUNNEL_PORT, pkts[i].m);
	}
}

static void make_tunnel(struct request *r)
{
	struct iface_row *row = (struct iface_row *)iface_get(take32(r));

	fp_outputs[TUNNEL_TYPE] = tunnel_output;
	row->type = TUNNEL_TYPE;
}

static void set_fpn0(struct request *r)
{
	uint32_t vrf = take32(r);

	if (vrf >= FP_SPECIAL_VRFS)
		die("no such VRF");
	atomic_store(&fp_special_vrfs[vrf], *take(r, 1));
}

static void limit(struct request *r)
{
	struct fp_exception_rates rates;
	uint32_t ports;

	rates.port = take32(r);
	rates.total = take32(r);
	rates.control_port = take32(r);
	rates.control_total = take32(r);
	ports = take32(r);
	if (!rates.port || !rates.total || !rates.control_port || !rates.control_total || !ports)
		die("no such rate");
	fp_limit_exceptions(&rates, ports);
}

/* Packets for Linux: u16 n, then each: u16 port, u8 class, the rest as ever. They come out as the exception thread would
 * get them, a batch of up to 4 after another. */
static void queue(struct request *r)
{
	static struct queues queues;
	struct rte_mbuf *pkts[4];
	uint16_t n = take16(r), zero = 0, port;
	enum fp_class class;

	if (!queues.n_ports && queues_init(&queues, 4, 64))
		die("no memory for queues");
	add(&answer, &zero, 2);
	n_verdicts = 0;
	for (uint16_t i = 0; i < n; i++) {
		uint16_t to = take16(r);
		uint8_t of = *take(r, 1);
		struct rte_mbuf *m = packet(r, to);

		if (to >= queues.n_ports || of >= FP_CLASSES)
			die("no such queue");
		if (!queues_put(&queues, to, of, m))
			rte_pktmbuf_free(m);
	}
	rte_mempool_obj_iter(pool, heal, NULL);
	while ((n = (uint16_t)queues_take(&queues, pkts, 4, &port, &class)))
		for (uint16_t i = 0; i < n; i++)
			verdict('L', port, pkts[i]);
	if (!queues_empty(&queues))
		die("queues that give nothing aren't empty");
	memcpy(answer.data, &n_verdicts, 2);
}

/* All that was put off is done: the worker passes quiescent points meanwhile. Objects that there's no room for may wait for
 * room as long as they like. */
static void settle(void)
{
	struct err err;

	for (unsigned i = 0;; i++) {
		int wait = dispatch_work(&dispatch);

		if (wait < 0 || (wait > 0 && !dispatch.wait && !fpm.freed))
			break;
		if (i > 20000)
			die("fpmd never comes to rest");
		if (i)
			usleep(100);
		quiesce_point(worker.row);
	}
	quiesce_point(worker.row);
	if (fp_look(&gc, 1, &err))
		fprintf(stderr, "harness: %s\n", err.text);
	gc_run(&gc);
}

static void talk(struct request *r)
{
	uint8_t number = *take(r, 1);
	const uint8_t *bytes = r->at;
	size_t left = r->left;
	struct peer *peer;

	if (number >= PEERS)
		die("no such peer");
	if (!peers[number])
		peers[number] = dispatch_peer(&dispatch);
	peer = peers[number];
	if (!peer)
		die("no memory");
	for (;;) {
		ssize_t n = dispatch_bytes(&dispatch, peer, bytes, left);
		struct frame_out *out = &peer->out;

		if (n < 0)
			die("no memory");
		bytes += n;
		left -= n;
		settle();
		if (!frame_out_len(out))
			break;
		add(&answer, out->data + out->start, frame_out_len(out));
		frame_out_sent(out, frame_out_len(out));
		dispatch_drained(&dispatch, peer);
	}
}

static void arm(struct request *r)
{
	static struct trace_request request;

	static_assert(sizeof(trace.filter) == sizeof(request.filter));
	memset(&request, 0, sizeof(request));
	if (r->left > sizeof(request))
		die("a trace's request is too long");
	memcpy(&request, r->at, r->left);
	memset(&trace, 0, sizeof(trace));
	trace.session = request.version;
	trace.port = request.port;
	trace.n_filter = request.n_filter;
	memcpy(trace.filter, request.filter, sizeof(trace.filter));
	trace.left = request.count;
	if (!watch_filter_ok(&trace))
		die("the filter isn't safe to run");
	watch_set_trace(request.count ? &trace : NULL);
}

static void close_peer(struct request *r)
{
	uint8_t number = *take(r, 1);

	if (number < PEERS && peers[number]) {
		dispatch_close(&dispatch, peers[number]);
		peers[number] = NULL;
	}
	settle();
}

static void handle(uint8_t op, struct request *r)
{
	uint64_t ports;
	uint32_t used;

	switch (op) {
	case 'F':
		talk(r);
		break;
	case 'D':
		close_peer(r);
		break;
	case 'P':
	case 'L':
		burst(r, op == 'L');
		break;
	case 'N':
		worker.now = take32(r);
		break;
	case 'B':
		linux_takes = take32(r);
		break;
	case 'E':
		limit(r);
		break;
	case 'O':
		overloaded = *take(r, 1);
		break;
	case 'Q':
		queue(r);
		break;
	case 'X':
		ports_take = take32(r);
		break;
	case 'C':
		memcpy(&ports, take(r, 8), 8);
		watch_set_captures(ports);
		break;
	case 'T':
		arm(r);
		break;
	case 'W':
		poll_once();
		break;
	case 'S':
		enable_stage(r);
		break;
	case 'Y':
		make_tunnel(r);
		break;
	case 'V':
		set_fpn0(r);
		break;
	case 'M':
		spare = take32(r);
		break;
	case 'U':
		used = rte_mempool_in_use_count(pool);
		add(&answer, &used, 4);
		break;
	default:
		die("unknown request");
	}
}

static bool read_all(void *to, size_t n)
{
	return fread(to, 1, n, stdin) == n;
}

static void serve(void)
{
	uint8_t *bytes = malloc(REQUEST_MAX);
	uint32_t len;
	uint8_t op;

	if (!bytes)
		die("no memory");
	while (read_all(&len, 4) && read_all(&op, 1)) {
		struct request r = {.at = bytes, .left = len};

		if (len > REQUEST_MAX || !read_all(bytes, len))
			die("a request ends early");
		answer.len = 0;
		handle(op, &r);
		len = (uint32_t)answer.len;
		fwrite(&len, 4, 1, stdout);
		fwrite(answer.data, 1, answer.len, stdout);
		fflush(stdout);
	}
	free(bytes);
}

/* --- start --- */

/* As DPDK's own ring, but that buffers which come back are whole at once: the same burst may get them again. */
static rte_mempool_enqueue_t ring_enqueue;

static int healing_enqueue(struct rte_mempool *to, void *const *objects, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		heal(to, NULL, objects[i], i);
	return ring_enqueue(to, objects, n);
}

static void register_healing(void)
{
	for (unsigned i = 0; i < rte_mempool_ops_table.num_ops; i++) {
		struct rte_mempool_ops ops = rte_mempool_ops_table.ops[i];

		if (strcmp(ops.name, "ring_mp_mc") != 0)
			continue;
		ring_enqueue = ops.enqueue;
		strcpy(ops.name, "healing");
		ops.enqueue = healing_enqueue;
		rte_mempool_register_ops(&ops);
		return;
	}
	die("DPDK has no ring of buffers");
}

static void start_eal(void)
{
	char lcores[64];
	char *argv[] = {"harness",	 "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
			"--log-level=4", "-m",	      "32",	     "--lcores", lcores};

	/* All CPUs for the one thread: nothing is pinned. */
	snprintf(lcores, sizeof(lcores), "0@(0-%ld)", sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (rte_eal_init(sizeof(argv) / sizeof(*argv), argv) < 0)
		die("DPDK doesn't start");
	register_healing();
	pool = rte_pktmbuf_pool_create_by_ops("packets", BUFFERS, 0, 0, FP_HEADROOM + SEGMENT_MAX,
					      SOCKET_ID_ANY, "healing");
	if (!pool)
		die("no memory for packets");
}

static const struct shm *the_stats;

static const struct shm *fpm_stats(struct fpm *f)
{
	return the_stats;
}

static void start_tables(const char *dir, struct settings *settings, struct shm *stats)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	struct err err = {0}, refused[PLUGINS_MAX];
	char path[256];
	unsigned n;

	n = feature_config_tables(tables, settings);
	snprintf(path, sizeof(path), "%s/config", dir);
	if (shm_create(&fpm.config, path, tables, n, &err))
		die(err.text);
	n = feature_stats_tables(tables, settings);
	snprintf(path, sizeof(path), "%s/stats", dir);
	if (shm_create(stats, path, tables, n, &err))
		die(err.text);
	fpm.settings = settings;
	fpm.published = true;
	the_stats = stats;
	fpm.stats = fpm_stats;
	fpm.workers = shm_rows(stats, "worker");
	if (dispatch_init(&dispatch, &fpm, fpm_parts, n_features, &err))
		die(err.text);
	if (plugins_load(settings->plugins, refused))
		die(refused[0].text);
	if (fp_init(&err) || plugins_start(&err) || fp_attach(&fpm.config, stats, &err))
		die(err.text);
	fp_worker_init(&worker, 0, stats);
	gc_init(&gc, shm_rows(stats, "worker"));
	worker.row->state = WORKER_ON;
	quiesce_online(worker.row);
	fp_edges = (struct fp_edges){.port_tx = port_tx,
				     .to_linux = to_linux,
				     .to_special = to_special,
				     .capture_copy = capture_copy,
				     .capture_put = capture_put};
}

/* harness DIR [KEY=VALUE]...: tables in DIR, settings as in fast-path.env. */
int main(int argc, char **argv)
{
	static struct settings settings;
	static struct shm stats;
	struct err err = {0};

	if (argc < 2)
		die("usage: harness DIR [KEY=VALUE]...");
	/* Whoever started it is gone: so is it. */
	signal(SIGPIPE, SIG_DFL);
	settings_init(&settings);
	for (int i = 2; i < argc; i++)
		if (settings_parse(&settings, argv[i], strlen(argv[i]), "argument", &err))
			die(err.text);
	start_eal();
	start_tables(argv[1], &settings, &stats);
	serve();
	return 0;
}
