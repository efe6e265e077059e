# SPDX-License-Identifier: BSD-3-Clause
"""Special exceptions: packets that were decrypted go to Linux on fpn0, whatever the reason, and only those.

host .10 -- 192.0.2.0/24 -- lan [router] wan -- 198.51.100.0/24 -- host .10; the plugin `probe` stands for IPsec:
it takes packets of IP protocol 253 to the router for encrypted ones.
"""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.fptun.trailer import PROTECTED, UNPROTECTED, trailer
from tests.packet.harness import Verdict
from tests.stages.conftest import Net, probed

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
PEER, WAN = "02:00:00:00:bb:10", "02:00:00:00:00:02"
ICV = b"\xee" * 24


@pytest.fixture(scope="module")
def opened() -> Iterator[Net]:
    with probed(f"ip={PROTECTED}:open", f"ip={UNPROTECTED}:open") as net:
        net.router.fpn0()
        yield net
        net.router.fpn0()


def protected(packet: Packet, *, proto: int = PROTECTED, icv: bytes = ICV, **fields: int) -> bytes:
    fields = {"id": 0, **fields}
    outer = IP(src="192.0.2.10", dst="192.0.2.1", proto=proto, **fields)
    return bytes(Ether(src=HOST, dst=LAN) / outer / Raw(bytes(packet) + icv))


def special(
    net: Net, packet: Packet, reason: str, *, proto: int = PROTECTED, **fields: int
) -> Verdict:
    frame = bytes(Ether(src=HOST, dst=LAN) / packet)
    behind = trailer(ifindex=net.lan.ifindex, **fields)
    reasons = " and ".join(sorted([reason, f"probe_ip_{proto}"]))
    return Verdict("special", "fpn0 of VRF 0", reasons, frame + behind)


def dropped(net: Net, reason: str, frame: bytes) -> Verdict:
    return net.lan.dropped(" and ".join(sorted([reason, "probe_ip_253"])), frame)


def udp(**fields: object) -> Packet:
    fields = {"src": "192.0.2.77", "dst": "198.51.100.10", **fields}
    return IP(**fields) / UDP(sport=1, dport=2) / Raw(b"hello")


def udp6(**fields: object) -> Packet:
    fields = {"src": "2001:db8:1::77", "dst": "2001:db8:2::10", **fields}
    return IPv6(**fields) / UDP(sport=1, dport=2) / Raw(b"hello")


def test_the_way_back_to_where_it_came_from_is_no_redirects_cause(opened: Net) -> None:
    """As in Linux, for what was decrypted."""
    verdict = opened.lan.receives(protected(udp(dst="192.0.2.10")))
    assert (verdict.kind, verdict.port) == ("sent", "lan")


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (udp(dst="192.0.2.1"), "ip_local"),
        (udp(dst="198.51.100.1"), "ip_local"),
        (udp(ttl=1), "ip_ttl"),
        (udp(options=[Raw(b"\x01\x01\x01\x00")]), "ip_options"),
        (udp(dst="198.51.100.99"), "ip_neighbour"),
        (udp(dst="203.0.113.1"), "ip_no_route"),
        (udp(src="127.0.0.1"), "ip_source"),
        (udp6(dst="2001:db8:1::1"), "ip6_local"),
        (udp6(hlim=1), "ip6_hop_limit"),
        (udp6(dst="2001:db8:2::99"), "ip6_neighbour"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_fast_path_cant_go_on_with_goes_to_fpn0(
    opened: Net, packet: Packet, reason: str
) -> None:
    assert opened.lan.receives(protected(packet)) == special(opened, packet, reason)


@pytest.mark.parametrize("packet", [udp(), udp6()], ids=["IPv4", "IPv6"])
def test_what_it_can_forward_is_forwarded(opened: Net, packet: Packet) -> None:
    there = packet.copy()
    if IPv6 in there:
        there.hlim -= 1
    else:
        there.ttl -= 1
    frame = bytes(Ether(src=WAN, dst=PEER) / there)
    assert opened.lan.receives(protected(packet)) == Verdict("sent", "wan", "probe_ip_253", frame)


def test_a_packet_that_wasnt_protected_says_so(opened: Net) -> None:
    packet = udp(ttl=1)
    got = opened.lan.receives(protected(packet, proto=UNPROTECTED))
    assert got == special(opened, packet, "ip_ttl", proto=UNPROTECTED, flags=0)


def test_the_mark_goes_along(opened: Net) -> None:
    packet = udp(ttl=1)
    got = opened.lan.receives(protected(packet, id=0x1234))
    assert got == special(opened, packet, "ip_ttl", mark=0x1234)
    got = opened.lan.receives(protected(packet, id=0x1234, tos=0x80, proto=UNPROTECTED))
    assert got == special(opened, packet, "ip_ttl", proto=UNPROTECTED, flags=0, mark=0x80001234)


def test_a_mark_that_would_hide_that_it_was_protected_is_refused(opened: Net) -> None:
    frame = protected(udp(ttl=1), tos=0x80)
    got = opened.lan.receives(frame)
    assert got == dropped(opened, "special_mark", frame)


def test_headers_taken_off_later_come_back(opened: Net) -> None:
    """Protected within protected: Linux gets the innermost that was opened; the outer ones are gone for good."""
    within = udp(ttl=1)
    packet = IP(src="192.0.2.10", dst="192.0.2.1", proto=PROTECTED, id=0) / Raw(bytes(within))
    got = opened.lan.receives(protected(packet))
    assert got.kind == "special"
    assert got.reason == "2x probe_ip_253 and ip_ttl"
    assert got.frame == bytes(Ether(src=HOST, dst=LAN) / within) + trailer(
        ifindex=opened.lan.ifindex
    )


def test_without_fpn0_there_it_is_dropped(opened: Net) -> None:
    opened.router.fpn0(on=False)
    frame = protected(udp(ttl=1))
    try:
        got = opened.lan.receives(frame)
    finally:
        opened.router.fpn0()
    assert got == dropped(opened, "special_not_ready", frame)


def test_when_linux_cant_follow_it_is_dropped_and_counted_by_class(opened: Net) -> None:
    frame = protected(udp(ttl=1))
    before = opened.router.classes()
    opened.router.linux_takes(0)
    try:
        assert opened.lan.receives(frame) == opened.lan.dropped(
            "exception_ring and probe_ip_253", frame
        )
    finally:
        opened.router.linux_takes(1 << 20)
    assert opened.lan.receives(frame).kind == "special"
    after = opened.router.classes()
    assert after["forwarded"] - before["forwarded"] == {"exception_ring": 1, "ip_ttl": 1}


def test_the_budget_is_that_of_exceptions_of_its_port(opened: Net) -> None:
    opened.router.limit_exceptions(rate=1, total=1)
    try:
        kinds = [opened.lan.receives(protected(udp(ttl=1))) for _ in range(40)]
    finally:
        opened.router.limit_exceptions()
    assert {one.kind for one in kinds[:16]} == {"special"}
    assert kinds[-1].reason == "exception_budget and probe_ip_253"


def test_control_packets_within_are_the_control_planes(opened: Net) -> None:
    """OSPF over a protected tunnel."""
    before = opened.router.classes()["control"]
    packet = IP(src="192.0.2.77", dst="192.0.2.1", proto=89) / Raw(bytes(44))
    assert opened.lan.receives(protected(packet)) == special(opened, packet, "ip_local")
    assert opened.router.classes()["control"] - before == {"ip_local": 1}


@pytest.mark.parametrize("segments", [[62, 29], [63, 4, 24], [91]], ids=str)
def test_buffers_of_any_shape(opened: Net, segments: list[int]) -> None:
    packet = udp(ttl=1)
    got = opened.lan.receives(protected(packet), segments=segments)
    assert got == special(opened, packet, "ip_ttl")


def test_a_full_last_buffer_gets_one_more(opened: Net) -> None:
    packet = IP(src="192.0.2.77", dst="192.0.2.1") / UDP() / Raw(bytes(2048 - 34 - 28))
    frame = protected(packet, icv=b"")
    assert len(frame) == 2048
    assert opened.lan.receives(frame) == special(opened, packet, "ip_local")
    opened.router.buffers(0)
    got = opened.lan.receives(frame)
    opened.router.buffers()
    assert got == opened.lan.dropped("no_mbuf and probe_ip_253", frame)


def test_interfaces_count_it_as_carried(opened: Net) -> None:
    """What was encrypted never comes to Linux."""
    before = opened.router.interface_counters(opened.lan)
    frame = protected(udp(ttl=1))
    assert opened.lan.receives(frame).kind == "special"
    after = opened.router.interface_counters(opened.lan)
    moved = {name: after[name] - before[name] for name in after}
    # Once on the wire, once decrypted: the plugin receives it again on the same interface.
    assert moved["rx_packets"] == 2
    assert not moved["exceptions"]
    assert not moved["rx_dropped"]


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="192.0.2.10", dst="192.0.2.1") / ICMP(),
        IP(src="192.0.2.10", dst="198.51.100.10", ttl=1) / ICMP(),
        IPv6(src="2001:db8:1::10", dst="2001:db8:1::1") / ICMPv6EchoRequest(),
    ],
    ids=["local", "TTL", "IPv6"],
)
def test_a_packet_from_outside_cant_pose_as_a_special_exception(
    opened: Net, packet: Packet
) -> None:
    """A trailer on the wire is bytes behind a packet: it goes to its port's TAP, where nothing looks at it."""
    forged = bytes(Ether(src=HOST, dst=LAN) / packet) + trailer(ifindex=opened.lan.ifindex)
    got = opened.lan.receives(forged)
    assert got.kind == "linux"
    assert got.port == "lan"
    assert got.frame == forged


def test_nothing_of_it_stays_in_a_buffer(opened: Net) -> None:
    """The next packets in the same buffers are ordinary ones."""
    for _ in range(1100):
        opened.router.burst(opened.lan.number, [protected(udp(ttl=1))])
    plain = bytes(Ether(src=HOST, dst=LAN) / udp(ttl=1, src="192.0.2.10"))
    for _ in range(1100):
        (out,) = opened.router.burst(opened.lan.number, [plain])
        assert out.kind == "linux"
