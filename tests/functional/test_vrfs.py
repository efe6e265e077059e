"""VRFs that are network namespaces: they come and go, and ports move between them.

h1 -- p1  router  p2 -- h2      p1 and p2 in the router's own namespace, or in those of VRFs
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lab import netns
from lab.proc import wait_for
from tests.conftest import EVIDENCE
from tests.functional.conftest import observed
from tests.lib.daemon import Daemon
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import (
    BEHIND4,
    BEHIND6,
    LEFT,
    NET4,
    NET6,
    RIGHT,
    ROUTER_SYSCTLS,
    SIDES,
    SYSCTLS,
    Node,
    Rig,
    Side,
    ping,
)

pytestmark = pytest.mark.functional
BACKGROUND = 16
PROBE = b"whose is it?"


@pytest.fixture(scope="module")
def vrf_rig() -> Iterator[Rig]:
    with Rig(EVIDENCE / "rigs" / "vrfs", vrfs=True) as rig:
        rig.resolve()
        yield rig


@pytest.fixture
def rig(vrf_rig: Rig, request: pytest.FixtureRequest, evidence: object) -> Iterator[Rig]:
    """As the module's, and as it was before, once the test is over."""
    yield from observed(vrf_rig, request, evidence)  # type: ignore[arg-type]
    for name in vrfs(vrf_rig):
        for side in SIDES:
            run = Node(vrf_rig.vrf(name)).ip
            run(f"link set {side.port} netns {vrf_rig.router.namespace}", check=False)
        netns.remove(vrf_rig.vrf(name))
    vrf_rig.configure_router()
    wait_for(lambda: not shown_vrfs(vrf_rig), "all VRFs to be gone", timeout=30, interval=0.05)
    vrf_rig.wait_for_configuration()
    vrf_rig.resolve()


def vrfs(rig: Rig) -> list[str]:
    """Names of the VRFs there are in Linux."""
    start = rig.vrf("")
    return [name.removeprefix(start) for name in netns.existing() if name.startswith(start)]


def shown_vrfs(rig: Rig) -> dict[str, dict[str, object]]:
    """Those that the fast path knows, but the one of the daemons, by name."""
    start = rig.vrf("")
    return {
        str(row["name"]).removeprefix(start): row
        for row in rig.fast_path.table("vrfs")
        if row["vrf"]
    }


def make_vrf(rig: Rig, name: str) -> Node:
    node = Node(rig.vrf(name))
    netns.create(node.namespace)
    node.sysctl(SYSCTLS)
    node.sysctl(ROUTER_SYSCTLS)
    node.ip("link set lo up")
    return node


def move(source: Node, side: Side, target: Node) -> None:
    source.ip(f"link set {side.port} netns {target.namespace}")
    netns.ip_batch(
        target.namespace,
        [
            f"link set {side.port} up",
            f"address replace {side.port4}/{side.plen4} dev {side.port}",
            f"address replace {side.port6}/{side.plen6} dev {side.port} nodad",
        ],
    )


def route_behind(node: Node) -> None:
    node.ip(f"route replace {NET4} via {RIGHT.host4}")
    node.ip(f"route replace {NET6} via {RIGHT.host6}")


def is_port(rig: Rig, side: Side, vrf: str) -> Callable[[], bool]:
    """Whether the fast path sends on this port in that VRF ("": the daemons' own)."""

    def there() -> bool:
        number = shown_vrfs(rig).get(vrf, {}).get("vrf") if vrf else 0
        return any(
            row["name"] == side.port
            and row["vrf"] == number
            and row["type"] == "port"
            and row["up"]
            for row in rig.fast_path.table("interfaces")
        )

    return there


def wait_for_port(rig: Rig, side: Side, vrf: str) -> None:
    wait_for(
        is_port(rig, side, vrf),
        f"port {side.port} in VRF {vrf}",
        timeout=30,
        interval=0.05,
        hint=f"see {rig.work}",
    )


def answers(rig: Rig, address: str) -> None:
    wait_for(
        lambda: ping(rig.h1, address, count=1, wait=1) == 1,
        f"an answer from {address}",
        timeout=20,
        interval=0.1,
        hint=f"see {rig.work}",
    )


def arrivals(rig: Rig, target: str, count: int = 10) -> int:
    """How many of so many probes from h1 arrive at h2."""
    source = LEFT.host6 if ":" in target else LEFT.host4
    frame = udp_frame((LEFT.host_mac, source), (LEFT.port_mac, target), PROBE)
    with Wire(rig.h1.namespace, "eth0") as near, Wire(rig.h2.namespace, "eth0") as far:
        near.send([frame] * count)
        found = far.hear(until=count, timeout=0.5, wanted=lambda f: PROBE in f)
    return len(found)


def carries(rig: Rig, *addresses: str) -> None:
    """The fast path itself carries pings there and back."""
    for address in addresses:
        answers(rig, address)
    for address in addresses:
        wait_for(
            lambda address=address: carried(rig, address),  # type: ignore[misc]
            f"the fast path to carry pings to {address}",
            timeout=30,
            interval=0.1,
            hint=f"see {rig.work}",
        )


def carried(rig: Rig, address: str) -> bool:
    before = rig.fast_path.counters()
    if ping(rig.h1, address, count=5) != 5:
        return False
    delta = rig.fast_path.counters() - before
    return delta.forwarded >= 10 and delta.exceptions <= BACKGROUND


def test_ports_move_to_a_namespace_at_run_time_and_work_there(rig: Rig) -> None:
    red = make_vrf(rig, "red")
    wait_for(lambda: "red" in shown_vrfs(rig), "VRF red", timeout=30, interval=0.05)
    for side in SIDES:
        move(rig.router, side, red)
        wait_for_port(rig, side, "red")
    route_behind(red)
    carries(rig, RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6)
    # And what is for the router itself gets there, too.
    assert ping(rig.h1, LEFT.port4, count=3) == 3
    # Back again.
    for side in SIDES:
        move(red, side, rig.router)
        wait_for_port(rig, side, "")
    route_behind(rig.router)
    carries(rig, RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6)


def test_a_namespace_that_has_ports_before_cmgrd_knows_it(rig: Rig) -> None:
    """All at once: cmgrd meets a namespace whose devices are there already."""
    rig.cmgrd.stop()
    red = make_vrf(rig, "red")
    for side in SIDES:
        move(rig.router, side, red)
    route_behind(red)
    rig.cmgrd.start()
    for side in SIDES:
        wait_for_port(rig, side, "red")
    carries(rig, RIGHT.host4, BEHIND6)


def test_nothing_leaks_from_one_vrf_to_another(rig: Rig) -> None:
    """The same addresses and routes in three VRFs; p1 and p2 are never in the same one."""
    red, blue = make_vrf(rig, "red"), make_vrf(rig, "blue")
    wait_for(lambda: {"red", "blue"} <= set(shown_vrfs(rig)), "VRFs", timeout=30, interval=0.05)
    places: list[tuple[Node, str]] = [(rig.router, ""), (red, "red"), (blue, "blue")]
    at = dict.fromkeys(SIDES, rig.router)
    for left, left_name in places:
        for right, right_name in places:
            if left is right:
                continue
            for side, node, name in ((LEFT, left, left_name), (RIGHT, right, right_name)):
                if at[side] is not node:
                    move(at[side], side, node)
                    at[side] = node
                wait_for_port(rig, side, name)
            route_behind(right)
            for target in (RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6):
                before = rig.fast_path.counters()
                assert arrivals(rig, target) == 0
                assert (rig.fast_path.counters() - before).forwarded == 0
    # Each reaches its own router, whose address is the same everywhere.
    for node in (rig.router, red, blue):
        if at[LEFT] is not node:
            move(at[LEFT], LEFT, node)
            at[LEFT] = node
        answers(rig, LEFT.port4)


def test_a_vrf_that_vanishes_takes_all_that_is_its_own_along(rig: Rig) -> None:
    red = make_vrf(rig, "red")
    lines = [f"route add 10.{i >> 8}.{i & 255}.0/24 dev lo" for i in range(2000)]
    netns.ip_batch(red.namespace, lines)

    def routes() -> int:
        rows = rig.fast_path.table("routes")
        return sum(row["vrf"] != 0 for row in rows)

    wait_for(lambda: routes() >= 2000, "its routes", timeout=20, interval=0.1)
    before = shown_vrfs(rig)["red"]["vrf"]
    netns.remove(red.namespace)
    wait_for(lambda: not shown_vrfs(rig) and not routes(), "VRF red to be gone", timeout=30)
    assert not [row for row in rig.fast_path.table("interfaces") if row["vrf"]]
    # The number may be another namespace's now, which has nothing of the old one.
    make_vrf(rig, "green")
    wait_for(lambda: "green" in shown_vrfs(rig), "VRF green", timeout=30, interval=0.05)
    assert shown_vrfs(rig)["green"]["vrf"] == before
    assert not [
        row for row in rig.fast_path.table("routes") if str(row["prefix"]).startswith("10.")
    ]


def test_namespaces_that_vanish_in_the_middle_of_a_dump_do_no_harm(rig: Rig) -> None:
    for turn in range(10):
        node = make_vrf(rig, f"short{turn}")
        netns.ip_batch(
            node.namespace, [f"route add 10.{i >> 8}.{i & 255}.0/24 dev lo" for i in range(500)]
        )
        netns.remove(node.namespace)
    wait_for(lambda: not shown_vrfs(rig), "all of them to be gone", timeout=20, interval=0.1)
    assert rig.cmgrd.alive
    assert "Traceback" not in rig.cmgrd.log.read_text()
    carries(rig, BEHIND4, BEHIND6)


@pytest.mark.parametrize("name", ["cmgrd", "fpmd", "rte"])
def test_a_killed_daemon_finds_the_vrfs_again(rig: Rig, name: str) -> None:
    red = make_vrf(rig, "red")
    blue = make_vrf(rig, "blue")
    with ExitStack():
        for side in SIDES:
            move(rig.router, side, red)
            wait_for_port(rig, side, "red")
    route_behind(red)
    blue.ip("address add 192.0.2.1/24 dev lo")
    carries(rig, BEHIND4, BEHIND6)
    numbers = {key: row["vrf"] for key, row in shown_vrfs(rig).items()}
    daemon = getattr(rig, name)
    daemon.kill()
    daemon.start()
    wait_for(
        lambda: {k: r["vrf"] for k, r in shown_vrfs(rig).items()} == numbers,
        "the same VRFs",
        timeout=20,
        interval=0.05,
    )
    for side in SIDES:
        wait_for_port(rig, side, "red")
    carries(rig, BEHIND4, BEHIND6)
    assert "p1" not in rig.router.ip("link show type tun")


def test_a_tap_may_have_another_name(rig: Rig) -> None:
    rig.router.ip("link set p2 down")
    rig.router.ip("link set p2 name wan")
    try:
        rig.router.ip("link set wan up")
        rig.router.ip(f"address replace {RIGHT.port6}/64 dev wan nodad")
        route_behind(rig.router)
        carries(rig, BEHIND4, BEHIND6)
    finally:
        rig.router.ip("link set wan down")
        rig.router.ip("link set wan name p2")
    assert rig.rte.alive


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    """It's there, but does nothing."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def test_fp_sync_check_compares_every_vrf(rig: Rig) -> None:
    """With differences made on purpose: what Linux changes while cmgrd stands still."""
    red, blue = make_vrf(rig, "red"), make_vrf(rig, "blue")
    for node in (rig.router, red, blue):
        node.ip("route replace 10.1.0.0/16 dev lo")
        node.ip("-6 route replace 2001:db8:a::/48 dev lo")
    move(rig.router, RIGHT, red)
    wait_for_port(rig, RIGHT, "red")
    wait_for(lambda: {"red", "blue"} <= set(shown_vrfs(rig)), "VRFs", timeout=30, interval=0.05)
    numbers = {name: row["vrf"] for name, row in shown_vrfs(rig).items()}
    wait_for(lambda: not rig.fast_path.differences(), "equality", timeout=30, interval=0.1)
    assert not rig.fast_path.differences("--tables")
    with stopped(rig.cmgrd):
        red.ip("route del 10.1.0.0/16")
        red.ip("link set lo mtu 1400")
        blue.ip("-6 route add 2001:db8:b::/48 dev lo")
        rig.router.ip("route add 10.2.0.0/16 dev lo")
        make_vrf(rig, "green")
        found = rig.fast_path.differences("--seconds", "0.1")
        seen = {
            (row["kind"], row["feature"], (row["kernel"] or row["fast_path"])["vrf"])
            for row in found
            if row["feature"] in ("route", "iface")
        }
        green = {place for place in seen if place[2] not in (0, *numbers.values())}
        assert seen - green == {
            ("extra", "route", numbers["red"]),
            ("different", "iface", numbers["red"]),
            ("missing", "route", numbers["blue"]),
            ("missing", "route", 0),
        }, "\n".join(map(str, found))
        assert green, found
        mtus = [
            (r["kernel"]["mtu"], r["fast_path"]["mtu"]) for r in found if r["kind"] == "different"
        ]
        assert mtus == [(1400, 65536)], found
        tables = rig.fast_path.differences("--tables", "--seconds", "0.1")
        assert "table" in {row["kind"] for row in tables}
    wait_for(lambda: not rig.fast_path.differences(), "equality", timeout=30, interval=0.1)
    netns.remove(blue.namespace)
    with stopped(rig.cmgrd):
        netns.remove(rig.vrf("green"))
        found = rig.fast_path.differences("--seconds", "0.1")
        assert {row["kind"] for row in found} == {"extra"}, found
    wait_for(lambda: not rig.fast_path.differences(), "equality", timeout=30, interval=0.1)
    for node in (rig.router, red):
        node.ip("route del 10.1.0.0/16", check=False)
        node.ip("-6 route del 2001:db8:a::/48", check=False)
    rig.router.ip("route del 10.2.0.0/16")
