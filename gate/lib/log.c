// SPDX-License-Identifier: BSD-3-Clause
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int level = LOG_INFO;

void log_set_level(int priority)
{
	level = priority;
}

void log_at(int priority, const char *fmt, ...)
{
	char line[512];
	va_list args;

	if (priority > level)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	/* Only journald wants the prefix; a person at a terminal doesn't. */
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "<%d>%s\n", priority, line);
	else
		fprintf(stderr, "%s\n", line);
}
