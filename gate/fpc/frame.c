// SPDX-License-Identifier: BSD-3-Clause
#include "fpc/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IN_SIZE (2 * FPC_MAX_FRAME)
#define OUT_MIN 4096

static int out_reserve(struct frame_out *out, size_t len)
{
	size_t used = frame_out_len(out), size = out->size ? out->size : OUT_MIN;
	uint8_t *data;

	if (out->size - out->end >= len)
		return 0;
	/* Moving costs at most as much as was sent before. */
	if (out->size - used >= len && out->start >= used) {
		memcpy(out->data, out->data + out->start, used);
		out->start = 0;
		out->end = used;
		return 0;
	}
	while (size - used < len)
		size *= 2;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	if (used)
		memcpy(data, out->data + out->start, used);
	free(out->data);
	*out = (struct frame_out){.data = data, .end = used, .size = size};
	return 0;
}

int frame_put(struct frame_out *out, uint16_t verb, uint16_t feature, uint16_t flags, uint32_t seq,
	      const void *body, size_t len)
{
	struct fpc_frame head = {
		.len = (uint32_t)(sizeof(head) + len),
		.head_len = sizeof(head),
		.feature = feature,
		.verb = verb,
		.flags = flags,
		.seq = seq,
	};

	if (len > FPC_MAX_FRAME - sizeof(head))
		return -EMSGSIZE;
	if (out_reserve(out, head.len))
		return -ENOMEM;
	memcpy(out->data + out->end, &head, sizeof(head));
	if (len)
		memcpy(out->data + out->end + sizeof(head), body, len);
	out->end += head.len;
	return 0;
}

void frame_out_sent(struct frame_out *out, size_t n)
{
	out->start += n;
	if (out->start < out->end)
		return;
	out->start = out->end = 0;
	/* A dump may have made it large. */
	if (out->size > FPC_MAX_FRAME)
		frame_out_free(out);
}

void frame_out_free(struct frame_out *out)
{
	free(out->data);
	*out = (struct frame_out){};
}

uint8_t *frame_in_space(struct frame_in *in, size_t *ret_len)
{
	if (!in->data) {
		in->data = malloc(IN_SIZE);
		if (!in->data)
			return NULL;
	}
	if (in->start == in->end) {
		in->start = in->end = 0;
	} else if (IN_SIZE - in->start < FPC_MAX_FRAME) {
		memmove(in->data, in->data + in->start, in->end - in->start);
		in->end -= in->start;
		in->start = 0;
	}
	*ret_len = IN_SIZE - in->end;
	return in->data + in->end;
}

void frame_in_add(struct frame_in *in, size_t n)
{
	in->end += n;
}

int frame_next(struct frame_in *in, struct fpc_frame *ret_head, const uint8_t **ret_body,
	       size_t *ret_len, struct err *err)
{
	size_t have = in->end - in->start;
	struct fpc_frame head;

	if (have < sizeof(head))
		return 0;
	memcpy(&head, in->data + in->start, sizeof(head));
	if (head.len > FPC_MAX_FRAME)
		return err_set(err, EMSGSIZE, "frame of %u bytes, at most %u are allowed", head.len,
			       FPC_MAX_FRAME);
	if (head.head_len < sizeof(head))
		return err_set(err, EPROTO, "frame head of %u bytes, it takes %zu", head.head_len,
			       sizeof(head));
	if (head.len < head.head_len)
		return err_set(err, EPROTO, "frame of %u bytes with a head of %u", head.len,
			       head.head_len);
	if (have < head.len)
		return 0;
	*ret_head = head;
	*ret_body = in->data + in->start + head.head_len;
	*ret_len = head.len - head.head_len;
	in->start += head.len;
	return 1;
}

void frame_in_free(struct frame_in *in)
{
	free(in->data);
	*in = (struct frame_in){};
}

size_t frame_trim(const void *body, size_t len, size_t min)
{
	const uint8_t *b = body;
	uint64_t words[8];

	/* A route's struct is 1.5 kB of zeros but for its head. */
	while (len >= min + sizeof(words)) {
		uint64_t any = 0;

		memcpy(words, b + len - sizeof(words), sizeof(words));
		for (unsigned i = 0; i < 8; i++)
			any |= words[i];
		if (any)
			break;
		len -= sizeof(words);
	}
	while (len > min && !b[len - 1])
		len--;
	return len;
}

const char *frame_verb_name(uint16_t verb)
{
	static const char *const names[] = {
		[FPC_HELLO] = "HELLO",		 [FPC_SET] = "SET",	      [FPC_DEL] = "DEL",
		[FPC_SYNC_BEGIN] = "SYNC_BEGIN", [FPC_SYNC_END] = "SYNC_END", [FPC_DUMP] = "DUMP",
		[FPC_EVENT] = "EVENT",		 [FPC_ACK] = "ACK",	      [FPC_AUDIT] = "AUDIT",
	};

	return verb < sizeof(names) / sizeof(names[0]) ? names[verb] : NULL;
}
