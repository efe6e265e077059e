// SPDX-License-Identifier: BSD-3-Clause
/* Any bytes, in two pieces cut at any place, must decode and check without harm and to the same frames as in one piece. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fpc/check.h"
#include "fpc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	unsigned frames, good;
	int end;
	size_t bytes;
};

static void take(struct frame_in *in, struct outcome *o)
{
	static _Alignas(64) uint8_t whole[FPC_MAX_BODY];
	struct fpc_frame head;
	const uint8_t *body;
	struct err err;
	size_t len;

	while ((o->end = frame_next(in, &head, &body, &len, &err)) > 0) {
		const struct feature *feature = feature_find(head.feature);
		const char *field = NULL;
		/* An own copy at its exact size: reading beyond it is seen. */
		uint8_t *copy = malloc(len ? len : 1);
		int rc;

		memcpy(copy, body, len);
		rc = check_frame(&head, copy, len, feature, whole, &field, &err);
		assert(rc <= 0 && field);
		o->good += !rc;
		o->frames++;
		o->bytes += len;
		free(copy);
	}
}

static struct outcome run(const uint8_t *data, size_t size, size_t cut)
{
	struct frame_in in = {};
	struct outcome o = {};

	while (size) {
		size_t room, n = cut && cut < size ? cut : size;
		uint8_t *space = frame_in_space(&in, &room);

		assert(space && room);
		if (n > room)
			n = room;
		memcpy(space, data, n);
		frame_in_add(&in, n);
		data += n;
		size -= n;
		take(&in, &o);
		if (o.end < 0)
			break;
	}
	frame_in_free(&in);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome one, two;

	if (size < 2)
		return 0;
	one = run(data + 1, size - 1, 0);
	two = run(data + 1, size - 1, data[0]);
	assert(one.frames == two.frames && one.good == two.good && one.bytes == two.bytes &&
	       one.end == two.end);
	return 0;
}
