// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/crypto_device.h"

#include <errno.h>
#include <string.h>

#include <rte_malloc.h>
#include <rte_mbuf.h>

#define PATIENCE 10 /* milliseconds that a device may take for a burst */

static struct rte_mempool *ops_pool;

int crypto_make_ops(unsigned n_workers)
{
	ops_pool = rte_crypto_op_pool_create(
		"crypto_ops", RTE_CRYPTO_OP_TYPE_SYMMETRIC, n_workers * 4 * CRYPTO_BURST,
		CRYPTO_BURST, CRYPTO_AAD_AT + CRYPTO_AAD_MAX - CRYPTO_IV_AT, SOCKET_ID_ANY);
	return ops_pool ? 0 : -ENOMEM;
}

void crypto_free_ops(void)
{
	rte_mempool_free(ops_pool);
	ops_pool = NULL;
}

/* Whether @op is one that a session takes: within its packet, whole blocks. */
static bool fits(const struct crypto_session *s, const struct crypto_op *op)
{
	uint32_t around = (uint32_t)s->ofs.ofs.cipher.head + s->ofs.ofs.cipher.tail;

	return (uint64_t)op->at + op->len <= op->m->pkt_len && op->len >= around &&
	       op->len <= UINT16_MAX && !((op->len - around) % s->block);
}

/* --- synchronous --- */

struct vectors {
	struct rte_crypto_sgl sgl[CRYPTO_BURST];
	struct rte_crypto_vec vec[CRYPTO_BURST];
	struct rte_crypto_va_iova_ptr iv[CRYPTO_BURST], aad[CRYPTO_BURST], icv[CRYPTO_BURST];
	int32_t status[CRYPTO_BURST];
	struct crypto_op *ops[CRYPTO_BURST];
};

static void put(struct vectors *v, unsigned i, struct crypto_op *op, void *data)
{
	v->ops[i] = op;
	v->vec[i].base = data;
	v->vec[i].len = op->len;
	v->sgl[i].vec = &v->vec[i];
	v->sgl[i].num = 1;
	v->iv[i].va = (void *)(uintptr_t)op->iv;
	v->aad[i].va = (void *)(uintptr_t)op->aad;
	v->icv[i].va = op->icv;
}

static unsigned process(const struct crypto_session *s, struct vectors *v, unsigned n)
{
	struct rte_crypto_sym_vec vec = {.num = n,
					 .src_sgl = v->sgl,
					 .iv = v->iv,
					 .digest = v->icv,
					 .aad = v->aad,
					 .status = v->status};
	unsigned done;

	if (!n)
		return 0;
	done = rte_cryptodev_sym_cpu_crypto_process(s->device->id, s->session, s->ofs, &vec);
	for (unsigned i = 0; i < n; i++)
		v->ops[i]->ok = done == n || !v->status[i];
	return done;
}

static unsigned run_scattered(const struct crypto_session *s, unsigned worker,
			      struct crypto_op *op);

static bool is_scattered(const struct crypto_op *op)
{
	return op->at + op->len > op->m->data_len;
}

static unsigned run_sync(const struct crypto_session *s, unsigned worker, struct crypto_op *ops,
			 unsigned n)
{
	struct vectors v;
	unsigned n_put = 0, done = 0;

	for (unsigned i = 0; i < n; i++) {
		struct crypto_op *op = &ops[i];

		if (unlikely(!fits(s, op))) {
			op->ok = false;
			continue;
		}
		if (unlikely(is_scattered(op))) {
			done += run_scattered(s, worker, op);
			continue;
		}
		v.status[n_put] = 0;
		put(&v, n_put++, op, rte_pktmbuf_mtod_offset(op->m, void *, op->at));
	}
	return done + process(s, &v, n_put);
}

/* --- asynchronous --- */

static void fill(const struct crypto_session *s, const struct crypto_op *op,
		 struct rte_crypto_op *to)
{
	struct rte_crypto_sym_op *sym = to->sym;
	uint8_t *icv = rte_crypto_op_ctod_offset(to, uint8_t *, CRYPTO_ICV_AT);
	uint8_t *aad = rte_crypto_op_ctod_offset(to, uint8_t *, CRYPTO_AAD_AT);
	uint32_t head = s->ofs.ofs.cipher.head, tail = s->ofs.ofs.cipher.tail;

	if (s->iv_len)
		memcpy(rte_crypto_op_ctod_offset(to, uint8_t *, CRYPTO_IV_AT), op->iv, s->iv_len);
	if (!s->encrypt && s->icv_len)
		memcpy(icv, op->icv, s->icv_len);
	if (s->aad_len)
		memcpy(aad, op->aad, s->aad_len);
	rte_crypto_op_attach_sym_session(to, s->session);
	sym->m_src = op->m;
	if (s->is_aead) {
		sym->aead.data.offset = op->at;
		sym->aead.data.length = op->len;
		sym->aead.digest.data = icv;
		sym->aead.digest.phys_addr = rte_crypto_op_ctophys_offset(to, CRYPTO_ICV_AT);
		sym->aead.aad.data = aad;
		sym->aead.aad.phys_addr = rte_crypto_op_ctophys_offset(to, CRYPTO_AAD_AT);
		return;
	}
	sym->cipher.data.offset = op->at + head;
	sym->cipher.data.length = op->len - head - tail;
	sym->auth.data.offset = op->at;
	sym->auth.data.length = op->len;
	sym->auth.digest.data = icv;
	sym->auth.digest.phys_addr = rte_crypto_op_ctophys_offset(to, CRYPTO_ICV_AT);
}

/* Waits for @n of the device; fewer if it's stuck. */
static unsigned collect(const struct crypto_session *s, unsigned worker, struct rte_crypto_op **ret,
			unsigned n)
{
	uint64_t until = rte_rdtsc() + PATIENCE * rte_get_tsc_hz() / 1000;
	unsigned got = 0;

	while (got < n && rte_rdtsc() < until)
		got += rte_cryptodev_dequeue_burst(s->device->id, (uint16_t)worker, ret + got,
						   (uint16_t)(n - got));
	return got;
}

static unsigned run_async(const struct crypto_session *s, unsigned worker, struct crypto_op *ops,
			  unsigned n)
{
	struct rte_crypto_op *queue[CRYPTO_BURST], *back[CRYPTO_BURST];
	struct crypto_op *of[CRYPTO_BURST];
	unsigned n_put = 0, taken, got, done = 0;

	for (unsigned i = 0; i < n; i++) {
		ops[i].ok = false;
		if (!fits(s, &ops[i]))
			continue;
		if (!is_scattered(&ops[i]) || s->device->scatters)
			of[n_put++] = &ops[i];
		else if (!s->device->hardware)
			done += run_scattered(s, worker, &ops[i]);
	}
	if (!n_put || rte_crypto_op_bulk_alloc(ops_pool, RTE_CRYPTO_OP_TYPE_SYMMETRIC, queue,
					       (uint16_t)n_put) != n_put)
		return done;
	for (unsigned i = 0; i < n_put; i++)
		fill(s, of[i], queue[i]);
	taken = rte_cryptodev_enqueue_burst(s->device->id, (uint16_t)worker, queue,
					    (uint16_t)n_put);
	got = collect(s, worker, back, taken);
	/* Devices give them back in the order they got them. */
	for (unsigned i = 0; i < got; i++) {
		of[i]->ok = back[i]->status == RTE_CRYPTO_OP_STATUS_SUCCESS;
		done += of[i]->ok;
		if (of[i]->ok && s->encrypt && s->icv_len)
			memcpy(of[i]->icv,
			       rte_crypto_op_ctod_offset(back[i], uint8_t *, CRYPTO_ICV_AT),
			       s->icv_len);
	}
	rte_mempool_put_bulk(ops_pool, (void **)back, got);
	/* Those that a stuck device keeps are lost. */
	if (taken < n_put)
		rte_mempool_put_bulk(ops_pool, (void **)(queue + taken), n_put - taken);
	return done;
}

static void write_back(struct rte_mbuf *m, uint32_t at, const uint8_t *data, uint32_t len)
{
	for (; m && len; m = m->next) {
		uint32_t n;

		if (at >= m->data_len) {
			at -= m->data_len;
			continue;
		}
		n = RTE_MIN(m->data_len - at, len);
		memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, at), data, n);
		data += n;
		len -= n;
		at = 0;
	}
}

/* A packet in several pieces on a device that is no hardware and wants one: through a copy. */
static unsigned run_scattered(const struct crypto_session *s, unsigned worker, struct crypto_op *op)
{
	uint8_t scratch[CRYPTO_SCRATCH];
	struct rte_mbuf linear = {.buf_addr = scratch,
				  .buf_len = (uint16_t)op->len,
				  .data_len = (uint16_t)op->len,
				  .pkt_len = op->len,
				  .nb_segs = 1};
	struct crypto_op copy = *op;
	unsigned done;

	rte_pktmbuf_read(op->m, op->at, op->len, scratch);
	copy.m = &linear;
	copy.at = 0;
	done = crypto_run(worker, s, &copy, 1);
	op->ok = copy.ok;
	if (done && s->has_cipher)
		write_back(op->m, op->at, scratch, op->len);
	return done;
}

unsigned crypto_run(unsigned worker, const struct crypto_session *s, struct crypto_op *ops,
		    unsigned n)
{
	return likely(s->sync) ? run_sync(s, worker, ops, n) : run_async(s, worker, ops, n);
}
