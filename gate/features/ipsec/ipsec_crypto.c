// SPDX-License-Identifier: BSD-3-Clause
/* Sessions of SAs, made and given back by the control thread; and what ESP wants of each cipher (RFC 4106, 4543, 3686, 3602,
 * 2451, 7634). */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "features/ipsec/ipsec_path.h"

#define IV_COUNTS(cipher)                                                                          \
	((cipher) >= FPC_IPSEC_AES_CTR) /* need be different only; others unpredictable */

struct ipsec_session *ipsec_sessions;
static uint32_t n_sessions, n_states;
static const struct ipsec_row *config_row;
static const struct ipsec_key_row *keys;
static bool is_open;
static uint64_t seen; /* changes */
static bool look_again;

/* --- IVs that nobody can predict: ChaCha20 (RFC 8439) with a key of the worker's own --- */

struct generator {
	uint32_t state[16];
	uint8_t block[64];
	unsigned used;
	bool ready;
};
static _Alignas(64) struct generator generators[WORKERS_MAX];

static inline uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static void quarter(uint32_t *x, unsigned a, unsigned b, unsigned c, unsigned d)
{
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 7);
}

static void refill(struct generator *g)
{
	uint32_t x[16];

	memcpy(x, g->state, sizeof(x));
	for (unsigned i = 0; i < 10; i++) {
		quarter(x, 0, 4, 8, 12);
		quarter(x, 1, 5, 9, 13);
		quarter(x, 2, 6, 10, 14);
		quarter(x, 3, 7, 11, 15);
		quarter(x, 0, 5, 10, 15);
		quarter(x, 1, 6, 11, 12);
		quarter(x, 2, 7, 8, 13);
		quarter(x, 3, 4, 9, 14);
	}
	for (unsigned i = 0; i < 16; i++)
		x[i] += g->state[i];
	memcpy(g->block, x, sizeof(x));
	if (!++g->state[12])
		g->state[13]++;
	g->used = 0;
}

static void random_iv(const struct fp_worker *w, uint8_t *ret, unsigned len)
{
	struct generator *g = &generators[w->id];

	if (unlikely(g->used + len > sizeof(g->block)))
		refill(g);
	memcpy(ret, g->block + g->used, len);
	g->used += len;
}

static int start_generators(void)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct generator *g = &generators[i];

		if (getrandom(g->state, sizeof(g->state), 0) != sizeof(g->state))
			return -EIO;
		memcpy(g->state, "expand 32-byte k", 16);
		g->used = sizeof(g->block);
	}
	return 0;
}

/* --- control thread --- */

static bool is_aead(uint8_t cipher)
{
	return cipher == FPC_IPSEC_AES_GCM || cipher == FPC_IPSEC_CHACHA20_POLY1305;
}

static void make_spec(struct crypto_spec *ret, const struct ipsec_sa_row *sa,
		      const struct ipsec_key_row *key, bool encrypt)
{
	bool esn = sa->flags & FPC_IPSEC_ESN;

	*ret = (struct crypto_spec){.cipher = sa->cipher - 1,
				    .auth = sa->auth,
				    .encrypt = encrypt,
				    .icv_len = sa->icv_len,
				    .key_len = sa->key_len,
				    .auth_key_len = sa->auth_key_len};
	if (is_aead(sa->cipher)) {
		ret->aad_len = esn ? 12 : 8;
	} else if (sa->cipher != FPC_IPSEC_AES_GMAC) {
		ret->cipher_head = ESP_HEADER + sa->iv_len;
		ret->cipher_tail = esn ? 4 : 0;
	}
	memcpy(ret->key, key->key, RTE_MIN(sa->key_len, sizeof(ret->key)));
	memcpy(ret->auth_key, key->auth_key, RTE_MIN(sa->auth_key_len, sizeof(ret->auth_key)));
}

static int make(const struct ipsec_sa_row *sa, const struct ipsec_key_row *key, bool encrypt,
		struct crypto_session **ret, struct err *err)
{
	struct crypto_spec spec;
	int rc;

	if (sa->key_len > CRYPTO_KEY_MAX || sa->auth_key_len > CRYPTO_AUTH_KEY_MAX)
		return err_set(err, ENOTSUP, "keys of %u and %u bytes", sa->key_len,
			       sa->auth_key_len);
	make_spec(&spec, sa, key, encrypt);
	rc = crypto_session_create(&spec, ret, err);
	crypto_wipe(&spec, sizeof(spec));
	return rc;
}

/* Where Linux was. What it has received counts as seen. */
static void start_state(struct ipsec_sa_state_row *s, const struct ipsec_sa_row *sa,
			uint64_t generation)
{
	uint64_t top = sa->start_received, block = top >> 5;

	if (s->generation == generation)
		return;
	memset(s, 0, sizeof(*s));
	s->received = top;
	for (unsigned i = 0; top && i < IPSEC_BLOCKS && i <= block; i++) {
		uint64_t b = block - i;
		uint64_t bits = i ? UINT32_MAX : (2ULL << (top & 31)) - 1;

		s->blocks[b & (IPSEC_BLOCKS - 1)] = b << 32 | bits;
	}
	atomic_store_explicit(&s->generation, generation, memory_order_release);
}

/* Sequence numbers go on behind those that Linux used: also when it used some after the SA came here. */
static void catch_up(struct ipsec_sa_state_row *s, const struct ipsec_sa_row *sa)
{
	uint64_t sent = atomic_load(&s->sent);

	while (sa->start_seq > sent &&
	       !atomic_compare_exchange_weak(&s->sent, &sent, sa->start_seq))
		;
}

static void put(uint32_t row, struct gc *gc)
{
	struct ipsec_session *s = &ipsec_sessions[row];

	if (!s->generation)
		return;
	atomic_store_explicit(&s->generation, 0, memory_order_release);
	atomic_store(&ipsec_states[row].ready, 0);
	crypto_session_destroy_later(s->encrypt, gc);
	crypto_session_destroy_later(s->decrypt, gc);
}

static int get(uint32_t row, uint64_t generation, struct err *err)
{
	const struct ipsec_sa_row *sa = &ipsec_sa_rows[row];
	struct ipsec_session *s = &ipsec_sessions[row];
	struct crypto_session *encrypt = NULL, *decrypt = NULL;
	int rc = make(sa, &keys[row], true, &encrypt, err);

	if (!rc)
		rc = make(sa, &keys[row], false, &decrypt, err);
	/* It may have gone, and its keys with it, while we looked. */
	if (rc || atomic_load(&sa->generation) != generation) {
		crypto_session_destroy(encrypt);
		crypto_session_destroy(decrypt);
		return rc;
	}
	if (getrandom(&s->iv, sizeof(s->iv), 0) != sizeof(s->iv)) {
		crypto_session_destroy(encrypt);
		crypto_session_destroy(decrypt);
		return err_set(err, EIO, "no random numbers");
	}
	start_state(&ipsec_states[row], sa, generation);
	catch_up(&ipsec_states[row], sa);
	s->encrypt = encrypt;
	s->decrypt = decrypt;
	atomic_store_explicit(&s->generation, generation, memory_order_release);
	atomic_store(&ipsec_states[row].ready, 1);
	return 0;
}

static int open_crypto(unsigned n_workers, struct err *err)
{
	int rc = 0;

	if (!is_open) {
		rc = start_generators();
		/* Both directions, and those that wait for workers to let go (FP_MEMORY's default counts on it). */
		rc = rc ? err_set(err, -rc, "no random numbers")
			: crypto_open(n_workers, 3 * n_sessions, err);
	}
	is_open |= !rc;
	return rc;
}

/* An SA that can't have sessions stays Linux's; the last such is told. */
int ipsec_sessions_look(struct gc *gc, unsigned n_workers, struct err *err)
{
	uint64_t changes = atomic_load_explicit(&config_row->changes, memory_order_acquire);
	int ret = 0;

	if (changes == seen && !look_again)
		return 0;
	seen = changes;
	look_again = false;
	for (uint32_t row = 1; row < n_sessions; row++) {
		const struct ipsec_sa_row *sa = &ipsec_sa_rows[row];
		uint64_t generation = atomic_load_explicit(&sa->generation, memory_order_acquire);
		int rc = 0;

		if (generation && ipsec_sessions[row].generation == generation) {
			catch_up(&ipsec_states[row], sa);
			continue;
		}
		put(row, gc);
		if (!generation || sa->why != IPSEC_SA_FAST || row >= n_states)
			continue;
		rc = open_crypto(n_workers, err);
		if (rc)
			return rc;
		rc = get(row, generation, err);
		ret = rc ? rc : ret;
	}
	return ret;
}

int ipsec_sessions_attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	uint32_t n = shm_find(config, "ipsec_sa")->capacity;

	/* fpmd's settings decide the capacity; sessions of rows beyond a smaller one would never be given back. */
	if (n != n_sessions) {
		struct ipsec_session *more;

		if (n < n_sessions)
			return err_set(err, EPROTO, "fpmd has fewer SAs than before (FP_MAX_SAS)");
		more = calloc(n, sizeof(*more));
		if (!more)
			return err_set(err, ENOMEM, "no memory for %u SAs", n);
		if (ipsec_sessions)
			memcpy(more, ipsec_sessions, n_sessions * sizeof(*more));
		free(ipsec_sessions);
		ipsec_sessions = more;
		n_sessions = n;
	}
	config_row = shm_rows(config, "ipsec");
	keys = shm_rows(config, "ipsec_key");
	n_states = shm_find(stats, "ipsec_sa_state")->capacity;
	look_again = true;
	return 0;
}

/* --- workers --- */

typedef uint32_t uint32x4 __attribute__((vector_size(16), may_alias));

/* What an operation's pointers lead to. */
struct scratch {
	_Alignas(16) uint8_t iv[16];
	uint8_t aad[12];
	uint8_t icv[CRYPTO_ICV_MAX];
};

static void put_iv(struct fp_worker *w, const struct ipsec_sa_row *sa,
		   const struct ipsec_session *s, uint64_t seq, uint8_t *iv)
{
	if (likely(IV_COUNTS(sa->cipher))) {
		uint64_t count = seq ^ s->iv;

		memcpy(iv, &count, 8);
	} else if (sa->iv_len) {
		random_iv(w, iv, sa->iv_len);
	}
}

/* In one store, for the cipher reads it as a whole. */
static inline void nonce(struct scratch *x, const struct ipsec_sa_row *sa, const uint8_t *iv)
{
	uint32_t salt, first, second;

	memcpy(&salt, sa->salt, 4);
	memcpy(&first, iv, 4);
	memcpy(&second, iv + 4, 4);
	*(uint32x4 *)(void *)x->iv =
		(uint32x4){salt, first, second, RTE_BE32(1)}; /* 1: AES-CTR's, RFC 3686 */
}

/* AES-GCM, ChaCha20-Poly1305: encrypts what is behind the IV. */
static void prepare_aead(struct crypto_op *op, struct scratch *x, const struct ipsec_sa_row *sa,
			 const struct ipsec_work *k, uint8_t *esp, bool esn)
{
	nonce(x, sa, esp + ESP_HEADER);
	op->iv = x->iv;
	op->at = k->esp + ESP_HEADER + 8U;
	op->len = k->len - ESP_HEADER - 8U;
	op->icv = esp + k->len;
	op->aad = esp;
	if (unlikely(esn)) {
		uint32_t high = rte_cpu_to_be_32((uint32_t)(k->seq >> 32));

		memcpy(x->aad, esp, 4);
		memcpy(x->aad + 4, &high, 4);
		memcpy(x->aad + 8, esp + 4, 4);
		op->aad = x->aad;
	}
}

/* AES-GMAC: all is authenticated; with ESN as if the upper half of the number stood between SPI and lower half. Then the SPI moves
 * 4 bytes to the front, and these come back in restore. */
static void prepare_gmac(struct crypto_op *op, struct scratch *x, const struct ipsec_sa_row *sa,
			 const struct ipsec_work *k, uint8_t *esp, bool esn)
{
	nonce(x, sa, esp + ESP_HEADER);
	op->iv = x->iv;
	op->at = k->esp;
	op->len = k->len;
	op->icv = esp + k->len;
	if (unlikely(esn)) {
		uint32_t high = rte_cpu_to_be_32((uint32_t)(k->seq >> 32));

		memcpy(x->aad, esp - 4, 4);
		memmove(esp - 4, esp, 4);
		memcpy(esp, &high, 4);
		op->at -= 4;
		op->len += 4;
	}
}

/* A cipher and a hash over ESP header, IV and what is encrypted; with ESN over the upper half of the number behind that, where the
 * ICV has its place. */
static void prepare_hash(struct crypto_op *op, struct scratch *x, const struct ipsec_sa_row *sa,
			 const struct ipsec_work *k, uint8_t *esp, bool esn, bool encrypt)
{
	op->iv = esp + ESP_HEADER;
	if (sa->cipher == FPC_IPSEC_AES_CTR) {
		nonce(x, sa, esp + ESP_HEADER);
		op->iv = x->iv;
	}
	op->at = k->esp;
	op->len = k->len;
	op->icv = esp + k->len;
	if (unlikely(esn)) {
		uint32_t high = rte_cpu_to_be_32((uint32_t)(k->seq >> 32));

		if (!encrypt)
			memcpy(x->icv, esp + k->len, sa->icv_len);
		memcpy(esp + k->len, &high, 4);
		op->len += 4;
		op->icv = x->icv;
	}
}

void ipsec_crypt(struct fp_worker *w, const struct ipsec_sa_row *sa, const struct ipsec_session *s,
		 bool encrypt, struct ipsec_work *work, unsigned n)
{
	struct crypto_op ops[CRYPTO_BURST];
	struct scratch x[CRYPTO_BURST];
	bool esn = sa->flags & FPC_IPSEC_ESN, aead = is_aead(sa->cipher);
	bool gmac = sa->cipher == FPC_IPSEC_AES_GMAC;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *esp = rte_pktmbuf_mtod_offset(work[i].m, uint8_t *, work[i].esp);

		ops[i].m = work[i].m;
		if (encrypt)
			put_iv(w, sa, s, work[i].seq, esp + ESP_HEADER);
		if (likely(aead))
			prepare_aead(&ops[i], &x[i], sa, &work[i], esp, esn);
		else if (gmac)
			prepare_gmac(&ops[i], &x[i], sa, &work[i], esp, esn);
		else
			prepare_hash(&ops[i], &x[i], sa, &work[i], esp, esn, encrypt);
	}
	crypto_run(w->id, encrypt ? s->encrypt : s->decrypt, ops, n);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *esp = rte_pktmbuf_mtod_offset(work[i].m, uint8_t *, work[i].esp);

		work[i].ok = ops[i].ok;
		if (likely(!esn || aead))
			continue;
		if (gmac) {
			memmove(esp, esp - 4, 4);
			memcpy(esp - 4, x[i].aad, 4);
		} else if (encrypt) {
			memcpy(esp + work[i].len, x[i].icv, sa->icv_len);
		}
	}
}
