// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/vnet.h"

#include <string.h>

/* One's complement sum of @len bytes as 16-bit words in host order of a big-endian reader, not folded (RFC 1071). */
static uint64_t sum_bytes(const uint8_t *data, size_t len)
{
	uint64_t sum = 0;

	for (; len >= 4; data += 4, len -= 4) {
		uint32_t word;

		memcpy(&word, data, 4);
		sum += word;
	}
	if (len >= 2) {
		uint16_t word;

		memcpy(&word, data, 2);
		sum += word;
		data += 2;
		len -= 2;
	}
	if (len) {
		uint16_t word = 0;

		memcpy(&word, data, 1);
		sum += word;
	}
	return sum;
}

bool vnet_finish(const struct virtio_net_hdr *hdr, uint8_t *data, size_t len)
{
	size_t start = hdr->csum_start, at = start + hdr->csum_offset;
	uint64_t sum;
	uint16_t check;

	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return false;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (start > len || at + sizeof(check) > len)
		return false;
	/* The field holds the pseudo header's sum already, so it's part of what is summed up. */
	sum = sum_bytes(data + start, len - start);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	check = (uint16_t)~sum;
	/* UDP: 0 would mean "no checksum"; for the others both zeros are the same number. */
	if (!check)
		check = 0xffff;
	memcpy(data + at, &check, sizeof(check));
	return true;
}
