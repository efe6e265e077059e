// SPDX-License-Identifier: BSD-3-Clause
/* fpmd's side of a feature. fpmd keeps every object that was SET (fpmd/objects.h): the shared code does idempotence, mark
 * and sweep, DUMP, refusals and parking; a feature only says what an object means for its tables.
 *
 * All calls come from one thread. They return 0 or -errno with @err filled (field name in err.hint is not used; see
 * fpm_field). A feature leaves its tables as they were when it refuses. */
#pragma once

#include "features/feature.h"
#include "fpc/fpc.h"
#include "lib/err.h"
#include "shm/quiesce.h"
#include "shm/shm.h"

struct fpm {
	const struct settings *settings;
	struct shm config;		  /* being written; published or not yet */
	const struct worker_row *workers; /* of the running fp-rte's stats file; NULL: none runs */

	/* The config file that a former fpmd left, of the same layout, read-only; NULL: there's none, or the first sync after
	 * the start is over. Look at it in set only, to give an object the row index it had (fpm_rows_get_at), so that
	 * counters in the stats file, which go by that index, stay with it. Nothing in it is to be trusted beyond that. */
	const struct shm *old;

	/* The stats file as it is now, whether fp-rte runs or not (a killed one's counters go on with the next), or NULL: there's
	 * none. Valid until the next call. NULL: there will never be one. */
	const struct shm *(*stats)(struct fpm *fpm);

	bool published; /* readers may have config mapped: what is unlinked is reused only after a quiescent point */
	bool freed; /* rows came back (fpm_rows_put): what was refused for lack of room may be tried again */

	bool changed; /* set by a feature: fp-rte's control thread is to look at its tables (struct fp_feature, look) */

	uint32_t workers_seq; /* changes whenever workers points to other ones */

	/* Brings workers up to date. False: an fp-rte runs, but its workers can't be seen yet. NULL: workers is right. */
	bool (*look)(struct fpm *fpm);
	void *look_arg;
	struct fpm_deferred *deferred; /* fpmd/rows.c's own */
};

struct fpm_apply {
	/* Bits 1 << enum feature_id: objects of this feature that are parked are tried again after a SET there. */
	uint32_t depends;

	/* Once per config file, before anything is set: finds the tables, forgets all private state. */
	int (*init)(struct fpm *fpm, struct err *err);

	/* The object @msg (whole struct, checked, zero-filled) is wanted. @old is what was applied under the same key,
	 * or NULL; it differs from @msg. @priv: one word of the feature's own that lives as long as the object.
	 * -EAGAIN: something it depends on isn't there yet: parked; packets must take the Linux path meanwhile.
	 * Any other error: refused; likewise. In both cases @old, if any, was taken back by set itself. A feature that
	 * keeps something for such an object all the same (a route marks its prefix as Linux's) leaves *@priv non-zero;
	 * it finds it there when set is tried again (@old NULL then), and del is called for it. */
	int (*set)(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv,
		   struct err *err);

	/* The object @old is no more: it was applied, or parked or refused with its priv not 0. Can't fail. */
	void (*del)(struct fpm *fpm, const void *old, uint64_t priv);
};

#define APPLY_DECLARE(name) [[gnu::weak]] extern const struct fpm_apply name##_apply;
FEATURES(APPLY_DECLARE)
#undef APPLY_DECLARE

/* Calls @free(@arg, @index) once no worker can see the row any more; at once where no worker runs. */
void fpm_defer(struct fpm *fpm, void (*free)(void *arg, uint32_t index), void *arg, uint32_t index);

/* Between two batches of messages: calls those whose time has come. True: others still wait, call again soon. */
bool fpm_defer_work(struct fpm *fpm);
/* Forgets them all without calling (the config file goes away). */
void fpm_defer_drop(struct fpm *fpm);

/* Names the field a refusal is about, for the ACK; static text. */
void fpm_field(const char *field);
/* What was named since the last call, or "". */
const char *fpm_field_take(void);

/* A table's rows given out by index, 1 to capacity - 1 (0 is "none"), with the filling counted in the directory. Rows are
 * zeroed when given out. All functions take an index that was given out, or 0 where they say so. */
struct fpm_rows {
	struct fpm *fpm;
	struct shm_table_dir *dir;
	char *rows;
	uint32_t *stack; /* indices that came back; those that are in use again are skipped */
	uint32_t n_stack;
	uint32_t next;			     /* all below were given out, reserved or stacked */
	uint64_t *used, *stacked, *reserved; /* a bit a row */
};

/* For init: may be called again for another config file. The memory is freed then, or by fpm_rows_fini. */
int fpm_rows_init(struct fpm_rows *rows, struct fpm *fpm, const char *table, struct err *err);
void fpm_rows_fini(struct fpm_rows *rows);

/* A row; 0 when full. */
uint32_t fpm_rows_get(struct fpm_rows *rows);

/* Row @index if nobody has it, else another one; 0 when full. For objects that should keep their index over a restart of
 * fpmd. So that others don't take it before: in init, reserve each row that fpm->old shows in use. */
uint32_t fpm_rows_get_at(struct fpm_rows *rows, uint32_t index);

/* fpm_rows_get gives @index out only when nothing else is left. */
void fpm_rows_reserve(struct fpm_rows *rows, uint32_t index);

/* Gives @index back at once: nobody but fpmd has seen it, or the call comes through fpm_defer. */
void fpm_rows_put(struct fpm_rows *rows, uint32_t index);

/* Gives @index back once no worker can see it any more (fpm_rows_put through fpm_defer). It must be unlinked already. */
void fpm_rows_put_later(struct fpm_rows *rows, uint32_t index);
