# SPDX-License-Identifier: BSD-3-Clause
"""`fp-sync check`: the kernel as it is now, looked at by a cmgrd of our own, beside what the fast path has.

Linux changes while one looks, so only what differs in every look for some seconds counts. What's compared is fpmd's
objects with the kernel's; with `tables` also shared memory itself with what a new fpmd makes of the same objects, in
the form that doesn't depend on history (sluice.shm.canonical_dump).
"""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sluice.cli.error import CliError
from sluice.cli.view import View
from sluice.cmgrd.core import Core
from sluice.cmgrd.follower import Follower
from sluice.cmgrd.kernel import Vrf
from sluice.cmgrd.namespaces import NamespaceError
from sluice.cmgrd.netlink import NetlinkError
from sluice.cmgrd.objects import Objects
from sluice.cmgrd.vrfs import namespaces, own_vrf
from sluice.daemon import FatalError
from sluice.fpc import Connection, FpcError, RefusedError, Role, State, Verb, decode
from sluice.fpc.objects import BY_ID
from sluice.shm import ShmError, canonical_dump

BATCH = 4096
LOOK_SECONDS = 120
PAUSE = 0.5  # between looks

Row = dict[str, object]
# What tells a difference from another one: kind, feature, key or line.
Place = tuple[str, str, bytes]


@dataclass(frozen=True)
class Found:
    """The differences that lasted."""

    differences: list[Row]
    summary: str


def check(view: View, *, seconds: float, tables: bool) -> Found:
    """Compare, again and again, until nothing differs or what differs has lasted. CliError."""
    logging.getLogger("cmgrd").setLevel(logging.ERROR)
    view.require(view.config_path, "fpmd")
    enter_namespace(view)
    lasting: dict[Place, Row] | None = None
    end = time.monotonic() + seconds
    while True:
        core = asyncio.run(kernel(patterns(view)))
        found, count, refused = differences(core, view)
        if tables:
            found |= table_differences(core, view)
        lasting = found if lasting is None else {p: row for p, row in found.items() if p in lasting}
        if not lasting or time.monotonic() > end:
            break
        time.sleep(PAUSE)
    how = f"{len(lasting)} differences" if lasting else "equal"
    summary = f"{how}: {count} objects of the kernel, {refused} of them refused or waiting"
    return Found(list(lasting.values()), summary)


def enter_namespace(view: View) -> None:
    """Cmgrd's network namespace, if it isn't ours."""
    holder = view.lock_holder("cmgrd")
    if holder is None:
        return
    path = Path(f"/proc/{holder}/ns/net")
    with suppress(FileNotFoundError):
        try:
            if path.stat().st_ino != Path("/proc/self/ns/net").stat().st_ino:
                with path.open() as file:
                    os.setns(file.fileno(), os.CLONE_NEWNET)
        except PermissionError:
            raise CliError(
                "can't look into cmgrd's network namespace", hint="run it as root"
            ) from None


def patterns(view: View) -> list[str]:
    """Which namespaces cmgrd takes for VRFs: as it was told."""
    holder = view.lock_holder("cmgrd")
    words = Path(f"/proc/{holder}/cmdline").read_text().split("\0") if holder else []
    found = [word.removeprefix("--vrfs=") for word in words if word.startswith("--vrfs=")]
    return found + [words[at + 1] for at, word in enumerate(words) if word == "--vrfs"]


async def kernel(vrfs: Sequence[str] = ()) -> Core:
    """All that the kernel says now, of all VRFs; the core of the main one, whose objects are those of all."""
    try:
        main = Core(own_vrf(vrfs))
        await look(Follower(main))
        for namespace in namespaces(vrfs):
            try:
                vrf = Vrf(namespace.number(), namespace.name, namespace.cookie())
                core = Core(vrf, main=main)
                await look(Follower(core, enter=namespace.entered))
                core.opened()
            finally:
                namespace.close()
    except (NetlinkError, NamespaceError, FatalError) as error:
        raise CliError(str(error), hint="run it as root") from None
    except TimeoutError:
        raise CliError("the kernel's state can't be read: it changes too fast") from None
    return main


async def look(follower: Follower) -> None:
    """Have it read all of the kernel's state."""
    try:
        follower.open()
        running = asyncio.create_task(follower.run())
        follower.wake.set()
        waiting = asyncio.create_task(follower.settled.wait())
        async with asyncio.timeout(LOOK_SECONDS):
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in (running, waiting):
            task.cancel()
        if running.done() and not running.cancelled():
            running.result()
    finally:
        follower.close()


def differences(core: Core, view: View) -> tuple[dict[Place, Row], int, int]:
    """Between the kernel and fpmd's objects; how many the kernel has, and how many of them are refused or parked."""
    found: dict[Place, Row] = {}
    total = refused = 0
    try:
        with Connection(view.run_dir / "fpc.sock", Role.VIEWER, name="fp-sync", timeout=60) as fpmd:
            for feature in core.features:
                wanted = feature.wanted
                total += len(wanted)
                seen: set[bytes] = set()
                for item in fpmd.dump(feature.number):
                    refused += item.state is not State.APPLIED
                    key = item.body[: feature.key_size]
                    seen.add(key)
                    body = wanted.get(key)
                    if body is None or feature.shown(body) != feature.shown(item.body):
                        kind = "extra" if body is None else "different"
                        found[kind, feature.name, key] = row(
                            core, kind, feature.number, body, item.body
                        )
                if len(seen) < len(wanted) or len(found):
                    for key in wanted:
                        if key not in seen:
                            missing = row(core, "missing", feature.number, wanted[key], None)
                            found["missing", feature.name, key] = missing
    except FpcError as error:
        raise CliError(str(error), hint="is fpmd running? See `fp-cli status`") from None
    return found, total, refused


def row(core: Core, kind: str, number: int, kernel: bytes | None, fast_path: bytes | None) -> Row:
    feature = core.by_number[number]
    key = (kernel or fast_path or b"")[: feature.key_size]
    return {
        "kind": kind,
        "feature": feature.name,
        "object": feature.describe(key, None),
        "kernel": decode(number, feature.shown(kernel)) if kernel else None,
        "fast_path": decode(number, feature.shown(fast_path)) if fast_path else None,
    }


def text(difference: Row) -> str:
    """One difference for people."""
    kind, name = difference["kind"], difference["object"]
    match kind:
        case "missing":
            return f"{name}: Linux has it, the fast path doesn't"
        case "extra":
            return f"{name}: the fast path has it, Linux doesn't"
        case "table":
            return f"shared memory, {name}: {difference['kernel']} expected, {difference['fast_path']} there"
    ours, theirs = difference["kernel"], difference["fast_path"]
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    fields = [f"{f} {ours[f]} in Linux, {theirs[f]} there" for f in ours if ours[f] != theirs[f]]
    return f"{name}: {'; '.join(fields)}"


# --- shared memory


def table_differences(core: Core, view: View) -> dict[Place, Row]:
    """Between shared memory and what a new fpmd makes of the kernel's objects."""
    with shadow(view) as name:
        fill(core.objects, [feature.number for feature in core.features], view, name)
        try:
            wanted = set(canonical_dump(name).splitlines())
            there = set(canonical_dump(view.instance).splitlines())
        except ShmError as error:
            raise CliError(str(error), hint=error.hint) from None
    found: dict[Place, Row] = {}
    for line in sorted(wanted ^ there):
        feature = line.partition(" ")[0]
        found["table", feature, line.encode()] = {
            "kind": "table",
            "feature": feature,
            "object": feature,
            "kernel": line.partition(" ")[2] if line in wanted else None,
            "fast_path": line.partition(" ")[2] if line in there else None,
        }
    return found


def listens(path: Path) -> bool:
    """Whether somebody takes connections there: the socket's name comes a moment earlier."""
    with socket.socket(socket.AF_UNIX) as opened:
        try:
            opened.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


@contextmanager
def shadow(view: View) -> Iterator[str]:
    """An fpmd of our own with the same settings; the name of its instance."""
    holder = view.lock_holder("fpmd")
    if holder is None:
        raise CliError("fpmd isn't running", hint="see `fp-cli status`")
    name = f"check-{os.getpid()}"
    program = Path(f"/proc/{holder}/exe").readlink()
    words = Path(f"/proc/{holder}/cmdline").read_text().split("\0")
    options = ["--instance", name]
    for at, word in enumerate(words):
        if word in ("--env", "-e"):
            options += ["--env", words[at + 1]]
        elif word.startswith("--env="):
            options.append(word)
    process = subprocess.Popen([program, *options], stderr=subprocess.PIPE, text=True)
    try:
        path = Path(f"/run/sluice/{name}/fpc.sock")
        while not listens(path):
            if process.poll() is not None:
                assert process.stderr
                raise CliError(
                    f"a second fpmd doesn't start: {process.stderr.read().strip()[-300:]}"
                )
            time.sleep(0.02)
        yield name
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()
        shutil.rmtree(f"/run/sluice/{name}", ignore_errors=True)
        for path in Path("/dev/shm").glob(f"sluice.{name}*"):
            path.unlink(missing_ok=True)


def fill(objects: Objects, order: list[int], view: View, name: str) -> None:
    """Tell the shadow what the real one was told: ports as they are, all else from the kernel."""
    path = Path(f"/run/sluice/{name}/fpc.sock")
    try:
        with Connection(view.run_dir / "fpc.sock", Role.VIEWER, name="fp-sync", timeout=60) as fpmd:
            ports = [
                item
                for number, feature in BY_ID.items()
                if feature.owner == Role.RTE and feature.size
                for item in fpmd.dump(number)
            ]
        with (
            Connection(path, Role.RTE, name="fp-sync", timeout=60) as rte,
            Connection(path, Role.SYNC, name="fp-sync", timeout=60) as sync,
        ):
            for item in ports:
                rte.request(Verb.SET, item.feature, item.body)
            sync.sync_begin()
            tell(objects, order, sync)
            sync.sync_end()
    except FpcError as error:
        raise CliError(f"the second fpmd: {error}") from None


def tell(objects: Objects, order: list[int], sync: Connection) -> None:
    """Every object."""
    objects.listen(True)
    for number in order:
        objects.tell(number)
    while objects.waiting:
        count, data = objects.take(BATCH, sync.seq + 1)
        sync.seq += count
        sync.send_bytes(data)
        with suppress(RefusedError):
            sync.wait_ack(sync.seq)
    objects.listen(False)
