// SPDX-License-Identifier: BSD-3-Clause
/* Small pieces of memory in great number, one thread: sizes go up in steps of 8 bytes and there is nothing between two
 * pieces, which malloc can't say (of 24 bytes it takes 32, of 76 it takes 96). What is given back waits for the next piece
 * of that size; the process keeps it. Where AddressSanitizer watches it's malloc and free. */
#pragma once

#include <stddef.h>

/* A piece of @size bytes, not cleared; NULL: no memory. */
void *pool_get(size_t size);
/* Gives back @piece of @size bytes, as asked for. */
void pool_put(void *piece, size_t size);
