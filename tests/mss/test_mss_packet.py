# SPDX-License-Identifier: BSD-3-Clause
"""The MSS clamp. What Linux makes of the same packets is in the differential tests; here every way through the code."""

from typing import Any

import pytest
from _sluice import lib
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import RTN_BLACKHOLE, Port, Refused, Router, nexthop

pytestmark = pytest.mark.packet

V4 = {"src": "192.0.2.10", "dst": "198.51.100.10"}
V6 = {"src": "2001:db8:1::10", "dst": "2001:db8:2::10"}
BOTH = pytest.mark.parametrize("version", [4, 6])


def rule(router: Router, *, family: int = 2, **fields: Any) -> dict[str, Any]:
    fields = {
        "family": family, "tcp_mask": 2, "tcp_value": 2, "flags": lib.FPC_MSS_ROUTE, **fields,
    }  # fmt: skip
    for end in ("input", "output"):
        fields[end] = fields.get(end, "").encode()
    router.set("mss", fields)
    return fields


def rules(router: Router, **fields: Any) -> None:
    for family in (2, 10):
        rule(router, family=family, **fields)


def syn(version: int, mss: int | None = 1460, *, flags: str = "S", **fields: Any) -> Packet:
    head = IP(**{**V4, **fields}) if version == 4 else IPv6(**{**V6, **fields})
    options = [("NOP", None), ("NOP", None)] + ([("MSS", mss)] if mss is not None else [])
    return head / TCP(sport=1000, dport=80, flags=flags, options=options)


def frame(packet: Packet, src: str = "02:00:00:00:aa:10", dst: str = "02:00:00:00:00:01") -> bytes:
    return bytes(Ether(src=src, dst=dst) / packet)


def passed(packet: Packet, mss: int | None = None) -> bytes:
    """As it leaves by wan, with scapy's own checksums."""
    packet = packet.copy()
    if packet.version == 4:
        packet.ttl -= 1
    else:
        packet.hlim -= 1
    if mss is not None:
        packet[TCP].options = [("MSS", mss) if o[0] == "MSS" else o for o in packet[TCP].options]
    return frame(packet, src="02:00:00:00:00:02", dst="02:00:00:00:bb:10")


@BOTH
def test_a_syn_is_lowered_to_what_the_way_lets_through(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    fits = 1400 - (40 if version == 4 else 60)
    assert lan.receives(frame(syn(version))) == wan.sent(passed(syn(version)))
    rules(router)
    for mss in (fits + 1, 1460, 8960, 65535):
        packet = syn(version, mss)
        assert lan.receives(frame(packet)) == wan.sent(passed(packet, fits))
    for mss in (0, 536, fits - 1, fits):
        packet = syn(version, mss)
        assert lan.receives(frame(packet)) == wan.sent(passed(packet))


@BOTH
@pytest.mark.parametrize("flags", ["SA", "SEC", "SF"])
def test_every_syn_counts(router: Router, lan: Port, wan: Port, version: int, flags: str) -> None:
    rules(router, flags=0, size=1000)
    packet = syn(version, flags=flags)
    assert lan.receives(frame(packet)) == wan.sent(passed(packet, 1000))


@BOTH
def test_other_packets_stay_as_they_are(router: Router, lan: Port, wan: Port, version: int) -> None:
    rules(router, flags=0, size=1000)
    head = IP(**V4) if version == 4 else IPv6(**V6)
    for packet in (
        syn(version, flags="A"), syn(version, flags="R"), syn(version, None), head / UDP() / Raw(b"\2\4\5\xb4"),
        head / Raw(b"x" * 40),
    ):  # fmt: skip
        assert lan.receives(frame(packet)) == wan.sent(passed(packet))


@BOTH
def test_flags_of_a_rule_are_compared_with_its_mask(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    rules(router, flags=0, size=1000, tcp_mask=6)
    assert lan.receives(frame(syn(version))) == wan.sent(passed(syn(version), 1000))
    both = syn(version, flags="SR")
    assert lan.receives(frame(both)) == wan.sent(passed(both))


def test_interfaces_of_a_rule_are_compared_as_a_whole(router: Router, lan: Port, wan: Port) -> None:
    cases = {
        (): 1000, ("lan",): 1000, ("wan",): None, ("", "wan"): 1000, ("", "lan"): None, ("lan", "wan"): 1000,
        ("la", ""): None, ("lan2", ""): None, ("", "wa"): None,
    }  # fmt: skip
    for names, expected in cases.items():
        fields: dict[str, Any] = dict(zip(("input", "output"), names, strict=False))
        made = rule(router, flags=0, size=1000, **fields)
        assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4), expected)), names
        router.delete("mss", made)
    wan.change(name="lan")
    rule(router, flags=0, size=1000, output="lan")
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4), 1000))


def test_the_least_of_several_rules_counts_and_a_rule_can_change_and_go(
    router: Router, lan: Port, wan: Port
) -> None:
    first = rule(router, flags=0, size=1200)
    second = rule(router, flags=lib.FPC_MSS_ROUTE, size=1100, input="lan")
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4), 1100))
    rule(router, flags=lib.FPC_MSS_ROUTE, size=0, input="lan")
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4), 1200))
    router.delete("mss", first)
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4), 1360))
    router.delete("mss", second)
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4)))
    assert router.rows("vrf", "vrf_row")[0].stages == 0


@BOTH
def test_the_way_back_and_routes_mtus_count_too(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    rules(router)
    least = 40 if version == 4 else 60
    there, here = (
        ("198.51.100.10/32", "192.0.2.10/32")
        if version == 4
        else ("2001:db8:2::10/128", "2001:db8:1::10/128")
    )
    router.route(there, dev=wan, mtu=1390)
    assert lan.receives(frame(syn(version))) == wan.sent(passed(syn(version), 1390 - least))
    router.route(here, dev=lan, mtu=1300)
    assert lan.receives(frame(syn(version))) == wan.sent(passed(syn(version), 1300 - least))
    router.route(here, dev=lan)
    lan.change(mtu=1350)
    assert lan.receives(frame(syn(version))) == wan.sent(passed(syn(version), 1350 - least))
    # Without a way back, that there counts; so with one that leads nowhere.
    stranger: dict[str, Any] = {"src": "203.0.113.1" if version == 4 else "2001:db8:9::1"}
    packet = syn(version, **stranger)
    assert lan.receives(frame(packet)) == wan.sent(passed(packet, 1390 - least))
    router.route("203.0.113.0/24" if version == 4 else "2001:db8:9::/48", type=RTN_BLACKHOLE)
    assert lan.receives(frame(packet)) == wan.sent(passed(packet, 1390 - least))
    # Too small for anything: the least that every host takes.
    router.route(there, dev=wan, mtu=1280 if version == 6 else 68)
    if version == 4:
        router.route(here, dev=lan, mtu=40)
        tiny = syn(4)
        assert lan.receives(frame(tiny)) == wan.sent(passed(tiny, 536))


def test_ipv6_s_own_mtu_counts(router: Router, lan: Port, wan: Port) -> None:
    rules(router)
    wan.change(mtu6=1300)
    assert lan.receives(frame(syn(6))) == wan.sent(passed(syn(6), 1240))
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4), 1360))


def linux(lan: Port, frame_: bytes, segments: list[int] | None = None) -> None:
    assert lan.receives(frame_, segments=segments) == lan.to_linux("mss_linux", frame_)


def test_a_way_back_that_only_linux_knows_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    rules(router)
    router.neighbour("192.0.2.11", lan, "02:00:00:00:aa:11")
    hops = [nexthop(lan, "192.0.2.10"), nexthop(lan, "192.0.2.11")]
    router.route("203.0.113.0/24", nexthops=hops)
    linux(lan, frame(syn(4, src="203.0.113.1")))
    router.route("203.0.113.0/24", dev=lan, via="192.0.2.10", flags=lib.FPC_ROUTE_UNSUPPORTED)
    linux(lan, frame(syn(4, src="203.0.113.1")))


def test_a_syn_beyond_the_mtu_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    rules(router)
    for version in (4, 6):
        linux(lan, frame(syn(version) / Raw(b"x" * 1380)))


def test_extension_headers_that_may_hide_a_syn_are_linux_s(
    router: Router, lan: Port, wan: Port
) -> None:
    rules(router)
    linux(lan, frame(IPv6(**V6) / IPv6ExtHdrDestOpt() / TCP(flags="S", options=[("MSS", 1460)])))


@BOTH
def test_a_tcp_header_in_several_buffers_is_linux_s(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    rules(router)
    whole = frame(syn(version))
    headers = 14 + (20 if version == 4 else 40)
    for cut in range(headers, len(whole)):
        linux(lan, whole, [cut, len(whole) - cut])
    assert lan.receives(whole, segments=[len(whole), 0]).kind == "sent"
    # Of another protocol nothing need be seen.
    other = (IP(**V4) if version == 4 else IPv6(**V6)) / UDP() / Raw(b"x" * 20)
    assert lan.receives(frame(other), segments=[headers, 28]) == wan.sent(passed(other))


OPTIONS = {
    "none": b"",
    "behind other options": b"\1\4\2\x08\x0a" + bytes(8) + b"\2\4\5\xb4",
    "at an odd place": b"\1\2\4\5\xb4\1\1\1",
    "the first of two": b"\2\4\5\xb4\2\4\5\xb4",
    "behind the end of options": b"\0\0\0\0\2\4\5\xb4",
    "behind an option without length": b"\xfd\0\2\4\5\xb4\1\1",
    "too short": b"\2\3\5\xb4",
    "with a long length": b"\2\6\5\xb4\1\1\1\1",
    "beyond the header": b"\1\1\2\4",
    "a length beyond the header": b"\2\x28\5\xb4",
    "another option beyond the header": b"\xfd\x20\2\4\5\xb4\1\1",
}


def lowered(tcp: bytes, most: int) -> bytes:
    """As nft_exthdr_tcp_set_eval does, checksum included."""
    size, at = (tcp[12] >> 4) * 4, 20
    if size < 20 or size > len(tcp):
        return tcp
    while at < size - 1:
        step = 1 if tcp[at] <= 1 or not tcp[at + 1] else tcp[at + 1]
        if tcp[at] == 2:
            if at + step > size or step < 4:
                return tcp
            old = int.from_bytes(tcp[at + 2 : at + 4])
            if old <= most:
                return tcp
            total = (~int.from_bytes(tcp[16:18]) & 0xFFFF) + (~old & 0xFFFF) + most
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            made = tcp[:16] + (~total & 0xFFFF).to_bytes(2) + tcp[18:]
            return made[: at + 2] + most.to_bytes(2) + made[at + 4 :]
        at += step
    return tcp


@BOTH
@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_every_shape_are_walked_as_linux_does(
    router: Router, lan: Port, wan: Port, version: int, name: str
) -> None:
    rules(router, flags=0, size=1000)
    options = OPTIONS[name]
    for words in {5 + len(options) // 4, 0, 4, 5, 6, 15}:
        tcp = b"\0\1\0\2" + bytes(8) + bytes([words << 4, 2]) + b"\2\0\x12\x34\0\0" + options
        if version == 4:
            packet = IP(**V4, proto=6) / Raw(tcp)
            expected = IP(**V4, proto=6, ttl=63) / Raw(lowered(tcp, 1000))
        else:
            packet = IPv6(**V6, nh=6) / Raw(tcp)
            expected = IPv6(**V6, nh=6, hlim=63) / Raw(lowered(tcp, 1000))
        want = frame(expected, src="02:00:00:00:00:02", dst="02:00:00:00:bb:10")
        assert lan.receives(frame(packet)) == wan.sent(want), words


def test_a_first_fragment_is_clamped_and_others_are_not(
    router: Router, lan: Port, wan: Port
) -> None:
    rules(router)
    first = syn(4) / Raw(b"x" * 12)
    first.flags = "MF"
    assert lan.receives(frame(first)) == wan.sent(passed(first, 1360))
    later = syn(4)
    later.frag = 100
    assert lan.receives(frame(later)) == wan.sent(passed(later))


def test_a_truncated_header_is_left_as_it_is(router: Router, lan: Port, wan: Port) -> None:
    rules(router)
    for size in range(20):
        packet = IP(**V4, proto=6) / Raw(bytes(syn(4)[TCP])[:size])
        assert lan.receives(frame(packet)) == wan.sent(passed(packet))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"vrf": 256}, "vrf"), ({"family": 7}, "family"), ({"tcp_value": 0}, "tcp_value"),
        ({"tcp_mask": 4, "tcp_value": 4}, "tcp_value"), ({"tcp_mask": 2, "tcp_value": 3}, "tcp_value"),
        ({"flags": 0}, "size"),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(
    router: Router, lan: Port, wan: Port, fields: dict[str, int], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        rule(router, **fields)
    assert refused.value.field == field
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4)))


def test_with_more_rules_than_there_is_room_for_linux_clamps(
    router: Router, lan: Port, wan: Port
) -> None:
    made = [rule(router, flags=0, size=1000, input=f"x{i}") for i in range(lib.MSS_ROWS - 1)]
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4)))
    with pytest.raises(Refused, match="more than 255"):
        rule(router, flags=0, size=900)
    linux(lan, frame(syn(4)))
    assert lan.receives(frame(syn(4, flags="A"))).kind == "sent"
    router.delete("mss", made[0])
    router.delete("mss", {**made[0], "input": b""})
    assert lan.receives(frame(syn(4))) == wan.sent(passed(syn(4)))
