// SPDX-License-Identifier: BSD-3-Clause
/* A process that dies tells the last calls of its threads. Built with -finstrument-functions, unlike the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fpn/track.h"

static volatile int depth;

[[gnu::noinline]] static void returns(void)
{
	depth++;
}

[[gnu::noinline]] static void breaks(void)
{
	depth++;
	abort();
}

[[gnu::noinline]] static void calls(void)
{
	returns();
	breaks();
}

/* Where @function's line with this mark stands in @text; NULL: nowhere. */
static const char *line_of(const char *text, char mark, void (*function)(void))
{
	char address[64];

	snprintf(address, sizeof(address), "[%p]", (void *)(uintptr_t)function);
	for (const char *at = strstr(text, address); at; at = strstr(at + 1, address)) {
		const char *line = at;

		while (line > text && line[-1] != '\n')
			line--;
		if (line[7] == mark)
			return line;
	}
	return NULL;
}

static void a_dying_process_tells_its_last_calls(void **state)
{
	static char text[65536];
	const char *called, *returned, *broke;
	size_t n = 0;
	int fds[2], status;
	ssize_t got;
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		for (unsigned i = 0; i < 3 * TRACK_CALLS; i++)
			returns();
		calls();
		_exit(0);
	}
	close(fds[1]);
	while ((got = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);

	assert_non_null(strstr(text, "track: thread "));
	called = line_of(text, '>', calls);
	broke = line_of(text, '>', breaks);
	assert_non_null(called);
	assert_non_null(broke);
	returned = line_of(called, '<', returns);
	assert_true(called < returned && returned < broke);
	assert_null(line_of(text, '<', breaks));
	assert_null(line_of(text, '<', calls));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_dying_process_tells_its_last_calls)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
