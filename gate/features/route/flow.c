// SPDX-License-Identifier: BSD-3-Clause
#include "features/route/flow.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>

struct flow {
	uint8_t src[16], dst[16];
	uint32_t label; /* as in the header */
	uint16_t src_port, dst_port;
	uint8_t protocol;
};

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0xbf58476d1ce4e5b9ULL;
	return h ^ h >> 29;
}

static uint64_t mix_address(uint64_t h, const uint8_t addr[16])
{
	uint64_t words[2];

	memcpy(words, addr, sizeof(words));
	return mix(mix(h, words[0]), words[1]);
}

/* Addresses and ports in their order by value, so that directions don't matter. */
static uint32_t hash_flow(const struct flow *f)
{
	int order = memcmp(f->src, f->dst, sizeof(f->src));
	bool turn = order ? order > 0 : f->src_port > f->dst_port;
	uint64_t h = 0x9e3779b97f4a7c15ULL;

	h = mix_address(h, turn ? f->dst : f->src);
	h = mix_address(h, turn ? f->src : f->dst);
	h = mix(h, (uint64_t)f->label << 8 | f->protocol);
	h = mix(h, turn ? (uint32_t)f->dst_port << 16 | f->src_port
			: (uint32_t)f->src_port << 16 | f->dst_port);
	h *= 0x94d049bb133111ebULL;
	return h >> 32;
}

/* @len bytes at @offset; NULL where the first buffer doesn't hold them. */
static const void *bytes_at(const struct rte_mbuf *m, uint32_t offset, uint32_t len)
{
	return offset + len <= m->data_len ? rte_pktmbuf_mtod_offset(m, const char *, offset)
					   : NULL;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

static void read_ports(struct flow *f, const struct rte_mbuf *m, uint32_t offset)
{
	const uint8_t *at = has_ports(f->protocol) ? bytes_at(m, offset, 4) : NULL;

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
static const struct rte_ipv4_hdr *subject4(const struct rte_mbuf *m, const struct rte_ipv4_hdr *ip)
{
	const uint8_t *icmp = bytes_at(m, sizeof(*ip), 8 + sizeof(*ip));

	if (ip->next_proto_id != IPPROTO_ICMP || !icmp || !is_error4(icmp[0]) ||
	    ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK))
		return ip;
	return (const struct rte_ipv4_hdr *)(const void *)(icmp + 8);
}

uint32_t flow_hash4(const struct rte_mbuf *m, bool ports)
{
	const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	struct flow f = {0};

	if (!ports)
		ip = subject4(m, ip);
	memcpy(f.src, &ip->src_addr, 4);
	memcpy(f.dst, &ip->dst_addr, 4);
	if (ports) {
		f.protocol = ip->next_proto_id;
		if (!(ip->fragment_offset &
		      RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK | RTE_IPV4_HDR_MF_FLAG)))
			read_ports(&f, m, sizeof(*ip));
	}
	return hash_flow(&f);
}

#define HEADER6 40

/* Likewise for ICMPv6. */
static const uint8_t *subject6(const struct rte_mbuf *m, const uint8_t *ip)
{
	const uint8_t *icmp = bytes_at(m, HEADER6, 8 + HEADER6);

	if (ip[6] != IPPROTO_ICMPV6 || !icmp || icmp[0] & ICMP6_INFOMSG_MASK)
		return ip;
	return icmp + 8;
}

uint32_t flow_hash6(const struct rte_mbuf *m, bool ports)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *);
	struct flow f = {0};

	if (!ports)
		ip = subject6(m, ip);
	memcpy(f.src, ip + 8, 16);
	memcpy(f.dst, ip + 24, 16);
	f.protocol = ip[6];
	if (ports) {
		read_ports(&f, m, HEADER6);
	} else {
		memcpy(&f.label, ip, 4);
		f.label &= RTE_BE32(0xfffff);
	}
	return hash_flow(&f);
}
