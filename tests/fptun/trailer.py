# SPDX-License-Identifier: BSD-3-Clause
"""The FPTUN trailer, told anew from gate/bpf/fptun/fptun.h."""

import struct

MAGIC, VERSION, RECEIVED, IPSEC = 0x4650544E, 1, 1, 1
MARK, MARK_MASK = 0xFB000000, 0xFF000000
PROTECTED, UNPROTECTED = 253, 254  # protocols that the plugin `probe` opens


def trailer(
    *,
    ifindex: int,
    magic: int = MAGIC,
    version: int = VERSION,
    type: int = RECEIVED,  # noqa: A002
    flags: int = IPSEC,
    pad: int = 0,
    vrf: int = 0,
    mark: int = 0,
) -> bytes:
    """As it stands behind a frame."""
    return struct.pack("!IBBBBIII", magic, version, type, flags, pad, vrf, ifindex, mark)
