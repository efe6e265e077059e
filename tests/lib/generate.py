"""Random frames for a router, from a seed: mostly good ones, and every kind of bad one. For the
packet tests and for the differential tests against the kernel.

The same seed gives the same frames. Each frame carries its number in the transport payload where
there is room, so that whoever forwards it can be asked what became of which one. Each depends on the
seed and its number alone: any can be made again by itself.
"""

import random
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tests.lib.packets import checksum, mac

IPV4, IPV6 = 4, 6
UDP, TCP, ICMP, ICMP6 = 17, 6, 1, 58
HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


@dataclass(frozen=True)
class World:
    """What the router is connected to, as seen from one of its ports."""

    host_mac: str
    port_mac: str
    # By family: addresses a sender may have, and those that its packets may be for, by what Linux
    # makes of them.
    sources: dict[int, list[str]]
    good: dict[int, list[str]]  # forwarded to a known neighbour
    odd: dict[int, list[str]]  # anything else: local, unresolved, unreachable, multicast, ...
    martians: dict[int, list[str]]  # sources that nobody may have
    strays: dict[int, list[str]]  # sources that a reverse path filter may stop
    mtu: int = 1500  # of the router's port
    far_mtu: int = 1500  # of the way to `good`, where it's smaller


@dataclass(frozen=True)
class Made:
    number: int
    frame: bytes
    what: str  # what is special about it, for people

    def __str__(self) -> str:
        return f"packet {self.number} ({self.what}):\n{hexdump(self.frame)}"


def hexdump(data: bytes) -> str:
    """16 bytes a line."""
    return "\n".join(f"  {at:04x}  {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16))


def frames(
    world: World,
    family: int,
    seed: int,
    count: int,
    *,
    start: int = 0,
    only: Collection[str] = (),
) -> Iterator[Made]:
    """`count` frames; each depends on the seed and its number alone, so any can be made again by
    itself. `only`: of these kinds.
    """
    kinds, make = (KINDS4, ipv4) if family == IPV4 else (KINDS6, ipv6)
    names = [
        kind for kind, weight in kinds.items() if not only or kind in only for _ in range(weight)
    ]
    for number in range(start, start + count):
        chance = random.Random(f"{seed}/{family}/{number}")
        what = chance.choice(names)
        frame = make(chance, world, what, number)
        if what == "bit flipped":
            frame = flipped(chance, frame)
        yield Made(number, frame, what)


# How often each kind comes; `good` and `any size` are what the fast path is for.
KINDS4 = {
    "good": 40,
    "any size": 14,
    "TTL 0 or 1": 3,
    "options": 4,
    "fragment": 4,
    "larger than the MTU": 6,
    "SYN": 4,
    "checksum wrong": 2,
    "header length wrong": 2,
    "total length wrong": 3,
    "version wrong": 1,
    "odd destination": 10,
    "martian source": 4,
    "source from elsewhere": 4,
    "cut off": 2,
    "trailing bytes": 3,
    "bit flipped": 6,
    "other protocol": 3,
    "to another MAC": 2,
    "ethertype wrong": 1,
}
KINDS6 = {
    "good": 40,
    "any size": 14,
    "hop limit 0 or 1": 4,
    "extension headers": 8,
    "larger than the MTU": 3,
    "SYN": 4,
    "payload length wrong": 4,
    "version wrong": 1,
    "odd destination": 10,
    "martian source": 4,
    "source from elsewhere": 4,
    "cut off": 2,
    "trailing bytes": 3,
    "bit flipped": 6,
    "other protocol": 3,
    "to another MAC": 2,
    "ethertype wrong": 1,
}
# What a host with nothing wrong sends.
RIGHT = ("good", "any size", "SYN", "other protocol")


def payload_of(chance: random.Random, number: int, size: int) -> bytes:
    """Begins with the packet's number."""
    return (f"#{number:08d}#".encode() + chance.randbytes(max(0, size - 10)))[: max(size, 10)]


def transport(
    chance: random.Random,
    source: bytes,
    destination: bytes,
    payload: bytes,
    family: int,
    what: str,
) -> tuple[int, bytes]:
    """A UDP datagram, TCP segment or echo request, mostly with a right checksum, which routers
    don't look at.
    """
    kind = chance.choice([UDP, UDP, TCP, ICMP if family == IPV4 else ICMP6])
    # The discard port and one that nobody listens on; few enough flows that some repeat.
    ports = struct.pack("!HH", chance.randrange(1024, 65536), chance.choice([9, 33434, 443]))
    if what == "SYN":
        kind = TCP
    if kind == UDP:
        head, at = ports + struct.pack("!HH", 8 + len(payload), 0), 6
    elif kind == TCP:
        flags = chance.choice([0x10, 0x18, 0x02, 0x11, 0x04])
        options = b""
        if what == "SYN":
            flags, options = chance.choice([0x02, 0x02, 0x12, 0xC2, 0x06]), tcp_options(chance)
        words = 5 + len(options) // 4
        if what == "SYN" and chance.random() < 0.1:
            words = chance.choice([0, 4, 5, 15])
        head = ports + struct.pack(
            "!IIBBHHH", chance.getrandbits(32), chance.getrandbits(32), words << 4, flags, 512, 0, 0
        )
        head += options
        at = 16
    else:
        head, at = (
            struct.pack("!BBHHH", 8 if family == IPV4 else 128, 0, 0, chance.getrandbits(16), 1),
            2,
        )
    body = head + payload
    pseudo = b"" if kind == ICMP else source + destination + struct.pack("!II", len(body), kind)
    total = checksum(pseudo + body) or 0xFFFF
    if chance.random() < 0.03:
        total ^= 0x1234
    return kind, body[:at] + struct.pack("!H", total) + body[at + 2 :]


def tcp_options(chance: random.Random) -> bytes:
    """Options of a SYN (RFC 9293), mostly with a maximum segment size, some broken; in whole words."""
    sizes = [536, 1220, 1259, 1340, 1359, 1360, 1361, 1460, 8960, 65535, 0, chance.randrange(65536)]
    size = struct.pack("!BBH", 2, 4, chance.choice(sizes))
    others = [b"\1", b"\1\1", b"\4\2", b"\3\3\7", b"\x08\x0a" + chance.randbytes(8)]
    made = [size, *chance.sample(others, chance.randrange(4))]
    chance.shuffle(made)
    options = b"".join(made)
    if chance.random() < 0.25:
        options = chance.choice(
            [
                b"",
                b"\0" + options,  # behind the end of all options
                b"\xfd\0" + options,  # without a length
                options[: chance.randrange(len(options))],
                b"\2\3\5" + options,
                b"\2\2" + options,
                b"\xfd\x20" + options,
                options + size,
            ]
        )
    return options.ljust((len(options) + 3) // 4 * 4, b"\0")[:40]


def addresses(chance: random.Random, world: World, family: int, what: str) -> tuple[bytes, bytes]:
    """Source and destination, as on the wire."""
    sources = {"martian source": world.martians, "source from elsewhere": world.strays}
    source = chance.choice(sources.get(what, world.sources)[family])
    destination = chance.choice((world.odd if what == "odd destination" else world.good)[family])
    kind = socket.AF_INET if family == IPV4 else socket.AF_INET6
    return socket.inet_pton(kind, source), socket.inet_pton(kind, destination)


def size_of(chance: random.Random, what: str, room: int) -> int:
    """Bytes of transport payload."""
    return chance.randrange(10, room) if what == "any size" else chance.randrange(10, 200)


def ether(chance: random.Random, world: World, what: str, kind: int, packet: bytes) -> bytes:
    """The frame around a packet."""
    destination = mac(world.port_mac)
    if what == "to another MAC":
        destination = chance.choice(
            [mac("02:00:00:00:77:77"), b"\xff" * 6, mac("01:00:5e:00:00:05")]
        )
    if what == "ethertype wrong":
        kind = chance.choice([0x0801, 0x86DD ^ 0x0800 ^ kind, 0x88B5, 46])
    frame = destination + mac(world.host_mac) + struct.pack("!H", kind) + packet
    if what == "cut off":
        return frame[: chance.randrange(15, len(frame))]
    if what == "trailing bytes":
        return frame + chance.randbytes(chance.randrange(1, 40))
    # Real wires pad short frames.
    return frame.ljust(60, b"\0") if chance.random() < 0.9 else frame


def flipped(chance: random.Random, frame: bytes) -> bytes:
    """One to three bits of the packet are another."""
    made = bytearray(frame)
    for _ in range(chance.randrange(1, 4)):
        bit = chance.randrange(14 * 8, min(len(made), 14 + 60) * 8)
        made[bit // 8] ^= 1 << bit % 8
    return bytes(made)


# --- IPv4


def ipv4(chance: random.Random, world: World, what: str, number: int) -> bytes:
    source, destination = addresses(chance, world, IPV4, what)
    options = options4(chance) if what == "options" else b""
    size = size_of(chance, what, world.mtu - 20 - 20 - len(options))
    if what == "larger than the MTU":
        size = chance.randrange(min(world.far_mtu - 40, world.mtu - 41), world.mtu - 40)
    if what == "other protocol":
        protocol, body = (
            chance.choice([2, 4, 41, 47, 50, 89, 103, 112, 132, 253]),
            payload_of(chance, number, size),
        )
    else:
        protocol, body = transport(
            chance, source, destination, payload_of(chance, number, size), IPV4, what
        )
    ttl = chance.choice([0, 1]) if what == "TTL 0 or 1" else chance.choice([2, 3, 64, 64, 128, 255])
    fragment = chance.choice([0, 0x4000])
    if what == "fragment":
        fragment = chance.choice([0x2000, 0x2000 | 185, 370, 8191, 0x2000 | 8190])
    if what == "larger than the MTU":
        fragment = chance.choice([0, 0, 0, 0x4000, 0x2000, 0x2000 | 185, 370, 8100, 0x6000])
    if chance.random() < 0.01:
        fragment |= 0x8000  # RFC 3514
    words = 5 + len(options) // 4
    length = 4 * words + len(body)
    if what == "total length wrong":
        length = chance.choice([0, 19, 20, 4 * words, length - 1, length + 1, length + 100, 65535])
    head = struct.pack(
        "!BBHHHBBH4s4s",
        chance.choice([0, 5, 6, 15]) << 4 | words if what == "version wrong" else 0x40 | words,
        chance.choice([0, 0, 0, 0x10, 0xB8, 0x01, 0x03, 0xFF]),
        length,
        chance.getrandbits(16),
        fragment,
        ttl,
        protocol,
        0,
        source,
        destination,
    )
    head += options
    if what == "header length wrong":
        head = bytes([0x40 | chance.choice([0, 1, 4, 6, 8, 15])]) + head[1:]
    total = checksum(head)
    if what == "checksum wrong":
        total = chance.choice([total ^ 1, total ^ 0xFFFF, 0, 0xFFFF, (total + 1) & 0xFFFF])
    packet = head[:10] + struct.pack("!H", total) + head[12:] + body
    return ether(chance, world, what, 0x0800, packet)


def options4(chance: random.Random) -> bytes:
    """Options of RFC 791 and 2113, whole and broken, in whole words."""
    made: list[Callable[[], bytes]] = [
        lambda: b"\x01" * chance.randrange(1, 8),  # no operation
        lambda: b"\x94\x04\0\0",  # router alert
        lambda: b"\x07\x07\x04\0\0\0\0\0",  # record route, one slot
        lambda: b"\x83\x07\x04" + socket.inet_aton("203.0.113.9") + b"\0",  # loose source route
        lambda: b"\x44\x08\x09\0\0\0\0\0",  # timestamp, full: a free slot would get the time of day
        lambda: b"\x88\x04\0\1",  # stream identifier
        lambda: bytes([chance.randrange(69, 256), chance.choice([0, 1, 2, 4, 40]), 0, 0]),
        lambda: chance.randbytes(chance.choice([4, 8, 12])).replace(b"\x44", b"\x45"),
    ]
    options = chance.choice(made)()
    return options.ljust((len(options) + 3) // 4 * 4, b"\0")


# --- IPv6


def ipv6(chance: random.Random, world: World, what: str, number: int) -> bytes:
    source, destination = addresses(chance, world, IPV6, what)
    size = size_of(chance, what, world.mtu - 40 - 20)
    if what == "larger than the MTU":
        size = chance.randrange(min(world.far_mtu - 60, world.mtu - 61), world.mtu - 60)
    if what == "other protocol":
        protocol, body = (
            chance.choice([4, 41, 47, 50, 51, 59, 89, 103, 132, 253]),
            payload_of(chance, number, size),
        )
    else:
        protocol, body = transport(
            chance, source, destination, payload_of(chance, number, size), IPV6, what
        )
    if what == "extension headers":
        protocol, body = extended(chance, protocol, body)
    hop_limit = (
        chance.choice([0, 1])
        if what == "hop limit 0 or 1"
        else chance.choice([2, 3, 64, 64, 128, 255])
    )
    length = len(body)
    if what == "payload length wrong":
        length = chance.choice([0, 1, length - 1, length + 1, length + 100, 65535])
    first = (
        (chance.choice([0, 4, 5, 7, 15]) if what == "version wrong" else 6) << 28
        | chance.choice([0, 0, 0x10, 0xB8, 0xFF]) << 20
        | chance.choice([0, chance.getrandbits(20)])
    )
    packet = struct.pack("!IHBB", first, length, protocol, hop_limit) + source + destination + body
    return ether(chance, world, what, 0x86DD, packet)


def extended(chance: random.Random, protocol: int, body: bytes) -> tuple[int, bytes]:
    """Extension headers in front of a payload, in any order, some broken: one to three, now and then a chain of 40."""
    for _ in range(40 if chance.random() < 0.05 else chance.randrange(1, 4)):
        kind = chance.choice([HOP, ROUTING, FRAGMENT, DESTINATION, DESTINATION])
        if kind == FRAGMENT:
            offset = chance.choice([0, 1, 185 << 3 | 1, 370 << 3])
            header = struct.pack("!BBHI", protocol, 0, offset, chance.getrandbits(32))
        elif kind == ROUTING:
            header = bytes(
                [protocol, 2, chance.choice([0, 2, 4, 253]), chance.choice([0, 1])]
            ) + bytes(20)
        else:
            options = chance.choice(
                [
                    b"\x01\x04\0\0\0\0",  # padding
                    b"\x05\x02\0\0\x01\0",  # router alert
                    bytes([chance.choice([0x1E, 0x3E, 0x5E, 0x7E, 0x9E, 0xBE, 0xDE, 0xFE]), 4])
                    + bytes(4),
                    b"\x01\xff\0\0\0\0",  # longer than the header
                    b"\0" * 6,
                ]
            )
            header = bytes([protocol, chance.choice([0, 0, 0, 0, 1, 200])]) + options
        protocol, body = kind, header + body
    return protocol, body
