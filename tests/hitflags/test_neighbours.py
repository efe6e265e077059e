"""Neighbours that only the fast path uses: Linux treats them as if it had sent the packets itself.

h1 == UDP ==> p1  router  p2 ==> h2
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.proc import wait_for
from tests.lib.daemon import Daemon
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, RIGHT, Driver, Rig

pytestmark = pytest.mark.functional

# Seconds: reachable for half to one and a half of it, then stale; probed after DELAY of use.
REACHABLE, DELAY = 2, 1
CASES = {"ipv4": (LEFT.host4, RIGHT.host4), "ipv6": (LEFT.host6, RIGHT.host6)}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("hitflags"), driver=Driver.AF_PACKET) as rig:
        for family in ("ipv4", "ipv6"):
            rig.router.sysctl(
                {
                    f"net.{family}.neigh.p2.base_reachable_time_ms": str(REACHABLE * 1000),
                    f"net.{family}.neigh.p2.delay_first_probe_time": str(DELAY),
                }
            )
        rig.resolve()
        yield rig


@pytest.fixture
def hitflagsd(rig: Rig, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(
        "hitflagsd",
        ["--instance", rig.instance, "--debug"],
        namespace=rig.router.namespace,
        log=tmp_path / "hitflagsd.log",
    )
    daemon.start()
    yield daemon
    assert daemon.alive, daemon.log.read_text()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()


def state(rig: Rig, address: str) -> str:
    (entry,) = json.loads(rig.router.ip(f"-j neigh show {address} dev p2"))
    return str(entry["state"][0])


def wait_for_state(rig: Rig, address: str, *wanted: str) -> None:
    wait_for(
        lambda: state(rig, address) in wanted,
        f"{address} to be {' or '.join(wanted)}",
        timeout=20,
        interval=0.05,
    )


def asks_for(frame: bytes, address: str) -> bool:
    """Whether the router asks on the wire where `address` is."""
    import socket

    if ":" in address:
        return (
            frame[12:14] == b"\x86\xdd"
            and frame[54:55] == b"\x87"
            and (frame[62:78] == socket.inet_pton(socket.AF_INET6, address))
        )
    return (
        frame[12:14] == b"\x08\x06"
        and frame[20:22] == b"\0\1"
        and (frame[38:42] == socket.inet_aton(address))
    )


@contextmanager
def traffic(rig: Rig, version: str) -> Iterator[None]:
    """Some packets a second, all of them the fast path's."""
    source, target = CASES[version]
    frame = udp_frame((LEFT.host_mac, source), (LEFT.port_mac, target), b"used")
    ending = threading.Event()

    def send() -> None:
        with Wire(rig.h1.namespace, "eth0") as wire:
            while not ending.wait(0.05):
                wire.send([frame])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def observed(rig: Rig, address: str, seconds: float) -> tuple[set[str], int, float]:
    """The states it's in meanwhile, how often the router asks for it, and how long that really was."""
    states: set[str] = set()
    start = time.monotonic()
    with Wire(rig.h2.namespace, "eth0") as wire:
        while time.monotonic() - start < seconds:
            states.add(state(rig, address))
            time.sleep(0.05)
        took = time.monotonic() - start
        asked = wire.hear(wanted=lambda frame: asks_for(frame, address), quiet=0.3, timeout=5)
    return states, len(asked), took


@pytest.mark.parametrize("version", CASES)
def test_a_used_neighbour_is_probed_as_often_as_linux_would(
    rig: Rig, hitflagsd: Daemon, version: str
) -> None:
    address = CASES[version][1]
    with traffic(rig, version), rig.carried(packets=100, exceptions=20):
        wait_for_state(rig, address, "STALE", "DELAY")
        wait_for_state(rig, address, "REACHABLE")
        states, asked, took = observed(rig, address, 12)
    assert {"REACHABLE", "DELAY"} <= states
    assert not states & {"FAILED", "INCOMPLETE"}
    # A round is the time that it's reachable, and the delay; a second or two pass until a hit is seen.
    assert 1 <= asked <= took / (REACHABLE / 2 + DELAY) + 1


@pytest.mark.parametrize("version", CASES)
def test_an_unused_neighbour_ages_and_nobody_asks_for_it(
    rig: Rig, hitflagsd: Daemon, version: str
) -> None:
    address = CASES[version][1]
    wait_for_state(rig, address, "STALE")
    time.sleep(2)  # what was used just before has been seen
    wait_for_state(rig, address, "STALE")
    states, asked, _ = observed(rig, address, 4)
    assert (states, asked) == ({"STALE"}, 0)


def test_without_the_daemon_linux_takes_it_for_unused(rig: Rig) -> None:
    """Or the other tests would prove nothing."""
    address = RIGHT.host4
    with traffic(rig, "ipv4"), rig.carried(packets=30, exceptions=20):
        wait_for_state(rig, address, "STALE")
        states, asked, _ = observed(rig, address, 4)
    assert (states, asked) == ({"STALE"}, 0)


def test_a_permanent_neighbour_stays_permanent(rig: Rig, hitflagsd: Daemon) -> None:
    rig.router.ip(f"neigh replace {RIGHT.host4} lladdr {RIGHT.host_mac} dev p2 nud permanent")
    try:
        with traffic(rig, "ipv4"):
            states, asked, _ = observed(rig, RIGHT.host4, 4)
        assert (states, asked) == ({"PERMANENT"}, 0)
    finally:
        rig.router.ip(f"neigh replace {RIGHT.host4} lladdr {RIGHT.host_mac} dev p2 nud stale")


def test_it_goes_on_over_a_restart_of_fpmd_and_of_itself(rig: Rig, hitflagsd: Daemon) -> None:
    with traffic(rig, "ipv4"):
        for daemon in (rig.fpmd, hitflagsd):
            daemon.kill()
            daemon.start()
            wait_for_state(rig, RIGHT.host4, "STALE", "DELAY")
            wait_for_state(rig, RIGHT.host4, "REACHABLE")
