"""What rules and VRF devices of the kernel mean in FPC, by hand and as the kernel tells them."""

import socket
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from _sluice import lib
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    NETCONF_ALL,
    Address,
    Chain,
    ChainRule,
    Clamp,
    Family,
    Link,
    Netconf,
    Object,
    Rule,
    Vrf,
)
from sluice.features.rule.cmgr import DEFAULT

from tests.cmgrd.kernel import following, in_namespace, ip, settled_with
from tests.cmgrd.test_features import LINK, dumped, give, objects, settled

TABLE, GOTO, NOP, BLACKHOLE, UNREACHABLE, PROHIBIT = 1, 2, 3, 6, 7, 8
FROM = Rule(AF_INET, 100, TABLE, 50, src=bytes([192, 0, 2, 0]), src_plen=24)
RED = replace(LINK, ifindex=30, name="red", kind="vrf", table=10)


def listed(*extra: Rule, family: int = AF_INET, core: Core | None = None) -> dict[str, Any] | None:
    """The FPC object for the kernel's own rules and these, in order."""
    core = core or settled()
    rules = sorted([*DEFAULT[family], *extra], key=lambda rule: rule.priority)
    other = AF_INET6 if family == AF_INET else AF_INET
    dumped(core, Family.RULE, *rules, *DEFAULT[other])
    found = objects(core, "rule")
    assert len(found) <= 1
    return found[0] if found else None


def entries(*extra: Rule, **options: Any) -> list[dict[str, Any]]:
    """Those between the kernel's own rules for local and main."""
    found = listed(*extra, **options)
    assert found is not None
    count = len(found["rules"])
    return list(found["rules"])[1 : count - 2]


def test_the_kernels_own_rules_are_no_object() -> None:
    assert listed() is None
    assert listed(family=AF_INET6) is None


def test_a_list_stands_in_the_kernels_order_and_goes_with_its_last_rule() -> None:
    core = settled()
    found = listed(FROM, replace(FROM, priority=50, table=51), core=core)
    assert found
    assert [rule["table"] for rule in found["rules"]] == [255, 51, 50, 254, 253]
    assert listed(core=core) is None


def test_nothing_is_said_before_the_first_dump() -> None:
    core = settled()
    give_rule(core, FROM)
    assert not objects(core, "rule")
    assert core.due == {Family.RULE: "test"}


def give_rule(core: Core, rule: Rule) -> None:
    from sluice.cmgrd.kernel import Change, Message

    for feature in core.followers[Family.RULE]:
        feature.handle(Message(Family.RULE, Change.NEW, "test", 0, rule), dumped=False, late=False)


@pytest.mark.parametrize(
    "rule",
    [
        replace(FROM, mark=1, mask=1),
        replace(FROM, oif="p1"),
        replace(FROM, iif="nowhere"),
        replace(FROM, uids=(1000, 2000)),
        replace(FROM, action=NOP),
        replace(FROM, action=GOTO, goto=200, goto_resolved=False),
    ],
)
def test_rules_that_no_forwarded_packet_meets_are_left_out(rule: Rule) -> None:
    core = settled()
    give(core, LINK)
    assert entries(rule, core=core) == []


@pytest.mark.parametrize(
    "rule", [replace(FROM, mask=0xFF), replace(FROM, uids=(0, 0)), replace(FROM, mark=0, mask=0)]
)
def test_selectors_that_every_forwarded_packet_has_are_left_out(rule: Rule) -> None:
    (found,) = entries(rule)
    assert found["table"] == 50
    assert found["src_plen"] == 24


def test_what_never_matches_inverted_always_does() -> None:
    """wg-quick: `not from all fwmark 0xca6c lookup 51820`."""
    (found,) = entries(replace(FROM, invert=True, mark=0xCA6C, mask=0xFFFFFFFF, table=51820))
    assert (found["table"], found["src_plen"], found["flags"]) == (51820, 0, [])


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (replace(FROM, unknown="attribute 99"), {"action": lib.FPC_RULE_LINUX, "src_plen": 24}),
        (replace(FROM, unknown="odd", invert=True), {"action": lib.FPC_RULE_LINUX, "src_plen": 0, "flags": []}),
        (replace(FROM, action=99), {"action": lib.FPC_RULE_LINUX, "src_plen": 24}),
        (replace(FROM, oif="red"), {"action": lib.FPC_RULE_LINUX, "src_plen": 24}),
        (replace(FROM, action=BLACKHOLE), {"action": lib.FPC_RULE_BLACKHOLE}),
        (replace(FROM, action=UNREACHABLE), {"action": lib.FPC_RULE_UNREACHABLE}),
        (replace(FROM, action=PROHIBIT), {"action": lib.FPC_RULE_UNREACHABLE}),
        (replace(FROM, iif="p1"), {"iif": 7, "flags": ["IIF"]}),
        (replace(FROM, iif="red"), {"iif": 30, "flags": ["IIF"]}),
        (replace(FROM, protocol=6, dport=(80, 90)), {"proto": 6, "dport": [80, 90], "flags": ["PROTO", "DPORT"]}),
        (replace(FROM, suppress=0), {"suppress_plen": 0, "flags": ["SUPPRESS"]}),
        (replace(FROM, tos=0x10, tos_mask=0x1C), {"tos": 0x10, "tos_mask": 0x1C}),
        (replace(FROM, l3mdev=True, table=0), {"table": 0, "flags": ["L3MDEV"]}),
        (replace(FROM, l3mdev=True, table=0, invert=True, mark=1, mask=1), {"action": lib.FPC_RULE_LINUX}),
    ],
)  # fmt: skip
def test_what_a_rule_means(rule: Rule, wanted: dict[str, Any]) -> None:
    core = settled()
    give(core, LINK)
    give(core, RED)
    (found,) = entries(rule, core=core)
    for key, value in wanted.items():
        assert number(found[key]) == value, key


def number(value: Any) -> Any:
    """As decode shows arrays and plain numbers."""
    return list(value) if isinstance(value, tuple) else value


def test_goto_leads_to_the_first_rule_at_or_behind_its_priority() -> None:
    found = listed(
        replace(FROM, action=GOTO, goto=200),
        replace(FROM, priority=150, table=51),
        replace(FROM, priority=200, oif="p1"),
        replace(FROM, priority=200, table=52),
    )
    assert found
    assert [rule["table"] for rule in found["rules"]] == [255, 0, 51, 52, 254, 253]
    assert found["rules"][1]["target"] == 3


def test_more_rules_than_fit_or_none_are_linuxs() -> None:
    many = [replace(FROM, priority=100 + i) for i in range(lib.FPC_RULES_MAX - 2)]
    found = listed(*many)
    assert found
    assert found["flags"] == ["ALL_LINUX"]
    found = listed(*many[1:])
    assert found
    assert not found["flags"]
    core = settled()
    dumped(core, Family.RULE, *DEFAULT[AF_INET6])
    (found,) = objects(core, "rule")
    assert found["family"] == AF_INET
    assert found["flags"] == ["ALL_LINUX"]


def test_an_interface_that_comes_changes_what_rules_mean() -> None:
    core = settled()
    rule = replace(FROM, iif="p1")
    assert entries(rule, core=core) == []
    give(core, LINK)
    (found,) = objects(core, "rule")
    assert found["rules"][1]["iif"] == 7
    give(core, LINK, gone=True)
    (found,) = objects(core, "rule")
    assert len(found["rules"]) == 3


# --- VRF devices

PORT = replace(LINK, master=30)


def port(*values: Object) -> dict[str, Any]:
    core = settled()
    for value in values:
        give(core, value)
    return next(one for one in objects(core, "iface") if one["ifindex"] == 7)


@pytest.mark.parametrize("order", [(RED, PORT), (PORT, RED)])
def test_a_port_of_a_vrf_device_has_its_table(order: tuple[Link, Link]) -> None:
    found = port(*order)
    assert (found["l3mdev"], found["table"]) == (30, 10)
    assert "SLAVE" not in found["flags"]


def test_a_port_of_another_master_is_a_slave() -> None:
    found = port(replace(RED, kind="bridge", table=0), PORT)
    assert (found.get("l3mdev", 0), found.get("table", 0)) == (0, 0)
    assert "SLAVE" in found["flags"]


def test_the_settings_of_the_vrf_device_count() -> None:
    own = Netconf(AF_INET, 7, True, 1, None)
    assert not {"FORWARD4", "RPF"} & set(port(RED, PORT, own)["flags"])
    device = Netconf(AF_INET, 30, True, 2, None)
    assert {"FORWARD4", "RPF"} <= set(port(RED, PORT, device)["flags"])
    numbered = Address(AF_INET, 30, 24, bytes([192, 0, 2, 1]))
    assert {"FORWARD4", "RPF_LOOSE"} <= set(port(RED, PORT, device, numbered)["flags"])
    all6 = Netconf(AF_INET6, NETCONF_ALL, True, None, None)
    assert "FORWARD6" in port(RED, PORT, all6)["flags"]
    assert "FORWARD6" not in port(replace(RED, disable_ipv6=True), PORT, all6)["flags"]


def test_proxies_and_multicast_routing_are_shown() -> None:
    found = port(LINK, Netconf(AF_INET, 7, None, None, None, proxy=True))
    assert "PROXY" in found["flags"]
    found = port(LINK, Netconf(AF_INET6, 7, None, None, None, mc_forwarding=True))
    assert "MULTICAST" in found["flags"]


# --- another VRF


def test_objects_of_a_vrf_bear_its_number_and_it_is_closed_until_all_is_told() -> None:
    core = Core(Vrf(3, "red", 77))
    core.due, core.unknown = {}, set()
    give(core, LINK)
    dumped(core, Family.RULE, *DEFAULT[AF_INET], FROM, *DEFAULT[AF_INET6])
    for name in ("vrf", "iface", "rule"):
        assert {one["vrf"] for one in objects(core, name)} == {3}
    (vrf,) = objects(core, "vrf")
    assert set(vrf["flags"]) == {"POLICY4", "POLICY6"}
    core.opened()
    (vrf,) = objects(core, "vrf")
    assert not vrf["flags"]


def test_mss_clamps_of_vrfs_dont_touch_each_other() -> None:
    main = Core()
    red = Core(Vrf(3, "red", 77), main=main)
    chain, clamp = (
        Chain(2, "t", "c", 2, accepts=True),
        ChainRule(2, "t", "c", Clamp(2, 2, "", "", 0)),
    )
    for core in (main, red):
        core.due, core.unknown = {}, set()
        core.opened()
        dumped(core, Family.CHAIN, chain, clamp)
    assert [one["vrf"] for one in objects(main, "mss")] == [0, 3]
    assert not any(one["flags"] for one in objects(main, "vrf"))
    dumped(red, Family.CHAIN)
    assert [one["vrf"] for one in objects(main, "mss")] == [0]
    dumped(red, Family.CHAIN, chain, clamp)
    dumped(main, Family.CHAIN)
    assert [one["vrf"] for one in objects(main, "mss")] == [3]
    red.forget()
    assert not objects(main, "mss")


# --- as the kernel tells them

KERNEL_RULES = [
    "rule add pref 10 from 192.0.2.0/24 to 198.51.100.0/25 table 100",
    "rule add pref 20 iif p1 tos 0x10 table 101",
    "rule add pref 30 ipproto tcp dport 80-90 sport 1000 table 102",
    "rule add pref 40 not fwmark 0x5/0xf table 103",
    "rule add pref 50 fwmark 0x5 table 104",
    "rule add pref 60 from 10.0.0.0/8 goto 90",
    "rule add pref 70 table main suppress_prefixlength 0",
    "rule add pref 80 from 10.1.0.0/16 blackhole",
    "rule add pref 90 from 10.2.0.0/16 prohibit",
    "rule add pref 91 oif p1 table 105",
    "rule add pref 92 iif later table 106",
    "rule add pref 93 goto 5000",
    "rule add pref 94 from all table 107 suppress_ifgroup 7",
    "rule add pref 95 uidrange 5-10 table 108",
]


def test_what_the_kernel_says_of_its_rules_is_understood() -> None:
    async def run() -> None:
        ip("link add p1 index 11 type veth peer name h1", *KERNEL_RULES)
        async with following() as follower:
            (found,) = objects(follower.core, "rule")
            tables = [(rule["action"], rule["table"]) for rule in found["rules"]]
            table, linux = lib.FPC_RULE_TABLE, lib.FPC_RULE_LINUX
            assert tables == [
                (table, 255), (table, 100), (table, 101), (table, 102), (table, 103),
                (lib.FPC_RULE_GOTO, 0), (table, 254), (lib.FPC_RULE_BLACKHOLE, 0),
                (lib.FPC_RULE_UNREACHABLE, 0), (linux, 0), (table, 254), (table, 253),
            ]  # fmt: skip
            assert found["rules"][5]["target"] == 8
            ip("link add later type veth peer name l2")
            await settled_with(
                follower,
                lambda: any(r["table"] == 106 for r in objects(follower.core, "rule")[0]["rules"]),
            )
            ip("rule add pref 5000 table 109")
            await settled_with(
                follower,
                lambda: any(r["table"] == 109 for r in objects(follower.core, "rule")[0]["rules"]),
            )
            goto = [
                r
                for r in objects(follower.core, "rule")[0]["rules"]
                if r["action"] == lib.FPC_RULE_GOTO
            ]
            assert len(goto) == 2
            ip(
                *(line.replace("rule add", "rule del") for line in KERNEL_RULES),
                "rule del pref 5000",
            )
            await settled_with(follower, lambda: not objects(follower.core, "rule"))
            assert not follower.core.counts["malformed"]

    in_namespace(run)


def test_ipv6_rules_as_the_kernel_says_them() -> None:
    async def run() -> None:
        line = "ip -6 rule add pref 10 from 2001:db8:1::/48 tos 0x20 dport 53 ipproto udp table 100"
        subprocess.run(line.split(), check=True)
        async with following() as follower:
            (found,) = objects(follower.core, "rule")
            assert found["family"] == socket.AF_INET6
            rule = found["rules"][1]
            assert (rule["src_plen"], rule["tos"], rule["tos_mask"]) == (48, 0x20, 0xFC)
            assert (rule["proto"], list(rule["dport"])) == (17, [53, 53])

    in_namespace(run)


pytestmark = pytest.mark.unit
