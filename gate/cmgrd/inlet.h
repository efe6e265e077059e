// SPDX-License-Identifier: BSD-3-Clause
/* The way in for the kinds of Netlink messages that come by the million: from the socket, cut apart, to the feature's
 * decoder in C (features/NAME/native.h), which writes into the store. What has no decoder here, and what a decoder
 * passes on, is laid aside for the caller. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define INLET_TYPES    128
#define INLET_PASS     1
#define INLET_ATTRS    48
#define INLET_DATAGRAM 65536 /* bytes; a longer one is cut off */

/* A message: the namespace it came from, its head, its payload (not aligned). */
struct inlet_message {
	uint32_t vrf;
	uint16_t type;	/* RTM_* */
	uint16_t flags; /* NLM_F_* */
	bool dumped;	/* it answers a dump that goes on */
	bool late;	/* it may be older than what the last dump of its family saw */
	const uint8_t *data;
	size_t len;
};

/* 0; INLET_PASS: not for me; -EBADMSG: malformed, @err says how; -ENOMEM. */
typedef int (*inlet_decoder)(void *state, const struct inlet_message *m, struct err *err);

/* Decoders for messages of NETLINK_ROUTE, by type. All zero: none. */
struct inlet {
	inlet_decoder decode[INLET_TYPES];
	void *state[INLET_TYPES];
	uint64_t messages; /* decoded here so far */
	uint8_t *room;	   /* for some datagrams */
	/* Messages laid aside, whole, one behind the other as in a datagram. The caller takes them by setting
	 * passed_len to 0. */
	uint8_t *passed;
	size_t passed_len, passed_size;
};

/* What was found beside messages. */
struct inlet_end {
	bool done;	    /* NLMSG_DONE: the dump is over */
	bool interrupted;   /* a message said NLM_F_DUMP_INTR */
	int code;	    /* positive errno of an NLMSG_ERROR, _DONE or _OVERRUN; ENOMEM */
	uint32_t malformed; /* messages that were left out */
	uint16_t type;	    /* of the first of them; 0: the datagram itself */
	struct err err;	    /* what was wrong with it */
};

/* @decode NULL takes it back. -EINVAL: no such type. */
int inlet_decode(struct inlet *inlet, uint16_t type, inlet_decoder decode, void *state);

/* One message, as its decoder does; INLET_PASS: it has none. */
int inlet_message(struct inlet *inlet, const struct inlet_message *m, struct err *err);

/* All messages of a datagram, up to an NLMSG_DONE or NLMSG_ERROR: @m's vrf, dumped and late hold for each. */
void inlet_datagram(struct inlet *inlet, const uint8_t *data, size_t len,
		    const struct inlet_message *m, struct inlet_end *ret);

/* Reads and handles what waits on @fd, at most @most datagrams. The number of those, or -errno of recvmmsg(2):
 * -EAGAIN: nothing there, -ENOBUFS: something was lost. @ret_cut: datagrams that were cut off. */
int inlet_read(struct inlet *inlet, int fd, unsigned most, const struct inlet_message *m,
	       unsigned *ret_cut, struct inlet_end *ret);

struct inlet *inlet_new(void);
void inlet_free(struct inlet *inlet);

/* --- for decoders */

/* An attribute's content; @data NULL: it isn't there. */
struct inlet_attr {
	const uint8_t *data;
	uint16_t len;
};

/* Reads the attributes in data[0..len) into @ret by type, the last of a type; those of a type from INLET_ATTRS on only
 * set @ret_beyond. -EBADMSG. */
int inlet_attrs(const uint8_t *data, size_t len, struct inlet_attr ret[INLET_ATTRS],
		bool *ret_beyond, struct err *err);
/* A u8, u16 or u32; 0 for one that isn't there. -EBADMSG. */
int inlet_number(struct inlet_attr attr, uint32_t *ret, struct err *err);
