// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/flow.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>

#define HEADER6 40
/* Extension headers that a packet may have before Linux stops looking (MAX_FLOW_DISSECT_HDRS). */
#define MAX_EXTENSIONS 15

/* What is hashed, as it lies in Linux's struct flow_keys from its member "basic" on. Of IPv4 the first 48 bytes. */
struct flow {
	uint16_t n_proto; /* stays 0, like all that isn't set below */
	uint8_t protocol;
	uint8_t pad;
	uint32_t label; /* as in the header */
	uint64_t vlan[2];
	uint32_t keyid;
	uint16_t src_port, dst_port;
	uint32_t icmp;
	uint32_t addr[8]; /* IPv4: source, destination; IPv6: four words each */
	uint32_t pad2;
};
static_assert(sizeof(struct flow) == 72);
#define WORDS4 6
#define WORDS6 9

/* __flow_hash_consistentify: both directions of a flow are one. */
static void order(struct flow *f, unsigned n_words)
{
	uint16_t port = f->src_port;
	uint32_t copy[8];

	if (n_words == WORDS4 ? f->addr[1] < f->addr[0] : memcmp(f->addr + 4, f->addr, 16) < 0) {
		unsigned half = n_words == WORDS4 ? 1 : 4;

		memcpy(copy, f->addr, sizeof(copy));
		memcpy(f->addr, copy + half, 4 * half);
		memcpy(f->addr + half, copy, 4 * half);
	}
	if (f->dst_port < f->src_port) {
		f->src_port = f->dst_port;
		f->dst_port = port;
	}
}

static uint64_t rotate(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

/* SipHash-2-4 of @n words with the key that fib_multipath_hash_construct_key makes of the seed. */
static uint32_t siphash(const uint64_t *words, unsigned n, uint32_t seed)
{
	uint64_t key = (uint64_t)seed << 32 | seed;
	uint64_t v[4] = {key ^ 0x736f6d6570736575ULL, key ^ 0x646f72616e646f6dULL,
			 key ^ 0x6c7967656e657261ULL, key ^ 0x7465646279746573ULL};
	uint64_t end = (uint64_t)n << 59; /* its length in bytes, in the first byte */

	for (unsigned i = 0; i <= n; i++) {
		uint64_t word = i < n ? words[i] : end;

		v[3] ^= word;
		sip_rounds(v, 2);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static uint32_t mix(const uint64_t *words, unsigned n)
{
	uint64_t h = 0x9e3779b97f4a7c15ULL;

	for (unsigned i = 0; i < n; i++) {
		if (i == 1 || i == 2)
			continue; /* always 0 */
		h = (h ^ words[i]) * 0xbf58476d1ce4e5b9ULL;
		h ^= h >> 29;
	}
	h *= 0x94d049bb133111ebULL;
	return h >> 32;
}

static uint32_t hash_flow(struct flow *f, unsigned n_words, uint32_t seed)
{
	uint64_t words[WORDS6];
	uint32_t hash;

	order(f, n_words);
	memcpy(words, f, 8 * n_words);
	hash = seed ? siphash(words, n_words, seed) : mix(words, n_words);
	return (hash ? hash : 1) >> 1;
}

/* The packet's bytes that are in its first buffer; @len: of the packet by its header. */
struct view {
	const uint8_t *data;
	uint32_t len;
};

static struct view view_of(const struct rte_mbuf *m, uint32_t len)
{
	return (struct view){rte_pktmbuf_mtod(m, const uint8_t *),
			     len < m->data_len ? len : m->data_len};
}

/* @len bytes at @offset; NULL where there aren't so many. */
static const void *bytes_at(const struct view *v, uint32_t offset, uint32_t len)
{
	return offset + len <= v->len ? v->data + offset : NULL;
}

/* proto_ports_offset: also the SPI of IPsec counts. */
static int ports_offset(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_ESP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		return 0;
	case IPPROTO_AH:
		return 4;
	default:
		return -1;
	}
}

static void read_ports(struct flow *f, const struct view *v, uint32_t offset)
{
	int more = ports_offset(f->protocol);
	const uint8_t *at = more < 0 ? NULL : bytes_at(v, offset + (uint32_t)more, 4);

	if (!at)
		return;
	memcpy(&f->src_port, at, 2);
	memcpy(&f->dst_port, at + 2, 2);
}

static bool is_error4(uint8_t type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* The header of the packet that the ICMP error behind @ip is about, or @ip. */
static const struct rte_ipv4_hdr *subject4(const struct view *v, const struct rte_ipv4_hdr *ip)
{
	const uint8_t *icmp = bytes_at(v, sizeof(*ip), 8 + sizeof(*ip));

	if (ip->next_proto_id != IPPROTO_ICMP || !icmp || !is_error4(icmp[0]) ||
	    ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK))
		return ip;
	return (const struct rte_ipv4_hdr *)(const void *)(icmp + 8);
}

uint32_t flow_hash4(const struct rte_mbuf *m, bool ports, uint32_t seed)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	const struct view v = view_of(m, rte_be_to_cpu_16(ip->total_length));
	struct flow f = {0};

	if (!ports)
		ip = subject4(&v, ip);
	f.addr[0] = ip->src_addr;
	f.addr[1] = ip->dst_addr;
	if (ports) {
		f.protocol = ip->next_proto_id;
		if (!(ip->fragment_offset &
		      RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)))
			read_ports(&f, &v, sizeof(*ip));
	}
	return hash_flow(&f, WORDS4, seed);
}

/* Likewise for ICMPv6. */
static const uint8_t *subject6(const struct view *v, const uint8_t *ip)
{
	const uint8_t *icmp = bytes_at(v, HEADER6, 8 + HEADER6);

	if (ip[6] != IPPROTO_ICMPV6 || !icmp || icmp[0] < ICMP6_DST_UNREACH ||
	    icmp[0] > ICMP6_PARAM_PROB)
		return ip;
	return icmp + 8;
}

/* Protocol and ports behind the extension headers. Where the packet is cut off, what was found until then. */
static void read_upper6(struct flow *f, const struct view *v)
{
	uint32_t offset = HEADER6;

	for (unsigned i = 0; i < MAX_EXTENSIONS; i++) {
		const uint8_t *at;

		switch (f->protocol) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			at = bytes_at(v, offset, 2);
			if (!at)
				return;
			f->protocol = at[0];
			offset += (at[1] + 1U) * 8;
			break;
		case IPPROTO_FRAGMENT:
			/* No fragment's ports count, not even the first one's. */
			at = bytes_at(v, offset, 8);
			if (at)
				f->protocol = at[0];
			return;
		default:
			read_ports(f, v, offset);
			return;
		}
	}
}

uint32_t flow_hash6(const struct rte_mbuf *m, bool ports, uint32_t seed)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct view v = view_of(m, HEADER6 + ((uint32_t)ip[4] << 8 | ip[5]));
	struct flow f = {0};

	if (!ports)
		ip = subject6(&v, ip);
	memcpy(f.addr, ip + 8, sizeof(f.addr));
	f.protocol = ip[6];
	if (ports) {
		read_upper6(&f, &v);
	} else {
		memcpy(&f.label, ip, 4);
		f.label &= RTE_BE32(0xfffff);
	}
	return hash_flow(&f, WORDS6, seed);
}
