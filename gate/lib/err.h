// SPDX-License-Identifier: BSD-3-Clause
/* Errors on their way up: a function that fails fills one struct err and returns -errno; the boundary (main, message
 * handler) prints or sends it, once. Texts are one line, without a full stop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct err {
	int code;	/* positive errno; 0: no error */
	char text[240]; /* what is wrong, naming the object, file or value */
	char hint[200]; /* what the user can do, or "" */
};

/* Fills @err (may be NULL) and returns -@code. */
[[gnu::format(printf, 3, 4)]] int err_set(struct err *err, int code, const char *fmt, ...);

/* Adds the hint to an error that err_set filled; returns -err->code. */
[[gnu::format(printf, 2, 3)]] int err_hint(struct err *err, const char *fmt, ...);

/* Prints "NAME: error: TEXT" and, if there is one, "NAME: hint: HINT" on standard error. NAME is the program's. */
void err_print(const struct err *err);

/* For main, with getopt's own messages off (opterr = 0): prints which word of the command line it didn't take, with the
 * program's --help as the hint. Returns the exit status. */
int err_command_line(const char *word);
