// SPDX-License-Identifier: BSD-3-Clause
#include "fpc/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fpc/check.h"

void client_init(struct fpc_client *client)
{
	*client = (struct fpc_client){.fd = -1};
}

int client_connect(struct fpc_client *client, const char *path, enum fpc_role role,
		   const char *name, struct err *err)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct fpc_hello hello = {.version = FPC_VERSION, .role = role};
	int fd, code;

	if (strlen(path) >= sizeof(to.sun_path))
		return err_set(err, ENAMETOOLONG, "the socket's path %s is too long", path);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	snprintf(hello.name, sizeof(hello.name), "%s", name);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "can't make a socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		code = errno;
		close(fd);
		return err_set(err, code, "can't reach fpmd at %s: %s", path, strerror(code));
	}
	client_close(client);
	client->fd = fd;
	if (client_put(client, FPC_HELLO, 0, 0, &hello, sizeof(hello))) {
		client_close(client);
		return err_set(err, ENOMEM, "no memory for the connection to fpmd");
	}
	return 0;
}

int client_put(struct fpc_client *client, uint16_t verb, uint16_t feature, uint16_t flags,
	       const void *body, size_t len)
{
	const struct feature *f = feature_find(feature);
	size_t min = verb == FPC_HELLO ? sizeof(uint32_t) * 2 : f ? f->key_size : 0;

	if (client->fd < 0)
		return -ENOTCONN;
	client->seq++;
	if (min > len)
		min = len;
	return frame_put(&client->out, verb, feature, flags, client->seq, body,
			 frame_trim(body, len, min));
}

short client_events(const struct fpc_client *client)
{
	return frame_out_len(&client->out) ? POLLIN | POLLOUT : POLLIN;
}

static int flush(struct fpc_client *client, struct err *err)
{
	while (frame_out_len(&client->out)) {
		ssize_t n = send(client->fd, client->out.data + client->out.start,
				 frame_out_len(&client->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		/* What fpmd said before it hung up is still there to be read. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
			frame_out_sent(&client->out, frame_out_len(&client->out));
			return 0;
		}
		if (n < 0)
			return err_set(err, errno, "can't send to fpmd: %s", strerror(errno));
		frame_out_sent(&client->out, (size_t)n);
	}
	return 0;
}

static int understand(struct fpc_client *client, struct fpc_answer *ret, struct err *err)
{
	switch (ret->head.verb) {
	case FPC_HELLO:
		client->ready = true;
		return 1;
	case FPC_ACK:
		if (check_grow(&ret->ack, sizeof(ret->ack), ret->body, ret->len, err))
			return -EINVAL;
		ret->ack.field[sizeof(ret->ack.field) - 1] = '\0';
		ret->ack.text[sizeof(ret->ack.text) - 1] = '\0';
		if (!client->ready && ret->ack.error > 0)
			return err_set(err, ret->ack.error, "fpmd refuses: %s", ret->ack.text);
		return 1;
	case FPC_EVENT:
		if (check_grow(&ret->event, sizeof(ret->event), ret->body, ret->len, err))
			return -EINVAL;
		return 1;
	default:
		return 1;
	}
}

int client_next(struct fpc_client *client, struct fpc_answer *ret, struct err *err)
{
	int rc;

	if (client->fd < 0)
		return err_set(err, ENOTCONN, "not connected to fpmd");
	rc = flush(client, err);
	if (rc)
		return rc;
	for (;;) {
		uint8_t *space;
		size_t room;
		ssize_t n;

		rc = frame_next(&client->in, &ret->head, &ret->body, &ret->len, err);
		if (rc < 0)
			return rc;
		if (rc)
			return understand(client, ret, err);
		space = frame_in_space(&client->in, &room);
		if (!space)
			return err_set(err, ENOMEM, "no memory for frames of fpmd");
		n = recv(client->fd, space, room, 0);
		if (n > 0)
			frame_in_add(&client->in, (size_t)n);
		else if (n == 0)
			return err_set(err, ECONNRESET, "fpmd closed the connection");
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return 0;
		else if (errno != EINTR)
			return err_set(err, errno, "can't receive from fpmd: %s", strerror(errno));
	}
}

void client_close(struct fpc_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	frame_in_free(&client->in);
	frame_out_free(&client->out);
	client_init(client);
}
