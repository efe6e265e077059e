// SPDX-License-Identifier: BSD-3-Clause
#include "lib/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* lock_held takes the lock for a moment: whoever wants it for good tries for longer than that. */
#define TRIES  20
#define TRY_NS 5000000

int lock_take(const char *path, const char *what, const char *instance, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644), code;
	char pid[24] = "";
	ssize_t n;

	if (fd < 0)
		return err_set(err, errno, "can't open %s: %s", path, strerror(errno));
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (errno == EWOULDBLOCK && i < TRIES) {
			nanosleep(&(struct timespec){.tv_nsec = TRY_NS}, NULL);
			continue;
		}
		code = errno;
		n = read(fd, pid, sizeof(pid) - 1);
		pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
		close(fd);
		if (code != EWOULDBLOCK)
			return err_set(err, code, "can't lock %s: %s", path, strerror(code));
		err_set(err, EBUSY, "another %s runs for instance '%s'%s%s", what, instance,
			pid[0] ? ", process " : "", pid);
		return err_hint(err, "stop it, or choose another --instance");
	}
	n = snprintf(pid, sizeof(pid), "%d\n", getpid());
	/* For people only. */
	if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n)
		return err_set(err, errno, "can't write %s: %s", path, strerror(errno));
	return 0; /* fd stays open */
}

bool lock_held(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool held;

	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return held;
}
