"""ARP and neighbour discovery are Linux's, also for addresses that the router answers for; devices that aren't ports.

h1 -- p1  router  p2 -- h2
"""

from collections.abc import Iterator

import pytest

from lab.proc import wait_for
from tests.lib.rig import LEFT, RIGHT, Rig, ping

pytestmark = pytest.mark.functional
# On h1's network, but in truth h2's.
FAR4, FAR6 = "192.0.2.200", "2001:db8:1::200"


@pytest.fixture
def far(rig: Rig) -> Iterator[None]:
    """h2 has addresses of h1's network; the router knows the way."""
    rig.h2.ip(f"address add {FAR4}/32 dev lo")
    rig.h2.ip(f"address add {FAR6}/128 dev lo nodad")
    rig.router.ip(f"route add {FAR4}/32 via {RIGHT.host4}")
    rig.router.ip(f"route add {FAR6}/128 via {RIGHT.host6}")
    try:
        yield
    finally:
        rig.router.ip(f"route del {FAR4}/32")
        rig.router.ip(f"route del {FAR6}/128")
        rig.h2.ip(f"address del {FAR4}/32 dev lo")
        rig.h2.ip(f"address del {FAR6}/128 dev lo")
        rig.h1.ip("neigh flush dev eth0")


def flags(rig: Rig, name: str) -> list[str]:
    return next(r["flags"] for r in rig.fast_path.table("interfaces") if r["name"] == name)


@pytest.mark.parametrize("how", ["proxy_arp", "entry"])
def test_linux_answers_arp_for_others(rig: Rig, far: None, how: str) -> None:
    assert ping(rig.h1, FAR4, count=1, wait=1) == 0
    if how == "proxy_arp":
        rig.router.sysctl({"net.ipv4.conf.p1.proxy_arp": "1"})
        wait_for(lambda: "proxy" in flags(rig, "p1"), "the setting", timeout=20, interval=0.05)
    else:
        rig.router.ip(f"neigh add proxy {FAR4} dev p1")
    rig.h1.ip("neigh flush dev eth0")
    try:
        wait_for(lambda: ping(rig.h1, FAR4, count=1, wait=1) == 1, "an answer", timeout=30)
        with rig.carried(packets=10, exceptions=12):
            assert ping(rig.h1, FAR4, count=5) == 5
        shown = rig.h1.ip(f"neigh show {FAR4}")
        assert LEFT.port_mac in shown
        # The entry is no neighbour of the fast path's.
        assert FAR4 not in rig.neighbours()
    finally:
        rig.router.sysctl({"net.ipv4.conf.p1.proxy_arp": "0"})
        rig.router.ip(f"neigh del proxy {FAR4} dev p1", check=False)


def test_linux_answers_neighbour_discovery_for_others(rig: Rig, far: None) -> None:
    rig.router.sysctl({"net.ipv6.conf.p1.proxy_ndp": "1"})
    rig.router.ip(f"neigh add proxy {FAR6} dev p1")
    rig.h1.ip("neigh flush dev eth0")
    try:
        wait_for(lambda: "proxy" in flags(rig, "p1"), "the setting", timeout=20, interval=0.05)
        wait_for(lambda: ping(rig.h1, FAR6, count=1, wait=1) == 1, "an answer", timeout=30)
        with rig.carried(packets=10, exceptions=12):
            assert ping(rig.h1, FAR6, count=5) == 5
        assert LEFT.port_mac in rig.h1.ip(f"neigh show {FAR6}")
    finally:
        rig.router.ip(f"neigh del proxy {FAR6} dev p1")
        rig.router.sysctl({"net.ipv6.conf.p1.proxy_ndp": "0"})


def test_routes_through_devices_that_arent_ports_are_linuxs(rig: Rig) -> None:
    """The way to h2's network leads through a veth pair into the router itself: Linux goes it."""
    lines = [
        "link add v1 type veth peer name v2",
        "link add br9 type bridge",
        "link set v2 master br9",
        "link set v1 up",
        "link set v2 up",
        "link set br9 up",
        "address add 198.18.0.1/24 dev br9",
    ]
    for line in lines:
        rig.router.ip(line)
    try:

        def kinds() -> dict[str, tuple[str, str]]:
            rows = rig.fast_path.table("interfaces")
            return {row["name"]: (row["type"], row["kind"]) for row in rows}

        wait_for(lambda: {"v1", "v2", "br9"} <= kinds().keys(), "the devices", timeout=20)
        assert kinds()["br9"] == ("linux", "bridge")
        assert kinds()["v1"] == ("linux", "veth")
        assert "slave" in flags(rig, "v2")
        rig.router.ip("route add 198.18.7.0/24 via 198.18.0.7")
        before = rig.fast_path.counters()
        wait_for(lambda: ping(rig.h1, "198.18.0.1", count=1, wait=1) == 1, "an answer", timeout=30)
        ping(rig.h1, "198.18.7.1", count=2, wait=1)
        delta = rig.fast_path.counters() - before
        assert delta.reasons.get("ip_output_linux", 0) >= 2, delta
    finally:
        rig.router.ip("link del br9")
        rig.router.ip("link del v1")
