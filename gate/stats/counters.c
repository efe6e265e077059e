// SPDX-License-Identifier: BSD-3-Clause
/* Each look takes the mapping of an instance's two files that is current. A daemon that makes another file (an fpmd after
 * its restart) makes it under the same name: then the next mapping is made, and the old one goes when the last thread has
 * left it. Without files, or with files of another version, there is nothing to add. */
#include "stats/counters.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "features/feature.h"
#include "features/iface/iface_counters.h"
#include "features/port/port.h"
#include "features/vrf/vrf.h"
#include "shm/quiesce.h"
#include "shm/shm.h"

#define NAME_MAX_LEN 31
#define TRIES	     100 /* to read between two of fpmd's changes */

struct view {
	_Atomic uint32_t users; /* threads in it; VIEW_CLOSED: being made or unmade */
	struct shm config, stats;
};
#define VIEW_CLOSED (1U << 31)

/* More than two are in use only while threads are slower than fpmd's restarts. */
#define VIEWS 4
static struct view views[VIEWS] = {{.users = VIEW_CLOSED},
				   {.users = VIEW_CLOSED},
				   {.users = VIEW_CLOSED},
				   {.users = VIEW_CLOSED}};
static _Atomic uint32_t current = VIEWS; /* VIEWS: none */
static atomic_flag opening = ATOMIC_FLAG_INIT;

static const char *const config_tables[] = {"iface", "iface_base", "iface_retired", "vrf", NULL};
static const char *const stats_tables[] = {"iface_stats", "port_state", "worker", NULL};

/* Maps a file of which only some of @all tables matter. */
static bool attach(struct shm *ret, const char *path, const char *const *names,
		   const struct shm_table_desc *all, unsigned n)
{
	struct shm_table_desc wanted[8];
	unsigned n_wanted = 0;

	for (; *names; names++)
		for (unsigned i = 0; i < n; i++)
			if (!strcmp(all[i].name, *names))
				wanted[n_wanted++] = all[i];
	return !shm_attach(ret, path, false, wanted, n_wanted, NULL);
}

static bool file_names(char *ret_config, char *ret_stats, size_t size)
{
	const char *instance = secure_getenv("SLUICE_INSTANCE");
	size_t len;

	if (!instance || !*instance)
		instance = "main";
	len = strlen(instance);
	if (len > NAME_MAX_LEN ||
	    strspn(instance, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
			     "XYZ0123456789-_") != len)
		return false;
	snprintf(ret_config, size, "/dev/shm/sluice.%s", instance);
	snprintf(ret_stats, size, "/dev/shm/sluice.%s.stats", instance);
	return true;
}

static void leave(struct view *v)
{
	atomic_fetch_sub(&v->users, 1);
}

/* The current view, with this thread in it; NULL: none. */
static struct view *enter(void)
{
	for (;;) {
		uint32_t i = atomic_load(&current);
		struct view *v = &views[i];
		uint32_t users;

		if (i == VIEWS)
			return NULL;
		users = atomic_fetch_add(&v->users, 1);
		if (!(users & VIEW_CLOSED) && atomic_load(&current) == i)
			return v;
		leave(v);
	}
}

/* Whether nobody is in @v, which is then ours to make or unmake. */
static bool take(struct view *v)
{
	uint32_t nobody = 0;

	if (!v->config.header)
		return true;
	return atomic_compare_exchange_strong(&v->users, &nobody, VIEW_CLOSED);
}

static void open_view(const char *config, const char *stats)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n;

	for (uint32_t i = 0; i < VIEWS; i++) {
		struct view *v = &views[i];

		if (i == atomic_load(&current) || !take(v))
			continue;
		shm_detach(&v->config);
		shm_detach(&v->stats);
		n = feature_stats_tables(tables, NULL);
		if (!attach(&v->stats, stats, stats_tables, tables, n))
			return;
		n = feature_config_tables(tables, NULL);
		if (!attach(&v->config, config, config_tables, tables, n)) {
			shm_detach(&v->stats);
			return;
		}
		atomic_fetch_and(&v->users, ~VIEW_CLOSED);
		atomic_store(&current, i);
		return;
	}
}

static struct view *look(void)
{
	char config[64], stats[64];
	int saved = errno;
	struct view *v = enter();

	if (!file_names(config, stats, sizeof(config)))
		goto end;
	if (v && !shm_replaced(&v->config, config) && !shm_replaced(&v->stats, stats))
		goto end;
	/* Whoever comes second works with what there is. */
	if (!atomic_flag_test_and_set(&opening)) {
		open_view(config, stats);
		atomic_flag_clear(&opening);
		if (v)
			leave(v);
		v = enter();
	}
end:
	errno = saved;
	return v;
}

static void row_counters(const struct view *v, uint32_t row, struct iface_stats_row *ret)
{
	const struct iface_base_row *base = shm_rows(&v->config, "iface_base");

	iface_counters_sum(ret, shm_rows(&v->stats, "iface_stats"),
			   shm_find(&v->stats, "iface_stats")->capacity,
			   shm_rows(&v->stats, "worker"), row);
	if (base[row].created == v->stats.header->created)
		iface_counters_take(ret, &base[row].base);
}

static uint32_t seq_begin(const struct iface_retired_row *retired)
{
	uint32_t seq = atomic_load_explicit(&retired->seq, memory_order_acquire);

	for (unsigned i = 0; (seq & 1) && i < TRIES; i++)
		seq = atomic_load_explicit(&retired->seq, memory_order_acquire);
	return seq;
}

static bool seq_same(const struct iface_retired_row *retired, uint32_t seq)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&retired->seq, memory_order_relaxed) == seq;
}

/* The port behind an interface: what its device and its TAP lost. */
static void add_port(const struct view *v, const struct iface_row *iface, struct stats_delta *ret)
{
	const struct port_state_row *port = shm_rows(&v->stats, "port_state");

	if (iface->type != IFACE_PORT || iface->port >= shm_find(&v->stats, "port_state")->capacity)
		return;
	port += iface->port;
	ret->rx_packets += port->to_linux_lost;
	ret->rx_bytes += port->to_linux_lost_bytes;
	ret->rx_dropped += port->to_linux_lost;
	ret->rx_missed += port->rx_missed;
	ret->rx_errors += port->rx_errors;
	ret->tx_packets -= port->from_linux_lost;
	ret->tx_bytes -= port->from_linux_lost_bytes;
	ret->tx_dropped += port->from_linux_lost;
	ret->tx_errors += port->tx_errors;
	/* Copies for captures end in the TAP, which counts them. */
	ret->tx_dropped -= port->captured_sent;
}

static void fill(const struct view *v, const struct iface_row *iface, uint32_t row,
		 struct stats_delta *ret)
{
	const struct iface_retired_row *retired = shm_rows(&v->config, "iface_retired");
	struct iface_stats_row sum;
	uint32_t seq;

	for (unsigned i = 0; i < TRIES; i++) {
		seq = seq_begin(retired);
		row_counters(v, row, &sum);
		if (seq_same(retired, seq))
			break;
	}
	*ret = (struct stats_delta){
		.rx_packets = sum.rx_packets,
		.rx_bytes = sum.rx_bytes,
		.rx_dropped = sum.rx_dropped - sum.rx_other_host - sum.rx_ip_dropped,
		.rx_otherhost = sum.rx_other_host,
		.tx_packets = sum.tx_packets - sum.tx_dropped,
		.tx_bytes = sum.tx_bytes - sum.tx_dropped_bytes,
		.tx_dropped = sum.tx_dropped,
		.ip4 = sum.ip4,
		.ip6 = sum.ip6,
	};
	add_port(v, iface, ret);
}

/* As fp-cli ports calls them, and what they are of. */
const char *const stats_port_names[STATS_PORT] = {
	"device_rx_packets", "device_rx_bytes",	  "device_rx_missed",	"device_rx_errors",
	"device_rx_nombuf",  "device_tx_packets", "device_tx_bytes",	"device_tx_errors",
	"to_linux_packets",  "to_linux_bytes",	  "from_linux_packets", "from_linux_bytes",
	"tap_drops",	     "rx_overloads",
};

bool stats_of_port(uint32_t vrf, const char *name, uint64_t ret[STATS_PORT])
{
	struct view *v = vrf == STATS_NO_VRF ? NULL : look();
	const struct iface_row *rows;
	bool found = false;
	uint32_t n;

	if (!v)
		return false;
	rows = shm_rows(&v->config, "iface");
	n = shm_find(&v->config, "iface")->capacity;
	for (uint32_t i = 1; i < n && !found; i++) {
		const struct port_state_row *p = shm_rows(&v->stats, "port_state");

		if (!rows[i].ifindex || rows[i].vrf != vrf || rows[i].type != IFACE_PORT ||
		    strncmp(rows[i].name, name, sizeof(rows[i].name)) != 0 ||
		    rows[i].port >= shm_find(&v->stats, "port_state")->capacity)
			continue;
		p += rows[i].port;
		memcpy(ret,
		       (const uint64_t[STATS_PORT]){
			       p->rx_packets, p->rx_bytes, p->rx_missed, p->rx_errors, p->rx_nombuf,
			       p->tx_packets, p->tx_bytes, p->tx_errors, p->to_linux_packets,
			       p->to_linux_bytes, p->from_linux_packets, p->from_linux_bytes,
			       p->tap_drops, p->overloads},
		       STATS_PORT * sizeof(*ret));
		found = true;
	}
	leave(v);
	return found;
}

static bool find(uint32_t vrf, uint32_t ifindex, const char *name, struct stats_delta *ret)
{
	struct view *v = vrf == STATS_NO_VRF ? NULL : look();
	const struct iface_row *rows;
	bool found = false;
	uint32_t n;

	if (!v)
		return false;
	rows = shm_rows(&v->config, "iface");
	n = shm_find(&v->config, "iface")->capacity;
	for (uint32_t i = 1; i < n && !found; i++) {
		if (!rows[i].ifindex || rows[i].vrf != vrf)
			continue;
		found = name ? !strncmp(rows[i].name, name, sizeof(rows[i].name))
			     : rows[i].ifindex == ifindex;
		if (found)
			fill(v, &rows[i], i, ret);
	}
	leave(v);
	return found;
}

bool stats_of_iface(uint32_t vrf, uint32_t ifindex, struct stats_delta *ret)
{
	return ifindex && find(vrf, ifindex, NULL, ret);
}

bool stats_of_name(uint32_t vrf, const char *name, struct stats_delta *ret)
{
	return find(vrf, 0, name, ret);
}

bool stats_of_vrf(uint32_t vrf, struct stats_delta *ret)
{
	struct view *v = vrf >= FPC_VRF_MAX ? NULL : look();
	const struct iface_retired_row *retired;
	const struct iface_base_row *base;
	struct iface_stats_row sum, one;
	uint32_t n, seq;

	if (!v)
		return false;
	retired = shm_rows(&v->config, "iface_retired");
	base = shm_rows(&v->config, "iface_base");
	n = shm_find(&v->config, "iface_base")->capacity;
	for (unsigned i = 0; i < TRIES; i++) {
		seq = seq_begin(retired);
		sum = retired[vrf].sum;
		for (uint32_t row = 1; row < n; row++) {
			if (!base[row].ifindex || base[row].vrf != vrf)
				continue;
			row_counters(v, row, &one);
			iface_counters_add(&sum, &one);
		}
		if (seq_same(retired, seq))
			break;
	}
	*ret = (struct stats_delta){.ip4 = sum.ip4, .ip6 = sum.ip6};
	leave(v);
	return true;
}

uint32_t stats_vrf_of(uint64_t cookie)
{
	struct view *v = cookie ? look() : NULL;
	const struct vrf_row *rows;
	uint32_t found = STATS_NO_VRF;

	if (!v)
		return STATS_NO_VRF;
	rows = shm_rows(&v->config, "vrf");
	for (uint32_t i = 0; i < FPC_VRF_MAX && found == STATS_NO_VRF; i++)
		if (rows[i].netns == cookie)
			found = i;
	leave(v);
	return found;
}
