// SPDX-License-Identifier: BSD-3-Clause
/* fpmd, the Fast Path Manager: the only writer of the fast path's tables. One thread, one epoll loop; what an object means
 * is the features' business (features/NAME/NAME_apply.c), what a frame means dispatch.c's, here only bytes are moved. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fpmd/dispatch.h"
#include "fpmd/publish.h"
#include "lib/local.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/paths.h"
#include "lib/settings.h"

#define CLIENTS_MAX 64
/* How long an unpublished file waits at the most until somebody looks whether fp-rte still lives. */
#define UNPUBLISHED_MS 200

struct conn {
	int fd;
	uint32_t events; /* that epoll waits for */
	bool gone;	 /* the other end is closed */
	struct peer *peer;
};

struct daemon {
	struct paths paths;
	struct settings settings;
	struct fpm fpm;
	struct publish publish;
	struct dispatch dispatch;
	struct conn conns[CLIENTS_MAX]; /* peer NULL: free */
	gid_t group;			/* of those who may connect; -1: there's no such group */
	int epoll, listener, signals;
	bool listening;
};

static int usage(FILE *to)
{
	fprintf(to,
		"Usage: %s [OPTION]...\n"
		"The Fast Path Manager: writes the fast path's tables from what cmgrd and fp-rte "
		"say.\n\n"
		"  -i, --instance=NAME  instance to serve (default '" INSTANCE_DEFAULT "')\n"
		"  -e, --env=FILE       settings (default " SETTINGS_PATH ")\n"
		"  -r, --record=FILE    append every frame to FILE as a JSON line\n"
		"  -c, --check          say whether it could start, and end\n"
		"  -d, --debug          log more\n"
		"  -h, --help           this text\n"
		"  -V, --version        print the version\n",
		program_invocation_short_name);
	return 0;
}

static void hang_up(struct daemon *d, struct conn *c)
{
	if (c->peer->role)
		log_info("%s is gone", c->peer->name);
	if (c->peer->in.end - c->peer->in.start && !c->peer->closing)
		log_warn("%s closed the connection within a frame", c->peer->name);
	dispatch_close(&d->dispatch, c->peer);
	close(c->fd);
	*c = (struct conn){};
}

static void flush(struct daemon *d, struct conn *c)
{
	struct frame_out *out = &c->peer->out;

	while (frame_out_len(out)) {
		ssize_t n = send(c->fd, out->data + out->start, frame_out_len(out), MSG_NOSIGNAL);

		if (n >= 0) {
			frame_out_sent(out, (size_t)n);
			if (!c->peer->closing)
				dispatch_drained(&d->dispatch, c->peer);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} else if (errno != EINTR) {
			c->gone = true;
			return;
		}
	}
}

/* One read a turn, so that none keeps the others waiting. */
static void receive(struct daemon *d, struct conn *c)
{
	uint8_t *space;
	size_t room;
	ssize_t n;

	if (peer_blocked(c->peer))
		return;
	space = frame_in_space(&c->peer->in, &room);
	if (!space) {
		log_err("no memory for what %s sends", c->peer->name);
		c->gone = true;
		return;
	}
	n = recv(c->fd, space, room, 0);
	if (n > 0) {
		frame_in_add(&c->peer->in, (size_t)n);
		dispatch_frames(&d->dispatch, c->peer);
	} else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
		c->gone = true;
	}
}

/* Sends, then closes or waits for what comes next. */
static void settle(struct daemon *d, struct conn *c)
{
	struct epoll_event ev = {.data.ptr = c};

	flush(d, c);
	if (c->gone || (c->peer->closing && !frame_out_len(&c->peer->out))) {
		hang_up(d, c);
		return;
	}
	ev.events = (peer_blocked(c->peer) ? 0 : EPOLLIN) |
		    (frame_out_len(&c->peer->out) ? EPOLLOUT : 0);
	if (ev.events != c->events) {
		epoll_ctl(d->epoll, EPOLL_CTL_MOD, c->fd, &ev);
		c->events = ev.events;
	}
}

static void serve(struct daemon *d, struct conn *c, uint32_t events)
{
	if (!c->peer)
		return; /* closed earlier in this turn */
	if (events & EPOLLIN)
		receive(d, c);
	/* Both directions are closed: nobody reads what blocks it. */
	if ((events & (EPOLLHUP | EPOLLERR)) && (!(events & EPOLLIN) || peer_blocked(c->peer)))
		c->gone = true;
}

static void welcome(struct daemon *d)
{
	int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct epoll_event ev = {.events = EPOLLIN};
	struct conn *c = NULL;

	if (fd < 0)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX && !c; i++)
		if (!d->conns[i].peer)
			c = &d->conns[i];
	if (!c) {
		log_warn("more than %d clients: one is turned away", CLIENTS_MAX);
		close(fd);
		return;
	}
	*c = (struct conn){.fd = fd, .events = ev.events, .peer = dispatch_peer(&d->dispatch)};
	ev.data.ptr = c;
	if (!c->peer || epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		log_err("no memory for another client");
		if (c->peer)
			dispatch_close(&d->dispatch, c->peer);
		close(fd);
		*c = (struct conn){};
		return;
	}
	c->peer->user = c;
	if (!local_allowed(fd, d->group)) {
		log_warn("a client that is neither root nor in group " LOCAL_GROUP
			 " is turned away");
		dispatch_refuse(&d->dispatch, c->peer, EPERM,
				"only root and members of group " LOCAL_GROUP " may connect");
	}
}

static bool alive(struct peer *peer)
{
	const struct conn *c = peer->user;
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static int watch(struct daemon *d, int fd, void *what, struct err *err)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = what};

	if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev))
		return err_set(err, errno, "can't watch a file: %s", strerror(errno));
	return 0;
}

/* The files are sparse: a /dev/shm that's too small shows when a page is touched for which there's no memory. */
static void no_memory(int number)
{
	static const char text[] =
		"fpmd: error: /dev/shm is full\n"
		"fpmd: hint: give it more memory, or lower the FP_MAX_ settings\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

static int start(struct daemon *d, struct err *err)
{
	struct sigaction bus = {.sa_handler = no_memory};
	sigset_t signals;
	int rc;

	sigaction(SIGBUS, &bus, NULL);
	d->group = local_group();
	d->dispatch.alive = alive;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	d->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->epoll < 0 || d->signals < 0)
		return err_set(err, errno, "can't make the event loop: %s", strerror(errno));
	d->listener = local_listen(d->paths.fpc_socket, SOCK_STREAM, d->group, err);
	if (d->listener < 0)
		return d->listener;
	d->listening = true;
	rc = watch(d, d->listener, &d->listener, err);
	return rc ? rc : watch(d, d->signals, &d->signals, err);
}

static void publish(struct daemon *d)
{
	if (publish_try(&d->publish))
		dispatch_event(&d->dispatch, FPC_ROLE_RTE, FPC_EVENT_PUBLISHED);
}

static void loop(struct daemon *d)
{
	struct epoll_event events[CLIENTS_MAX + 2];

	for (;;) {
		int wait = dispatch_work(&d->dispatch), n;

		publish(d);
		if (!d->fpm.published && (wait < 0 || wait > UNPUBLISHED_MS))
			wait = UNPUBLISHED_MS;
		/* Only now: who has the answer to a SYNC_END finds the file published. */
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			if (d->conns[i].peer)
				settle(d, &d->conns[i]);
		n = epoll_wait(d->epoll, events, CLIENTS_MAX + 2, wait);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &d->signals)
				return;
			if (events[i].data.ptr == &d->listener)
				welcome(d);
			else
				serve(d, events[i].data.ptr, events[i].events);
		}
	}
}

static void stop(struct daemon *d)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (d->conns[i].peer)
			hang_up(d, &d->conns[i]);
	if (d->listening)
		unlink(d->paths.fpc_socket);
	dispatch_free(&d->dispatch);
}

static int run(struct daemon *d, const char *record, bool check, struct err *err)
{
	int rc;

	rc = lock_take(d->paths.fpmd_lock, "fpmd", d->paths.instance, err);
	if (rc)
		return rc;
	rc = publish_init(&d->publish, &d->paths, &d->fpm, &d->settings, err);
	if (rc)
		return rc;
	rc = dispatch_init(&d->dispatch, &d->fpm, fpm_parts, n_features, err);
	if (!rc && record)
		rc = record_open(&d->dispatch.record, record, err);
	d->publish.dispatch = &d->dispatch;
	if (!rc && !check)
		rc = start(d, err);
	if (!rc && !check) {
		publish(d);
		log_info("fpmd serves instance '%s'", d->paths.instance);
		notify_systemd("READY=1");
		loop(d);
		notify_systemd("STOPPING=1");
	}
	record_close(d->dispatch.record);
	d->dispatch.record = NULL;
	stop(d);
	publish_fini(&d->publish);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"instance", required_argument, NULL, 'i'}, {"env", required_argument, NULL, 'e'},
		{"record", required_argument, NULL, 'r'},   {"check", no_argument, NULL, 'c'},
		{"debug", no_argument, NULL, 'd'},	    {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},	    {},
	};
	const char *instance = INSTANCE_DEFAULT, *env = SETTINGS_PATH, *record = NULL;
	static struct daemon d;
	bool check = false;
	struct err err;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "i:e:r:cdhV", options, NULL)) != -1) {
		switch (opt) {
		case 'i':
			instance = optarg;
			break;
		case 'e':
			env = optarg;
			break;
		case 'r':
			record = optarg;
			break;
		case 'c':
			check = true;
			break;
		case 'd':
			log_set_level(LOG_DEBUG);
			break;
		case 'h':
			return usage(stdout);
		case 'V':
			puts("fpmd " SLUICE_VERSION);
			return 0;
		default:
			return err_command_line(argv[optind - 1]);
		}
	}
	if (optind < argc)
		return err_command_line(argv[optind]);
	if (paths_init(&d.paths, instance, &err) || settings_load(&d.settings, env, &err) ||
	    run(&d, record, check, &err)) {
		err_print(&err);
		return 1;
	}
	return 0;
}
