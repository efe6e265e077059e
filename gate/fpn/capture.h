// SPDX-License-Identifier: BSD-3-Clause
/* Captures: packets that only the fast path saw are shown to packet sockets (tcpdump) on a port's TAP, as received or as
 * sent, and to nobody else.
 *
 * Copies go in through packet sockets of our own, bound to nothing, one for each direction. Small eBPF programs know them
 * by the cookie of their socket, which nobody can forge and which is never given out again:
 *
 *   sent      packet socket -> TAP's tcx egress (passes) -> taps see it as sent -> TAP's filter drops it
 *   received  packet socket -> TAP's tcx egress (redirects it to the TAP's ingress, marked)
 *                           -> taps see it as received -> TAP's tcx ingress drops what is marked
 *
 * The programs on tcx are there only while someone captures; they are links, so they go with fp-rte, and no qdisc or tc
 * filter appears in Linux. The filter of the TAP stays with it: should a copy come without the programs, it ends there.
 * Needs Linux 6.6 (tcx) and leave to load eBPF (CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN).
 *
 * Control thread, but for capture_send. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct rte_mbuf;

struct capture {
	int sent_fd, received_fd;	/* packet sockets */
	int egress, ingress, tap_drops; /* programs */
};

/* The programs on one TAP; -1: none. */
struct capture_links {
	int egress, ingress;
};

/* Sockets and programs. What fails leaves @ret closed: all fds -1. */
int capture_open(struct capture *ret, struct err *err);
void capture_close(struct capture *c);

/* Makes the TAP behind @tap_fd drop copies; @c NULL: no longer. */
int capture_guard(const struct capture *c, int tap_fd);

/* From now on copies can be shown on the TAP @ifindex. */
int capture_attach(const struct capture *c, unsigned ifindex, struct capture_links *ret,
		   struct err *err);
void capture_detach(struct capture_links *links);

/* Exception thread: shows @n copies (at most CAPTURE_BATCH), all sent or all received, on the TAPs @ifindex[]; returns how
 * many Linux took. The packets stay the caller's. */
#define CAPTURE_BATCH 32
unsigned capture_send(const struct capture *c, bool sent, struct rte_mbuf *const *pkts,
		      const unsigned *ifindex, unsigned n);

/* Which of the @n interfaces @ifindex[] (0: none) have a packet socket for all protocols on them, bit an interface; one
 * for all interfaces counts for each. @text: as /proc/net/packet. */
uint64_t capture_listeners(const char *text, const unsigned *ifindex, unsigned n);
