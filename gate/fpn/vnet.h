// SPDX-License-Identifier: BSD-3-Clause
/* The virtio_net_hdr in front of a TAP's packets. Pure functions over one packet in one piece. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h>

/* Finishes what Linux left to the device in the Ethernet frame @data of @len bytes: the checksum that @hdr asks for.
 * False: the header asks for what isn't offered (segmentation), or points outside the frame: the frame can't be sent. */
bool vnet_finish(const struct virtio_net_hdr *hdr, uint8_t *data, size_t len);
