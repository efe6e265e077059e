// SPDX-License-Identifier: BSD-3-Clause
/* Devices and sessions; crypto_run.c has the bursts. */
#include "fpn/crypto_device.h"

#include <errno.h>
#include <string.h>

#include <rte_bus_vdev.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_vect.h>

#define DEVICES_MAX 16

/* In order of preference, behind all hardware. */
static const char *const software[] = {"crypto_aesni_gcm", "crypto_aesni_mb", "crypto_openssl"};

static struct crypto_device devices[DEVICES_MAX];
static unsigned n_devices;
static struct rte_mempool *sessions;

void crypto_wipe(void *data, size_t len)
{
	explicit_bzero(data, len);
}

/* --- devices --- */

static int start(struct crypto_device *d, unsigned n_workers)
{
	struct rte_cryptodev_config config = {.socket_id = SOCKET_ID_ANY,
					      .nb_queue_pairs = (uint16_t)n_workers};
	struct rte_cryptodev_qp_conf queue = {.nb_descriptors = 2 * CRYPTO_BURST};
	struct rte_cryptodev_info info;
	int rc;

	rte_cryptodev_info_get(d->id, &info);
	d->sync = info.feature_flags & RTE_CRYPTODEV_FF_SYM_CPU_CRYPTO;
	d->hardware = info.feature_flags & RTE_CRYPTODEV_FF_HW_ACCELERATED;
	d->scatters = d->hardware && info.feature_flags & RTE_CRYPTODEV_FF_IN_PLACE_SGL;
	d->name = info.driver_name;
	if (!(info.feature_flags & RTE_CRYPTODEV_FF_SYMMETRIC_CRYPTO))
		return -ENOTSUP;
	if (info.max_nb_queue_pairs && n_workers > info.max_nb_queue_pairs)
		return -ENOSPC;
	rc = rte_cryptodev_configure(d->id, &config);
	for (uint16_t q = 0; q < n_workers && !rc; q++)
		rc = rte_cryptodev_queue_pair_setup(d->id, q, &queue, SOCKET_ID_ANY);
	return rc ? rc : rte_cryptodev_start(d->id);
}

static void add(int id, unsigned n_workers)
{
	struct crypto_device *d = &devices[n_devices];

	if (id < 0 || n_devices == DEVICES_MAX)
		return;
	*d = (struct crypto_device){.id = (uint8_t)id};
	if (!start(d, n_workers))
		n_devices++;
}

int crypto_open(unsigned n_workers, unsigned max_sessions, struct err *err)
{
	uint16_t width = rte_vect_get_max_simd_bitwidth();
	uint32_t size = 0;

	n_devices = 0;
	/* Hardware came with rte_eal_init. */
	for (unsigned id = 0; id < RTE_CRYPTO_MAX_DEVS; id++)
		if (rte_cryptodev_is_valid_dev((uint8_t)id))
			add((int)id, n_workers);
	/* Wide registers pay here; ports' drivers keep what DPDK thinks good for them. */
	rte_vect_set_max_simd_bitwidth(RTE_VECT_SIMD_512);
	for (size_t i = 0; i < RTE_DIM(software); i++) {
		char args[48];

		snprintf(args, sizeof(args), "max_nb_queue_pairs=%u", n_workers);
		if (!rte_vdev_init(software[i], args))
			add(rte_cryptodev_get_dev_id(software[i]), n_workers);
	}
	rte_vect_set_max_simd_bitwidth(width);
	if (!n_devices)
		return err_set(err, ENODEV, "no crypto device can be made");
	for (unsigned i = 0; i < n_devices; i++)
		size = RTE_MAX(size, rte_cryptodev_sym_get_private_session_size(devices[i].id));
	sessions = rte_cryptodev_sym_session_pool_create("crypto_sessions", max_sessions, size, 0,
							 0, SOCKET_ID_ANY);
	if (!sessions)
		return err_set(err, ENOMEM, "no memory for %u crypto sessions", max_sessions);
	if (crypto_make_ops(n_workers))
		return err_set(err, ENOMEM, "no memory for crypto operations");
	return 0;
}

void crypto_close(void)
{
	for (unsigned i = 0; i < n_devices; i++) {
		rte_cryptodev_stop(devices[i].id);
		rte_cryptodev_close(devices[i].id);
	}
	for (size_t i = 0; i < RTE_DIM(software); i++)
		rte_vdev_uninit(software[i]);
	n_devices = 0;
	rte_mempool_free(sessions);
	sessions = NULL;
	crypto_free_ops();
}

/* --- what a spec means --- */

static const struct {
	enum rte_crypto_cipher_algorithm cipher;
	enum rte_crypto_aead_algorithm aead;
	enum rte_crypto_auth_algorithm auth;
	uint8_t key_min, key_step, key_max, iv_len, block;
} ciphers[CRYPTO_CIPHERS] = {
	[CRYPTO_NULL] = {.cipher = RTE_CRYPTO_CIPHER_NULL, .block = 1},
	[CRYPTO_3DES_CBC] = {.cipher = RTE_CRYPTO_CIPHER_3DES_CBC,
			     .key_min = 24,
			     .key_step = 8,
			     .key_max = 24,
			     .iv_len = 8,
			     .block = 8},
	[CRYPTO_AES_CBC] = {.cipher = RTE_CRYPTO_CIPHER_AES_CBC,
			    .key_min = 16,
			    .key_step = 8,
			    .key_max = 32,
			    .iv_len = 16,
			    .block = 16},
	[CRYPTO_AES_CTR] = {.cipher = RTE_CRYPTO_CIPHER_AES_CTR,
			    .key_min = 16,
			    .key_step = 8,
			    .key_max = 32,
			    .iv_len = 16,
			    .block = 1},
	[CRYPTO_AES_GCM] = {.aead = RTE_CRYPTO_AEAD_AES_GCM,
			    .key_min = 16,
			    .key_step = 8,
			    .key_max = 32,
			    .iv_len = 12,
			    .block = 1},
	[CRYPTO_AES_GMAC] = {.auth = RTE_CRYPTO_AUTH_AES_GMAC,
			     .key_min = 16,
			     .key_step = 8,
			     .key_max = 32,
			     .iv_len = 12,
			     .block = 1},
	[CRYPTO_CHACHA20_POLY1305] = {.aead = RTE_CRYPTO_AEAD_CHACHA20_POLY1305,
				      .key_min = 32,
				      .key_step = 8,
				      .key_max = 32,
				      .iv_len = 12,
				      .block = 1},
};

static const struct {
	enum rte_crypto_auth_algorithm auth;
	uint8_t length;
} auths[CRYPTO_AUTHS] = {
	[CRYPTO_HMAC_MD5] = {RTE_CRYPTO_AUTH_MD5_HMAC, 16},
	[CRYPTO_HMAC_SHA1] = {RTE_CRYPTO_AUTH_SHA1_HMAC, 20},
	[CRYPTO_HMAC_SHA256] = {RTE_CRYPTO_AUTH_SHA256_HMAC, 32},
	[CRYPTO_HMAC_SHA384] = {RTE_CRYPTO_AUTH_SHA384_HMAC, 48},
	[CRYPTO_HMAC_SHA512] = {RTE_CRYPTO_AUTH_SHA512_HMAC, 64},
	[CRYPTO_AES_XCBC] = {RTE_CRYPTO_AUTH_AES_XCBC_MAC, 12},
};

static bool icv_fits(const struct crypto_spec *spec)
{
	switch (spec->cipher) {
	case CRYPTO_AES_GCM:
		return spec->icv_len == 8 || spec->icv_len == 12 || spec->icv_len == 16;
	case CRYPTO_AES_GMAC:
	case CRYPTO_CHACHA20_POLY1305:
		return spec->icv_len == 16;
	default:
		break;
	}
	if (spec->auth == CRYPTO_AUTH_NONE)
		return !spec->icv_len;
	if (spec->auth == CRYPTO_AES_XCBC)
		return spec->icv_len == 12;
	return spec->icv_len >= 4 && spec->icv_len <= auths[spec->auth].length;
}

static const char *wrong(const struct crypto_spec *spec)
{
	bool combined = spec->cipher >= CRYPTO_AES_GCM;
	bool aead;

	if (spec->cipher >= CRYPTO_CIPHERS || spec->auth >= CRYPTO_AUTHS)
		return "unknown algorithm";
	aead = ciphers[spec->cipher].aead;
	if (combined ? spec->auth != CRYPTO_AUTH_NONE
		     : spec->cipher == CRYPTO_NULL && spec->auth == CRYPTO_AUTH_NONE)
		return "cipher and authentication don't go together";
	if (spec->key_len < ciphers[spec->cipher].key_min ||
	    spec->key_len > ciphers[spec->cipher].key_max ||
	    (spec->key_len && spec->key_len % ciphers[spec->cipher].key_step))
		return "no key of this length";
	if (spec->auth == CRYPTO_AUTH_NONE ? spec->auth_key_len
	    : spec->auth == CRYPTO_AES_XCBC
		    ? spec->auth_key_len != 16
		    : !spec->auth_key_len || spec->auth_key_len > CRYPTO_AUTH_KEY_MAX)
		return "no authentication key of this length";
	if (!icv_fits(spec))
		return "no ICV of this length";
	if (aead ? spec->aad_len != 0 && spec->aad_len != 8 && spec->aad_len != 12 : spec->aad_len)
		return "no additional data of this length";
	if (combined && (spec->cipher_head || spec->cipher_tail))
		return "this cipher takes all bytes of an operation";
	return NULL;
}

/* The transforms of @spec in @ret[2], which point into it; the first to be handed over. */
static struct rte_crypto_sym_xform *transforms(const struct crypto_spec *spec,
					       struct rte_crypto_sym_xform *ret)
{
	struct rte_crypto_sym_xform *cipher = &ret[0], *auth = &ret[1];

	memset(ret, 0, 2 * sizeof(*ret));
	if (ciphers[spec->cipher].aead) {
		cipher->type = RTE_CRYPTO_SYM_XFORM_AEAD;
		cipher->aead = (struct rte_crypto_aead_xform){
			.op = spec->encrypt ? RTE_CRYPTO_AEAD_OP_ENCRYPT
					    : RTE_CRYPTO_AEAD_OP_DECRYPT,
			.algo = ciphers[spec->cipher].aead,
			.key = {spec->key, spec->key_len},
			.iv = {CRYPTO_IV_AT, ciphers[spec->cipher].iv_len},
			.digest_length = spec->icv_len,
			.aad_length = spec->aad_len};
		return cipher;
	}
	cipher->type = RTE_CRYPTO_SYM_XFORM_CIPHER;
	cipher->cipher = (struct rte_crypto_cipher_xform){
		.op = spec->encrypt ? RTE_CRYPTO_CIPHER_OP_ENCRYPT : RTE_CRYPTO_CIPHER_OP_DECRYPT,
		.algo = ciphers[spec->cipher].cipher,
		.key = {spec->key, spec->key_len},
		.iv = {CRYPTO_IV_AT, ciphers[spec->cipher].iv_len}};
	auth->type = RTE_CRYPTO_SYM_XFORM_AUTH;
	auth->auth = (struct rte_crypto_auth_xform){
		.op = spec->encrypt ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY,
		.algo = auths[spec->auth].auth,
		.key = {spec->auth_key, spec->auth_key_len},
		.digest_length = spec->icv_len};
	if (spec->cipher == CRYPTO_AES_GMAC) {
		auth->auth.algo = ciphers[spec->cipher].auth;
		auth->auth.key.data = spec->key;
		auth->auth.key.length = spec->key_len;
		auth->auth.iv.offset = CRYPTO_IV_AT;
		auth->auth.iv.length = ciphers[spec->cipher].iv_len;
		return auth;
	}
	if (spec->cipher == CRYPTO_NULL)
		return auth;
	if (spec->auth == CRYPTO_AUTH_NONE)
		return cipher;
	(spec->encrypt ? cipher : auth)->next = spec->encrypt ? auth : cipher;
	return spec->encrypt ? cipher : auth;
}

/* Whether device @id says it can do all of @x. */
static bool able(uint8_t id, const struct rte_crypto_sym_xform *x)
{
	for (; x; x = x->next) {
		struct rte_cryptodev_sym_capability_idx at = {.type = x->type};
		const struct rte_cryptodev_symmetric_capability *cap;

		if (x->type == RTE_CRYPTO_SYM_XFORM_AEAD)
			at.algo.aead = x->aead.algo;
		else if (x->type == RTE_CRYPTO_SYM_XFORM_AUTH)
			at.algo.auth = x->auth.algo;
		else
			at.algo.cipher = x->cipher.algo;
		cap = rte_cryptodev_sym_capability_get(id, &at);
		if (!cap)
			return false;
		if (x->type == RTE_CRYPTO_SYM_XFORM_AEAD &&
		    rte_cryptodev_sym_capability_check_aead(cap, x->aead.key.length,
							    x->aead.digest_length,
							    x->aead.aad_length, x->aead.iv.length))
			return false;
		if (x->type == RTE_CRYPTO_SYM_XFORM_AUTH &&
		    rte_cryptodev_sym_capability_check_auth(
			    cap, x->auth.key.length, x->auth.digest_length, x->auth.iv.length))
			return false;
		if (x->type == RTE_CRYPTO_SYM_XFORM_CIPHER &&
		    rte_cryptodev_sym_capability_check_cipher(cap, x->cipher.key.length,
							      x->cipher.iv.length))
			return false;
	}
	return true;
}

/* --- sessions --- */

int crypto_session_create(const struct crypto_spec *spec, struct crypto_session **ret,
			  struct err *err)
{
	return crypto_session_create_on(spec, NULL, ret, err);
}

int crypto_session_create_on(const struct crypto_spec *spec, const char *device,
			     struct crypto_session **ret, struct err *err)
{
	struct rte_crypto_sym_xform x[2], *first;
	const char *why = wrong(spec);
	struct crypto_session *s;
	bool full = false;

	if (why)
		return err_set(err, EINVAL, "crypto session: %s", why);
	if (!sessions)
		return err_set(err, ENODEV, "there is no crypto device");
	s = rte_zmalloc("crypto", sizeof(*s), RTE_CACHE_LINE_SIZE);
	if (!s)
		return err_set(err, ENOMEM, "no memory for a crypto session");
	first = transforms(spec, x);
	for (unsigned i = 0; i < n_devices && !s->session; i++) {
		if ((device && strcmp(device, devices[i].name)) || !able(devices[i].id, first))
			continue;
		s->device = &devices[i];
		s->session = rte_cryptodev_sym_session_create(devices[i].id, first, sessions);
		/* A device may refuse what it said it can; the next one may not. */
		full |= !s->session && rte_errno == ENOMEM;
	}
	crypto_wipe(x, sizeof(x));
	if (!s->session) {
		rte_free(s);
		if (full)
			return err_set(err, ENOSPC, "too many crypto sessions");
		return err_set(err, ENOTSUP, "no crypto device can do this");
	}
	s->icv_len = spec->icv_len;
	s->iv_len = ciphers[spec->cipher].iv_len;
	s->aad_len = spec->aad_len;
	s->block = ciphers[spec->cipher].block;
	s->has_cipher = spec->cipher != CRYPTO_NULL && spec->cipher != CRYPTO_AES_GMAC;
	s->is_aead = ciphers[spec->cipher].aead;
	s->encrypt = spec->encrypt;
	/* crypto_aesni_mb's synchronous call takes AES-XCBC's keys for an HMAC's (DPDK 24.11, set_cpu_mb_job_params). */
	s->sync = s->device->sync && spec->auth != CRYPTO_AES_XCBC;
	s->ofs.ofs.cipher.head = spec->cipher_head;
	s->ofs.ofs.cipher.tail = spec->cipher_tail;
	*ret = s;
	return 0;
}

void crypto_session_destroy(struct crypto_session *s)
{
	if (!s)
		return;
	/* Overwrites the keys in it. */
	rte_cryptodev_sym_session_free(s->device->id, s->session);
	rte_free(s);
}

static void destroy(struct gc_item *item)
{
	crypto_session_destroy(
		(struct crypto_session *)((char *)item - offsetof(struct crypto_session, gc)));
}

void crypto_session_destroy_later(struct crypto_session *s, struct gc *gc)
{
	gc_later(gc, &s->gc, destroy);
}

const char *crypto_session_device(const struct crypto_session *s)
{
	return s->device->name;
}
