# SPDX-License-Identifier: BSD-3-Clause
"""Random Ethernet frames with IPv4 and IPv6 packets, right and malformed, the same for the same seed.

For the packet tests and for the differential tests against the kernel: no scapy and no other state, so that thousands
cost nothing and a failure is repeated with `Generator(seed=..., net=...)`.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV4, IPV6, ARP, VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
UDP, TCP, ICMP, ICMP6, NO_NEXT_HEADER = 17, 6, 1, 58, 59

SPECIAL4 = (
    "0.0.0.0", "0.0.0.1", "127.0.0.1", "127.1.2.3", "224.0.0.1", "224.0.0.5", "239.255.255.250",
    "240.0.0.1", "255.255.255.254", "255.255.255.255", "169.254.1.1", "100.64.0.1",
)  # fmt: skip
SPECIAL6 = (
    "::", "::1", "::2", "::ffff:192.0.2.1", "::192.0.2.1", "fe80::1", "fe80::ffff", "fec0::1",
    "ff01::1", "ff02::1", "ff02::2", "ff05::1", "ff0e::1234", "2002::1", "64:ff9b::1",
)  # fmt: skip


@dataclass(frozen=True)
class Net:
    """What the generator must know of the router under test, as seen from the side where packets go in."""

    router_mac: bytes
    host_mac: bytes
    sources: tuple[Network, ...]
    """Networks that senders are in."""
    destinations: tuple[Network, ...]
    """Networks that have routes; some addresses in them should have neighbours."""
    hosts: tuple[Address, ...] = ()
    """Single addresses worth a visit: neighbours, gateways, the router's own, broadcast addresses."""
    mtu: int = 1500


@dataclass(frozen=True)
class Generated:
    """A frame, and in words what is special about it."""

    number: int
    frame: bytes
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"#{self.number} ({', '.join(self.notes) or 'plain'}): {self.frame.hex()}"


def checksum(data: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport(
    protocol: int, src: Address, dst: Address, payload: bytes, sport: int, dport: int
) -> bytes:
    """A right UDP, TCP, ICMP or ICMPv6 message."""
    if protocol == UDP:
        head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
        at = 6
    elif protocol == TCP:
        head = struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, 0x02, 8192, 0, 0)
        at = 16
    else:
        kind = 8 if protocol == ICMP else 128
        head = struct.pack("!BBHHH", kind, 0, 0, sport, dport)
        at = 2
    body = head + payload
    pseudo = b""
    if protocol != ICMP:
        size = "!HH" if src.version == 4 else "!IHH"
        fields = (protocol, len(body)) if src.version == 4 else (len(body), 0, protocol)
        pseudo = src.packed + dst.packed + struct.pack(size, *fields)
    value = checksum(pseudo + body)
    if protocol == UDP and not value:
        value = 0xFFFF
    return body[:at] + struct.pack("!H", value) + body[at + 2 :]


class Generator:
    """Frames without end. `malformed`: how many of a hundred aren't a right packet from a host to a host."""

    def __init__(self, *, seed: int, net: Net, malformed: int = 50) -> None:
        self.random = random.Random(seed)
        self.net = net
        self.malformed = malformed
        self.number = 0

    def __iter__(self) -> Iterator[Generated]:
        while True:
            yield self.next()

    def take(self, n: int) -> list[Generated]:
        """The next n frames."""
        return [self.next() for _ in range(n)]

    def next(self) -> Generated:
        """The next frame."""
        notes: list[str] = []
        bad = self.random.randrange(100) < self.malformed
        family = self.random.choice((4, 6))
        packet = self.ipv4(bad, notes) if family == 4 else self.ipv6(bad, notes)
        frame = self.ethernet(packet, IPV4 if family == 4 else IPV6, bad, notes)
        self.number += 1
        return Generated(self.number - 1, frame, tuple(notes))

    # --- pieces ---

    def chance(self, percent: float) -> bool:
        """True that often."""
        return self.random.random() * 100 < percent

    def pick(self, networks: tuple[Network, ...], version: int) -> Address:
        """An address in one of the networks of a version."""
        network = self.random.choice([n for n in networks if n.version == version])
        # Low host parts, where neighbours are, more often than others.
        room = network.num_addresses
        at = (
            self.random.randrange(min(room, 256))
            if self.chance(70)
            else self.random.randrange(room)
        )
        return network[at]

    def address(
        self, networks: tuple[Network, ...], version: int, bad: bool, notes: list[str], what: str
    ) -> Address:
        """An address of a host, or a special one."""
        hosts = [h for h in self.net.hosts if h.version == version]
        if bad and self.chance(12):
            address = ip_address(self.random.choice(SPECIAL4 if version == 4 else SPECIAL6))
            notes.append(f"{what} {address}")
            return address
        if bad and self.chance(8):
            bits = 32 if version == 4 else 128
            value = self.random.getrandbits(bits)
            notes.append(f"any {what}")
            return IPv4Address(value) if version == 4 else IPv6Address(value)
        if hosts and self.chance(30 if what == "destination" else 5):
            return self.random.choice(hosts)
        return self.pick(networks, version)

    def payload(self, most: int) -> bytes:
        """Some bytes; sizes around the edges more often."""
        size = self.random.choice(
            (0, 1, 10, 18, 26, 64, 500, most, self.random.randrange(most + 1))
        )
        return self.random.randbytes(min(size, most))

    def ttl(self, bad: bool, notes: list[str]) -> int:
        """A TTL, too small ones if bad."""
        if bad and self.chance(12):
            ttl = self.random.choice((0, 1))
            notes.append(f"ttl {ttl}")
            return ttl
        return self.random.choice((2, 3, 64, 64, 128, 255))

    def ipv4(self, bad: bool, notes: list[str]) -> bytes:
        """An IPv4 packet."""
        src = self.address(self.net.sources, 4, bad, notes, "source")
        dst = self.address(self.net.destinations, 4, bad, notes, "destination")
        protocol = self.random.choice((UDP, UDP, TCP, ICMP, self.random.randrange(256)))
        most = self.net.mtu - 20 - 20
        if bad and self.chance(5):
            most += self.random.choice((1, 4, 100))
            notes.append("perhaps over the MTU")
        payload = self.payload(most)
        if protocol in (UDP, TCP, ICMP):
            payload = transport(
                protocol,
                src,
                dst,
                payload,
                self.random.randrange(1, 65536),
                self.random.randrange(1, 65536),
            )
        options = b""
        if bad and self.chance(6):
            options = self.random.choice(
                (
                    b"\x94\x04\0\0",
                    b"\x01\x01\x01\0",
                    self.random.randbytes(8),
                    b"\x44\x0c\x05\0" + bytes(8),
                )
            )
            notes.append("options")
        flags = self.random.choice((0, 0, 0x4000))
        if self.chance(8):
            flags = self.random.choice((0x2000, 0x2000 | 185, 370, 0x2001))
            notes.append("fragment")
        version, ihl, length = 4, 5 + len(options) // 4, 20 + len(options) + len(payload)
        if bad and self.chance(4):
            version = self.random.randrange(16)
            notes.append(f"version {version}")
        if bad and self.chance(4):
            ihl = self.random.randrange(16)
            notes.append(f"ihl {ihl}")
        if bad and self.chance(6):
            length = (
                self.random.choice((0, 19, 20, length - 1, length + 1, length + 100, 65535))
                & 0xFFFF
            )
            notes.append(f"total length {length}")
        head = struct.pack(
            "!BBHHHBBH4s4s", version << 4 | ihl, self.random.choice((0, 0, 0xB8, 3)), length,
            self.random.randrange(65536), flags, self.ttl(bad, notes), protocol, 0, src.packed, dst.packed,
        )  # fmt: skip
        value = checksum(head + options)
        if bad and self.chance(6):
            value ^= 1 << self.random.randrange(16)
            notes.append("checksum")
        return head[:10] + struct.pack("!H", value) + head[12:] + options + payload

    def ipv6(self, bad: bool, notes: list[str]) -> bytes:
        """An IPv6 packet."""
        src = self.address(self.net.sources, 6, bad, notes, "source")
        dst = self.address(self.net.destinations, 6, bad, notes, "destination")
        protocol = self.random.choice(
            (UDP, UDP, TCP, ICMP6, NO_NEXT_HEADER, self.random.randrange(1, 256))
        )
        most = self.net.mtu - 40 - 20 - 24
        if bad and self.chance(5):
            most += self.random.choice((1, 24, 100))
            notes.append("perhaps over the MTU")
        payload = self.payload(most)
        if protocol in (UDP, TCP, ICMP6):
            payload = transport(
                protocol,
                src,
                dst,
                payload,
                self.random.randrange(1, 65536),
                self.random.randrange(1, 65536),
            )
        elif protocol in (43, 44, 60):
            payload = bytes([UDP, 0]) + self.random.randbytes(6) + payload
        if self.chance(6):
            extension, name = self.random.choice(
                ((60, "destination options"), (43, "routing header"), (44, "fragment"))
            )
            body = {60: b"\1\4\0\0\0\0", 43: b"\0\0\0\0\0\0", 44: b"\0\1\0\0\0\7"}[extension]
            payload = bytes([protocol, 0]) + body + payload
            protocol = extension
            notes.append(name)
        if bad and self.chance(6):
            payload = (
                bytes([protocol, 0])
                + self.random.choice((b"\1\4\0\0\0\0", b"\5\2\0\0\1\0", self.random.randbytes(6)))
                + payload
            )
            protocol = 0
            notes.append("hop-by-hop options")
        version, length = 6, len(payload)
        if bad and self.chance(4):
            version = self.random.randrange(16)
            notes.append(f"version {version}")
        if bad and self.chance(6):
            length = self.random.choice((0, length - 1, length + 1, length + 100, 65535)) & 0xFFFF
            notes.append(f"payload length {length}")
        first = (
            version << 28
            | self.random.choice((0, 0xB8)) << 20
            | self.random.choice((0, self.random.getrandbits(20)))
        )
        return (
            struct.pack("!IHBB", first, length, protocol, self.ttl(bad, notes))
            + src.packed
            + dst.packed
            + payload
        )

    def ethernet(self, packet: bytes, ethertype: int, bad: bool, notes: list[str]) -> bytes:
        """The frame around a packet."""
        dst = self.net.router_mac
        if bad and self.chance(3):
            dst = self.random.choice(
                (
                    b"\xff" * 6,
                    b"\1\0\x5e\0\0\1",
                    b"\x33\x33\0\0\0\1",
                    bytes([dst[0] | 2]) + b"other",
                )
            )
            notes.append(f"to {dst.hex(':')}")
        if bad and self.chance(3):
            ethertype = self.random.choice(
                (ARP, VLAN, 0x88A8, 0x88CC, IPV4, IPV6, 46, self.random.randrange(65536))
            )
            notes.append(f"ethertype {ethertype:#06x}")
        if bad and self.chance(4) and packet:
            packet = packet[: self.random.randrange(len(packet))]
            notes.append(f"cut at {len(packet)}")
        frame = dst + self.net.host_mac + struct.pack("!H", ethertype) + packet
        if len(frame) < 60 and self.chance(60):
            notes.append("padded")
            frame += self.random.choice((b"\0", b"\xee")) * (60 - len(frame))
        elif self.chance(3):
            notes.append("trailer")
            frame += self.random.randbytes(self.random.randrange(1, 8))
        return frame


def networks(*texts: str) -> tuple[Network, ...]:
    """Networks from their usual form."""
    return tuple(ip_network(text) for text in texts)


def addresses(*texts: str) -> tuple[Address, ...]:
    """Addresses from their usual form."""
    return tuple(ip_address(text) for text in texts)
