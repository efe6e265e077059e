// SPDX-License-Identifier: BSD-3-Clause
#include "lib/local.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"

gid_t local_group(void)
{
	const struct group *group = getgrnam(LOCAL_GROUP);

	return group ? group->gr_gid : (gid_t)-1;
}

int local_listen(const char *path, int type, gid_t group, struct err *err)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd, code;
	mode_t mask;

	if (strlen(path) >= sizeof(at.sun_path))
		return err_set(err, ENAMETOOLONG, "the socket's path %s is too long", path);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, errno, "can't make a socket: %s", strerror(errno));
	/* We hold the instance's lock: a socket that's there is a dead one's. */
	unlink(path);
	mask = umask(0117);
	code = bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 16) ? errno : 0;
	umask(mask);
	if (code) {
		close(fd);
		return err_set(err, code, "can't listen at %s: %s", path, strerror(code));
	}
	/* Only root can, and only root need: others have their own group on it. */
	if (group != (gid_t)-1 && !geteuid() && chown(path, (uid_t)-1, group))
		log_warn("can't give %s to group " LOCAL_GROUP ": %s", path, strerror(errno));
	return fd;
}

static bool in_group(int fd, gid_t first, gid_t group)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);

	if (group == (gid_t)-1)
		return false;
	if (first == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		if (groups[i] == group)
			return true;
	return false;
}

bool local_allowed(int fd, gid_t group)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	return !cred.uid || cred.uid == geteuid() || in_group(fd, cred.gid, group);
}
