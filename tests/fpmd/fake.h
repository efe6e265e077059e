// SPDX-License-Identifier: BSD-3-Clause
/* Three features for the tests of fpmd's shared code, which write down what is asked of them:
 *
 *   base   of SYNC. value 666 is refused for good, 777 while there's no room; more[2] and more[3] are secret
 *   child  of SYNC. waits for the base object it names in `base`
 *   box    of RTE; only kept in mind */
#pragma once

#include "fpmd/dispatch.h"

enum { BASE = 21, CHILD = 22, BOX = 23 };
enum { PART_BASE, PART_CHILD, PART_BOX, N_PARTS };

struct thing {
	uint32_t id; /* key */
	uint32_t flags;
	uint32_t value;
	uint32_t base;
	uint32_t more[8];
};

extern const struct fpm_part fake_parts[N_PARTS];
/* "set base 1=5;", "set base 1=6 was 5;", "del base 1=6;": since fake_forget. */
extern char fake_log[8192];
/* Whether 777 has room. */
extern bool fake_room;
/* Objects applied, by part and id below 64. */
extern bool fake_applied[N_PARTS][64];
extern unsigned fake_sets;

void fake_forget(void);
