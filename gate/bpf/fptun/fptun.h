/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* FPTUN: what stands behind each packet that the fast path writes to fpn0, and tells the eBPF program there where Linux
 * shall go on. A frame on fpn0 is
 *
 *   Ethernet header (its ethertype says IPv4 or IPv6), the packet, anything, struct fptun_trailer
 *
 * Whoever could write such frames could get past IPsec policies, so only the fast path can: fpn0 has one queue, which fp-rte
 * holds, no address and no ARP, and the program is on fpn0 alone. On any other device a trailer is just some bytes. */
#pragma once

#include <linux/types.h>

#define FPTUN_MAGIC   0x4650544eU /* "FPTN" */
#define FPTUN_VERSION 1

/* Where Linux goes on. */
enum fptun_type {
	FPTUN_RECEIVED = 1, /* interface `ifindex` has received the packet */
};

enum fptun_flags {
	/* The packet came in protected, and as inbound policies (of the SA's kind: in, fwd) want it: it passes Linux's check of
	 * these. Then only the bits of `mark` outside FPTUN_MARK_MASK may be set. */
	FPTUN_IPSEC = 1 << 0,
};
#define FPTUN_FLAGS 0x01

/* The mark of a packet with FPTUN_IPSEC is that of its trailer, and this value in the upper bits. XFRM policies of that mark
 * allow it: gate/bpf/fptun/README.md. */
#define FPTUN_MARK	0xfb000000U
#define FPTUN_MARK_MASK 0xff000000U

/* All fields in network byte order; no padding is needed at the front: the trailer may start anywhere. */
struct fptun_trailer {
	__be32 magic;	/* FPTUN_MAGIC */
	__u8 version;	/* FPTUN_VERSION; another one: the packet is dropped */
	__u8 type;	/* enum fptun_type */
	__u8 flags;	/* enum fptun_flags; unknown ones: dropped */
	__u8 pad;	/* 0 */
	__be32 vrf;	/* the fast path's number of fpn0's namespace, for people */
	__be32 ifindex; /* of the interface, in fpn0's namespace */
	__be32 mark;	/* of the packet (skb->mark) */
};
#define FPTUN_TRAILER_SIZE 20

/* What the program has done, in its map ".bss" (`bpftool map dump name fptun.bss`). */
enum fptun_count {
	FPTUN_PASSED, /* went on */
	FPTUN_MALFORMED, /* dropped: too short, another version, unknown type or flags, mark out of range, not IP */
	FPTUN_FAILED, /* dropped: Linux had no memory */
	FPTUN_COUNTS,
};
