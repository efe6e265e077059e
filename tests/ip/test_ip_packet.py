# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of IPv4 packets."""

import pytest
from _sluice import lib
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import (
    LOCAL,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNREACHABLE,
    Port,
    Router,
    nexthop,
)

pytestmark = pytest.mark.packet

HOST = "02:00:00:00:aa:10"  # on lan
LAN = "02:00:00:00:00:01"
WAN = "02:00:00:00:00:02"
PEER = "02:00:00:00:bb:10"  # on wan


def frame(packet: Packet, *, src: str = HOST, dst: str = LAN) -> bytes:
    return bytes(Ether(src=src, dst=dst, type=0x0800) / packet)


def udp(*, size: int = 64, **fields: object) -> Packet:
    fields = {"src": "192.0.2.10", "dst": "198.51.100.10", **fields}
    return IP(**fields) / UDP(sport=1024, dport=2048) / Raw(b"x" * (size - 28))


def forwarded(packet: Packet, *, src: str = WAN, dst: str = PEER) -> bytes:
    """As scapy says that a router sends it on: it computes the checksum anew."""
    packet = packet.copy()
    packet.ttl -= 1
    return frame(packet, src=src, dst=dst)


def test_a_packet_is_forwarded_with_ttl_and_checksum_changed(lan: Port, wan: Port) -> None:
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_the_answer_is_forwarded_too(lan: Port, wan: Port) -> None:
    packet = udp(src="198.51.100.10", dst="192.0.2.10")
    verdict = wan.receives(frame(packet, src=PEER, dst=WAN))
    assert verdict == lan.sent(forwarded(packet, src=LAN, dst=HOST))


@pytest.mark.parametrize("payload", [TCP(flags="S"), ICMP(), Raw(b"")], ids=["tcp", "icmp", "none"])
def test_every_protocol_is_forwarded(lan: Port, wan: Port, payload: Packet) -> None:
    packet = IP(src="192.0.2.10", dst="198.51.100.10", proto=99) / payload
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_every_ttl_gives_a_right_checksum(router: Router, lan: Port, wan: Port) -> None:
    packets = [udp(ttl=ttl, id=ident) for ttl in range(2, 256) for ident in (0, 0x1234, 0xFFFF)]
    for packet in packets:
        out = router.burst(lan.number, [frame(packet)])
        assert [o.frame for o in out] == [forwarded(packet)]


def test_the_checksum_is_right_at_the_edges_of_its_range(
    router: Router, lan: Port, wan: Port
) -> None:
    """RFC 1624: some identification gives each checksum; those around 0x0000, 0xff00 and 0xffff must not be missed."""
    header = bytes(IP(src="192.0.2.10", dst="198.51.100.10", id=0, ttl=2, len=20))
    zero = ~int.from_bytes(with_checksum(header, 0, ttl=2)[10:12]) & 0xFFFF
    near = [
        wanted % 0x10000 for edge in (0, 0xFEFF, 0xFF00) for wanted in range(edge - 8, edge + 9)
    ]
    idents = sorted(
        {((~wanted & 0xFFFF) - zero) % 0xFFFF for wanted in near} | set(range(0, 0x10000, 97))
    )
    seen = set()
    for start in range(0, len(idents), 64):
        frames, expected = [], []
        for ident in idents[start : start + 64]:
            packet = with_checksum(header, ident, ttl=2)
            seen.add(packet[10:12])
            frames.append(frame(Raw(packet)))
            expected.append(frame(Raw(with_checksum(header, ident, ttl=1)), src=WAN, dst=PEER))
        assert [o.frame for o in router.burst(lan.number, frames)] == expected
    assert {b"\x00\x00", b"\x00\x01", b"\xfe\xfe", b"\xfe\xff", b"\xff\x00", b"\xff\xfe"} <= seen


def with_checksum(header: bytes, ident: int, *, ttl: int) -> bytes:
    """The header with these fields and its checksum from RFC 1071, not from the increment."""
    bare = (
        header[:4]
        + ident.to_bytes(2)
        + header[6:8]
        + bytes([ttl])
        + header[9:10]
        + b"\0\0"
        + header[12:]
    )
    total = sum(int.from_bytes(bare[i : i + 2]) for i in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return bare[:10] + (~total & 0xFFFF).to_bytes(2) + bare[12:]


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_packet_with_ttl_1_goes_to_linux(lan: Port, wan: Port, ttl: int) -> None:
    bad = frame(udp(ttl=ttl))
    assert lan.receives(bad) == lan.to_linux("ip_ttl", bad)


def test_a_packet_with_ttl_2_is_forwarded(lan: Port, wan: Port) -> None:
    packet = udp(ttl=2)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_a_packet_with_a_wrong_checksum_goes_to_linux(lan: Port, wan: Port) -> None:
    bad = frame(udp(chksum=0x1234))
    assert lan.receives(bad) == lan.to_linux("ip_checksum", bad)


def test_every_single_wrong_bit_of_the_header_is_seen(router: Router, lan: Port, wan: Port) -> None:
    good = frame(udp())
    for bit in range(20 * 8):
        bad = bytearray(good)
        bad[14 + bit // 8] ^= 0x80 >> bit % 8
        verdict = lan.receives(bytes(bad))
        assert verdict.kind == "linux", f"bit {bit}"
        assert verdict.frame == bytes(bad)


@pytest.mark.parametrize("keep", [0, 1, 10, 19])
def test_an_incomplete_header_goes_to_linux(lan: Port, wan: Port, keep: int) -> None:
    bad = frame(udp())[: 14 + keep]
    assert lan.receives(bad) == lan.to_linux("ip_too_short", bad)


@pytest.mark.parametrize("version", [0, 5, 6, 15])
def test_another_version_goes_to_linux(lan: Port, wan: Port, version: int) -> None:
    bad = frame(udp(version=version))
    assert lan.receives(bad) == lan.to_linux("ip_version", bad)


@pytest.mark.parametrize("ihl", [0, 4])
def test_a_header_length_below_5_goes_to_linux(lan: Port, wan: Port, ihl: int) -> None:
    bad = frame(udp(ihl=ihl))
    assert lan.receives(bad) == lan.to_linux("ip_header_length", bad)


def test_options_go_to_linux(lan: Port, wan: Port) -> None:
    bad = frame(udp(options=[IPOption_Router_Alert()]))
    assert lan.receives(bad) == lan.to_linux("ip_options", bad)


@pytest.mark.parametrize("length", [0, 19, 65, 1500, 65535])
def test_a_wrong_total_length_goes_to_linux(lan: Port, wan: Port, length: int) -> None:
    bad = frame(udp(size=64, len=length))
    assert lan.receives(bad) == lan.to_linux("ip_length", bad)


def test_bytes_behind_the_packet_are_cut_off(lan: Port, wan: Port) -> None:
    packet = IP(src="192.0.2.10", dst="198.51.100.10") / UDP()
    padded = frame(packet) + b"\xee" * 18
    assert len(padded) == 60
    assert lan.receives(padded) == wan.sent(forwarded(packet))


def test_a_padded_packet_goes_to_linux_with_its_padding(lan: Port, wan: Port) -> None:
    padded = frame(IP(src="192.0.2.10", dst="198.51.100.10", ttl=1) / UDP()) + b"\xee" * 18
    assert lan.receives(padded) == lan.to_linux("ip_ttl", padded)


@pytest.mark.parametrize(
    "source",
    [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_source_that_is_no_host_goes_to_linux(lan: Port, wan: Port, source: str) -> None:
    bad = frame(udp(src=source))
    assert lan.receives(bad) == lan.to_linux("ip_source", bad)


@pytest.mark.parametrize("source", ["192.0.2.1", "198.51.100.1"])
def test_a_source_that_is_our_own_address_goes_to_linux(lan: Port, wan: Port, source: str) -> None:
    bad = frame(udp(src=source))
    assert lan.receives(bad) == lan.to_linux("ip_source_local", bad)


def test_sources_that_only_look_like_our_own_are_forwarded(
    router: Router, lan: Port, wan: Port
) -> None:
    """The filter of local addresses has 256 bits: some of these share one with an address of ours."""
    for low in range(2, 255):
        packet = udp(src=f"192.0.2.{low}")
        assert [o.frame for o in router.burst(lan.number, [frame(packet)])] == [forwarded(packet)]


def test_a_removed_address_is_a_source_like_any_other(router: Router, lan: Port, wan: Port) -> None:
    local = router.route("203.0.113.7/32", table=LOCAL, type=RTN_LOCAL, dev=lan)
    packet = udp(src="203.0.113.7")
    assert lan.receives(frame(packet)) == lan.to_linux("ip_source_local", frame(packet))
    router.delete("route", local)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_with_a_custom_local_network_its_sources_go_to_linux(
    router: Router, lan: Port, wan: Port
) -> None:
    router.route("203.0.113.0/24", table=LOCAL, type=RTN_LOCAL, dev=lan)
    bad = frame(udp(src="203.0.113.200"))
    assert lan.receives(bad) == lan.to_linux("ip_source_local", bad)
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize(
    "destination",
    [
        "0.0.0.0",
        "0.255.0.1",
        "127.0.0.1",
        "224.0.0.5",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_special_destination_goes_to_linux(
    router: Router, lan: Port, wan: Port, destination: str
) -> None:
    router.route("0.0.0.0/0", via="198.51.100.10", dev=wan)
    bad = frame(udp(dst=destination))
    assert lan.receives(bad) == lan.to_linux("ip_destination", bad)


@pytest.mark.parametrize(
    "destination", ["1.0.0.1", "126.255.255.255", "128.0.0.0", "223.255.255.255"]
)
def test_the_neighbours_of_special_ranges_are_forwarded(
    router: Router, lan: Port, wan: Port, destination: str
) -> None:
    router.route("0.0.0.0/0", via="198.51.100.10", dev=wan)
    packet = udp(dst=destination)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
    back = udp(src=destination)
    assert lan.receives(frame(back)) == wan.sent(forwarded(back))


def test_without_a_route_linux_answers(lan: Port, wan: Port) -> None:
    bad = frame(udp(dst="203.0.113.1"))
    assert lan.receives(bad) == lan.to_linux("ip_no_route", bad)


@pytest.mark.parametrize("destination", ["192.0.2.1", "198.51.100.1"])
def test_our_own_addresses_are_linux_s(lan: Port, wan: Port, destination: str) -> None:
    bad = frame(udp(dst=destination))
    assert lan.receives(bad) == lan.to_linux("ip_local", bad)


def test_a_fragment_for_us_is_linux_s(lan: Port, wan: Port) -> None:
    bad = frame(udp(dst="192.0.2.1", flags="MF"))
    assert lan.receives(bad) == lan.to_linux("ip_local", bad)


@pytest.mark.parametrize(("flags", "offset"), [("MF", 0), ("MF", 185), (0, 370), ("DF", 0)])
def test_fragments_are_forwarded_like_other_packets(
    lan: Port, wan: Port, flags: object, offset: int
) -> None:
    packet = udp(flags=flags, frag=offset)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize("destination", ["198.51.100.255", "192.0.2.255"])
def test_a_directed_broadcast_goes_to_linux(lan: Port, wan: Port, destination: str) -> None:
    bad = frame(udp(dst=destination))
    assert lan.receives(bad) == lan.to_linux("ip_broadcast", bad)


def test_a_multicast_route_goes_to_linux(router: Router, lan: Port, wan: Port) -> None:
    router.route("203.0.113.0/24", type=RTN_MULTICAST, dev=wan)
    bad = frame(udp(dst="203.0.113.1"))
    assert lan.receives(bad) == lan.to_linux("ip_broadcast", bad)


def test_a_blackhole_route_drops(router: Router, lan: Port, wan: Port) -> None:
    router.route("203.0.113.0/24", type=RTN_BLACKHOLE)
    lost = frame(udp(dst="203.0.113.1"))
    assert lan.receives(lost) == lan.dropped("ip_blackhole", lost)


@pytest.mark.parametrize("kind", [RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW])
def test_routes_that_answer_are_linux_s(router: Router, lan: Port, wan: Port, kind: int) -> None:
    router.route("203.0.113.0/24", type=kind)
    bad = frame(udp(dst="203.0.113.1"))
    assert lan.receives(bad) == lan.to_linux("ip_unreachable", bad)


def test_an_unsupported_route_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    router.route("203.0.113.0/24", via="198.51.100.10", dev=wan, flags=lib.FPC_ROUTE_UNSUPPORTED)
    bad = frame(udp(dst="203.0.113.1"))
    assert lan.receives(bad) == lan.to_linux("ip_linux_route", bad)


def test_a_route_through_a_gateway_is_followed(router: Router, lan: Port, wan: Port) -> None:
    router.route("203.0.113.0/24", via="198.51.100.10", dev=wan)
    packet = udp(dst="203.0.113.1")
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_an_ipv6_gateway_of_an_ipv4_route_is_followed(router: Router, lan: Port, wan: Port) -> None:
    """RFC 8950."""
    router.route("203.0.113.0/24", via="fe80::10", dev=wan)
    packet = udp(dst="203.0.113.1")
    assert lan.receives(frame(packet)) == lan.to_linux("ip_neighbour", frame(packet))
    router.neighbour("fe80::10", wan, "02:00:00:00:bb:66")
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet, dst="02:00:00:00:bb:66"))


def test_through_an_interface_without_a_port_linux_sends(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel = router.link("tun0", ifindex=99)
    router.route("203.0.113.0/24", dev=tunnel)
    bad = frame(udp(dst="203.0.113.1"))
    assert lan.receives(bad) == lan.to_linux("ip_output_linux", bad)


@pytest.mark.parametrize(
    "flags",
    [
        0,
        lib.FPC_IFACE_UP,
        lib.FPC_IFACE_RUNNING,
        lib.FPC_IFACE_UP | lib.FPC_IFACE_RUNNING | lib.FPC_IFACE_FOREIGN,
    ],
)
def test_through_an_interface_that_is_down_or_foreign_linux_sends(
    lan: Port, wan: Port, flags: int
) -> None:
    wan.change(flags=flags)
    bad = frame(udp())
    assert lan.receives(bad) == lan.to_linux("ip_output_down", bad)


def test_a_route_back_where_it_came_from_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    """Linux may send an ICMP redirect."""
    bad = frame(udp(dst="192.0.2.10", src="192.0.2.11"))
    assert lan.receives(bad) == lan.to_linux("ip_same_iface", bad)


@pytest.mark.parametrize("mtu", [68, 576, 1280, 1500])
def test_a_packet_of_the_mtu_is_forwarded_and_a_larger_one_is_linux_s(
    lan: Port, wan: Port, mtu: int
) -> None:
    wan.change(mtu=mtu)
    packet = udp(size=mtu)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
    big = frame(udp(size=mtu + 1, flags="DF"))
    assert lan.receives(big) == lan.to_linux("ip_mtu", big)


def test_an_unresolved_neighbour_is_linux_s_to_resolve(
    router: Router, lan: Port, wan: Port
) -> None:
    router.route("203.0.113.0/24", via="198.51.100.99", dev=wan)
    for destination in ("198.51.100.98", "203.0.113.1"):
        bad = frame(udp(dst=destination))
        assert lan.receives(bad) == lan.to_linux("ip_neighbour", bad)
    router.neighbour("198.51.100.98", wan, "02:00:00:00:bb:98")
    router.neighbour("198.51.100.99", wan, "02:00:00:00:bb:99")
    for destination, lladdr in (("198.51.100.98", "bb:98"), ("203.0.113.1", "bb:99")):
        packet = udp(dst=destination)
        assert lan.receives(frame(packet)) == wan.sent(
            forwarded(packet, dst=f"02:00:00:00:{lladdr}")
        )


def test_without_forwarding_all_is_linux_s(lan: Port, wan: Port) -> None:
    lan.change(flags=lan.flags & ~lib.FPC_IFACE_FORWARD4)
    bad = frame(udp())
    assert lan.receives(bad) == lan.to_linux("ip_not_forwarding", bad)


def test_only_the_input_interface_s_forwarding_counts(lan: Port, wan: Port) -> None:
    wan.change(flags=wan.flags & ~lib.FPC_IFACE_FORWARD4)
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


STRICT, LOOSE = lib.FPC_IFACE_RPF, lib.FPC_IFACE_RPF_LOOSE
FILTERS = pytest.mark.parametrize("rpf", [STRICT, LOOSE], ids=["strict", "loose"])


@FILTERS
def test_a_source_whose_route_leads_back_passes_the_reverse_path_filter(
    router: Router, lan: Port, wan: Port, rpf: int
) -> None:
    """Connected, through a gateway, or as one of several next hops."""
    lan.change(flags=lan.flags | rpf)
    router.route("10.1.0.0/16", via="192.0.2.10", dev=lan)
    both = [nexthop(wan, "198.51.100.10"), nexthop(lan, "192.0.2.10")]
    router.route("10.2.0.0/16", nexthops=both)
    for src in ("192.0.2.77", "10.1.2.3", "10.2.3.4"):
        packet = udp(src=src)
        assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@FILTERS
def test_a_source_without_a_unicast_route_fails_the_reverse_path_filter(
    router: Router, lan: Port, wan: Port, rpf: int
) -> None:
    lan.change(flags=lan.flags | rpf)
    router.route("10.3.0.0/16", type=RTN_BLACKHOLE)
    router.route("10.4.0.0/16", type=RTN_UNREACHABLE)
    router.route("10.5.0.0/16", via="192.0.2.10", dev=lan, flags=lib.FPC_ROUTE_UNSUPPORTED)
    for src in ("10.99.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1"):
        bad = frame(udp(src=src))
        assert lan.receives(bad) == lan.to_linux("ip_rpf", bad)


def test_a_route_back_through_another_interface_is_enough_for_the_loose_filter_only(
    router: Router, lan: Port, wan: Port
) -> None:
    plain = lan.flags
    both = [nexthop(wan, "198.51.100.10"), nexthop(wan, "198.51.100.11")]
    router.route("10.6.0.0/16", via="198.51.100.10", dev=wan)
    router.route("10.7.0.0/16", nexthops=both)
    for src in ("10.6.0.1", "10.7.0.1"):
        packet = udp(src=src)
        lan.change(flags=plain | LOOSE)
        assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
        lan.change(flags=plain | STRICT)
        assert lan.receives(frame(packet)) == lan.to_linux("ip_rpf", frame(packet))


def test_a_route_back_through_a_link_that_is_down_is_linux_s_to_judge(
    router: Router, lan: Port, wan: Port
) -> None:
    down = router.port("down", flags=lib.FPC_IFACE_UP)
    lan.change(flags=lan.flags | LOOSE)
    router.route("10.8.0.0/16", via="203.0.113.10", dev=down)
    bad = frame(udp(src="10.8.0.1"))
    assert lan.receives(bad) == lan.to_linux("ip_rpf", bad)


def test_the_filter_takes_single_packets_out_of_a_burst(
    router: Router, lan: Port, wan: Port
) -> None:
    lan.change(flags=lan.flags | STRICT)
    packets = [
        udp(src=f"{'192.0.2' if i % 3 else '10.9.0'}.{i + 10}", ttl=40 + i) for i in range(30)
    ]
    out = router.burst(lan.number, [frame(packet) for packet in packets])
    passed = [packet for i, packet in enumerate(packets) if i % 3]
    others = [packet for i, packet in enumerate(packets) if not i % 3]
    assert [o.frame for o in out if o.kind == "sent"] == [forwarded(packet) for packet in passed]
    assert [o.frame for o in out if o.kind == "linux"] == [frame(packet) for packet in others]


def test_with_policies_in_linux_all_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    router.vrf(0, lib.FPC_VRF_POLICY4)
    bad = frame(udp())
    assert lan.receives(bad) == lan.to_linux("vrf_policy", bad)
    router.vrf(0, lib.FPC_VRF_POLICY6)
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize("cut", [14, 20, 33])
def test_a_header_spread_over_buffers_goes_to_linux(lan: Port, wan: Port, cut: int) -> None:
    whole = frame(udp())
    verdict = lan.receives(whole, segments=[cut, len(whole) - cut])
    assert verdict == lan.to_linux("ip_too_short", whole)


@pytest.mark.parametrize("segments", [[34, 44], [34, 1, 43], [60, 18], [77, 1], [78, 0]])
def test_a_packet_in_several_buffers_is_forwarded(
    lan: Port, wan: Port, segments: list[int]
) -> None:
    packet = udp(size=64)
    assert lan.receives(frame(packet), segments=segments) == wan.sent(forwarded(packet))


def test_the_padding_in_the_last_buffer_is_cut_off(lan: Port, wan: Port) -> None:
    packet = udp(size=64)
    padded = frame(packet) + b"\xee" * 20
    assert lan.receives(padded, segments=[60, 38]) == wan.sent(forwarded(packet))


def test_padding_that_fills_buffers_goes_to_linux(lan: Port, wan: Port) -> None:
    padded = frame(udp(size=64)) + b"\xee" * 40
    assert lan.receives(padded, segments=[70, 28, 20]) == lan.to_linux("ip_trailer", padded)


def test_a_jumbo_packet_in_several_buffers_is_forwarded(lan: Port, wan: Port) -> None:
    wan.change(mtu=9000)
    packet = udp(size=9000)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_a_whole_burst_keeps_its_order(router: Router, lan: Port, wan: Port) -> None:
    packets = [udp(id=i) for i in range(64)]
    out = router.burst(lan.number, map(frame, packets))
    assert [o.frame for o in out] == [forwarded(p) for p in packets]


def test_a_mixed_burst_is_sorted_without_a_loss(router: Router, lan: Port, wan: Port) -> None:
    packets = [udp(id=i, ttl=1 if i % 3 == 0 else 64) for i in range(64)]
    out = router.burst(lan.number, map(frame, packets))
    assert [o.frame for o in out if o.kind == "linux"] == [frame(p) for p in packets if p.ttl == 1]
    assert [o.frame for o in out if o.kind == "sent"] == [
        forwarded(p) for p in packets if p.ttl != 1
    ]


def test_using_a_neighbour_is_noted_with_the_time(router: Router, lan: Port, wan: Port) -> None:
    rows, hits = router.rows("neigh", "neigh_row"), router.rows("neigh_hit", "neigh_hit_row")
    gateway = bytes([198, 51, 100, 10])
    row = next(i for i in range(1, 1000) if rows[i].valid and bytes(rows[i].addr)[:4] == gateway)
    for now in (7, 8, 1000):
        router.clock(now)
        lan.receives(frame(udp()))
        assert hits[row].seconds == now
    router.clock(2000)
    lan.receives(frame(udp(ttl=1)))
    assert hits[row].seconds == 1000
