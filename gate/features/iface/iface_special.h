// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastpath/fp.h"

/* fp_hooks.special_frame. */
enum reason iface_special_frame(struct rte_mbuf *m, uint32_t *ret_vrf);
