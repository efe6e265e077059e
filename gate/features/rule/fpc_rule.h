// SPDX-License-Identifier: BSD-3-Clause
/* The rules of one family of a VRF (`ip rule`), as a whole: a packet meets the old list or the new one. A family whose rules are
 * the kernel's own has no such object. Rules that no forwarded packet can meet are left out. */
#pragma once

#include <stdint.h>

#define FPC_RULES_MAX 64

enum fpc_rule_flags {
	/* There are more rules than fit, or none: all packets of the family take Linux */
	FPC_RULE_ALL_LINUX = 1 << 0,
};

enum fpc_rule_action {
	FPC_RULE_TABLE = 1, /* look up table */
	FPC_RULE_GOTO = 2,  /* go on with the rule number target */
	FPC_RULE_BLACKHOLE = 6,
	FPC_RULE_UNREACHABLE = 7, /* unreachable or prohibit: Linux answers */
	FPC_RULE_LINUX =
		255, /* something the fast path doesn't know: a packet that matches takes Linux */
};

enum fpc_rule_entry_flags {
	FPC_RULE_ENTRY_INVERT = 1 << 0, /* matches what it otherwise wouldn't */
	FPC_RULE_ENTRY_L3MDEV = 1 << 1, /* for packets of a VRF device: looks up that one's table */
	FPC_RULE_ENTRY_IIF = 1 << 2,	/* iif counts */
	FPC_RULE_ENTRY_PROTO = 1 << 3,	/* ipproto counts */
	FPC_RULE_ENTRY_SPORT = 1 << 4,
	FPC_RULE_ENTRY_DPORT = 1 << 5,
	FPC_RULE_ENTRY_SUPPRESS = 1 << 6, /* suppress_plen counts */
};

struct fpc_rule_entry {
	uint8_t src[16]; /* network byte order, IPv4: first 4 bytes; bits beyond the length 0 */
	uint8_t dst[16];
	uint8_t src_plen, dst_plen; /* bits; 0: any */
	uint8_t tos, tos_mask;	    /* those bits of TOS or traffic class; mask 0: any */
	uint8_t proto;
	uint8_t action; /* enum fpc_rule_action */
	uint16_t flags; /* enum fpc_rule_entry_flags */
	uint32_t iif;	/* ifindex where Linux receives the packet: its VRF device, if it has one */
	uint32_t table; /* FPC_RULE_TABLE */
	uint32_t
		target; /* FPC_RULE_GOTO: index in the list, beyond this one; the list's length: its end */
	uint16_t sport[2], dport[2]; /* first and last, host byte order */
	uint8_t suppress_plen;	     /* what the table gives counts only if its prefix is longer */
	uint8_t pad[3];
};
static_assert(sizeof(struct fpc_rule_entry) == 64);

struct fpc_rule {
	uint32_t vrf;	/* key: VRF, ... */
	uint8_t family; /* ... AF_INET or AF_INET6 */
	uint8_t pad[3];
	uint32_t flags; /* enum fpc_rule_flags */
	uint32_t n_rules;
	struct fpc_rule_entry
		rules[FPC_RULES_MAX]; /* in Linux's order; sent short: n_rules of them */
};
static_assert(sizeof(struct fpc_rule) == 16 + 64 * 64);
#define FPC_RULE_KEY_SIZE 8
#define FPC_RULE_FLAGS	  0x1
