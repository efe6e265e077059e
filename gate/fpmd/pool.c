// SPDX-License-Identifier: BSD-3-Clause
#include "fpmd/pool.h"

#include <stdlib.h>
#include <string.h>

#define STEP  8
#define LARGE 256 /* from here on malloc's way of counting costs little */
#define CHUNK (64 * 1024)

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
static const bool watched = true;
#else
static const bool watched = false;
#endif

struct piece {
	struct piece *next;
};

static struct piece *waiting[LARGE / STEP];
/* What is left of the chunk that is being cut up. */
static char *chunk;
static size_t left;

void *pool_get(size_t size)
{
	size_t step = (size + STEP - 1) / STEP;
	struct piece *piece;

	if (watched || size > LARGE - STEP)
		return malloc(size);
	piece = waiting[step];
	if (piece) {
		waiting[step] = piece->next;
		return piece;
	}
	if (left < step * STEP) {
		char *fresh = malloc(CHUNK);

		if (!fresh)
			return NULL;
		/* The rest is a piece too. */
		if (left)
			pool_put(chunk, left);
		chunk = fresh;
		left = CHUNK;
	}
	left -= step * STEP;
	piece = (struct piece *)(void *)chunk;
	chunk += step * STEP;
	return piece;
}

void pool_put(void *piece, size_t size)
{
	size_t step = (size + STEP - 1) / STEP;
	struct piece *p = piece;

	if (watched || size > LARGE - STEP) {
		free(piece);
		return;
	}
	if (!p)
		return;
	p->next = waiting[step];
	waiting[step] = p;
}
