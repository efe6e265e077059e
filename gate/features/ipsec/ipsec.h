// SPDX-License-Identifier: BSD-3-Clause
/* SAs and policies as the data path sees them, and what it keeps of them.
 *
 * Config tables, fpmd's: an SA is a row of "ipsec_sa", its keys the same row of "ipsec_key"; SAs hang in hash chains by
 * (VRF, outer destination, SPI, protocol), for packets that come in. A policy is a row of "ipsec_policy". For each (VRF,
 * direction, family) a row of "ipsec_spd" lists which pairs of prefix lengths policies have there; the policies of a pair
 * hang in chains by the addresses, cut to these lengths. So a lookup costs one probe for each pair, however many policies
 * there are. What is in a row stays as it is while `generation` (SA) or `used` (policy) does.
 *
 * Stats table "ipsec_sa_state", fp-rte's: sequence numbers, the replay window and counters of the SA in the same row of
 * "ipsec_sa", if `generation` is the same. It outlives fpmd and fp-rte both. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "features/ipsec/fpc_ipsec.h"
#include "features/vrf/fpc_vrf.h"

/* Why an SA's packets are Linux's. */
enum ipsec_sa_why {
	IPSEC_SA_FAST,	/* they aren't */
	IPSEC_SA_LINUX, /* FPC_IPSEC_LINUX, or FP_MAX_SAS is auto */
	IPSEC_SA_MARK,	/* a mark, an output mark, an interface id */
	IPSEC_SA_MODE,	/* not a mode, protocol or algorithm of the fast path */
};

/* Row of "ipsec_sa", rows 1 and up. */
struct ipsec_sa_row {
	uint8_t dst[16]; /* of the outer header, network byte order; IPv4: the first 4 bytes */
	uint32_t spi;	 /* network byte order */
	uint32_t vrf;
	uint8_t family;	       /* AF_INET or AF_INET6, of the outer header */
	uint8_t proto;	       /* IPPROTO_ESP, IPPROTO_AH */
	uint8_t mode;	       /* enum fpc_ipsec_mode */
	uint8_t why;	       /* enum ipsec_sa_why */
	_Atomic uint32_t next; /* row of the next one in the hash chain; 0: end */
	/* 0: the row is free. Else a number that no other SA in this row has had or will have: a mix of what identifies it. */
	_Atomic uint64_t generation;
	uint32_t flags; /* enum fpc_ipsec_flags */
	uint8_t cipher; /* enum fpc_ipsec_cipher */
	uint8_t auth;	/* enum fpc_ipsec_auth */
	uint8_t icv_len;
	uint8_t iv_len;	   /* bytes that packets carry */
	uint8_t align;	   /* the encrypted part is a multiple of this: 4 to 16 bytes */
	uint8_t encap;	   /* 2: in UDP */
	uint8_t sel_any;   /* the selector matches all packets of its family */
	uint8_t direction; /* as in struct fpc_ipsec_sa */
	uint32_t window;   /* of the replay check, packets; 0: none */
	uint64_t pad0;
	/* --- 64 --- */
	uint8_t src[16];
	uint16_t encap_sport, encap_dport; /* network byte order */
	uint32_t reqid;
	uint32_t mark, mark_mask;
	uint32_t if_id;
	uint32_t output_mark, output_mask;
	uint8_t salt[4]; /* of the nonce */
	uint8_t sel_family;
	uint8_t pad[3];
	uint32_t pad1;
	uint64_t add_time;
	/* --- 128 --- */
	struct fpc_ipsec_selector sel;
	uint64_t start_seq; /* where Linux was: last sent, highest received (upper half: ESN) */
	uint64_t start_received;
	/* --- 192 --- */
	uint64_t soft_bytes, hard_bytes, soft_packets, hard_packets; /* UINT64_MAX: none */
	uint64_t start_bytes, start_packets; /* Linux's counters, as the SA came */
	uint8_t key_len, auth_key_len;	     /* salt excluded */
	uint8_t pad2[14];
};
static_assert(sizeof(struct ipsec_sa_row) == 256);
static_assert(offsetof(struct ipsec_sa_row, src) == 64);
static_assert(offsetof(struct ipsec_sa_row, sel) == 128);

/* Row of "ipsec_key": as in "ipsec_sa". Nobody but fp-rte's control thread reads it; it's never shown. */
struct ipsec_key_row {
	uint8_t key[FPC_IPSEC_KEY_MAX];
	uint8_t auth_key[FPC_IPSEC_AUTH_KEY_MAX];
	uint8_t pad[16];
};
static_assert(sizeof(struct ipsec_key_row) == 192);

/* Rows of "ipsec_sa_bucket" and "ipsec_policy_bucket": the first row of a chain. Capacity: a power of two. */
struct ipsec_sa_bucket_row {
	_Atomic uint32_t first;
};

struct ipsec_policy_bucket_row {
	_Atomic uint32_t first;
};

/* The one row of "ipsec". */
struct ipsec_row {
	_Atomic uint64_t
		changes; /* counts SAs that came and went: sessions are to be made and given back */
	uint32_t pad[14];
};
static_assert(sizeof(struct ipsec_row) == 64);

/* Packets remembered: a ring of blocks of 32 sequence numbers. A block is one word, its number (lowest 32 bits) above the
 * bits of those that were seen, so it's changed in one step, by any worker. */
#define IPSEC_WINDOW_MAX 4096
#define IPSEC_BLOCKS	 256

/* Row of the stats table "ipsec_sa_state"; row index: as in "ipsec_sa". Written by workers, all at once. */
struct ipsec_sa_state_row {
	_Atomic uint64_t generation; /* of the SA it's about */
	_Atomic uint64_t sent;	     /* sequence number of the last packet that went out */
	_Atomic uint64_t received;   /* the highest one that was right */
	/* Packets and bytes as Linux counts them (`ip -s xfrm state`), both directions, without those that Linux handled */
	_Atomic uint64_t packets, bytes;
	/* As xfrm_stats of a state: outside of the window, seen before, wrong ICV */
	_Atomic uint64_t replay_window, replay, integrity_failed;
	_Atomic uint64_t used;	/* CLOCK_MONOTONIC seconds, last packet */
	_Atomic uint32_t ready; /* sessions are there */
	uint32_t pad[13];
	_Atomic uint64_t blocks[IPSEC_BLOCKS];
};
static_assert(sizeof(struct ipsec_sa_state_row) == 128 + 8 * IPSEC_BLOCKS);

/* Whether a policy sends its packets to Linux. */
enum ipsec_policy_why {
	IPSEC_POLICY_FAST,
	IPSEC_POLICY_LINUX, /* FPC_IPSEC_LINUX, or several templates, or something else the fast path doesn't do */
};

/* Row of "ipsec_policy", rows 1 and up. */
struct ipsec_policy_row {
	struct fpc_ipsec_selector sel;
	uint32_t vrf;
	uint32_t priority;
	uint32_t index;
	_Atomic uint32_t next; /* row of the next one in the hash chain; 0: end */
	/* --- 64 --- */
	uint8_t direction; /* enum fpc_ipsec_direction */
	uint8_t action;	   /* enum fpc_ipsec_action */
	uint8_t why;	   /* enum ipsec_policy_why */
	uint8_t n_tmpls;
	uint8_t only_addrs; /* the selector says nothing but addresses */
	uint8_t never;	    /* has a mark or an interface id: matches no packet of the fast path */
	uint8_t pad[2];
	/* OUT, one template: row of "ipsec_sa" that serves it; 0: none, Linux is to look for one */
	_Atomic uint32_t sa;
	_Atomic uint32_t used; /* 0: the row is free */
	uint32_t flags;
	uint32_t mark, mark_mask;
	uint32_t if_id;
	uint32_t pad2[8];
	/* --- 128 --- */
	struct fpc_ipsec_tmpl tmpl[FPC_IPSEC_TMPLS];
	uint32_t pad3[12];
};
static_assert(sizeof(struct ipsec_policy_row) == 512);
static_assert(offsetof(struct ipsec_policy_row, direction) == 64);

/* A pair of prefix lengths, one word. `used` 0: none. */
struct ipsec_pair {
	uint8_t used, dst_plen, src_plen, pad;
	uint32_t first_priority; /* the lowest among its policies */
};
static_assert(sizeof(struct ipsec_pair) == 8);

#define IPSEC_PAIRS 14

/* Row of "ipsec_spd": ipsec_spd(vrf, direction, family). */
struct ipsec_spd_row {
	_Atomic uint32_t n_policies;
	/* Policies that aren't in the tables: all packets of this row are Linux's */
	_Atomic uint32_t left_out;
	_Atomic uint32_t n_pairs; /* pairs in use lie below */
	uint32_t pad;
	_Atomic uint64_t pair[IPSEC_PAIRS]; /* struct ipsec_pair */
};
static_assert(sizeof(struct ipsec_spd_row) == 128);

#define IPSEC_SPD_ROWS (FPC_VRF_MAX * 8)

static inline uint32_t ipsec_spd(uint32_t vrf, uint8_t direction, uint8_t family)
{
	return vrf * 8 + direction * 2 + (family == AF_INET6);
}

static inline uint64_t ipsec_mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * 0x9e3779b97f4a7c15ULL;
	return a ^ a >> 32;
}

/* Hash of an SA that packets come in for. */
static inline uint32_t ipsec_sa_hash(uint32_t vrf, uint32_t spi, uint8_t proto)
{
	/* The SPI is random, and who receives chose it. */
	return (uint32_t)ipsec_mix(spi, (uint64_t)vrf << 8 | proto);
}

/* The first @plen bits of @addr as two words. */
static inline void ipsec_cut(uint64_t ret[2], const uint8_t *addr, uint8_t family, uint8_t plen)
{
	uint64_t a = 0, b = 0;

	if (family == AF_INET) {
		uint32_t word;

		memcpy(&word, addr, 4);
		a = plen ? (uint64_t)(__builtin_bswap32(word) & ~0U << (32 - plen)) << 32 : 0;
	} else {
		memcpy(&a, addr, 8);
		memcpy(&b, addr + 8, 8);
		a = __builtin_bswap64(a);
		b = __builtin_bswap64(b);
		a = !plen ? 0 : plen < 64 ? a & ~0ULL << (64 - plen) : a;
		b = plen <= 64 ? 0 : b & ~0ULL << (128 - plen);
	}
	ret[0] = a;
	ret[1] = b;
}

/* Hash of the policies of row @spd with these addresses, cut, and this pair of lengths. */
static inline uint32_t ipsec_policy_hash(uint32_t spd, const uint64_t dst[2], const uint64_t src[2],
					 uint8_t dst_plen, uint8_t src_plen)
{
	uint64_t h = ipsec_mix(dst[0], (uint64_t)spd << 16 | dst_plen << 8 | src_plen);

	if (dst[1] | src[1])
		h = ipsec_mix(h ^ dst[1] * 0xbf58476d1ce4e5b9ULL, src[1]);
	return (uint32_t)ipsec_mix(h * 0xbf58476d1ce4e5b9ULL, src[0]);
}
