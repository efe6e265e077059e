// SPDX-License-Identifier: BSD-3-Clause
#include "features/ipsec/ipsec.h"

#include "features/feature.h"
#include "fpc/fpc.h"
#include "lib/settings.h"

static uint32_t sas(const struct settings *s)
{
	return setting_or(s->max_sas, 1024);
}

static uint32_t policies(const struct settings *s)
{
	return setting_or(s->max_policies, 2048);
}

/* Chains of one row on average: the next power of two. */
static uint32_t buckets(uint32_t rows)
{
	uint32_t n = 64;

	while (n < rows)
		n *= 2;
	return n;
}

static uint32_t sa_buckets(const struct settings *s)
{
	return buckets(sas(s));
}

static uint32_t policy_buckets(const struct settings *s)
{
	return buckets(policies(s));
}

static const struct feature_table config_tables[] = {
	{{"ipsec", 1, sizeof(struct ipsec_row), 1}},
	{{"ipsec_sa", 1, sizeof(struct ipsec_sa_row), 0}, sas},
	{{"ipsec_key", 1, sizeof(struct ipsec_key_row), 0}, sas},
	{{"ipsec_sa_bucket", 1, sizeof(struct ipsec_sa_bucket_row), 0}, sa_buckets},
	{{"ipsec_policy", 1, sizeof(struct ipsec_policy_row), 0}, policies},
	{{"ipsec_policy_bucket", 1, sizeof(struct ipsec_policy_bucket_row), 0}, policy_buckets},
	{{"ipsec_spd", 1, sizeof(struct ipsec_spd_row), IPSEC_SPD_ROWS}},
};

static const struct feature_table stats_tables[] = {
	{{"ipsec_sa_state", 1, sizeof(struct ipsec_sa_state_row), 0}, sas},
};

const struct feature ipsec_feature = {
	.name = "ipsec",
	.id = FEATURE_IPSEC,
	.msg_size = sizeof(struct fpc_ipsec),
	.key_size = FPC_IPSEC_KEY_SIZE,
	.known_flags = FPC_IPSEC_FLAGS,
	.owner = FPC_ROLE_SYNC,
	.secret_at = offsetof(struct fpc_ipsec, key),
	.secret_size = FPC_IPSEC_KEY_MAX + FPC_IPSEC_AUTH_KEY_MAX,
	.config_tables = config_tables,
	.n_config_tables = sizeof(config_tables) / sizeof(*config_tables),
	.stats_tables = stats_tables,
	.n_stats_tables = 1,
};
