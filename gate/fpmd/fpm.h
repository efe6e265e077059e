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
	struct shm config;                /* being written; published or not yet */
	const struct worker_row *workers; /* of the running fp-rte's stats file; NULL: none runs */
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

/* Names the field a refusal is about, for the ACK; static text. */
void fpm_field(const char *field);

/* A table's rows given out by index, 1 to capacity - 1 (0 is "none"), with the filling counted in the directory.
 * get: 0 when full. put: give back, through fpm_defer, if readers may hold it. Rows are zeroed when given out. */
struct fpm_rows {
	struct fpm *fpm;
	struct shm_table_dir *dir;
	char *rows;
	uint32_t *unused; /* stack of free indices */
	uint32_t n_unused;
	uint32_t next; /* never given out so far */
};
int fpm_rows_init(struct fpm_rows *rows, struct fpm *fpm, const char *table, struct err *err);
uint32_t fpm_rows_get(struct fpm_rows *rows);
void fpm_rows_put(struct fpm_rows *rows, uint32_t index);
