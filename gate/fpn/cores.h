// SPDX-License-Identifier: BSD-3-Clause
/* Core sets: which CPUs, as people write them ("1,3-5") and as programs need them. Knows no DPDK. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CORES_MAX  1024		   /* CPUs are numbered below */
#define CORES_TEXT (5 * CORES_MAX) /* bytes of any list, the NUL included */

/* Parses a list of CPU numbers and ranges below CORES_MAX into ascending @ret[CORES_MAX], each once; -EINVAL if it's none,
 * then @ret_n stays. */
int cores_parse(const char *text, uint16_t *ret, unsigned *ret_n);

/* The shortest list of the ascending @cores[@n] into @ret, cut to @size bytes; "none" if there are none. */
void cores_print(const uint16_t *cores, unsigned n, char *ret, size_t size);
