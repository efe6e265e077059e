# SPDX-License-Identifier: BSD-3-Clause
"""Which route a packet takes where rules and VRF devices choose the table."""

import socket
from ipaddress import ip_network
from typing import Any

import pytest
from _sluice import lib
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import (
    FORWARDING,
    LOCAL,
    MAIN,
    RTN_BLACKHOLE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_UNREACHABLE,
    Port,
    Refused,
    Router,
    address16,
    nexthop,
)

pytestmark = pytest.mark.packet

HOST = "02:00:00:00:bb:01"
LAN = "02:00:00:00:00:01"
DEFAULT = 253
RED = 30  # ifindex of a VRF device
Rule = dict[str, Any]


def rule(table: int = 0, **fields: Any) -> Rule:
    """A rule of FPC. Prefixes as text, flags as names, `goto`, `action`; 0: what the name says."""
    entry: Rule = {"action": lib.FPC_RULE_TABLE, "table": table, "flags": 0}
    for key, value in fields.items():
        match key:
            case "src" | "dst":
                network = ip_network(value)
                entry |= {key: address16(network.network_address), f"{key}_plen": network.prefixlen}
            case "tos":
                entry |= {"tos": value, "tos_mask": 0xFC}
            case "goto":
                entry |= {"action": lib.FPC_RULE_GOTO, "target": value}
            case "action":
                entry["action"] = value
            case "invert" | "l3mdev":
                entry["flags"] |= getattr(lib, f"FPC_RULE_ENTRY_{key.upper()}")
            case "suppress":
                entry["suppress_plen"] = value
                entry["flags"] |= lib.FPC_RULE_ENTRY_SUPPRESS
            case _:
                entry[key] = value
                entry["flags"] |= getattr(lib, f"FPC_RULE_ENTRY_{key.upper()}")
    return entry


def own(*before_main: Rule) -> list[Rule]:
    """The kernel's rules, with some behind the first one."""
    return [rule(LOCAL), *before_main, rule(MAIN), rule(DEFAULT)]


def set_rules(
    router: Router, rules: list[Rule], *, family: int = socket.AF_INET, flags: int = 0
) -> None:
    router.set(
        "rule", {"vrf": 0, "family": family, "flags": flags, "n_rules": len(rules), "rules": rules}
    )


def frame(packet: Packet) -> bytes:
    return bytes(Ether(src=HOST, dst=LAN) / packet)


def sent(port: Port, packet: Packet, net: int) -> Any:
    """Forwarded on `port` to the host of a network."""
    packet = packet.copy()
    if packet.version == 4:
        packet.ttl -= 1
    else:
        packet.hlim -= 1
    header = Ether(src=port.mac.hex(":"), dst=f"02:00:00:00:bb:{net:02x}")
    return port.sent(bytes(header / packet))


def udp(*, sport: int = 1024, dport: int = 2048, **fields: Any) -> Packet:
    fields = {"src": "192.0.1.10", "dst": "203.0.113.1", **fields}
    return IP(**fields) / UDP(sport=sport, dport=dport) / Raw(b"x" * 20)


def udp6(*, sport: int = 1024, dport: int = 2048, **fields: Any) -> Packet:
    fields = {"src": "2001:db8:1::10", "dst": "2001:db8:ff::1", **fields}
    return IPv6(**fields) / UDP(sport=sport, dport=dport) / Raw(b"x" * 20)


# --- what a rule asks for

SELECTORS: list[tuple[Rule, Packet, Packet]] = [
    (rule(100), udp(), udp(dst="192.0.2.10")),  # all, but what main has isn't asked: both go there
    (rule(100, src="192.0.1.0/24"), udp(), udp(src="192.0.9.10")),
    (rule(100, src="192.0.1.8/29"), udp(src="192.0.1.15"), udp(src="192.0.1.16")),
    (rule(100, dst="203.0.113.0/24"), udp(), udp(dst="203.0.112.255")),
    (rule(100, src="192.0.1.10/32", dst="203.0.113.1/32"), udp(), udp(dst="203.0.113.2")),
    (rule(100, tos=0x10), udp(tos=0x10), udp(tos=0x14)),
    (rule(100, tos=0x10), udp(tos=0x13), udp(tos=0)),
    (rule(100, iif=10), udp(), udp()),
    (rule(100, iif=99), udp(), udp()),
    (rule(100, proto=17), udp(), IP(src="192.0.1.10", dst="203.0.113.1") / TCP()),
    (rule(100, proto=1), IP(src="192.0.1.10", dst="203.0.113.1") / ICMP(), udp()),
    (rule(100, sport=(1000, 1024)), udp(), udp(sport=1025)),
    (rule(100, dport=(2048, 2048)), udp(), udp(dport=2049)),
    (rule(100, dport=(80, 80)), IP(src="192.0.1.10", dst="203.0.113.1") / TCP(dport=80), udp()),
    (rule(100, proto=6, dport=(2048, 2048)), IP(src="192.0.1.10", dst="203.0.113.1") / TCP(dport=2048), udp()),
    (rule(100, invert=True, dst="203.0.113.0/24"), udp(dst="203.0.112.1"), udp()),
    (rule(100, invert=True, dport=(2048, 2048)), udp(dport=2047), udp()),
    # Fragments have no ports, as in Linux's dissector.
    (rule(100, dport=(0, 0)), udp(frag=10), udp()),
    (rule(100, dport=(2048, 2048)), udp(), udp(flags="MF")),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "yes", "no"), SELECTORS[1:7] + SELECTORS[9:])
def test_a_rule_chooses_the_table_of_what_it_selects(
    router: Router, lan: Port, wan: Port, alt: Port, asked: Rule, yes: Packet, no: Packet
) -> None:
    set_rules(router, own(asked))
    assert lan.receives(frame(yes)) == sent(alt, yes, 3)
    assert lan.receives(frame(no)) == sent(wan, no, 2)
    router.delete("rule", {"vrf": 0, "family": socket.AF_INET})
    assert lan.receives(frame(yes)) == sent(wan, yes, 2)


def test_the_input_interface_selects(router: Router, lan: Port, wan: Port, alt: Port) -> None:
    packet = udp()
    for iif, port, net in ((lan.ifindex, alt, 3), (wan.ifindex, wan, 2)):
        set_rules(router, own(rule(100, iif=iif)))
        assert lan.receives(frame(packet)) == sent(port, packet, net)


SELECTORS6: list[tuple[Rule, Packet, Packet]] = [
    (rule(100, src="2001:db8:1::/64"), udp6(), udp6(src="2001:db8:9::1")),
    (rule(100, dst="2001:db8:fe::/47"), udp6(), udp6(dst="2001:db8:fd::1")),
    (rule(100, tos=0x20), udp6(tc=0x21), udp6(tc=0x40)),
    (rule(100, proto=17), udp6(), IPv6(src="2001:db8:1::10", dst="2001:db8:ff::1") / TCP()),
    (rule(100, dport=(2048, 2050)), udp6(dport=2050), udp6(dport=2051)),
    (rule(100, invert=True, src="2001:db8:1::/64"), udp6(src="2001:db8:9::1"), udp6()),
]


@pytest.mark.parametrize(("asked", "yes", "no"), SELECTORS6)
def test_an_ipv6_rule_chooses_the_table_of_what_it_selects(
    router: Router, lan: Port, wan: Port, alt: Port, asked: Rule, yes: Packet, no: Packet
) -> None:
    set_rules(router, own(asked), family=socket.AF_INET6)
    assert lan.receives(frame(yes)) == sent(alt, yes, 3)
    assert lan.receives(frame(no)) == sent(wan, no, 2)
    # The families have nothing to do with each other.
    assert lan.receives(frame(udp())) == sent(wan, udp(), 2)


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="192.0.1.10", dst="203.0.113.1") / ESP(spi=0x04000800),
        IP(src="192.0.1.10", dst="203.0.113.1", proto=47) / Raw(b"x" * 8),
        IP(src="192.0.1.10", dst="203.0.113.1", proto=17) / Raw(b"x"),
    ],
    ids=["esp", "gre", "cut"],
)
def test_packets_whose_ports_arent_known_are_linuxs_where_ports_count(
    router: Router, lan: Port, wan: Port, alt: Port, packet: Packet
) -> None:
    set_rules(router, own(rule(100, dport=(2048, 2048))))
    assert lan.receives(frame(packet)) == lan.to_linux("ip_linux_route", frame(packet))
    set_rules(router, own(rule(100, dport=(2048, 2048), dst="10.0.0.0/8", src="10.0.0.0/8")))
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


@pytest.mark.parametrize(
    "extension", [IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(m=1)], ids=["options", "fragment"]
)
def test_ipv6_packets_with_extension_headers_are_linuxs_where_the_protocol_counts(
    router: Router, lan: Port, wan: Port, alt: Port, extension: Packet
) -> None:
    packet = IPv6(src="2001:db8:1::10", dst="2001:db8:ff::1") / extension / UDP(dport=2048)
    for asked in (rule(100, proto=17), rule(100, dport=(2048, 2048))):
        set_rules(router, own(asked), family=socket.AF_INET6)
        assert lan.receives(frame(packet)) == lan.to_linux("ip6_linux_route", frame(packet))
    set_rules(router, own(rule(100, src="2001:db8:1::/64")), family=socket.AF_INET6)
    assert lan.receives(frame(packet)) == sent(alt, packet, 3)


# --- the walk


def test_a_table_without_the_route_passes_on_to_the_next_rule(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    router.route("198.51.100.0/24", via="192.0.3.10", dev=alt, table=200)
    set_rules(router, own(rule(200), rule(201)))
    there, elsewhere = udp(dst="198.51.100.1"), udp()
    assert lan.receives(frame(there)) == sent(alt, there, 3)
    assert lan.receives(frame(elsewhere)) == sent(wan, elsewhere, 2)
    # A table may get its first route later, and lose its last one.
    found = router.route("203.0.113.0/24", via="192.0.3.10", dev=alt, table=201)
    assert lan.receives(frame(elsewhere)) == sent(alt, elsewhere, 3)
    router.delete("route", found)
    assert lan.receives(frame(elsewhere)) == sent(wan, elsewhere, 2)


def test_the_first_rule_that_finds_a_route_wins(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    packet = udp()
    set_rules(router, [rule(LOCAL), rule(MAIN), rule(100)])
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)
    set_rules(router, [rule(LOCAL), rule(100), rule(MAIN)])
    assert lan.receives(frame(packet)) == sent(alt, packet, 3)


def test_no_rule_finds_a_route(router: Router, lan: Port, wan: Port) -> None:
    packet = udp()
    set_rules(router, [rule(LOCAL), rule(100)])
    assert lan.receives(frame(packet)) == lan.to_linux("ip_no_route", frame(packet))


def test_local_addresses_are_local_before_any_table(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    for packet, reason in (
        (udp(dst="192.0.2.1"), "ip_local"),
        (udp(dst="192.0.2.255"), "ip_broadcast"),
    ):
        set_rules(router, own(rule(100)))
        assert lan.receives(frame(packet)) == lan.to_linux(reason, frame(packet))
        # Someone may want it otherwise.
        set_rules(router, [rule(100), rule(LOCAL), rule(MAIN)])
        assert lan.receives(frame(packet)) == sent(alt, packet, 3)


def test_main_before_local_is_linuxs_where_both_have_a_route(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    set_rules(router, [rule(MAIN), rule(LOCAL)])
    packet = udp(dst="192.0.2.1")
    assert lan.receives(frame(packet)) == lan.to_linux("ip_linux_route", frame(packet))
    packet = udp(dst="192.0.2.10")
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


def test_short_prefixes_are_suppressed(router: Router, lan: Port, wan: Port, alt: Port) -> None:
    """As wg-quick does it: main without its default route, then another table."""
    set_rules(router, own(rule(MAIN, suppress=0), rule(100)))
    packet, near = udp(), udp(dst="192.0.2.10")
    assert lan.receives(frame(packet)) == sent(alt, packet, 3)
    assert lan.receives(frame(near)) == sent(wan, near, 2)
    set_rules(router, own(rule(MAIN, suppress=24), rule(100)))
    assert lan.receives(frame(near)) == sent(alt, near, 3)
    set_rules(router, own(rule(MAIN, suppress=23), rule(100)))
    assert lan.receives(frame(near)) == sent(wan, near, 2)


def test_short_ipv6_prefixes_are_suppressed(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    set_rules(router, own(rule(MAIN, suppress=0), rule(100)), family=socket.AF_INET6)
    packet, near = udp6(), udp6(dst="2001:db8:2::10")
    assert lan.receives(frame(packet)) == sent(alt, packet, 3)
    assert lan.receives(frame(near)) == sent(wan, near, 2)


def test_errors_arent_suppressed(router: Router, lan: Port, wan: Port, alt: Port) -> None:
    packet = udp()
    for kind, verdict in (
        (RTN_BLACKHOLE, lan.dropped("ip_blackhole", frame(packet))),
        (RTN_UNREACHABLE, lan.to_linux("ip_unreachable", frame(packet))),
    ):
        route = router.route("203.0.113.0/24", type=kind, table=7)
        set_rules(router, own(rule(7, suppress=32), rule(100)))
        assert lan.receives(frame(packet)) == verdict
        router.delete("route", route)


def test_goto_skips_rules(router: Router, lan: Port, wan: Port, alt: Port) -> None:
    packet, other = udp(), udp(src="192.0.1.11")
    set_rules(router, [rule(LOCAL), rule(goto=3, src="192.0.1.10/32"), rule(100), rule(MAIN)])
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)
    assert lan.receives(frame(other)) == sent(alt, other, 3)
    # To the end: no rule is left.
    set_rules(router, [rule(LOCAL), rule(goto=3), rule(MAIN)])
    assert lan.receives(frame(packet)) == lan.to_linux("ip_no_route", frame(packet))


def test_rules_that_end_packets(router: Router, lan: Port, wan: Port) -> None:
    packet, other = udp(), udp(src="192.0.1.11")
    for action, verdict in (
        (lib.FPC_RULE_BLACKHOLE, lan.dropped("ip_blackhole", frame(packet))),
        (lib.FPC_RULE_UNREACHABLE, lan.to_linux("ip_unreachable", frame(packet))),
        (lib.FPC_RULE_LINUX, lan.to_linux("ip_linux_route", frame(packet))),
    ):
        set_rules(router, own(rule(src="192.0.1.10/32", action=action)))
        assert lan.receives(frame(packet)) == verdict
        assert lan.receives(frame(other)) == sent(wan, other, 2)
    packet6 = udp6()
    set_rules(router, own(rule(action=lib.FPC_RULE_BLACKHOLE)), family=socket.AF_INET6)
    assert lan.receives(frame(packet6)) == lan.dropped("ip6_blackhole", frame(packet6))


def test_the_source_is_looked_up_by_the_rules_too(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    set_rules(router, own(rule(100, src="10.0.0.0/8")))
    for source in ("192.0.2.255",):
        packet = udp(src=source)
        assert lan.receives(frame(packet)) == lan.to_linux("ip_source_local", frame(packet))
    # A source that a table calls local, but only for this destination.
    router.route("10.1.0.0/16", type=RTN_BROADCAST, table=77)
    set_rules(router, own(rule(77, src="203.0.113.1/32")))
    packet = udp(src="10.1.2.3")
    assert lan.receives(frame(packet)) == lan.to_linux("ip_source_local", frame(packet))
    packet = udp(src="10.1.2.3", dst="203.0.113.2")
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


@pytest.mark.parametrize("loose", [False, True])
def test_the_reverse_path_filter_goes_by_the_rules(
    router: Router, lan: Port, wan: Port, alt: Port, loose: bool
) -> None:
    lan.change(flags=FORWARDING | (lib.FPC_IFACE_RPF_LOOSE if loose else lib.FPC_IFACE_RPF))
    router.route("198.51.100.0/24", via="192.0.1.10", dev=lan, table=50)
    packet = udp(src="198.51.100.9")
    set_rules(router, own(rule(100, src="10.0.0.0/8")))
    by_default_route = sent(wan, packet, 2) if loose else lan.to_linux("ip_rpf", frame(packet))
    assert lan.receives(frame(packet)) == by_default_route
    # The way back is to where the packet came from.
    set_rules(router, own(rule(50, dst="198.51.100.0/24")))
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


# --- lists


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (rule(100, action=99), "rules"),
        (rule(0), "rules"),
        (rule(goto=0), "rules"),
        (rule(goto=5), "rules"),
        ({**rule(100), "src_plen": 33}, "rules"),
    ],
)
def test_a_bad_list_is_refused_and_its_family_linuxs(
    router: Router, lan: Port, wan: Port, bad: Rule, field: str
) -> None:
    packet = udp()
    set_rules(router, own())
    with pytest.raises(Refused) as refused:
        set_rules(router, [bad, rule(MAIN)])
    assert refused.value.field == field
    assert lan.receives(frame(packet)) == lan.to_linux("ip_linux_route", frame(packet))
    assert lan.receives(frame(udp6())) == sent(wan, udp6(), 2)
    set_rules(router, own())
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


def test_more_rules_than_fit_are_linuxs(router: Router, lan: Port, wan: Port) -> None:
    packet = udp()
    set_rules(router, [], flags=lib.FPC_RULE_ALL_LINUX)
    assert lan.receives(frame(packet)) == lan.to_linux("ip_linux_route", frame(packet))
    set_rules(
        router,
        [rule(src="10.0.0.0/8", action=lib.FPC_RULE_BLACKHOLE)] * 62 + [rule(LOCAL), rule(MAIN)],
    )
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


def test_rows_of_lists_and_tables_come_back(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    router.reset()
    before = {
        table: router.used(table) for table in ("rule_set", "route_table", "nexthop", "mtrie4_root")
    }
    router.vrf(0)
    for turn in range(300):
        set_rules(router, own(*(rule(1000 + turn * 8 + i) for i in range(8))))
    router.delete("rule", {"vrf": 0, "family": socket.AF_INET})
    router.reset()
    assert {table: router.used(table) for table in before} == before
    router.vrf(0)


# --- VRF devices


@pytest.fixture
def red(router: Router, lan: Port, wan: Port, alt: Port) -> Port:
    """lan and alt are ports of VRF device red, whose table is 10; wan has none."""
    router.link("red", ifindex=RED)
    for port, net in ((lan, 1), (alt, 3)):
        router.set("iface", port.object() | {"l3mdev": RED, "table": 10})
        router.delete(
            "route", router.route(f"192.0.{net}.1/32", table=LOCAL, type=RTN_LOCAL, dev=port)
        )
        router.delete(
            "route", router.route(f"192.0.{net}.255/32", table=LOCAL, type=RTN_BROADCAST, dev=port)
        )
        router.delete("route", router.route(f"192.0.{net}.0/24", dev=port))
        router.route(f"192.0.{net}.1/32", table=10, type=RTN_LOCAL, dev=port)
        router.route(f"192.0.{net}.0/24", table=10, dev=port)
        router.route(f"2001:db8:{net}::/64", table=10, dev=port, metric=256)
        router.route(f"2001:db8:{net}::1/128", table=10, type=RTN_LOCAL, dev=port)
    for family in (socket.AF_INET, socket.AF_INET6):
        set_rules(router, [rule(LOCAL), rule(l3mdev=True), rule(MAIN)], family=family)
    return alt


def test_ports_of_a_vrf_device_look_up_its_table(
    router: Router, lan: Port, wan: Port, red: Port
) -> None:
    for packet in (udp(dst="192.0.3.10"), udp6(dst="2001:db8:3::10")):
        assert lan.receives(frame(packet)) == sent(red, packet, 3)
    own_address = udp(dst="192.0.3.1")
    assert lan.receives(frame(own_address)) == lan.to_linux("ip_local", frame(own_address))
    own_address = udp6(dst="2001:db8:3::1")
    assert lan.receives(frame(own_address)) == lan.to_linux("ip6_local", frame(own_address))
    # Without a route of its own a VRF device's packet goes on to main, as in Linux; hence the usual last resort.
    packet = udp()
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)
    router.route("0.0.0.0/0", type=RTN_UNREACHABLE, table=10, metric=4278198272)
    assert lan.receives(frame(packet)) == lan.to_linux("ip_unreachable", frame(packet))


def test_ports_without_vrf_device_dont_see_its_table(
    router: Router, lan: Port, wan: Port, red: Port
) -> None:
    packet = udp(src="192.0.2.10", dst="192.0.3.10")
    into = bytes(Ether(src="02:00:00:00:bb:02", dst=wan.mac.hex(":")) / packet)
    # By main's default route, back to where it came from: Linux may send a redirect.
    assert wan.receives(into) == wan.to_linux("ip_same_iface", into)


def test_routes_may_lead_out_of_a_vrf_device(
    router: Router, lan: Port, wan: Port, red: Port
) -> None:
    router.route("203.0.113.0/24", via="192.0.2.10", dev=wan, table=10)
    packet = udp()
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)
    # To the device itself: the next lookup is Linux's.
    router.route("203.0.113.0/25", dev=RED, table=10)
    assert lan.receives(frame(packet)) == lan.to_linux("ip_output_linux", frame(packet))


def test_rules_see_the_vrf_device_as_input(router: Router, lan: Port, wan: Port, red: Port) -> None:
    packet = udp()
    router.route("203.0.113.0/24", via="192.0.3.10", dev=red, table=60)
    for iif, port, net in ((RED, red, 3), (lan.ifindex, wan, 2)):
        set_rules(router, [rule(LOCAL), rule(60, iif=iif), rule(l3mdev=True), rule(MAIN)])
        assert lan.receives(frame(packet)) == sent(port, packet, net)


def test_the_reverse_path_may_be_any_port_of_the_vrf_device(
    router: Router, lan: Port, wan: Port, red: Port
) -> None:
    flags = FORWARDING | lib.FPC_IFACE_RPF
    router.set("iface", lan.object() | {"l3mdev": RED, "table": 10, "flags": flags})
    router.route("198.51.100.0/24", via="192.0.3.10", dev=red, table=10)
    packet = udp(src="198.51.100.1", dst="192.0.3.10")
    assert lan.receives(frame(packet)) == sent(red, packet, 3)
    packet = udp(src="192.0.2.10", dst="192.0.3.10")
    assert lan.receives(frame(packet)) == lan.to_linux("ip_rpf", frame(packet))


def test_a_port_that_leaves_its_vrf_device_looks_up_main_again(
    router: Router, lan: Port, wan: Port, red: Port
) -> None:
    router.route("203.0.113.0/24", via="192.0.3.10", dev=red, table=10)
    packet = udp()
    assert lan.receives(frame(packet)) == sent(red, packet, 3)
    router.set("iface", lan.object())
    assert lan.receives(frame(packet)) == sent(wan, packet, 2)


def test_a_group_of_next_hops_in_another_table(
    router: Router, lan: Port, wan: Port, alt: Port
) -> None:
    router.route(
        "203.0.113.0/24",
        table=70,
        nexthops=[nexthop(wan, "192.0.2.10"), nexthop(alt, "192.0.3.10")],
    )
    set_rules(router, own(rule(70)))
    ports = set()
    for number in range(64):
        out = router.burst(lan.number, [frame(udp(dst=f"203.0.113.{number}"))])
        ports.add(out[0].port)
    assert ports == {wan.number, alt.number}
