// SPDX-License-Identifier: BSD-3-Clause
#include "lib/folder.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS                                                                                     \
	(IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF |     \
	 IN_ONLYDIR)

int folder_watch(const char *path)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int code;

	if (fd < 0)
		return -errno;
	if (inotify_add_watch(fd, path, EVENTS) >= 0)
		return fd;
	code = errno;
	close(fd);
	return -code;
}
