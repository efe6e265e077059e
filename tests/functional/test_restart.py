"""Promise 1: killed at any moment, everything is as it would have been. Under traffic, in turn,
each daemon.

h1 == UDP, numbered ==> p1  router  p2 ==> h2
"""

import json
import time
from collections.abc import Iterator

import pytest

from lab.netns import ip_batch
from lab.proc import wait_for
from tests.lib.daemon import Daemon
from tests.lib.rig import LEFT, RIGHT, SIDES, Rig, instance_files
from tests.lib.traffic import Stream

pytestmark = pytest.mark.functional


@pytest.fixture(autouse=True)
def steady(rig: Rig) -> Iterator[None]:
    """Neighbours age by themselves, which no restart is to blame for: they are permanent here."""
    lines = [
        f"neigh replace {address} lladdr {side.host_mac} dev {side.port} nud permanent"
        for side in SIDES
        for address in (side.host4, side.host6)
    ]
    ip_batch(rig.router.namespace, lines)
    wait_for(
        lambda: sum(row["state"] == "PERMANENT" for row in rig.fast_path.table("neighbours")) >= 4,
        "permanent neighbours",
        timeout=5,
        interval=0.05,
    )
    yield
    for daemon in rig.daemons:
        if not daemon.alive:
            daemon.start()


def dump(rig: Rig) -> str:
    """All of the configuration in shared memory, in an order and form that don't depend on when it
    was written.
    """
    from sluice.shm import canonical_dump

    lines = canonical_dump(rig.instance).splitlines()
    # Neighbours met by chance (a host's link-local address) come, age and go.
    return "\n".join(
        line for line in lines if not line.startswith("neigh ") or '"state": 128' in line
    )


def linux(rig: Rig) -> str:
    """All that Linux is configured with. Counters, ages and times of validity aren't configuration."""
    kept = []
    for command in ("addr", "-4 route show table all", "-6 route show table all", "neigh"):
        for item in json.loads(rig.router.ip(f"-j {command}")):
            for key in ("used", "confirmed", "updated", "refcnt", "ref_cnt", "flags", "operstate"):
                item.pop(key, None)
            # A neighbour that isn't ours was met by chance.
            if "lladdr" in item and item.get("state") != ["PERMANENT"]:
                continue
            kept.append(json.dumps(item, sort_keys=True))
    return "\n".join(sorted(kept))


def wait_for_dump(rig: Rig, wanted: str, *, timeout: float = 20) -> None:
    """Until the shared memory is as wanted; the assertion shows what differs."""
    last = ""

    def same() -> bool:
        nonlocal last
        try:
            last = dump(rig)
        except Exception as error:
            last = str(error)
        return last == wanted

    try:
        wait_for(same, "the shared memory as before", timeout=timeout, interval=0.1)
    except Exception:
        assert last.splitlines() == wanted.splitlines()


def generation(rig: Rig) -> int:
    """Which config file it is."""
    return next(
        path.stat().st_ino
        for path in instance_files(rig.instance)
        if path.name == f"sluice.{rig.instance}"
    )


def settled(rig: Rig) -> tuple[str, str]:
    """The dump and Linux's configuration, once they stand still."""
    before = dump(rig)

    def still() -> bool:
        nonlocal before
        now = dump(rig)
        same, before = now == before, now
        return same

    wait_for(still, "the shared memory to stand still", timeout=10, interval=0.3)
    return before, linux(rig)


def killed_and_started(daemon: Daemon, stream: Stream) -> None:
    """SIGKILL under traffic, time for damage to show, start."""
    wait_for(lambda: stream.received >= 50, "traffic", timeout=10, interval=0.02)
    daemon.kill()
    time.sleep(0.3)
    daemon.start()


@pytest.mark.parametrize("name", ["fpmd", "cmgrd"])
def test_killing_a_control_daemon_loses_no_packet_and_no_state(rig: Rig, name: str) -> None:
    daemon: Daemon = getattr(rig, name)
    memory, configuration = settled(rig)
    file = generation(rig)
    with rig.carried(packets=200, exceptions=12), Stream(rig) as stream:
        killed_and_started(daemon, stream)
        if name == "fpmd":
            # A new fpmd builds a new file and puts it in the old one's place when it's complete.
            wait_for(lambda: generation(rig) != file, "fpmd's new file", timeout=20, interval=0.05)
        wait_for_dump(rig, memory)
        count = stream.received
        wait_for(lambda: stream.received >= count + 100, "more traffic", timeout=10, interval=0.02)
    assert stream.heard.lost == 0, stream.heard
    assert linux(rig) == configuration
    assert all(d.alive for d in rig.daemons)


def test_the_fast_path_follows_linux_again_after_each_kill(rig: Rig) -> None:
    """What Linux is told while a daemon is dead counts as well."""
    memory, _ = settled(rig)
    for daemon, prefix in ((rig.fpmd, "10.1.0.0/16"), (rig.cmgrd, "10.2.0.0/16")):
        daemon.kill()
        rig.router.ip(f"route add {prefix} via {RIGHT.host4}")
        daemon.start()
        wait_for(
            lambda prefix=prefix: prefix in {r["prefix"] for r in rig.fast_path.table("routes")},  # type: ignore[misc]
            f"route {prefix}",
            timeout=20,
            interval=0.1,
        )
        daemon.kill()
        rig.router.ip(f"route del {prefix} via {RIGHT.host4}")
        daemon.start()
        wait_for_dump(rig, memory)


def test_killing_the_fast_path_loses_packets_only_until_it_is_back(rig: Rig) -> None:
    memory, configuration = settled(rig)
    with Stream(rig) as stream:
        wait_for(lambda: stream.received >= 50, "traffic", timeout=10, interval=0.02)
        rig.rte.kill()
        time.sleep(0.3)
        rig.rte.start()
        rig.wait_for_ports()
        count = stream.received
        wait_for(lambda: stream.received >= count + 200, "traffic again", timeout=40, interval=0.02)
        wait_for_dump(rig, memory)
        with rig.carried(packets=100, exceptions=12):
            count = stream.received
            wait_for(
                lambda: stream.received >= count + 200, "more traffic", timeout=10, interval=0.02
            )
    assert stream.heard.twice == 0, stream.heard
    assert linux(rig) == configuration
    assert all(d.alive for d in rig.daemons)


def test_killing_all_of_them_at_once_ends_the_same(rig: Rig) -> None:
    memory, configuration = settled(rig)
    for daemon in rig.daemons:
        daemon.kill()
    for daemon in reversed(rig.daemons):
        daemon.start()
    rig.wait_for_ports()
    wait_for_dump(rig, memory)
    assert linux(rig) == configuration
    with rig.carried(packets=100, exceptions=12), Stream(rig) as stream:
        wait_for(lambda: stream.received >= 100, "traffic", timeout=10, interval=0.02)
    assert stream.heard.lost == 0, stream.heard


def test_an_orderly_end_leaves_nothing_behind_but_what_a_restart_needs(rig: Rig) -> None:
    memory, configuration = settled(rig)
    for daemon in reversed(rig.daemons):
        assert daemon.stop() == 0, f"{daemon.name} ended with an error"
    for daemon in rig.daemons:
        daemon.start()
    rig.wait_for_ports()
    rig.configure_router()
    steady_lines = [
        f"neigh replace {address} lladdr {side.host_mac} dev {side.port} nud permanent"
        for side in (LEFT, RIGHT)
        for address in (side.host4, side.host6)
    ]
    ip_batch(rig.router.namespace, steady_lines)
    wait_for_dump(rig, memory)
    del configuration
