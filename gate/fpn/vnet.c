// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/vnet.h"

#include <string.h>

#include "fpn/checksum.h"

bool vnet_finish(const struct virtio_net_hdr *hdr, uint8_t *data, size_t len)
{
	size_t start = hdr->csum_start, at = start + hdr->csum_offset;
	uint16_t check;

	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return false;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (start > len || at + sizeof(check) > len)
		return false;
	/* The field holds the pseudo header's sum already, so it's part of what is summed up. */
	check = checksum_fold_nonzero(checksum_add(0, data + start, len - start));
	memcpy(data + at, &check, sizeof(check));
	return true;
}
