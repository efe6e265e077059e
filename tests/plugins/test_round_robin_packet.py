# SPDX-License-Identifier: BSD-3-Clause
"""The sample plugin round_robin: flows go to servers in turn and stay there, answers come from the virtual address.

clients -- lan [router] wan -- servers 198.51.100.11, .12, .13; virtual address 203.0.113.80, port 80
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import HarnessDiedError, Verdict
from tests.plugins.conftest import loaded
from tests.stages.conftest import Net

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
WAN = "02:00:00:00:00:02"
VIRTUAL = "203.0.113.80"
SERVERS = ["198.51.100.11", "198.51.100.12", "198.51.100.13"]
BASE = f"round_robin,address={VIRTUAL},port=80,servers={'/'.join(SERVERS)}"


def prepare(net: Net) -> Net:
    for number, server in enumerate(SERVERS):
        net.router.neighbour(server, net.wan, f"02:00:00:00:bb:{0x11 + number:02x}")
    net.router.clock(1000)
    return net


@pytest.fixture
def net() -> Iterator[Net]:
    with loaded(BASE) as net:
        yield prepare(net)


def request(sport: int, *, layer: type[Packet] = TCP, **fields: object) -> Packet:
    fields = {"src": "192.0.2.10", "dst": VIRTUAL, **fields}
    return IP(**fields) / layer(sport=sport, dport=80) / Raw(b"x" * 11)


def chosen(net: Net, packet: Packet) -> str:
    """The server that the packet went to. All of it is as it should be, checksums too."""
    (out,) = net.router.burst(net.lan.number, [bytes(Ether(src=HOST, dst=LAN) / packet)])
    server = IP(out.frame[14:]).dst
    expected = packet.copy()
    expected.dst = server
    expected.ttl -= 1
    lladdr = f"02:00:00:00:bb:{0x11 + SERVERS.index(server):02x}"
    assert (out.kind, out.port) == ("sent", net.wan.number)
    assert out.frame == bytes(Ether(src=WAN, dst=lladdr) / expected)
    return server


@pytest.mark.parametrize("layer", [TCP, UDP])
def test_flows_go_to_servers_in_turn_and_stay(net: Net, layer: type[Packet]) -> None:
    first = [chosen(net, request(port, layer=layer)) for port in range(1024, 1024 + 30)]
    assert first == SERVERS * 10
    again = [chosen(net, request(port, layer=layer)) for port in range(1024, 1024 + 30)]
    assert again == first
    counters = net.router.counters()
    assert [counters[f"round_robin_server{i}"] for i in (1, 2, 3)] == [20, 20, 20]
    assert counters["round_robin_flows"] == 30


def test_clients_protocols_and_ports_are_different_flows(net: Net) -> None:
    """Whatever is different is a flow of its own: all servers get as many."""
    packets = [
        request(port, layer=layer, src=src)
        for src in ("192.0.2.10", "192.0.2.11", "192.0.2.12")
        for layer in (TCP, UDP)
        for port in (1, 0x100, 0xFFFF)
    ]
    assert Counter(chosen(net, packet) for packet in packets) == dict.fromkeys(SERVERS, 6)


def test_a_silent_flow_is_forgotten() -> None:
    with loaded(f"{BASE},timeout=10") as net:
        prepare(net)
        assert chosen(net, request(1)) == SERVERS[0]
        for now in (1010, 1020):
            net.router.clock(now)
            assert chosen(net, request(1)) == SERVERS[0]
        net.router.clock(1031)
        assert chosen(net, request(1)) == SERVERS[1]


def test_packets_go_to_servers_in_turn_if_asked_for() -> None:
    with loaded(f"{BASE},mode=packets") as net:
        prepare(net)
        assert [chosen(net, request(1)) for _ in range(6)] == SERVERS * 2


def test_more_flows_than_there_is_room_for_are_still_served(net: Net) -> None:
    """There's room for 16,384."""
    whole = bytearray(bytes(Ether(src=HOST, dst=LAN) / request(0, layer=UDP)))
    whole[40:42] = bytes(2)  # no UDP checksum
    for start in range(1, 20000, 50):
        frames = []
        for port in range(start, start + 50):
            whole[34:36] = port.to_bytes(2)
            frames.append(bytes(whole))
        out = net.router.burst(net.lan.number, frames)
        assert {o.kind for o in out} == {"sent"} and len(out) == 50
    counters = net.router.counters()
    assert counters["round_robin_flows"] == 20000
    found = [counters[f"round_robin_server{i}"] for i in (1, 2, 3)]
    assert sum(found) == 20000 and max(found) - min(found) <= 1


@pytest.mark.parametrize("layer", [TCP, UDP])
def test_answers_come_from_the_virtual_address(net: Net, layer: type[Packet]) -> None:
    for server in SERVERS:
        answer = IP(src=server, dst="192.0.2.10") / layer(sport=80, dport=1024) / Raw(b"y" * 7)
        verdict = net.wan.receives(bytes(Ether(src="02:00:00:00:bb:11", dst=WAN) / answer))
        answer.src = VIRTUAL
        answer.ttl -= 1
        assert verdict == Verdict(
            "sent", "lan", "round_robin_answers", bytes(Ether(src=LAN, dst=HOST) / answer)
        )


def test_every_address_and_sum_gives_right_checksums(net: Net) -> None:
    """UDP without a checksum stays without; a sum of zero is written as all ones."""
    for ident in range(0, 65536, 2621):
        for load in (b"", b"\0\0", b"\xff\xff", ident.to_bytes(2)):
            packet = IP(src="192.0.2.10", dst=VIRTUAL, id=ident) / UDP(sport=7, dport=80)
            chosen(net, packet / Raw(load) if load else packet)
    for value in range(0, 65536, 257):
        packet = IP(src="192.0.2.10", dst=VIRTUAL) / UDP(sport=7, dport=80) / value.to_bytes(2)
        chosen(net, packet)
    nosum = IP(src="192.0.2.10", dst=VIRTUAL) / UDP(sport=7, dport=80, chksum=0) / Raw(b"x")
    chosen(net, nosum)


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="192.0.2.10", dst="198.51.100.10") / TCP(dport=80),
        IP(src="192.0.2.10", dst="198.51.100.11") / TCP(dport=80, sport=81),
        IP(src="192.0.2.10", dst="198.51.100.11") / TCP(dport=81, sport=80),
    ],
)
def test_other_packets_take_their_way(net: Net, packet: Packet) -> None:
    net.router.neighbour("198.51.100.10", net.wan, "02:00:00:00:bb:10")
    verdict = net.lan.receives(bytes(Ether(src=HOST, dst=LAN) / packet))
    assert (verdict.kind, verdict.port, verdict.reason) == ("sent", "wan", "")
    assert IP(verdict.frame[14:]).dst == packet.dst


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (request(1, dst=VIRTUAL, flags="MF"), "ip_no_route"),
        (request(1, dst=VIRTUAL, frag=1), "ip_no_route"),
        (IP(src="192.0.2.10", dst=VIRTUAL) / TCP(dport=81), "ip_no_route"),
        (IP(src="192.0.2.10", dst=VIRTUAL) / ICMP(), "ip_no_route"),
        (IP(src="192.0.2.10", dst=VIRTUAL, proto=17) / Raw(b"\0\x07\0\x50"), "ip_no_route"),
        (
            IP(src="192.0.2.10", dst=VIRTUAL, proto=6) / Raw(b"\0\x07\0\x50" + 12 * b"x"),
            "ip_no_route",
        ),
    ],
    ids=["first fragment", "later fragment", "other port", "ICMP", "short UDP", "short TCP"],
)
def test_what_it_cannot_balance_is_as_without_it(net: Net, packet: Packet, reason: str) -> None:
    frame = bytes(Ether(src=HOST, dst=LAN) / packet)
    assert net.lan.receives(frame) == net.lan.to_linux(reason, frame)


def test_linux_resolves_a_servers_neighbour(net: Net) -> None:
    """It gets the packet with the server's address, and so looks for the server."""
    with loaded(f"round_robin,address={VIRTUAL},port=80,servers=198.51.100.77") as other:
        packet = request(1)
        (out,) = other.router.burst(other.lan.number, [bytes(Ether(src=HOST, dst=LAN) / packet)])
        packet.dst = "198.51.100.77"
        assert (out.kind, out.frame) == ("linux", bytes(Ether(src=HOST, dst=LAN) / packet))


def test_two_plugins_work_together() -> None:
    with loaded(BASE, "marker,rule=tcp:80:46") as net:
        prepare(net)
        frame = bytes(Ether(src=HOST, dst=LAN) / request(1))
        verdict = net.lan.receives(frame)
        assert verdict.reason == "marker_rule1 and round_robin_flows and round_robin_server1"
        assert IP(verdict.frame[14:]).tos == 46 << 2
        assert IP(verdict.frame[14:]).dst == SERVERS[0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", "it needs address=, port= and servers="),
        (",address=1.2.3", "address= isn't an IPv4 address"),
        (",address=::1", "address= isn't an IPv4 address"),
        (",port=0", "port= isn't"),
        (",port=65536", "port= isn't"),
        (",port=http", "port= isn't"),
        (",servers=1.2.3.4;5.6.7.8", "servers= isn't"),
        (",servers=" + "/".join(["192.0.2.1"] * 17), "more than 16 servers"),
        (",mode=random", "mode= is flows or packets"),
        (",timeout=0", "timeout= isn't"),
        (",weight=1", "its arguments are"),
        (",address", "address= isn't"),
    ],
)
def test_wrong_arguments_are_refused(arguments: str, text: str) -> None:
    with (
        pytest.raises(HarnessDiedError, match=f"plugin round_robin: {text}"),
        loaded(f"round_robin{arguments}"),
    ):
        pass
