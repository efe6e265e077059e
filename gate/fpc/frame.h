// SPDX-License-Identifier: BSD-3-Clause
/* FPC frames on a byte stream: queueing them for sending, and finding them again in what comes in. Knows nothing of the
 * meaning of a frame, see check.h for that. */
#pragma once

#include <stddef.h>

#include "fpc/fpc.h"
#include "lib/err.h"

/* Bytes that wait to be sent. All zero: empty. */
struct frame_out {
	uint8_t *data;
	size_t start, end; /* data[start..end) waits */
	size_t size;
};

/* Queues one frame with @len bytes of body. -EMSGSIZE: longer than FPC_MAX_FRAME; -ENOMEM. */
int frame_put(struct frame_out *out, uint16_t verb, uint16_t feature, uint16_t flags, uint32_t seq,
	      const void *body, size_t len);

static inline size_t frame_out_len(const struct frame_out *out)
{
	return out->end - out->start;
}

/* @n bytes of the front were sent. */
void frame_out_sent(struct frame_out *out, size_t n);
void frame_out_free(struct frame_out *out);

/* Bytes that came in. All zero: empty. Room for two of the longest frames, so that little is moved. */
struct frame_in {
	uint8_t *data;
	size_t start, end;
};

/* Where to read the next bytes to: at least one frame's worth less what waits already, so never 0 once frame_next has
 * returned 0. NULL: no memory. */
uint8_t *frame_in_space(struct frame_in *in, size_t *ret_len);
/* @n bytes were put there. */
void frame_in_add(struct frame_in *in, size_t n);

/* The next whole frame: 1; the body is valid until frame_in_space and not aligned. 0: more bytes are needed. -EPROTO,
 * -EMSGSIZE: the head is no FPC; the stream can't be followed any more. */
int frame_next(struct frame_in *in, struct fpc_frame *ret_head, const uint8_t **ret_body,
	       size_t *ret_len, struct err *err);
void frame_in_free(struct frame_in *in);

/* Length of @body without the zeros at its end, but at least @min: as it should be sent. */
size_t frame_trim(const void *body, size_t len, size_t min);

/* "SET", ...; NULL for an unknown verb. */
const char *frame_verb_name(uint16_t verb);
