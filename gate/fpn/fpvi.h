// SPDX-License-Identifier: BSD-3-Clause
/* The TAP that stands for a port in Linux (FPVI). It's persistent: what Linux knows of it (addresses, routes, sysctls)
 * outlives fp-rte, and the next one takes it over. Control and exception thread only. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct fpvi {
	char name[IFNAMSIZ];
	unsigned ifindex;
	int fd;	     /* its queue; -1: vhost has it */
	bool is_new; /* made by this process */
};

/* Makes the TAP @name, or takes over an existing one. A new one gets @mac; an existing one keeps what Linux gave it. */
int fpvi_open(struct fpvi *ret, const char *name, const uint8_t mac[6], unsigned mtu,
	      struct err *err);

/* Lets go of the queue, so that virtio-user can take it. */
void fpvi_release(struct fpvi *tap);

/* undoes fpvi_open: a TAP that it made is removed. */
void fpvi_remove(struct fpvi *tap);

/* Leaves the TAP as it is to the next fp-rte. */
void fpvi_close(struct fpvi *tap);

/* What Linux set; -errno. */
int fpvi_get_mtu(const struct fpvi *tap, unsigned *ret);
int fpvi_get_mac(const struct fpvi *tap, uint8_t ret[6]);
/* The index now (the TAP may have been removed and made again by another), 0: it's gone. */
unsigned fpvi_ifindex(const struct fpvi *tap);

/* Carrier as Linux sees it, for both backends. */
int fpvi_set_carrier(const struct fpvi *tap, bool up);
