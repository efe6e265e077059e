// SPDX-License-Identifier: BSD-3-Clause
/* fp-rte: the fast path. Also binds ports (--bind) and says what it would use (--check). */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>

#include "fastpath/bind.h"
#include "fastpath/control.h"
#include "fastpath/plugins.h"
#include "fastpath/rte.h"
#include "fastpath/specials.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/settings.h"

#define CONFIG_WAIT_MS 10000

struct rte rte;

struct options {
	const char *instance, *env;
	bool check, bind, debug;
};

static int usage(void)
{
	puts("Usage: fp-rte [OPTION]...\n"
	     "The fast path: forwards packets between its ports as Linux would.\n\n"
	     "  -i, --instance=NAME  instance to serve (default '" INSTANCE_DEFAULT "')\n"
	     "  -e, --env=FILE       settings (default " SETTINGS_PATH ")\n"
	     "  -c, --check          print what would be used and what's wrong, and end\n"
	     "  -b, --bind           as root: bind PCI ports and reserve huge pages, and end\n"
	     "  -d, --debug          log more, DPDK's messages too\n"
	     "  -h, --help           this text\n"
	     "  -V, --version        print the version");
	return EXIT_SUCCESS;
}

/* Negative: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *ret)
{
	static const struct option options[] = {
		{"instance", required_argument, NULL, 'i'}, {"env", required_argument, NULL, 'e'},
		{"check", no_argument, NULL, 'c'},	    {"bind", no_argument, NULL, 'b'},
		{"debug", no_argument, NULL, 'd'},	    {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	    {},
	};
	int c;

	*ret = (struct options){.instance = INSTANCE_DEFAULT, .env = SETTINGS_PATH};
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":i:e:cbdhV", options, NULL)) >= 0) {
		switch (c) {
		case 'i':
			ret->instance = optarg;
			break;
		case 'e':
			ret->env = optarg;
			break;
		case 'c':
			ret->check = true;
			break;
		case 'b':
			ret->bind = true;
			break;
		case 'd':
			ret->debug = true;
			break;
		case 'h':
			return usage();
		case 'V':
			puts("fp-rte " SLUICE_VERSION);
			return 0;
		default:
			return err_command_line(argv[optind - 1]);
		}
	}
	return optind < argc ? err_command_line(argv[optind]) : -1;
}

static int read_machine(struct system *ret, const struct paths *paths, struct err *err)
{
	int rc = system_read(ret, "", paths->ports_file, err);

	return rc ? rc : system_own(ret, err);
}

static int check(const struct paths *paths, const struct settings *settings,
		 const struct system *system)
{
	bool runs = lock_held(paths->rte_lock);
	struct plan *plan = calloc(1, sizeof(*plan));
	struct err refused[PLUGINS_MAX];
	unsigned n, n_refused;

	if (!plan)
		return EXIT_FAILURE;
	plan_make(plan, settings, system, runs ? PLAN_LOOK : PLAN_START);
	n_refused = plugins_load(settings->plugins, refused);
	plan_print(plan, settings);
	plugins_print(settings->plugins);
	printf("%-20s %s\n", "instance", paths->instance);
	printf("%-20s %s\n", "running", runs ? "yes" : "no");
	fflush(stdout);
	for (unsigned i = 0; i < plan->n_problems; i++)
		err_print(&plan->problems[i]);
	for (unsigned i = 0; i < n_refused; i++)
		err_print(&refused[i]);
	n = plan->n_problems + n_refused;
	free(plan);
	return n ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Captures are a help: forwarding doesn't depend on them. */
static void prepare_captures(void)
{
	struct err err = {};

	if (capture_open(&rte.capture, &err))
		log_warn("captures on ports show packets of Linux only: %s%s%s", err.text,
			 err.hint[0] ? "; " : "", err.hint);
}

/* While we have its queue: vhost gets it next. */
static void guard(const struct fpvi *tap)
{
	int rc = rte.capture.tap_drops < 0 ? 0 : capture_guard(&rte.capture, tap->fd);

	if (!rc)
		return;
	log_warn("captures on ports show packets of Linux only: port %s: %s", tap->name,
		 strerror(-rc));
	capture_close(&rte.capture);
}

static int open_ports(const struct plan *plan, const struct shm *stats, struct err *err)
{
	const struct port_state_row *rows = shm_rows(stats, "port_state");
	unsigned initial = plan->mtu < 1500 ? plan->mtu : 1500;

	for (unsigned i = 0; i < plan->n_ports; i++) {
		struct fpvi_place before = {};
		int rc = port_open(&rte.ports[i].fpn, plan, i, err);

		if (rc)
			return rc;
		rte.n_ports = i + 1;
		rte.ports[i].tap.fd = rte.ports[i].tap.vhost_fd = -1;
		if (!strcmp(rows[i].name, plan->ports[i].name)) {
			before.netns = rows[i].netns;
			before.ifindex = rows[i].tap_ifindex;
			memcpy(before.mac, rows[i].mac, sizeof(before.mac));
		}
		rc = fpvi_open(&rte.ports[i].tap, plan->ports[i].name, rte.ports[i].fpn.linux_mac,
			       initial, &before, err);
		if (rc)
			return rc;
		guard(&rte.ports[i].tap);
	}
	return 0;
}

static int start_ports(struct err *err)
{
	for (unsigned i = 0; i < rte.n_ports; i++) {
		int rc = port_start(&rte.ports[i].fpn, rte.ports[i].row->mac, err);

		if (rc)
			return rc;
	}
	return 0;
}

static void close_ports(bool failed)
{
	for (unsigned i = 0; i < rte.n_ports; i++) {
		struct rte_port *p = &rte.ports[i];

		if (p->vhost != UINT16_MAX && rte.plan->vhost && p->row) {
			rte_eth_dev_stop(p->vhost);
			rte_eth_dev_close(p->vhost);
		}
		if (failed)
			fpvi_remove(&p->tap);
		else
			fpvi_close(&p->tap);
		port_close(&p->fpn);
	}
}

static int launch(struct err *err)
{
	for (unsigned i = 0; i < rte.n_workers; i++)
		if (rte_eal_remote_launch(loop_main, &rte.workers[i], i + 1))
			return err_set(err, EIO, "can't start worker %u", i);
	if (rte_eal_remote_launch(exception_main, NULL, rte.n_workers + 1))
		return err_set(err, EIO, "can't start the exception thread");
	return 0;
}

static void stop_threads(void)
{
	atomic_store(&rte.stop, true);
	for (unsigned i = 0; i < rte.n_workers; i++)
		loop_wake(&rte.workers[i]);
	if (rte.wake_fd > 0)
		exception_wake();
	rte_eal_mp_wait_lcore();
	exception_finish();
}

static int signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	/* Before other threads exist: they inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* All of them or none: half a service would be a surprise. */
static int load_plugins(const struct settings *settings, struct err *err)
{
	struct err refused[PLUGINS_MAX];

	if (!plugins_load(settings->plugins, refused))
		return 0;
	*err = refused[0];
	return -err->code;
}

/* From the plan to the end. */
static int forward(const struct paths *paths, const struct settings *settings,
		   const struct plan *plan, bool debug, struct err *err)
{
	struct shm config = {}, stats = {};
	int signal_fd = signals();
	bool stats_new = false, forwarding = false;
	int rc;

	if (signal_fd < 0)
		return err_set(err, errno, "can't wait for signals: %s", strerror(errno));
	rte.plan = plan;
	rc = load_plugins(settings, err);
	if (!rc)
		rc = control_open_config(&config, paths, CONFIG_WAIT_MS, err);
	if (!rc)
		rc = control_open_stats(&stats, paths, settings, &stats_new, err);
	if (!rc)
		rc = eal_start(plan, paths->instance, debug, err);
	if (rc)
		goto unmap;
	rte.linux_pool = eal_pool(plan, 0, err);
	prepare_captures();
	rc = rte.linux_pool ? open_ports(plan, &stats, err) : -ENOMEM;
	if (rc)
		goto close;
	control_init_ports(&stats);
	rc = loop_init(&stats, err);
	if (!rc)
		rc = exception_init(&stats, err);
	if (!rc)
		rc = fp_init(err);
	if (!rc)
		rc = plugins_start(err);
	if (!rc)
		rc = fp_attach(&config, &stats, err);
	if (!rc)
		rc = start_ports(err);
	if (!rc)
		rc = launch(err);
	if (!rc) {
		forwarding = true;
		notify_systemd("READY=1");
		log_info("forwarding between %u ports on %u cores", rte.n_ports, rte.n_workers);
		rc = control_run(paths, &config, &stats, signal_fd, err);
		notify_systemd("STOPPING=1");
	}
	stop_threads();
	specials_end();
	plugins_stop();
	control_last_counters();

close:
	close_ports(!forwarding);
	capture_close(&rte.capture);
	rte_eal_cleanup();
unmap:
	if (stats_new && !forwarding)
		unlink(paths->stats_shm);
	shm_detach(&stats);
	shm_detach(&config);
	close(signal_fd);
	return rc;
}

int main(int argc, char **argv)
{
	static struct settings settings;
	static struct system system;
	static struct plan plan;
	struct options options;
	struct paths paths;
	struct err err = {};
	int rc = parse(argc, argv, &options);

	if (rc >= 0)
		return rc;
	if (options.debug)
		log_set_level(LOG_DEBUG);
	rc = settings_load(&settings, options.env, &err);
	if (!rc)
		rc = paths_init(&paths, options.instance, &err);
	if (!rc)
		rc = read_machine(&system, &paths, &err);
	if (!rc && options.check)
		return check(&paths, &settings, &system);
	if (!rc && !options.bind)
		rc = lock_take(paths.rte_lock, "fp-rte", paths.instance, &err);
	if (!rc) {
		plan_make(&plan, &settings, &system, options.bind ? PLAN_BIND : PLAN_START);
		if (plan.n_problems) {
			err = plan.problems[0];
			rc = -err.code;
		}
	}
	if (!rc)
		rc = options.bind ? bind_ports(&plan, &system, &paths, &err)
				  : forward(&paths, &settings, &plan, options.debug, &err);
	if (rc) {
		err_print(&err);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
