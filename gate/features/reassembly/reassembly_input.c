// SPDX-License-Identifier: BSD-3-Clause
/* Fragments of IPv4 (RFC 791, RFC 815) and IPv6 (RFC 8200, section 4.5; RFC 5722: no overlaps) become packets again.
 *
 * Each worker has a table of its own: a datagram is found by a hash over what its fragments have in common, and keeps them in
 * order of their offsets, as they came in. A list has the datagrams from the oldest on; one timer waits for the oldest. What
 * doesn't come to a packet within 2 s, contradicts itself, is strange, or has no room goes to Linux, fragment by
 * fragment and unchanged: Linux has 30 s (60 s) of patience, and knows what to answer.
 *
 * The table isn't touched, and its pages aren't there, before a worker sees the first fragment at an enabled stage. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_jhash.h>

#include "fastpath/fp.h"
#include "features/reassembly/reassembly.h"

#define WAIT_MS	      2000
#define DATAGRAMS     256 /* a worker holds */
#define FRAGMENTS_MAX 64  /* of a datagram */
#define BUFFERS_MAX   768 /* a worker holds in all */
#define BUCKETS	      512
#define LENGTH_MAX    65535U

#define HEADER4	     sizeof(struct rte_ipv4_hdr)
#define HEADER6	     sizeof(struct rte_ipv6_hdr)
#define FRAGMENT6    8
#define NEXT_HEADER6 44

/* What fragments of a packet have in common. Decrypted ones never mix with others: what is put together of them passes Linux's
 * policies. */
struct key {
	uint8_t src[16], dst[16];
	uint32_t id;
	uint32_t iface; /* row, so of one VRF */
	uint8_t family;
	uint8_t protocol; /* of IPv4; IPv6 tells it in the first fragment only */
	uint8_t is_special;
	uint8_t special_flags;
	uint32_t special_iface, special_mark;
};

struct fragment {
	struct rte_mbuf *m;  /* data at the IP header, as it came in */
	uint32_t first, end; /* bytes of the datagram's payload */
};

struct datagram {
	struct key key;
	uint16_t bucket;
	uint8_t ecn;
	uint8_t n;
	uint32_t total, have;  /* bytes of payload; total 0: the last fragment hasn't come */
	uint32_t expires;      /* millisecond of the worker's timers */
	struct datagram *next; /* in its bucket, or free */
	struct datagram *older, *newer;
	struct fragment fragments[FRAGMENTS_MAX];
};

struct table {
	struct datagram datagrams[DATAGRAMS];
	struct datagram *buckets[BUCKETS];
	struct datagram *unused;
	struct datagram *oldest, *newest;
	unsigned used;	  /* of datagrams that were ever taken */
	uint32_t buffers; /* held */
	struct timer timer;
};

static struct table tables[WORKERS_MAX];

/* What a fragment says of itself. */
struct parsed {
	struct key key;
	uint32_t first, end;
	uint16_t header; /* bytes in front of its payload */
	uint8_t ecn;
	bool more;
	bool odd; /* Linux's */
};

static void take_special(struct key *key, const struct rte_mbuf *m)
{
	const struct fp_special_field *s;

	if (likely(!(m->ol_flags & fp_special_flag)))
		return;
	s = fp_special_field(m);
	key->is_special = 1;
	key->special_flags = s->flags;
	key->special_iface = s->iface;
	key->special_mark = s->mark;
}

/* False: it isn't a fragment. */
static bool parse4(const struct fp_packet *p, struct parsed *ret)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(p->m, const struct rte_ipv4_hdr *);
	uint16_t field = rte_be_to_cpu_16(ip->fragment_offset);
	uint32_t len = p->len - HEADER4;

	if (likely(!(field & (RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))))
		return false;
	*ret = (struct parsed){.header = HEADER4,
			       .first = (uint32_t)(field & RTE_IPV4_HDR_OFFSET_MASK) << 3,
			       .ecn = ip->type_of_service & 3,
			       .more = field & RTE_IPV4_HDR_MF_FLAG};
	ret->end = ret->first + len;
	ret->odd = field & RTE_IPV4_HDR_DF_FLAG || HEADER4 + ret->end > LENGTH_MAX;
	memcpy(ret->key.src, &ip->src_addr, 4);
	memcpy(ret->key.dst, &ip->dst_addr, 4);
	ret->key.id = ip->packet_id;
	ret->key.protocol = ip->next_proto_id;
	return true;
}

static bool parse6(const struct fp_packet *p, struct parsed *ret)
{
	const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(p->m, const struct rte_ipv6_hdr *);
	const uint8_t *h = (const uint8_t *)(ip + 1);
	uint16_t field;

	if (likely(ip->proto != NEXT_HEADER6))
		return false;
	*ret = (struct parsed){.header = HEADER6 + FRAGMENT6, .odd = true};
	memcpy(ret->key.src, &ip->src_addr, 16);
	memcpy(ret->key.dst, &ip->dst_addr, 16);
	if (p->m->data_len < HEADER6 + FRAGMENT6 || p->len < HEADER6 + FRAGMENT6)
		return true;
	field = (uint16_t)(h[2] << 8 | h[3]);
	/* Whole as it is (RFC 6946). */
	if (!(field & 0xfff9))
		return false;
	memcpy(&ret->key.id, h + 4, 4);
	ret->first = field & 0xfff8;
	ret->end = ret->first + p->len - HEADER6 - FRAGMENT6;
	ret->more = field & 1;
	ret->ecn = ((const uint8_t *)ip)[1] >> 4 & 3;
	ret->odd = ret->end > LENGTH_MAX;
	return true;
}

static bool parse(const struct fp_burst *b, const struct fp_packet *p, struct parsed *ret)
{
	uint32_t len;

	if (!(b->family == AF_INET ? parse4(p, ret) : parse6(p, ret)))
		return false;
	ret->key.family = b->family;
	ret->key.iface = b->iface;
	take_special(&ret->key, p->m);
	if (ret->odd)
		return true;
	len = ret->end - ret->first;
	/* Bytes behind the packet must lie in its last buffer, its header in the first. */
	ret->odd = !len || (ret->more && len & 7) || p->m->data_len < ret->header ||
		   (p->m->nb_segs > 1 &&
		    p->m->pkt_len - p->len > rte_pktmbuf_lastseg(p->m)->data_len) ||
		   (!ret->first && len < 8);
	return true;
}

/* --- the table --- */

static uint16_t bucket_of(const struct key *key)
{
	static_assert(sizeof(*key) % 4 == 0);
	return rte_jhash_32b((const uint32_t *)(const void *)key, sizeof(*key) / 4, 0) % BUCKETS;
}

static struct datagram *find(struct table *t, const struct key *key)
{
	struct datagram *d = t->buckets[bucket_of(key)];

	while (d && memcmp(&d->key, key, sizeof(*key)) != 0)
		d = d->next;
	return d;
}

static void unlink_from_all(struct table *t, struct datagram *d)
{
	struct datagram **at = &t->buckets[d->bucket];

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	*(d->older ? &d->older->newer : &t->oldest) = d->newer;
	*(d->newer ? &d->newer->older : &t->newest) = d->older;
	for (unsigned i = 0; i < d->n; i++)
		t->buffers -= d->fragments[i].m->nb_segs;
	d->next = t->unused;
	t->unused = d;
}

/* Fragments to Linux. They were counted as received and carried when they came in, mostly in another burst. */
static void give_up(struct fp_worker *w, struct table *t, struct datagram *d, enum reason reason)
{
	uint64_t exceptions = w->exceptions, bytes = w->exception_bytes, drops = w->drops;

	unlink_from_all(t, d);
	for (unsigned i = 0; i < d->n; i++)
		fp_exception(w, d->fragments[i].m, reason);
	if (fp_hooks.resumed)
		fp_hooks.resumed(w, d->key.iface, w->exceptions - exceptions,
				 w->exception_bytes - bytes, w->drops - drops);
	w->exceptions = exceptions;
	w->exception_bytes = bytes;
	w->drops = drops;
}

static void expire(void *worker, struct timer *timer)
{
	struct fp_worker *w = worker;
	struct table *t = &tables[w->id];

	while (t->oldest && (int32_t)(w->timers.now - t->oldest->expires) >= 0)
		give_up(w, t, t->oldest, EXCEPTION_REASSEMBLY_INCOMPLETE);
	if (t->oldest)
		timer_set(&w->timers, &t->timer, t->oldest->expires - w->timers.now, expire);
}

static struct datagram *make(struct fp_worker *w, struct table *t, const struct key *key)
{
	struct datagram *d;

	if (!t->unused && t->used == DATAGRAMS)
		give_up(w, t, t->oldest, EXCEPTION_REASSEMBLY_FULL);
	d = t->unused;
	if (d)
		t->unused = d->next;
	else
		d = &t->datagrams[t->used++];
	d->key = *key;
	d->bucket = bucket_of(key);
	d->n = 0;
	d->total = d->have = 0;
	d->expires = w->timers.now + WAIT_MS;
	d->next = t->buckets[d->bucket];
	t->buckets[d->bucket] = d;
	d->newer = NULL;
	d->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = d;
	t->newest = d;
	if (!timer_is_set(&t->timer))
		timer_set(&w->timers, &t->timer, WAIT_MS, expire);
	return d;
}

/* --- putting together --- */

static uint32_t header_of(uint8_t family)
{
	return family == AF_INET ? HEADER4 : HEADER6 + FRAGMENT6;
}

/* The header of the first fragment becomes that of the whole; IPv6's fragment header goes. Data at the IP header. */
static void rewrite4(struct rte_mbuf *m, uint32_t total)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);

	ip->total_length = rte_cpu_to_be_16((uint16_t)(HEADER4 + total));
	ip->fragment_offset = 0;
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
}

static void rewrite6(struct rte_mbuf *m, uint32_t total)
{
	char *at = rte_pktmbuf_mtod_offset(m, char *, -(int)m->l2_len);
	uint8_t next = *rte_pktmbuf_mtod_offset(m, const uint8_t *, HEADER6);
	struct rte_ipv6_hdr *ip;

	/* With what stands in front, so that it does afterwards, too. */
	memmove(at + FRAGMENT6, at, m->l2_len + HEADER6);
	ip = (struct rte_ipv6_hdr *)rte_pktmbuf_adj(m, FRAGMENT6);
	ip->proto = next;
	ip->payload_len = rte_cpu_to_be_16((uint16_t)total);
}

/* All of it in one new buffer; NULL: it doesn't fit, or there's no memory. */
static struct rte_mbuf *in_one(const struct datagram *d, uint32_t header)
{
	const struct rte_mbuf *head = d->fragments[0].m;
	struct rte_mbuf *ret = rte_pktmbuf_alloc(head->pool);
	char *at;

	if (!ret)
		return NULL;
	at = rte_pktmbuf_headroom(ret) < head->l2_len || header + d->total > UINT16_MAX
		     ? NULL
		     : rte_pktmbuf_append(ret, (uint16_t)(header + d->total));
	if (!at) {
		rte_pktmbuf_free(ret);
		return NULL;
	}
	ret->port = head->port;
	ret->l2_len = head->l2_len;
	memcpy(at - head->l2_len, rte_pktmbuf_mtod(head, const char *) - head->l2_len,
	       head->l2_len + header);
	at += header;
	for (unsigned i = 0; i < d->n; i++) {
		const struct fragment *f = &d->fragments[i];
		const void *from = rte_pktmbuf_read(f->m, header, f->end - f->first, at);

		if (from != at)
			memcpy(at, from, f->end - f->first);
		at += f->end - f->first;
	}
	for (unsigned i = 0; i < d->n; i++)
		rte_pktmbuf_free(d->fragments[i].m);
	return ret;
}

/* One behind the other. */
static struct rte_mbuf *in_a_chain(const struct datagram *d, uint32_t header)
{
	struct rte_mbuf *head = d->fragments[0].m;

	for (unsigned i = 0; i < d->n; i++) {
		struct rte_mbuf *m = d->fragments[i].m;
		uint32_t behind =
			m->pkt_len - header - (d->fragments[i].end - d->fragments[i].first);

		rte_pktmbuf_trim(m, (uint16_t)behind);
		if (i) {
			rte_pktmbuf_adj(m, (uint16_t)header);
			rte_pktmbuf_chain(head, m);
		}
	}
	return head;
}

/* Ends @d, which is complete. */
static struct fp_packet put_together(struct table *t, struct datagram *d, uint32_t nexthop)
{
	uint32_t header = header_of(d->key.family);
	struct fp_special s = {.iface = d->key.iface};
	uint32_t largest = 0;
	struct rte_mbuf *m;

	for (unsigned i = 0; i < d->n; i++)
		largest = RTE_MAX(largest, d->fragments[i].end - d->fragments[i].first);
	unlink_from_all(t, d);
	m = in_one(d, header);
	if (!m)
		m = in_a_chain(d, header);
	if (d->key.family == AF_INET)
		rewrite4(m, d->total);
	else
		rewrite6(m, d->total);
	if (d->key.is_special)
		s = (struct fp_special){.iface = d->key.special_iface,
					.mark = d->key.special_mark,
					.flags = d->key.special_flags};
	fp_make_special(m, &s);
	fp_special_fragments(m, (uint16_t)(header + largest), d->key.id);
	return (struct fp_packet){.m = m, .len = m->pkt_len, .nexthop = nexthop};
}

enum place { FREE, DUPLICATE, OVERLAP };

/* Where a fragment belongs. */
static enum place place_of(const struct datagram *d, const struct parsed *f, unsigned *ret)
{
	unsigned i = d->n;

	/* Mostly they come in order. */
	while (i && d->fragments[i - 1].first >= f->end)
		i--;
	*ret = i;
	if (i && d->fragments[i - 1].end > f->first)
		return d->fragments[i - 1].first <= f->first && d->fragments[i - 1].end >= f->end
			       ? DUPLICATE
			       : OVERLAP;
	/* The last one says where the end is. */
	if (d->total ? f->end > d->total || (!f->more && f->end != d->total)
		     : !f->more && d->n && d->fragments[d->n - 1].end > f->end)
		return OVERLAP;
	return FREE;
}

/* Adds the fragment @p; true: that makes a packet, in @ret. It's not the caller's any more. */
static bool gather(struct fp_worker *w, const struct fp_burst *b, const struct fp_packet *p,
		   const struct parsed *f, struct fp_packet *ret)
{
	struct table *t = &tables[w->id];
	struct datagram *d = find(t, &f->key);
	enum reason reason = N_REASONS;
	unsigned at = 0;

	if (f->odd || (d && d->ecn != f->ecn))
		reason = EXCEPTION_REASSEMBLY_ODD;
	else if (d && d->n == FRAGMENTS_MAX)
		reason = EXCEPTION_REASSEMBLY_FULL;
	else if (d)
		switch (place_of(d, f, &at)) {
		case DUPLICATE:
			fp_drop(w, p->m, DROP_REASSEMBLY_DUPLICATE);
			return false;
		case OVERLAP:
			reason = EXCEPTION_REASSEMBLY_OVERLAP;
			break;
		case FREE:
			break;
		}
	if (reason != N_REASONS) {
		if (d)
			give_up(w, t, d, reason);
		fp_end(w, b, p, reason);
		return false;
	}
	if (!d)
		d = make(w, t, &f->key);
	memmove(&d->fragments[at + 1], &d->fragments[at], (d->n - at) * sizeof(*d->fragments));
	d->fragments[at] = (struct fragment){.m = p->m, .first = f->first, .end = f->end};
	d->ecn = f->ecn;
	d->n++;
	d->have += f->end - f->first;
	t->buffers += p->m->nb_segs;
	if (!f->more)
		d->total = f->end;
	if (d->total && d->have == d->total) {
		*ret = put_together(t, d, p->nexthop);
		return true;
	}
	while (t->buffers > BUFFERS_MAX)
		give_up(w, t, t->oldest, EXCEPTION_REASSEMBLY_FULL);
	return false;
}

static void reassemble(struct fp_worker *w, struct fp_burst *b)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < b->n; i++) {
		struct fp_packet p = b->pkts[i];
		struct parsed f;

		if (likely(!parse(b, &p, &f)))
			b->pkts[kept++] = p;
		else if (b->flags & FP_BURST_OWN)
			b->pkts[kept++] = p;
		else if (!fp_special_ready(b->vrf))
			fp_end(w, b, &p, EXCEPTION_REASSEMBLY_NOT_READY);
		else if (gather(w, b, &p, &f, &b->pkts[kept]))
			kept++;
	}
	b->n = kept;
}

static int init(struct err *err)
{
	static const enum fp_stage stages[] = {
		FP_STAGE_IP_REASSEMBLY,
		FP_STAGE_IP6_REASSEMBLY,
		FP_STAGE_IP_LOCAL_REASSEMBLY,
		FP_STAGE_IP6_LOCAL_REASSEMBLY,
	};

	for (unsigned i = 0; i < sizeof(stages) / sizeof(*stages); i++)
		if (fp_register_stage(stages[i], reassemble))
			return err_set(err, ENOSPC, "the stages of reassembly are taken");
	return 0;
}

const struct fp_feature reassembly_fastpath = {.init = init};
