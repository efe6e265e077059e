"""Linux's VRF devices: their ports are in the fast path, each with its device's table. Where the kernel has them.

h1 -- p1  router  p2 -- h2      p1 and p2 ports of VRF devices, or not
"""

import subprocess
from collections.abc import Iterator

import pytest

from lab import netns
from lab.proc import wait_for
from tests.functional.test_vrfs import arrivals, carries
from tests.lib.rig import BEHIND4, BEHIND6, LEFT, NET4, NET6, RIGHT, SIDES, Rig, Side, ping

pytestmark = [pytest.mark.functional, pytest.mark.vm]


def kernel_has_vrf_devices() -> bool:
    """Asked in a namespace that is gone at once."""
    return (
        subprocess.run(
            ["unshare", "--net", "ip", "link", "add", "red", "type", "vrf", "table", "10"],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )


@pytest.fixture(autouse=True)
def as_it_was(rig: Rig) -> Iterator[None]:
    if not kernel_has_vrf_devices():
        pytest.skip("this kernel has no VRF devices")
    yield
    for name in ("red", "blue"):
        rig.router.ip(f"link del {name}", check=False)
    for family in ("-4", "-6"):
        rig.router.ip(f"{family} rule del l3mdev", check=False)
        for table in (10, 20):
            rig.router.ip(f"{family} route flush table {table}", check=False)
    rig.configure_router()
    rig.wait_for_configuration()
    rig.resolve()


def device(rig: Rig, name: str, table: int) -> None:
    netns.ip_batch(
        rig.router.namespace,
        [
            f"link add {name} type vrf table {table}",
            f"link set {name} up",
            f"route add unreachable default table {table} metric 4278198272",
        ],
    )
    rig.router.ip(f"-6 route add unreachable default table {table} metric 4278198272")
    rig.router.sysctl({f"net.ipv4.conf.{name}.forwarding": "1"})


def enslave(rig: Rig, side: Side, name: str) -> None:
    """A port of VRF device `name`; "": of none. IPv6 addresses go with the change."""
    rig.router.ip(f"link set {side.port} " + (f"master {name}" if name else "nomaster"))
    netns.ip_batch(
        rig.router.namespace,
        [
            f"link set {side.port} up",
            f"address replace {side.port4}/{side.plen4} dev {side.port}",
            f"address replace {side.port6}/{side.plen6} dev {side.port} nodad",
        ],
    )
    wait_for(
        lambda: any(
            row["name"] == side.port and row["l3mdev"] == name and row["up"]
            for row in rig.fast_path.table("interfaces")
        ),
        f"{side.port} to be a port of '{name}' in the fast path",
        timeout=30,
        interval=0.05,
    )


def route_behind(rig: Rig, table: str) -> None:
    rig.router.ip(f"route replace {NET4} via {RIGHT.host4} table {table}")
    rig.router.ip(f"-6 route replace {NET6} via {RIGHT.host6} table {table}")


def test_both_ports_in_one_vrf_device(rig: Rig) -> None:
    device(rig, "red", 10)
    for side in SIDES:
        enslave(rig, side, "red")
    route_behind(rig, "10")
    carries(rig, RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6)
    assert ping(rig.h1, LEFT.port4, count=3) == 3, "local addresses of the VRF are local"
    assert not rig.fast_path.differences()
    assert not [
        row
        for row in rig.fast_path.table("interfaces")
        if row["name"] in ("p1", "p2") and "slave" in row["flags"]
    ]
    for side in SIDES:
        enslave(rig, side, "")
    route_behind(rig, "main")
    carries(rig, RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6)


def test_vrf_devices_dont_leak(rig: Rig) -> None:
    device(rig, "red", 10)
    device(rig, "blue", 20)
    for left, right in (("red", "blue"), ("red", ""), ("", "blue")):
        enslave(rig, LEFT, left)
        enslave(rig, RIGHT, right)
        route_behind(rig, {"": "main", "blue": "20"}[right])
        if not right:
            continue  # without the device's own route a packet goes on to main; there's one here
        for target in (RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6):
            before = rig.fast_path.counters()
            assert arrivals(rig, target) == 0
            assert (rig.fast_path.counters() - before).forwarded == 0
