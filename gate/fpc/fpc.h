// SPDX-License-Identifier: BSD-3-Clause
/* FPC: the contract between those who know what Linux says (cmgrd), who know the ports (fp-rte) and fpmd, the writer
 * of the fast path's tables. Declarative objects in growable structs over a UNIX stream socket.
 *
 * A frame is a struct fpc_frame, then a body of frame.len - frame.head_len bytes:
 *
 *   HELLO       struct fpc_hello; the first frame in each direction
 *   SET         the whole wanted object (struct fpc_<feature>), key fields first; idempotent
 *   DEL         the object's key (a longer body is accepted, only the key is read); idempotent
 *   SYNC_BEGIN  marks this feature's objects stale (feature 0: all objects of the features this connection owns)
 *   SYNC_END    deletes those that no SET refreshed since
 *   DUMP        asks for all objects of a feature: answered with one SET frame an object, flags say how it stands
 *               (FPC_F_REFUSED, FPC_F_PARKED), then an ACK. Keys and other secrets are zeros in it
 *   EVENT       fpmd to client: struct fpc_event
 *   AUDIT       struct fpc_audit: are that all your objects of the feature? Refused with EILSEQ if not
 *   ACK         the answer, struct fpc_ack. Sent for every frame with FPC_F_ACK, and unasked for every error
 *
 * Integers are in host byte order, addresses as on the wire. Structs grow at the tail, and zero means "as before": a
 * body shorter than the receiver's struct is filled with zeros, a longer one is accepted only if the rest is zeros.
 * Every object struct begins with its key, and right behind the key stands `uint32_t flags`. Unknown flags are refused.
 * All of a frame is checked (fpc/check.h) before a feature sees it. */
#pragma once

#include <stdint.h>

#define FPC_VERSION   1
#define FPC_MAX_FRAME 65536 /* bytes, head included */

enum fpc_verb {
	FPC_HELLO = 1,
	FPC_SET = 2,
	FPC_DEL = 3,
	FPC_SYNC_BEGIN = 4,
	FPC_SYNC_END = 5,
	FPC_DUMP = 6,
	FPC_EVENT = 7,
	FPC_ACK = 8,
	FPC_AUDIT = 9,
};

enum fpc_frame_flags {
	FPC_F_ACK = 1 << 0, /* request: answer also when all went well */
	FPC_F_REFUSED =
		1
		<< 1, /* dump: this object isn't in the fast path; the next frame is an ACK with the reason */
	FPC_F_PARKED = 1 << 2, /* dump: waits for an object it depends on */
};

struct fpc_frame {
	uint32_t len;	   /* bytes of the frame, this head included; at most FPC_MAX_FRAME */
	uint16_t head_len; /* bytes of the head: 16; a longer head's rest is skipped */
	uint16_t feature;  /* enum feature_id (features.def), 0 where none is meant */
	uint16_t verb;	   /* enum fpc_verb */
	uint16_t flags;	   /* enum fpc_frame_flags */
	uint32_t seq;	   /* chosen by the client, copied to the answer */
};
static_assert(sizeof(struct fpc_frame) == 16);

enum fpc_role {
	FPC_ROLE_SYNC = 1,   /* cmgrd: owns all features but `port`; one at a time */
	FPC_ROLE_RTE = 2,    /* fp-rte: owns `port`; one at a time */
	FPC_ROLE_VIEWER = 3, /* only DUMP and EVENT */
};

struct fpc_hello {
	uint32_t version; /* FPC_VERSION; a higher minor doesn't exist: structs grow instead */
	uint32_t role;	  /* enum fpc_role; fpmd answers with 0 */
	char name[32];	  /* of the program, NUL-padded; for logs */
};
static_assert(sizeof(struct fpc_hello) == 40);

struct fpc_ack {
	int32_t error;	  /* positive errno, 0: done */
	uint16_t feature; /* of the request */
	uint16_t verb;
	char field[32]; /* the field of the struct that is wrong, or "" */
	char text[120]; /* one line */
};
static_assert(sizeof(struct fpc_ack) == 160);

/* What all objects of a feature come to, in any order. */
struct fpc_audit {
	uint64_t
		sum; /* of hash_bytes(0, body) of each (lib/hash.h), the body without the zeros at its end */
	uint32_t count;
	uint32_t pad;
};
static_assert(sizeof(struct fpc_audit) == 16);

enum fpc_event_kind {
	/* To fp-rte: a new config file took the old one's place, attach it (NETFPC). */
	FPC_EVENT_PUBLISHED = 1,
	/* To fp-rte: something in the config file wants its control thread. */
	FPC_EVENT_CHANGED = 2,
};

struct fpc_event {
	uint32_t kind; /* enum fpc_event_kind */
	uint32_t pad;
};
