// SPDX-License-Identifier: BSD-3-Clause
/* Crypto sessions: published vectors through each device that can, in one piece and in many, both ways; what can't be is
 * refused; wrong ICVs are found; keys leave no trace. Sources stand beside the vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_mbuf.h>
#include <rte_memory.h>

#include "fpn/crypto_device.h"

#define SESSIONS 64
#define WORKERS	 2

static struct rte_mempool *pool;

struct vector {
	const char *source;
	uint8_t cipher, auth;
	const char *key, *auth_key, *iv, *aad, *plain, *cipher_text, *icv; /* hexadecimal */
};

static const struct vector vectors[] = {
	/* McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, as submitted to NIST */
	{"GCM 2", CRYPTO_AES_GCM, 0, "00000000000000000000000000000000", "",
	 "000000000000000000000000", "", "00000000000000000000000000000000",
	 "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"},
	{"GCM 3", CRYPTO_AES_GCM, 0, "feffe9928665731c6d6a8f9467308308", "",
	 "cafebabefacedbaddecaf888", "",
	 "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e244"
	 "9a6b"
	 "525b16aedf5aa0de657ba637b391aafd255",
	 "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aa"
	 "c84a"
	 "a051ba30b396a0aac973d58e091473f5985",
	 "4d5c2af327cd64a62cf35abd2ba6fab4"},
	{"GCM 8", CRYPTO_AES_GCM, 0, "000000000000000000000000000000000000000000000000", "",
	 "000000000000000000000000", "", "00000000000000000000000000000000",
	 "98e7247c07f0fe411c267e4384b0f600", "2ff58d80033927ab8ef4d4587514f0fb"},
	{"GCM 14", CRYPTO_AES_GCM, 0,
	 "0000000000000000000000000000000000000000000000000000000000000000", "",
	 "000000000000000000000000", "", "00000000000000000000000000000000",
	 "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
	/* RFC 8439 section 2.8.2 */
	{"ChaCha20-Poly1305", CRYPTO_CHACHA20_POLY1305, 0,
	 "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f", "",
	 "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
	 "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a2049662"
	 "04920"
	 "636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2"
	 "07375"
	 "6e73637265656e20776f756c642062652069742e",
	 "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69d"
	 "a9272"
	 "8b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808"
	 "b4831"
	 "d7bc3ff4def08e4b7a9de576d26586cec64b6116",
	 "1ae10b594f09e26a7e902ecbd0600691"},
	/* NIST CAVP gcmtestvectors, gcmEncryptExtIV128, PTlen = 0, AADlen = 128: GMAC */
	{"GMAC", CRYPTO_AES_GMAC, 0, "77be63708971c4e240d1cb79e8d77feb", "",
	 "e0e00f19fed7ba0136a797f3", "", "7a43ec1d9c0a5a78a0b16533a6213cab",
	 "7a43ec1d9c0a5a78a0b16533a6213cab", "209fcc8d3675ed938e9c7166709dd946"},
	/* NIST SP 800-38A, F.2.1, F.2.3, F.2.5 */
	{"AES-CBC-128", CRYPTO_AES_CBC, 0, "2b7e151628aed2a6abf7158809cf4f3c", "",
	 "000102030405060708090a0b0c0d0e0f", "",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
	 "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2", ""},
	{"AES-CBC-192", CRYPTO_AES_CBC, 0, "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "",
	 "000102030405060708090a0b0c0d0e0f", "",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
	 "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a", ""},
	{"AES-CBC-256", CRYPTO_AES_CBC, 0,
	 "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "",
	 "000102030405060708090a0b0c0d0e0f", "",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
	 "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d", ""},
	/* The same, F.5.1, F.5.3, F.5.5 */
	{"AES-CTR-128", CRYPTO_AES_CTR, 0, "2b7e151628aed2a6abf7158809cf4f3c", "",
	 "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
	 "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff", ""},
	{"AES-CTR-192", CRYPTO_AES_CTR, 0, "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "",
	 "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
	 "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94", ""},
	{"AES-CTR-256", CRYPTO_AES_CTR, 0,
	 "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "",
	 "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
	 "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5", ""},
	/* NIST SP 800-67, appendix B.1: three blocks in ECB mode; CBC with a zero IV over one block is the same */
	{"3DES 1", CRYPTO_3DES_CBC, 0, "0123456789abcdef23456789abcdef01456789abcdef0123", "",
	 "0000000000000000", "", "5468652071756663", "a826fd8ce53b855f", ""},
	{"3DES 2", CRYPTO_3DES_CBC, 0, "0123456789abcdef23456789abcdef01456789abcdef0123", "",
	 "0000000000000000", "", "6b2062726f776e20", "cce21c8112256fe6", ""},
	{"3DES 3", CRYPTO_3DES_CBC, 0, "0123456789abcdef23456789abcdef01456789abcdef0123", "",
	 "0000000000000000", "", "666f78206a756d70", "68d5c05dd9b6b900", ""},
	/* RFC 2202 sections 2 and 3, test case 2 */
	{"HMAC-MD5", CRYPTO_NULL, CRYPTO_HMAC_MD5, "", "4a656665", "", "",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "750c783e6ab0b503eaa86e310a5db738"},
	{"HMAC-SHA1", CRYPTO_NULL, CRYPTO_HMAC_SHA1, "", "4a656665", "", "",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
	/* RFC 4231 section 4.3, test case 2 */
	{"HMAC-SHA256", CRYPTO_NULL, CRYPTO_HMAC_SHA256, "", "4a656665", "", "",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{"HMAC-SHA384", CRYPTO_NULL, CRYPTO_HMAC_SHA384, "", "4a656665", "", "",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecf"
	 "ab216"
	 "49"},
	{"HMAC-SHA512", CRYPTO_NULL, CRYPTO_HMAC_SHA512, "", "4a656665", "", "",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f"
	 "8f0e6"
	 "fdcaeab1a34d4a6b4b636e070a38bce737"},
	/* RFC 3566 section 4, test cases 3 and 4 */
	{"AES-XCBC 3", CRYPTO_NULL, CRYPTO_AES_XCBC, "", "000102030405060708090a0b0c0d0e0f", "", "",
	 "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f",
	 "d2a246fa349b68a79998a439"},
	{"AES-XCBC 4", CRYPTO_NULL, CRYPTO_AES_XCBC, "", "000102030405060708090a0b0c0d0e0f", "", "",
	 "000102030405060708090a0b0c0d0e0f10111213", "000102030405060708090a0b0c0d0e0f10111213",
	 "47f51b4564966215b8985c63"},
};

static const char *const drivers[] = {"crypto_aesni_gcm", "crypto_aesni_mb", "crypto_openssl"};

static size_t bytes(const char *hex, uint8_t *ret)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned v = 0;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		ret[i] = (uint8_t)v;
	}
	return n;
}

static struct crypto_spec spec_of(const struct vector *v, bool encrypt)
{
	uint8_t unused[256];
	struct crypto_spec spec = {.cipher = v->cipher, .auth = v->auth, .encrypt = encrypt};

	spec.key_len = (uint8_t)bytes(v->key, spec.key);
	spec.auth_key_len = (uint8_t)bytes(v->auth_key, spec.auth_key);
	spec.icv_len = (uint8_t)bytes(v->icv, unused);
	spec.aad_len = (uint8_t)bytes(v->aad, unused);
	return spec;
}

/* A packet of @n bytes behind @front others, in pieces of @piece bytes. */
static struct rte_mbuf *packet(const uint8_t *data, size_t front, size_t n, size_t piece)
{
	struct rte_mbuf *head = NULL;

	for (size_t at = 0; at < front + n; at += piece) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		size_t len = RTE_MIN(piece, front + n - at);

		assert_non_null(m);
		m->data_len = (uint16_t)len;
		m->pkt_len = (uint32_t)len;
		for (size_t i = 0; i < len; i++)
			*rte_pktmbuf_mtod_offset(m, uint8_t *, i) =
				at + i < front ? 0xee : data[at + i - front];
		if (head)
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		else
			head = m;
	}
	return head;
}

static void assert_packet(struct rte_mbuf *m, const uint8_t *expected, size_t front, size_t n)
{
	uint8_t all[4096];

	assert_int_equal(m->pkt_len, front + n);
	for (size_t at = 0; m; at += m->data_len, m = m->next)
		memcpy(all + at, rte_pktmbuf_mtod(m, void *), m->data_len);
	for (size_t i = 0; i < front; i++)
		assert_int_equal(all[i], 0xee);
	assert_memory_equal(all + front, expected, n);
}

static void check_one(const struct vector *v, const struct crypto_session *s, bool encrypt,
		      size_t piece)
{
	uint8_t iv[16], aad[16], in[256], out[256], icv[64], expected[64];
	size_t n = bytes(encrypt ? v->plain : v->cipher_text, in);
	size_t n_icv = bytes(v->icv, expected);
	struct rte_mbuf *m = packet(in, 3, n, piece);
	struct crypto_op op = {
		.m = m, .at = 3, .len = (uint32_t)n, .iv = iv, .aad = aad, .icv = icv};

	bytes(encrypt ? v->cipher_text : v->plain, out);
	bytes(v->iv, iv);
	bytes(v->aad, aad);
	memset(icv, 0, sizeof(icv));
	if (!encrypt)
		memcpy(icv, expected, n_icv);
	assert_int_equal(crypto_run(1, s, &op, 1), 1);
	assert_true(op.ok);
	assert_packet(m, out, 3, n);
	assert_memory_equal(icv, expected, n_icv);
	for (size_t i = n_icv; i < sizeof(icv); i++)
		assert_int_equal(icv[i], 0);
	if (!encrypt && n_icv) {
		rte_pktmbuf_free(m);
		op.m = m = packet(in, 3, n, piece);
		icv[n_icv - 1] ^= 1;
		assert_int_equal(crypto_run(1, s, &op, 1), 0);
		assert_false(op.ok);
	}
	rte_pktmbuf_free(m);
}

static void published_vectors_come_out_on_each_device(void **state)
{
	static const size_t pieces[] = {2000, 1, 7, 16};
	unsigned ran[RTE_DIM(drivers)] = {};

	for (size_t i = 0; i < RTE_DIM(vectors); i++) {
		const struct vector *v = &vectors[i];
		bool any = false;

		for (size_t d = 0; d < RTE_DIM(drivers); d++)
			for (int encrypt = 0; encrypt < 2; encrypt++) {
				struct crypto_spec spec = spec_of(v, encrypt);
				struct crypto_session *s = NULL;
				struct err err = {};

				if (crypto_session_create_on(&spec, drivers[d], &s, &err)) {
					assert_int_equal(err.code, ENOTSUP);
					continue;
				}
				print_message("%s %s on %s\n", v->source,
					      encrypt ? "encrypts" : "decrypts", drivers[d]);
				assert_string_equal(crypto_session_device(s), drivers[d]);
				for (size_t p = 0; p < RTE_DIM(pieces); p++)
					check_one(v, s, encrypt, pieces[p]);
				crypto_session_destroy(s);
				ran[d]++;
				any = true;
			}
		assert_true(any);
	}
	/* None of them is left out for a reason nobody thought of. */
	print_message("runs by device: %u %u %u\n", ran[0], ran[1], ran[2]);
	assert_int_equal(ran[0], 2 * 5);
	assert_true(ran[1] >= 2 * 22);
	assert_true(ran[2] >= 2 * 18);
}

static void the_first_device_that_can_is_taken(void **state)
{
	static const struct {
		const char *source, *device;
	} cases[] = {
		{"GCM 2", "crypto_aesni_gcm"},	    {"GMAC", "crypto_aesni_gcm"},
		{"AES-CBC-128", "crypto_aesni_mb"}, {"ChaCha20-Poly1305", "crypto_aesni_mb"},
		{"AES-XCBC 3", "crypto_aesni_mb"},  {"3DES 1", "crypto_aesni_mb"},
	};

	for (size_t i = 0; i < RTE_DIM(cases); i++)
		for (size_t j = 0; j < RTE_DIM(vectors); j++) {
			struct crypto_spec spec = spec_of(&vectors[j], true);
			struct crypto_session *s;
			struct err err = {};

			if (strcmp(vectors[j].source, cases[i].source))
				continue;
			assert_int_equal(crypto_session_create(&spec, &s, &err), 0);
			assert_string_equal(crypto_session_device(s), cases[i].device);
			crypto_session_destroy(s);
		}
}

/* What one device encrypts another decrypts, with the additional data of ESP (RFC 4106: 8 bytes, or 12 with ESN). */
static void devices_agree_on_gcm_with_additional_data(void **state)
{
	static const char *const pairs[][2] = {{"crypto_aesni_gcm", "crypto_openssl"},
					       {"crypto_openssl", "crypto_aesni_mb"}};

	srandom(5);
	for (unsigned round = 0; round < 600; round++) {
		const char *const *pair = pairs[round % 2];
		struct crypto_spec spec = {.cipher = CRYPTO_AES_GCM, .icv_len = 16};
		uint8_t data[1500], iv[12], aad[CRYPTO_AAD_MAX], icv[16];
		size_t n = 1 + (size_t)random() % sizeof(data);
		struct crypto_session *s;
		struct err err = {};
		struct crypto_op op;

		spec.key_len = (uint8_t)(16 + 8 * (random() % 3));
		spec.aad_len = random() % 2 ? 8 : 12;
		for (unsigned i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)random();
		memcpy(spec.key, data, sizeof(spec.key));
		memcpy(iv, data + 40, sizeof(iv));
		memcpy(aad, data + 60, sizeof(aad));
		op = (struct crypto_op){.m = packet(data, 9, n, round % 5 ? 2000 : 100),
					.at = 9,
					.len = (uint32_t)n,
					.iv = iv,
					.aad = aad,
					.icv = icv};
		spec.encrypt = true;
		assert_int_equal(crypto_session_create_on(&spec, pair[0], &s, &err), 0);
		assert_int_equal(crypto_run(0, s, &op, 1), 1);
		crypto_session_destroy(s);
		spec.encrypt = false;
		assert_int_equal(crypto_session_create_on(&spec, pair[1], &s, &err), 0);
		if (round % 3) {
			assert_int_equal(crypto_run(0, s, &op, 1), 1);
			assert_packet(op.m, data, 9, n);
		} else {
			aad[spec.aad_len - 1] ^= 1;
			assert_int_equal(crypto_run(0, s, &op, 1), 0);
			assert_false(op.ok);
		}
		crypto_session_destroy(s);
		rte_pktmbuf_free(op.m);
	}
}

/* ESP's shape: header and IV authenticated only, the sequence number's upper half behind; bursts, some in pieces. */
static void a_chain_of_cipher_and_hmac_is_both(const struct crypto_spec *spec)
{
	enum { FRONT = 24, LEN = 64, TAIL = 4, N = CRYPTO_BURST };
	struct crypto_spec one = *spec, hmac = *spec;
	struct crypto_session *s[2], *cipher, *auth;
	uint8_t data[FRONT + LEN + TAIL], iv[16] = {1, 2, 3}, icv[N][64], expected[64];
	struct crypto_op ops[N], op;
	struct err err = {};

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	one.cipher_head = FRONT;
	one.cipher_tail = TAIL;
	for (int encrypt = 0; encrypt < 2; encrypt++) {
		one.encrypt = encrypt;
		assert_int_equal(crypto_session_create(&one, &s[encrypt], &err), 0);
	}
	one = *spec;
	one.auth = CRYPTO_AUTH_NONE;
	one.auth_key_len = one.icv_len = 0;
	one.encrypt = true;
	assert_int_equal(crypto_session_create(&one, &cipher, &err), 0);
	hmac.cipher = CRYPTO_NULL;
	hmac.key_len = 0;
	hmac.encrypt = true;
	assert_int_equal(crypto_session_create(&hmac, &auth, &err), 0);

	for (unsigned i = 0; i < N; i++)
		ops[i] = (struct crypto_op){
			.m = packet(data, 5, sizeof(data), i % 3 ? 2000 : 13 + i),
			.at = 5,
			.len = sizeof(data),
			.iv = iv,
			.icv = icv[i]};
	assert_int_equal(crypto_run(0, s[1], ops, N), N);
	/* The same in two steps. */
	op = (struct crypto_op){
		.m = packet(data, 0, sizeof(data), 2000), .at = FRONT, .len = LEN, .iv = iv};
	assert_int_equal(crypto_run(0, cipher, &op, 1), 1);
	op.at = 0;
	op.len = sizeof(data);
	op.icv = expected;
	assert_int_equal(crypto_run(0, auth, &op, 1), 1);
	for (unsigned i = 0; i < N; i++) {
		assert_packet(ops[i].m, rte_pktmbuf_mtod(op.m, uint8_t *), 5, sizeof(data));
		assert_memory_equal(icv[i], expected, spec->icv_len);
	}
	/* And back, one of them spoilt, one too short, one with half a block. */
	*rte_pktmbuf_mtod_offset(ops[4].m, uint8_t *, 5 + 2) ^= 1;
	ops[7].len++;
	ops[10].len--;
	assert_int_equal(crypto_run(0, s[0], ops, N), N - 3);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(ops[i].ok, i != 4 && i != 7 && i != 10);
		if (ops[i].ok)
			assert_packet(ops[i].m, data, 5, sizeof(data));
		rte_pktmbuf_free(ops[i].m);
	}
	rte_pktmbuf_free(op.m);
	crypto_session_destroy(s[0]);
	crypto_session_destroy(s[1]);
	crypto_session_destroy(cipher);
	crypto_session_destroy(auth);
}

static void ciphers_and_hashes_go_together(void **state)
{
	static const struct {
		uint8_t cipher, key_len;
	} ciphers[] = {{CRYPTO_AES_CBC, 16},
		       {CRYPTO_AES_CBC, 32},
		       {CRYPTO_AES_CTR, 16},
		       {CRYPTO_3DES_CBC, 24}};
	static const struct {
		uint8_t auth, key_len, icv_len;
	} auths[] = {{CRYPTO_HMAC_MD5, 16, 12},	   {CRYPTO_HMAC_SHA1, 20, 12},
		     {CRYPTO_HMAC_SHA256, 32, 16}, {CRYPTO_HMAC_SHA384, 48, 24},
		     {CRYPTO_HMAC_SHA512, 64, 32}, {CRYPTO_AES_XCBC, 16, 12}};

	for (size_t c = 0; c < RTE_DIM(ciphers); c++)
		for (size_t a = 0; a < RTE_DIM(auths); a++) {
			struct crypto_spec spec = {.cipher = ciphers[c].cipher,
						   .key_len = ciphers[c].key_len,
						   .auth = auths[a].auth,
						   .auth_key_len = auths[a].key_len,
						   .icv_len = auths[a].icv_len};

			for (unsigned i = 0; i < sizeof(spec.key); i++)
				spec.key[i] = (uint8_t)(i * 29 + c);
			for (unsigned i = 0; i < sizeof(spec.auth_key); i++)
				spec.auth_key[i] = (uint8_t)(i * 31 + a);
			a_chain_of_cipher_and_hmac_is_both(&spec);
		}
}

static void icvs_of_gcm_may_be_shorter(void **state)
{
	for (uint8_t len = 8; len <= 16; len += 4) {
		uint8_t iv[12], icv[16] = {}, expected[16], in[64];
		struct crypto_spec spec = spec_of(&vectors[0], true);
		struct crypto_session *s;
		struct err err = {};
		struct crypto_op op;
		size_t n = bytes(vectors[0].plain, in);

		spec.icv_len = len;
		bytes(vectors[0].iv, iv);
		bytes(vectors[0].icv, expected);
		assert_int_equal(crypto_session_create(&spec, &s, &err), 0);
		op = (struct crypto_op){
			.m = packet(in, 0, n, 2000), .len = (uint32_t)n, .iv = iv, .icv = icv};
		assert_int_equal(crypto_run(0, s, &op, 1), 1);
		assert_memory_equal(icv, expected, len);
		for (unsigned i = len; i < 16; i++)
			assert_int_equal(icv[i], 0);
		rte_pktmbuf_free(op.m);
		crypto_session_destroy(s);
	}
}

static void what_cannot_be_is_refused_with_a_reason(void **state)
{
	static const struct {
		struct crypto_spec spec;
		const char *text;
	} cases[] = {
		{{.cipher = CRYPTO_CIPHERS}, "crypto session: unknown algorithm"},
		{{.cipher = CRYPTO_NULL},
		 "crypto session: cipher and authentication don't go together"},
		{{.cipher = CRYPTO_AES_GCM, .auth = CRYPTO_HMAC_SHA1, .key_len = 16, .icv_len = 16},
		 "crypto session: cipher and authentication don't go together"},
		{{.cipher = CRYPTO_AES_GCM, .key_len = 17, .icv_len = 16},
		 "crypto session: no key of this length"},
		{{.cipher = CRYPTO_AES_CBC, .key_len = 8}, "crypto session: no key of this length"},
		{{.cipher = CRYPTO_AES_GCM, .key_len = 16, .icv_len = 7},
		 "crypto session: no ICV of this length"},
		{{.cipher = CRYPTO_AES_GCM, .key_len = 16, .icv_len = 16, .aad_len = 9},
		 "crypto session: no additional data of this length"},
		{{.cipher = CRYPTO_AES_CBC, .key_len = 16, .aad_len = 8},
		 "crypto session: no additional data of this length"},
		{{.cipher = CRYPTO_AES_GCM, .key_len = 16, .icv_len = 16, .cipher_head = 8},
		 "crypto session: this cipher takes all bytes of an operation"},
		{{.auth = CRYPTO_HMAC_SHA1, .auth_key_len = 65, .icv_len = 12},
		 "crypto session: no authentication key of this length"},
		{{.auth = CRYPTO_AES_XCBC, .auth_key_len = 15, .icv_len = 12},
		 "crypto session: no authentication key of this length"},
		{{.auth = CRYPTO_HMAC_SHA1, .auth_key_len = 20, .icv_len = 21},
		 "crypto session: no ICV of this length"},
	};

	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct crypto_session *s = NULL;
		struct err err = {};

		assert_int_equal(crypto_session_create(&cases[i].spec, &s, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].text);
		assert_null(s);
	}
}

static void too_many_sessions_are_refused_and_leave_room_again(void **state)
{
	struct crypto_spec spec = spec_of(&vectors[0], true);
	struct crypto_session *all[SESSIONS], *more = NULL;
	struct err err = {};

	for (unsigned i = 0; i < SESSIONS; i++)
		assert_int_equal(crypto_session_create(&spec, &all[i], &err), 0);
	assert_int_equal(crypto_session_create(&spec, &more, &err), -ENOSPC);
	assert_string_equal(err.text, "too many crypto sessions");
	for (unsigned i = 0; i < SESSIONS; i++)
		crypto_session_destroy(all[i]);
	assert_int_equal(crypto_session_create(&spec, &more, &err), 0);
	crypto_session_destroy(more);
}

/* --- keys --- */

static const uint8_t key[32] = "a key that stands nowhere else!";

struct search {
	unsigned found;
};

static int look_in(const struct rte_memseg_list *msl, const struct rte_memseg *ms, size_t len,
		   void *arg)
{
	struct search *search = arg;
	const uint8_t *at = ms->addr;

	for (size_t i = 0; i + 16 <= len; i += 4)
		if (!memcmp(at + i, key, 16))
			search->found++;
	return 0;
}

static unsigned copies_of_the_key(void)
{
	struct search search = {};

	rte_memseg_contig_walk(look_in, &search);
	return search.found;
}

static void a_destroyed_session_leaves_no_key(void **state)
{
	static const struct {
		uint8_t cipher, key_len, auth, auth_key_len, icv_len;
	} cases[] = {{CRYPTO_AES_GCM, 32, 0, 0, 16},
		     {CRYPTO_AES_CBC, 32, CRYPTO_HMAC_SHA256, 32, 16},
		     {CRYPTO_CHACHA20_POLY1305, 32, 0, 0, 16}};
	unsigned seen = 0;

	assert_int_equal(copies_of_the_key(), 0);
	for (size_t i = 0; i < RTE_DIM(cases); i++) {
		struct crypto_spec spec = {.cipher = cases[i].cipher,
					   .key_len = cases[i].key_len,
					   .auth = cases[i].auth,
					   .auth_key_len = cases[i].auth_key_len,
					   .icv_len = cases[i].icv_len,
					   .encrypt = true};
		struct crypto_session *s;
		struct err err = {};

		memcpy(spec.key, key, sizeof(key));
		memcpy(spec.auth_key, key, sizeof(key));
		assert_int_equal(crypto_session_create(&spec, &s, &err), 0);
		seen += copies_of_the_key();
		crypto_session_destroy(s);
		assert_int_equal(copies_of_the_key(), 0);
		crypto_wipe(&spec, sizeof(spec));
		for (unsigned b = 0; b < sizeof(spec); b++)
			assert_int_equal(((uint8_t *)&spec)[b], 0);
	}
	/* The search would find one. */
	assert_true(seen > 0);
}

static void sessions_go_after_workers_let_go_of_them(void **state)
{
	static struct worker_row workers[WORKERS_MAX];
	struct crypto_spec spec = spec_of(&vectors[0], true);
	struct crypto_session *s;
	struct err err = {};
	struct gc gc;

	gc_init(&gc, workers);
	quiesce_online(&workers[0]);
	assert_int_equal(crypto_session_create(&spec, &s, &err), 0);
	crypto_session_destroy_later(s, &gc);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(gc_run(&gc), 1);
	quiesce_point(&workers[0]);
	quiesce_point(&workers[0]);
	for (unsigned i = 0; gc_run(&gc) && i < 1000; i++)
		rte_delay_us_block(100);
	assert_int_equal(gc_run(&gc), 0);
}

/* --- while workers run --- */

static struct crypto_session *_Atomic shown;
static struct worker_row rows[WORKERS_MAX];
static _Atomic bool stop;

/* An EAL thread, as workers are: one operation after the other with whatever session is shown. */
static int work(void *arg)
{
	struct worker_row *row = &rows[0];
	uint8_t in[64], out[64], icv[16], expected[16], iv[12];
	size_t n = bytes(vectors[1].plain, in);
	unsigned wrong = 0, done = 0;

	bytes(vectors[1].cipher_text, out);
	bytes(vectors[1].icv, expected);
	bytes(vectors[1].iv, iv);
	quiesce_online(row);
	while (!atomic_load(&stop)) {
		struct rte_mbuf *m = packet(in, 3, n, 2000);
		struct crypto_op op = {.m = m, .at = 3, .len = (uint32_t)n, .iv = iv, .icv = icv};

		quiesce_point(row);
		if (crypto_run(1, atomic_load(&shown), &op, 1) != 1 || memcmp(icv, expected, 16) ||
		    memcmp(rte_pktmbuf_mtod_offset(m, void *, 3), out, n))
			wrong++;
		rte_pktmbuf_free(m);
		done++;
	}
	quiesce_offline(row);
	return wrong || !done ? -1 : 0;
}

static void sessions_come_and_go_while_workers_run(void **state)
{
	struct crypto_spec spec = spec_of(&vectors[1], true);
	unsigned lcore = rte_get_next_lcore(-1, 1, 0);
	struct crypto_session *s;
	struct err err = {};
	struct gc gc;

	gc_init(&gc, rows);
	assert_int_equal(crypto_session_create(&spec, &s, &err), 0);
	atomic_store(&shown, s);
	assert_int_equal(rte_eal_remote_launch(work, NULL, lcore), 0);
	for (unsigned i = 0; i < 2000; i++) {
		/* Room for as many as wait for the worker. */
		for (unsigned tries = 0; gc_run(&gc) > SESSIONS / 2 && tries < 10000; tries++)
			rte_delay_us_sleep(100);
		assert_int_equal(crypto_session_create(&spec, &s, &err), 0);
		s = atomic_exchange(&shown, s);
		crypto_session_destroy_later(s, &gc);
	}
	atomic_store(&stop, true);
	assert_int_equal(rte_eal_wait_lcore(lcore), 0);
	while (gc_run(&gc))
		rte_delay_us_sleep(100);
	crypto_session_destroy(atomic_load(&shown));
}

static int start(void **state)
{
	char *argv[] = {"test", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
			"-m",	"128",	     "--lcores", "0@0,1@0-1",	"--log-level=critical"};
	struct err err = {};

	if (rte_eal_init(RTE_DIM(argv), argv) < 0)
		return -1;
	pool = rte_pktmbuf_pool_create("packets", 4095, 0, 0, 2048 + 128, SOCKET_ID_ANY);
	if (!pool || crypto_open(WORKERS, SESSIONS, &err)) {
		print_error("%s\n", err.text);
		return -1;
	}
	return 0;
}

static int end(void **state)
{
	unsigned left = rte_mempool_in_use_count(pool);

	crypto_close();
	return left ? -1 : 0;
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(published_vectors_come_out_on_each_device),
		TEST(the_first_device_that_can_is_taken),
		TEST(ciphers_and_hashes_go_together),
		TEST(icvs_of_gcm_may_be_shorter),
		TEST(devices_agree_on_gcm_with_additional_data),
		TEST(what_cannot_be_is_refused_with_a_reason),
		TEST(too_many_sessions_are_refused_and_leave_room_again),
		TEST(a_destroyed_session_leaves_no_key),
		TEST(sessions_go_after_workers_let_go_of_them),
		TEST(sessions_come_and_go_while_workers_run),
	};

	return cmocka_run_group_tests(tests, start, end);
}
