// SPDX-License-Identifier: BSD-3-Clause
/* fpn0: the device on which special exceptions come to Linux (fastpath/special.h), one in each network namespace that needs one.
 * It's a TAP that isn't persistent: it goes with fp-rte, which holds its only queue, so that nobody else can write to it. It has
 * no address, no ARP, no IPv6; the eBPF program of bpf/fptun is on its ingress before it's up, and leaves nothing to the stack
 * behind it. A second instance's in the same namespace is fpn1.
 *
 * In its namespace XFRM policies of FPTUN_MARK (priority 0, one for each of in and fwd and each family) let pass what came in
 * protected: bpf/fptun/README.md says why. They go when it goes, but for SIGKILL; without fpn0 no packet has that mark.
 *
 * Control thread, but for the fd. Needs CAP_NET_ADMIN and CAP_BPF; CAP_SYS_ADMIN for other namespaces. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct fpn0 {
	char name[IFNAMSIZ];
	unsigned ifindex;
	uint64_t netns; /* cookie; 0: this process's own */
	int fd;		/* its queue: frames behind a struct virtio_net_hdr */
	int link;	/* the program on it */
};

/* Makes one in namespace @netns. -ENODEV: there's no such namespace under /run/netns (now). */
int fpn0_open(struct fpn0 *ret, uint64_t netns, struct err *err);

/* Whether the device is still there: it may have gone with its namespace. */
bool fpn0_alive(const struct fpn0 *fpn0);

/* Puts back policies that someone flushed. */
void fpn0_repair(const struct fpn0 *fpn0);

/* All but the fd, which is the caller's: closing it removes the device. */
void fpn0_close(struct fpn0 *fpn0);

/* The program, for tests: -errno. @ret_counts: the fd of its map of counters. */
int fpn0_program(int *ret_counts);
