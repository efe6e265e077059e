// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/system.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fpn/cores.h"

#define TUN_FLAG_TAP 0x2 /* IFF_TAP, as /sys/class/net/NAME/tun_flags shows it */

int system_read_line(const char *root, const char *path, char *ret, size_t size)
{
	char full[PATH_MAX];
	FILE *f;
	int rc = 0;

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	f = fopen(full, "re");
	if (!f)
		return -errno;
	if (!fgets(ret, (int)size, f)) {
		ret[0] = '\0';
		rc = ferror(f) ? -EIO : 0;
	}
	fclose(f);
	ret[strcspn(ret, "\n")] = '\0';
	return rc;
}

static uint64_t read_number(const char *root, const char *path)
{
	char line[64];

	return system_read_line(root, path, line, sizeof(line)) ? 0 : strtoull(line, NULL, 0);
}

static bool exists(const char *root, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", root, path);
	return !lstat(full, &st);
}

/* The last part of the link @root/@path's target, "" if it's no link. */
static void read_link_name(const char *root, const char *path, char *ret, size_t size)
{
	char full[PATH_MAX], target[PATH_MAX];
	const char *name;
	ssize_t n;

	ret[0] = '\0';
	snprintf(full, sizeof(full), "%s%s", root, path);
	n = readlink(full, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	name = strrchr(target, '/');
	snprintf(ret, size, "%.*s", (int)size - 1, name ? name + 1 : target);
}

static bool first_entry(const char *root, const char *path, char *ret, size_t size)
{
	char full[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	snprintf(full, sizeof(full), "%s%s", root, path);
	dir = opendir(full);
	if (!dir)
		return false;
	ret[0] = '\0';
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.' && (!ret[0] || strcmp(e->d_name, ret) < 0))
			snprintf(ret, size, "%.*s", (int)size - 1, e->d_name);
	closedir(dir);
	return ret[0];
}

/* Names of the folder @root/@path's entries in order; freed by the caller. */
static int list(const char *root, const char *path, struct dirent ***ret)
{
	char full[PATH_MAX];
	int n;

	snprintf(full, sizeof(full), "%s%s", root, path);
	n = scandir(full, ret, NULL, alphasort);
	if (n < 0) {
		*ret = NULL;
		return errno == ENOENT ? 0 : -errno;
	}
	return n;
}

static void free_list(struct dirent **entries, int n)
{
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
}

static void read_pci_iface(const char *root, const char *dir, struct system_pci *pci)
{
	char path[PATH_MAX];
	struct dirent **entries;
	int n;

	snprintf(path, sizeof(path), "%s/net", dir);
	if (first_entry(root, path, pci->iface, sizeof(pci->iface)))
		return;
	/* virtio-net: one level down, at .../virtio1/net/eth1 */
	n = list(root, dir, &entries);
	for (int i = 0; i < n; i++) {
		if (strncmp(entries[i]->d_name, "virtio", 6))
			continue;
		snprintf(path, sizeof(path), "%s/%s/net", dir, entries[i]->d_name);
		if (first_entry(root, path, pci->iface, sizeof(pci->iface)))
			break;
	}
	if (n > 0)
		free_list(entries, n);
}

static int read_pci(struct system *s, const char *root, struct err *err)
{
	struct dirent **entries;
	int n = list(root, "/sys/bus/pci/devices", &entries);

	if (n < 0)
		return err_set(err, -n, "can't list PCI devices: %s", strerror(-n));
	for (int i = 0; i < n && s->n_pci < SYSTEM_PCI_MAX; i++) {
		struct system_pci *pci = &s->pci[s->n_pci];
		char dir[64 + NAME_MAX], path[sizeof(dir) + 32], link[64];

		memset(pci, 0, sizeof(*pci));
		if (system_parse_pci(entries[i]->d_name, pci->address))
			continue;
		snprintf(dir, sizeof(dir), "/sys/bus/pci/devices/%s", entries[i]->d_name);
		snprintf(path, sizeof(path), "%s/class", dir);
		pci->class = (uint32_t)read_number(root, path);
		snprintf(path, sizeof(path), "%s/vendor", dir);
		pci->vendor = (uint16_t)read_number(root, path);
		snprintf(path, sizeof(path), "%s/device", dir);
		pci->device = (uint16_t)read_number(root, path);
		snprintf(path, sizeof(path), "%s/sriov_numvfs", dir);
		pci->vfs = (uint16_t)read_number(root, path);
		snprintf(path, sizeof(path), "%s/driver", dir);
		read_link_name(root, path, pci->driver, sizeof(pci->driver));
		snprintf(path, sizeof(path), "%s/iommu_group", dir);
		read_link_name(root, path, link, sizeof(link));
		pci->has_iommu = link[0];
		read_pci_iface(root, dir, pci);
		s->n_pci++;
	}
	free_list(entries, n);
	return 0;
}

static int read_ifaces(struct system *s, const char *root, struct err *err)
{
	struct dirent **entries;
	int n = list(root, "/sys/class/net", &entries);

	if (n < 0)
		return err_set(err, -n, "can't list Linux interfaces: %s", strerror(-n));
	for (int i = 0; i < n && s->n_ifaces < SYSTEM_IFACES_MAX; i++) {
		struct system_iface *iface = &s->ifaces[s->n_ifaces];
		char path[64 + NAME_MAX];

		if (entries[i]->d_name[0] == '.' || strlen(entries[i]->d_name) >= IFACE_NAME_LEN)
			continue;
		memset(iface, 0, sizeof(*iface));
		memcpy(iface->name, entries[i]->d_name, strlen(entries[i]->d_name));
		snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", iface->name);
		iface->is_tap = read_number(root, path) & TUN_FLAG_TAP;
		snprintf(path, sizeof(path), "/sys/class/net/%s/flags", iface->name);
		iface->is_up = read_number(root, path) & 1; /* IFF_UP */
		snprintf(path, sizeof(path), "/sys/class/net/%s/master", iface->name);
		iface->is_slave = exists(root, path);
		s->n_ifaces++;
	}
	free_list(entries, n);
	return 0;
}

static int read_hugepages(struct system *s, const char *root, struct err *err)
{
	static const char dir[] = "/sys/kernel/mm/hugepages";
	struct dirent **entries;
	uint64_t fallback = 0;
	int n = list(root, dir, &entries);

	if (n < 0)
		return err_set(err, -n, "can't list %s: %s", dir, strerror(-n));
	for (int i = 0; i < n; i++) {
		char path[64 + NAME_MAX];
		uint64_t size;

		if (sscanf(entries[i]->d_name, "hugepages-%" SCNu64 "kB", &size) != 1)
			continue;
		size <<= 10;
		snprintf(path, sizeof(path), "%s/%s/nr_hugepages", dir, entries[i]->d_name);
		s->huge_total += size * read_number(root, path);
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", dir, entries[i]->d_name);
		s->huge_free += size * read_number(root, path);
		if (size == 2UL << 20)
			s->huge_page = size;
		if (!fallback || size < fallback)
			fallback = size;
	}
	if (n > 0)
		free_list(entries, n);
	if (!s->huge_page)
		s->huge_page = fallback;
	return 0;
}

/* NAME=ADDRESS lines that `fp-rte --bind` wrote. */
static int read_names(struct system *s, const char *root, const char *ports_file, struct err *err)
{
	char full[PATH_MAX], line[128];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, ports_file);
	f = fopen(full, "re");
	if (!f)
		return errno == ENOENT
			       ? 0
			       : err_set(err, errno, "can't read %s: %s", full, strerror(errno));
	while (fgets(line, sizeof(line), f) && s->n_names < SYSTEM_NAMES_MAX) {
		struct system_name *name = &s->names[s->n_names];
		char *eq = strchr(line, '=');

		line[strcspn(line, "\n")] = '\0';
		if (!eq || eq - line >= IFACE_NAME_LEN || eq == line)
			continue;
		*eq = '\0';
		if (system_parse_pci(eq + 1, name->address))
			continue;
		snprintf(name->name, sizeof(name->name), "%.15s", line);
		s->n_names++;
	}
	fclose(f);
	return 0;
}

int system_read(struct system *ret, const char *root, const char *ports_file, struct err *err)
{
	char line[1024];
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = read_pci(ret, root, err);
	if (!rc)
		rc = read_ifaces(ret, root, err);
	if (!rc)
		rc = read_hugepages(ret, root, err);
	if (!rc)
		rc = read_names(ret, root, ports_file, err);
	if (rc)
		return rc;
	rc = system_read_line(root, "/sys/devices/system/cpu/online", line, sizeof(line));
	if (rc || cores_parse(line, ret->cpus, &ret->n_cpus) || !ret->n_cpus)
		return err_set(err, rc ? -rc : EINVAL, "can't tell which CPUs are online");
	ret->has_tun = exists(root, "/dev/net/tun");
	ret->has_vhost_net = exists(root, "/dev/vhost-net");
	return 0;
}

int system_own(struct system *system, struct err *err)
{
	struct ifaddrs *addresses;
	cpu_set_t allowed;
	unsigned n = 0;

	if (getifaddrs(&addresses))
		return err_set(err, errno, "can't list addresses: %s", strerror(errno));
	for (struct ifaddrs *a = addresses; a; a = a->ifa_next) {
		struct system_iface *iface =
			(struct system_iface *)system_find_iface(system, a->ifa_name);

		if (!iface || !a->ifa_addr)
			continue;
		if (a->ifa_addr->sa_family == AF_INET)
			iface->has_address = true;
		if (a->ifa_addr->sa_family == AF_INET6 &&
		    !IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)a->ifa_addr)->sin6_addr))
			iface->has_address = true;
	}
	freeifaddrs(addresses);

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 0;
	for (unsigned i = 0; i < system->n_cpus; i++)
		if (CPU_ISSET(system->cpus[i], &allowed))
			system->cpus[n++] = system->cpus[i];
	if (!n)
		return err_set(err, EINVAL, "this process may use no CPU that is online");
	system->n_cpus = n;
	return 0;
}

const struct system_pci *system_find_pci(const struct system *system, const char *address)
{
	for (unsigned i = 0; i < system->n_pci; i++)
		if (!strcmp(system->pci[i].address, address))
			return &system->pci[i];
	return NULL;
}

const struct system_iface *system_find_iface(const struct system *system, const char *name)
{
	for (unsigned i = 0; i < system->n_ifaces; i++)
		if (!strcmp(system->ifaces[i].name, name))
			return &system->ifaces[i];
	return NULL;
}

const char *system_find_name(const struct system *system, const char *address)
{
	for (unsigned i = 0; i < system->n_names; i++)
		if (!strcmp(system->names[i].address, address))
			return system->names[i].name;
	return NULL;
}

int system_parse_pci(const char *text, char ret[PCI_ADDRESS_LEN])
{
	unsigned domain = 0, bus, slot, function;
	int end = 0;

	if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 ||
	    text[end]) {
		domain = 0;
		end = 0;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) != 3 || text[end])
			return -EINVAL;
	}
	/* sscanf takes signs and spaces; an address has neither. */
	for (const char *c = text; *c; c++)
		if (!isxdigit((unsigned char)*c) && *c != ':' && *c != '.')
			return -EINVAL;
	if (domain > 0xffffff || bus > 0xff || slot > 0x1f || function > 7)
		return -EINVAL;
	snprintf(ret, PCI_ADDRESS_LEN, "%04x:%02x:%02x.%x", domain & 0xffffff, bus & 0xff,
		 slot & 0x1f, function & 7);
	return 0;
}
