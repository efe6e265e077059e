// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fastpath/rte.h"
#include "fastpath/specials.h"
#include "fastpath/viewers.h"
#include "fpc/client.h"
#include "lib/log.h"
#include "lib/settings.h"

#define PORTS_MS	 100 /* between two looks at the ports */
#define FILE_MS		 10 /* and at the config file while there's no fpmd that would tell of a new one */
#define MISSING_MS	 1000 /* how long packets that a device lost count as a sign of overload */
#define RECONNECT_MIN_MS 20
#define RECONNECT_MAX_MS 500

/* What the device counters were when fp-rte started: a device counts from zero then. */
static struct port_state_row before[FP_PORTS_MAX];

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

static bool same_capacities(const struct shm *shm, const struct shm_table_desc *tables, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (shm_find(shm, tables[i].name)->capacity != tables[i].capacity)
			return false;
	return shm->header->n_tables == n;
}

/* What a killed predecessor left behind besides counters: none of its workers reads any more, no port has a link. */
static void forget_state(struct shm *stats)
{
	struct worker_row *workers = shm_rows(stats, "worker");
	struct port_state_row *ports = shm_rows(stats, "port_state");

	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		quiesce_offline(&workers[i]);
		workers[i].state = WORKER_OFF;
	}
	for (unsigned i = 0; i < shm_find(stats, "port_state")->capacity; i++)
		ports[i].link_up = ports[i].capturing = 0;
}

int control_open_stats(struct shm *ret, const struct paths *paths, const struct settings *settings,
		       bool *ret_new, struct err *err)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n = feature_stats_tables(tables, settings);
	char path[PATH_LEN + 8];
	int rc;

	*ret_new = false;
	if (!shm_attach(ret, paths->stats_shm, true, tables, n, NULL)) {
		if (same_capacities(ret, tables, n)) {
			ret->header->writer_pid = (uint32_t)getpid();
			forget_state(ret);
			return 0;
		}
		shm_detach(ret);
	}
	/* Beside the old one, then over it: a reader sees one or the other. */
	snprintf(path, sizeof(path), "%s.new", paths->stats_shm);
	unlink(path);
	rc = shm_create(ret, path, tables, n, err);
	if (rc)
		return rc;
	if (rename(path, paths->stats_shm)) {
		rc = err_set(err, errno, "can't make %s: %s", paths->stats_shm, strerror(errno));
		unlink(path);
		shm_detach(ret);
		return rc;
	}
	*ret_new = true;
	return 0;
}

static int attach_config(struct shm *ret, const struct paths *paths, struct err *err)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n = feature_config_tables(tables, NULL);

	return shm_attach(ret, paths->config_shm, false, tables, n, err);
}

int control_open_config(struct shm *ret, const struct paths *paths, int timeout_ms, struct err *err)
{
	int64_t until = milliseconds() + timeout_ms;
	bool told = false;
	int rc;

	while ((rc = attach_config(ret, paths, err)) == -ENOENT && milliseconds() < until) {
		if (!told)
			log_info("waiting for fpmd to make %s", paths->config_shm);
		told = true;
		usleep(50000);
	}
	if (rc == -ENOENT) {
		err_set(err, ENOENT, "fpmd hasn't made %s within %d s", paths->config_shm,
			timeout_ms / 1000);
		err_hint(err, "start fpmd of instance '%s' first", paths->instance);
	}
	return rc;
}

void control_init_ports(struct shm *stats)
{
	struct port_state_row *rows = shm_rows(stats, "port_state");
	struct shm_table_dir *dir = shm_find(stats, "port_state");
	struct shm_table_dir *workers = shm_find(stats, "worker");

	for (unsigned i = 0; i < dir->capacity; i++) {
		struct rte_port *p = &rte.ports[i];
		struct port_state_row *row = &rows[i];
		unsigned mtu;

		if (i >= rte.n_ports || strcmp(row->name, p->fpn.plan->name))
			memset(row, 0, sizeof(*row));
		if (i >= rte.n_ports)
			continue;
		before[i] = *row;
		snprintf(row->name, sizeof(row->name), "%s", p->fpn.plan->name);
		snprintf(row->driver, sizeof(row->driver), "%s", p->fpn.driver);
		snprintf(row->device, sizeof(row->device), "%.63s", p->fpn.plan->device);
		row->tap_ifindex = p->tap.ifindex;
		row->netns = p->tap.netns;
		row->n_rxq = p->fpn.n_rxq;
		row->n_txq = p->fpn.n_txq;
		row->link_up = 0;
		row->capturing = 0;
		fpvi_look(&p->tap, &mtu, row->mac);
		p->row = row;
	}
	shm_count(dir, (int)rte.n_ports - (int)atomic_load(&dir->used));
	shm_count(workers, (int)rte.plan->n_cores - (int)atomic_load(&workers->used));
}

static void put_port(struct fpc_client *client, const struct rte_port *p)
{
	struct fpc_port port = {
		.port = p->fpn.id,
		.tap_ifindex = p->tap.ifindex,
		.netns = p->tap.netns,
	};

	if (!p->tap.ifindex) {
		client_put(client, FPC_DEL, FEATURE_PORT, 0, &port, FPC_PORT_KEY_SIZE);
		return;
	}
	memcpy(port.mac, p->row->mac, sizeof(port.mac));
	snprintf(port.name, sizeof(port.name), "%s", p->row->name);
	client_put(client, FPC_SET, FEATURE_PORT, 0, &port, sizeof(port));
}

static void put_all_ports(struct fpc_client *client)
{
	client_put(client, FPC_SYNC_BEGIN, FEATURE_PORT, 0, NULL, 0);
	for (unsigned i = 0; i < rte.n_ports; i++)
		put_port(client, &rte.ports[i]);
	client_put(client, FPC_SYNC_END, FEATURE_PORT, 0, NULL, 0);
}

/* Speaks with fpmd as far as that goes without waiting. */
static void talk(struct fpc_client *client, const struct paths *paths, int64_t now)
{
	static int64_t next;
	static int64_t pause = RECONNECT_MIN_MS;
	static bool told;
	struct fpc_answer answer;
	struct err err;
	int rc;

	if (client->fd < 0) {
		if (now < next)
			return;
		rc = client_connect(client, paths->fpc_socket, FPC_ROLE_RTE, "fp-rte", &err);
		if (rc)
			goto later;
	}
	while ((rc = client_next(client, &answer, &err)) > 0) {
		if (answer.head.verb == FPC_HELLO) {
			log_info("connected to fpmd");
			told = false;
			pause = RECONNECT_MIN_MS;
			put_all_ports(client);
		} else if (answer.head.verb == FPC_ACK && answer.ack.error) {
			log_err("fpmd refuses a port: %s%s%s", answer.ack.text,
				answer.ack.field[0] ? ": field " : "", answer.ack.field);
		}
	}
	if (!rc)
		return;
	client_close(client);

later:
	if (!told)
		log_warn("forwarding goes on without fpmd: %s", err.text);
	told = true;
	next = now + pause;
	pause = pause * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : pause * 2;
}

/* fpmd put another config file in the place of ours. */
static int move_over(const struct paths *paths, struct shm *config, struct shm *stats,
		     struct err *err)
{
	struct shm other;
	int rc = attach_config(&other, paths, err);

	if (rc)
		return rc;
	loop_pause();
	rc = fp_attach(&other, stats, err);
	loop_resume();
	if (rc) {
		shm_detach(&other);
		return rc;
	}
	shm_detach(config);
	*config = other;
	log_info("forwarding from fpmd's new %s", paths->config_shm);
	return 0;
}

/* Tells the workers whether the device loses packets. */
static void follow_missing(struct rte_port *p, uint64_t was, uint64_t now)
{
	static int64_t until[FP_PORTS_MAX];
	int64_t ms = milliseconds();

	if (now > was)
		until[p->fpn.id] = ms + MISSING_MS;
	atomic_store_explicit(&p->missing, ms < until[p->fpn.id], memory_order_relaxed);
}

static void read_counters(struct rte_port *p, const struct port_state_row *was)
{
	struct port_state_row now = {};
	struct port_state_row *row = p->row;

	port_read(&p->fpn, &now);
	if (row->link_up != now.link_up) {
		row->link_up = now.link_up;
		log_info("port %s: link %s", row->name, now.link_up ? "up" : "down");
	}
	row->speed = now.speed;
	row->rx_packets = was->rx_packets + now.rx_packets;
	row->rx_bytes = was->rx_bytes + now.rx_bytes;
	follow_missing(p, row->rx_missed, was->rx_missed + now.rx_missed);
	row->rx_missed = was->rx_missed + now.rx_missed;
	row->overloads = was->overloads + atomic_load_explicit(&p->overloads, memory_order_relaxed);
	row->rx_errors = was->rx_errors + now.rx_errors;
	row->rx_nombuf = was->rx_nombuf + now.rx_nombuf;
	row->tx_packets = was->tx_packets + now.tx_packets;
	row->tx_bytes = was->tx_bytes + now.tx_bytes;
	row->tx_errors = was->tx_errors + now.tx_errors;
}

void control_last_counters(void)
{
	for (unsigned i = 0; i < rte.n_ports; i++)
		if (rte.ports[i].row)
			read_counters(&rte.ports[i], &before[i]);
}

static void follow_mtu(struct rte_port *p, unsigned mtu)
{
	if (mtu == p->row->mtu)
		return;
	if (mtu > rte.plan->mtu)
		log_warn("port %s: MTU %u in Linux, but FP_MTU is %u: longer packets are dropped",
			 p->row->name, mtu, rte.plan->mtu);
	else if (p->row->mtu)
		port_set_mtu(&p->fpn, (uint16_t)mtu);
	p->row->mtu = mtu;
}

static void tell_move(const struct rte_port *p, int rc)
{
	const char *name = p->fpn.plan->name;

	if (rc)
		log_warn("port %s: its TAP is in a namespace that can't be entered: %s; all it "
			 "receives is Linux's",
			 name, strerror(-rc));
	else if (p->tap.netns)
		log_info("port %s: its TAP %s is in another network namespace now", name,
			 p->tap.name);
	else
		log_info("port %s: its TAP %s is in this network namespace", name, p->tap.name);
}

/* Device and TAP, ten times a second. */
static int look_after(struct rte_port *p, const struct port_state_row *was, bool is_first,
		      struct fpc_client *client, struct err *err)
{
	unsigned ifindex = p->tap.ifindex, mtu = 0;
	uint64_t netns = p->tap.netns;
	uint8_t mac[6], link = p->row->link_up;
	bool moved;
	int rc = fpvi_look(&p->tap, &mtu, mac);

	if (rc == -ENODEV) {
		err_set(err, ENODEV, "port %s: its TAP was removed from Linux", p->row->name);
		return err_hint(err, "fp-rte makes it anew when it starts; `ip link set NAME down` "
				     "stops a port");
	}
	read_counters(p, was);
	moved = p->tap.ifindex != ifindex || p->tap.netns != netns;
	if (moved) {
		tell_move(p, rc);
		p->row->tap_ifindex = p->tap.ifindex;
		p->row->netns = p->tap.netns;
	}
	if (is_first || moved || link != p->row->link_up)
		fpvi_set_carrier(&p->tap, p->row->link_up);
	if (!rc) {
		follow_mtu(p, mtu);
		if (memcmp(mac, p->row->mac, 6)) {
			port_set_mac(&p->fpn, mac);
			memcpy(p->row->mac, mac, 6);
			moved = true;
		}
	}
	if (moved && client->ready)
		put_port(client, p);
	return 0;
}

int control_run(const struct paths *paths, struct shm *config, struct shm *stats, int signal_fd,
		struct err *err)
{
	struct fpc_client client;
	int rc = 0;

	client_init(&client);
	rings_init(stats);
	gc_init(&rte.gc, shm_rows(stats, "worker"));
	rc = viewers_open(paths, err);
	for (int64_t ports_at = 0;;) {
		int64_t now = milliseconds();
		struct pollfd fds[2 + VIEWERS_FDS] = {{.fd = signal_fd, .events = POLLIN}};

		talk(&client, paths, now);
		if (shm_replaced(config, paths->config_shm))
			rc = move_over(paths, config, stats, err);
		if (!rc && fp_look(&rte.gc, rte.n_workers, err))
			log_warn("%s", err->text);
		if (now >= ports_at) {
			for (unsigned i = 0; i < rte.n_ports && !rc; i++)
				rc = look_after(&rte.ports[i], &before[i], !ports_at, &client, err);
			specials_look();
			rings_look();
			gc_run(&rte.gc);
			ports_at = now + PORTS_MS;
		}
		if (rc)
			break;

		fds[1] = (struct pollfd){.fd = client.fd,
					 .events = client.fd < 0 ? 0 : client_events(&client)};
		viewers_fds(fds + 2);
		poll(fds, 2 + VIEWERS_FDS, client.ready ? PORTS_MS : FILE_MS);
		if (fds[0].revents & POLLIN)
			break;
		viewers_turn(fds + 2, now);
	}
	viewers_close(paths);
	client_close(&client);
	return rc;
}
