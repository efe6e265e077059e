// SPDX-License-Identifier: BSD-3-Clause
#include "fastpath/classify.h"

#include <errno.h>
#include <string.h>

#define TYPE_IP4       0x0800
#define TYPE_IP6       0x86dd
#define TYPE_VLAN      0x8100
#define TYPE_QINQ      0x88a8
#define LLC_BELOW      0x0600 /* from here on the two bytes are a type, below a length */
#define TAGS_MAX       2
#define EXTENSIONS_MAX 8
#define ADDRESSES      12 /* bytes of an Ethernet header before the type */

/* IP protocols and extension headers that lead to others. */
#define PROTO_HOP_BY_HOP  0
#define PROTO_TCP	  6
#define PROTO_UDP	  17
#define PROTO_ROUTING	  43
#define PROTO_FRAGMENT	  44
#define PROTO_AH	  51
#define PROTO_ICMP6	  58
#define PROTO_DESTINATION 60

static uint64_t registered[FP_CONTROLS][65536 / 64];

/* What is left to look at. */
struct span {
	const uint8_t *at;
	size_t len;
};

int fp_register_control(enum fp_control kind, uint16_t value)
{
	if ((kind == FP_CONTROL_IP || kind == FP_CONTROL_ICMP6) && value > UINT8_MAX)
		return -EINVAL;
	registered[kind][value / 64] |= 1ULL << value % 64;
	return 0;
}

static bool known(enum fp_control kind, uint16_t value)
{
	return registered[kind][value / 64] >> value % 64 & 1;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void skip(struct span *s, size_t n)
{
	s->at += n;
	s->len -= n;
}

/* The headers behind @protocol that only lead to the next one are passed by. False: they are cut short, too many, or the
 * packet is a fragment without a beginning; *ret_protocol is then the best that's known. */
static bool find_upper(struct span *s, uint8_t protocol, bool fragment, uint8_t *ret_protocol)
{
	for (unsigned i = 0; i <= EXTENSIONS_MAX; i++) {
		size_t len;

		*ret_protocol = protocol;
		if (fragment)
			return false;
		switch (protocol) {
		case PROTO_HOP_BY_HOP:
		case PROTO_ROUTING:
		case PROTO_DESTINATION:
			len = s->len >= 8 ? 8 + 8UL * s->at[1] : SIZE_MAX;
			break;
		case PROTO_FRAGMENT:
			len = 8;
			fragment = s->len >= 8 && get16(s->at + 2) & 0xfff8;
			break;
		case PROTO_AH:
			len = s->len >= 8 ? 8 + 4UL * s->at[1] : SIZE_MAX;
			break;
		default:
			return true;
		}
		if (s->len < len)
			return false;
		protocol = s->at[0];
		skip(s, len);
	}
	return false;
}

/* What IP carries. */
static bool is_upper_control(struct span s, uint8_t protocol, bool fragment, bool is_ip6)
{
	static const uint8_t zero[4];
	bool whole = find_upper(&s, protocol, fragment, &protocol);

	if (known(FP_CONTROL_IP, protocol))
		return true;
	if (!whole)
		return false;
	switch (protocol) {
	case PROTO_UDP:
		if (s.len < 8)
			return false;
		return known(FP_CONTROL_UDP, get16(s.at + 2)) ||
		       (s.len >= 12 && known(FP_CONTROL_UDP_ZERO, get16(s.at + 2)) &&
			!memcmp(s.at + 8, zero, sizeof(zero)));
	case PROTO_TCP:
		return s.len >= 4 && (known(FP_CONTROL_TCP, get16(s.at)) ||
				      known(FP_CONTROL_TCP, get16(s.at + 2)));
	case PROTO_ICMP6:
		return is_ip6 && s.len >= 1 && known(FP_CONTROL_ICMP6, s.at[0]);
	default:
		return false;
	}
}

static bool is_ip4_control(struct span s)
{
	size_t header, total;

	if (s.len < 20 || s.at[0] >> 4 != 4)
		return false;
	header = 4UL * (s.at[0] & 0xf);
	total = get16(s.at + 2);
	if (header < 20 || total < header || s.len < header)
		return false;
	/* Padding behind the packet is none of it. */
	if (s.len > total)
		s.len = total;
	return is_upper_control((struct span){s.at + header, s.len - header}, s.at[9],
				get16(s.at + 6) & 0x1fff, false);
}

static bool is_ip6_control(struct span s)
{
	size_t total;

	if (s.len < 40 || s.at[0] >> 4 != 6)
		return false;
	total = 40UL + get16(s.at + 4);
	if (s.len > total)
		s.len = total;
	return is_upper_control((struct span){s.at + 40, s.len - 40}, s.at[6], false, true);
}

bool fp_is_control(const uint8_t *frame, size_t len)
{
	struct span s = {frame, len};
	uint16_t type;

	if (s.len < ADDRESSES + 2)
		return false;
	skip(&s, ADDRESSES);
	type = get16(s.at);
	skip(&s, 2);
	for (unsigned i = 0; i < TAGS_MAX && (type == TYPE_VLAN || type == TYPE_QINQ); i++) {
		if (s.len < 4)
			return false;
		type = get16(s.at + 2);
		skip(&s, 4);
	}
	if (type < LLC_BELOW)
		return s.len >= 2 && known(FP_CONTROL_LLC, get16(s.at));
	if (known(FP_CONTROL_ETHERTYPE, type))
		return true;
	if (type == TYPE_IP4)
		return is_ip4_control(s);
	return type == TYPE_IP6 && is_ip6_control(s);
}

enum scope { UNKNOWN, LOCAL, TRANSIT };
static const uint8_t scopes[REASONS_MAX] = {
#define SCOPE(reason, scope) [reason] = scope,
	REASON_SCOPES(SCOPE)
#undef SCOPE
};

enum fp_class fp_classify(enum reason reason, const uint8_t *frame, size_t len)
{
	if (scopes[reason] == TRANSIT)
		return FP_CLASS_FORWARDED;
	if (fp_is_control(frame, len))
		return FP_CLASS_CONTROL;
	return scopes[reason] == LOCAL ? FP_CLASS_LOCAL : FP_CLASS_FORWARDED;
}
