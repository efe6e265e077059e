"""Kinds of routes that test_forwarding.py doesn't have: Linux configures them, the fast path forwards by them.

h1 -- p1  router  p2 -- h2      behind h2: 100.64.0.0/24, 2001:db8:64::/64
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import netns
from lab.proc import wait_for
from tests.functional.conftest import observed
from tests.functional.test_vrfs import arrivals, carries
from tests.lib.rig import RIGHT, Rig

pytestmark = pytest.mark.functional

FAR4, FAR6 = "100.64.0.1", "2001:db8:64::1"
TO4, TO6 = "100.64.0.0/24", "2001:db8:64::/64"
BESIDE4, BESIDE6 = "198.51.100.3", "2001:db8:2::3"  # h2 again


@pytest.fixture(scope="module")
def far_rig(rigs: Callable[..., Rig]) -> Rig:
    rig = rigs("routes")
    lines = [f"address add {address} dev lo" for address in (f"{FAR4}/24", f"{FAR6}/64")]
    lines += [f"address add {BESIDE4}/24 dev eth0", f"address add {BESIDE6}/64 dev eth0 nodad"]
    netns.ip_batch(rig.h2.namespace, [*lines, "address add 192.88.99.9/32 dev eth0"])
    return rig


@pytest.fixture
def rig(far_rig: Rig, request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    for rig in observed(far_rig, request, evidence):
        yield rig
        for command in ("route flush", "-6 route flush"):
            rig.router.ip(f"{command} root {TO6 if '-6' in command else TO4}", check=False)
        rig.router.ip("nexthop flush", check=False)


def stops(rig: Rig, target: str) -> None:
    """The router no longer forwards there, and neither does the fast path."""
    wait_for(lambda: not arrivals(rig, target, 1), f"the end of {target}", timeout=20)
    before = rig.fast_path.counters()
    assert arrivals(rig, target) == 0
    assert (rig.fast_path.counters() - before).forwarded == 0


def test_next_hop_objects_lead_there_change_and_go(rig: Rig) -> None:
    for number, (prefix, far, near, beside) in enumerate(
        ((TO4, FAR4, RIGHT.host4, BESIDE4), (TO6, FAR6, RIGHT.host6, BESIDE6)), 1
    ):
        rig.router.ip(f"nexthop add id {number} via {near} dev p2")
        rig.router.ip(f"route add {prefix} nhid {number}")
        carries(rig, far)
        rig.router.ip(f"nexthop replace id {number} via {beside} dev p2")
        carries(rig, far)
        assert via(rig, prefix) == beside
        assert not rig.fast_path.differences()
        rig.router.ip(f"nexthop del id {number}")
        stops(rig, far)


def via(rig: Rig, prefix: str) -> object:
    found = [row["via"] for row in rig.fast_path.table("routes") if row["prefix"] == prefix]
    return found[0] if found else None


def test_groups_of_next_hop_objects_and_of_a_multipath_route(rig: Rig) -> None:
    for number, near, beside in ((1, RIGHT.host4, BESIDE4), (3, RIGHT.host6, BESIDE6)):
        rig.router.ip(f"nexthop add id {number} via {near} dev p2")
        rig.router.ip(f"nexthop add id {number + 1} via {beside} dev p2")
    rig.router.ip("nexthop add id 5 group 1/2")
    rig.router.ip("nexthop add id 6 group 3,9/4,2")
    rig.router.ip(f"route add {TO4} nhid 5")
    rig.router.ip(f"route add {TO6} nhid 6")
    carries(rig, FAR4, FAR6)
    wait_for(lambda: via(rig, TO6) == [RIGHT.host6, BESIDE6], "both", timeout=20)
    rig.router.ip("nexthop replace id 5 group 2/1,200")
    wait_for(lambda: via(rig, TO4) == [BESIDE4, RIGHT.host4], "the other order", timeout=20)
    carries(rig, FAR4)
    # One that goes leaves the other.
    rig.router.ip("nexthop del id 3")
    wait_for(lambda: via(rig, TO6) == BESIDE6, "one left", timeout=20)
    carries(rig, FAR6)
    for prefix, near, beside in ((TO4, RIGHT.host4, BESIDE4), (TO6, RIGHT.host6, BESIDE6)):
        rig.router.ip(f"route replace {prefix} nexthop via {near} weight 3 nexthop via {beside}")
    carries(rig, FAR4, FAR6)
    wait_for(lambda: via(rig, TO6) == [RIGHT.host6, BESIDE6], "both", timeout=20)
    assert not rig.fast_path.differences()


def test_a_resilient_group_is_linux_s(rig: Rig) -> None:
    rig.router.ip(f"nexthop add id 1 via {RIGHT.host4} dev p2")
    rig.router.ip(f"nexthop add id 2 via {BESIDE4} dev p2")
    rig.router.ip("nexthop add id 3 group 1/2 type resilient buckets 8")
    rig.router.ip(f"route add {TO4} nhid 3")
    wait_for(lambda: arrivals(rig, FAR4, 1), "the route", timeout=20)
    before = rig.fast_path.counters()
    assert arrivals(rig, FAR4) == 10
    delta = rig.fast_path.counters() - before
    assert delta.reasons.get("ip_linux_route") == 10, delta
    rig.router.ip(f"route replace {TO4} via {RIGHT.host4}")
    carries(rig, FAR4)


def test_a_gateway_that_is_on_no_network_of_ours(rig: Rig) -> None:
    rig.router.ip(f"route add {TO4} via 192.88.99.9 dev p2 onlink")
    carries(rig, FAR4)


def test_ipv4_by_an_ipv6_gateway(rig: Rig) -> None:
    """RFC 8950."""
    rig.router.ip(f"route add {TO4} via inet6 {RIGHT.host6} dev p2")
    carries(rig, FAR4)
    assert via(rig, TO4) == RIGHT.host6
    rig.router.ip(f"route replace {TO4} nexthop via inet6 {RIGHT.host6} nexthop via {BESIDE4}")
    carries(rig, FAR4)


def test_the_lower_metric_counts_until_it_goes(rig: Rig) -> None:
    for prefix, far, near in ((TO4, FAR4, RIGHT.host4), (TO6, FAR6, RIGHT.host6)):
        rig.router.ip(f"route add {prefix} via {near} metric 20")
        carries(rig, far)
        rig.router.ip(f"route add blackhole {prefix} metric 10")
        stops(rig, far)
        rig.router.ip(f"route del blackhole {prefix} metric 10")
        carries(rig, far)
