// SPDX-License-Identifier: BSD-3-Clause
#include "lib/paths.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= INSTANCE_NAME_MAX)
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return false;
	return true;
}

int paths_init(struct paths *ret, const char *instance, struct err *err)
{
	struct paths p;

	if (!name_ok(instance)) {
		err_set(err, EINVAL, "'%s' is no instance name", instance);
		return err_hint(err, "use 1 to %d letters, digits, '-' or '_'",
				INSTANCE_NAME_MAX - 1);
	}
	snprintf(p.instance, sizeof(p.instance), "%s", instance);
	snprintf(p.run_dir, PATH_LEN, "/run/sluice/%s", instance);
	snprintf(p.fpc_socket, PATH_LEN, "/run/sluice/%s/fpc.sock", instance);
	snprintf(p.rte_socket, PATH_LEN, "/run/sluice/%s/rte.sock", instance);
	snprintf(p.rte_lock, PATH_LEN, "/run/sluice/%s/fp-rte.lock", instance);
	snprintf(p.fpmd_lock, PATH_LEN, "/run/sluice/%s/fpmd.lock", instance);
	snprintf(p.ports_file, PATH_LEN, "/run/sluice/%s/ports", instance);
	snprintf(p.config_shm, PATH_LEN, "/dev/shm/sluice.%s", instance);
	snprintf(p.stats_shm, PATH_LEN, "/dev/shm/sluice.%s.stats", instance);

	if ((mkdir("/run/sluice", 0755) && errno != EEXIST) ||
	    (mkdir(p.run_dir, 0755) && errno != EEXIST)) {
		int code = errno;

		err_set(err, code, "can't make %s: %s", p.run_dir, strerror(code));
		return err_hint(err, "run as root, or let systemd-tmpfiles make it");
	}
	*ret = p;
	return 0;
}
