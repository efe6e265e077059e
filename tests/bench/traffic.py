# SPDX-License-Identifier: BSD-3-Clause
"""The frames of the forwarding benchmark, as pcap files, and the destinations they go to.

Destinations are drawn with a fixed seed, so every device sees the same packets. IPv4 uses 198.18.0.0/15
(RFC 2544) or, for a million routes, /24 prefixes from 16.0.0.0 on; IPv6 uses 2001:db8::/32 (RFC 3849).
"""

import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SEED = 20261122
# The MAC that net_pcap gives its first port: all devices under test get it as theirs.
PORT_MAC = bytes.fromhex("027063617000")
PEER_MAC = bytes.fromhex("020000000002")
FIRST_ROUTE4 = 0x10000000
FIRST_ROUTE6 = 0x20010DB8 << 96


@dataclass(frozen=True, kw_only=True)
class Case:
    """One column of the benchmark."""

    name: str
    family: int  # 4 or 6
    destinations: int
    routes: int  # 1: one route covers all


CASES = (
    Case(name="ipv4-1flow", family=4, destinations=1, routes=1),
    Case(name="ipv4-4096", family=4, destinations=4096, routes=1),
    Case(name="ipv4-1m", family=4, destinations=262144, routes=1_000_000),
    Case(name="ipv6-1flow", family=6, destinations=1, routes=1),
    Case(name="ipv6-4096", family=6, destinations=4096, routes=1),
    Case(name="ipv6-200k", family=6, destinations=262144, routes=200_000),
)


def prefixes(case: Case) -> list[tuple[int, int]]:
    """Return the routes of a case as (address, prefix length)."""
    if case.family == 4:
        if case.routes == 1:
            return [(0xC6120000, 15)]
        return [(FIRST_ROUTE4 + (i << 8), 24) for i in range(case.routes)]
    if case.routes == 1:
        return [(FIRST_ROUTE6, 32)]
    return [(FIRST_ROUTE6 + (i << 64), 64) for i in range(case.routes)]


def destinations(case: Case) -> list[int]:
    """Return the packets' destinations, random over all routes."""
    rng = random.Random(SEED)
    routes = prefixes(case)
    bits = 32 if case.family == 4 else 128

    def one() -> int:
        address, plen = rng.choice(routes)
        return address + rng.randrange(1, (1 << (bits - plen)) - 1)

    return [one() for _ in range(case.destinations)]


def _checksum(header: bytes) -> int:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def frame(family: int, destination: int) -> bytes:
    """Return a 64-byte frame (60 without the CRC; IPv6: 62), UDP, to the destination."""
    udp = struct.pack(">HHHH", 1024, 9, 8, 0)
    if family == 4:
        header = struct.pack(
            ">BBHHHBBH4sI", 0x45, 0, 46, 0, 0, 64, 17, 0, bytes([192, 0, 2, 2]), destination
        )
        header = header[:10] + struct.pack(">H", _checksum(header)) + header[12:]
        ethertype, packet = b"\x08\x00", header + udp + bytes(18)
    else:
        source = (FIRST_ROUTE6 >> 32 << 32) + 2
        header = struct.pack(">IHBB", 6 << 28, 8, 17, 64) + source.to_bytes(16, "big")
        ethertype, packet = b"\x86\xdd", header + destination.to_bytes(16, "big") + udp
    return PORT_MAC + PEER_MAC + ethertype + packet


def write_pcap(path: Path, frames: Iterable[bytes]) -> None:
    """Write frames as a classic pcap file."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            out.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)


def pcap_for(case: Case, folder: Path) -> Path:
    """Write the case's frames below folder, once; return the file."""
    path = folder / f"{case.name}.pcap"
    if not path.exists():
        part = path.with_suffix(".part")
        write_pcap(part, (frame(case.family, d) for d in destinations(case)))
        part.rename(path)
    return path
