// SPDX-License-Identifier: BSD-3-Clause
/* Cryptography for packets: sessions (an algorithm with its keys, one direction) over DPDK's crypto devices, and bursts that
 * are done when the call returns, on the core that calls.
 *
 * Which device serves a session is decided when it's made, by what the devices say they can: hardware, then ipsec_mb
 * (crypto_aesni_gcm, crypto_aesni_mb), then openssl. ipsec_mb is called synchronously (DPDK's CPU crypto); others by their
 * queues, which the call empties again.
 *
 * Threads: the control thread opens, makes and destroys; workers, and no others, run bursts, all at the same time and with
 * any session. A session is made while workers run and may be handed to them as a pointer; before it's destroyed all of
 * them must have let go of it (fpn/gc.h).
 *
 * Keys: what a spec holds is the caller's to wipe (crypto_wipe). A destroyed session is overwritten. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fpn/gc.h"
#include "lib/err.h"

struct rte_mbuf;

#define CRYPTO_BURST	    64 /* operations of a call */
#define CRYPTO_KEY_MAX	    32
#define CRYPTO_AUTH_KEY_MAX 64
#define CRYPTO_ICV_MAX	    64
#define CRYPTO_AAD_MAX	    16

enum crypto_cipher {
	CRYPTO_NULL, /* needs an auth */
	CRYPTO_3DES_CBC,
	CRYPTO_AES_CBC,
	CRYPTO_AES_CTR,
	/* These authenticate too, and take no auth: */
	CRYPTO_AES_GCM,
	CRYPTO_AES_GMAC, /* encrypts nothing */
	CRYPTO_CHACHA20_POLY1305,
	CRYPTO_CIPHERS,
};

enum crypto_auth {
	CRYPTO_AUTH_NONE,
	CRYPTO_HMAC_MD5,
	CRYPTO_HMAC_SHA1,
	CRYPTO_HMAC_SHA256,
	CRYPTO_HMAC_SHA384,
	CRYPTO_HMAC_SHA512,
	CRYPTO_AES_XCBC, /* RFC 3566: 96 bits */
	CRYPTO_AUTHS,
};

/* What a session is to be. No pointers: it can stand in shared memory.
 *
 * IV: 16 bytes for AES-CBC and AES-CTR (whole counter block, RFC 3686), 8 for 3DES, 12 for AES-GCM, AES-GMAC and
 * ChaCha20-Poly1305 (salt included), none for NULL. */
struct crypto_spec {
	uint8_t cipher; /* enum crypto_cipher */
	uint8_t auth;	/* enum crypto_auth */
	bool encrypt; /* and make the ICV; else check it and decrypt. First encrypted, then authenticated (ESP) */
	uint8_t icv_len; /* GCM and GMAC: 8, 12 or 16 (GMAC: 16); ChaCha20-Poly1305: 16; else from 4 to the hash's length */
	uint8_t aad_len; /* GCM, ChaCha20-Poly1305: bytes of crypto_op.aad; 0, 8 or 12 */
	uint8_t key_len, auth_key_len; /* bytes */
	uint8_t pad;
	/* Of an operation's bytes, all of which are authenticated: those in front of and behind what is encrypted. 0 for GCM
	 * and ChaCha20-Poly1305. */
	uint16_t cipher_head, cipher_tail;
	uint8_t key[CRYPTO_KEY_MAX];
	uint8_t auth_key[CRYPTO_AUTH_KEY_MAX];
};

struct crypto_session;

/* One packet. The pointers stay the caller's and are good until the call returns. */
struct crypto_op {
	struct rte_mbuf *m;
	uint32_t at,
		len; /* the operation's bytes: from the start of m's data on; may span segments */
	const uint8_t *iv;
	const uint8_t *aad; /* GCM, ChaCha20-Poly1305 with aad_len */
	uint8_t *icv; /* icv_len bytes, written or compared; outside of the operation's bytes */
	bool ok; /* result. Decrypting: false if the ICV is wrong, the bytes are undefined then */
};

/* Control thread, before the first session: makes the software devices, with room for @max_sessions, for @n_workers
 * workers. Needs some 2 KiB of DPDK's memory for each session. Once a process. -ENODEV: no device can be made. */
int crypto_open(unsigned n_workers, unsigned max_sessions, struct err *err);

/* Control thread, after workers ended and all sessions are destroyed. */
void crypto_close(void);

/* Control thread. -EINVAL: lengths that don't fit the algorithm; -ENOTSUP: no device can; -ENOMEM, -ENOSPC: too many. */
int crypto_session_create(const struct crypto_spec *spec, struct crypto_session **ret,
			  struct err *err);

/* Control thread; no worker has it any more. NULL is fine. */
void crypto_session_destroy(struct crypto_session *s);

/* The same once workers have let go of it. */
void crypto_session_destroy_later(struct crypto_session *s, struct gc *gc);

/* For people: the DPDK device that serves it. Lives as long as the process. */
const char *crypto_session_device(const struct crypto_session *s);

/* Worker @worker (0 up to n_workers): runs @n operations, 1 to CRYPTO_BURST, of one session; how many are ok. Packets stay
 * the caller's and keep their length. The first call of a thread prepares ipsec_mb for it, which takes a millisecond. */
unsigned crypto_run(unsigned worker, const struct crypto_session *s, struct crypto_op *ops,
		    unsigned n);

/* Overwrites @len bytes in a way that compilers keep. */
void crypto_wipe(void *data, size_t len);
