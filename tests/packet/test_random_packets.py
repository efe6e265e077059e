# SPDX-License-Identifier: BSD-3-Clause
"""Random packets, right and malformed, against a router written in a few lines of Python.

The reference says for each packet what a router would send; the fast path must send just that, or hand the packet to
Linux exactly as it came in, or drop what isn't for this host.
"""

import itertools
import os
import random
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest

from tests.ip.test_fragment_packet import fragments
from tests.lib.generate import IPV4, IPV6, RIGHT, Made, World, frames
from tests.lib.packets import checksum
from tests.packet.harness import RTN_BLACKHOLE, Out, Port, Router, mac

pytestmark = pytest.mark.packet

SEED = int(os.environ.get("SLUICE_SEED", "1"))
COUNT = int(os.environ.get("SLUICE_COUNT", "20000"))
LAN = mac("02:00:00:00:00:01")
FAR_MTU = 1400
NEIGHBOURS = [low for low in range(2, 250) if low % 3]
GATEWAY4, GATEWAY6 = "198.51.100.9", "2001:db8:2::9"

CHANCE = random.Random(0)


def some(*networks: str) -> list[str]:
    """Addresses in these networks, those with neighbours more often."""
    found = []
    for network in map(ip_network, networks):
        for _ in range(20):
            room = min(network.num_addresses, CHANCE.choice([256, 1 << 64]))
            found.append(str(network[CHANCE.randrange(room)]))
    return found


WORLD = World(
    host_mac="02:00:00:00:aa:10",
    port_mac="02:00:00:00:00:01",
    sources={
        IPV4: some("192.0.2.128/25", "203.0.113.0/25"),
        IPV6: some("2001:db8:1:0:8000::/65", "2001:db8:99::/48"),
    },
    good={
        IPV4: [f"198.51.100.{low}" for low in NEIGHBOURS]
        + some("203.0.113.0/25", "203.0.113.192/32", "10.128.0.0/9", "10.1.2.0/23"),
        IPV6: [f"2001:db8:2::{low:x}" for low in NEIGHBOURS]
        + some("2001:db8:3:8000::/49", "2001:db8:3:4:5::/80"),
    },
    odd={
        IPV4: [
            "192.0.2.1", "198.51.100.1", "198.51.100.255", "192.0.2.10", "0.0.0.0", "0.0.0.1", "127.0.0.1",
            "127.1.2.3", "224.0.0.1", "224.0.0.5", "239.255.255.250", "240.0.0.1", "255.255.255.254",
            "255.255.255.255", "169.254.1.1", "100.64.0.1", "198.51.100.6",
            *some("0.0.0.0/0", "203.0.113.128/25", "10.1.0.0/16"),
        ],
        IPV6: [
            "2001:db8:1::1", "2001:db8:2::1", "2001:db8:1::10", "::", "::1", "::2", "::ffff:192.0.2.1", "::192.0.2.1",
            "fe80::1", "fe80::ffff", "fec0::1", "ff01::1", "ff02::1", "ff02::2", "ff05::1", "ff0e::1234", "2002::1",
            "64:ff9b::1", *some("::/0", "2001:db8:3:4::/64", "2001:db8:bad::/48"),
        ],
    },
    martians={
        IPV4: ["0.0.0.0", "127.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1"],
        IPV6: ["::", "::1", "::ffff:192.0.2.1", "::192.0.2.1", "fe80::1", "ff02::1"],
    },
    strays={IPV4: some("0.0.0.0/0"), IPV6: some("::/0")},
    far_mtu=FAR_MTU,
)  # fmt: skip


def mixed(seed: int, count: int, *, only: Collection[str] = ()) -> Iterator[Made]:
    """Of both families in turn."""
    pairs = zip(
        *(frames(WORLD, family, seed, count // 2, only=only) for family in (IPV4, IPV6)),
        strict=True,
    )
    return itertools.chain.from_iterable(pairs)


@dataclass
class Reference:
    """Prefixes with the MAC they lead to; None: nowhere that a packet could be sent."""

    routes: dict[str, bytes | None]
    neighbours: dict[str, bytes]
    wan: Port

    def next_hop(self, address: str) -> bytes | None:
        """MAC of the longest prefix's next hop."""
        ip = ip_address(address)
        best = None
        for text, hop in self.routes.items():
            network = ip_network(text)
            if (
                network.version == ip.version
                and ip in network
                and (best is None or network.prefixlen > best[0])
            ):
                best = (network.prefixlen, hop)
        if best is None:
            return None
        return self.neighbours.get(str(ip)) if best[1] == b"connected" else best[1]

    def forward(self, frame: bytes) -> list[bytes]:
        """What a router sends for a frame, if it forwards it."""
        kind = frame[12:14]
        packet = frame[14:]
        if frame[:6] != LAN:
            return []
        if kind == b"\x08\x00" and len(packet) >= 20 and packet[0] == 0x45:
            (length,) = struct.unpack_from("!H", packet, 2)
            packet = packet[:length]
            if length < 20 or length > len(frame) - 14 or checksum(packet[:20]):
                return []
            ttl = packet[8] - 1
            dst = str(ip_address(packet[16:20]))
            (field,) = struct.unpack_from("!H", packet, 6)
            if ttl > 0 and length > FAR_MTU:
                last = (field & 0x1FFF) * 8 + length - 20
                packets = [] if field & 0x4000 or last > 65535 else fragments(packet, FAR_MTU)
            else:
                packet = packet[:8] + bytes([max(ttl, 0)]) + packet[9:10] + b"\0\0" + packet[12:]
                packets = [packet[:10] + struct.pack("!H", checksum(packet[:20])) + packet[12:]]
        elif kind == b"\x86\xdd" and len(packet) >= 40 and packet[0] >> 4 == 6 and packet[6]:
            (length,) = struct.unpack_from("!H", packet, 4)
            packet = packet[: 40 + length]
            if 40 + length > len(frame) - 14 or 40 + length > FAR_MTU:
                return []
            ttl = packet[7] - 1
            dst = str(ip_address(packet[24:40]))
            packets = [packet[:7] + bytes([max(ttl, 0)]) + packet[8:]]
        else:
            return []
        hop = self.next_hop(dst)
        return [hop + self.wan.mac + kind + one for one in packets] if hop and ttl > 0 else []


@pytest.fixture
def reference(router: Router) -> Reference:
    """The routers, both of them, set up."""
    lan, wan = router.port("lan"), router.port("wan", mtu=FAR_MTU)
    assert lan.mac == LAN
    router.address("192.0.2.1/24", lan)
    router.address("198.51.100.1/24", wan)
    router.address("2001:db8:1::1/64", lan)
    router.address("2001:db8:2::1/64", wan)
    neighbours = {}
    for low in NEIGHBOURS:
        for name in (f"198.51.100.{low}", f"2001:db8:2::{low:x}"):
            lladdr = f"02:00:00:00:bb:{low:02x}"
            neighbours[name] = mac(lladdr)
            router.neighbour(name, wan, lladdr)
    gateway = mac("02:00:00:00:99:99")
    for name in (GATEWAY4, GATEWAY6):
        router.neighbour(name, wan, "02:00:00:00:99:99")
        neighbours[name] = gateway
    for text in ("203.0.113.0/24", "203.0.113.192/32", "10.0.0.0/8", "10.1.2.0/23"):
        router.route(text, via=GATEWAY4, dev=wan)
    for text in ("2001:db8:3::/48", "2001:db8:3:4:5::/80"):
        router.route(text, via=GATEWAY6, dev=wan)
    for text in ("203.0.113.128/25", "10.1.0.0/16", "2001:db8:3:4::/64", "2001:db8:bad::/48"):
        router.route(text, type=RTN_BLACKHOLE)
    routes: dict[str, bytes | None] = {
        "192.0.2.0/24": None, "2001:db8:1::/64": None, "198.51.100.0/24": b"connected",
        "2001:db8:2::/64": b"connected", "198.51.100.1/32": None, "198.51.100.255/32": None,
        "2001:db8:2::1/128": None, "203.0.113.0/24": gateway, "203.0.113.192/32": gateway,
        "10.0.0.0/8": gateway, "10.1.2.0/23": gateway, "2001:db8:3::/48": gateway,
        "2001:db8:3:4:5::/80": gateway, "203.0.113.128/25": None, "10.1.0.0/16": None,
        "2001:db8:3:4::/64": None, "2001:db8:bad::/48": None,
    }  # fmt: skip
    return Reference(routes, neighbours, wan)


def same_length_first(frame: bytes) -> list[int] | None:
    """Now and then a frame in several buffers."""
    if len(frame) % 5 or len(frame) < 90:
        return None
    cut = len(frame) // 5 * (1 + frame[-1] % 4)
    return [cut, len(frame) - cut]


def test_random_packets_are_forwarded_as_by_the_reference_or_linux_s(
    router: Router, reference: Reference
) -> None:
    lan = router.ports[0]
    sent = 0
    for item in mixed(SEED, COUNT):
        out = router.burst(lan.number, [item.frame], segments=same_length_first(item.frame))
        check(item, out, reference)
        sent += bool(out and out[0].kind == "sent")
    assert router.buffers_in_use() == 0
    # Enough of both, or the comparison says nothing.
    assert COUNT * 0.2 < sent < COUNT * 0.8


def check(item: Made, out: list[Out], reference: Reference) -> None:
    expected = reference.forward(item.frame)
    where = f"seed {SEED} {item}"
    if not out:
        dst = item.frame[:6]
        other_host = dst != LAN and not dst[0] & 1
        assert not expected, where
        assert other_host or blackholed(item.frame, reference), where
        return
    if out[0].kind == "linux":
        assert [(o.port, o.frame) for o in out] == [(0, item.frame)], where
    else:
        assert [o.frame for o in out] == expected, where
        assert {(o.kind, o.port) for o in out} == {("sent", reference.wan.number)}, where


def blackholed(frame: bytes, reference: Reference) -> bool:
    """Whether the destination's longest prefix is one of those that lead nowhere."""
    dst = ip_address(frame[30:34] if frame[12:14] == b"\x08\x00" else frame[38:54])
    best = max(
        (n for n in map(ip_network, reference.routes) if n.version == dst.version and dst in n),
        key=lambda n: n.prefixlen,
        default=None,
    )
    return str(best) in (
        "203.0.113.128/25",
        "10.1.0.0/16",
        "2001:db8:3:4::/64",
        "2001:db8:bad::/48",
    )


def test_right_packets_to_known_neighbours_are_all_forwarded(
    router: Router, reference: Reference
) -> None:
    """So that "hand it to Linux" can't hide that nothing is forwarded."""
    lan = router.ports[0]
    plain = 0
    for item in mixed(SEED + 1, COUNT // 4, only=RIGHT):
        expected = reference.forward(item.frame)
        own_source = item.frame[26:30] in (
            ip_address("192.0.2.1").packed,
            ip_address("198.51.100.1").packed,
        )
        if not expected or (own_source and item.frame[12] == 8) or same_length_first(item.frame):
            continue
        out = router.burst(lan.number, [item.frame])
        assert [(o.kind, o.frame) for o in out] == [("sent", one) for one in expected], (
            f"seed {SEED + 1} {item}"
        )
        plain += 1
    assert plain > COUNT // 16


def test_bursts_give_the_same_as_single_packets(router: Router, reference: Reference) -> None:
    lan = router.ports[0]
    for i in range(0, 2000, 50):
        items = list(mixed(SEED + 2 + i, 50))
        singly = [o for item in items for o in router.burst(lan.number, [item.frame])]
        together = router.burst(lan.number, [item.frame for item in items])
        key = lambda o: (o.kind, o.port, o.frame)  # noqa: E731
        assert sorted(together, key=key) == sorted(singly, key=key), f"seed {SEED + 2 + i}"
