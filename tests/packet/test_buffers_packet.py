# SPDX-License-Identifier: BSD-3-Clause
"""Packets in buffers of every shape: what becomes of them is what becomes of the same packet in one buffer, and where
the fast path would need a header that isn't in the first buffer, Linux gets the packet as it came in.
"""

import random
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import Out, Port, Router, nexthop

pytestmark = pytest.mark.packet

SPLIT = {"split_header", "iface_split_header", "ip_too_short", "ip6_too_short"}
HOST, PEER = "02:00:00:00:aa:10", "02:00:00:00:bb:10"
V4 = {"src": "192.0.2.10", "dst": "198.51.100.10"}
V6 = {"src": "2001:db8:1::10", "dst": "2001:db8:2::10"}
SPREAD4, SPREAD6 = V4 | {"dst": "203.0.113.5"}, V6 | {"dst": "2001:db8:3::5"}
DATA = Raw(bytes(range(60)))

PACKETS: dict[str, Packet] = {
    "IPv4": IP(**V4) / UDP() / DATA,
    "SYN": IP(**V4) / TCP(flags="S", options=[("MSS", 1460), ("Timestamp", (1, 2))]),
    "fragmented": IP(**V4) / UDP() / Raw(b"x" * 700),
    "IPv4 options": IP(**V4, options=[IPOption_Router_Alert()]) / UDP() / DATA,
    "one of several next hops": IP(**SPREAD4) / UDP(sport=7) / DATA,
    "an error about a flow": IP(**SPREAD4) / ICMP(type=3) / IP(**SPREAD4) / UDP() / DATA,
    "IPv6": IPv6(**V6) / UDP() / DATA,
    "extension headers": IPv6(**SPREAD6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment() / UDP() / DATA,
    "hop by hop": IPv6(**V6) / IPv6ExtHdrHopByHop() / UDP() / DATA,
    "IPv6, one of several": IPv6(**SPREAD6, fl=77) / TCP() / DATA,
    "for us": IP(src="192.0.2.10", dst="192.0.2.1") / TCP(dport=179) / DATA,
}  # fmt: skip


@pytest.fixture
def lan(router: Router) -> Port:
    """Two networks and a router between them, with two next hops to a third one; ports hash flows."""
    lan, wan = router.port("lan"), router.port("wan", mtu=576)
    router.vrf(0, flags=1 << 2 | 1 << 3)
    for port, net4, net6, peer in (
        (lan, "192.0.2", "2001:db8:1", HOST),
        (wan, "198.51.100", "2001:db8:2", PEER),
    ):
        router.address(f"{net4}.1/24", port)
        router.address(f"{net6}::1/64", port)
        for last in ("10", "11"):
            router.neighbour(f"{net4}.{last}", port, peer[:-2] + last)
            router.neighbour(f"{net6}::{last}", port, peer[:-2] + last)
    for prefix, near in (("203.0.113.0/24", "198.51.100."), ("2001:db8:3::/48", "2001:db8:2::")):
        router.route(prefix, nexthops=[nexthop(wan, f"{near}10"), nexthop(wan, f"{near}11")])
    return lan


def made(name: str) -> bytes:
    if name == "ARP":
        return bytes(Ether(src=HOST, dst="02:00:00:00:00:01") / ARP(pdst="192.0.2.1"))
    return bytes(Ether(src=HOST, dst="02:00:00:00:00:01") / PACKETS[name])


def outcome(
    router: Router, lan: Port, frame: bytes, segments: list[int]
) -> tuple[list[Out], set[str]]:
    before = router.counters()
    out = router.burst(lan.number, [frame], segments=segments)
    return out, set(router.counters() - before)


def same(router: Router, lan: Port, frame: bytes, segments: list[int], headers: int) -> None:
    """As in one buffer, or Linux's because `headers` bytes aren't in the first one."""
    whole, reasons = outcome(router, lan, frame, [len(frame)])
    assert whole
    out, came = outcome(router, lan, frame, segments)
    if segments[0] < headers and came & SPLIT:
        assert [(o.kind, o.frame) for o in out] == [("linux", frame)], segments
    else:
        assert (out, came) == (whole, reasons), segments


@pytest.mark.parametrize("name", [*PACKETS, "ARP"])
def test_a_cut_anywhere_changes_nothing(router: Router, lan: Port, name: str) -> None:
    frame = made(name)
    headers = 14 + (40 if frame[12:14] == b"\x86\xdd" else 20)
    for cut in range(len(frame) + 1):
        same(router, lan, frame, [cut, len(frame) - cut], headers)
    assert router.buffers_in_use() == 0


@pytest.mark.parametrize("name", list(PACKETS))
def test_many_cuts_change_nothing(router: Router, lan: Port, name: str) -> None:
    frame, chance = made(name), random.Random(name)
    headers = 14 + (40 if frame[12:14] == b"\x86\xdd" else 20)
    for _ in range(100):
        cuts = sorted(chance.choices(range(len(frame) + 1), k=chance.randrange(2, 12)))
        segments = [b - a for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True)]
        same(router, lan, frame, segments, headers)
    assert router.buffers_in_use() == 0


@pytest.mark.parametrize("version", [4, 6])
def test_jumbo_packets_are_forwarded_in_buffers_of_any_size(
    router: Router, lan: Port, version: int
) -> None:
    wan = router.ports[1]
    for port in (lan, wan):
        port.change(mtu=9000)
    head = IP(**V4, flags="DF") if version == 4 else IPv6(**V6)
    packet = head / UDP() / Raw(b"j" * (9000 - len(head) - 8))
    frame = bytes(Ether(src=HOST, dst="02:00:00:00:00:01") / packet)
    first = 14 + len(head)
    for size in (64, 100, 500, 1024, 2048):
        rest = len(frame) - first
        segments = [first] + [size] * (rest // size) + ([rest % size] if rest % size else [])
        (out,) = router.burst(lan.number, [frame], segments=segments)
        assert (out.kind, out.port, len(out.frame)) == ("sent", wan.number, 9014)
        assert out.frame[first:] == frame[first:]
        wan.change(mtu=8999)
        assert lan.receives(frame, segments=segments) == lan.to_linux(
            f"ip{'6' * (version == 6)}_mtu", frame
        )
        wan.change(mtu=9000)


@pytest.mark.parametrize("length", [0, 1, 13, 14, 15, 33, 34, 53, 54])
def test_frames_of_every_short_length_end_once(router: Router, lan: Port, length: int) -> None:
    for kind in (0x0800, 0x86DD, 0x0806):
        frame = (made("IPv4")[:12] + struct.pack("!H", kind) + made("IPv4")[14:])[:length]
        out, reasons = outcome(router, lan, frame, [length])
        assert len(reasons) == 1
        assert all(o.kind == "linux" and o.frame == frame for o in out)
