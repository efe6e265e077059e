# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of IPv6 packets."""

import pytest
from _sluice import lib
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import (
    LOCAL,
    RTN_ANYCAST,
    RTN_BLACKHOLE,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNREACHABLE,
    Port,
    Router,
)

pytestmark = pytest.mark.packet

HOST = "02:00:00:00:aa:10"  # on lan
LAN = "02:00:00:00:00:01"
WAN = "02:00:00:00:00:02"
PEER = "02:00:00:00:bb:10"  # on wan
FAR = "2001:db8:3::1"


def frame(packet: Packet, *, src: str = HOST, dst: str = LAN) -> bytes:
    return bytes(Ether(src=src, dst=dst, type=0x86DD) / packet)


def udp(*, size: int = 80, **fields: object) -> Packet:
    fields = {"src": "2001:db8:1::10", "dst": "2001:db8:2::10", **fields}
    return IPv6(**fields) / UDP(sport=1024, dport=2048) / Raw(b"x" * (size - 48))


def forwarded(packet: Packet, *, src: str = WAN, dst: str = PEER) -> bytes:
    packet = packet.copy()
    packet.hlim -= 1
    return frame(packet, src=src, dst=dst)


def test_a_packet_is_forwarded_with_its_hop_limit_changed(lan: Port, wan: Port) -> None:
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_the_answer_is_forwarded_too(lan: Port, wan: Port) -> None:
    packet = udp(src="2001:db8:2::10", dst="2001:db8:1::10")
    verdict = wan.receives(frame(packet, src=PEER, dst=WAN))
    assert verdict == lan.sent(forwarded(packet, src=LAN, dst=HOST))


@pytest.mark.parametrize(
    "payload",
    [
        TCP(flags="S"),
        ICMPv6EchoRequest(),
        Raw(b""),
        IPv6ExtHdrDestOpt() / UDP(),
        IPv6ExtHdrRouting(addresses=["2001:db8::1"]) / UDP(),
        IPv6ExtHdrFragment(m=1) / Raw(b"x" * 64),
        IPv6ExtHdrFragment(offset=8) / Raw(b"x" * 64),
    ],
    ids=[
        "tcp",
        "icmp",
        "none",
        "destination-options",
        "routing",
        "first-fragment",
        "last-fragment",
    ],
)
def test_every_next_header_but_one_is_forwarded(lan: Port, wan: Port, payload: Packet) -> None:
    packet = IPv6(src="2001:db8:1::10", dst="2001:db8:2::10") / payload
    if not bytes(payload):
        packet.nh = 59
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize("option", [None, RouterAlert()], ids=["padding", "router-alert"])
def test_hop_by_hop_options_go_to_linux(lan: Port, wan: Port, option: Packet | None) -> None:
    header = IPv6ExtHdrHopByHop(options=[option]) if option else IPv6ExtHdrHopByHop()
    bad = frame(IPv6(src="2001:db8:1::10", dst="2001:db8:2::10") / header / UDP())
    assert lan.receives(bad) == lan.to_linux("ip6_hop_by_hop", bad)


@pytest.mark.parametrize("hop_limit", [0, 1])
def test_a_packet_with_hop_limit_1_goes_to_linux(lan: Port, wan: Port, hop_limit: int) -> None:
    bad = frame(udp(hlim=hop_limit))
    assert lan.receives(bad) == lan.to_linux("ip6_hop_limit", bad)


@pytest.mark.parametrize("hop_limit", [2, 64, 255])
def test_other_hop_limits_are_counted_down(lan: Port, wan: Port, hop_limit: int) -> None:
    packet = udp(hlim=hop_limit, tc=0xB8, fl=0xABCDE)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize("keep", [0, 1, 20, 39])
def test_an_incomplete_header_goes_to_linux(lan: Port, wan: Port, keep: int) -> None:
    bad = frame(udp())[: 14 + keep]
    assert lan.receives(bad) == lan.to_linux("ip6_too_short", bad)


@pytest.mark.parametrize("version", [0, 4, 5, 7, 15])
def test_another_version_goes_to_linux(lan: Port, wan: Port, version: int) -> None:
    bad = frame(udp(version=version))
    assert lan.receives(bad) == lan.to_linux("ip6_version", bad)


@pytest.mark.parametrize("length", [41, 1500, 65535])
def test_a_payload_longer_than_the_frame_goes_to_linux(lan: Port, wan: Port, length: int) -> None:
    bad = frame(udp(size=80, plen=length))
    assert lan.receives(bad) == lan.to_linux("ip6_length", bad)


def test_bytes_behind_the_packet_are_cut_off(lan: Port, wan: Port) -> None:
    packet = IPv6(src="2001:db8:1::10", dst="2001:db8:2::10", nh=59, plen=0)
    assert lan.receives(frame(packet) + b"\xee" * 6) == wan.sent(forwarded(packet))


@pytest.mark.parametrize(
    "source", ["::", "::1", "::ffff:192.0.2.1", "fe80::1", "febf::1", "ff02::1"]
)
def test_a_source_that_is_no_host_s_goes_to_linux(lan: Port, wan: Port, source: str) -> None:
    bad = frame(udp(src=source))
    assert lan.receives(bad) == lan.to_linux("ip6_source", bad)


@pytest.mark.parametrize(
    "destination", ["::", "::1", "::192.0.2.1", "fe80::1", "febf::1", "ff02::1", "ff0e::1"]
)
def test_a_special_destination_goes_to_linux(
    router: Router, lan: Port, wan: Port, destination: str
) -> None:
    router.route("::/0", via="2001:db8:2::10", dev=wan)
    bad = frame(udp(dst=destination))
    assert lan.receives(bad) == lan.to_linux("ip6_destination", bad)


@pytest.mark.parametrize(
    "other", ["::1:0:0:0:1", "fe7f::1", "fec0::1", "fd00::1", "feff::1", "64:ff9b::1"]
)
def test_the_neighbours_of_special_ranges_are_forwarded(
    router: Router, lan: Port, wan: Port, other: str
) -> None:
    router.route("::/0", via="2001:db8:2::10", dev=wan)
    packet = udp(dst=other)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
    back = udp(src=other)
    assert lan.receives(frame(back)) == wan.sent(forwarded(back))


def test_our_own_source_is_forwarded_as_linux_does(lan: Port, wan: Port) -> None:
    packet = udp(src="2001:db8:2::1")
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_without_a_route_linux_answers(lan: Port, wan: Port) -> None:
    bad = frame(udp(dst=FAR))
    assert lan.receives(bad) == lan.to_linux("ip6_no_route", bad)


@pytest.mark.parametrize("destination", ["2001:db8:1::1", "2001:db8:2::1"])
def test_our_own_addresses_are_linux_s(lan: Port, wan: Port, destination: str) -> None:
    bad = frame(udp(dst=destination))
    assert lan.receives(bad) == lan.to_linux("ip6_local", bad)


def test_the_subnet_router_anycast_address_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    router.route("2001:db8:2::/128", table=LOCAL, type=RTN_ANYCAST, dev=wan)
    bad = frame(udp(dst="2001:db8:2::"))
    assert lan.receives(bad) == lan.to_linux("ip6_local", bad)


def test_a_multicast_route_goes_to_linux(router: Router, lan: Port, wan: Port) -> None:
    router.route("2001:db8:3::/48", type=RTN_MULTICAST, dev=wan)
    bad = frame(udp(dst=FAR))
    assert lan.receives(bad) == lan.to_linux("ip6_broadcast", bad)


def test_a_blackhole_route_drops(router: Router, lan: Port, wan: Port) -> None:
    router.route("2001:db8:3::/48", type=RTN_BLACKHOLE)
    lost = frame(udp(dst=FAR))
    assert lan.receives(lost) == lan.dropped("ip6_blackhole", lost)


@pytest.mark.parametrize("kind", [RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW])
def test_routes_that_answer_are_linux_s(router: Router, lan: Port, wan: Port, kind: int) -> None:
    router.route("2001:db8:3::/48", type=kind)
    bad = frame(udp(dst=FAR))
    assert lan.receives(bad) == lan.to_linux("ip6_unreachable", bad)


def test_an_unsupported_route_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    bad = frame(udp(dst=FAR))
    router.route("2001:db8:3::/48", via="2001:db8:2::10", dev=wan, flags=lib.FPC_ROUTE_UNSUPPORTED)
    assert lan.receives(bad) == lan.to_linux("ip6_linux_route", bad)


@pytest.mark.parametrize("gateway", ["2001:db8:2::10", "fe80::10"])
def test_a_route_through_a_gateway_is_followed(
    router: Router, lan: Port, wan: Port, gateway: str
) -> None:
    router.neighbour("fe80::10", wan, PEER)
    router.route("2001:db8:3::/48", via=gateway, dev=wan)
    packet = udp(dst=FAR)
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize("plen", [0, 1, 15, 16, 17, 24, 32, 47, 48, 63, 64, 65, 96, 120, 127, 128])
def test_a_route_of_any_length_is_found(router: Router, lan: Port, wan: Port, plen: int) -> None:
    far = int.from_bytes(bytes.fromhex("20010db8f0f0f0f0f0f0f0f0f0f0f0f1"))
    network = (far >> (128 - plen)) << (128 - plen) if plen else 0
    text = ":".join(f"{network:032x}"[i : i + 4] for i in range(0, 32, 4))
    router.route(f"{text}/{plen}", via="2001:db8:2::10", dev=wan)
    packet = udp(dst="2001:db8:f0f0:f0f0:f0f0:f0f0:f0f0:f0f1")
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
    if plen == 128:
        other = frame(udp(dst="2001:db8:f0f0:f0f0:f0f0:f0f0:f0f0:f0f0"))
        assert lan.receives(other) == lan.to_linux("ip6_no_route", other)


def test_through_an_interface_without_a_port_linux_sends(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel = router.link("tun0", ifindex=99)
    router.route("2001:db8:3::/48", dev=tunnel)
    bad = frame(udp(dst=FAR))
    assert lan.receives(bad) == lan.to_linux("ip6_output_linux", bad)


def test_through_an_interface_that_is_down_linux_sends(lan: Port, wan: Port) -> None:
    wan.change(flags=lib.FPC_IFACE_UP)
    bad = frame(udp())
    assert lan.receives(bad) == lan.to_linux("ip6_output_down", bad)


def test_a_route_back_where_it_came_from_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    bad = frame(udp(dst="2001:db8:1::10", src="2001:db8:1::11"))
    assert lan.receives(bad) == lan.to_linux("ip6_same_iface", bad)


def test_a_packet_of_the_mtu_is_forwarded_and_a_larger_one_is_too_big(lan: Port, wan: Port) -> None:
    for mtu in (1280, 1500):
        wan.change(mtu=mtu)
        packet = udp(size=mtu)
        assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
        big = frame(udp(size=mtu + 1))
        assert lan.receives(big) == lan.to_linux("ip6_mtu", big)


def test_an_unresolved_neighbour_is_linux_s_to_resolve(
    router: Router, lan: Port, wan: Port
) -> None:
    bad = frame(udp(dst="2001:db8:2::99"))
    assert lan.receives(bad) == lan.to_linux("ip6_neighbour", bad)
    router.neighbour("2001:db8:2::99", wan, PEER)
    packet = udp(dst="2001:db8:2::99")
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_without_forwarding_all_is_linux_s(lan: Port, wan: Port) -> None:
    lan.change(flags=lan.flags & ~lib.FPC_IFACE_FORWARD6)
    bad = frame(udp())
    assert lan.receives(bad) == lan.to_linux("ip6_not_forwarding", bad)


def test_the_reverse_path_filter_is_for_ipv4_only(lan: Port, wan: Port) -> None:
    lan.change(flags=lan.flags | lib.FPC_IFACE_RPF)
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


def test_with_policies_in_linux_all_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    router.vrf(0, lib.FPC_VRF_POLICY6)
    bad = frame(udp())
    assert lan.receives(bad) == lan.to_linux("vrf_policy", bad)
    router.vrf(0, lib.FPC_VRF_POLICY4)
    packet = udp()
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))


@pytest.mark.parametrize("cut", [14, 20, 53])
def test_a_header_spread_over_buffers_goes_to_linux(lan: Port, wan: Port, cut: int) -> None:
    whole = frame(udp())
    assert lan.receives(whole, segments=[cut, len(whole) - cut]) == lan.to_linux(
        "ip6_too_short", whole
    )


@pytest.mark.parametrize("segments", [[54, 40], [54, 1, 39], [93, 1], [94, 0]])
def test_a_packet_in_several_buffers_is_forwarded(
    lan: Port, wan: Port, segments: list[int]
) -> None:
    packet = udp(size=80)
    assert lan.receives(frame(packet), segments=segments) == wan.sent(forwarded(packet))


def test_padding_that_fills_buffers_goes_to_linux(lan: Port, wan: Port) -> None:
    padded = frame(udp(size=80)) + b"\xee" * 40
    assert lan.receives(padded, segments=[90, 24, 20]) == lan.to_linux("ip6_trailer", padded)


def test_a_burst_of_many_prefix_lengths_finds_each_its_route(
    router: Router, lan: Port, wan: Port
) -> None:
    packets = []
    for i in range(60):
        lladdr = f"02:00:00:00:cc:{i:02x}"
        router.neighbour(f"2001:db8:2::a{i:02x}", wan, lladdr)
        router.route(f"2001:db9:{i << 8:x}::/{40 + i}", via=f"2001:db8:2::a{i:02x}", dev=wan)
        packets.append((udp(dst=f"2001:db9:{i << 8:x}::1"), lladdr))
    out = router.burst(lan.number, [frame(p) for p, _ in packets])
    assert [o.frame for o in out] == [forwarded(p, dst=lladdr) for p, lladdr in packets]


@pytest.mark.parametrize(
    ("message", "to_linux"),
    [
        (ICMPv6ND_NS(tgt="2001:db8:2::10"), True),
        (ICMPv6ND_NA(tgt="2001:db8:2::10"), True),
        (ICMPv6EchoRequest(), False),
    ],
    ids=["solicitation", "advertisement", "ping"],
)
def test_neighbour_discovery_sent_to_the_router_is_linuxs(
    lan: Port, wan: Port, message: Packet, to_linux: bool
) -> None:
    """Linux may be a proxy of the address."""
    packet = IPv6(src="2001:db8:1::10", dst="2001:db8:2::10", hlim=255) / message
    expected = (
        lan.to_linux("ip6_neighbour_discovery", frame(packet))
        if to_linux
        else wan.sent(forwarded(packet))
    )
    assert lan.receives(frame(packet)) == expected
    # From further away it's an ordinary packet.
    packet = IPv6(src="2001:db8:1::10", dst="2001:db8:2::10", hlim=254) / message
    assert lan.receives(frame(packet)) == wan.sent(forwarded(packet))
