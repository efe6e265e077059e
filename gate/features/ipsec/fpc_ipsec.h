// SPDX-License-Identifier: BSD-3-Clause
/* IPsec as Linux holds it (`ip xfrm state`, `ip xfrm policy`; RFC 4301): a security association (SA) or a policy. One object
 * type for both: the kind is part of the key, and says whether `sa` or `policy` is filled.
 *
 * Everything of a state or policy that decides about packets stands here. What can't be expressed (an algorithm or
 * attribute that isn't named here, TFC padding, a security context, a compressed packet, a CPU of its own) makes the
 * object's flag FPC_IPSEC_LINUX: its packets are Linux's, and right there. An object that fpmd refuses or has no room for is
 * treated so too; never does a packet that a policy is for pass by.
 *
 * Addresses and SPIs are in network byte order, ports too; everything else in host byte order. An address of IPv4 fills the
 * first 4 bytes, the others are 0. */
#pragma once

#include <stdint.h>

enum fpc_ipsec_kind {
	FPC_IPSEC_SA = 1,
	FPC_IPSEC_POLICY = 2,
};

enum fpc_ipsec_flags {
	/* SA, policy: has something that the fast path doesn't know */
	FPC_IPSEC_LINUX = 1 << 0,
	/* SA: XFRM_STATE_ESN, NOECN, DECAP_DSCP, NOPMTUDISC, AF_UNSPEC, ALIGN4; XFRM_SA_XFLAG_DONT_ENCAP_DSCP, _OSEQ_MAY_WRAP */
	FPC_IPSEC_ESN = 1 << 1,
	FPC_IPSEC_NOECN = 1 << 2,
	FPC_IPSEC_DECAP_DSCP = 1 << 3,
	FPC_IPSEC_NOPMTUDISC = 1 << 4,
	FPC_IPSEC_AF_UNSPEC = 1 << 5,
	FPC_IPSEC_ALIGN4 = 1 << 6,
	FPC_IPSEC_DONT_ENCAP_DSCP = 1 << 7,
	FPC_IPSEC_OSEQ_MAY_WRAP = 1 << 8,
	/* Policy: XFRM_POLICY_ICMP: ICMP errors are matched by the packet within, too */
	FPC_IPSEC_ICMP = 1 << 9,
};

/* XFRM_MODE_*. Others are FPC_IPSEC_LINUX's. */
enum fpc_ipsec_mode {
	FPC_IPSEC_TRANSPORT = 0,
	FPC_IPSEC_TUNNEL = 1,
	FPC_IPSEC_BEET = 4,
};

/* XFRM_POLICY_*; those of sockets aren't sent. */
enum fpc_ipsec_direction {
	FPC_IPSEC_IN = 0,
	FPC_IPSEC_OUT = 1,
	FPC_IPSEC_FWD = 2,
};

enum fpc_ipsec_action {
	FPC_IPSEC_ALLOW = 0,
	FPC_IPSEC_BLOCK = 1,
};

/* Ciphers that FPC_IPSEC_SA has: numbers of enum crypto_cipher (fpn/crypto.h), one higher; 0: none (AH). */
enum fpc_ipsec_cipher {
	FPC_IPSEC_NULL = 1,	/* ecb(cipher_null) */
	FPC_IPSEC_3DES_CBC = 2, /* cbc(des3_ede), RFC 2451 */
	FPC_IPSEC_AES_CBC = 3,	/* cbc(aes), RFC 3602 */
	FPC_IPSEC_AES_CTR = 4,	/* rfc3686(ctr(aes)); 4 bytes of salt at the key's end */
	FPC_IPSEC_AES_GCM = 5,	/* rfc4106(gcm(aes)); 4 bytes of salt at the key's end */
	FPC_IPSEC_AES_GMAC = 6, /* rfc4543(gcm(aes)); 4 bytes of salt at the key's end */
	FPC_IPSEC_CHACHA20_POLY1305 =
		7, /* rfc7539esp(chacha20,poly1305), RFC 7634; 4 bytes of salt */
};

/* Numbers of enum crypto_auth. */
enum fpc_ipsec_auth {
	FPC_IPSEC_NO_AUTH = 0,
	FPC_IPSEC_HMAC_MD5 = 1,
	FPC_IPSEC_HMAC_SHA1 = 2,
	FPC_IPSEC_HMAC_SHA256 = 3,
	FPC_IPSEC_HMAC_SHA384 = 4,
	FPC_IPSEC_HMAC_SHA512 = 5,
	FPC_IPSEC_AES_XCBC = 6,
};

/* struct xfrm_selector. */
struct fpc_ipsec_selector {
	uint8_t dst[16];
	uint8_t src[16];
	uint16_t dport,
		dport_mask; /* network byte order; ICMP: dport is the code, sport the type */
	uint16_t sport, sport_mask;
	uint8_t family; /* 0: any (SAs only) */
	uint8_t dst_plen, src_plen;
	uint8_t proto;	  /* 0: any */
	uint32_t ifindex; /* of the output interface; 0: any */
};
static_assert(sizeof(struct fpc_ipsec_selector) == 48);

struct fpc_ipsec_sa {
	struct fpc_ipsec_selector sel;
	uint8_t src[16]; /* outer source; 0: any (inbound) */
	uint8_t mode;	 /* enum fpc_ipsec_mode */
	uint8_t cipher;	 /* enum fpc_ipsec_cipher */
	uint8_t auth;	 /* enum fpc_ipsec_auth */
	uint8_t icv_len; /* bytes that packets carry */
	uint8_t key_len; /* bytes of key[], salt included */
	uint8_t auth_key_len;
	uint8_t encap;	   /* 2: UDP_ENCAP_ESPINUDP; 0: none. Others are FPC_IPSEC_LINUX's */
	uint8_t direction; /* XFRMA_SA_DIR: 1 in, 2 out, 0 not said */
	uint16_t encap_sport, encap_dport; /* network byte order */
	uint32_t reqid;
	uint32_t if_id;			   /* of xfrm interfaces; 0: none */
	uint32_t output_mark, output_mask; /* XFRMA_SET_MARK, _MASK */
	uint32_t replay_window; /* packets: 0 (no check) to 4096; beyond: FPC_IPSEC_LINUX */
	/* Lifetimes; UINT64_MAX: none. Those in seconds are Linux's business alone. */
	uint64_t soft_bytes, hard_bytes, soft_packets, hard_packets;
	/* What Linux had when it was asked; the fast path only goes forward from there, so a later SET with lower numbers
	 * is no step back. seq, seq_hi: highest received; oseq, oseq_hi: last sent. */
	uint32_t oseq, oseq_hi, seq, seq_hi;
	uint64_t bytes, packets; /* curlft */
	uint64_t
		add_time; /* curlft.add_time: tells it apart from another one that has the same key later */
};
static_assert(sizeof(struct fpc_ipsec_sa) == 168);

/* struct xfrm_user_tmpl */
struct fpc_ipsec_tmpl {
	uint8_t dst[16], src[16]; /* tunnel and BEET; 0: any */
	uint32_t spi;		  /* 0: any */
	uint32_t reqid;		  /* 0: any */
	uint32_t auth_algs,
		enc_algs; /* bits, as Linux numbers algorithms (SADB_*); all ones: any */
	uint8_t family;
	uint8_t proto; /* IPPROTO_ESP, IPPROTO_AH */
	uint8_t mode;  /* enum fpc_ipsec_mode */
	uint8_t optional;
	uint32_t pad;
};
static_assert(sizeof(struct fpc_ipsec_tmpl) == 56);

#define FPC_IPSEC_TMPLS 6

struct fpc_ipsec_policy {
	struct fpc_ipsec_selector sel;
	uint32_t priority; /* the lowest counts; among equals the lowest index */
	uint32_t mark, mark_mask;
	uint32_t if_id;
	uint8_t action; /* enum fpc_ipsec_action */
	uint8_t n_tmpls;
	uint8_t pad[6];
	struct fpc_ipsec_tmpl tmpl[FPC_IPSEC_TMPLS];
};
static_assert(sizeof(struct fpc_ipsec_policy) == 48 + 24 + 6 * 56);

#define FPC_IPSEC_KEY_MAX      48
#define FPC_IPSEC_AUTH_KEY_MAX 128

struct fpc_ipsec {
	uint32_t vrf;	/* key: VRF, ... */
	uint8_t kind;	/* enum fpc_ipsec_kind */
	uint8_t family; /* SA: of its outer addresses; policy: 0 */
	uint8_t proto;	/* SA: IPPROTO_ESP, IPPROTO_AH; policy: 0 */
	uint8_t pad;
	uint8_t dst[16]; /* SA: outer destination; policy: 0 */
	uint32_t spi;	 /* SA, network byte order; policy: 0 */
	uint32_t
		index; /* policy: as the kernel numbers it, direction in the lowest 3 bits; SA: 0 */
	uint32_t mark, mark_mask; /* SA; policy: 0 (it has them below) */
	uint32_t flags;		  /* enum fpc_ipsec_flags */
	uint32_t pad2;
	struct fpc_ipsec_sa sa;		/* FPC_IPSEC_SA; else zeros */
	struct fpc_ipsec_policy policy; /* FPC_IPSEC_POLICY; else zeros */
	/* Secret: from here on nothing is shown, recorded or dumped (struct feature, secret_at).
	 * Of an SA: */
	uint8_t key[FPC_IPSEC_KEY_MAX];		  /* sa.key_len bytes */
	uint8_t auth_key[FPC_IPSEC_AUTH_KEY_MAX]; /* sa.auth_key_len bytes */
};
static_assert(sizeof(struct fpc_ipsec) == 48 + 168 + 408 + 48 + 128);
#define FPC_IPSEC_KEY_SIZE 40
#define FPC_IPSEC_FLAGS	   0x3ff
