# SPDX-License-Identifier: BSD-3-Clause
"""Which exceptions are the control plane's, and what each class may have of the budget."""

import struct
from collections import Counter

import pytest
from scapy.contrib.igmp import IGMP
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, LLC, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import CLASSES, Port, Router

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
OURS4, OURS6 = "192.0.2.1", "2001:db8:1::1"
HOST4, HOST6 = "192.0.2.10", "2001:db8:1::10"
BEYOND4 = "198.51.100.10"
CONTROL, LOCAL, FORWARDED = range(3)


def ether(packet: Packet, *, dst: str = LAN, **fields: object) -> bytes:
    return bytes(Ether(src=HOST, dst=dst, **fields) / packet)


def ip4(payload: Packet, **fields: object) -> bytes:
    return ether(IP(**{"src": HOST4, "dst": OURS4, **fields}) / payload)


def ip6(payload: Packet, **fields: object) -> bytes:
    return ether(IPv6(**{"src": HOST6, "dst": OURS6, **fields}) / payload)


def udp(port: int, payload: bytes = b"\1" * 24, *, source: int = 49152) -> Packet:
    return UDP(sport=source, dport=port) / Raw(payload)


def class_of(router: Router, port: Port, frame: bytes) -> str:
    """The class under which one frame was handed to Linux."""
    before = router.classes()
    assert port.receives(frame).kind == "linux"
    after = router.classes()
    moved = [name for name in CLASSES if after[name] - before[name]]
    assert len(moved) == 1
    return moved[0]


ESP_IN_UDP = struct.pack("!II", 0x01020304, 1) + bytes(16)
CONTROL_FRAMES = {
    "arp": ether(ARP(op="is-at", psrc=HOST4, pdst=OURS4)),
    "arp broadcast": ether(ARP(psrc=HOST4, pdst=OURS4), dst="ff:ff:ff:ff:ff:ff"),
    "arp in a vlan": ether(Dot1Q(vlan=5) / ARP(psrc=HOST4, pdst=OURS4)),
    "lacp": ether(Raw(bytes(50)), dst="01:80:c2:00:00:02", type=0x8809),
    "lldp": ether(Raw(bytes(50)), dst="01:80:c2:00:00:0e", type=0x88CC),
    "eapol": ether(Raw(bytes(50)), dst="01:80:c2:00:00:03", type=0x888E),
    "spanning tree": bytes(Dot3(src=HOST, dst="01:80:c2:00:00:00") / LLC() / STP()),
    "is-is": bytes(
        Dot3(src=HOST, dst="01:80:c2:00:00:15") / LLC(dsap=0xFE, ssap=0xFE) / Raw(bytes(40))
    ),
    "igmp": ether(IP(src=HOST4, dst="224.0.0.1", ttl=1) / IGMP(), dst="01:00:5e:00:00:01"),
    "rsvp": ip4(Raw(bytes(20)), proto=46),
    "eigrp": ip4(Raw(bytes(20)), proto=88),
    "ospf": ether(
        IP(src=HOST4, dst="224.0.0.5", proto=89, ttl=1) / Raw(bytes(44)), dst="01:00:5e:00:00:05"
    ),
    "ospf unicast": ip4(Raw(bytes(44)), proto=89),
    "ospfv3": ip6(Raw(bytes(36)), nh=89),
    "pim": ip4(Raw(bytes(20)), proto=103),
    "vrrp": ether(
        IP(src=HOST4, dst="224.0.0.18", proto=112, ttl=255) / Raw(bytes(20)),
        dst="01:00:5e:00:00:12",
    ),
    "vrrp for ipv6": ip6(Raw(bytes(20)), nh=112),
    "neighbour solicitation": ip6(ICMPv6ND_NS(tgt=OURS6), hlim=255),
    "neighbour advertisement": ip6(ICMPv6ND_NA(tgt=HOST6), hlim=255),
    "router solicitation": ether(
        IPv6(src="fe80::1", dst="ff02::2", hlim=255) / ICMPv6ND_RS(), dst="33:33:00:00:00:02"
    ),
    "mld": ether(
        IPv6(src="fe80::1", dst="ff02::1", hlim=1)
        / IPv6ExtHdrHopByHop(options=[RouterAlert()])
        / ICMPv6MLQuery(),
        dst="33:33:00:00:00:01",
    ),
    "dhcp request": ether(
        IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP()
        / DHCP(options=[("message-type", "discover"), "end"]),
        dst="ff:ff:ff:ff:ff:ff",
    ),
    "dhcp answer": ip4(udp(68, source=67)),
    "dhcpv6": ip6(udp(547)),
    "dhcpv6 answer": ip6(udp(546)),
    "ike": ip4(udp(500, source=500)),
    "ike on 4500": ip4(udp(4500, bytes(4) + b"\1" * 24)),
    "rip": ip4(udp(520, source=520)),
    "ripng": ip6(udp(521, source=521)),
    "ldp hello": ip4(udp(646, source=646)),
    "bfd": ip4(udp(3784), ttl=255),
    "bfd echo": ip4(udp(3785), ttl=255),
    "bfd multihop": ip4(udp(4784)),
    "bfd on a lag": ip4(udp(6784), ttl=255),
    "bfd for ipv6": ip6(udp(3784), hlim=255),
    "bgp": ip4(TCP(sport=49152, dport=179, flags="S"), ttl=1),
    "bgp answer": ip4(TCP(sport=179, dport=49152, flags="SA")),
    "bgp over ipv6": ip6(TCP(sport=49152, dport=179, flags="S"), hlim=1),
    "ldp session": ip4(TCP(sport=49152, dport=646)),
    "bgp in two vlans": ether(
        Dot1AD(vlan=5) / Dot1Q(vlan=6) / IP(src=HOST4, dst=OURS4) / TCP(dport=179)
    ),
    "behind options": ip4(Raw(bytes(44)), proto=89, options=[b"\x94\x04\0\0"]),
    "ospf in ah": ip4(Raw(bytes([89, 4, 0, 0]) + bytes(20) + bytes(44)), proto=51),
    "ospfv3 in ah": ip6(Raw(bytes([89, 4, 0, 0]) + bytes(20) + bytes(36)), nh=51),
    "behind extension headers": ip6(IPv6ExtHdrDestOpt() / udp(3784), hlim=255),
    "first fragment": ip6(IPv6ExtHdrFragment(m=1) / udp(3784)),
    "later fragment of ospf": bytes(
        fragment(IP(src=HOST4, dst=OURS4, proto=89) / Raw(bytes(2000)), 800)[1]
    ),
    "later fragment of ospfv3": ip6(IPv6ExtHdrFragment(nh=89, offset=100) / Raw(bytes(36))),
}
CONTROL_FRAMES["later fragment of ospf"] = ether(
    Raw(CONTROL_FRAMES["later fragment of ospf"]), type=0x0800
)
OTHER_FRAMES = {
    "ping": ip4(ICMP()),
    "ping over ipv6": ip6(ICMPv6EchoRequest()),
    "ssh": ip4(TCP(sport=49152, dport=22)),
    "esp on 4500": ip4(udp(4500, ESP_IN_UDP)),
    "keepalive on 4500": ip4(udp(4500, b"\xff")),
    "from bfd's port": ip4(udp(33434, source=3784)),
    "later fragment of udp": ip4(Raw(struct.pack("!HHHH", 1, 3784, 32, 0) * 4), proto=17, frag=8),
    "ports behind the packet's end": ip4(Raw(b""), proto=17) + struct.pack("!HHHH", 1, 3784, 8, 0),
    "icmpv6 in ipv4": ip4(Raw(bytes([135]) + bytes(23)), proto=58),
    "udp cut short": ip4(Raw(struct.pack("!HHH", 1, 3784, 8)), proto=17),
    "no payload": ip4(Raw(b""), proto=6),
}


@pytest.mark.parametrize("name", CONTROL_FRAMES)
def test_the_control_plane_is_recognised(router: Router, lan: Port, name: str) -> None:
    assert class_of(router, lan, CONTROL_FRAMES[name]) == "control"


@pytest.mark.parametrize("name", CONTROL_FRAMES)
def test_a_frame_cut_short_anywhere_is_read_only_as_far_as_it_goes(
    router: Router, lan: Port, name: str
) -> None:
    """The harness fills what lies behind with bytes that aren't a packet's; ASan sees the rest."""
    frame = CONTROL_FRAMES[name]
    for length in range(14, len(frame)):
        lan.receives(frame[:length])


@pytest.mark.parametrize("name", OTHER_FRAMES)
def test_other_packets_for_this_host_are_local(router: Router, lan: Port, name: str) -> None:
    assert class_of(router, lan, OTHER_FRAMES[name]) == "local"


def test_other_broadcasts_are_local(router: Router, lan: Port) -> None:
    frame = ether(IP(src=HOST4, dst="192.0.2.255") / udp(137), dst="ff:ff:ff:ff:ff:ff")
    assert class_of(router, lan, frame) == "local"


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (udp(33434), {"dst": BEYOND4, "ttl": 1}),
        (udp(9), {"dst": "203.0.113.1"}),
        (udp(9), {"dst": "198.51.100.99"}),
    ],
    ids=["time exceeded", "no route", "neighbour"],
)
def test_what_linux_answers_or_forwards_is_the_last_class(
    router: Router, lan: Port, wan: Port, payload: Packet, fields: dict[str, object]
) -> None:
    assert class_of(router, lan, ip4(payload, **fields)) == "forwarded"


@pytest.mark.parametrize("dst", ["203.0.113.1", "198.51.100.99"], ids=["no route", "neighbour"])
def test_a_control_plane_packet_for_others_has_no_part_in_its_budget(
    router: Router, lan: Port, wan: Port, dst: str
) -> None:
    """Or anyone could use it up by sending through the router."""
    assert class_of(router, lan, ip4(TCP(dport=179), dst=dst)) == "forwarded"


def test_a_control_plane_packet_that_is_forwarded_is_no_exception(
    router: Router, lan: Port, wan: Port
) -> None:
    assert lan.receives(ip4(TCP(dport=179), dst=BEYOND4)).kind == "sent"


# --- budgets

BURST = 32  # packets that may come at once where rates are low
PING, BFD, LOST = OTHER_FRAMES["ping"], CONTROL_FRAMES["bfd"], ip4(udp(9), dst="203.0.113.1")


def counts(router: Router, port: Port, frames: list[bytes]) -> tuple[Counter[str], Counter[str]]:
    """What became of a burst: reasons, and classes that reached Linux."""
    before, classes = router.counters(), router.classes()
    router.burst(port.number, frames)
    passed = {"control": {"ip_local"}, "local": {"ip_local"}, "forwarded": {"ip_no_route"}}
    after = router.classes()
    moved = {name: after[name] - classes[name] for name in CLASSES}
    taken = Counter({name: sum(moved[name][r] for r in passed[name]) for name in CLASSES})
    reasons = router.counters() - before
    assert sum((moved[name] for name in CLASSES), Counter()) == reasons
    return reasons, +taken


def test_a_port_s_flood_ends_at_its_budget_and_the_control_plane_has_its_own(
    router: Router, lan: Port, wan: Port
) -> None:
    router.limit_exceptions(rate=1, control=1)
    _, taken = counts(router, lan, [PING] * 60)
    assert BURST / 2 <= taken["local"] <= BURST
    reasons, taken = counts(router, lan, [PING] * 20 + [BFD] * 20)
    assert taken == {"control": 20}
    assert reasons == {"ip_local": 20, "exception_budget": 20}


def test_the_control_plane_s_budget_ends_too(router: Router, lan: Port, wan: Port) -> None:
    router.limit_exceptions(control=1)
    reasons, _ = counts(router, lan, [BFD] * 60)
    assert reasons == {"ip_local": BURST, "exception_control": 60 - BURST}
    # and nobody else's with it
    assert counts(router, lan, [PING] * 20)[1] == {"local": 20}


@pytest.mark.parametrize(
    ("flood", "victim"), [(PING, "forwarded"), (LOST, "local")], ids=["local", "forwarded"]
)
def test_a_flood_of_one_class_leaves_the_other_its_share(
    router: Router, lan: Port, wan: Port, flood: bytes, victim: str
) -> None:
    router.limit_exceptions(rate=1)
    counts(router, lan, [flood] * 64)
    other = LOST if victim == "forwarded" else PING
    assert counts(router, lan, [other] * 8)[1] == {victim: 8}


def test_all_ports_together_have_a_budget_and_a_port_keeps_its_share(
    router: Router, lan: Port, wan: Port
) -> None:
    router.limit_exceptions(total=1, ports=2)
    reasons, taken = counts(router, lan, [PING] * 64)
    assert reasons["exception_total"] == 64 - taken["local"]
    assert BURST / 2 <= taken["local"] <= BURST
    frame = bytes(
        Ether(src=HOST, dst="02:00:00:00:00:02") / IP(src=BEYOND4, dst="198.51.100.1") / ICMP()
    )
    assert counts(router, wan, [frame] * 4)[1] == {"local": 4}


def test_without_a_flood_nothing_is_dropped(router: Router, lan: Port, wan: Port) -> None:
    router.limit_exceptions(rate=20000, total=100000, control=20000, control_total=100000, ports=2)
    reasons, _ = counts(router, lan, [PING, BFD, LOST] * 21)
    assert reasons == {"ip_local": 42, "ip_no_route": 21}


# --- an overloaded port


def test_an_overloaded_port_s_control_plane_goes_first(
    router: Router, lan: Port, wan: Port
) -> None:
    router.overload(on=True)
    arp, forwarded = CONTROL_FRAMES["arp"], ip4(udp(9), dst=BEYOND4)
    out = router.burst(lan.number, [PING, forwarded, arp, LOST, BFD, forwarded, PING])
    linux = [o.frame for o in out if o.kind == "linux"]
    assert linux[:2] == [arp, BFD]
    assert sorted(linux[2:]) == sorted([PING, LOST, PING])
    assert [o.kind for o in out].count("sent") == 2


def test_an_overloaded_port_s_other_exceptions_have_their_share_only(
    router: Router, lan: Port, wan: Port
) -> None:
    router.limit_exceptions(rate=1, control=1)
    router.overload(on=True)
    reasons, taken = counts(router, lan, [PING] * 30 + [BFD] * 30)
    assert taken["control"] == 30
    assert taken["local"] == BURST / 4
    assert reasons == {"ip_local": 30 + BURST // 4, "exception_overload": 30 - BURST // 4}


# --- the queues to Linux


def test_the_control_plane_is_written_before_all_else(router: Router, lan: Port) -> None:
    frames = [
        (port, number, bytes([port, number, i]) * 5)
        for i in range(10)
        for number in (FORWARDED, LOCAL, CONTROL)
        for port in (0, 1, 2)
    ]
    out = [o.frame for o in router.queued(frames)]
    assert sorted(out) == sorted(frame for _, _, frame in frames)
    assert all(frame[1] == CONTROL for frame in out[:30])
    assert all(frame[1] != CONTROL for frame in out[30:])


def test_the_other_queues_take_turns_and_keep_their_order(router: Router, lan: Port) -> None:
    frames = [
        (port, number, bytes([port, number, i]) * 5)
        for port in (0, 1)
        for number in (LOCAL, FORWARDED)
        for i in range(12)
    ]
    out = [o.frame[:3] for o in router.queued(frames)]
    for port in (0, 1):
        for number in (LOCAL, FORWARDED):
            assert [f[2] for f in out if (f[0], f[1]) == (port, number)] == list(range(12))
    # A batch of each, then the next of each.
    assert len({frame[:2] for frame in out[:16]}) == 4
