# SPDX-License-Identifier: BSD-3-Clause
"""Which route a packet takes: the longest prefix, table local before main, the lowest metric; in doubt Linux's."""

import random
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from _sluice import ffi, lib
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from sluice.features.route.trie import VALUE, Trie

from tests.packet.harness import (
    LOCAL,
    MAIN,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_UNREACHABLE,
    Port,
    Refused,
    Router,
    nexthop,
    route_object,
)

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"


@pytest.fixture
def lan(router: Router) -> Port:
    port = router.port("lan")
    router.address("192.0.2.1/24", port)
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    """Gateways .1 to .9 behind it have MACs that end with their number; so have fe80::1 to ::9."""
    port = router.port("wan")
    for low in range(1, 10):
        router.neighbour(f"198.51.100.{low}", port, f"02:00:00:00:bb:{low:02x}")
        router.neighbour(f"fe80::{low}", port, f"02:00:00:00:bb:{low:02x}")
    return port


def frame_to(dst: str) -> bytes:
    head = Ether(src=HOST, dst=LAN)
    if ":" in dst:
        return bytes(head / IPv6(src="2001:db8:1::10", dst=dst) / UDP())
    return bytes(head / IP(src="192.0.2.10", dst=dst) / UDP())


def gateway_of(lan: Port, dst: str) -> int | str:
    """Number of the gateway a packet is sent to; else why not."""
    verdict = lan.receives(frame_to(dst))
    if verdict.kind != "sent":
        return verdict.reason.replace("ip6_", "").replace("ip_", "")
    assert verdict.frame[:5] == bytes.fromhex("02000000bb")
    return verdict.frame[5]


def via(number: int, wan: Port, prefix: str) -> dict[str, object]:
    gateway = f"fe80::{number}" if ":" in prefix else f"198.51.100.{number}"
    return {"via": gateway, "dev": wan}


CHAIN4 = ["0.0.0.0/0", "203.0.0.0/8", "203.0.112.0/20", "203.0.113.0/24", "203.0.113.16/28"]
CHAIN6 = ["::/0", "2001:db8::/32", "2001:db8:3::/48", "2001:db8:3:4::/64", "2001:db8:3:4::/100"]
FAMILIES = pytest.mark.parametrize(
    ("chain", "dst"),
    [
        ([*CHAIN4, "203.0.113.17/32"], "203.0.113.17"),
        ([*CHAIN6, "2001:db8:3:4::5/128"], "2001:db8:3:4::5"),
    ],
    ids=["ipv4", "ipv6"],
)


@FAMILIES
def test_the_longest_prefix_wins_and_its_end_uncovers_the_next(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    routes = [router.route(p, **via(i + 1, wan, p)) for i, p in enumerate(chain)]
    for i in reversed(range(len(chain))):
        assert gateway_of(lan, dst) == i + 1
        router.delete("route", routes[i])
    assert gateway_of(lan, dst) == "no_route"


@FAMILIES
def test_the_lowest_metric_wins(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    prefix = chain[3]
    routes = {
        m: router.route(prefix, metric=m, **via(m // 10, wan, prefix)) for m in (50, 20, 90, 30)
    }
    for metric in (20, 30, 50, 90):
        assert gateway_of(lan, dst) == metric // 10
        router.delete("route", routes[metric])
    assert gateway_of(lan, dst) == "no_route"


@FAMILIES
def test_a_worse_route_that_changes_changes_nothing(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    prefix = chain[3]
    router.route(prefix, metric=10, **via(1, wan, prefix))
    router.route(prefix, metric=20, **via(2, wan, prefix))
    router.route(prefix, metric=20, **via(3, wan, prefix))
    assert gateway_of(lan, dst) == 1
    router.route(prefix, metric=10, **via(4, wan, prefix))
    assert gateway_of(lan, dst) == 4


@FAMILIES
def test_table_local_comes_before_main_on_the_same_prefix(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    router.route(chain[5], metric=0, **via(1, wan, chain[5]))
    local = router.route(chain[5], table=LOCAL, type=RTN_LOCAL, metric=100, dev=lan)
    assert gateway_of(lan, dst) == "local"
    router.delete("route", local)
    assert gateway_of(lan, dst) == 1


@FAMILIES
def test_a_prefix_of_main_below_one_of_local_is_linux_s(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    """Linux looks through table local first (IPv4: once the tables aren't merged), whatever main has."""
    router.route(chain[4], **via(4, wan, chain[4]))
    router.route(chain[1], **via(1, wan, chain[1]))
    assert gateway_of(lan, dst) == 4
    local = router.route(chain[2], table=LOCAL, type=RTN_LOCAL, dev=lan)
    assert gateway_of(lan, dst) == "linux_route"
    router.route(chain[3], **via(3, wan, chain[3]))
    assert gateway_of(lan, dst) == "linux_route"
    router.delete("route", local)
    assert gateway_of(lan, dst) == 4


@FAMILIES
def test_a_prefix_of_local_below_another_of_local_is_the_trie_s(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    router.route(chain[2], table=LOCAL, type=RTN_UNREACHABLE)
    router.route(chain[4], table=LOCAL, type=RTN_LOCAL, dev=lan)
    assert gateway_of(lan, dst) == "local"


@FAMILIES
def test_two_local_routes_to_one_prefix_keep_main_below_linux_s_until_both_are_gone(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    router.route(chain[4], **via(4, wan, chain[4]))
    first = router.route(chain[2], table=LOCAL, metric=1, type=RTN_LOCAL, dev=lan)
    second = router.route(chain[2], table=LOCAL, metric=2, type=RTN_LOCAL, dev=lan)
    router.delete("route", first)
    assert gateway_of(lan, dst) == "linux_route"
    router.delete("route", second)
    assert gateway_of(lan, dst) == 4


def test_a_prefix_with_a_tos_route_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    router.route("203.0.113.0/24", metric=5, **via(1, wan, "."))
    router.route("0.0.0.0/0", **via(2, wan, "."))
    tos = router.route(
        "203.0.113.0/24", metric=10, tos=0x10, flags=lib.FPC_ROUTE_UNSUPPORTED, **via(2, wan, ".")
    )
    assert gateway_of(lan, "203.0.113.1") == "linux_route"
    router.delete("route", tos)
    assert gateway_of(lan, "203.0.113.1") == 1


@FAMILIES
def test_a_route_that_waits_for_its_interface_doesn_t_uncover_a_shorter_one(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    router.route(chain[1], **via(1, wan, chain[1]))
    hop = nexthop(99, "fe80::1" if ":" in dst else "198.51.100.1")
    waits = router.set("route", route_object(chain[3], nexthops=[hop]))
    assert waits == "nexthops: the route waits for interface 99"
    assert gateway_of(lan, dst) == "linux_route"
    assert [flags for flags, _ in router.dump("route")].count(lib.FPC_F_PARKED) == 1

    late = router.link("late", ifindex=99)
    assert gateway_of(lan, dst) == "output_linux"
    router.set("port", {"port": 9, "tap_ifindex": 99, "mac": b"\2\0\0\0\0\x63", "name": b"late"})
    gateway = "fe80::1" if ":" in dst else "198.51.100.1"
    router.neighbour(gateway, late, "02:00:00:00:bb:07")
    assert gateway_of(lan, dst) == 7
    router.delete("port", {"port": 9})


@FAMILIES
def test_a_waiting_route_that_is_deleted_uncovers_the_shorter_one(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    router.route(chain[1], **via(1, wan, chain[1]))
    waiting = route_object(chain[3], nexthops=[nexthop(99)])
    assert router.set("route", waiting) != ""
    assert gateway_of(lan, dst) == "linux_route"
    router.delete("route", waiting)
    assert gateway_of(lan, dst) == 1


@FAMILIES
def test_an_applied_route_that_must_wait_again_is_linux_s(
    router: Router, lan: Port, wan: Port, chain: list[str], dst: str
) -> None:
    router.route(chain[1], **via(1, wan, chain[1]))
    router.route(chain[3], **via(3, wan, chain[3]))
    assert gateway_of(lan, dst) == 3
    router.route(chain[3], nexthops=[nexthop(99)])
    assert gateway_of(lan, dst) == "linux_route"
    router.route(chain[3], **via(3, wan, chain[3]))
    assert gateway_of(lan, dst) == 3


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"vrf": 256}, "vrf"),
        ({"family": 7}, "family"),
        ({"plen": 33}, "plen"),
        ({"dst": bytes([203, 0, 113, 1] + [0] * 12)}, "dst"),
        ({"dst": bytes([203, 0, 113, 0] + [1] * 12)}, "dst"),
        ({"table": 0}, "table"),
        ({"n_nexthops": 65}, "n_nexthops"),
        ({"nexthops": [nexthop(10) | {"family": 7}]}, "nexthops"),
    ],
)
def test_a_wrong_route_is_refused_by_its_field(
    router: Router, lan: Port, wan: Port, change: dict[str, object], name: str
) -> None:
    good = route_object("203.0.113.0/24", via="198.51.100.1", dev=wan)
    with pytest.raises(Refused) as refused:
        router.set("route", good | change)
    assert refused.value.field == name
    router.route("203.0.0.0/16", **via(1, wan, "."))
    expected = "linux_route" if name in ("n_nexthops", "nexthops") else 1
    assert gateway_of(lan, "203.0.113.1") == expected


def test_an_ipv4_gateway_of_an_ipv6_route_is_refused(router: Router, lan: Port, wan: Port) -> None:
    with pytest.raises(Refused) as refused:
        router.route("2001:db8:3::/48", via="198.51.100.1", dev=wan)
    assert refused.value.field == "nexthops"
    assert gateway_of(lan, "2001:db8:3::1") == "linux_route"


def test_routes_share_next_hops(router: Router, lan: Port, wan: Port) -> None:
    used = router.used("nexthop")
    routes = [router.route(f"203.0.113.{i}/32", **via(1, wan, ".")) for i in range(20)]
    assert router.used("nexthop") == used + 1
    for route in routes[:-1]:
        router.delete("route", route)
    assert router.used("nexthop") == used + 1
    assert gateway_of(lan, "203.0.113.19") == 1
    router.delete("route", routes[-1])
    assert router.used("nexthop") == used


def test_a_resync_takes_away_what_it_doesn_t_name(router: Router, lan: Port, wan: Port) -> None:
    keep = router.route("203.0.113.0/24", **via(1, wan, "."))
    router.route("203.0.113.128/25", **via(2, wan, "."))
    router.cmgrd.talk(lib.FPC_SYNC_BEGIN, lib.FEATURE_ROUTE)
    router.set("route", keep)
    assert gateway_of(lan, "203.0.113.200") == 2
    router.cmgrd.talk(lib.FPC_SYNC_END, lib.FEATURE_ROUTE)
    assert gateway_of(lan, "203.0.113.200") == 1
    assert len(router.dump("route")) == 1


def test_all_tables_are_empty_after_all_is_deleted(router: Router, lan: Port, wan: Port) -> None:
    for i in range(50):
        router.route(f"10.{i}.0.0/{16 + i % 17}", **via(1 + i % 9, wan, "."))
        router.route(f"2001:db8:{i}::/{48 + i}", **via(1 + i % 9, wan, ":"))
    router.reset()
    for table in (
        *("iface", "neigh", "mtrie4_line", "mtrie6_line", "mtrie4_root", "mtrie6_root"),
        *("vrf", "port"),
    ):
        assert router.used(table) == 0, table
    assert router.used("nexthop") == 1  # the one that means Linux
    roots = router.rows("mtrie4_root", "mtrie_root_row")
    assert not any(roots[0].entry)
    assert not any(roots[1].entry)
    assert not router.rows("vrf", "vrf_row")[0].root4


def test_a_vrf_without_routes_has_no_root(router: Router, lan: Port, wan: Port) -> None:
    router.vrf(5)
    router.vrf(6)
    before = router.used("mtrie4_root"), router.used("mtrie6_root")
    first = router.route("203.0.113.0/24", table=LOCAL, type=RTN_BLACKHOLE, vrf=5)
    other = router.route("203.0.113.0/25", type=RTN_BLACKHOLE, vrf=5)
    third = router.route("203.0.113.0/24", type=RTN_BLACKHOLE, vrf=6)
    assert (router.used("mtrie4_root"), router.used("mtrie6_root")) == (before[0] + 2, before[1])
    assert gateway_of(lan, "203.0.113.1") == "no_route"
    for route in (first, other, third):
        router.delete("route", route)
    assert router.used("mtrie4_root") == before[0]
    assert router.rows("vrf", "vrf_row")[5].root4 == 0


def test_vrfs_with_overlapping_addresses_are_apart(router: Router, lan: Port, wan: Port) -> None:
    """Packets only come in VRF 0 so far: the other one's routes must not show."""
    router.vrf(5)
    far = router.link("far", ifindex=wan.ifindex, vrf=5)
    router.route("203.0.113.0/24", **via(1, wan, "."))
    router.route("203.0.113.0/25", dev=far)
    router.route("203.0.113.0/26", type=RTN_BLACKHOLE, vrf=5)
    router.route("192.0.2.0/24", table=LOCAL, type=RTN_LOCAL, vrf=5)
    assert gateway_of(lan, "203.0.113.1") == 1


def test_a_full_ipv4_trie_leaves_the_range_to_linux_until_there_is_room() -> None:
    router = Router(settings=["FP_MAX_IPV4_LINES=64"])
    try:
        router.vrf(0)
        lan, wan = router.port("lan"), router.port("wan")
        router.neighbour("198.51.100.1", wan, "02:00:00:00:bb:01")
        router.route("10.0.0.0/8", **via(1, wan, "."))
        # Of 63 lines 8 are kept.
        made = [router.route(f"10.{i}.1.0/24", **via(1, wan, ".")) for i in range(55)]
        with pytest.raises(Refused) as refused:
            router.route("10.200.1.0/24", **via(1, wan, "."))
        assert "FP_MAX_IPV4_LINES" in refused.value.text
        assert gateway_of(lan, "10.200.1.1") == "linux_route"
        assert gateway_of(lan, "10.200.2.1") == "linux_route"
        assert gateway_of(lan, "10.201.1.1") == 1
        assert gateway_of(lan, "10.54.1.1") == 1
        for route in made[:5]:
            router.delete("route", route)
        # fpmd tries the refused one again by itself.
        assert gateway_of(lan, "10.200.1.1") == 1
        assert gateway_of(lan, "10.200.2.1") == 1
    finally:
        router.close()


def test_a_full_table_of_next_hops_leaves_the_prefix_to_linux() -> None:
    router = Router(settings=["FP_MAX_NEXTHOPS=64"])
    try:
        router.vrf(0)
        lan, wan = router.port("lan"), router.port("wan")
        router.neighbour("198.51.100.1", wan, "02:00:00:00:bb:01")
        router.route("10.0.0.0/8", **via(1, wan, "."))
        last = 0
        with pytest.raises(Refused) as refused:
            for last in range(64):
                router.route(f"10.0.{last}.0/24", via=f"198.51.100.{last + 100}", dev=wan)
        assert "FP_MAX_NEXTHOPS" in refused.value.text
        assert gateway_of(lan, f"10.0.{last}.1") == "linux_route"
        assert gateway_of(lan, f"10.0.{last - 1}.1") == "neighbour"
        assert gateway_of(lan, "10.1.0.1") == 1
    finally:
        router.close()


def trie_of(router: Router, version: int) -> Trie:
    """VRF 0's, as fp-cli reads it."""

    def words(table: str, first: int, rows: int, size: int) -> memoryview:
        at = ffi.cast("char *", lib.shm_rows(router.config, table.encode())) + first * size
        return memoryview(ffi.buffer(at, rows * size)).cast("I")

    root = getattr(router.rows("vrf", "vrf_row")[0], f"root{version}")
    lines = lib.shm_find(router.config, f"mtrie{version}_line".encode()).capacity
    return Trie(
        words(f"mtrie{version}_root", root, 1, 4 * 65536),
        words(f"mtrie{version}_line", 0, lines, 64),
        32 if version == 4 else 128,
    )


@pytest.mark.parametrize("version", [4, 6])
def test_what_fp_cli_reads_is_what_packets_get(
    router: Router, lan: Port, wan: Port, version: int
) -> None:
    """Prefixes side by side (full nodes), scattered (runs, skips) and in one another."""
    rng = random.Random(version)
    bits = 32 if version == 4 else 128
    wanted = {}
    for i in range(700):
        plen = rng.randrange(20, 33) if version == 4 else rng.randrange(40, 129)
        address = 0x0A000000 if version == 4 else 0x20010DB8 << 96
        if i < 300:  # side by side, different neighbours
            plen = 24 if version == 4 else 48
            address += i << bits - plen
        else:
            address += rng.getrandbits(24 if version == 4 else 96) >> bits - plen << bits - plen
        prefix = str(ip_network((address, plen)))
        wanted[address, plen] = rng.randrange(1, 10)
        router.route(prefix, **via(wanted[address, plen], wan, prefix))
    trie = trie_of(router, version)
    ours = 10 if version == 4 else 0x20
    found = {prefix: number for prefix, number in trie.leaves() if prefix[0] >> bits - 8 == ours}
    assert set(found) <= set(wanted)
    assert len(found) > 600  # some are covered by longer ones
    for (address, plen), number in rng.sample(sorted(found.items()), 100):
        assert trie.lookup(address) & VALUE in found.values()
        dst = str(ip_address(address + rng.randrange(1 << bits - plen)))
        entry = trie.lookup(int(ip_address(dst)))
        gateway = router.rows("nexthop", "nexthop_row")[entry & VALUE].gateway[
            3 if version == 4 else 15
        ]
        assert gateway_of(lan, dst) == gateway
        assert number


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_random_routes_give_the_same_as_a_naive_table(
    router: Router, lan: Port, wan: Port, version: int, seed: int
) -> None:
    """Routes of both tables, of several metrics, come, change and go; the answer is that of a search line by line."""
    rng = random.Random(seed * 10 + version)
    table: dict[tuple[IPv4Network | IPv6Network, int, int], int] = {}
    bits, base = (32, 0x0A000000) if version == 4 else (128, 0x20010DB8 << 96)
    lowest = 8 if version == 4 else 32

    def network() -> IPv4Network | IPv6Network:
        plen = rng.choice((*range(lowest, bits + 1), bits, bits // 2))
        host = sum(rng.choice((0, 0, 1, 0x80, 0xFF)) << 8 * i for i in range((bits - lowest) // 8))
        value = (base | host) >> (bits - plen) << (bits - plen)
        return ip_network((value, plen))

    def naive(dst: str) -> int | str:
        ip = ip_address(dst)
        found = [key for key in table if ip in key[0]]
        if not found:
            return "no_route"
        locals_ = [key for key in found if key[1] == LOCAL]
        best = max(found, key=lambda key: (key[0].prefixlen, key[1], -key[2]))
        if best[1] == MAIN and any(key[0].prefixlen < best[0].prefixlen for key in locals_):
            return "linux_route"
        return table[best]

    def fields(key: tuple[IPv4Network | IPv6Network, int, int], number: int) -> dict[str, object]:
        prefix = str(key[0])
        return route_object(prefix, table=key[1], metric=key[2], **via(number, wan, prefix))  # type: ignore[arg-type]

    for step in range(400):
        if table and rng.random() < 0.45:
            key = rng.choice(list(table))
            if rng.random() < 0.6:
                router.delete("route", fields(key, table.pop(key)))
            else:
                table[key] = rng.randrange(1, 10)
                router.set("route", fields(key, table[key]))
        else:
            key = (network(), LOCAL if rng.random() < 0.1 else MAIN, rng.choice((0, 100, 200)))
            table[key] = rng.randrange(1, 10)
            router.set("route", fields(key, table[key]))
        if step % 4 == 0:
            inside = rng.choice(list(table))[0] if table else network()
            at = rng.choice((0, inside.num_addresses - 1, rng.randrange(inside.num_addresses)))
            dst = str(inside[at])
            assert gateway_of(lan, dst) == naive(dst), dst


def frame_of(dst: str, n: int) -> bytes:
    """Packet n of a burst to dst: padded, with ECN bits or a TTL of 1 now and then."""
    tos, ttl = (n % 4 if n % 5 == 0 else 0), (1 if n % 17 == 16 else 64)
    head = Ether(src=HOST, dst=LAN)
    if ":" in dst:
        ip = IPv6(src="2001:db8:1::10", dst=dst, hlim=ttl, tc=tos)
    else:
        ip = IP(src="192.0.2.10", dst=dst, ttl=ttl, tos=tos, id=n)
    return bytes(head / ip / UDP(sport=n)) + bytes(6 if n % 3 == 0 else 0)


@pytest.mark.parametrize(
    "prefixes",
    [["203.0.113.0/25", "203.0.113.128/25"], ["2001:db8:3::/48", "2001:db8:3:8000::/49"]],
    ids=["ip", "ip6"],
)
@pytest.mark.parametrize(
    "gateways", [(1, 1), (1, 2), (10, 10), (1, 10)], ids=["one", "two", "unknown", "one unknown"]
)
def test_a_burst_to_one_gateway_or_two_is_as_its_packets_one_by_one(
    router: Router, lan: Port, wan: Port, prefixes: list[str], gateways: tuple[int, int]
) -> None:
    for prefix, gateway in zip(prefixes, gateways, strict=True):
        router.route(prefix, **via(gateway, wan, prefix))
    hosts = [str(ip_network(prefix)[100]) for prefix in prefixes]
    frames = [frame_of(hosts[n // 7 % 2], n) for n in range(64)]

    def counters() -> list[int]:
        rows = router.rows("iface_stats", "iface_stats_row")
        found = list(router.counters().values())
        for port in (lan, wan):
            row = ffi.addressof(rows[router.iface_row(port.ifindex)])
            found += list(ffi.cast("uint64_t *", row)[0 : ffi.sizeof(row[0]) // 8])
        return found

    for frame in frames:
        router.burst(lan.number, [frame])
    before = counters()
    singly = [out for frame in frames for out in router.burst(lan.number, [frame])]
    between = counters()
    together = router.burst(lan.number, frames)
    assert [o.frame for o in together if o.kind == "sent"] == [
        o.frame for o in singly if o.kind == "sent"
    ]
    # What goes to Linux for different reasons is told at different steps of a burst.
    key = lambda o: (o.kind, o.port, o.frame)  # noqa: E731
    assert sorted(together, key=key) == sorted(singly, key=key)
    assert len(together) == len(frames)
    after = counters()
    assert [b - a for a, b in zip(before, between, strict=True)] == [
        b - a for a, b in zip(between, after, strict=True)
    ]


def test_packets_of_several_protocols_in_a_burst_keep_their_order(
    router: Router, lan: Port, wan: Port
) -> None:
    for prefix in ("203.0.113.0/24", "2001:db8:3::/48"):
        router.route(prefix, **via(1, wan, prefix))
    other = [bytes(Ether(src=HOST, dst=LAN, type=0x8847)) + bytes([n] * 50) for n in range(64)]
    four = [frame_of("203.0.113.9", n) for n in range(1, 16)]
    six = [frame_of("2001:db8:3::9", n) for n in range(1, 16)]
    out = router.burst(
        lan.number, [f for three in zip(four, other, six, strict=False) for f in three]
    )
    sent = [o.frame for o in out if o.kind == "sent"]
    ports = {
        type_: [f[i : i + 2] for f in sent if f[12:14] == type_]
        for type_, i in ((b"\x08\x00", 34), (b"\x86\xdd", 54))
    }
    for found in ports.values():
        assert found == [bytes([0, n]) for n in range(1, 16)]
    assert [o.frame for o in out if o.kind == "linux"] == other[:15]
