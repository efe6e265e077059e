// SPDX-License-Identifier: BSD-3-Clause
#include "fpmd/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/lock.h"
#include "lib/log.h"

static bool rte_lives(const struct publish *p)
{
	if (p->dispatch && dispatch_role(p->dispatch, FPC_ROLE_RTE))
		return true;
	return lock_held(p->paths->rte_lock);
}

static int attach_stats(struct publish *p, struct err *err)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n = feature_stats_tables(tables, NULL);
	int rc = shm_attach(&p->stats, p->paths->stats_shm, false, tables, n, err);

	if (rc)
		return rc;
	p->fpm->workers = shm_rows(&p->stats, "worker");
	p->fpm->workers_seq++;
	return 0;
}

static void detach_stats(struct publish *p)
{
	p->fpm->workers = NULL;
	shm_detach(&p->stats);
}

/* fpm->look: which fp-rte's workers may hold rows? */
static bool look(struct fpm *fpm)
{
	struct publish *p = fpm->look_arg;
	struct err err;
	int rc;

	if (!rte_lives(p)) {
		detach_stats(p);
		return true;
	}
	if (p->stats.header && shm_replaced(&p->stats, p->paths->stats_shm))
		detach_stats(p);
	if (p->stats.header)
		return true;
	rc = attach_stats(p, &err);
	/* It's starting. */
	if (rc == -ENOENT)
		return false;
	if (rc && !p->stats_bad)
		log_err("nothing can be reused while this fp-rte runs: %s", err.text);
	p->stats_bad = rc != 0;
	return !rc;
}

/* fpm->stats. A mapping of its own: look drops its one when fp-rte dies. */
static const struct shm *counters(struct fpm *fpm)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	struct publish *p = fpm->look_arg;
	unsigned n = feature_stats_tables(tables, NULL);

	if (p->counters.header && shm_replaced(&p->counters, p->paths->stats_shm))
		shm_detach(&p->counters);
	if (!p->counters.header &&
	    shm_attach(&p->counters, p->paths->stats_shm, false, tables, n, NULL))
		return NULL;
	return &p->counters;
}

/* A living fp-rte sized its tables by the settings it read; ours must be the same. */
static int check_stats(const struct publish *p, const struct settings *settings, struct err *err)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n = feature_stats_tables(tables, settings);

	for (unsigned i = 0; i < n; i++) {
		const struct shm_table_dir *d = shm_find(&p->stats, tables[i].name);

		if (d->capacity == tables[i].capacity)
			continue;
		err_set(err, EPROTO,
			"the running fp-rte has %u rows in table '%s', the settings say %u",
			d->capacity, tables[i].name, tables[i].capacity);
		return err_hint(err, "the settings were changed: restart fp-rte too");
	}
	return 0;
}

/* What a former fpmd and a living fp-rte left. */
static int survey(struct publish *p, const struct settings *settings, struct err *err)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n = feature_config_tables(tables, NULL);
	bool lives = rte_lives(p);
	int rc;

	rc = shm_attach(&p->old, p->paths->config_shm, false, tables, n, err);
	if (rc && rc != -ENOENT) {
		if (lives)
			return rc;
		log_info("replacing what another version left: %s", err->text);
	}
	if (!lives)
		return 0;
	rc = attach_stats(p, err);
	if (!rc)
		rc = check_stats(p, settings, err);
	/* It's starting. */
	return rc == -ENOENT ? 0 : rc;
}

int publish_init(struct publish *p, const struct paths *paths, struct fpm *fpm,
		 const struct settings *settings, struct err *err)
{
	struct shm_table_desc tables[SHM_MAX_TABLES];
	unsigned n = feature_config_tables(tables, settings);
	int rc;

	*p = (struct publish){.paths = paths, .fpm = fpm};
	*fpm = (struct fpm){.settings = settings, .look = look, .look_arg = p, .stats = counters};
	snprintf(p->new_path, sizeof(p->new_path), "%s.new", paths->config_shm);
	rc = survey(p, settings, err);
	if (rc)
		goto fail;
	if (unlink(p->new_path) && errno != ENOENT) {
		rc = err_set(err, errno, "can't remove %s: %s", p->new_path, strerror(errno));
		goto fail;
	}
	rc = shm_create(&fpm->config, p->new_path, tables, n, err);
	if (rc)
		goto fail;
	p->replaces = p->old.header != NULL;
	if (p->replaces)
		fpm->old = &p->old;
	return 0;

fail:
	detach_stats(p);
	shm_detach(&p->old);
	return rc;
}

static bool complete(const struct publish *p)
{
	return dispatch_synced(p->dispatch, FPC_ROLE_SYNC) &&
	       dispatch_synced(p->dispatch, FPC_ROLE_RTE);
}

bool publish_try(struct publish *p)
{
	if (p->fpm->published) {
		if (p->old.header && dispatch_synced(p->dispatch, FPC_ROLE_SYNC)) {
			p->fpm->old = NULL;
			shm_detach(&p->old);
		}
		return false;
	}
	if (p->replaces && !complete(p) && rte_lives(p))
		return false;
	if (rename(p->new_path, p->paths->config_shm)) {
		if (!p->failed)
			log_err("can't publish %s: %s", p->paths->config_shm, strerror(errno));
		p->failed = true;
		return false;
	}
	p->fpm->published = true;
	log_info("published %s", p->paths->config_shm);
	return true;
}

void publish_fini(struct publish *p)
{
	if (p->fpm->config.header && !p->fpm->published)
		unlink(p->new_path);
	fpm_defer_drop(p->fpm);
	detach_stats(p);
	shm_detach(&p->counters);
	shm_detach(&p->old);
	shm_detach(&p->fpm->config);
}
