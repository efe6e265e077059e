// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/lock.h"
#include "lib/log.h"

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int rc;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	rc = n < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static bool driver_there(const char *driver)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s", driver);
	return !stat(path, &st);
}

static int load_driver(const char *driver, struct err *err)
{
	int status = -1;
	pid_t child;

	if (driver_there(driver))
		return 0;
	child = fork();
	if (!child) {
		execlp("modprobe", "modprobe", "-q", driver, NULL);
		_exit(127);
	}
	if (child > 0)
		waitpid(child, &status, 0);
	if (driver_there(driver))
		return 0;
	err_set(err, ENODEV, "can't load the kernel module %s", driver);
	return err_hint(err,
			status == 0 ? "the module is loaded, but drives no PCI device"
			: !strcmp(driver, "vfio-pci")
				? "the kernel lacks it"
				: "the kernel lacks it; vfio-pci needs an IOMMU (intel_iommu=on)");
}

static void current_driver(const char *address, char *ret, size_t size)
{
	char path[96], target[256];
	const char *name;
	ssize_t n;

	ret[0] = '\0';
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", address);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	name = strrchr(target, '/');
	snprintf(ret, size, "%.63s", name ? name + 1 : target);
}

/* Binds @address to @driver; "": to whichever driver of the kernel wants it. */
static int bind_to(const char *address, const char *driver)
{
	char path[128], now[64], text[64];
	int rc;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", address);
	snprintf(text, sizeof(text), "%s\n", driver);
	rc = write_file(path, text);
	if (rc)
		return rc;
	current_driver(address, now, sizeof(now));
	if (now[0]) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", address);
		rc = write_file(path, address);
		if (rc)
			return rc;
	}
	rc = write_file("/sys/bus/pci/drivers_probe", address);
	current_driver(address, now, sizeof(now));
	if (driver[0] ? strcmp(now, driver) : !now[0])
		return rc ? rc : -ENODEV;
	return 0;
}

static int bind_port(const struct plan_port *port, struct err *err)
{
	int rc = bind_to(port->device, port->driver);

	if (!rc)
		return 0;
	if (bind_to(port->device, ""))
		log_warn("%s is left without a driver", port->device);
	err_set(err, -rc, "port %s: can't bind %s to %s: %s", port->name, port->device,
		port->driver, strerror(-rc));
	return err_hint(err, "`dmesg` may tell why; it's back with the kernel's driver");
}

/* Names of former ports stay: a port that leaves FP_PORTS and comes back has its name again. */
static int remember(const struct plan *plan, const struct system *system, const struct paths *paths,
		    struct err *err)
{
	char path[PATH_LEN + 8];
	bool failed;
	FILE *f;

	snprintf(path, sizeof(path), "%s.new", paths->ports_file);
	f = fopen(path, "we");
	if (!f)
		return err_set(err, errno, "can't write %s: %s", path, strerror(errno));
	for (unsigned i = 0; i < plan->n_pci; i++)
		fprintf(f, "%s=%s\n", plan->ports[i].name, plan->ports[i].device);
	for (unsigned i = 0; i < system->n_names; i++) {
		bool planned = false;

		for (unsigned j = 0; j < plan->n_pci; j++)
			planned |= !strcmp(plan->ports[j].device, system->names[i].address);
		if (!planned)
			fprintf(f, "%s=%s\n", system->names[i].name, system->names[i].address);
	}
	failed = ferror(f);
	failed |= fclose(f) != 0;
	if (failed || chmod(path, 0644) || rename(path, paths->ports_file)) {
		int code = errno;

		unlink(path);
		return err_set(err, code, "can't write %s: %s", paths->ports_file, strerror(code));
	}
	return 0;
}

static int reserve(const struct plan *plan, const struct system *system, struct err *err)
{
	char path[128], line[32], text[32];
	uint64_t pages = plan->huge_missing / system->huge_page, before, after;
	int rc;

	if (!plan->huge_missing)
		return 0;
	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%lukB/nr_hugepages",
		 system->huge_page >> 10);
	rc = system_read_line("", path, line, sizeof(line));
	before = strtoull(line, NULL, 10);
	snprintf(text, sizeof(text), "%lu", before + pages);
	if (!rc)
		rc = write_file(path, text);
	if (!rc)
		rc = system_read_line("", path, line, sizeof(line));
	if (rc) {
		err_set(err, -rc, "can't reserve huge pages: %s", strerror(-rc));
		return err_hint(err, "run as root");
	}
	after = strtoull(line, NULL, 10);
	if (after < before + pages) {
		snprintf(text, sizeof(text), "%lu", before);
		write_file(path, text);
		err_set(err, ENOMEM, "too few huge pages: %lu MiB needed, memory for %lu found",
			pages * (system->huge_page >> 20),
			(after - before) * (system->huge_page >> 20));
		return err_hint(err,
				"reserve them at boot (hugepages=%lu on the kernel's command "
				"line), or give fewer FP_MBUFS",
				before + pages);
	}
	log_info("%lu huge pages of %lu KiB reserved", pages, system->huge_page >> 10);
	return 0;
}

int bind_ports(const struct plan *plan, const struct system *system, const struct paths *paths,
	       struct err *err)
{
	unsigned done;
	int rc = 0;

	/* A running fast path has the pages it needs; those it took aren't free, and that's no lack. */
	if (plan->hugepages && !lock_held(paths->rte_lock))
		rc = reserve(plan, system, err);
	for (unsigned i = 0; i < plan->n_pci && !rc; i++)
		if (strcmp(plan->ports[i].bound, plan->ports[i].driver))
			rc = load_driver(plan->ports[i].driver, err);
	if (!rc && plan->n_pci)
		rc = remember(plan, system, paths, err);
	if (rc)
		return rc;
	for (done = 0; done < plan->n_pci; done++) {
		const struct plan_port *port = &plan->ports[done];

		if (!strcmp(port->bound, port->driver))
			continue;
		rc = bind_port(port, err);
		if (rc)
			break;
		log_info("port %s: %s bound to %s", port->name, port->device, port->driver);
	}
	for (unsigned i = 0; rc && i < done; i++)
		if (strcmp(plan->ports[i].bound, plan->ports[i].driver))
			bind_to(plan->ports[i].device, "");
	return rc;
}
