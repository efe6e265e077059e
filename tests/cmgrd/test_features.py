"""What kernel objects mean in FPC, feature by feature, and that the order of messages doesn't matter."""

import json
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    IFF_LOWER_UP,
    IFF_NOARP,
    IFF_UP,
    NETCONF_ALL,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NUD_NOARP,
    NUD_REACHABLE,
    NUD_STALE,
    Address,
    Chain,
    ChainRule,
    Change,
    Family,
    Link,
    Message,
    MulticastRoute,
    Multipath,
    Netconf,
    Object,
    PathMtu,
    Policy,
    PolicyDefault,
    Qdisc,
    Rule,
)
from sluice.cmgrd.recording import replay
from sluice.fpc import FEATURES, decode

from tests.cmgrd.oracle import Neigh, NextHop, Route, neigh_payload, route_payload

GOLDEN = Path(__file__).parent / "golden"
MAC = bytes.fromhex("020000000001")
LINK = Link(7, "p1", IFF_UP | IFF_LOWER_UP, 1500, MAC, "tun", 0, 0, 1500, False, False)
ADDRESS = Address(AF_INET, 7, 24, bytes([192, 0, 2, 1]))
FAMILIES: dict[type, Family] = {
    Address: Family.ADDRESS,
    Link: Family.LINK,
    Netconf: Family.NETCONF,
    Qdisc: Family.QDISC,
    Rule: Family.RULE,
    MulticastRoute: Family.MROUTE,
    Multipath: Family.RULE,
    Chain: Family.CHAIN,
    ChainRule: Family.CHAIN,
    PathMtu: Family.RULE,
    Policy: Family.POLICY,
    PolicyDefault: Family.POLICY,
}


def give(
    core: Core,
    value: Object | Route | Neigh,
    *,
    gone: bool = False,
    flags: int = 0,
    dumped: bool = False,
    late: bool = False,
) -> None:
    if isinstance(value, Route | Neigh):
        payload = route_payload(value) if isinstance(value, Route) else neigh_payload(value)
        kind = (24 if isinstance(value, Route) else 28) + gone
        core.message(0, kind, flags, payload, 0, len(payload), late=late)
        return
    family = FAMILIES[type(value)]
    change = Change.DELETED if gone else Change.NEW
    message = Message(family, change, "test", flags, value)
    for feature in core.followers[family]:
        feature.handle(message, dumped=dumped, late=late)


def dumped(core: Core, family: Family, *values: Object | Route | Neigh) -> None:
    core.begin(family)
    for value in values:
        give(core, value, dumped=True)
    core.end(complete=True)


def objects(core: Core, name: str) -> list[dict[str, Any]]:
    return [decode(name, body) for body in core.objects.wanted[FEATURES[name].id].values()]


def only(core: Core, name: str) -> dict[str, Any]:
    (found,) = objects(core, name)
    return found


def settled() -> Core:
    """A core whose first dumps are behind it."""
    core = Core()
    core.due = {}
    core.unknown = set()
    return core


# --- interfaces


def flags_after(*values: Object) -> set[str]:
    core = settled()
    for value in (LINK, *values):
        give(core, value)
    return set(only(core, "iface")["flags"])


UP = {"UP", "RUNNING"}


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ((), UP),
        ((Netconf(AF_INET, 7, True, 0, False),), UP | {"FORWARD4"}),
        ((Netconf(AF_INET, NETCONF_ALL, True, 0, False),), UP),
        ((Netconf(AF_INET6, NETCONF_ALL, True, None, False),), UP | {"FORWARD6"}),
        ((Netconf(AF_INET6, 7, True, None, False),), UP),
        ((Netconf(AF_INET, 7, True, 0, None), Netconf(AF_INET, 7, None, 2, None)), UP | {"FORWARD4", "RPF"}),
        ((Netconf(AF_INET, NETCONF_ALL, False, 1, False),), UP | {"RPF"}),
        ((ADDRESS, Netconf(AF_INET, 7, None, 2, None)), UP | {"RPF_LOOSE"}),
        ((Netconf(AF_INET, 7, None, 2, None), ADDRESS), UP | {"RPF_LOOSE"}),
        ((ADDRESS, Netconf(AF_INET, 7, None, 1, None)), UP | {"RPF"}),
        ((ADDRESS, Netconf(AF_INET, 7, None, 1, None), Netconf(AF_INET, NETCONF_ALL, None, 2, None)),
         UP | {"RPF_LOOSE"}),
        ((replace(ADDRESS, ifindex=8), Netconf(AF_INET, 7, None, 2, None)), UP | {"RPF"}),
        ((replace(LINK, master=9),), UP | {"SLAVE"}),
        ((replace(LINK, xdp=True),), UP | {"FOREIGN"}),
        ((replace(LINK, flags=IFF_UP),), {"UP"}),
        ((Qdisc(7, 0xFFFF0000, 0xFFFFFFF1, "clsact"),), UP | {"FOREIGN"}),
        ((Qdisc(7, 1, 0xFFFFFFFF, "fq_codel"),), UP),
        ((Qdisc(8, 1, 0xFFFFFFFF, "netem"),), UP),
        ((replace(LINK, ifindex=7, kind="macvlan", lower=3),), UP),
    ],
)  # fmt: skip
def test_interface_flags(values: tuple[Object, ...], flags: set[str]) -> None:
    assert flags_after(*values) == flags


def test_without_an_address_a_loose_filter_is_strict() -> None:
    """Linux's __fib_validate_source."""
    core = settled()
    second = replace(ADDRESS, address=bytes([192, 0, 2, 2]))
    for value in (LINK, Netconf(AF_INET, 7, None, 2, None), ADDRESS, second, ADDRESS):
        give(core, value)
    give(core, second, gone=True)
    assert set(only(core, "iface")["flags"]) == UP | {"RPF_LOOSE"}
    give(core, ADDRESS, gone=True)
    assert set(only(core, "iface")["flags"]) == UP | {"RPF"}
    dumped(core, Family.ADDRESS, ADDRESS)
    assert set(only(core, "iface")["flags"]) == UP | {"RPF_LOOSE"}
    dumped(core, Family.ADDRESS)
    assert set(only(core, "iface")["flags"]) == UP | {"RPF"}


def test_ipv6_forwarding_needs_ipv6_on_the_device() -> None:
    on = Netconf(AF_INET6, NETCONF_ALL, True, None, False)
    assert "FORWARD6" not in flags_after(on, replace(LINK, disable_ipv6=True))
    assert "FORWARD6" not in flags_after(on, replace(LINK, mtu6=0))


def test_a_macvlan_above_makes_its_device_foreign_as_long_as_it_is_there() -> None:
    core = settled()
    above = replace(LINK, ifindex=8, name="m", kind="macvlan", lower=7)
    give(core, above)
    give(core, LINK)
    below = next(o for o in objects(core, "iface") if o["ifindex"] == 7)
    assert "FOREIGN" in below["flags"]
    give(core, above, gone=True)
    assert "FOREIGN" not in only(core, "iface")["flags"]


def test_a_qdisc_that_goes_with_its_link_is_not_left_to_the_next_one() -> None:
    core = settled()
    give(core, LINK)
    give(core, Qdisc(7, 1, 0xFFFFFFFF, "netem"))
    give(core, Netconf(AF_INET, 7, True, 0, False))
    give(core, LINK, gone=True)
    assert not objects(core, "iface")
    give(core, LINK)
    assert set(only(core, "iface")["flags"]) == UP


def test_a_link_whose_message_is_older_than_its_ipv6_side_is_looked_at_again() -> None:
    core = settled()
    give(core, replace(LINK, mtu=1400, mtu6=1500))
    assert core.due.keys() == {Family.LINK}
    assert only(core, "iface")["mtu"] == 1400


def test_ipv6_s_own_mtu_is_told_where_it_differs() -> None:
    core = settled()
    give(core, replace(LINK, mtu6=1280))
    assert (only(core, "iface")["mtu"], only(core, "iface")["mtu6"]) == (LINK.mtu, 1280)
    give(core, replace(LINK, mtu6=LINK.mtu))
    assert only(core, "iface")["mtu6"] == 0


# --- neighbours

NEIGH = Neigh(AF_INET, 7, bytes([192, 0, 2, 2]), NUD_REACHABLE, 0, MAC)


def test_a_neighbour_that_only_ages_is_not_told_again() -> None:
    core = settled()
    give(core, NEIGH)
    changes = core.objects.changes
    give(core, replace(NEIGH, state=NUD_STALE))
    assert core.objects.changes == changes
    assert only(core, "neigh")["addr"] == "192.0.2.2"
    assert only(core, "neigh")["mac"] == "02:00:00:00:00:01"


@pytest.mark.parametrize(
    "neigh",
    [
        replace(NEIGH, state=0x20),  # failed
        replace(NEIGH, state=0x01, mac=b""),  # incomplete
        replace(NEIGH, mac=bytes(6)),
        replace(NEIGH, mac=b"\x01\x00\x5e\x00\x00\x01"),
        replace(NEIGH, mac=b"\x01\x02\x03\x04"),
    ],
)
def test_an_unusable_neighbour_is_deleted(neigh: Neigh) -> None:
    core = settled()
    give(core, NEIGH)
    give(core, neigh)
    assert not objects(core, "neigh")


def test_a_proxy_entry_says_nothing_about_the_neighbour() -> None:
    core = settled()
    give(core, NEIGH)
    give(core, replace(NEIGH, flags=0x08, mac=b""))
    assert only(core, "neigh")


def test_entries_that_the_kernel_makes_without_a_word_are_left_out() -> None:
    core = settled()
    neigh = replace(NEIGH, state=NUD_NOARP)
    give(core, neigh)
    assert only(core, "neigh")["state"] == NUD_NOARP
    give(core, replace(LINK, flags=IFF_UP | IFF_NOARP))
    assert not objects(core, "neigh")
    assert not core.due
    give(core, LINK)
    assert Family.NEIGH in core.due
    dumped(core, Family.NEIGH, neigh)
    assert only(core, "neigh")


def test_neighbours_go_with_their_link() -> None:
    core = settled()
    give(core, LINK)
    give(core, NEIGH)
    give(core, replace(NEIGH, ifindex=8))
    give(core, LINK, gone=True)
    assert only(core, "neigh")["ifindex"] == 8


# --- the guard


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        (Multipath(0, 0, False), []),
        (Multipath(1, 0, False), ["MULTIPATH4_PORTS"]),
        (Multipath(0, 1, False), ["MULTIPATH6_PORTS"]),
        (Multipath(2, 3, False), ["MULTIPATH4_LINUX", "MULTIPATH6_LINUX"]),
        (Multipath(1, 1, True), ["MULTIPATH4_PORTS", "MULTIPATH6_PORTS", "MULTIPATH4_LINUX"]),
    ],
)
def test_the_choice_among_next_hops_is_told(settings: Multipath, flags: list[str]) -> None:
    core = settled()
    dumped(core, Family.RULE, settings)
    assert only(core, "vrf")["flags"] == flags


@pytest.mark.parametrize(
    ("chain", "flags"),
    [
        (Chain(2, "t", "c", 2), ["POLICY4"]),
        (Chain(10, "t", "c", 0), ["POLICY6"]),
        (Chain(1, "t", "c", 4), ["POLICY4", "POLICY6"]),
        (Chain(5, "t", "c", 0), ["POLICY4", "POLICY6"]),
        (Chain(5, "t", "c", 1), ["POLICY4", "POLICY6"]),
        (Chain(5, "t", "c", -1), []),  # jumped to
        (Chain(1, "t", "c", 1), []),  # input
        (Chain(1, "t", "c", 3), []),  # output
        (Chain(7, "t", "c", 2), []),  # bridge
    ],
)
def test_chains_that_see_forwarded_packets_guard(
    chain: Chain, flags: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    core = settled()
    with caplog.at_level(logging.INFO, logger="cmgrd"):
        dumped(core, Family.CHAIN, chain)
        assert only(core, "vrf")["flags"] == flags
        assert ("nftables chain c of table t" in caplog.text) is bool(flags)
        dumped(core, Family.CHAIN)
    assert only(core, "vrf")["flags"] == []
    assert ("take the fast path again" in caplog.text) is bool(flags)


def test_a_default_ipsec_policy_that_blocks_guards() -> None:
    core = settled()
    give(core, Policy(AF_INET6, 2, 2))
    assert only(core, "vrf")["flags"] == []
    give(core, PolicyDefault(blocks=True))
    assert only(core, "vrf")["flags"] == ["POLICY4", "POLICY6"]
    give(core, PolicyDefault(blocks=False))
    assert only(core, "vrf")["flags"] == []


# --- routes


def hop(last: int, ifindex: int = 7, family: int = AF_INET, flags: int = 0) -> NextHop:
    gateway = bytes([192, 0, 2, last]) if family == AF_INET else bytes(15) + bytes([last])
    return NextHop(ifindex, family, gateway, flags, 1)


def route(*hops: NextHop, family: int = AF_INET, metric: int = 0, rest: bytes = b"") -> Route:
    dst = bytes([203, 0, 113, 0]) if family == AF_INET else bytes.fromhex("20010db8") + bytes(12)
    return Route(family, 254, metric, dst, 24, 0, 1, 3, hops, "", rest)


def test_a_route_s_mtu_is_told_and_those_of_joined_ones_are_linux_s() -> None:
    core = settled()
    give(core, replace(route(hop(2)), mtu=1400))
    found = only(core, "route")
    assert (found["mtu"], found["flags"]) == (1400, [])
    give(core, replace(route(hop(2)), mtu=65535), flags=NLM_F_REPLACE)
    assert only(core, "route")["flags"] == ["UNSUPPORTED"]
    core = settled()
    six = replace(route(hop(2, family=AF_INET6), hop(3, family=AF_INET6), family=AF_INET6), plen=32)
    give(core, replace(six, mtu=1400))
    assert only(core, "route")["flags"] == ["UNSUPPORTED"]


def test_forwarding_by_learned_mtus_guards_ipv4() -> None:
    core = settled()
    dumped(core, Family.RULE, PathMtu(True))
    assert only(core, "vrf")["flags"] == ["POLICY4"]
    dumped(core, Family.RULE, PathMtu(False))
    assert only(core, "vrf")["flags"] == []


def gateways(core: Core) -> list[str]:
    found = objects(core, "route")
    return [nexthop["gateway"] for nexthop in found[0]["nexthops"]] if found else []


A, B, C = (route(hop(n)) for n in (1, 2, 3))
ONLY, APPEND = NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE | NLM_F_APPEND
PREPEND, REPLACE = NLM_F_CREATE, NLM_F_CREATE | NLM_F_REPLACE


def test_ipv4_uses_the_first_of_the_kernels_list() -> None:
    core = settled()
    steps: list[tuple[Route, int | None, list[str]]] = [
        (A, ONLY, ["192.0.2.1"]),
        (B, APPEND, ["192.0.2.1"]),
        (C, PREPEND, ["192.0.2.3"]),
        (C, None, ["192.0.2.1"]),
        (C, REPLACE, ["192.0.2.3"]),
        (C, None, ["192.0.2.2"]),
        (B, None, []),
    ]
    for value, flags, wanted in steps:
        give(core, value, gone=flags is None, flags=flags or 0)
        assert gateways(core) == wanted
    assert not core.due


def test_of_an_ipv4_list_a_living_route_is_used() -> None:
    core = settled()
    give(core, route(hop(1, flags=1 | 16)), flags=ONLY)
    give(core, B, flags=APPEND)
    assert gateways(core) == ["192.0.2.2"]


def test_a_route_said_to_be_the_only_one_replaces_what_vanished_without_a_word() -> None:
    core = settled()
    give(core, A, flags=ONLY)
    give(core, B, flags=ONLY)
    assert gateways(core) == ["192.0.2.2"]
    assert not core.due


def test_routes_that_differ_in_what_fpc_does_not_carry_are_two() -> None:
    core = settled()
    give(core, route(hop(1), rest=bytes([192, 0, 2, 81])), flags=ONLY)
    give(core, route(hop(1), rest=bytes([192, 0, 2, 82])), flags=APPEND)
    give(core, route(hop(1), rest=bytes([192, 0, 2, 81])), gone=True)
    assert gateways(core) == ["192.0.2.1"]
    give(core, route(hop(1), rest=bytes([192, 0, 2, 82])), gone=True)
    assert gateways(core) == []


def test_a_deletion_that_fits_nothing_makes_a_dump() -> None:
    core = settled()
    give(core, A, flags=ONLY)
    give(core, B, gone=True)
    assert gateways(core) == ["192.0.2.1"]
    assert core.due.keys() == {Family.ROUTE4}


def test_a_deletion_of_what_is_not_there_is_old_news() -> None:
    core = settled()
    give(core, A, gone=True)
    assert not core.due


def test_a_replacement_from_before_a_dump_is_verified() -> None:
    core = settled()
    dumped(core, Family.ROUTE4, A)
    give(core, B, flags=REPLACE, late=True)
    assert core.due.keys() == {Family.ROUTE4}


@pytest.mark.parametrize(
    "change",
    [
        replace(LINK, flags=IFF_UP),
        replace(LINK, flags=0),
        replace(LINK, master=9),
    ],
)
def test_a_link_that_changes_makes_a_dump_of_the_routes(change: Link) -> None:
    core = settled()
    give(core, LINK)
    give(core, replace(LINK, mtu=1400, mtu6=1400, name="p2"))
    assert not core.due
    give(core, change)
    assert core.due.keys() == {Family.ROUTE4, Family.ROUTE6}


def test_a_link_that_goes_makes_a_dump_of_the_routes() -> None:
    core = settled()
    give(core, LINK)
    give(core, LINK, gone=True)
    assert core.due.keys() == {Family.ROUTE4, Family.ROUTE6}


def test_a_dump_replaces_all_routes_of_a_key_at_once() -> None:
    core = settled()
    dumped(core, Family.ROUTE4, A, B)
    core.objects.listen(True)
    dumped(core, Family.ROUTE4, A, B)
    assert not core.objects.waiting
    dumped(core, Family.ROUTE4, B, A)
    assert gateways(core) == ["192.0.2.2"]
    dumped(core, Family.ROUTE4)
    assert gateways(core) == []


def test_an_interrupted_dump_sweeps_nothing_and_is_repeated() -> None:
    core = settled()
    dumped(core, Family.ROUTE4, A, replace(B, metric=7))
    core.begin(Family.ROUTE4)
    give(core, A, dumped=True)
    core.end(complete=False)
    assert len(objects(core, "route")) == 2
    assert core.due == {Family.ROUTE4: "interrupted dump"}


def test_more_next_hops_than_fit_are_left_to_linux() -> None:
    core = settled()
    give(core, route(*(hop(n) for n in range(65))), flags=ONLY)
    assert only(core, "route")["flags"] == ["UNSUPPORTED"]


X, Y = hop(1, family=AF_INET6), hop(2, ifindex=8, family=AF_INET6)
DEVICE1, DEVICE2 = NextHop(7, 0, b"", 0, 1), NextHop(8, 0, b"", 0, 1)


def test_ipv6_next_hops_come_together_and_go_one_by_one() -> None:
    core = settled()
    give(core, route(X, family=AF_INET6), flags=ONLY)
    give(core, route(Y, X, family=AF_INET6), flags=APPEND)
    assert gateways(core) == ["::1", "::2"]
    give(core, route(X, family=AF_INET6), gone=True)
    assert gateways(core) == ["::2"]
    give(core, route(X, family=AF_INET6), flags=REPLACE)
    assert gateways(core) == ["::1"]
    give(core, route(X, family=AF_INET6), gone=True)
    assert gateways(core) == []
    assert not core.due


def test_ipv6_routes_side_by_side_are_left_to_linux() -> None:
    core = settled()
    give(core, route(DEVICE1, family=AF_INET6), flags=ONLY)
    give(core, route(DEVICE2, family=AF_INET6), flags=APPEND)
    assert only(core, "route")["flags"] == ["UNSUPPORTED"]
    give(core, route(DEVICE1, family=AF_INET6), gone=True)
    assert only(core, "route")["flags"] == []
    assert only(core, "route")["nexthops"][0]["ifindex"] == 8
    assert not core.due


def test_an_ipv6_route_beside_one_of_another_sort_makes_a_dump() -> None:
    core = settled()
    give(core, route(DEVICE1, family=AF_INET6), flags=ONLY)
    give(core, route(X, family=AF_INET6), flags=APPEND)
    assert core.due.keys() == {Family.ROUTE6}


# --- all together


@pytest.mark.parametrize("name", ["links", "routes4", "routes6", "neighbours"])
def test_the_order_of_messages_does_not_matter(name: str) -> None:
    """The first dumps of a recording, as single messages in any order, give the same objects."""
    lines = []
    for line in (GOLDEN / f"{name}.netlink.jsonl").read_text().splitlines():
        if json.loads(line)["do"] == "note":
            break
        lines.append(line)
    plain = Core()
    for line in lines:
        replay(plain, line)
    # Rules count only when dumped, so that VRF's flags aren't compared here.
    messages = [line for line in lines if json.loads(line)["do"] == "message"]
    assert len(messages) > 20
    chance = random.Random(name)
    for _ in range(20):
        chance.shuffle(messages)
        core = settled()
        for line in messages:
            replay(core, line)
        for feature in ("iface", "neigh", "route"):
            number = FEATURES[feature].id
            assert core.objects.wanted[number] == plain.objects.wanted[number]


def test_a_malformed_message_is_counted_and_its_family_dumped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = settled()
    core.message(0, 24, 0, b"\x02\x18", 0, 2, late=False)
    assert core.counts["malformed"] == 1
    assert core.due.keys() == {Family.ROUTE4, Family.ROUTE6}
    assert "RTM_NEWROUTE" in caplog.text


def test_a_malformed_message_in_a_dump_does_not_make_it_endless() -> None:
    core = settled()
    core.begin(Family.ROUTE4)
    core.message(0, 24, 0, b"\x02\x18", 0, 2, late=False)
    core.end(complete=True)
    assert core.counts["malformed"] == 1
    assert not core.due
