# SPDX-License-Identifier: BSD-3-Clause
"""Random packets, right and malformed, against a router written in a few lines of Python.

The reference says for each packet what a router would send; the fast path must send just that, or hand the packet to
Linux exactly as it came in, or drop what isn't for this host.
"""

import os
import struct
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest

from tests.packet.generate import Generated, Generator, Net, addresses, checksum, networks
from tests.packet.harness import RTN_BLACKHOLE, Out, Port, Router, mac

pytestmark = pytest.mark.packet

SEED = int(os.environ.get("SLUICE_SEED", "1"))
COUNT = int(os.environ.get("SLUICE_COUNT", "20000"))
LAN = mac("02:00:00:00:00:01")
HOST = mac("02:00:00:00:aa:10")
GATEWAY4, GATEWAY6 = "198.51.100.9", "2001:db8:2::9"

NET = Net(
    router_mac=LAN,
    host_mac=HOST,
    sources=networks("192.0.2.0/24", "2001:db8:1::/64", "203.0.113.0/25", "2001:db8:99::/48"),
    destinations=networks(
        "198.51.100.0/24", "203.0.113.0/24", "203.0.113.128/25", "203.0.113.192/32", "10.0.0.0/8",
        "10.1.0.0/16", "10.1.2.0/23", "2001:db8:2::/64", "2001:db8:3::/48", "2001:db8:3:4::/64",
        "2001:db8:3:4:5::/80", "2001:db8:bad::/48",
    ),
    hosts=addresses(
        "192.0.2.1", "198.51.100.1", "198.51.100.10", "198.51.100.255", "192.0.2.10", "2001:db8:1::1",
        "2001:db8:2::1", "2001:db8:2::10", "2001:db8:1::10",
    ),
)  # fmt: skip


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

    def forward(self, frame: bytes) -> bytes | None:
        """What a router sends for a frame, if it forwards it."""
        kind = frame[12:14]
        packet = frame[14:]
        if frame[:6] != LAN:
            return None
        if kind == b"\x08\x00" and len(packet) >= 20 and packet[0] == 0x45:
            (length,) = struct.unpack_from("!H", packet, 2)
            packet = packet[:length]
            if length < 20 or length > len(frame) - 14 or length > 1500 or checksum(packet[:20]):
                return None
            ttl = packet[8] - 1
            dst = str(ip_address(packet[16:20]))
            packet = packet[:8] + bytes([max(ttl, 0)]) + packet[9:10] + b"\0\0" + packet[12:]
            packet = packet[:10] + struct.pack("!H", checksum(packet[:20])) + packet[12:]
        elif kind == b"\x86\xdd" and len(packet) >= 40 and packet[0] >> 4 == 6 and packet[6]:
            (length,) = struct.unpack_from("!H", packet, 4)
            packet = packet[: 40 + length]
            if 40 + length > len(frame) - 14 or 40 + length > 1500:
                return None
            ttl = packet[7] - 1
            dst = str(ip_address(packet[24:40]))
            packet = packet[:7] + bytes([max(ttl, 0)]) + packet[8:]
        else:
            return None
        hop = self.next_hop(dst)
        return hop + self.wan.mac + kind + packet if hop and ttl > 0 else None


@pytest.fixture
def reference(router: Router) -> Reference:
    """The routers, both of them, set up."""
    lan, wan = router.port("lan"), router.port("wan")
    assert lan.mac == LAN
    router.address("192.0.2.1/24", lan)
    router.address("198.51.100.1/24", wan)
    router.address("2001:db8:1::1/64", lan)
    router.address("2001:db8:2::1/64", wan)
    neighbours = {}
    for low in range(2, 250):
        if low % 3:
            for prefix in ("198.51.100.", "2001:db8:2::"):
                name = str(ip_address(f"{prefix}{low:x}" if ":" in prefix else f"{prefix}{low}"))
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
    for item in Generator(seed=SEED, net=NET).take(COUNT):
        out = router.burst(lan.number, [item.frame], segments=same_length_first(item.frame))
        check(item, out, reference)
        sent += bool(out and out[0].kind == "sent")
    assert router.buffers_in_use() == 0
    # Enough of both, or the comparison says nothing.
    assert COUNT * 0.2 < sent < COUNT * 0.8


def check(item: Generated, out: list[Out], reference: Reference) -> None:
    expected = reference.forward(item.frame)
    where = f"seed {SEED} {item}"
    if not out:
        dst = item.frame[:6]
        other_host = dst != LAN and not dst[0] & 1
        assert expected is None, where
        assert other_host or blackholed(item.frame, reference), where
        return
    assert len(out) == 1, where
    if out[0].kind == "linux":
        assert out[0].frame == item.frame, where
        assert out[0].port == 0, where
    else:
        assert out[0].frame == expected, where
        assert out[0].port == reference.wan.number, where


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
    for item in Generator(seed=SEED + 1, net=NET, malformed=0).take(COUNT // 4):
        expected = reference.forward(item.frame)
        own_source = item.frame[26:30] in (
            ip_address("192.0.2.1").packed,
            ip_address("198.51.100.1").packed,
        )
        if (
            expected is None
            or (own_source and item.frame[12] == 8)
            or same_length_first(item.frame)
        ):
            continue
        out = router.burst(lan.number, [item.frame])
        assert [(o.kind, o.frame) for o in out] == [("sent", expected)], f"seed {SEED + 1} {item}"
        plain += 1
    assert plain > COUNT // 16


def test_bursts_give_the_same_as_single_packets(router: Router, reference: Reference) -> None:
    lan = router.ports[0]
    for i in range(0, 2000, 50):
        items = Generator(seed=SEED + 2 + i, net=NET).take(50)
        singly = [o for item in items for o in router.burst(lan.number, [item.frame])]
        together = router.burst(lan.number, [item.frame for item in items])
        key = lambda o: (o.kind, o.port, o.frame)  # noqa: E731
        assert sorted(together, key=key) == sorted(singly, key=key), f"seed {SEED + 2 + i}"
