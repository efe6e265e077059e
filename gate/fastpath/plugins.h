// SPDX-License-Identifier: BSD-3-Clause
/* Loading plugins: FP_PLUGINS is a list, separated by spaces, of NAME or PATH, each with arguments behind commas. NAME stands for
 * PLUGINS_PATH/NAME.so; what has a '/' is a path. */
#pragma once

#include <stdint.h>

#include "lib/err.h"
#include "shm/shm.h"

#define PLUGINS_PATH "/usr/lib/sluice/plugins"
#define PLUGINS_MAX  16

/* Row of the stats table "plugin", in FP_PLUGINS's order. Written at start-up. */
struct plugin_row {
	char name[24]; /* "": no more; its counters' names begin with it */
	char version[16];
	char text[88];
	char path[128];
	char arguments[128]; /* cut */
	char joined[128];    /* hooks and stages it registered, separated by spaces; cut */
};
static_assert(sizeof(struct plugin_row) == 512);

/* Loads what @list (FP_PLUGINS) names and lets it check its arguments. Fills @ret with room for PLUGINS_MAX errors, one for
 * each plugin that can't be used; returns how many. Once a process; code of the plugins runs (constructors, configure). */
unsigned plugins_load(const char *list, struct err *ret);

/* What was loaded of @list, as lines for people (fp-rte --check). */
void plugins_print(const char *list);

/* Starts them in order: after fp_init, before fp_attach and before workers. And ends them, after workers. */
int plugins_start(struct err *err);
void plugins_stop(void);

/* Into the stats table "plugin"; fp_attach. */
int plugins_write(struct shm *stats, struct err *err);

/* For plugin.c. While a plugin starts: its name, "" otherwise; and what it joined. */
const char *plugins_starting(void);
void plugins_note(const char *joined);
