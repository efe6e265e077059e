// SPDX-License-Identifier: BSD-3-Clause
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
	if (err) {
		va_list args;

		err->code = code;
		err->hint[0] = '\0';
		va_start(args, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, args);
		va_end(args);
	}
	return -code;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return -EINVAL;
	va_start(args, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	return -err->code;
}

void err_print(const struct err *err)
{
	fprintf(stderr, "%s: error: %s\n", program_invocation_short_name, err->text);
	if (err->hint[0])
		fprintf(stderr, "%s: hint: %s\n", program_invocation_short_name, err->hint);
}

int err_command_line(const char *word)
{
	struct err err;

	err_set(&err, EINVAL, "'%s' is no option or argument, or lacks its value", word);
	err_hint(&err, "see `%s --help`", program_invocation_short_name);
	err_print(&err);
	return 1;
}
