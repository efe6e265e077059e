// SPDX-License-Identifier: BSD-3-Clause
#include "shm/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROW_ALIGN 64
/* Tables start on pages of their own, large ones on huge page boundaries so that MADV_HUGEPAGE can serve them. */
#define TABLE_ALIGN 4096
#define HUGE_ALIGN  (2UL << 20)

static uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

int shm_create(struct shm *ret, const char *path, const struct shm_table_desc *tables, unsigned n,
	       struct err *err)
{
	uint64_t size = align_up(sizeof(struct shm_header), TABLE_ALIGN);
	uint64_t offsets[SHM_MAX_TABLES];
	struct shm_header *h;
	struct timespec now;
	struct stat st;
	int fd, code;

	if (n > SHM_MAX_TABLES)
		return err_set(err, E2BIG, "%u tables, at most %u fit", n, SHM_MAX_TABLES);
	for (unsigned i = 0; i < n; i++) {
		uint64_t bytes = (uint64_t)tables[i].row_size * tables[i].capacity;

		size = align_up(size, bytes >= HUGE_ALIGN ? HUGE_ALIGN : TABLE_ALIGN);
		offsets[i] = size;
		size += bytes;
	}
	size = align_up(size, TABLE_ALIGN);

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(err, errno, "can't create %s: %s", path, strerror(errno));
	if (ftruncate(fd, (off_t)size) || fstat(fd, &st)) {
		code = errno;
		goto fail;
	}
	h = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (h == MAP_FAILED) {
		code = errno;
		goto fail;
	}
	close(fd);
	madvise(h, size, MADV_HUGEPAGE);

	clock_gettime(CLOCK_REALTIME, &now);
	h->size = size;
	h->n_tables = n;
	h->writer_pid = (uint32_t)getpid();
	h->created = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	for (unsigned i = 0; i < n; i++) {
		struct shm_table_dir *d = &h->dir[i];

		snprintf(d->name, sizeof(d->name), "%s", tables[i].name);
		d->version = tables[i].version;
		d->row_size = tables[i].row_size;
		d->capacity = tables[i].capacity;
		d->offset = offsets[i];
	}
	atomic_thread_fence(memory_order_release);
	h->magic = SHM_MAGIC;
	*ret = (struct shm){.header = h, .ino = st.st_ino, .writable = true};
	return 0;

fail:
	unlink(path);
	close(fd);
	return err_set(err, code, "can't make %s of %llu MiB: %s", path,
		       (unsigned long long)(size >> 20), strerror(code));
}

static int check_layout(const struct shm_header *h, const char *path,
			const struct shm_table_desc *tables, unsigned n, struct err *err)
{
	for (unsigned i = 0; i < n; i++) {
		const struct shm *shm = &(struct shm){.header = (struct shm_header *)h};
		const struct shm_table_dir *d = shm_find(shm, tables[i].name);

		if (!d) {
			err_set(err, EPROTO, "%s has no table '%s'", path, tables[i].name);
			return err_hint(err, "its writer is of another Sluice version");
		}
		if (d->version != tables[i].version || d->row_size != tables[i].row_size) {
			err_set(err, EPROTO,
				"%s: table '%s' is version %u with rows of %u bytes, expected "
				"version %u with %u",
				path, tables[i].name, d->version, d->row_size, tables[i].version,
				tables[i].row_size);
			return err_hint(err, "its writer is of another Sluice version: "
					     "restart fpmd and fp-rte of the same one");
		}
		if (d->offset % ROW_ALIGN || d->offset > h->size ||
		    (uint64_t)d->row_size * d->capacity > h->size - d->offset)
			return err_set(err, EPROTO, "%s: table '%s' lies outside the file", path,
				       d->name);
	}
	return 0;
}

int shm_attach(struct shm *ret, const char *path, bool writable,
	       const struct shm_table_desc *tables, unsigned n, struct err *err)
{
	int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	struct shm_header *h;
	struct stat st;
	int rc;

	if (fd < 0) {
		rc = err_set(err, errno, "can't open %s: %s", path, strerror(errno));
		if (rc == -ENOENT)
			err_hint(err, "is the daemon that makes it running?");
		return rc;
	}
	if (fstat(fd, &st) || (size_t)st.st_size < sizeof(*h)) {
		close(fd);
		return err_set(err, EPROTO, "%s is no Sluice shared memory: too short", path);
	}
	h = mmap(NULL, (size_t)st.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
		 MAP_SHARED, fd, 0);
	close(fd);
	if (h == MAP_FAILED)
		return err_set(err, errno, "can't map %s: %s", path, strerror(errno));
	madvise(h, (size_t)st.st_size, MADV_HUGEPAGE);

	if (h->magic != SHM_MAGIC || h->size != (uint64_t)st.st_size ||
	    h->n_tables > SHM_MAX_TABLES) {
		rc = err_set(err, EPROTO, "%s is no Sluice shared memory of this version", path);
		err_hint(err, "restart fpmd and fp-rte of the same version");
	} else {
		rc = check_layout(h, path, tables, n, err);
	}
	if (rc) {
		munmap(h, (size_t)st.st_size);
		return rc;
	}
	*ret = (struct shm){.header = h, .ino = st.st_ino, .writable = writable};
	return 0;
}

void shm_detach(struct shm *shm)
{
	if (shm->header)
		munmap(shm->header, shm->header->size);
	shm->header = NULL;
}

bool shm_replaced(const struct shm *shm, const char *path)
{
	struct stat st;

	return !stat(path, &st) && st.st_ino != shm->ino;
}

struct shm_table_dir *shm_find(const struct shm *shm, const char *name)
{
	for (unsigned i = 0; i < shm->header->n_tables; i++)
		if (!strncmp(shm->header->dir[i].name, name, SHM_TABLE_NAME))
			return &shm->header->dir[i];
	return NULL;
}

void *shm_rows(const struct shm *shm, const char *name)
{
	const struct shm_table_dir *d = shm_find(shm, name);

	return d ? (char *)shm->header + d->offset : NULL;
}

void shm_count(struct shm_table_dir *dir, int delta)
{
	uint32_t used = atomic_load_explicit(&dir->used, memory_order_relaxed) + (uint32_t)delta;

	atomic_store_explicit(&dir->used, used, memory_order_relaxed);
	if (used > atomic_load_explicit(&dir->used_most, memory_order_relaxed))
		atomic_store_explicit(&dir->used_most, used, memory_order_relaxed);
}
