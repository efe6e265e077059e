// SPDX-License-Identifier: BSD-3-Clause
/* The config file's life. It's built from nothing as paths.config_shm + ".new", beside the file that the last fpmd left,
 * and renamed over that
 *   - at once, if there is no such file of our layout, or no fp-rte that forwards from it;
 *   - else when it says everything: the sync of SYNC's features is complete, and that of fp-rte's.
 * A half-made update of a killed fpmd is thereby never seen by anyone but the fp-rte that reads it already. */
#pragma once

#include "fpmd/dispatch.h"
#include "lib/paths.h"

struct publish {
	const struct paths *paths;
	struct fpm *fpm;
	const struct dispatch *dispatch; /* set by the caller when there is one */
	char new_path[PATH_LEN + 8];
	struct shm old;	     /* header NULL: none */
	struct shm stats;    /* likewise */
	struct shm counters; /* likewise: the stats file, whether fp-rte lives or not */
	bool replaces;	     /* there was an old file when we started */
	bool stats_bad;	     /* logged that it can't be attached */
	bool failed;	     /* logged that it can't be published */
};

/* Makes the new file and fills @fpm. Fails, too, with -EPROTO when a living fp-rte works with another layout or other
 * settings. @p stays where it is as long as @fpm is used. */
int publish_init(struct publish *p, const struct paths *paths, struct fpm *fpm,
		 const struct settings *settings, struct err *err);

/* Publishes if it's time: true if it has just happened. */
bool publish_try(struct publish *p);

/* Unmaps; removes a file that wasn't published. */
void publish_fini(struct publish *p);
