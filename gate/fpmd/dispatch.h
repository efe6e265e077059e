// SPDX-License-Identifier: BSD-3-Clause
/* FPC conversations without sockets: bytes in, answer bytes out. fpmd's main loop moves the bytes; the packet harness and
 * the unit tests call it directly:
 *
 *   struct peer *peer = dispatch_peer(d);           one a connection
 *   dispatch_bytes(d, peer, bytes, len);            any pieces
 *   dispatch_work(d);                               what was put off
 *   ... peer->out.data + peer->out.start, frame_out_len(&peer->out) ...
 *   dispatch_close(d, peer);
 *
 * A peer's answers are bounded: while more than PEER_OUT_MAX bytes wait or a dump isn't through, its further frames stay
 * where they are (peer_blocked), so that a client that doesn't read stops only itself. */
#pragma once

#include <sys/types.h>

#include "fpc/frame.h"
#include "fpc/record.h"
#include "fpmd/objects.h"

#define PEER_OUT_MAX (256 * 1024)

struct peer {
	struct peer *next;
	uint32_t id;   /* counts up, for logs and the recording */
	uint32_t role; /* enum fpc_role; 0: no HELLO yet */
	char name[32];
	bool closing; /* said something unbearable: close it once out is sent */
	struct frame_in in;
	struct frame_out out;
	uint32_t events; /* 1 << enum fpc_event_kind: to be told when there is room */
	bool dumping;
	bool dump_all; /* of every feature, from dump_part on */
	unsigned dump_part;
	uint16_t dump_feature;
	uint32_t dump_seq;
	struct object_cursor dump;
	void *user; /* the caller's */
};

struct dispatch {
	struct fpm *fpm;
	struct objects objects;
	struct peer *peers;
	uint32_t last_id;
	uint64_t
		starved_at; /* when objects_wake_starved was called last, CLOCK_MONOTONIC milliseconds */
	int wait;	    /* of the last dispatch_work with deferred calls left */
	struct record *record; /* NULL: none */
	/* Whether @peer's other end is still there; asked before its role is denied to another. NULL: yes. */
	bool (*alive)(struct peer *peer);
	uint8_t *whole; /* the frame's struct, as check_frame fills it */
};

/* @fpm->config is there and empty. @parts: fpm_parts and n_features, except in tests. */
int dispatch_init(struct dispatch *d, struct fpm *fpm, const struct fpm_part *parts,
		  unsigned n_parts, struct err *err);
void dispatch_free(struct dispatch *d);

/* A new conversation; NULL: no memory. */
struct peer *dispatch_peer(struct dispatch *d);
/* It's over; frees @peer. State stays. */
void dispatch_close(struct dispatch *d, struct peer *peer);

/* Handles the frames that stand in peer->in, until it's empty or blocked. */
void dispatch_frames(struct dispatch *d, struct peer *peer);
/* Puts @bytes into peer->in and handles them. Returns how many were taken: fewer than @len when peer->out is full, read it
 * then and call dispatch_drained; or -ENOMEM. */
ssize_t dispatch_bytes(struct dispatch *d, struct peer *peer, const void *bytes, size_t len);

/* Some of peer->out was sent: goes on with its dump, its frames, its events. */
void dispatch_drained(struct dispatch *d, struct peer *peer);

/* No more input is wanted from @peer now. */
bool peer_blocked(const struct peer *peer);

/* After a batch of input: retries, events, deferred calls. Returns after how many milliseconds to call again at the
 * latest, -1: not before the next input. */
int dispatch_work(struct dispatch *d);

/* Answers @code with @text and has @peer closed: it may not talk here. */
void dispatch_refuse(struct dispatch *d, struct peer *peer, int code, const char *text);

/* Queues an event for all peers of @role. */
void dispatch_event(struct dispatch *d, enum fpc_role role, enum fpc_event_kind kind);

/* Whether each feature that @role owns had a SYNC_END since the start. */
bool dispatch_synced(const struct dispatch *d, enum fpc_role role);
/* The peer with @role, NULL: none. */
struct peer *dispatch_role(const struct dispatch *d, enum fpc_role role);
