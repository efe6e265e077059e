"""cmgrd against this machine's kernel: whatever happens in a namespace, it ends with what a fresh dump gives."""

import asyncio
import ipaddress
import json
import random
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import pytest
from sluice.cmgrd.kernel import Family
from sluice.fpc import FEATURES, decode

from tests.cmgrd.kernel import equals_fresh, following, fresh, in_namespace, ip, sysctl
from tests.cmgrd.scenarios import SETUP

pytestmark = pytest.mark.functional

TYPES = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable",
}  # fmt: skip


def shown(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def prefix(text: str, family: int) -> str:
    if text == "default":
        text = "0.0.0.0/0" if family == 4 else "::/0"
    return str(ipaddress.ip_network(text))


def routes_of_ip() -> set[tuple[object, ...]]:
    """What `ip` says: of each prefix, table and metric the routes' types, interfaces and gateways."""
    found: set[tuple[object, ...]] = set()
    names = {link["ifname"]: link["ifindex"] for link in shown("link")}
    for family in (4, 6):
        for route in shown(f"-{family}", "route", "show", "table", "all"):
            table = route.get("table", "main")
            if table not in ("main", "local"):
                continue
            hops = route.get("nexthops") or [route]
            found.add(
                (
                    table,
                    prefix(route["dst"], family),
                    route.get("metric", 0),
                    route.get("type", "unicast"),
                    tuple(sorted((names.get(hop.get("dev", ""), 0), gateway(hop)) for hop in hops)),
                )
            )
    return found


def gateway(hop: dict[str, Any]) -> str:
    return str(hop.get("gateway") or hop.get("via", {}).get("host", ""))


def routes_of_cmgrd(wanted: Mapping[bytes, bytes]) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for body in wanted.values():
        route = decode("route", body)
        hops = route["nexthops"] or [{"ifindex": 0, "gateway": ""}]
        found.add(
            (
                {254: "main", 255: "local"}[route["table"]],
                str(ipaddress.ip_network(f"{route['dst']}/{route['plen']}")),
                route["metric"],
                TYPES[route["type"]],
                tuple(sorted((hop["ifindex"], hop["gateway"]) for hop in hops)),
            )
        )
    return found


def test_the_choice_among_next_hops_is_as_the_settings_say() -> None:
    async def run() -> None:
        ip(*SETUP)
        sysctl("net/ipv4/fib_multipath_hash_policy", "1")
        sysctl("net/ipv4/fib_multipath_hash_seed", "4294967295")
        (body,) = (await fresh())[FEATURES["vrf"].id].values()
        vrf = decode("vrf", body)
        assert vrf["flags"] == ["MULTIPATH4_PORTS"]
        assert vrf["multipath_seed"] == 0xFFFFFFFF

    in_namespace(run)


def test_a_dump_says_what_ip_says() -> None:
    async def run() -> None:
        ip(
            *SETUP,
            "route add 203.0.113.0/24 via 192.0.2.2",
            "route add 203.0.113.0/25 nexthop via 192.0.2.2 nexthop via 198.51.100.2",
            "route add default via 198.51.100.9 metric 50",
            "route add blackhole 203.0.113.128/26",
            "route add 203.0.113.200/32 via inet6 2001:db8:1::9",
            "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev p1",
        )
        subprocess.run(
            ["ip", "-6", "route", "add", "2001:db8:9::/48", "via", "2001:db8:1::9"], check=True
        )
        # Those that every device has lie side by side, and are left to Linux.
        shared = {"fe80::/64", "ff00::/8"}
        wanted = await fresh()
        oracle = {route for route in routes_of_ip() if route[1] not in shared}
        found = routes_of_cmgrd(wanted[FEATURES["route"].id])
        assert {route for route in found if route[1] not in shared} == oracle
        links = {link["ifindex"]: link for link in shown("-d", "link")}
        interfaces = [decode("iface", body) for body in wanted[FEATURES["iface"].id].values()]
        assert {o["ifindex"] for o in interfaces} == set(links)
        for o in interfaces:
            link = links[o["ifindex"]]
            assert (o["name"], o["mtu"], o["mac"]) == (link["ifname"], link["mtu"], link["address"])
            assert ("UP" in o["flags"]) == ("UP" in link["flags"])
            assert ("RUNNING" in o["flags"]) == ("LOWER_UP" in link["flags"])
            assert o["kind"] == link.get("linkinfo", {}).get("info_kind", "")
        (neigh,) = (decode("neigh", body) for body in wanted[FEATURES["neigh"].id].values())
        assert (neigh["addr"], neigh["mac"]) == ("192.0.2.2", "02:00:00:00:00:02")

    in_namespace(run)


def random_command(chance: random.Random) -> str:
    """A change of whatever; it may fail."""
    device = chance.choice(["p1", "p2", "h1", "h2", "x1", "x2"])
    v4 = f"203.0.113.{chance.choice([0, 64, 128])}/26"
    v6 = f"2001:db8:{chance.choice('789')}::/48"
    near4 = chance.choice(["192.0.2.2", "192.0.2.3", "198.51.100.2", "198.51.100.3"])
    near6 = chance.choice(["2001:db8:1::2", "2001:db8:1::3", "2001:db8:2::2"])
    verb = chance.choice(["add", "del", "replace", "append", "prepend", "change"])
    metric = chance.choice(["", "metric 5"])
    return chance.choice(
        [
            f"route {verb} {v4} via {near4} {metric}",
            f"route {verb} {v4} via {near4} {metric} src 192.0.2.1",
            f"route {verb} {v4} dev {device} {metric}",
            f"route {verb} {v4} {metric} nexthop via {near4} nexthop via 198.51.100.9 weight 2",
            f"route {verb} blackhole {v4} {metric}",
            f"route {verb} {v4} via inet6 {near6}",
            f"-6 route {verb} {v6} via {near6} {metric}",
            f"-6 route {verb} {v6} via {near6} dev {device} {metric}",
            f"-6 route {verb} {v6} dev {device} {metric}",
            f"-6 route {verb} {v6} {metric} nexthop via {near6} nexthop via 2001:db8:2::9 weight 2",
            f"-6 route {verb} unreachable {v6} {metric}",
            f"-6 route {verb} {v6} via {near6} mtu 1400 {metric}",
            f"link set {device} {chance.choice(['up', 'up', 'down'])}",
            f"link set {device} mtu {chance.choice([1400, 1500])}",
            f"link {chance.choice(['add', 'add', 'del'])} x1 type veth peer name x2",
            f"link set {device} master br0",
            f"link set {device} nomaster",
            f"link {chance.choice(['add', 'del'])} br0 type bridge",
            f"address {chance.choice(['add', 'del'])} 192.0.2.1/24 dev p1",
            f"address {chance.choice(['add', 'del'])} 198.51.100.1/24 dev p2",
            f"address {chance.choice(['add', 'del'])} 192.0.2.130/25 dev {device}",
            f"address {chance.choice(['add', 'del'])} 2001:db8:1::1/64 dev p1 nodad",
            f"address {chance.choice(['add', 'del'])} 2001:db8:2::1/64 dev {device} nodad",
            f"neigh {chance.choice(['replace', 'del'])} {near4} lladdr 02:00:00:00:00:0{chance.choice('23')} dev p1",
            f"neigh {chance.choice(['replace', 'del'])} {near6} lladdr 02:00:00:00:00:02 dev p1 nud stale",
            f"nexthop {chance.choice(['add', 'replace', 'del'])} id 5 via {near4} dev {device} onlink",
            f"route {verb} {v4} nhid {chance.choice('589')}",
            f"-6 route {verb} {v6} nhid {chance.choice('67')}",
            f"nexthop {chance.choice(['add', 'replace', 'del'])} id 6 via {near6} dev {device}",
            f"nexthop {chance.choice(['add', 'replace', 'del'])} id 7 group {chance.choice(['6', '6,9'])}",
            f"nexthop {chance.choice(['add', 'replace', 'del'])} id 8 group {chance.choice(['5/4,3', '4/5,2'])}",
            f"nexthop {chance.choice(['add', 'replace', 'del'])} id 9 group 5 type resilient buckets 4",
            f"nexthop replace id 4 via {near4} dev {device} onlink",
            f"rule {chance.choice(['add', 'del'])} from 192.0.2.77 table 100",
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_any_changes_end_in_what_a_fresh_dump_gives(seed: int) -> None:
    async def run() -> None:
        chance = random.Random(seed)
        ip(*SETUP)
        done: list[str] = []
        async with following() as follower:
            for _ in range(12):
                lines = [random_command(chance) for _ in range(chance.randrange(1, 25))]
                done += lines
                for line in lines:
                    subprocess.run(["ip", *line.split()], capture_output=True, check=False)
                    if chance.random() < 0.3:
                        await asyncio.sleep(0)
                try:
                    await equals_fresh(follower)
                except AssertionError as error:
                    raise AssertionError("\n".join([*done, str(error)])) from None
            assert follower.core.counts["malformed"] == 0
            assert follower.core.counts["failures"] == 0

    in_namespace(run)


def test_lost_messages_are_repaired_by_a_dump() -> None:
    """2,000 routes come while nobody reads, into the smallest buffer that the kernel gives."""

    async def run() -> None:
        ip(*SETUP)
        async with following(buffer=1) as follower:
            dumps = follower.core.counts["dumps"]
            ip(*(f"route add 203.0.{n >> 8}.{n & 255}/32 via 192.0.2.2" for n in range(2000)))
            await equals_fresh(follower)
            assert follower.core.counts["lost"] >= 1
            assert follower.core.counts["dumps"] > dumps
            assert FEATURES["route"].id in follower.core.lost
            found = routes_of_cmgrd(follower.core.objects.wanted[FEATURES["route"].id])
            assert len([r for r in found if str(r[1]).startswith("203.0.")]) == 2000
            # And the other way round.
            ip("route flush proto boot")
            await equals_fresh(follower)

    in_namespace(run)


def test_changes_during_dumps_are_not_lost() -> None:
    """Dumps go on all the time while routes flap."""

    async def run() -> None:
        ip(*SETUP)
        ip(*(f"route add 203.0.{n >> 8}.{n & 255}/32 via 192.0.2.2" for n in range(1500)))
        chance = random.Random(7)
        lines = []
        for _ in range(40000):
            n = chance.randrange(1500)
            verb = chance.choice(["replace", "del"])
            lines.append(
                f"route {verb} 203.0.{n >> 8}.{n & 255}/32 via 192.0.2.{chance.choice([2, 3])}"
            )
        async with following() as follower:
            process = await asyncio.create_subprocess_exec(
                "ip", "-force", "-batch", "-", stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            talking = asyncio.create_task(process.communicate("\n".join(lines).encode()))
            first = follower.core.counts["dumps"]
            while not talking.done():
                follower.not_before.clear()
                follower.core.want(Family.ROUTE4, "test")
                follower.wake.set()
                await asyncio.sleep(0.002)
            assert follower.core.counts["dumps"] >= first + 3
            await equals_fresh(follower)

    in_namespace(run)


def test_settings_of_interfaces_are_followed() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            interfaces = follower.core.objects.wanted[FEATURES["iface"].id]

            def flags(name: str) -> set[str]:
                (one,) = (
                    o
                    for o in (decode("iface", b) for b in interfaces.values())
                    if o["name"] == name
                )
                return set(one["flags"])

            for key, value, wanted in [
                ("net/ipv4/ip_forward", "1", {"UP", "RUNNING", "FORWARD4"}),
                ("net/ipv6/conf/all/forwarding", "1", {"UP", "RUNNING", "FORWARD4", "FORWARD6"}),
                ("net/ipv4/conf/p1/rp_filter", "1", {"UP", "RUNNING", "FORWARD4", "FORWARD6", "RPF"}),
                ("net/ipv6/conf/p1/disable_ipv6", "1", {"UP", "RUNNING", "FORWARD4", "RPF"}),
                ("net/ipv4/conf/p1/rp_filter", "0", {"UP", "RUNNING", "FORWARD4"}),
                ("net/ipv6/conf/p1/disable_ipv6", "0", {"UP", "RUNNING", "FORWARD4", "FORWARD6"}),
                ("net/ipv4/conf/p1/forwarding", "0", {"UP", "RUNNING", "FORWARD6"}),
                ("net/ipv4/conf/all/rp_filter", "2", {"UP", "RUNNING", "FORWARD6", "RPF_LOOSE"}),
            ]:  # fmt: skip
                sysctl(key, value)
                async with asyncio.timeout(5):
                    while flags("p1") != wanted:
                        await asyncio.sleep(0.01)
            subprocess.run(["tc", "qdisc", "add", "dev", "p1", "clsact"], check=True)
            async with asyncio.timeout(5):
                while "FOREIGN" not in flags("p1"):
                    await asyncio.sleep(0.01)
            assert "FOREIGN" not in flags("p2")
            subprocess.run(["tc", "qdisc", "del", "dev", "p1", "clsact"], check=True)
            subprocess.run(["tc", "qdisc", "add", "dev", "p1", "root", "fq_codel"], check=False)
            async with asyncio.timeout(5):
                while "FOREIGN" in flags("p1"):
                    await asyncio.sleep(0.01)
            await equals_fresh(follower)

    in_namespace(run)


def test_nftables_chains_on_the_way_guard_the_vrf() -> None:
    async def run() -> None:
        async with following() as follower:
            vrfs = follower.core.objects.wanted[FEATURES["vrf"].id]
            both = ["POLICY4", "POLICY6"]
            for command, wanted in [
                ("add table ip t; add chain ip t c { type filter hook input priority 0; }", []),
                ("add chain ip t d { type filter hook forward priority 0; }", ["POLICY4"]),
                ("add table inet u; add chain inet u c { type filter hook prerouting priority 0; }", both),
                ("delete table inet u", ["POLICY4"]),
                ("delete chain ip t d", []),
                ("add table ip6 v; add chain ip6 v c { type filter hook postrouting priority 0; }", ["POLICY6"]),
                ("flush ruleset", []),
            ]:  # fmt: skip
                subprocess.run(["nft", command], check=True)
                async with asyncio.timeout(5):
                    while decode("vrf", next(iter(vrfs.values())))["flags"] != wanted:
                        await asyncio.sleep(0.01)
            await equals_fresh(follower)

    in_namespace(run)


def test_ipsec_policies_come_and_go() -> None:
    async def run() -> None:
        async with following() as follower:
            vrfs = follower.core.objects.wanted[FEATURES["vrf"].id]
            policies = follower.core.objects.wanted[FEATURES["ipsec"].id]
            four, six = "src 10.0.0.0/8 dst 10.1.0.0/16", "src 2001:db8::/32 dst 2001:db8:1::/48"
            tunnel = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel"
            both = ["POLICY4", "POLICY6"]

            def state() -> tuple[list[tuple[str, int]], list[str]]:
                """Source and priority of each policy; the VRF's guard."""
                shown = [decode("ipsec", body)["policy"] for body in policies.values()]
                found = sorted((p["sel"]["src"], p["priority"]) for p in shown)
                return found, decode("vrf", next(iter(vrfs.values())))["flags"]

            for command, wanted, guard in [
                (f"policy add {four} dir out {tunnel}", [("10.0.0.0", 0)], []),
                (f"policy add {six} dir fwd action block", [("10.0.0.0", 0), ("2001:db8::", 0)], []),
                (f"policy update {four} dir out {tunnel} tmpl proto ah mode transport",
                 [("10.0.0.0", 0), ("2001:db8::", 0)], []),
                (f"policy add {four.replace("10.1", "10.2")} dir out priority 7 {tunnel}",
                 [("10.0.0.0", 0), ("10.0.0.0", 7), ("2001:db8::", 0)], []),
                (f"policy delete {four} dir out", [("10.0.0.0", 7), ("2001:db8::", 0)], []),
                ("policy flush", [], []),
                ("policy setdefault fwd block", [], both),
                ("policy setdefault fwd accept", [], []),
                (f"policy add {four} dir in {tunnel} limit time-hard 1", [("10.0.0.0", 0)], []),
                # It has expired.
                ("policy count", [], []),
                # A reserved number is no SA.
                ("state allocspi src 192.0.2.1 dst 192.0.2.2 proto esp min 0x100 max 0x200", [], []),
            ]:  # fmt: skip
                subprocess.run(
                    ["ip", "xfrm", *command.split()], check=True, stdout=subprocess.DEVNULL
                )
                try:
                    async with asyncio.timeout(5):
                        while state() != (wanted, guard):
                            await asyncio.sleep(0.01)
                except TimeoutError:
                    raise AssertionError(f"{command}: {state()}") from None
            await equals_fresh(follower)
            assert not follower.core.counts["malformed"]

    in_namespace(run)


def test_many_ipsec_policies_survive_lost_messages() -> None:
    """A small buffer, and more at once than it holds."""

    async def run() -> None:
        async with following(buffer=1) as follower:
            lines = [
                f"xfrm policy add src 10.0.0.0/8 dst 10.{i >> 8}.{i & 255}.0/24 dir out"
                " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel"
                for i in range(400)
            ]
            ip(*lines)
            await equals_fresh(follower)
            assert len(follower.core.objects.wanted[FEATURES["ipsec"].id]) == 400
            assert follower.core.counts["lost"]
            ip("xfrm policy flush", *lines[:7])
            await equals_fresh(follower)
            assert len(follower.core.objects.wanted[FEATURES["ipsec"].id]) == 7

    in_namespace(run)


def test_an_idle_follower_uses_no_cpu_time() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            await equals_fresh(follower)
            start = time.thread_time()
            await asyncio.sleep(1)
            assert time.thread_time() - start < 0.01

    in_namespace(run)
