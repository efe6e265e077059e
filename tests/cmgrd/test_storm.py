"""Floods of changes: whatever is lost on the way is repaired in bounded time, memory doesn't grow with the number of
changes, and no order of events matters.

SLUICE_STORM sets how many routes flap (20,000), SLUICE_ORDERS how many orders are tried (200).
"""

import asyncio
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from _sluice import lib
from sluice.cmgrd.audit import Audit
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    IFF_LOWER_UP,
    IFF_UP,
    NETCONF_ALL,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NUD_REACHABLE,
    Link,
    Netconf,
)
from sluice.cmgrd.objects import Objects
from sluice.fpc import FEATURES, Connection, Role
from sluice.shm import canonical_dump

from tests.cmgrd.kernel import equals_fresh, following, in_namespace, ip
from tests.cmgrd.oracle import Neigh, NextHop, Route
from tests.cmgrd.scenarios import SETUP
from tests.cmgrd.test_features import give, settled
from tests.cmgrd.test_fp_sync import fp_sync, metrics, start
from tests.cmgrd.test_fpmd import Pair, pair

pytestmark = pytest.mark.functional

STORM = int(os.environ.get("SLUICE_STORM", "20000"))
ORDERS = int(os.environ.get("SLUICE_ORDERS", "200"))
ROUTE, NEIGH = FEATURES["route"].id, FEATURES["neigh"].id


def batch(verb: str, last: int) -> list[str]:
    return [
        f"route {verb} {16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24 via 192.0.2.{last}"
        for n in range(STORM)
    ]


async def ip_batch(path: Path, *lines: str) -> None:
    """Beside the test, not in its way."""
    path.write_text("\n".join(lines) + "\n")
    done = await asyncio.create_subprocess_exec("ip", "-batch", str(path))
    assert await done.wait() == 0


def memory(both: Pair, field: str) -> float:
    """Of cmgrd, MiB."""
    for line in Path(f"/proc/{both.running['cmgrd'].pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def test_a_storm_into_a_small_buffer_ends_without_differences(tmp_path: Path) -> None:
    """All routes come, change twice and go, but for every tenth; cmgrd's buffers hold 64 KiB."""

    async def run() -> None:
        ip(*SETUP)
        work = tmp_path / "batch"
        async with pair(tmp_path / "log", buffer=65536) as both:
            await both.until_equal()
            await ip_batch(work, *batch("add", 2))
            await ip_batch(work, *batch("replace", 3), *batch("replace", 4))
            left = batch("replace", 4)[::10]
            await ip_batch(work, *(line for n, line in enumerate(batch("del", 4)) if n % 10))
            began = time.monotonic()
            async with asyncio.timeout(180 + STORM / 2500):
                while True:
                    now = await metrics(both)
                    if now["objects"]["route"] >= len(left) and not now["waiting"]:
                        said = await fp_sync_or_none(both)
                        if said:
                            break
                    await asyncio.sleep(0.05)
            seconds = time.monotonic() - began
            now = await metrics(both)
            print(
                f"{STORM} routes: equal {seconds:.1f} s after the last change, {said.strip()}; {now}"
            )
            print(f"cmgrd's peak {memory(both, 'VmHWM'):.0f} MiB")
            assert now["divergences"] == 0
            assert now["objects"]["route"] >= len(left)
            assert seconds < 120 + STORM / 5000

    in_namespace(run)


async def fp_sync_or_none(both: Pair) -> str:
    """What `check` says if all is equal."""
    process = await start(both, "check", "--seconds", "0")
    out, _ = await process.communicate()
    return out.decode() if process.returncode == 0 else ""


def test_a_flapping_route_takes_no_memory(tmp_path: Path) -> None:
    """Fpmd stands still meanwhile: 50,000 changes of one route wait as one."""

    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            before = memory(both, "VmRSS")
            both.running["fpmd"].send_signal(19)  # SIGSTOP
            flaps = [f"route replace 203.0.113.0/24 via 192.0.2.{2 + n % 2}" for n in range(50_000)]
            await ip_batch(tmp_path / "batch", *flaps)
            async with asyncio.timeout(30):
                while (now := await metrics(both))["messages"] < 50_000 and not now["losses"]:
                    await asyncio.sleep(0.05)
            assert now["waiting"] <= 4
            assert memory(both, "VmRSS") < before + 8
            both.running["fpmd"].send_signal(18)  # SIGCONT
            await both.until_equal()
            assert "equal: " in await fp_sync(both, "check")

    in_namespace(run)


# --- the audit


def test_the_audit_finds_repairs_and_counts_what_nobody_told() -> None:
    async def run() -> None:
        ip(
            *SETUP,
            "route add 203.0.113.0/24 via 192.0.2.2",
            "route add 203.0.114.0/24 via 192.0.2.2",
        )
        async with following() as follower:
            audit = Audit(follower)
            await audit.all()
            assert follower.core.counts["audits"] == 13
            assert follower.core.counts["divergences"] == 0
            objects = follower.core.objects
            wanted = dict(objects.wanted[ROUTE])
            gone, changed = [key for key in wanted if key[16:18] == b"\xcb\x00"]
            lib.store_delete(objects.store, ROUTE, gone)
            body = wanted[changed][:-1] + b"\x63"
            objects.set(ROUTE, body)
            invented = (
                struct.pack("=IIB3x16s", 0, 11, 2, bytes([192, 0, 2, 77]))
                + bytes(4)
                + b"\2\0\0\0\0\1\2"
            )
            objects.set(NEIGH, invented)
            await audit.all()
            assert follower.core.counts["divergences"] == 3
            await equals_fresh(follower)
            await audit.all()
            assert follower.core.counts["divergences"] == 3

    in_namespace(run)


def test_the_audit_calls_no_change_a_divergence(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        chance = random.Random(5)
        async with following() as follower:
            audit = Audit(follower)
            for _ in range(10):
                lines = [
                    f"route {chance.choice(['replace', 'replace', 'del'])} 203.0.113.{chance.randrange(64)}/32"
                    f" via 192.0.2.{chance.choice([2, 3])}"
                    for _ in range(300)
                ]
                path = tmp_path / "batch"
                path.write_text("\n".join(lines))
                churn = await asyncio.create_subprocess_exec(
                    "ip", "-force", "-batch", str(path), stderr=-3
                )
                await audit.all()
                await churn.wait()
            assert follower.core.counts["divergences"] == 0
            await equals_fresh(follower)

    in_namespace(run)


def test_what_another_process_sends_counts_for_nothing() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as other:
                other.bind((0, 0))
                for listener in follower.listeners:
                    if listener.channel.protocol == 0:
                        target = listener.socket.getsockname()[0]
                        for data in (
                            b"nonsense",
                            bytes(100),
                            struct.pack("=IHHII", 16, 25, 0, 0, 0),
                        ):
                            other.sendto(data, (target, 0))
            ip("route add 203.0.113.0/24 via 192.0.2.2")
            await equals_fresh(follower)
            assert follower.core.counts["malformed"] == 0

    in_namespace(run)


# --- order

Event = Callable[[Core], None]


def scripts() -> list[list[Event]]:
    """Objects' histories: an object's own events have their order, that of different objects is anybody's."""

    def event(value: object, **options: object) -> Event:
        return lambda core: give(core, value, **options)  # type: ignore[arg-type]

    made: list[list[Event]] = []
    only, other = NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE | NLM_F_REPLACE
    for index in (7, 8, 9):
        mac = bytes([2, 0, 0, 0, 0, index])
        link = Link(index, f"p{index}", IFF_UP, 1500, mac, "", 0, 0, 1500, False, False)
        up = replace(link, flags=IFF_UP | IFF_LOWER_UP)
        made.append([event(link), event(replace(up, mtu=1400, mtu6=1400)), event(up)])
        made.append([event(Netconf(AF_INET, index, True, 0, False))])
    made.append([event(Netconf(AF_INET6, NETCONF_ALL, True, None, False))])
    for n in range(12):
        family = (AF_INET, AF_INET6)[n % 2]
        size = 4 if family == AF_INET else 16
        near = bytes([10]) + bytes(size - 2) + bytes([n])
        neigh = Neigh(family, 7 + n % 3, near, NUD_REACHABLE, 0, bytes([2, 0, 0, 0, 1, n]))
        moved = replace(neigh, mac=bytes([2, 0, 0, 0, 2, n]))
        made.append(
            [event(neigh), event(neigh, gone=True), event(moved)]
            if n % 3
            else [event(neigh), event(moved)]
        )
        for m in range(4):
            hop = NextHop(7 + (n + m) % 3, family, near, 0, 1)
            second = replace(hop, ifindex=7 + (n + m + 1) % 3)
            dst = bytes([20 + m, n]) + bytes(size - 2)
            first = Route(family, 254, 0, dst, 8 + 8 * (m > 1), 0, 1, 3, (hop,), "", b"")
            if m < 2:
                first = replace(first, dst=bytes([20 + m + 4 * n]) + bytes(size - 1))
            then = replace(first, nexthops=(hop, second) if m % 2 else (second,))
            history = [event(first, flags=only), event(then, flags=other)]
            if m == 3:
                history += [event(then, gone=True), event(first, flags=only)]
            if m == 2:
                history += [event(then, gone=True)]
            made.append(history)
    return made


def test_any_order_of_the_same_events_gives_the_same_shared_memory(tmp_path: Path) -> None:
    async def run() -> None:
        both = Pair(tmp_path / "log")
        try:
            await both.start("fpmd")
            path = Path(f"/run/sluice/{both.instance}/fpc.sock")
            async with asyncio.timeout(20):
                while not path.exists():
                    await asyncio.sleep(0.02)
            with Connection(path, Role.SYNC, name="test", timeout=60) as fpmd:
                dumps = {in_order(fpmd, both.instance, seed) for seed in range(ORDERS)}
            assert len(dumps) == 1
            (dump,) = dumps
            assert sum(line.startswith("route ") for line in dump.splitlines()) > 20
        finally:
            await both.clean()

    in_namespace(run)


def in_order(fpmd: Connection, instance: str, seed: int) -> str:
    """The dump of shared memory after one order, told to fpmd in pieces, which may hold what the one before left."""
    chance, core = random.Random(seed), settled()
    objects = core.objects
    left = scripts()
    if seed % 2:
        fpmd.sync_begin()
        fpmd.sync_end()
    fpmd.sync_begin()
    objects.listen(True)
    while left:
        history = chance.choice(left)
        history.pop(0)(core)
        left = [history for history in left if history]
        if chance.random() < 0.3:
            tell(fpmd, objects, chance)
    for number in objects.wanted:
        objects.tell(number)
    tell(fpmd, objects, chance)
    fpmd.sync_end()
    assert not fpmd.refused
    return canonical_dump(instance)


def tell(fpmd: Connection, objects: Objects, chance: random.Random) -> None:
    while objects.waiting:
        count, data = objects.take(chance.randrange(1, 9), fpmd.seq + 1)
        fpmd.seq += count
        fpmd.send_bytes(data)
        fpmd.wait_ack(fpmd.seq)
