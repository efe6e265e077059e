# SPDX-License-Identifier: BSD-3-Clause
"""Rules and stages: whoever looks up a packet's route, and when, asks the rules."""

import socket
from typing import Any

import pytest
from _sluice import lib
from scapy.packet import Packet

from tests.mss.test_mss_packet import passed, syn
from tests.packet.harness import Port, Router
from tests.rule.test_rule_packet import own, rule, set_rules
from tests.stages.conftest import Net, net, probed
from tests.stages.test_stages_packet import PEER, forwarded, frame, udp, udp6

pytestmark = pytest.mark.packet

__all__ = ["net"]

DETOUR = bytes.fromhex("02000000bb20")
BOTH = pytest.mark.parametrize("version", [4, 6])


def detour(net: Net) -> None:
    """In table 100 all goes to another router on wan."""
    for via, prefix in (("198.51.100.20", "0.0.0.0/0"), ("2001:db8:2::20", "::/0")):
        net.router.neighbour(via, net.wan, DETOUR.hex(":"))
        net.router.route(prefix, via=via, dev=net.wan, table=100)


def ask(net: Net, version: int, *rules: dict[str, Any]) -> None:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    set_rules(net.router, own(*rules), family=family)


def goes_to(net: Net, packet: Packet) -> bytes:
    """The MAC that the one packet is sent to."""
    (out,) = net.router.burst(net.lan.number, [frame(packet)])
    assert out.port == net.wan.number
    assert out.frame[12:] == forwarded(packet)[12:]
    return out.frame[:6]


def a_packet(version: int) -> Packet:
    return udp() if version == 4 else udp6()


@BOTH
@pytest.mark.parametrize("what", ["filter:pass", "filter:hold", "mss:pass", "mss:hide"])
def test_who_passes_stages_meets_the_rules(version: int, what: str) -> None:
    stage = f"ip{'' if version == 4 else '6'}_{what}"
    with probed(f"at={stage}") as net:
        detour(net)
        packet = a_packet(version)
        ask(net, version, rule(100, iif=net.lan.ifindex))
        (out,) = net.router.burst(net.lan.number, [frame(packet)]) or net.router.poll()
        assert out.frame == DETOUR + forwarded(packet)[6:]
        ask(net, version, rule(100, iif=net.wan.ifindex))
        (out,) = net.router.burst(net.lan.number, [frame(packet)]) or net.router.poll()
        assert out.frame == forwarded(packet)


def test_a_next_hop_that_policy_chose_stays() -> None:
    with probed("at=ip_policy:steer") as net:
        detour(net)
        rows = net.router.rows("nexthop", "nexthop_row")
        row = next(i for i in range(1, 100) if rows[i].family == socket.AF_INET)
        ask(net, 4, rule(action=lib.FPC_RULE_BLACKHOLE))
        assert goes_to(net, udp(sport=row)) == DETOUR


def test_packets_of_our_own_come_from_nowhere() -> None:
    with probed("at=ip_nat:own") as net:
        detour(net)
        packet = udp(ttl=10)
        for asked, mac in (
            (rule(100, iif=net.lan.ifindex), PEER),
            (rule(100, iif=1), DETOUR.hex(":")),
            (rule(100, src="192.0.2.0/24"), DETOUR.hex(":")),
            (rule(100, l3mdev=True), PEER),
        ):
            ask(net, 4, asked)
            (out,) = net.router.burst(net.lan.number, [frame(udp(ttl=9))])
            assert out.frame == bytes.fromhex(mac.replace(":", "")) + forwarded(packet)[6:]


@BOTH
def test_an_mss_clamp_looks_up_the_way_back_as_linux_does(net: Net, version: int) -> None:
    """By the destination alone."""
    router: Router = net.router
    lan: Port = net.lan
    back, least = ("192.0.2.10/32", 40) if version == 4 else ("2001:db8:1::10/128", 60)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    router.set(
        "mss",
        {
            "family": family, "tcp_mask": 2, "tcp_value": 2, "flags": lib.FPC_MSS_ROUTE,
            "input": b"", "output": b"",
        },
    )  # fmt: skip
    packet = syn(version)
    router.route(back, dev=lan, mtu=1300, table=100)
    for asked, size in (
        (rule(100, dst=back), 1300),
        (rule(100), 1300),
        (rule(100, iif=lan.ifindex, dst=back), None),
        (rule(100, src=back), None),
        (rule(100, dst=back, proto=6), None),
        (rule(100, l3mdev=True), None),
    ):
        ask(net, version, asked)
        expected = passed(packet, (size or 1500) - least)
        assert lan.receives(frame(packet)) == net.wan.sent(expected)
