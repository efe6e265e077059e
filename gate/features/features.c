// SPDX-License-Identifier: BSD-3-Clause
#include "features/feature.h"

#include <string.h>

#include "fastpath/plugins.h"
#include "fastpath/reasons.h"
#include "fastpath/rings.h"
#include "fastpath/trace.h"
#include "lib/settings.h"
#include "shm/quiesce.h"

#define FEATURE_ADDRESS(name) &name##_feature,
const struct feature *const features[] = {FEATURES(FEATURE_ADDRESS)};
const unsigned n_features = sizeof(features) / sizeof(features[0]);

const struct feature *feature_find(uint16_t id)
{
	for (unsigned i = 0; i < n_features; i++)
		if (features[i]->id == id)
			return features[i];
	return NULL;
}

void feature_mask(const struct feature *feature, void *body, size_t len)
{
	if (!feature || len <= feature->secret_at)
		return;
	len -= feature->secret_at;
	explicit_bzero((uint8_t *)body + feature->secret_at,
		       len < feature->secret_size ? len : feature->secret_size);
}

static unsigned add(struct shm_table_desc *ret, unsigned n, const struct feature_table *tables,
		    unsigned n_tables, const struct settings *settings)
{
	for (unsigned i = 0; i < n_tables && n < SHM_MAX_TABLES; i++) {
		ret[n] = tables[i].desc;
		if (tables[i].capacity && settings)
			ret[n].capacity = tables[i].capacity(settings);
		n++;
	}
	return n;
}

unsigned feature_config_tables(struct shm_table_desc *ret, const struct settings *settings)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_features; i++)
		n = add(ret, n, features[i]->config_tables, features[i]->n_config_tables, settings);
	return n;
}

unsigned feature_stats_tables(struct shm_table_desc *ret, const struct settings *settings)
{
	static const struct feature_table shared[] = {
		{{"worker", 1, sizeof(struct worker_row), WORKERS_MAX}},
		{{"worker_reason", 1, sizeof(struct worker_reason_row), WORKERS_MAX}},
		{{"reason", 1, sizeof(struct reason_row), REASONS_MAX}},
		{{"worker_exception", 1, sizeof(struct worker_exception_row), WORKERS_MAX}},
		{{"trace", 1, sizeof(struct trace_row), WORKERS_MAX * TRACE_ROWS}},
		{{"stage", 1, sizeof(struct stage_row), STAGES_MAX}},
		{{"plugin", 1, sizeof(struct plugin_row), PLUGINS_MAX}},
		{{"ring", 1, sizeof(struct ring_row), RINGS_MAX}},
	};
	unsigned n = add(ret, 0, shared, sizeof(shared) / sizeof(shared[0]), settings);

	for (unsigned i = 0; i < n_features; i++)
		n = add(ret, n, features[i]->stats_tables, features[i]->n_stats_tables, settings);
	return n;
}
