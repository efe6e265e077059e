"""ICMP errors are Linux's: it sees the packet as it came in, and its answer leaves the port.

h1 -- p1  router  p2 -- h2 -- 203.0.113.0/24, 2001:db8:3::/64
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.proc import wait_for
from tests.lib.frames import Wire
from tests.lib.limits import unlimited_errors
from tests.lib.packets import udp_frame
from tests.lib.rig import BEHIND4, BEHIND6, LEFT, RIGHT, Rig, ping, wait_for_counters

pytestmark = pytest.mark.functional
BACKGROUND = 12


@contextmanager
def exceptions(rig: Rig, reason: str, count: int) -> Iterator[None]:
    """Assert that meanwhile at least `count` packets were handed to Linux for a reason."""
    before = rig.fast_path.counters()
    yield
    delta = wait_for_counters(
        lambda: rig.fast_path.counters() - before, lambda d: d.reasons.get(reason, 0) >= count
    )
    assert delta.reasons.get(reason, 0) >= count, f"wanted {count} {reason}: {delta}"


def trace(rig: Rig, address: str) -> list[str]:
    """traceroute's hops."""
    argv = ["traceroute", "-n", "-q", "1", "-w", "2", "-m", "4", address]
    lines = rig.h1.run(*argv, timeout=60).stdout.splitlines()[1:]
    return [line.split()[1] for line in lines]


@pytest.mark.parametrize(
    ("address", "router", "reason"),
    [(BEHIND4, LEFT.port4, "ip_ttl"), (BEHIND6, LEFT.port6, "ip6_hop_limit")],
    ids=["IPv4", "IPv6"],
)
def test_traceroute_shows_the_router_then_the_destination(
    rig: Rig, address: str, router: str, reason: str
) -> None:
    with exceptions(rig, reason, 1):
        assert trace(rig, address) == [router, address]


@pytest.mark.parametrize(
    ("source", "target", "router", "reason"),
    [
        (LEFT.host4, BEHIND4, LEFT.port4, "ip_ttl"),
        (LEFT.host6, BEHIND6, LEFT.port6, "ip6_hop_limit"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_time_exceeded_quotes_the_packet_as_it_came_in(
    rig: Rig, source: str, target: str, router: str, reason: str
) -> None:
    frames = [
        udp_frame((LEFT.host_mac, source), (LEFT.port_mac, target), b"expired" * 8, ttl=1)
    ] * 5
    with Wire(rig.h1.namespace, "eth0") as near, exceptions(rig, reason, 5):
        near.send(frames)
        answers = near.hear(until=5, timeout=3, wanted=lambda f: b"expired" in f)
    assert len(answers) == 5
    for answer in answers:
        # Ethernet header, then IPv4 or IPv6 header, then 8 bytes of ICMP, then the quoted packet.
        head = 20 if "." in source else 40
        assert answer[14 + head + 8 :].startswith(frames[0][14:70])


@pytest.mark.parametrize(
    ("address", "size", "reason"),
    [(BEHIND4, 1400, "ip_mtu"), (BEHIND6, 1400, "ip6_mtu")],
    ids=["IPv4", "IPv6"],
)
def test_a_packet_longer_than_the_next_mtu_brings_back_an_icmp_error(
    rig: Rig, address: str, size: int, reason: str
) -> None:
    rig.router.ip("link set p2 mtu 1300")
    try:
        wait_for(
            lambda: any(
                row["name"] == "p2" and row["mtu"] == 1300
                for row in rig.fast_path.table("interfaces")
            ),
            "the MTU in the fast path",
            timeout=5,
            interval=0.05,
        )
        with exceptions(rig, reason, 1):
            done = rig.h1.run(
                "ping",
                "-n",
                "-c",
                "1",
                "-W",
                "2",
                "-M",
                "do",
                "-s",
                str(size),
                address,
                check=False,
            )
        assert "mtu" in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
        # Shorter ones pass on the fast path.
        with rig.carried(packets=10, exceptions=BACKGROUND):
            assert ping(rig.h1, address, count=5, size=1200) == 5
    finally:
        rig.router.ip("link set p2 mtu 1500")
        rig.router.ip(f"address replace {RIGHT.port6}/64 dev p2 nodad")
        rig.h1.ip("route flush cache")
        rig.h1.ip("-6 route flush cache")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (LEFT.host4, "100.64.0.1", "ip_no_route"),
        (LEFT.host6, "2001:db8:ffff::1", "ip6_no_route"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_without_a_route_linux_says_network_unreachable(
    rig: Rig, source: str, target: str, reason: str
) -> None:
    frame = udp_frame((LEFT.host_mac, source), (LEFT.port_mac, target), b"nowhere" * 8)
    with (
        unlimited_errors(),
        Wire(rig.h1.namespace, "eth0") as near,
        exceptions(rig, reason, 3),
    ):
        near.send([frame] * 3)
        answers = near.hear(until=3, timeout=3, wanted=lambda f: b"nowhere" in f)
    # IPv4: type 3, code 0; IPv6: type 1, code 0.
    at = 34 if "." in source else 54
    wanted = b"\x03\x00" if "." in source else b"\x01\x00"
    assert [answer[at : at + 2] for answer in answers] == [wanted] * 3
