// SPDX-License-Identifier: BSD-3-Clause
/* The exception path: packets between workers and Linux. README.md tells the whole of it. One thread serves the TAPs of
 * all ports. With TAP queues it reads and writes them itself, a packet a system call; with vhost it drives virtio-user
 * devices, whose other end is a kernel thread. */
#include "fastpath/rte.h"
#include "fastpath/specials.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <rte_bus_vdev.h>
#include <rte_ethdev.h>

#include "fpn/packets.h"
#include "fpn/vnet.h"
#include "lib/log.h"

#define BATCH	     32 /* packets of one port in one turn */
#define SEGMENTS_MAX 16
#define TURN_MIN     8U	 /* batches for Linux before TAPs are looked at again */
#define VHOST_WAIT   2	 /* milliseconds that a control plane packet waits for room at vhost */
#define POLL_RUNNING 1	 /* milliseconds between looks while a worker runs, */
#define POLL_VHOST   10	 /* at most while all doze but vhost's devices must be polled, */
#define POLL_DOZING  100 /* and otherwise; a worker or a TAP wakes it before */

static struct fp_worker own; /* for its counters only */
static int epoll_fd;
static bool has_vhost;

static int add_vhost(struct rte_port *p, struct err *err)
{
	char name[32], args[160];
	struct rte_eth_conf conf = {};
	struct rte_eth_dev_info info;
	uint16_t rxd = 1024, txd = 1024;
	const uint8_t *mac = p->row->mac;
	int rc = fpvi_enter(&p->tap);

	if (rc)
		return err_set(err, -rc, "port %s: can't enter its TAP's namespace: %s",
			       p->fpn.plan->name, strerror(-rc));
	fpvi_release(&p->tap);
	snprintf(name, sizeof(name), "net_virtio_user%u", p->fpn.id);
	snprintf(args, sizeof(args),
		 "path=/dev/"
		 "vhost-net,iface=%s,queues=1,queue_size=1024,mac=%02x:%02x:%02x:%02x:%02x:%02x",
		 p->tap.name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	rc = rte_vdev_init(name, args);
	if (!rc)
		rc = rte_eth_dev_get_port_by_name(name, &p->vhost);
	if (!rc)
		rc = rte_eth_dev_info_get(p->vhost, &info);
	if (!rc) {
		conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
		rc = rte_eth_dev_configure(p->vhost, 1, 1, &conf);
	}
	if (!rc)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->vhost, &rxd, &txd);
	if (!rc)
		rc = rte_eth_rx_queue_setup(p->vhost, 0, rxd, SOCKET_ID_ANY, NULL, rte.linux_pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup(p->vhost, 0, txd, SOCKET_ID_ANY, NULL);
	if (!rc)
		rc = rte_eth_dev_start(p->vhost);
	fpvi_leave(&p->tap);
	fpvi_find_vhost(&p->tap);
	if (rc) {
		err_set(err, rc < 0 ? -rc : EIO, "port %s: vhost-net doesn't serve its TAP: %s",
			p->tap.name, rte_strerror(-rc));
		return err_hint(err, "set FP_TAP=queue to do without; DPDK says: %s",
				eal_complaint());
	}
	has_vhost = true;
	return 0;
}

static int add_queue(const struct rte_port *p, unsigned port)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = port};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->tap.fd, &event) ? -errno : 0;
}

/* TAPs are open; makes what carries packets to and from them. */
int exception_init(struct shm *stats, struct err *err)
{
	struct epoll_event wake = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
	const struct fp_exception_rates rates = {
		.port = rte.plan->exception_rate,
		.total = rte.plan->exception_total,
		.control_port = rte.plan->exception_control,
		.control_total = CONTROL_PORTS * rte.plan->exception_control,
	};

	fp_worker_init(&own, (uint16_t)rte.n_workers, stats);
	fp_limit_exceptions(&rates, rte.n_ports);
	if (queues_init(&rte.to_linux, rte.n_ports + 1, EXCEPTION_RING))
		return err_set(err, ENOMEM, "no memory for the exception rings");
	rte.captures = rte_ring_create("captures", CAPTURE_RING, SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (!rte.captures)
		return err_set(err, ENOMEM, "no memory for the ring of captures");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rte.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (epoll_fd < 0 || rte.wake_fd < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, rte.wake_fd, &wake))
		return err_set(err, errno, "can't wait for TAPs: %s", strerror(errno));
	for (unsigned i = 0; i < rte.n_ports; i++) {
		struct rte_port *p = &rte.ports[i];
		int rc;

		p->vhost = UINT16_MAX;
		if (rte.plan->vhost) {
			rc = add_vhost(p, err);
			if (rc)
				return rc;
		} else {
			rc = add_queue(p, i);
			if (rc)
				return err_set(err, -rc, "port %s: can't wait for its TAP: %s",
					       p->tap.name, strerror(-rc));
		}
		snprintf(p->row->backend, sizeof(p->row->backend), "%s",
			 rte.plan->vhost ? "vhost" : "queue");
	}
	return 0;
}

/* Workers, and whoever ends them: wakes the exception thread if it sleeps. */
void exception_wake(void)
{
	if (atomic_load_explicit(&rte.exception_sleeps, memory_order_seq_cst))
		eventfd_write(rte.wake_fd, 1);
}

bool exception_put(struct fp_worker *w, uint16_t port, enum fp_class class, struct rte_mbuf *m,
		   enum reason *ret_reason)
{
	if (likely(queues_put(&rte.to_linux, port, class, m)))
		return true;
	*ret_reason = DROP_EXCEPTION_RING;
	return false;
}

struct rte_mbuf *exception_copy(struct fp_worker *w, const struct rte_mbuf *m)
{
	struct rte_mbuf *copy = NULL;

	/* Full: Linux can't follow, so that nothing is copied for naught. */
	if (!rte_ring_full(rte.captures))
		copy = rte_pktmbuf_copy(m, m->pool, 0, UINT32_MAX);
	if (!copy)
		w->row->capture_missed++;
	return copy;
}

void exception_show(struct fp_worker *w, uint16_t port, struct rte_mbuf *copy, bool sent)
{
	copy->port = port;
	copy->hash.usr = sent;
	if (rte_ring_mp_enqueue(rte.captures, copy)) {
		w->row->capture_missed++;
		rte_pktmbuf_free(copy);
	}
}

/* Copies to packet sockets, in runs of one direction. */
static unsigned show_captures(void)
{
	struct rte_mbuf *pkts[CAPTURE_BATCH];
	unsigned ifindex[CAPTURE_BATCH];
	unsigned n = rte_ring_sc_dequeue_burst(rte.captures, (void **)pkts, CAPTURE_BATCH, NULL);

	for (unsigned i = 0; i < n; i++)
		ifindex[i] = rte.ports[pkts[i]->port].tap.ifindex;
	for (unsigned from = 0, to; from < n; from = to) {
		struct port_state_row *row = rte.ports[pkts[from]->port].row;
		unsigned taken;

		for (to = from + 1; to < n && pkts[to]->port == pkts[from]->port &&
				    pkts[to]->hash.usr == pkts[from]->hash.usr;
		     to++)
			;
		taken = capture_send(&rte.capture, pkts[from]->hash.usr, pkts + from,
				     ifindex + from, to - from);
		row->captured += taken;
		if (pkts[from]->hash.usr)
			row->captured_sent += taken;
		own.row->capture_missed += to - from - taken;
	}
	if (n)
		rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

/* 0, or -errno; all but -EAGAIN are counted as dropped by the TAP. */
static int write_packet(int fd, const struct rte_mbuf *m)
{
	struct virtio_net_hdr header = {};
	struct iovec iov[1 + SEGMENTS_MAX] = {{&header, sizeof(header)}};
	unsigned n = packet_pieces(m, iov + 1, SEGMENTS_MAX);

	if (n > SEGMENTS_MAX)
		return -EAGAIN;
	return writev(fd, iov, (int)n + 1) >= 0 ? 0 : -errno;
}

/* How many of @pkts vhost takes. Its ring may hold others that are in front of the control plane's: these wait a little. */
static uint16_t write_vhost(const struct rte_port *p, enum fp_class class, struct rte_mbuf **pkts,
			    uint16_t n)
{
	uint16_t taken = rte_eth_tx_burst(p->vhost, 0, pkts, n);
	uint64_t until = rte_rdtsc() + VHOST_WAIT * rte_get_tsc_hz() / 1000;

	while (unlikely(taken < n) && class == FP_CLASS_CONTROL && rte_rdtsc() < until) {
		rte_pause();
		taken += rte_eth_tx_burst(p->vhost, 0, pkts + taken, n - taken);
	}
	return taken;
}

/* @counted: the TAP has counted it as dropped. */
static void drop(struct port_state_row *row, struct rte_mbuf *m, enum fp_class class, bool counted)
{
	if (!counted) {
		row->to_linux_lost++;
		row->to_linux_lost_bytes += m->pkt_len;
	}
	own.classes->count[class][DROP_TAP_FULL]++;
	fp_drop(&own, m, DROP_TAP_FULL);
}

/* Special exceptions, each to fpn0 of its VRF. What they were in was counted when it came in. */
static void to_fpn0(struct rte_mbuf **pkts, unsigned n, enum fp_class class)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = specials_fd(pkts[i]);

		if (fd < 0 || write_packet(fd, pkts[i])) {
			own.classes->count[class][DROP_TAP_FULL]++;
			fp_drop(&own, pkts[i], DROP_TAP_FULL);
		} else {
			rte_pktmbuf_free(pkts[i]);
		}
	}
}

/* A batch of the most important packets there are, to its port's TAP; how many packets. */
static unsigned to_linux(void)
{
	struct rte_mbuf *pkts[BATCH];
	uint32_t sizes[BATCH];
	enum fp_class class;
	uint16_t port, taken = 0;
	uint16_t n = (uint16_t)queues_take(&rte.to_linux, pkts, BATCH, &port, &class);
	struct rte_port *p = &rte.ports[port];

	if (!n)
		return 0;
	if (port == rte.n_ports) {
		to_fpn0(pkts, n, class);
		return n;
	}
	if (p->vhost != UINT16_MAX) {
		for (uint16_t i = 0; i < n; i++)
			sizes[i] = pkts[i]->pkt_len;
		taken = write_vhost(p, class, pkts, n);
		for (uint16_t i = 0; i < taken; i++)
			p->row->to_linux_bytes += sizes[i];
		for (uint16_t i = taken; i < n; i++)
			drop(p->row, pkts[i], class, false);
	} else {
		for (uint16_t i = 0; i < n; i++) {
			int rc = write_packet(p->tap.fd, pkts[i]);

			if (!rc) {
				p->row->to_linux_bytes += pkts[i]->pkt_len;
				taken++;
				rte_pktmbuf_free(pkts[i]);
			} else {
				drop(p->row, pkts[i], class, rc != -EAGAIN);
			}
		}
	}
	p->row->to_linux_packets += taken;
	p->row->tap_drops += n - taken;
	return n;
}

/* One packet of the TAP into a new buffer: 1; 0: none waits, or no memory; -1: it can't be sent, of *@ret_lost bytes. */
static int read_packet(int fd, struct rte_mbuf **ret, size_t *ret_lost)
{
	static uint8_t overflow[65536];
	struct virtio_net_hdr header;
	struct rte_mbuf *m = rte_pktmbuf_alloc(rte.linux_pool);
	struct iovec iov[3];
	ssize_t n;

	if (!m)
		return 0;
	iov[0] = (struct iovec){&header, sizeof(header)};
	iov[1] = (struct iovec){rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m)};
	iov[2] = (struct iovec){overflow, sizeof(overflow)};
	n = readv(fd, iov, 3);
	if (n <= (ssize_t)sizeof(header)) {
		rte_pktmbuf_free(m);
		return 0;
	}
	n -= (ssize_t)sizeof(header);
	if ((size_t)n > iov[1].iov_len || !vnet_finish(&header, iov[1].iov_base, (size_t)n)) {
		rte_pktmbuf_free(m);
		*ret_lost = (size_t)n;
		return -1;
	}
	m->data_len = (uint16_t)n;
	m->pkt_len = (uint32_t)n;
	*ret = m;
	return 1;
}

static uint16_t read_queue(struct rte_port *p, struct rte_mbuf **pkts)
{
	uint16_t n = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		size_t lost;
		int rc = read_packet(p->tap.fd, &pkts[n], &lost);

		if (!rc)
			break;
		if (rc > 0) {
			n++;
			continue;
		}
		p->row->tap_drops++;
		p->row->from_linux_lost++;
		p->row->from_linux_lost_bytes += lost;
	}
	return n;
}

/* What Linux sends on a port, to the worker that owns it. While that one's ring is full the packets wait in the TAP,
 * where Linux sees that they do. */
static unsigned from_linux(struct rte_port *p)
{
	struct rte_worker *w = &rte.workers[p->owner];
	struct rte_mbuf *pkts[BATCH];
	uint16_t n;

	if (rte_ring_free_count(w->from_linux) < BATCH)
		return 0;
	n = p->vhost != UINT16_MAX ? rte_eth_rx_burst(p->vhost, 0, pkts, BATCH)
				   : read_queue(p, pkts);
	if (!n)
		return 0;
	for (uint16_t i = 0; i < n; i++) {
		pkts[i]->port = p->fpn.id;
		p->row->from_linux_bytes += pkts[i]->pkt_len;
	}
	p->row->from_linux_packets += n;
	rte_ring_sp_enqueue_bulk(w->from_linux, (void **)pkts, n, NULL);
	loop_wake(w);
	return n;
}

static bool all_dozing(void)
{
	for (unsigned i = 0; i < rte.n_workers; i++)
		if (!atomic_load_explicit(&rte.workers[i].dozing, memory_order_seq_cst))
			return false;
	return true;
}

/* vhost's devices wake nobody, so they are looked at in intervals that grow with the silence, as workers' sleeps do. */
static int vhost_timeout(uint64_t silent)
{
	uint64_t ms = silent * 1000 / rte_get_tsc_hz() / 16;

	return ms < POLL_RUNNING ? POLL_RUNNING : ms < POLL_VHOST ? (int)ms : POLL_VHOST;
}

/* Sleeps until a TAP is readable, a worker calls, or it's time to look; returns how many @events there are. @silent: TSC
 * cycles since there was work. */
static int wait_for_work(struct epoll_event *events, int max, uint64_t silent)
{
	int timeout = 0, n;

	atomic_store_explicit(&rte.exception_sleeps, true, memory_order_seq_cst);
	if (queues_empty(&rte.to_linux) && rte_ring_empty(rte.captures) &&
	    !atomic_load(&rte.stop)) {
		timeout = POLL_RUNNING;
		if (all_dozing())
			timeout = has_vhost ? vhost_timeout(silent) : POLL_DOZING;
	}
	n = epoll_wait(epoll_fd, events, max, timeout);
	atomic_store_explicit(&rte.exception_sleeps, false, memory_order_relaxed);
	return n;
}

/* Some batches, so that neither way of the traffic waits long for the other; how many packets. */
static unsigned turn_to_linux(void)
{
	unsigned batches = RTE_MAX(TURN_MIN, rte.n_ports), total = 0;

	for (unsigned i = 0, n; i < batches; i++, total += n) {
		n = to_linux();
		if (!n)
			break;
	}
	return total;
}

void exception_finish(void)
{
	if (rte.to_linux.n_ports)
		while (to_linux())
			;
}

int exception_main(void *unused)
{
	struct epoll_event events[FP_PORTS_MAX + 1];
	uint64_t worked_at = rte_rdtsc();
	unsigned work = 0;

	while (!atomic_load_explicit(&rte.stop, memory_order_relaxed)) {
		uint64_t now = rte_rdtsc();
		unsigned waiting = 0;
		int n;

		if (work)
			worked_at = now;
		n = work ? epoll_wait(epoll_fd, events, FP_PORTS_MAX + 1, 0)
			 : wait_for_work(events, FP_PORTS_MAX + 1, now - worked_at);

		work = 0;
		for (int i = 0; i < n; i++) {
			eventfd_t count;

			if (events[i].data.u32 == UINT32_MAX)
				eventfd_read(rte.wake_fd, &count);
			else if (!from_linux(&rte.ports[events[i].data.u32]))
				waiting++;
			else
				work++;
		}
		specials_turn();
		work += turn_to_linux();
		for (unsigned i = 0; has_vhost && i < rte.n_ports; i++)
			work += from_linux(&rte.ports[i]);
		work += show_captures();
		/* A TAP that is readable but can't be read now would make epoll spin. */
		if (waiting && !work)
			usleep(100);
	}
	return 0;
}
