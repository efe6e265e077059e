// SPDX-License-Identifier: BSD-3-Clause
/* Between crypto.c and crypto_run.c, and for their tests. */
#pragma once

#include <rte_cryptodev.h>

#include "fpn/crypto.h"

/* Behind an asynchronous operation: IV, then ICV, then additional data, so that devices can reach them. */
#define CRYPTO_IV_AT  (sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op))
#define CRYPTO_ICV_AT (CRYPTO_IV_AT + 16)
#define CRYPTO_AAD_AT (CRYPTO_ICV_AT + CRYPTO_ICV_MAX)
/* Bytes of an operation at the most. */
#define CRYPTO_SCRATCH 65536

struct crypto_device {
	uint8_t id;
	bool sync; /* CPU crypto */
	bool hardware;
	bool scatters;	  /* takes packets in several pieces */
	const char *name; /* of its driver */
};

struct crypto_session {
	const struct crypto_device *device;
	void *session;
	union rte_crypto_sym_ofs ofs;
	uint8_t icv_len, iv_len, aad_len, block;
	bool encrypt, has_cipher, is_aead;
	bool sync; /* CPU crypto; else by queues */
	struct gc_item gc;
};

/* As crypto_session_create, on the device with this driver only; NULL: any. */
int crypto_session_create_on(const struct crypto_spec *spec, const char *device,
			     struct crypto_session **ret, struct err *err);

/* What asynchronous devices need; -ENOMEM. */
int crypto_make_ops(unsigned n_workers);
void crypto_free_ops(void);
