// SPDX-License-Identifier: BSD-3-Clause
/* A client of fpmd for C programs with a loop of their own (fp-rte). Nothing here blocks:
 *
 *   client_connect; then whenever poll(2) reports client_events on client->fd, or at leisure: client_next until it
 *   returns 0. client_put queues; client_next also sends. On an error client_close, and connect again later. */
#pragma once

#include "fpc/fpc.h"
#include "fpc/frame.h"
#include "lib/err.h"

struct fpc_client {
	int fd;	      /* -1: not connected */
	bool ready;   /* fpmd's HELLO came */
	uint32_t seq; /* of the frame queued last */
	struct frame_in in;
	struct frame_out out;
};

/* A frame from fpmd. */
struct fpc_answer {
	struct fpc_frame head;
	const uint8_t *body; /* until the next call */
	size_t len;
	struct fpc_ack ack;	/* FPC_ACK: the body, filled up */
	struct fpc_event event; /* FPC_EVENT: likewise */
};

void client_init(struct fpc_client *client);

/* Connects to the socket @path and queues HELLO. -ENOENT, -ECONNREFUSED: no fpmd there yet. */
int client_connect(struct fpc_client *client, const char *path, enum fpc_role role,
		   const char *name, struct err *err);

/* Queues a frame, its number in client->seq. @body may be sent whole: zeros at its end are left out. */
int client_put(struct fpc_client *client, uint16_t verb, uint16_t feature, uint16_t flags,
	       const void *body, size_t len);

/* poll(2) events to wait for. */
short client_events(const struct fpc_client *client);

/* Sends what can be sent, and takes the next frame that came: 1; 0: none now. Fails with -ECONNRESET when fpmd hung up,
 * with the error of its ACK when it refused the HELLO, -EPROTO on nonsense. */
int client_next(struct fpc_client *client, struct fpc_answer *ret, struct err *err);

void client_close(struct fpc_client *client);
