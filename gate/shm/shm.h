// SPDX-License-Identifier: BSD-3-Clause
/* Shared memory: a file of fixed-size tables behind a directory.
 *
 * An instance has two files, each with exactly one writing process, which the mapping enforces: readers map read-only.
 *   - the config file, written by fpmd: what Linux says;
 *   - the stats file, written by fp-rte: counters, hit times, port state.
 * Tables hold rows of a fixed size, addressed by index; there are no pointers. Row 0 of a config table means "none".
 *
 * A restarted fpmd builds a new config file from nothing beside the old one and renames it over that when the first
 * sync is complete; fp-rte goes on forwarding from the old memory until then and moves over while its workers pause.
 * So half-made updates of a killed fpmd are never repaired: they are thrown away.
 *
 * Memory inside a file is reused only after every worker has passed a quiescent point: see shm/quiesce.h. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "lib/err.h"

#define SHM_MAGIC      0x65636975'6c530001ULL /* "Sluice", file format 1 */
#define SHM_TABLE_NAME 24
#define SHM_MAX_TABLES 64

/* What a process expects of a table. Layout differs when name, version or row size differ. */
struct shm_table_desc {
	const char *name;
	uint32_t version;
	uint32_t row_size; /* bytes */
	uint32_t capacity; /* rows; used by shm_create, ignored by shm_attach */
};

struct shm_table_dir {
	char name[SHM_TABLE_NAME];
	uint32_t version;
	uint32_t row_size;
	uint32_t capacity;
	_Atomic uint32_t used;	    /* rows in use now */
	_Atomic uint32_t used_most; /* and at the most since creation */
	uint32_t pad;
	uint64_t offset; /* of row 0 from the start of the file, multiple of 64 */
};
static_assert(sizeof(struct shm_table_dir) == 56);

struct shm_header {
	uint64_t magic; /* written last by shm_create */
	uint64_t size;	/* of the file, bytes */
	uint32_t n_tables;
	uint32_t writer_pid;
	uint64_t created; /* CLOCK_REALTIME, nanoseconds: tells two files of one instance apart */
	_Atomic uint64_t changes; /* counts each finished change of the content */
	uint64_t pad[3];
	struct shm_table_dir dir[SHM_MAX_TABLES];
};

struct shm {
	struct shm_header *header; /* the mapping; read-only for readers */
	uint64_t ino;		   /* of the mapped file, to see that another one took its place */
	bool writable;
};

/* Creates the file @path (replacing nothing: it must not exist), all rows zero, mapped for writing. */
int shm_create(struct shm *ret, const char *path, const struct shm_table_desc *tables, unsigned n,
	       struct err *err);

/* Maps @path: -ENOENT if there is none, -EPROTO naming the first table whose layout differs from what @tables expect
 * (tables that only the file has are fine). @writable maps for writing: the file's one writer after a restart. */
int shm_attach(struct shm *ret, const char *path, bool writable,
	       const struct shm_table_desc *tables, unsigned n, struct err *err);

/* Unmaps; the file stays. */
void shm_detach(struct shm *shm);

/* Whether @path is now another file than the one mapped. */
bool shm_replaced(const struct shm *shm, const char *path);

/* The directory entry of table @name, NULL if the file has none. */
struct shm_table_dir *shm_find(const struct shm *shm, const char *name);

/* Row 0 of table @name; NULL if the file has none. Valid until shm_detach. */
void *shm_rows(const struct shm *shm, const char *name);

/* One reader or writer call for the filling counters: @delta rows more (or fewer) in use. Writer only. */
void shm_count(struct shm_table_dir *dir, int delta);
