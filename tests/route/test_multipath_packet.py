# SPDX-License-Identifier: BSD-3-Clause
"""Routes with several next hops: each flow keeps to one of them, all flows divide as the weights say."""

import itertools
import random
import struct
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


def siphash(data: bytes, key: int) -> int:
    """SipHash-2-4, both halves of its key alike (Aumasson, Bernstein 2012)."""
    mask = (1 << 64) - 1
    v = [
        key ^ k
        for k in (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    ]

    def rotate(x: int, n: int) -> int:
        return (x << n | x >> 64 - n) & mask

    def rounds(n: int) -> None:
        for _ in range(n):
            v[0] = (v[0] + v[1]) & mask
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    for word in (*struct.unpack(f"<{len(data) // 8}Q", data), len(data) << 56):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def linux_hash(
    src: str,
    dst: str,
    seed: int,
    *,
    protocol: int = 0,
    label: int = 0,
    ports: tuple[int, int] = (0, 0),
) -> int:
    """The 31 bits that fib_multipath_hash and rt6_multipath_hash make of a flow."""
    a, b = ip_address(src).packed, ip_address(dst).packed
    # IPv4's are compared as numbers of this machine.
    if (b[::-1] < a[::-1]) if len(a) == 4 else (b < a):
        a, b = b, a
    one, other = (port.to_bytes(2) for port in ports)
    if int.from_bytes(other, "little") < int.from_bytes(one, "little"):
        one, other = other, one
    data = struct.pack("=HBx", 0, protocol) + label.to_bytes(4) + bytes(20) + one + other + bytes(4)
    data += a + b + bytes(4)
    return (siphash(data, seed << 32 | seed) & 0xFFFFFFFF) >> 1


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
def test_the_hash_is_divided_as_linux_divides_it(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    """Any weights: each next hop's end is its sum of weights, rounded."""
    rng = random.Random(version)
    for _ in range(50):
        weights = {
            low: rng.choice((1, 1, 3, 256))
            for low in rng.sample(range(1, 81), rng.randrange(2, 65))
        }
        made = router.route(DST[version], nexthops=hops(wan, version, weights))
        group = router.rows("nexthop_group", "nexthop_group_row")[group_number(router)]
        nexthops = router.rows("nexthop", "nexthop_row")
        members = group.member[0 : group.n]
        at = 4 if version == 4 else 16
        assert [bytes(nexthops[m.nexthop].gateway)[at - 1] for m in members] == list(weights)
        total, sums = sum(weights.values()), itertools.accumulate(weights.values())
        assert [m.last for m in members] == [
            ((before << 32) + total) // (2 * total) - 1 for before in sums
        ]
        # A slot is that of the member at its first and last hash, or leads to the first of several.
        for number, slot in enumerate(group.slot):
            first, last = number << 23, (number + 1 << 23) - 1
            low = next(i for i, m in enumerate(members) if first <= m.last)
            high = next(i for i, m in enumerate(members) if last <= m.last)
            shared = lib.NEXTHOP_SLOT_SHARED | low
            assert slot == (members[low].nexthop if low == high else shared)
        router.delete("route", made)
        assert router.used("nexthop_group") == 0
        assert router.used("nexthop") == 1


@VERSIONS
@pytest.mark.parametrize("ports", [False, True])
def test_with_a_seed_the_choice_is_linux_s_own(
    router: Router, lan: Port, wan: Port, version: int, ports: bool
) -> None:
    """The oracle is SipHash over struct flow_keys, in Python. tests/differential asks the kernel itself."""
    rng = random.Random(version)
    router.vrf(0, flags=PORTS if ports else 0, multipath_seed=0x12345678)
    weights = {1: 1, 2: 2, 3: 3}
    router.route(DST[version], nexthops=hops(wan, version, weights))
    for _ in range(200):
        ip = packet(rng, version)
        if version == 6:
            ip.fl = rng.randrange(1 << 20)
        sport, dport = rng.randrange(1 << 16), rng.randrange(1 << 16)
        value = linux_hash(
            ip.src,
            ip.dst,
            0x12345678,
            protocol=17 if ports or version == 6 else 0,
            label=ip.fl if version == 6 and not ports else 0,
            ports=(sport, dport) if ports else (0, 0),
        )
        expected = next(
            low for low, end in ((1, 1), (2, 3), (3, 6)) if value <= ((end << 32) + 6) // 12 - 1
        )
        assert chosen(lan, ip / UDP(sport=sport, dport=dport)) == expected


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


@VERSIONS
def test_a_trace_shows_the_group_and_then_the_member_that_was_chosen(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    router.route(DST[version], nexthops=hops(wan, version, {1: 1, 2: 1}))
    router.trace(1)
    frame = bytes(Ether(src=HOST, dst=LAN) / packet(random.Random(1), version) / UDP())
    router.burst(lan.number, [frame])
    ((_, _, group, nexthop, neigh, _),) = router.traced()
    assert [group.step, nexthop.step, neigh.step] == [
        lib.TRACE_GROUP,
        lib.TRACE_NEXTHOP,
        lib.TRACE_NEIGH,
    ]
    rows = router.rows("nexthop", "nexthop_row")
    assert rows[group.row].type == lib.NEXTHOP_GROUP
    members = router.rows("nexthop_group", "nexthop_group_row")[rows[group.row].group].member
    assert nexthop.row in [member.nexthop for member in members[0:2]]
