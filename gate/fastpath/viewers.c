// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/viewers.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fastpath/rte.h"
#include "fastpath/watch.h"
#include "lib/local.h"
#include "lib/log.h"

#define CLIENTS	    (VIEWERS_FDS - 1)
#define LOOK_MS	    200		/* between two looks at Linux's packet sockets */
#define LINGER_MS   1000	/* programs outlive the last copy of a capture by as much */
#define SOCKETS_MAX (256 << 10) /* bytes of /proc/net/packet that are read */

static int listener = -1;
static int clients[CLIENTS];
static int tracer = -1; /* index of the client whose trace is armed */
static uint32_t session;
static gid_t group;

/* By port: its programs, and since when nobody captures (0: somebody does, or there are none). */
static struct capture_links links[FP_PORTS_MAX];
static int64_t silent_since[FP_PORTS_MAX];
static uint64_t capturing;
static bool refused;

/* --- captures --- */

static char *read_sockets(void)
{
	static char text[SOCKETS_MAX];
	/* Of this thread's namespace, and there even where /proc shows processes alone. */
	int fd = open("/proc/thread-self/net/packet", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return NULL;
	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = '\0';
	return text;
}

static void attach(unsigned port, int64_t now)
{
	struct err err = {};

	silent_since[port] = 0;
	if (links[port].egress >= 0)
		return;
	if (capture_attach(&rte.capture, rte.ports[port].tap.ifindex, &links[port], &err)) {
		if (!refused)
			log_warn("captures on ports show packets of Linux only: %s", err.text);
		refused = true;
	}
}

static void detach(unsigned port, int64_t now)
{
	/* Copies may still be on their way through Linux. */
	if (links[port].egress < 0)
		return;
	if (!silent_since[port])
		silent_since[port] = now;
	else if (now - silent_since[port] >= LINGER_MS)
		capture_detach(&links[port]);
}

static void follow_captures(int64_t now)
{
	unsigned ifindex[FP_PORTS_MAX];
	const char *text = read_sockets();
	uint64_t wanted, able = 0;

	if (!text)
		return;
	/* What is captured in other namespaces isn't seen. */
	for (unsigned i = 0; i < rte.n_ports; i++)
		ifindex[i] = rte.ports[i].tap.netns ? 0 : rte.ports[i].tap.ifindex;
	wanted = capture_listeners(text, ifindex, rte.n_ports);
	for (unsigned i = 0; i < rte.n_ports; i++) {
		if (wanted >> i & 1)
			attach(i, now);
		if (wanted >> i & 1 && links[i].egress >= 0)
			able |= 1ULL << i;
	}
	if (able != capturing)
		watch_set_captures(able);
	for (unsigned i = 0; i < rte.n_ports; i++) {
		rte.ports[i].row->capturing = able >> i & 1;
		if ((able ^ capturing) >> i & 1)
			log_info("port %s: %s", rte.ports[i].tap.name,
				 able >> i & 1 ? "a capture begins: its packets are copied to Linux"
					       : "the capture is over");
		if (!(wanted >> i & 1))
			detach(i, now);
	}
	capturing = able;
}

/* --- traces --- */

static void free_trace(struct gc_item *item)
{
	free((char *)item - offsetof(struct watch_trace, gc));
}

static void disarm(void)
{
	struct watch_trace *before = watch_set_trace(NULL);

	if (before)
		gc_later(&rte.gc, &before->gc, free_trace);
}

static struct watch_trace *make_trace(const struct trace_request *request)
{
	struct watch_trace *trace = calloc(1, sizeof(*trace));

	if (!trace)
		return NULL;
	trace->port = request->port;
	trace->n_filter = request->n_filter;
	for (unsigned i = 0; i < request->n_filter; i++)
		trace->filter[i] = (struct bpf_insn){request->filter[i].code, request->filter[i].jt,
						     request->filter[i].jf, request->filter[i].k};
	atomic_store(&trace->left, request->count);
	return trace;
}

/* The trace that's asked for, or what's wrong. */
static const char *refusal(const struct trace_request *request, size_t len,
			   struct watch_trace **ret, int *ret_code)
{
	*ret_code = EINVAL;
	if (len < offsetof(struct trace_request, filter) || request->version != TRACE_VERSION) {
		*ret_code = EPROTO;
		return "fp-rte is of another version";
	}
	if (request->n_filter > TRACE_FILTER_MAX ||
	    len != offsetof(struct trace_request, filter) +
			    request->n_filter * sizeof(struct trace_insn))
		return "the filter is too long or cut";
	if (!request->count || request->pad)
		return "wrong request";
	if (request->port != TRACE_ANY_PORT && request->port >= rte.n_ports) {
		*ret_code = ENODEV;
		return "no such port";
	}
	if (tracer >= 0) {
		*ret_code = EBUSY;
		return "another trace is armed";
	}
	*ret = make_trace(request);
	if (!*ret) {
		*ret_code = ENOMEM;
		return "no memory";
	}
	if (!watch_filter_ok(*ret)) {
		free(*ret);
		return "the filter isn't safe to run";
	}
	*ret_code = 0;
	return "";
}

static void hang_up(unsigned i)
{
	if (tracer == (int)i) {
		disarm();
		tracer = -1;
	}
	close(clients[i]);
	clients[i] = -1;
}

static void serve(unsigned i)
{
	static struct trace_request request;
	struct trace_reply reply = {};
	struct watch_trace *trace = NULL;
	ssize_t n;

	memset(&request, 0, sizeof(request));
	n = recv(clients[i], &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || tracer == (int)i) {
		hang_up(i);
		return;
	}
	snprintf(reply.text, sizeof(reply.text), "%s",
		 refusal(&request, (size_t)n, &trace, &reply.error));
	if (!reply.error) {
		reply.session = ++session;
		reply.tsc_hz = rte_get_tsc_hz();
		tracer = (int)i;
		trace->session = session;
		watch_set_trace(trace);
		log_debug("a trace of %u packets is armed", request.count);
	}
	if (send(clients[i], &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 || reply.error)
		hang_up(i);
}

static void take_client(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!local_allowed(fd, group)) {
		log_warn("a client that is neither root nor in group " LOCAL_GROUP
			 " is turned away");
		close(fd);
		return;
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		if (clients[i] < 0) {
			clients[i] = fd;
			return;
		}
	close(fd);
}

/* --- both --- */

int viewers_open(const struct paths *paths, struct err *err)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = -1;
	for (unsigned i = 0; i < FP_PORTS_MAX; i++)
		links[i] = (struct capture_links){-1, -1};
	/* Readers of old records take none of this process for theirs. */
	session = (uint32_t)getpid() << 8;
	group = local_group();
	listener = local_listen(paths->rte_socket, SOCK_SEQPACKET, group, err);
	return listener < 0 ? listener : 0;
}

void viewers_close(const struct paths *paths)
{
	watch_set_captures(0);
	for (unsigned i = 0; i < rte.n_ports; i++)
		capture_detach(&links[i]);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (clients[i] >= 0)
			hang_up(i);
	if (listener >= 0) {
		close(listener);
		unlink(paths->rte_socket);
	}
}

void viewers_fds(struct pollfd *ret)
{
	ret[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (unsigned i = 0; i < CLIENTS; i++)
		ret[1 + i] = (struct pollfd){.fd = clients[i], .events = POLLIN};
}

void viewers_turn(const struct pollfd *fds, int64_t now)
{
	static int64_t next;

	for (unsigned i = 0; i < CLIENTS; i++)
		if (fds[1 + i].revents && clients[i] >= 0)
			serve(i);
	if (fds[0].revents)
		take_client();
	if (rte.capture.egress >= 0 && now >= next) {
		follow_captures(now);
		next = now + LOOK_MS;
	}
}
