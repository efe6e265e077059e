// SPDX-License-Identifier: BSD-3-Clause
/* How full fp-rte's rings and its packet memory are, for all to see. */
#pragma once

#include <stdint.h>

#define RINGS_MAX 512

enum ring_kind {
	RING_TO_LINUX = 1, /* packets that wait for the TAP of port `owner` */
	RING_FROM_LINUX,   /* packets of Linux that wait for worker `owner` */
	RING_TX,	   /* packets that wait for worker `owner`, who sends for others */
	RING_CAPTURE,	   /* copies for captures */
	RING_INTERCORE,	   /* packets that wait for worker `owner`, from another */
	RING_MEMORY,	   /* packet buffers in use */
};

/* Row of the stats table "ring"; written by fp-rte's control thread, ten times a second. */
struct ring_row {
	char name[32]; /* "": no such ring */
	uint32_t kind; /* enum ring_kind */
	uint32_t owner;
	uint32_t size;
	uint32_t used;	    /* when it was last looked at */
	uint32_t used_most; /* of those looks */
	uint32_t pad;
	uint64_t lost; /* RING_CAPTURE: copies that weren't shown */
};
static_assert(sizeof(struct ring_row) == 64);
