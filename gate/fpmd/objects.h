// SPDX-License-Identifier: BSD-3-Clause
/* The object store: everything that was SET, whether it's in the tables or not.
 *
 *   applied   the feature took it
 *   parked    it waits for an object of another feature; tried again when one was SET there
 *   refused   the feature said no; its packets take the Linux path. Tried again when it's SET again, and, if there was no
 *             room, when rows came back
 *
 * An object is stored as its body without zeros (pack in objects.c), so a million routes don't cost what their longest form
 * would. Hashed over (feature, key); each feature's objects also hang in a list, in the order of their first SET.
 *
 * Mark and sweep: SYNC_BEGIN gives the feature a new generation number, SET writes it to the object, SYNC_END deletes
 * those with another one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "fpc/fpc.h"
#include "fpmd/fpm.h"

enum object_state { OBJECT_APPLIED, OBJECT_PARKED, OBJECT_REFUSED };
#define OBJECT_STATES 3

/* A feature and what it does. */
struct fpm_part {
	const struct feature *feature;
	const struct fpm_apply *apply; /* NULL: its objects are only kept */
};

/* All features, in features.def's order; for everyone but tests. */
extern const struct fpm_part fpm_parts[];

/* Why an object isn't applied, and its place in the queue of those that are tried again. */
struct trouble {
	struct object *object;
	struct trouble *prev, *next;
	int code; /* positive errno */
	const char *field;
	char text[120];
};

struct object {
	struct object *chain;
	struct object *prev, *next;
	struct trouble *trouble; /* NULL: applied */
	uint64_t priv;
	uint32_t hash;
	uint32_t generation;
	uint16_t len;	 /* of the body without the zeros at its end */
	uint16_t packed; /* bytes of pack */
	uint8_t part;	 /* index */
	uint8_t state;	 /* enum object_state */
	uint8_t pack[];
};

struct trouble_queue {
	struct trouble *first, *last;
	uint32_t n;
	uint32_t left;	   /* how many, from the first, are to be tried again */
	uint32_t failures; /* tries in a row that failed */
};

struct object_list {
	struct object *first, *last;
	uint32_t n[OBJECT_STATES];
	uint64_t sum; /* as in struct fpc_audit */
	uint32_t generation;
	bool syncing; /* between SYNC_BEGIN and SYNC_END */
	bool synced;  /* a SYNC_END came since the start */
	struct trouble_queue parked;
	struct trouble_queue starved; /* refused with ENOSPC */
};

/* A place in a list that stays valid when objects come and go. */
struct object_cursor {
	struct object_cursor *next;
	struct object *at; /* the next one to show; NULL: the end */
};

struct objects {
	struct fpm *fpm;
	const struct fpm_part *parts;
	unsigned n_parts;
	struct object_list *lists; /* by part */
	struct object **buckets;
	uint32_t n_buckets; /* power of two */
	uint32_t n;
	struct object_cursor *cursors;
	bool quiet;	  /* don't log refusals (tests that refuse on purpose) */
	time_t logged_at; /* CLOCK_MONOTONIC seconds: refusals logged since then, */
	unsigned logged;  /* and how many */
	/* Whole structs for calls of the features: an object's old body, the one to apply. */
	uint8_t *old_whole, *new_whole;
	uint8_t *sum_whole; /* room for the longest object */
	uint8_t *pack;	    /* room for the longest object's */
};

/* Also calls each feature's init. */
int objects_init(struct objects *o, struct fpm *fpm, const struct fpm_part *parts, unsigned n_parts,
		 struct err *err);
/* Frees the store; the tables stay as they are. */
void objects_free(struct objects *o);

/* @whole: the object as check_frame leaves it. 0: applied; -EAGAIN: parked; else: refused. @ret_field as of fpm_field. */
int objects_set(struct objects *o, unsigned part, const void *whole, const char **ret_field,
		struct err *err);
/* An unknown key is fine. */
void objects_del(struct objects *o, unsigned part, const void *key);

void objects_sync_begin(struct objects *o, unsigned part);
/* Deletes what is stale; returns how many. -EINVAL: no SYNC_BEGIN before. */
int objects_sync_end(struct objects *o, unsigned part, struct err *err);
/* Its client is gone: the marks are void, nothing is deleted. */
void objects_sync_abort(struct objects *o, unsigned part);

/* Tries objects again that have reason to hope, at most @budget. True: some are left. */
bool objects_retry(struct objects *o, unsigned budget);
/* Gives hope to those that were refused for lack of room. Each feature's are tried until STARVED_FAILURES in a row have
 * failed, those that waited longest first, so that a full table doesn't keep fpmd busy. The caller limits how often. */
#define STARVED_FAILURES 256
void objects_wake_starved(struct objects *o);

const struct object *objects_find(const struct objects *o, unsigned part, const void *key);
/* The object's whole struct, @size of its feature's msg_size. */
void object_whole(const struct objects *o, const struct object *object, void *ret, size_t size);

/* Whether @part's objects are those that @audit was made of. */
bool objects_audit(const struct objects *o, unsigned part, const struct fpc_audit *audit);

/* Registers @cursor at the first object of @part. */
void objects_cursor(struct objects *o, struct object_cursor *cursor, unsigned part);
/* The next object, NULL at the end. */
const struct object *objects_cursor_next(struct object_cursor *cursor);
void objects_cursor_close(struct objects *o, struct object_cursor *cursor);

/* Index of the part with feature number @id, -1: none. */
int objects_part(const struct objects *o, uint16_t id);
