// SPDX-License-Identifier: BSD-3-Clause
/* What crypto sessions cost: cycles per operation, bursts of 64, through fpn/crypto.h and beside it through DPDK's call
 * alone; the difference is what the API costs. `crypto_cycles [ROUNDS]`, medians; needs no privileges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>

#include "fpn/crypto_device.h"

#define BURSTS 4 /* short, so that few rounds meet another process */

static struct rte_mempool *pool;
static struct rte_mbuf *pkts[CRYPTO_BURST];
static uint8_t iv[16], aad[8], icv[CRYPTO_BURST][64];

static uint64_t through_api(const struct crypto_session *s, unsigned at, unsigned len)
{
	struct crypto_op ops[CRYPTO_BURST];
	uint64_t start = rte_rdtsc();

	for (unsigned b = 0; b < BURSTS; b++) {
		for (unsigned i = 0; i < CRYPTO_BURST; i++)
			ops[i] = (struct crypto_op){.m = pkts[i],
						    .at = at,
						    .len = len,
						    .iv = iv,
						    .aad = aad,
						    .icv = icv[i]};
		if (crypto_run(0, s, ops, CRYPTO_BURST) != CRYPTO_BURST)
			exit(1);
	}
	return rte_rdtsc() - start;
}

/* The arrays stand before the clock starts. */
static uint64_t bare(const struct crypto_session *s, unsigned at, unsigned len)
{
	struct rte_crypto_sgl sgl[CRYPTO_BURST];
	struct rte_crypto_vec part[CRYPTO_BURST];
	struct rte_crypto_va_iova_ptr ivs[CRYPTO_BURST], aads[CRYPTO_BURST], icvs[CRYPTO_BURST];
	int32_t status[CRYPTO_BURST];
	struct rte_crypto_sym_vec vec = {.num = CRYPTO_BURST,
					 .src_sgl = sgl,
					 .iv = ivs,
					 .digest = icvs,
					 .aad = aads,
					 .status = status};
	uint64_t start;

	for (unsigned i = 0; i < CRYPTO_BURST; i++) {
		part[i].base = rte_pktmbuf_mtod_offset(pkts[i], void *, at);
		part[i].len = len;
		sgl[i] = (struct rte_crypto_sgl){.vec = &part[i], .num = 1};
		ivs[i].va = iv;
		aads[i].va = aad;
		icvs[i].va = icv[i];
	}
	start = rte_rdtsc();
	for (unsigned b = 0; b < BURSTS; b++) {
		memset(status, 0, sizeof(status));
		if (rte_cryptodev_sym_cpu_crypto_process(s->device->id, s->session, s->ofs, &vec) !=
		    CRYPTO_BURST)
			exit(1);
	}
	return rte_rdtsc() - start;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), ascending);
	return values[n / 2];
}

static void measure(const char *name, struct crypto_spec spec, const char *device, unsigned len,
		    unsigned rounds)
{
	double *api = calloc(rounds, sizeof(*api)), *alone = calloc(rounds, sizeof(*alone));
	struct crypto_session *s;
	struct err err = {};

	spec.encrypt = true;
	if (crypto_session_create_on(&spec, device, &s, &err)) {
		fprintf(stderr, "error: %s: %s\n", name, err.text);
		exit(1);
	}
	through_api(s, 64, len);
	for (unsigned r = 0; r < rounds; r++) {
		api[r] = (double)through_api(s, 64, len) / BURSTS / CRYPTO_BURST;
		alone[r] = s->device->sync ? (double)bare(s, 64, len) / BURSTS / CRYPTO_BURST : 0;
	}
	printf("%-22s %-18s %5u %9.1f %9.1f %9.3f\n", name, crypto_session_device(s), len,
	       median(api, rounds), median(alone, rounds), median(api, rounds) / len);
	crypto_session_destroy(s);
	free(api);
	free(alone);
}

int main(int argc, char **argv)
{
	char *eal[] = {"crypto_cycles",
		       "--no-huge",
		       "--no-pci",
		       "--no-shconf",
		       "--no-telemetry",
		       "-m",
		       "128",
		       "--lcores",
		       "0@0",
		       "--log-level=error"};
	static const unsigned lengths[] = {64, 352, 1408};
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
	static const struct {
		const char *name, *device;
		struct crypto_spec spec;
	} cases[] = {
		{"aes-gcm-128",
		 NULL,
		 {.cipher = CRYPTO_AES_GCM, .key_len = 16, .icv_len = 16, .aad_len = 8}},
		{"aes-gcm-128",
		 "crypto_aesni_mb",
		 {.cipher = CRYPTO_AES_GCM, .key_len = 16, .icv_len = 16, .aad_len = 8}},
		{"aes-gcm-128",
		 "crypto_openssl",
		 {.cipher = CRYPTO_AES_GCM, .key_len = 16, .icv_len = 16, .aad_len = 8}},
		{"aes-gcm-256",
		 NULL,
		 {.cipher = CRYPTO_AES_GCM, .key_len = 32, .icv_len = 16, .aad_len = 8}},
		{"chacha20-poly1305",
		 NULL,
		 {.cipher = CRYPTO_CHACHA20_POLY1305, .key_len = 32, .icv_len = 16, .aad_len = 8}},
		{"aes-cbc-128 sha1",
		 NULL,
		 {.cipher = CRYPTO_AES_CBC,
		  .key_len = 16,
		  .auth = CRYPTO_HMAC_SHA1,
		  .auth_key_len = 20,
		  .icv_len = 12}},
		{"aes-cbc-128 sha256",
		 NULL,
		 {.cipher = CRYPTO_AES_CBC,
		  .key_len = 16,
		  .auth = CRYPTO_HMAC_SHA256,
		  .auth_key_len = 32,
		  .icv_len = 16}},
	};
	struct err err = {};

	if (rounds < 1 || rte_eal_init(RTE_DIM(eal), eal) < 0)
		return 1;
	pool = rte_pktmbuf_pool_create("packets", 255, 0, 0, 2048 + 128, SOCKET_ID_ANY);
	if (!pool || crypto_open(1, 64, &err)) {
		fprintf(stderr, "error: %s\n", err.text);
		return 1;
	}
	for (unsigned i = 0; i < CRYPTO_BURST; i++) {
		pkts[i] = rte_pktmbuf_alloc(pool);
		pkts[i]->data_len = 1600;
		pkts[i]->pkt_len = 1600;
	}
	printf("%-22s %-18s %5s %9s %9s %9s\n", "algorithm", "device", "bytes", "cycles", "bare",
	       "cycles/B");
	for (size_t c = 0; c < RTE_DIM(cases); c++)
		for (size_t l = 0; l < RTE_DIM(lengths); l++)
			if (cases[c].spec.auth == CRYPTO_AUTH_NONE || lengths[l] != 352)
				measure(cases[c].name, cases[c].spec, cases[c].device, lengths[l],
					rounds);
	return 0;
}
