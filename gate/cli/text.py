# SPDX-License-Identifier: BSD-3-Clause
"""Fields of rows as text."""

import socket

from _sluice import ffi
from sluice.cli.view import Struct


def text(field: Struct) -> str:
    """A NUL-padded array of characters."""
    return bytes(ffi.buffer(field)).partition(b"\0")[0].decode(errors="replace")


def mac_text(field: Struct) -> str:
    """The first six bytes of a field as a MAC address."""
    return ":".join(f"{byte:02x}" for byte in bytes(ffi.buffer(field))[:6])


def address_text(family: int, field: Struct) -> str:
    """A 16-byte address field; IPv4 uses the first four."""
    raw = bytes(ffi.buffer(field))
    return socket.inet_ntop(family, raw[:4] if family == socket.AF_INET else raw[:16])


def family_number(family: int) -> int:
    """4 or 6."""
    return 6 if family == socket.AF_INET6 else 4
