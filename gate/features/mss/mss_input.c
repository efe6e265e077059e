// SPDX-License-Identifier: BSD-3-Clause
/* The stage MSS: as Linux's nft_exthdr_tcp_set_eval and nft_rt's get_tcpmss do it, which only ever lower. What is in doubt
 * goes to Linux unchanged, where the same rules stand. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_byteorder.h>

#include "fastpath/fp.h"
#include "features/iface/iface.h"
#include "features/mss/mss.h"
#include "features/route/forward.h"
#include "features/route/route.h"
#include "features/rule/rule.h"

#define TCP		6
#define TCP_HEADER	20
#define TCP_SYN		2
#define TCP_FLAGS_AT	13
#define TCP_CHECKSUM_AT 16
#define OPTION_NOP	1
#define OPTION_MSS	2
#define OPTION_MSS_SIZE 4
#define MSS_DEFAULT	536 /* TCP_MSS_DEFAULT */
#define SIZE_NONE	UINT32_MAX
#define SIZE_UNSURE	(UINT32_MAX - 1)

static const struct mss_row *rows;

static inline uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* Whether @m's TCP header is at *@ret_at of its data. 0: it isn't TCP, or a fragment without the header; -EAGAIN: only
 * Linux can tell (extension headers, what isn't in the first buffer). */
static int find_tcp(const struct fp_packet *p, uint8_t family, uint32_t *ret_at)
{
	const uint8_t *ip = rte_pktmbuf_mtod(p->m, const uint8_t *);
	uint32_t at;

	if (family == AF_INET) {
		if (ip[9] != TCP || load16(ip + 6) & 0x1fff)
			return 0;
		at = 20;
	} else {
		switch (ip[6]) {
		case TCP:
			at = 40;
			break;
		case 0:
		case 43:
		case 44:
		case 51:
		case 60:
			return -EAGAIN;
		default:
			return 0;
		}
	}
	if (at + TCP_HEADER > p->len)
		return 0;
	if (at + TCP_HEADER > p->m->data_len)
		return -EAGAIN;
	*ret_at = at;
	return 1;
}

/* The MTU of the way that begins with the next hop in row @row; 0: Linux finds none, SIZE_UNSURE: only Linux can tell. */
static uint32_t way_mtu(uint32_t row, uint8_t family)
{
	const struct nexthop_row *nexthop = &nexthop_rows[row];
	const struct iface_row *out = &iface_rows[nexthop->iface];

	switch (nexthop->type) {
	case NEXTHOP_GATEWAY:
	case NEXTHOP_CONNECTED:
		if (nexthop->mtu != NEXTHOP_NO_MTU)
			return nexthop->mtu;
		return family == AF_INET ? out->mtu : out->mtu6;
	case NEXTHOP_NONE:
	case NEXTHOP_BLACKHOLE:
	case NEXTHOP_UNREACHABLE:
		return 0;
	default:
		return SIZE_UNSURE;
	}
}

/* Row of "nexthop" for packets of our own to the source of @ip: so Linux asks for the way back, whatever it came in by. */
static uint32_t way_back(const struct fp_burst *b, const uint8_t *ip)
{
	bool six = b->family == AF_INET6;
	const struct rule_set_row *rules = six ? rule_set6_own(b->vrf) : rule_set4_own(b->vrf);

	if (rules)
		return rule_route_to(rules, b->vrf, b->family, six ? ip + 8 : ip + 12);
	if (six)
		return mtrie6_lookup(vrf_root6(b->vrf), ip + 8);
	return mtrie4_lookup(vrf_root4(b->vrf), (uint32_t)load16(ip + 12) << 16 | load16(ip + 14));
}

/* What `rt mtu` is for the packet: the size that fits both ways. */
static uint32_t route_size(const struct fp_burst *b, const struct fp_packet *p)
{
	const uint8_t *ip = rte_pktmbuf_mtod(p->m, const uint8_t *);
	uint32_t least = (b->family == AF_INET ? 20 : 40) + TCP_HEADER;
	uint32_t mtu = way_mtu(p->nexthop, b->family);
	uint32_t back = way_mtu(way_back(b, ip), b->family);

	if (mtu == SIZE_UNSURE || back == SIZE_UNSURE)
		return SIZE_UNSURE;
	if (back && back < mtu)
		mtu = back;
	return mtu <= least || mtu > 0xffff ? MSS_DEFAULT : mtu - least;
}

/* The least of the sizes that the rules for this packet set; SIZE_NONE: no rule is for it. */
static uint32_t wanted_size(const struct fp_burst *b, const struct fp_packet *p, uint8_t tcp_flags)
{
	const struct iface_row *in = &iface_rows[b->iface];
	const char *output = iface_rows[nexthop_rows[p->nexthop].iface].name;
	uint32_t size = SIZE_NONE;

	if (atomic_load_explicit(&rows[0].clamp, memory_order_acquire))
		return SIZE_UNSURE;
	for (unsigned i = 1; i < MSS_ROWS; i++) {
		const struct mss_row *r = &rows[i];
		uint32_t clamp = atomic_load_explicit(&r->clamp, memory_order_acquire);

		if (!clamp || r->family != b->family || r->vrf != b->vrf ||
		    (tcp_flags & r->tcp_mask) != r->tcp_value ||
		    (r->input[0] && !in->l3mdev &&
		     memcmp(r->input, in->name, sizeof(r->input)) != 0) ||
		    (r->output[0] && memcmp(r->output, output, sizeof(r->output)) != 0))
			continue;
		if (r->input[0] && in->l3mdev)
			return SIZE_UNSURE; /* it's the VRF device that Linux asks for */
		if (clamp & 0xffff)
			size = RTE_MIN(size, clamp & 0xffff);
		if (clamp & MSS_ROUTE) {
			uint32_t route = route_size(b, p);

			if (route == SIZE_UNSURE)
				return SIZE_UNSURE;
			size = RTE_MIN(size, route);
		}
	}
	return size;
}

static inline uint32_t sum_add(uint32_t a, uint32_t b)
{
	a += b;
	return a + (a < b);
}

/* RFC 1624, with zero as Linux's csum_replace4 has it. Linux takes the words as they stand, whether their place is even. */
static void replace(uint8_t *checksum, uint16_t from, uint16_t to)
{
	uint32_t sum = sum_add(~(uint32_t)load16(checksum), ~(uint32_t)from);

	sum = sum_add(sum, to);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum;
	checksum[0] = (uint8_t)(sum >> 8);
	checksum[1] = (uint8_t)sum;
}

/* Lowers the first MSS option in the TCP header @tcp of @size bytes to @most. Broken options are left as they are. */
static void clamp(uint8_t *tcp, uint32_t size, uint16_t most)
{
	uint32_t step;

	for (uint32_t i = TCP_HEADER; i + 1 < size; i += step) {
		uint16_t old;

		step = tcp[i] <= OPTION_NOP || !tcp[i + 1] ? 1 : tcp[i + 1];
		if (tcp[i] != OPTION_MSS)
			continue;
		if (i + step > size || step < OPTION_MSS_SIZE)
			return;
		old = load16(tcp + i + 2);
		if (old > most) {
			tcp[i + 2] = (uint8_t)(most >> 8);
			tcp[i + 3] = (uint8_t)most;
			replace(tcp + TCP_CHECKSUM_AT, old, most);
		}
		return;
	}
}

/* Whether @p may go on from here; else it's Linux's. */
static bool clamped(const struct fp_burst *b, const struct fp_packet *p)
{
	const struct nexthop_row *nexthop = &nexthop_rows[p->nexthop];
	uint32_t at, size, header;
	uint8_t *tcp;
	int rc = find_tcp(p, b->family, &at);

	if (rc <= 0)
		return !rc;
	tcp = rte_pktmbuf_mtod_offset(p->m, uint8_t *, at);
	if (!(tcp[TCP_FLAGS_AT] & TCP_SYN))
		return true;
	size = wanted_size(b, p, tcp[TCP_FLAGS_AT]);
	if (size == SIZE_NONE)
		return true;
	/* An ICMP error would have to quote what came in. */
	if (size == SIZE_UNSURE || p->len > way_mtu(p->nexthop, b->family) ||
	    p->len > iface_rows[nexthop->iface].mtu)
		return false;
	header = (tcp[12] >> 4) * 4U;
	if (header < TCP_HEADER || at + header > p->len)
		return true;
	if (at + header > p->m->data_len)
		return false;
	clamp(tcp, header, (uint16_t)size);
	return true;
}

static void mss_input(struct fp_worker *w, struct fp_burst *b)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet *p = &b->pkts[i];

		if (clamped(b, p))
			b->pkts[kept++] = *p;
		else
			fp_end(w, b, p, EXCEPTION_MSS_LINUX);
	}
	b->n = kept;
}

static int init(struct err *err)
{
	if (fp_register_stage(FP_STAGE_IP_MSS, mss_input) ||
	    fp_register_stage(FP_STAGE_IP6_MSS, mss_input))
		return err_set(err, ENOSPC, "no room for the MSS clamp in its stage");
	return 0;
}

static int attach(const struct shm *config, const struct shm *stats, struct err *err)
{
	rows = shm_rows(config, "mss");
	return 0;
}

const struct fp_feature mss_fastpath = {.init = init, .attach = attach};
