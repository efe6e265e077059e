// SPDX-License-Identifier: BSD-3-Clause
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "fastpath/stage.h"
#include "features/mss/mss.h"
#include "features/vrf/vrf.h"
#include "fpmd/fpm.h"

#define LEFT_OUT UINT32_MAX /* priv of a rule without a row, else its row */
#define TCP_SYN	 2

static struct fpm_rows table;
static struct mss_row *rows;
static uint32_t n_rules[FPC_VRF_MAX][2]; /* by VRF and whether it's IPv6 */
static uint32_t n_left_out;

/* The stage is on as long as there's a rule, be it one that found no room. */
static void count(const struct fpc_mss *m, int delta)
{
	bool six = m->family == AF_INET6;
	uint32_t *n = &n_rules[m->vrf][six];

	*n += (uint32_t)delta;
	vrf_enable_stage(m->vrf, six ? FP_STAGE_IP6_MSS : FP_STAGE_IP_MSS, *n);
}

static void leave_out(int delta)
{
	n_left_out += (uint32_t)delta;
	atomic_store_explicit(&rows[0].clamp, n_left_out ? MSS_LINUX : 0, memory_order_release);
}

static int init(struct fpm *fpm, struct err *err)
{
	rows = shm_rows(&fpm->config, "mss");
	memset(n_rules, 0, sizeof(n_rules));
	n_left_out = 0;
	return fpm_rows_init(&table, fpm, "mss", err);
}

static int check(const struct fpc_mss *m, struct err *err)
{
	if (m->vrf >= FPC_VRF_MAX) {
		fpm_field("vrf");
		return err_set(err, ERANGE, "MSS clamp in VRF %u: numbers go up to %u", m->vrf,
			       FPC_VRF_MAX - 1);
	}
	if (m->family != AF_INET && m->family != AF_INET6) {
		fpm_field("family");
		return err_set(err, EAFNOSUPPORT, "MSS clamp of address family %u", m->family);
	}
	if (!(m->tcp_mask & m->tcp_value & TCP_SYN) || m->tcp_value & ~m->tcp_mask) {
		fpm_field("tcp_value");
		return err_set(err, EINVAL, "an MSS clamp is for SYN packets: flags %#x of %#x",
			       m->tcp_value, m->tcp_mask);
	}
	if (!m->size && !(m->flags & FPC_MSS_ROUTE)) {
		fpm_field("size");
		return err_set(err, EINVAL, "an MSS clamp without a size");
	}
	return 0;
}

/* @priv: the row, or LEFT_OUT: no room, and Linux clamps instead. */
static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_mss *m = msg;
	uint32_t clamp = m->size | (m->flags & FPC_MSS_ROUTE ? MSS_ROUTE : 0);
	uint32_t row = (uint32_t)*priv;
	int rc;

	if (!row) {
		rc = check(m, err);
		if (rc)
			return rc;
		count(m, 1);
	} else if (row == LEFT_OUT) {
		leave_out(-1);
		row = 0;
	} else {
		rc = check(m, err);
		if (rc) {
			/* What was there goes; Linux knows what is meant. */
			atomic_store_explicit(&rows[row].clamp, 0, memory_order_release);
			fpm_rows_put_later(&table, row);
			leave_out(1);
			*priv = LEFT_OUT;
			return rc;
		}
	}
	if (!row) {
		row = fpm_rows_get(&table);
		if (!row) {
			leave_out(1);
			*priv = LEFT_OUT;
			return err_set(err, ENOSPC, "more than %u MSS clamps", MSS_ROWS - 1);
		}
		rows[row].vrf = m->vrf;
		rows[row].family = m->family;
		rows[row].tcp_mask = m->tcp_mask;
		rows[row].tcp_value = m->tcp_value;
		memcpy(rows[row].input, m->input, sizeof(m->input));
		memcpy(rows[row].output, m->output, sizeof(m->output));
	}
	atomic_store_explicit(&rows[row].clamp, clamp, memory_order_release);
	*priv = row;
	return 0;
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	if (priv == LEFT_OUT) {
		leave_out(-1);
	} else {
		atomic_store_explicit(&rows[priv].clamp, 0, memory_order_release);
		fpm_rows_put_later(&table, (uint32_t)priv);
	}
	count(old, -1);
}

const struct fpm_apply mss_apply = {.init = init, .set = set, .del = del};
