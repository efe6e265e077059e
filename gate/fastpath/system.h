// SPDX-License-Identifier: BSD-3-Clause
/* What a machine offers to a fast path, read once from sysfs and /proc. Everything is read below a root path, so that
 * tests can lay out machines as folders. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fpn/cores.h"
#include "lib/err.h"

#define SYSTEM_PCI_MAX	  512
#define SYSTEM_IFACES_MAX 2048
#define SYSTEM_CPUS_MAX	  CORES_MAX
#define SYSTEM_NAMES_MAX  64
#define PCI_ADDRESS_LEN	  16 /* "0000:00:04.0" and a NUL; domains may have more digits */
#define IFACE_NAME_LEN	  16 /* IFNAMSIZ */

struct system_pci {
	char address[PCI_ADDRESS_LEN];
	uint16_t vendor, device;
	uint32_t class;		    /* base class, subclass, interface: 0x020000 is Ethernet */
	char driver[32];	    /* kernel driver it's bound to, "" for none */
	char iface[IFACE_NAME_LEN]; /* its interface in Linux, "" for none */
	bool has_iommu;		    /* is in an IOMMU group */
	uint16_t vfs;		    /* SR-IOV virtual functions made from it */
};

struct system_iface {
	char name[IFACE_NAME_LEN];
	bool is_tap;
	bool is_up;
	bool is_slave;
	bool has_address; /* an IPv4 or IPv6 address other than link-local; set by system_addresses */
};

struct system_name {
	char name[IFACE_NAME_LEN];
	char address[PCI_ADDRESS_LEN];
};

struct system {
	struct system_pci pci[SYSTEM_PCI_MAX]; /* all PCI devices, in order of address */
	struct system_iface ifaces[SYSTEM_IFACES_MAX];
	struct system_name
		names[SYSTEM_NAMES_MAX]; /* of ports that were bound, from the ports file */
	uint16_t cpus[SYSTEM_CPUS_MAX];	 /* online, ascending */
	unsigned n_pci, n_ifaces, n_names, n_cpus;
	uint64_t huge_page;		/* bytes of a default huge page; 0: none supported */
	uint64_t huge_total, huge_free; /* bytes in pages of all sizes */
	bool has_tun, has_vhost_net;
};

/* Reads the machine below @root ("" for this one). @ports_file (a path below @root) may be missing. */
int system_read(struct system *ret, const char *root, const char *ports_file, struct err *err);

/* This machine only: marks interfaces with addresses, and leaves only CPUs that this process may use. */
int system_own(struct system *system, struct err *err);

const struct system_pci *system_find_pci(const struct system *system, const char *address);
const struct system_iface *system_find_iface(const struct system *system, const char *name);
/* Of the remembered names, the one for @address; NULL: none. */
const char *system_find_name(const struct system *system, const char *address);

/* The "0000:00:04.0" of "00:04.0" or "0000:00:04.0", lower case; -EINVAL if @text is no PCI address. */
int system_parse_pci(const char *text, char ret[PCI_ADDRESS_LEN]);

/* Reads one line of the file @root/@path without its newline; -errno. */
int system_read_line(const char *root, const char *path, char *ret, size_t size);
