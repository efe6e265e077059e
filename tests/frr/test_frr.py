"""FRR as it is, end to end: the protocols' packets reach it as exceptions, zebra writes routes into the kernel, cmgrd
mirrors them, and the fast path forwards.

h1 -- p1  router  p2 -- h2 -- 10.9.N.0/24, 2001:db8:9:N::/64
            FRR         FRR   (router.conf, neighbour.conf)
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.frr import Frr
from lab.proc import wait_for
from tests.functional.conftest import observed, rigs
from tests.lib.rig import LEFT, Driver, Rig
from tests.lib.traffic import Heard, Stream

pytestmark = pytest.mark.functional
__all__ = ["rigs"]

HERE = Path(__file__).parent
DAEMONS = ("ospfd", "ospf6d", "bgpd", "ripd", "ripngd", "isisd", "bfdd")
SOURCE = {4: LEFT.host4, 6: LEFT.host6}
# What the protocols themselves hand to Linux meanwhile.
BACKGROUND = 200
# Another address of h2, as a next hop.
OTHER = {4: "198.51.100.3", 6: "2001:db8:2::3"}
# The number in the prefix, and the protocol's name in the kernel's route.
ANNOUNCED = {
    "OSPF": (4, 1, "ospf"),
    "BGP": (4, 2, "bgp"),
    "RIP": (4, 3, "rip"),
    "IS-IS": (4, 4, "isis"),
    "OSPFv3": (6, 1, "ospf"),
    "BGP for IPv6": (6, 2, "bgp"),
    "RIPng": (6, 3, "ripng"),
    "IS-IS for IPv6": (6, 4, "isis"),
}


def prefix(family: int, number: int) -> str:
    return f"10.9.{number}.0/24" if family == 4 else f"2001:db8:9:{number}::/64"


def address(family: int, number: int) -> str:
    return f"10.9.{number}.1" if family == 4 else f"2001:db8:9:{number}::1"


class Routers:
    """The rig, with FRR on the router and on h2."""

    def __init__(self, rig: Rig, stack: ExitStack, work: Path) -> None:
        self.rig = rig
        for number in (1, 2, 3, 4, 7):
            rig.h2.ip(f"address add {address(4, number)}/24 dev lo")
            rig.h2.ip(f"address add {address(6, number)}/64 dev lo nodad")
        rig.h2.ip(f"address add {OTHER[4]}/24 dev eth0")
        rig.h2.ip(f"address add {OTHER[6]}/64 dev eth0 nodad")
        self.router = stack.enter_context(Frr(rig.router.namespace, DAEMONS, work))
        self.neighbour = stack.enter_context(Frr(rig.h2.namespace, DAEMONS, work))
        self.neighbour.configure((HERE / "neighbour.conf").read_text())
        self.router.configure((HERE / "router.conf").read_text())

    def route(self, family: int, number: int) -> str:
        """The kernel's route."""
        return self.rig.router.ip(f"-{family} route show {prefix(family, number)}")

    def wait_for_route(self, family: int, number: int, text: str) -> None:
        """Until the kernel's route says so, and the fast path has one."""
        wait_for(
            lambda: text in self.route(family, number),
            f"a route with {text!r} to {prefix(family, number)}",
            timeout=60,
            interval=0.1,
        )
        if self.rig.on:
            self.rig.wait_for_prefixes({prefix(family, number)})


@pytest.fixture(scope="module")
def made(rigs: Callable[..., Rig]) -> Iterator[Callable[[Driver], Routers]]:
    """Routers with and without the fast path, made once."""
    with ExitStack() as stack:
        known: dict[Driver, Routers] = {}

        def make(driver: Driver) -> Routers:
            if driver not in known:
                rig = rigs("frr", driver)
                known[driver] = Routers(rig, stack, rig.work)
            return known[driver]

        yield make


@pytest.fixture
def routers(
    made: Callable[[Driver], Routers], request: pytest.FixtureRequest, evidence: Path
) -> Iterator[Routers]:
    routers = made(Driver.AF_XDP)
    for _ in observed(routers.rig, request, evidence):
        yield routers


@pytest.mark.parametrize("protocol", ANNOUNCED)
def test_the_fast_path_forwards_what_a_neighbour_announced(routers: Routers, protocol: str) -> None:
    family, number, proto = ANNOUNCED[protocol]
    routers.wait_for_route(family, number, f"proto {proto}")
    with routers.rig.carried(packets=500, exceptions=BACKGROUND):
        heard = stream(routers.rig, family, number, lambda: None, packets=500)
    assert heard.lost == 0


def stream(
    rig: Rig, family: int, number: int, act: Callable[[], None], *, packets: int = 500
) -> Heard:
    """Traffic to an announced address while something happens, and for a moment after it."""
    with Stream(rig, source=SOURCE[family], destination=address(family, number)) as sent:
        wait_for(lambda: sent.received >= 100, "the stream", timeout=20, interval=0.02)
        act()
        least = sent.sent + packets
        wait_for(lambda: sent.sent >= least, "the end of the stream", timeout=30, interval=0.02)
    return sent.heard


def withdraw(routers: Routers, family: int) -> Heard:
    """BGP no longer announces what RIP announces too."""
    routers.wait_for_route(family, 7, "proto bgp")
    network = (
        f"router bgp 65002\naddress-family ipv{family} unicast\n%snetwork {prefix(family, 7)}\n"
    )

    def act() -> None:
        routers.neighbour.configure(network % "no ")
        routers.wait_for_route(family, 7, "proto rip")

    heard = stream(routers.rig, family, 7, act)
    routers.neighbour.configure(network % "")
    routers.wait_for_route(family, 7, "proto bgp")
    return heard


def move(routers: Routers, family: int) -> Heard:
    """BGP announces another next hop."""
    routers.wait_for_route(family, 2, "proto bgp")
    hop = f"ip next-hop {OTHER[4]}" if family == 4 else f"ipv6 next-hop global {OTHER[6]}"
    peer = "198.51.100.1" if family == 4 else "2001:db8:2::1"
    out = f"router bgp 65002\naddress-family ipv{family} unicast\n%sneighbor {peer} route-map MOVE{family} out\n"
    routers.neighbour.configure(f"route-map MOVE{family} permit 10\nset {hop}\nexit\n")

    def act() -> None:
        routers.neighbour.configure(out % "")
        routers.wait_for_route(family, 2, f"via {OTHER[family]} ")

    heard = stream(routers.rig, family, 2, act)
    routers.neighbour.configure(out % "no ")
    return heard


@pytest.mark.parametrize("change", [withdraw, move])
@pytest.mark.parametrize("family", [4, 6])
def test_a_change_loses_no_more_packets_than_in_linux(
    made: Callable[[Driver], Routers],
    routers: Routers,
    change: Callable[[Routers, int], Heard],
    family: int,
) -> None:
    linux = change(made(Driver.NONE), family)
    with routers.rig.carried(packets=500, exceptions=BACKGROUND):
        heard = change(routers, family)
    assert heard.lost <= linux.lost, f"{heard}, Linux alone {linux}"
    assert heard.twice == 0
