// SPDX-License-Identifier: BSD-3-Clause
/* How important an exception is. Linux can take only so many; when there are more, those that keep neighbours, routes
 * and tunnels alive come first, for without them there is nothing left to forward.
 *
 * Which packets are the control plane's is told by features (fp_register_control, at start-up): by ethertype, IP protocol,
 * port. This file knows how to find these in a frame, and no protocol that stands behind a number. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fastpath/reasons.h"
#include "features/feature.h"

enum fp_control {
	FP_CONTROL_ETHERTYPE, /* the ethertype, behind up to two VLAN tags */
	FP_CONTROL_LLC,	      /* an 802.3 frame: destination SAP << 8 | source SAP */
	FP_CONTROL_IP,	      /* IPv4 protocol, or IPv6 next header behind extension headers */
	FP_CONTROL_ICMP6,     /* ICMPv6 type */
	FP_CONTROL_UDP,	      /* destination port */
	FP_CONTROL_UDP_ZERO,  /* destination port, and four zero bytes in front of the payload */
	FP_CONTROL_TCP,	      /* either port */
	FP_CONTROLS,
};

/* Packets of this kind are the control plane's; @value in host byte order. -EINVAL: @value is out of the kind's range. */
int fp_register_control(enum fp_control kind, uint16_t value);

/* Whether a frame is the control plane's: @len bytes from the Ethernet header on, as it came in; more of it may follow in
 * further buffers, which aren't looked at. Pure but for what was registered; reads nothing beyond @len. Fragments other
 * than the first have no ports: only their protocol counts. */
bool fp_is_control(const uint8_t *frame, size_t len);

/* The class of an exception with this reason and frame. A packet that is surely not for this host (TRANSIT in a
 * reasons.def) is never the control plane's, whatever it looks like: nobody can use up its budget from afar. */
enum fp_class fp_classify(enum reason reason, const uint8_t *frame, size_t len);
