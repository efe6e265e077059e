# SPDX-License-Identifier: BSD-3-Clause
"""Routes with several next hops: each flow keeps to one of them, all flows divide as the weights say."""

import random
from collections import Counter
from ipaddress import ip_address

import pytest
from _sluice import lib
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.packet.harness import Port, Refused, Router, nexthop, route_object

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
DST = {4: "203.0.113.0/24", 6: "2001:db8:3::/64"}
VERSIONS = pytest.mark.parametrize("version", [4, 6])
PORTS = lib.FPC_VRF_MULTIPATH4_PORTS | lib.FPC_VRF_MULTIPATH6_PORTS
LINUX = lib.FPC_VRF_MULTIPATH4_LINUX | lib.FPC_VRF_MULTIPATH6_LINUX


@pytest.fixture
def lan(router: Router) -> Port:
    return router.port("lan")


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    """Gateways .1 to .80 behind it have MACs that end with their number; so have fe80::1 to ::50."""
    port = router.port("wan")
    for low in range(1, 81):
        router.neighbour(f"192.0.2.{low}", port, f"02:00:00:00:bb:{low:02x}")
        router.neighbour(f"fe80::{low:x}", port, f"02:00:00:00:bb:{low:02x}")
    return port


def gateway(version: int, low: int) -> str:
    return f"192.0.2.{low}" if version == 4 else f"fe80::{low:x}"


def hops(
    wan: Port, version: int, weights: dict[int, int], flags: int = 0
) -> list[dict[str, object]]:
    return [
        nexthop(wan, gateway(version, low), weight=weight, flags=flags)
        for low, weight in weights.items()
    ]


def packet(
    rng: random.Random, version: int, src: int | None = None, dst: int | None = None
) -> Packet:
    low = rng.randrange(1, 255) if dst is None else dst
    if version == 4:
        source = ip_address(0x0A000000 + (rng.randrange(1 << 24) if src is None else src))
        return IP(src=str(source), dst=f"203.0.113.{low}")
    source6 = ip_address((0x20010DB8 << 96) + (rng.randrange(1 << 32) if src is None else src))
    return IPv6(src=str(source6), dst=f"2001:db8:3::{low:x}")


def chosen(lan: Port, ip: Packet) -> int | str:
    verdict = lan.receives(bytes(Ether(src=HOST, dst=LAN) / ip))
    if verdict.kind != "sent":
        return verdict.reason.replace("ip6_", "").replace("ip_", "")
    assert verdict.frame[:5] == bytes.fromhex("02000000bb")
    return verdict.frame[5]


def shares(lan: Port, version: int, n: int = 600) -> Counter[int | str]:
    rng = random.Random(version)
    return Counter(chosen(lan, packet(rng, version) / UDP()) for _ in range(n))


@VERSIONS
def test_flows_divide_as_the_weights_say(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    router.route(DST[version], nexthops=hops(wan, version, {1: 1, 2: 2, 3: 3}))
    found = shares(lan, version)
    assert sum(found.values()) == 600
    for low, share in ((1, 100), (2, 200), (3, 300)):
        assert abs(found[low] - share) < 50, found


def group_number(router: Router) -> int:
    """Row of the only group."""
    assert router.used("nexthop_group") == 1
    nexthops = router.rows("nexthop", "nexthop_row")
    (number,) = {nexthops[i].group for i in range(1, 1024) if nexthops[i].type == lib.NEXTHOP_GROUP}
    return int(number)


@VERSIONS
def test_the_slots_are_divided_as_linux_divides_its_hash(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    """Any weights: each next hop's end is its sum of weights, rounded; none has no slot."""
    rng = random.Random(version)
    for _ in range(50):
        weights = {
            low: rng.choice((1, 1, 3, 256))
            for low in rng.sample(range(1, 81), rng.randrange(2, 65))
        }
        made = router.route(DST[version], nexthops=hops(wan, version, weights))
        group = router.rows("nexthop_group", "nexthop_group_row")[group_number(router)]
        nexthops = router.rows("nexthop", "nexthop_row")
        at = 4 if version == 4 else 16
        slots = [bytes(nexthops[number].gateway)[at - 1] for number in group.slot]
        total, before, end = sum(weights.values()), 0, 0
        for left, (low, weight) in zip(
            range(len(weights) - 1, -1, -1), weights.items(), strict=True
        ):
            before += weight
            after = min(max((before * 256 + total // 2) // total, end + 1), 256 - left)
            assert slots[end:after] == [low] * (after - end)
            end = after
        assert end == 256
        router.delete("route", made)
        assert router.used("nexthop_group") == 0
        assert router.used("nexthop") == 1


@VERSIONS
def test_without_ports_only_addresses_count(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    router.route(DST[version], nexthops=hops(wan, version, {1: 1, 2: 1}))
    rng = random.Random(version)
    for _ in range(20):
        src, dst = rng.randrange(1 << 24), rng.randrange(1, 255)
        ways = {
            chosen(lan, packet(rng, version, src, dst) / UDP(sport=port, dport=port * 3))
            for port in range(1000, 1010)
        }
        assert len(ways) == 1


@VERSIONS
def test_with_ports_flows_of_two_hosts_divide(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    router.vrf(0, flags=PORTS)
    router.route(DST[version], nexthops=hops(wan, version, {1: 1, 2: 1}))
    rng = random.Random(version)
    for layer in (UDP, TCP):
        found = Counter(
            chosen(lan, packet(rng, version, 1, 1) / layer(sport=port, dport=80))
            for port in range(1000, 1200)
        )
        assert 60 < found[1] < 140, found
        assert found[1] + found[2] == 200
    ways = {
        chosen(lan, packet(rng, version, 1, 1) / TCP(sport=9, dport=80, seq=n)) for n in range(9)
    }
    assert len(ways) == 1


def test_all_fragments_go_one_way(router: Router, lan: Port, wan: Port) -> None:
    router.vrf(0, flags=PORTS)
    router.route(DST[4], nexthops=hops(wan, 4, {1: 1, 2: 1}))
    rng = random.Random(1)
    for port in range(1000, 1020):
        first = packet(rng, 4, port, 1) / UDP(sport=port) / bytes(24)
        first.flags = "MF"
        later = packet(rng, 4, port, 1) / bytes(rng.randrange(256) for _ in range(32))
        later.proto, later.frag = 17, 4
        assert chosen(lan, first) == chosen(lan, later) in (1, 2)


@VERSIONS
def test_icmp_errors_go_with_the_flow_they_are_about(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    router.route(DST[version], nexthops=hops(wan, version, {1: 1, 2: 1}))
    rng = random.Random(version)
    for _ in range(20):
        flow = packet(rng, version) / UDP(sport=5, dport=6)
        back = flow.copy()
        back.src, back.dst = flow.dst, flow.src
        error = packet(rng, version, dst=int(ip_address(flow.dst)) & 0xFF)
        kind = ICMP(type=11) if version == 4 else ICMPv6TimeExceeded()
        assert chosen(lan, error / kind / back) == chosen(lan, flow)


@VERSIONS
def test_where_only_linux_can_choose_it_does(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    router.route(DST[version], nexthops=hops(wan, version, {1: 1, 2: 1}))
    router.vrf(0, flags=LINUX)
    assert shares(lan, version, 20) == {"linux_route": 20}
    router.vrf(0)
    assert set(shares(lan, version, 60)) == {1, 2}


@VERSIONS
def test_dead_next_hops_are_not_chosen(router: Router, lan: Port, wan: Port, version: int) -> None:
    dead = hops(wan, version, {3: 5}, flags=lib.FPC_NEXTHOP_DEAD)
    router.route(DST[version], nexthops=[*dead, *hops(wan, version, {1: 1, 2: 1})])
    assert set(shares(lan, version, 60)) == {1, 2}
    router.route(DST[version], nexthops=[*dead, *hops(wan, version, {2: 1})])
    assert set(shares(lan, version, 20)) == {2}
    assert router.used("nexthop_group") == 0
    router.route(DST[version], nexthops=[*dead, *dead])
    assert shares(lan, version, 20) == {"linux_route": 20}


@VERSIONS
def test_the_share_of_a_next_hop_that_cannot_be_used_is_linux_s(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    """Unresolved, through a port that is down, or back where the packet came from: Linux may have another answer."""
    down = router.port("down", flags=lib.FPC_IFACE_UP)
    router.route(
        DST[version],
        nexthops=[
            *hops(wan, version, {1: 1, 200: 1}),
            nexthop(down, gateway(version, 1)),
            nexthop(lan, gateway(version, 1)),
        ],
    )
    assert set(shares(lan, version, 200)) == {1, "neighbour", "output_down", "same_iface"}


@VERSIONS
def test_a_route_waits_for_all_its_interfaces(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    fields = route_object(
        DST[version],
        nexthops=[*hops(wan, version, {1: 1}), nexthop(30, gateway(version, 2))],
    )
    assert router.set("route", fields) == "nexthops: the route waits for interface 30"
    assert shares(lan, version, 10) == {"linux_route": 10}
    router.link("late", ifindex=30)
    assert set(shares(lan, version, 60)) == {1, "output_linux"}
    router.delete("route", fields)
    assert router.used("nexthop") == 1


def test_routes_that_divide_alike_share_a_group(router: Router, lan: Port, wan: Port) -> None:
    same = [router.route(f"203.0.{i}.0/24", nexthops=hops(wan, 4, {1: 1, 2: 1})) for i in range(9)]
    twice = router.route("203.1.0.0/16", nexthops=hops(wan, 4, {1: 7, 2: 7}))
    other = router.route("203.2.0.0/16", nexthops=hops(wan, 4, {2: 1, 1: 1}))
    assert router.used("nexthop_group") == 2
    assert router.used("nexthop") == 5
    for made in (*same, twice, other):
        router.delete("route", made)
    assert router.used("nexthop_group") == 0
    assert router.used("nexthop") == 1


def test_more_groups_than_there_is_room_for_are_linux_s(
    router: Router, lan: Port, wan: Port
) -> None:
    made = []
    with pytest.raises(Refused) as refused:
        for i in range(lib.NEXTHOP_GROUPS):
            fields = route_object(
                f"10.{i >> 8}.{i & 0xFF}.0/24",
                nexthops=hops(wan, 4, {1 + i % 64: 1, 65 + i // 64 % 8: 1, 73 + i // 512: 1}),
            )
            made.append(fields)
            router.set("route", fields)
    assert "groups" in refused.value.text
    assert len(made) == lib.NEXTHOP_GROUPS
    last = IP(src="192.0.2.1", dst=f"10.{(len(made) - 1) >> 8}.{(len(made) - 1) & 0xFF}.1")
    assert chosen(lan, last / UDP()) == "linux_route"
    router.delete("route", made[5])
    router.set("route", made[-1])
    assert chosen(lan, last / UDP()) != "linux_route"
