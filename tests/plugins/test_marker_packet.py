# SPDX-License-Identifier: BSD-3-Clause
"""The sample plugin marker: DSCP by rule, checksums right, all else untouched."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import HarnessDiedError, Verdict
from tests.plugins.conftest import loaded
from tests.stages.conftest import Net

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
PEER, WAN = "02:00:00:00:bb:10", "02:00:00:00:00:02"
EF = 46


def ip(payload: Packet, **fields: object) -> Packet:
    return IP(**{"src": "192.0.2.10", "dst": "198.51.100.10", **fields}) / payload


def ip6(payload: Packet, **fields: object) -> Packet:
    return IPv6(**{"src": "2001:db8:1::10", "dst": "2001:db8:2::10", **fields}) / payload


def marked(packet: Packet, dscp: int) -> bytes:
    """As a router sends it that gives it this DSCP: scapy computes the checksum."""
    packet = packet.copy()
    if IPv6 in packet:
        packet.tc = dscp << 2 | packet.tc & 3
        packet.hlim -= 1
    else:
        packet.tos = dscp << 2 | packet.tos & 3
        packet.ttl -= 1
    return bytes(Ether(src=WAN, dst=PEER) / packet)


def check(net: Net, packet: Packet, dscp: int, rule: int | None) -> None:
    """The packet leaves with this DSCP, and this rule has counted it."""
    reason = f"marker_rule{rule}" if rule else ""
    verdict = net.lan.receives(bytes(Ether(src=HOST, dst=LAN) / packet))
    assert verdict == Verdict("sent", "wan", reason, marked(packet, dscp))


def test_the_first_rule_that_fits_sets_the_dscp() -> None:
    with loaded("marker,rule=udp:5060-5061:46,rule=udp:40,rule=tcp:22:16,rule=89:48") as net:
        for make in (ip, ip6):
            data = Raw(b"x" * 20)
            check(net, make(UDP(dport=5060) / data), 46, 1)
            check(net, make(UDP(dport=5061) / data), 46, 1)
            check(net, make(UDP(dport=5062) / data), 40, 2)
            check(net, make(TCP(dport=22) / data), 16, 3)
            check(net, make(TCP(dport=23, sport=22) / data), 0, None)
        check(net, ip(Raw(b"x" * 20), proto=89), 48, 4)
        check(net, ip6(Raw(b"x" * 20), nh=89), 48, 4)
        check(net, ip(Raw(b"x" * 20), proto=88), 0, None)


def test_every_dscp_keeps_checksum_ecn_and_flow_label_right() -> None:
    for dscp in (0, 1, 10, 46, 63):
        with loaded(f"marker,rule=any:{dscp}") as net:
            for tos in (0, 1, 3, 0xB8, 0xFF):
                for ident in (0, 1, 0x7FFF, 0xFFFE, 0xFFFF):
                    check(net, ip(UDP() / Raw(b"x"), tos=tos, id=ident), dscp, 1)
                check(net, ip6(UDP() / Raw(b"x"), tc=tos, fl=0xABCDE), dscp, 1)


def test_a_later_fragment_has_no_ports() -> None:
    with loaded("marker,rule=udp:0-65535:46,rule=udp:8") as net:
        check(net, ip(UDP() / Raw(b"x" * 8), flags="MF"), 46, 1)
        check(net, ip(Raw(b"x" * 16), proto=17, frag=1), 8, 2)
        # Behind an IPv6 extension header nothing is looked for.
        check(net, ip6(IPv6ExtHdrFragment() / UDP()), 0, None)


def test_a_packet_without_room_for_ports_has_none() -> None:
    with loaded("marker,rule=udp:0-65535:46") as net:
        check(net, ip(Raw(b"xx"), proto=17), 0, None)
        check(net, ip6(Raw(b"xxx"), nh=17), 0, None)


def test_linux_never_gets_a_marked_packet() -> None:
    with loaded("marker,rule=any:46") as net:
        for packet, reason in (
            (ip(UDP(), ttl=1), "ip_ttl"),
            (ip(UDP(), dst="198.51.100.99"), "ip_neighbour"),
            (ip6(UDP(), dst="2001:db8:2::99"), "ip6_neighbour"),
        ):
            frame = bytes(Ether(src=HOST, dst=LAN) / packet)
            assert net.lan.receives(frame) == net.lan.to_linux(reason, frame)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        ",rule=udp",
        ",rule=udp:64",
        ",rule=udp:1-2",
        ",rule=udp:5-4:1",
        ",rule=udp:65536:1",
        ",rule=256:1",
        ",rule=quic:1",
        ",rule=udp:1:2:3",
        ",rule=udp:-1",
        ",other=1",
        ",rule=",
    ],
)
def test_a_wrong_rule_is_refused(arguments: str) -> None:
    with pytest.raises(HarnessDiedError, match="plugin marker: "), loaded(f"marker{arguments}"):
        pass


def test_more_rules_than_there_is_room_for_are_refused() -> None:
    with loaded("marker" + ",rule=any:1" * 32):
        pass
    with (
        pytest.raises(HarnessDiedError, match="more than 32 rules"),
        loaded("marker" + ",rule=any:1" * 33),
    ):
        pass
