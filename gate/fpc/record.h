// SPDX-License-Identifier: BSD-3-Clause
/* Recording of FPC as JSON lines, one a frame:
 *
 *   {"time": 12.345678, "conn": 1, "name": "cmgrd", "dir": "in", "seq": 7, "verb": "SET", "feature": "iface",
 *    "flags": 1, "body": "00000000..."}
 *
 * time: CLOCK_MONOTONIC seconds; dir: in (to fpmd) or out; body: hex, as sent but for secrets, which are zeros
 * (feature_mask). sluice.fpc.record reads and replays it. */
#pragma once

#include <stddef.h>

#include "fpc/fpc.h"
#include "lib/err.h"

struct feature;
struct record;

/* Appends to @path. */
int record_open(struct record **ret, const char *path, struct err *err);
/* @feature: the one that @head names, NULL: none. @record NULL: nothing. */
void record_frame(struct record *record, uint32_t conn, const char *name, const char *dir,
		  const struct fpc_frame *head, const struct feature *feature, const void *body,
		  size_t len);
void record_close(struct record *record);
