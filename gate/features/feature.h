// SPDX-License-Identifier: BSD-3-Clause
/* How a feature joins in. Shared code walks features.def and never names a feature; a feature has up to three parts,
 * each a constant in its own file, each for other programs:
 *
 *   <name>_feature   <name>.c        all programs: its FPC object and its shared memory tables (required)
 *   <name>_apply     <name>_apply.c  fpmd: what a SET or DEL does to the tables
 *   <name>_fastpath  <name>_input.c  fp-rte: its packet handlers
 */
#pragma once

#include "features_gen.h" /* FEATURES(X), enum feature_id, enum reason: made by gen.py from features.def */
#include "shm/shm.h"

struct settings;

struct feature_table {
	struct shm_table_desc desc;
	/* Capacity for these settings; NULL: desc.capacity as it stands. */
	uint32_t (*capacity)(const struct settings *settings);
};

struct feature {
	const char *name;
	uint16_t id;
	/* FPC object; size 0: the feature has none. The key stands at the front, then `uint32_t flags`. */
	uint16_t msg_size;
	uint16_t key_size;
	uint32_t known_flags;
	uint16_t owner; /* enum fpc_role that may SET it */
	/* Bytes of the object that are secret, such as keys: dumps and recordings have zeros in their place
	 * (feature_mask). Size 0: none. Not in the key. */
	uint16_t secret_at, secret_size;
	/* Tables of the config file (fpmd writes) and of the stats file (fp-rte writes). */
	const struct feature_table *config_tables;
	const struct feature_table *stats_tables;
	uint8_t n_config_tables;
	uint8_t n_stats_tables;
};

#define FEATURE_DECLARE(name) extern const struct feature name##_feature;
FEATURES(FEATURE_DECLARE)
#undef FEATURE_DECLARE

/* All features in features.def's order; feature_find: NULL for an unknown number. */
extern const struct feature *const features[];
extern const unsigned n_features;
const struct feature *feature_find(uint16_t id);

/* Zeros in place of what is secret in an object's body, the whole one or a part of it from its start. @feature NULL: nothing. */
void feature_mask(const struct feature *feature, void *body, size_t len);

/* Tables of all features, plus the shared ones in front (worker, reason, ...), with capacities for @settings
 * (NULL: capacities 0, for shm_attach). Fills @ret (room for SHM_MAX_TABLES), returns how many. */
unsigned feature_config_tables(struct shm_table_desc *ret, const struct settings *settings);
unsigned feature_stats_tables(struct shm_table_desc *ret, const struct settings *settings);
