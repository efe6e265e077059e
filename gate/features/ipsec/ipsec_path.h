// SPDX-License-Identifier: BSD-3-Clause
/* Between the data path's parts; fp-rte's own. */
#pragma once

#include <rte_mbuf.h>

#include "fastpath/fp.h"
#include "features/ipsec/ipsec.h"
#include "fpn/crypto.h"

#define ESP_HEADER 8 /* SPI, sequence number */
#define UDP_HEADER 8
#define IP4_HEADER 20
#define IP6_HEADER 40
#define NAT_T_PORT 4500

/* What fp-rte has of an SA, beside its row. Pointers are good while a worker found @generation to be the row's. */
struct ipsec_session {
	_Atomic uint64_t generation; /* 0: none */
	struct crypto_session *encrypt, *decrypt;
	uint64_t iv; /* random: what the sequence number is mixed with for an IV that counts */
};

extern const struct ipsec_sa_row *ipsec_sa_rows;
extern struct ipsec_sa_state_row *ipsec_states;
extern const struct ipsec_policy_row *ipsec_policy_rows;
extern const struct ipsec_spd_row *ipsec_spd_rows;
extern struct ipsec_session *ipsec_sessions;

/* --- ipsec_search.c --- */

void ipsec_search_attach(const struct shm *config);

/* Row of an SA that packets to @dst come in for; 0: none. @dst: 4 or 16 bytes. */
uint32_t ipsec_sa_find(uint32_t vrf, uint8_t family, const uint8_t *dst, uint32_t spi,
		       uint8_t proto);

/* The sessions of an SA's row; NULL: none, it's Linux's. */
static inline const struct ipsec_session *ipsec_session(uint32_t row)
{
	const struct ipsec_session *s = &ipsec_sessions[row];
	uint64_t generation = atomic_load_explicit(&s->generation, memory_order_acquire);

	return generation && generation == atomic_load_explicit(&ipsec_sa_rows[row].generation,
								memory_order_relaxed)
		       ? s
		       : NULL;
}

/* --- ipsec_crypto.c --- */

/* Control thread: sessions for SAs that came, none for those that went. */
int ipsec_sessions_look(struct gc *gc, unsigned n_workers, struct err *err);
/* For a new config file, while no worker runs. */
int ipsec_sessions_attach(const struct shm *config, const struct shm *stats, struct err *err);

/* Packets of one SA through its cipher, in place. `esp`: offset of the ESP header in the packet's data; `len`: bytes from there
 * to the ICV. */
struct ipsec_work {
	struct rte_mbuf *m;
	uint64_t seq;
	uint16_t esp;
	uint16_t len;
	bool ok; /* result */
};

/* Worker: @n up to CRYPTO_BURST. Encrypting writes the IV and the ICV. */
void ipsec_crypt(struct fp_worker *w, const struct ipsec_sa_row *sa, const struct ipsec_session *s,
		 bool encrypt, struct ipsec_work *work, unsigned n);

/* --- ipsec_output.c, ipsec_input.c --- */

fp_stage_fn ipsec_output, ipsec_check, ipsec_esp_input, ipsec_udp_input;
