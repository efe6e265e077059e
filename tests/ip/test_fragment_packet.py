# SPDX-License-Identifier: BSD-3-Clause
"""IPv4 packets that are larger than the MTU, and what counts as the MTU. The differential tests compare with Linux."""

import random
import struct

import pytest

from tests.ip.test_ip_packet import HOST, LAN, PEER, WAN, frame, udp
from tests.lib.packets import checksum
from tests.packet.harness import Port, Router, mac

pytestmark = pytest.mark.packet

DF, MF, RESERVED = 0x4000, 0x2000, 0x8000


def packet(size: int, *, field: int = 0, seed: int = 0, tos: int = 0, ident: int = 77) -> bytes:
    """`size` bytes of IPv4 with this flags and offset field."""
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, tos, size, ident, field, 64, 17, 0, b"\xc0\0\2\x0a", b"\xc6\x33\x64\x0a"
    )  # fmt: skip
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + random.Random(seed).randbytes(size - 20)


def fragments(whole: bytes, mtu: int) -> list[bytes]:
    """RFC 791's example procedure, each as large as the MTU lets it be, after the TTL was counted down."""
    (field,) = struct.unpack_from("!H", whole, 6)
    rest, at, made = whole[20:], (field & 0x1FFF) * 8, []
    while rest:
        size = len(rest) if len(rest) <= mtu - 20 else (mtu - 20) // 8 * 8
        more = MF if size < len(rest) or field & MF else 0
        head = (
            whole[:2]
            + struct.pack("!H", 20 + size)
            + whole[4:6]
            + struct.pack("!H", more | at // 8)
        )
        head += bytes([whole[8] - 1]) + whole[9:10] + b"\0\0" + whole[12:20]
        made.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + rest[:size])
        rest, at = rest[size:], at + size
    return made


def frames(packets: list[bytes]) -> list[bytes]:
    return [mac(PEER) + mac(WAN) + b"\x08\0" + one for one in packets]


def came(whole: bytes, tail: bytes = b"") -> bytes:
    return mac(LAN) + mac(HOST) + b"\x08\0" + whole + tail


def check(
    router: Router, lan: Port, whole: bytes, mtu: int, segments: list[int] | None = None
) -> None:
    before = router.counters()
    out = router.burst(lan.number, [came(whole)], segments=segments)
    assert [o.kind for o in out] == ["sent"] * len(out)
    assert [o.frame for o in out] == frames(fragments(whole, mtu))
    assert router.counters() == before
    assert router.buffers_in_use() == 0


@pytest.mark.parametrize("mtu", [68, 69, 75, 576, 1279, 1280, 1400, 1499])
def test_a_packet_beyond_the_mtu_leaves_in_fragments(
    router: Router, lan: Port, wan: Port, mtu: int
) -> None:
    wan.change(mtu=mtu)
    for size in (mtu + 1, mtu + 2, mtu + 7, mtu + 8, 1500):
        if mtu < size <= 1500:
            check(router, lan, packet(size, seed=size), mtu)


def test_fragments_of_fragments_keep_their_place(router: Router, lan: Port, wan: Port) -> None:
    wan.change(mtu=700)
    for field in (MF, MF | 185, 370, MF | 7000, 8005):
        check(router, lan, packet(1500, field=field), 700)


def test_the_rest_of_the_header_is_that_of_the_packet_but_for_the_reserved_bit(
    router: Router, lan: Port, wan: Port
) -> None:
    """As Linux, which writes the field anew."""
    wan.change(mtu=600)
    check(router, lan, packet(1400, field=RESERVED, tos=0xB9, ident=0xFFFF), 600)


def test_fragments_don_t_hold_what_stands_behind_the_packet(
    router: Router, lan: Port, wan: Port
) -> None:
    wan.change(mtu=576)
    whole = packet(600)
    out = router.burst(lan.number, [came(whole, b"trailer")])
    assert [o.frame for o in out] == frames(fragments(whole, 576))


def test_a_packet_in_any_buffers_is_fragmented(router: Router, lan: Port, wan: Port) -> None:
    wan.change(mtu=576)
    whole = packet(1500)
    for cut in [34, 35, 36, *range(37, 1513, 97), 1513]:
        check(router, lan, whole, 576, [cut, 1514 - cut])
    check(router, lan, whole, 576, [34] + [20] * 74)


@pytest.mark.parametrize("mtu", [1280, 4000, 8999])
def test_a_jumbo_packet_is_fragmented_also_into_several_buffers(
    router: Router, lan: Port, wan: Port, mtu: int
) -> None:
    lan.change(mtu=9000)
    wan.change(mtu=mtu)
    check(router, lan, packet(9000), mtu)


@pytest.mark.parametrize("size", [577, 1500])
def test_a_packet_that_must_not_be_fragmented_is_linux_s(lan: Port, wan: Port, size: int) -> None:
    wan.change(mtu=576)
    bad = came(packet(size, field=DF))
    assert lan.receives(bad) == lan.to_linux("ip_mtu", bad)


def test_offsets_beyond_a_header_s_are_linux_s(lan: Port, wan: Port) -> None:
    wan.change(mtu=576)
    bad = came(packet(1500, field=8010))
    assert lan.receives(bad) == lan.to_linux("ip_mtu", bad)


def test_more_than_64_fragments_are_linux_s(router: Router, lan: Port, wan: Port) -> None:
    lan.change(mtu=9000)
    wan.change(mtu=68)
    check(router, lan, packet(20 + 64 * 48), 68)
    bad = came(packet(20 + 64 * 48 + 1))
    assert lan.receives(bad) == lan.to_linux("ip_mtu", bad)


def test_without_buffers_the_packet_is_dropped(router: Router, lan: Port, wan: Port) -> None:
    wan.change(mtu=576)
    whole = came(packet(1500))
    router.buffers(2)
    assert lan.receives(whole) == lan.dropped("no_mbuf", whole)
    router.buffers()
    assert router.buffers_in_use() == 0


def test_an_unresolved_neighbour_gets_the_whole_packet_by_linux(lan: Port, wan: Port) -> None:
    wan.change(mtu=576)
    bad = frame(udp(size=1500, dst="198.51.100.77"))
    assert lan.receives(bad) == lan.to_linux("ip_neighbour", bad)


def test_the_order_in_a_burst_stays(router: Router, lan: Port, wan: Port) -> None:
    wan.change(mtu=576)
    packets = [packet(size, ident=i) for i, size in enumerate((100, 1500, 100, 577, 576, 28) * 10)]
    out = router.burst(lan.number, [came(one) for one in packets])
    assert [o.frame for o in out] == frames([f for one in packets for f in fragments(one, 576)])
    before = router.interface_counters(wan)
    router.burst(lan.number, [came(one) for one in packets])
    after = router.interface_counters(wan)
    assert after["tx_packets"] - before["tx_packets"] == len(out)
    assert after["tx_bytes"] - before["tx_bytes"] == sum(len(o.frame) for o in out)


def test_a_route_s_mtu_counts_before_that_of_its_interface(
    router: Router, lan: Port, wan: Port
) -> None:
    router.route("203.0.113.0/24", via="198.51.100.10", dev=wan)
    router.route("203.0.113.128/25", via="198.51.100.10", dev=wan, mtu=800)
    there, small = b"\xcb\0\x71\x01", b"\xcb\0\x71\x81"

    def to(destination: bytes, size: int, field: int = 0) -> bytes:
        whole = packet(size, field=field)
        head = whole[:10] + b"\0\0" + whole[12:16] + destination
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + whole[20:]

    assert len(router.burst(lan.number, [came(to(there, 1500))])) == 1
    check(router, lan, to(small, 1500), 800)
    check(router, lan, to(small, 801), 800)
    assert len(router.burst(lan.number, [came(to(small, 800))])) == 1
    bad = came(to(small, 801, DF))
    assert lan.receives(bad) == lan.to_linux("ip_mtu", bad)
    # One route's MTU isn't another's.
    router.route("203.0.113.128/25", via="198.51.100.10", dev=wan)
    assert len(router.burst(lan.number, [came(to(small, 1500))])) == 1


def test_a_route_s_mtu_beyond_that_of_its_interface_is_linux_s_to_judge(
    router: Router, lan: Port, wan: Port
) -> None:
    wan.change(mtu=1000)
    router.route("198.51.100.10/32", dev=wan, mtu=1400)
    fine, between, large = packet(1000), packet(1200), packet(1500)
    assert len(router.burst(lan.number, [came(fine)])) == 1
    for one in (between, large):
        assert lan.receives(came(one)) == lan.to_linux("ip_mtu", came(one))


def test_each_next_hop_of_several_has_the_route_s_mtu(router: Router, lan: Port, wan: Port) -> None:
    from tests.packet.harness import nexthop

    router.neighbour("198.51.100.11", wan, PEER)
    hops = [nexthop(wan, "198.51.100.10"), nexthop(wan, "198.51.100.11")]
    router.route("198.51.100.10/32", nexthops=hops, mtu=900)
    check(router, lan, packet(1500), 900)


def test_ipv6_s_own_mtu_isn_t_that_of_ipv4(router: Router, lan: Port, wan: Port) -> None:
    wan.change(mtu6=1280)
    assert len(router.burst(lan.number, [came(packet(1500))])) == 1
