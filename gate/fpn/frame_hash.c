// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/frame_hash.h"

#include <string.h>

#define ETHER	   14
#define VLAN	   4
#define IPV4	   20
#define IPV6	   40
#define FRAGMENT   0x3fff	      /* more fragments, or an offset */
#define MULTIPLIER 0x9e3779b97f4a7c15 /* 2^64 / golden ratio: spreads neighbours */
#define PROTO_TCP  6
#define PROTO_UDP  17
#define PROTO_SCTP 132

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint64_t mix(uint64_t hash, uint64_t v)
{
	hash = (hash ^ v) * MULTIPLIER;
	return hash ^ hash >> 32;
}

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 16);
}

static bool has_ports(uint8_t proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

static uint32_t hash4(const uint8_t *ip, size_t len)
{
	size_t ihl = (ip[0] & 0xf) * 4U;
	uint64_t hash = mix(ip[9], get64(ip + 12));

	if (has_ports(ip[9]) && !(get16(ip + 6) & FRAGMENT) && ihl >= IPV4 && len >= ihl + 4)
		hash = mix(hash, get32(ip + ihl));
	return fold(hash);
}

static uint32_t hash6(const uint8_t *ip, size_t len)
{
	uint64_t hash = ip[6];

	for (unsigned i = 8; i < IPV6; i += 8)
		hash = mix(hash, get64(ip + i));
	if (has_ports(ip[6]) && len >= IPV6 + 4)
		hash = mix(hash, get32(ip + IPV6));
	return fold(hash);
}

uint32_t frame_hash(const uint8_t *frame, size_t len)
{
	size_t at = ETHER;

	if (len < ETHER)
		return 0;
	for (unsigned tags = 0;
	     tags < 2 && len >= at + VLAN &&
	     (get16(frame + at - 2) == 0x8100 || get16(frame + at - 2) == 0x88a8);
	     tags++)
		at += VLAN;
	if (get16(frame + at - 2) == 0x0800 && len >= at + IPV4)
		return hash4(frame + at, len - at);
	if (get16(frame + at - 2) == 0x86dd && len >= at + IPV6)
		return hash6(frame + at, len - at);
	return fold(mix(get64(frame), get32(frame + 8) | (uint64_t)get16(frame + at - 2) << 32));
}
