// SPDX-License-Identifier: BSD-3-Clause
/* The TAP that stands for a port in Linux (FPVI). It's persistent: what Linux knows of it (addresses, routes, sysctls)
 * outlives fp-rte, and the next one takes it over. It may be moved to another network namespace, and renamed: its file
 * descriptor goes on working, and the kernel says where its device is (TUNGETDEVNETNS). A namespace is named by its cookie
 * (SO_NETNS_COOKIE), which is unique from boot to boot. Nothing here keeps a namespace alive. Control thread only, but for
 * fd and ifindex. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct fpvi {
	char name[IFNAMSIZ]; /* as it was last seen */
	unsigned ifindex;    /* in its namespace */
	uint64_t netns;	     /* cookie of its namespace; 0: this process's own */
	int fd;		     /* its queue; -1: vhost has it */
	int vhost_fd;	     /* then vhost's, for questions about it; -1: unknown */
	bool is_new;	     /* made by this process */
};

/* Where a former fp-rte saw a TAP outside its own namespace; netns 0: nowhere. */
struct fpvi_place {
	uint64_t netns;
	unsigned ifindex;
	uint8_t mac[6];
};

/* Makes the TAP @name, or takes over an existing one: at @before, if it's still there (looked for in /run/netns), else in
 * this namespace. A new one gets @mac; an existing one keeps what Linux gave it. */
int fpvi_open(struct fpvi *ret, const char *name, const uint8_t mac[6], unsigned mtu,
	      const struct fpvi_place *before, struct err *err);

/* Lets go of the queue, so that virtio-user can take it. */
void fpvi_release(struct fpvi *tap);

/* undoes fpvi_open: a TAP that it made is removed. */
void fpvi_remove(struct fpvi *tap);

/* Leaves the TAP as it is to the next fp-rte. */
void fpvi_close(struct fpvi *tap);

/* vhost has the queue now: finds its file descriptor. */
void fpvi_find_vhost(struct fpvi *tap);

/* Brings name, ifindex and netns up to date, and tells what Linux set. -ENODEV: the TAP is gone; other -errno: it's in a
 * namespace that can't be entered, and ifindex is 0. */
int fpvi_look(struct fpvi *tap, unsigned *ret_mtu, uint8_t ret_mac[6]);

/* Makes the TAP's namespace this thread's, until fpvi_leave; nothing where it's this process's own. -errno. */
int fpvi_enter(const struct fpvi *tap);
void fpvi_leave(const struct fpvi *tap);

/* Makes the namespace with cookie @netns this thread's, until fpvi_leave_netns; nothing for 0. -ENODEV: there's none under
 * /run/netns; other -errno. */
int fpvi_enter_netns(uint64_t netns);
void fpvi_leave_netns(uint64_t netns);

/* Carrier as Linux sees it, for both backends. */
int fpvi_set_carrier(const struct fpvi *tap, bool up);
