// SPDX-License-Identifier: BSD-3-Clause
/* Between fpmd's two halves: SAs (ipsec_apply.c) and policies (ipsec_policy_apply.c). */
#pragma once

#include "features/ipsec/ipsec.h"
#include "fpmd/fpm.h"

int ipsec_policy_init(struct fpm *fpm, struct err *err);
int ipsec_policy_set(const struct fpc_ipsec *m, uint64_t *priv, struct err *err);
void ipsec_policy_del(const struct fpc_ipsec *m, uint64_t priv);

/* An SA came: policies may choose it. It goes: those that have it choose another one, before its row is given back. */
void ipsec_policy_sa_came(uint32_t row);
void ipsec_policy_sa_goes(uint32_t row);

/* The SA rows, up to @ret_n; free ones have generation 0. */
const struct ipsec_sa_row *ipsec_sas(uint32_t *ret_n);

/* Whether VRF @vrf has policies for forwarded packets of a family. */
void ipsec_enable_check(uint32_t vrf, uint8_t family, bool on);
