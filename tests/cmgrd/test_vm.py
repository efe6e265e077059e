"""cmgrd against the appliance's own kernel: the kinds of links and policies that a build machine's kernel lacks."""

import asyncio
import subprocess

import pytest
from sluice.cmgrd.follower import Follower
from sluice.fpc import FEATURES, decode

from tests.cmgrd.kernel import equals_fresh, following, in_namespace, ip
from tests.cmgrd.scenarios import SETUP

pytestmark = pytest.mark.vm


def flags(follower: Follower, name: str) -> set[str]:
    found = follower.core.objects.wanted[FEATURES["iface"].id].values()
    return {f for body in found if (o := decode("iface", body))["name"] == name for f in o["flags"]}


def table(follower: Follower, name: str) -> int:
    """That of the VRF device it's a port of."""
    found = follower.core.objects.wanted[FEATURES["iface"].id].values()
    (number,) = (o["table"] for body in found if (o := decode("iface", body))["name"] == name)
    return int(number)


def policy(follower: Follower) -> set[str]:
    (body,) = follower.core.objects.wanted[FEATURES["vrf"].id].values()
    return set(decode("vrf", body)["flags"])


def routes(follower: Follower) -> set[str]:
    found = follower.core.objects.wanted[FEATURES["route"].id].values()
    shown = [decode("route", body) for body in found]
    return {f"{route['dst']}/{route['plen']}" for route in shown if route["table"] == 254}


async def until_true(what: str, condition: object) -> None:
    assert callable(condition)
    try:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(what) from None


def test_a_vrf_device_takes_its_links_and_their_routes() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            assert "192.0.2.0/24" in routes(follower)
            ip("link add red type vrf table 10", "link set red up", "link set p1 master red")
            await until_true("p1 isn't its port", lambda: table(follower, "p1") == 10)
            await until_true("still in main", lambda: "192.0.2.0/24" not in routes(follower))
            assert table(follower, "p2") == 0
            assert "SLAVE" not in flags(follower, "p1")
            # The rule that the kernel adds for it concerns its links alone.
            assert not policy(follower)
            await equals_fresh(follower, timeout=30)
            ip("link del red")
            await until_true("not back in main", lambda: "192.0.2.0/24" in routes(follower))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def test_a_bond_takes_its_links() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            ip(
                "link add bond7 type bond mode active-backup",
                "link set p1 down",
                "link set p1 master bond7",
            )
            await until_true("p1 isn't a slave", lambda: "SLAVE" in flags(follower, "p1"))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def test_a_macvlan_makes_the_device_below_foreign() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            ip("link add above link p1 type macvlan", "link add v7 link p2 type vlan id 7")
            await until_true("p1 isn't foreign", lambda: "FOREIGN" in flags(follower, "p1"))
            assert "FOREIGN" not in flags(follower, "p2")
            ip("link del above")
            await until_true("p1 stays foreign", lambda: "FOREIGN" not in flags(follower, "p1"))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def test_ipsec_policies_guard_their_family() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            assert not policy(follower)
            selector = "src 192.0.2.0/24 dst 198.51.100.0/24 dir fwd"
            subprocess.run(
                f"ip xfrm policy add {selector} tmpl src 192.0.2.1 dst 198.51.100.1"
                " proto esp mode tunnel".split(),
                check=True,
            )
            await until_true("no guard", lambda: policy(follower) == {"POLICY4"})
            subprocess.run(f"ip xfrm policy delete {selector}".split(), check=True)
            await until_true("the guard stays", lambda: not policy(follower))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def test_neighbours_of_a_device_without_arp_are_left_out() -> None:
    async def run() -> None:
        ip(
            *SETUP,
            "link add quiet type dummy",
            "link set quiet up",
            "address add 203.0.113.1/24 dev quiet",
        )
        async with following() as follower:
            subprocess.run(
                ["ping", "-c", "1", "-W", "1", "203.0.113.9"], capture_output=True, check=False
            )
            shown = subprocess.run(
                ["ip", "neigh", "show", "nud", "noarp"], capture_output=True, text=True, check=True
            )
            assert "203.0.113.9" in shown.stdout
            await equals_fresh(follower, timeout=30)
            found = follower.core.objects.wanted[FEATURES["neigh"].id].values()
            assert "203.0.113.9" not in {decode("neigh", body)["addr"] for body in found}

    in_namespace(run)


def test_an_mpls_encapsulated_route_is_left_to_linux() -> None:
    async def run() -> None:
        ip(*SETUP)
        subprocess.run(["modprobe", "mpls_iptunnel"], check=False)
        async with following() as follower:
            subprocess.run(
                ["ip", "route", "add", "203.0.113.0/24", "encap", "mpls", "77", "via", "192.0.2.2"],
                check=True,
            )
            await until_true("no route", lambda: "203.0.113.0/24" in routes(follower))
            found = follower.core.objects.wanted[FEATURES["route"].id].values()
            shown = [decode("route", body) for body in found]
            (route,) = [r for r in shown if r["dst"] == "203.0.113.0"]
            assert route["flags"] == ["UNSUPPORTED"]
            await equals_fresh(follower, timeout=30)

    in_namespace(run)
