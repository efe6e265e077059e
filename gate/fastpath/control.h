// SPDX-License-Identifier: BSD-3-Clause
/* The control thread while packets flow: tells fpmd of the ports, follows its config files, publishes device counters,
 * keeps TAPs and devices alike. */
#pragma once

#include "lib/err.h"
#include "lib/paths.h"
#include "shm/shm.h"

struct settings;

/* Makes or takes over the stats file: what a former fp-rte of the same layout counted goes on. *@ret_new: it was made. */
int control_open_stats(struct shm *ret, const struct paths *paths, const struct settings *settings,
		       bool *ret_new, struct err *err);

/* Waits for fpmd's config file and maps it. */
int control_open_config(struct shm *ret, const struct paths *paths, int timeout_ms,
			struct err *err);

/* Fills the port_state rows of rte.ports; before the exception thread starts. */
void control_init_ports(struct shm *stats);

/* After the workers ended: what the devices counted until then. */
void control_last_counters(void);

/* Until a signal comes on @signal_fd: 0; or until forwarding can't go on: -errno. */
int control_run(const struct paths *paths, struct shm *config, struct shm *stats, int signal_fd,
		struct err *err);
