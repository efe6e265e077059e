// SPDX-License-Identifier: BSD-3-Clause
/* cmgrd's objects: what fpmd should have, and which of it fpmd hasn't been told yet. One thread.
 *
 * An object is an FPC body without the zeros at its end (the key is never shortened), found by feature and key. What
 * fpmd is still to be told stands in one queue, each object at most once: it's bounded by the number of objects, however
 * often they change. A deleted object stays as its key until that has been told. A full sync is no special case: each
 * object goes into the queue again (store_tell).
 *
 * Python has it through objects.py. Decoders in C (inlet.h) write into it directly, and may keep bytes of their own
 * with an object (its note), which fpmd isn't told. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fpc/frame.h"

#define STORE_FEATURES 256

struct store_object {
	struct store_object *chain;
	struct store_object *before, *after; /* in the queue */
	uint32_t hash;
	uint32_t place; /* in its feature's list */
	uint16_t len;	/* of the body */
	uint8_t note_len;
	uint8_t feature;
	uint8_t state; /* the store's */
	uint8_t mark;  /* its feature's, as it likes; 0 at first */
	uint16_t pad;
	uint8_t data[]; /* the body, then the note */
};

struct store_list {
	struct store_object **objects; /* in no order that means anything */
	uint32_t n, size;
	uint64_t sum;	   /* of the objects, as in struct fpc_audit */
	uint16_t key_size; /* 0: no such feature */
	/* Called for each object that is left when the store is freed: what its note leads to. NULL: nothing. */
	void (*drop)(struct store_object *object);
};

struct store {
	struct store_object **buckets;
	uint32_t n_buckets, n; /* n: deleted ones that wait to be told too */
	struct store_object *first, *last;
	uint32_t waiting;
	uint64_t changes;	/* effective sets and deletions so far */
	uint64_t pushed, taken; /* entries into the queue, and out of it, so far */
	bool listening;		/* changes are kept for fpmd; else a full sync comes first */
	bool failed;		/* there was no memory for something */
	/* For who looks on: each effective change as a frame, if switched on. */
	bool journal;
	struct frame_out written;
	struct store_list lists[STORE_FEATURES];
};

/* NULL: no memory. */
struct store *store_new(void);
void store_free(struct store *store);

/* @feature's objects have keys of @key_size bytes. -EINVAL: the number is none. */
int store_feature(struct store *store, uint16_t feature, uint16_t key_size);

/* NULL: not there. */
struct store_object *store_find(struct store *store, uint16_t feature, const void *key);
/* The object at @place of 0 to lists[feature].n - 1; a deletion moves the last one to its place. */
struct store_object *store_at(struct store *store, uint16_t feature, uint32_t place);
static inline const uint8_t *store_body(const struct store_object *object)
{
	return object->data;
}
static inline uint8_t *store_note(struct store_object *object)
{
	return object->data + object->len;
}

/* The object is to be as @body, with @note. 1: that changed what fpmd is to have, 0: it didn't; -ENOMEM: it is as before.
 * Objects that were found earlier may have moved then. @ret_object: may be NULL. */
int store_set(struct store *store, uint16_t feature, const void *body, size_t len, const void *note,
	      size_t note_len, struct store_object **ret_object);
/* 1: it was there. */
int store_delete(struct store *store, uint16_t feature, const void *key);

/* From now on changes are kept, or aren't any more (and what waited is forgotten). */
void store_listen(struct store *store, bool listening);
/* Every object of @feature is to be told. */
void store_tell(struct store *store, uint16_t feature);
/* Puts the next @most changes into @out as frames with the numbers @seq, @seq + 1, ..., the last one with FPC_F_ACK.
 * Returns how many. */
uint32_t store_take(struct store *store, struct frame_out *out, uint32_t most, uint32_t seq);
