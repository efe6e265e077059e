# SPDX-License-Identifier: BSD-3-Clause
"""The daemon: options, log, signals, and the two tasks (follow the kernel, serve fpmd)."""

import argparse
import asyncio
import errno
import logging
import os
import re
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import NoReturn

from _sluice import ffi, lib
from sluice.cmgrd import audit, wire
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import Family
from sluice.cmgrd.netlink import CHANNELS, Listener, NetlinkError, dump
from sluice.cmgrd.recording import RecordedCore
from sluice.cmgrd.session import SeatTakenError, Session
from sluice.cmgrd.window import Window

log = logging.getLogger("cmgrd")

RUN = Path("/run/sluice")
INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,31}")
# Datagrams handled before others get a turn, and the most that may wait for it.
SLICE = 128
NATIVE_READS = 8  # of core.BATCH each
# Slices that a socket's buffer can hold, and more.
MOST_READS = 1024
BACKLOG_BYTES = 64 << 20
# A family's dumps may take this part of the time at most, and a failed one is tried again after that long.
DUMP_SHARE = 0.2
RETRY_FIRST, RETRY_MOST = 0.05, 5.0
SIZE_OF_BYTES = 33  # what a bytes object costs beside its content


class FatalError(Exception):
    """Ends the daemon, with one line and perhaps a hint."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Follower:
    """Follows the kernel: reads what it says, hands it to the core, dumps what the core wants dumped."""

    def __init__(self, core: Core, *, buffer: int = 0) -> None:
        self.core = core
        self.listeners: list[Listener] = []
        self.backlog: deque[tuple[int, Listener, bytes]] = deque()
        self.backlog_bytes = 0
        self.received = 0  # datagrams so far; each gets its number
        # Messages up to this number may be older than the last dump of the family.
        self.late: dict[Family, int] = {}
        self.not_before: dict[Family, float] = {}
        self.failures: dict[Family, int] = {}
        self.wake = asyncio.Event()
        self.buffer = buffer
        self.ready = asyncio.Event()  # all is known for the first time
        self.dumped = asyncio.Event()  # set after each dump
        self.settled = asyncio.Event()  # set whenever nothing is left to dump or to handle

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        followed = self.core.families
        for channel in CHANNELS:
            if followed.isdisjoint(channel.families):
                continue
            listener = Listener.open(channel, self.buffer)
            if listener:
                self.listeners.append(listener)
                loop.add_reader(listener.socket, self.read, listener)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self.listeners:
            loop.remove_reader(listener.socket)
            listener.close()
        self.listeners = []

    def native(self, listener: Listener) -> bool:
        """Whether its messages go to the decoders in C as they come."""
        return self.core.direct and self.core.native_families.issuperset(listener.channel.families)

    def read(self, listener: Listener) -> None:
        """Take what waits on a socket; the loop calls it, also in the middle of a dump."""
        if self.native(listener) and not self.core.dumping and not listener.waiting:
            self.read_native(listener)
        else:
            self.read_some(listener)

    def read_native(self, listener: Listener) -> None:
        try:
            for _ in range(NATIVE_READS):
                self.core.read(listener.socket.fileno(), listener.channel.families)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                log.warning("netlink: %s", error)
            self.lost(listener)
        if self.core.due:
            self.wake.set()

    def lost(self, listener: Listener) -> None:
        log.info("netlink: messages about %s were lost; dumping", families(listener))
        self.core.lose(listener.channel.families, "lost messages")

    def read_some(self, listener: Listener) -> bool:
        """Keep what waits on a socket, a part of it, for later; whether there was something."""
        found, lost = listener.read(SLICE)
        for data in found:
            self.received += 1
            self.backlog.append((self.received, listener, data))
            self.backlog_bytes += len(data) + SIZE_OF_BYTES
        listener.waiting += len(found)
        if lost:
            self.lost(listener)
        if self.backlog_bytes > BACKLOG_BYTES:
            # A dump tells it shorter.
            for other in self.listeners:
                self.core.lose(other.channel.families, "backlog")
                other.waiting = 0
            self.backlog.clear()
            self.backlog_bytes = 0
            log.info("netlink: too many messages wait; dumping instead")
        if found or lost:
            self.wake.set()
        return bool(found)

    def read_all(self) -> None:
        for listener in self.listeners:
            self.read(listener)

    def read_to_the_end(self) -> None:
        """Keep all that waits now, for later."""
        for listener in self.listeners:
            for _ in range(MOST_READS):
                if not self.read_some(listener):
                    break

    async def run(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            self.read_all()
            # What waits now, not what comes meanwhile: a dump that's due mustn't wait until the kernel is quiet.
            last = self.received
            while self.backlog and self.backlog[0][0] <= last:
                self.handle_some()
                await asyncio.sleep(0)
            if self.backlog:
                self.wake.set()
            family = self.next_due()
            if family:
                await self.dump(family)
                self.wake.set()
            if self.core.ready and not self.core.due:
                self.ready.set()
                self.settled.set()

    def handle_some(self) -> None:
        for _ in range(min(SLICE, len(self.backlog))):
            number, listener, data = self.backlog.popleft()
            self.backlog_bytes -= len(data) + SIZE_OF_BYTES
            listener.waiting -= 1
            self.handle(number, listener, data)

    def handle(self, number: int, listener: Listener, data: bytes) -> None:
        channel = listener.channel
        # All families of a channel are heard in one order, so the strictest mark of theirs serves.
        late = number <= max((self.late.get(family, 0) for family in channel.families), default=0)
        try:
            if self.native(listener):
                self.core.datagram(data, channel.families, late=late)
                return
            for kind, flags, _, at, end in wire.messages(data):
                self.core.message(channel.protocol, kind, flags, data, at, end, late=late)
        except wire.MalformedError as error:
            self.core.malformed(f"{error} from protocol {channel.protocol}")
            self.core.lose(channel.families, "malformed datagram")
        except Exception:
            self.core.counts["failures"] += 1
            log.exception("a Netlink datagram couldn't be handled: %s", data.hex())
            self.core.lose(channel.families, "failure")

    def next_due(self) -> Family | None:
        """The family to dump now. If there's only one for later, comes back when its time has come."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiting = []
        for family in self.core.due:
            when = self.not_before.get(family, 0)
            if when <= now:
                return family
            waiting.append(when)
        if waiting:
            loop.call_at(min(waiting), self.wake.set)
        return None

    async def dump(self, family: Family) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        reason = self.core.due.get(family, "")
        balance = audit.Balance(self) if reason == audit.REASON else None
        self.core.begin(family)
        complete, failed = False, False
        try:
            whole = self.core.direct and family in self.core.native_families
            complete = await dump(family, self.feed, self.feed_whole if whole else None)
        except NetlinkError as error:
            failed = True
            if error.code in (1, 13):  # EPERM, EACCES
                self.core.end(complete=False)
                raise FatalError(str(error), "cmgrd needs the capability CAP_NET_ADMIN") from error
            log.warning("%s; trying again", error)
        except wire.MalformedError as error:
            failed = True
            self.core.malformed(f"{error} in a dump of {family}")
        except Exception:
            failed = True
            self.core.counts["failures"] += 1
            log.exception("a dump of %s couldn't be handled; trying again", family)
        # What came until now may be about the time before the dump.
        self.read_to_the_end()
        self.late[family] = self.received
        self.core.end(complete=complete)
        if balance:
            balance.close(family, complete=complete)
        self.dumped.set()
        took = loop.time() - start
        log.debug(
            "dump of %s took %.3f s: %s%s", family, took, reason, "" if complete else ", broken off"
        )
        self.failures[family] = 0 if complete else self.failures.get(family, 0) + 1
        pause = took / DUMP_SHARE
        if failed or self.failures[family]:
            pause = max(pause, min(RETRY_MOST, RETRY_FIRST * 2 ** (self.failures[family] - 1)))
        self.not_before[family] = loop.time() + pause

    def feed(self, protocol: int, kind: int, flags: int, data: bytes, at: int, end: int) -> None:
        self.core.message(protocol, kind, flags, data, at, end, late=False)

    def feed_whole(self, data: bytes) -> tuple[bool, bool]:
        dumping = self.core.dumping
        assert dumping is not None
        last = self.core.datagram(data, [dumping], late=False)
        return last, not self.core.found.interrupted


def families(listener: Listener) -> str:
    return ", ".join(listener.channel.families)


class Daemon:
    def __init__(self, instance: str, record: Path | None, buffer: int = 0) -> None:
        self.core = RecordedCore(record) if record else Core()
        self.follower = Follower(self.core, buffer=buffer)
        self.session = Session(
            self.core.objects,
            RUN / instance / "fpc.sock",
            order=self.core.by_number,
            describe=self.describe,
            on_synced=self.synced,
        )
        self.audit = audit.Audit(self.follower)
        path = RUN / instance / "cmgrd.sock"
        self.window = Window(path, self.core, self.status, self.audit.all)
        self.started = time.monotonic()

    def status(self) -> dict[str, object]:
        """What `fp-sync status` shows; keys are only ever added."""
        counts, session, objects = self.core.counts, self.session, self.core.objects
        lag_most, session.lag_most = session.lag_most, 0.0
        return {
            "ready": self.core.ready,
            "synced": session.synced,
            "uptime_seconds": round(time.monotonic() - self.started, 3),
            "objects": {feature.name: len(feature.wanted) for feature in self.core.features},
            "waiting": objects.waiting,
            "refused": session.refused,
            "lag_seconds": round(session.lag, 6),
            "lag_most_seconds": round(lag_most, 6),
            "messages": int(self.core.inlet.messages),
            "changes": objects.changes,
            "losses": counts["lost"],
            "malformed": counts["malformed"],
            "failures": counts["failures"],
            "dumps": counts["dumps"],
            "dumps_interrupted": counts["interrupted"],
            "audits": counts["audits"],
            "divergences": counts["divergences"],
            "divergences_fpmd": session.counts["audits_unequal"],
            "syncs": session.counts["syncs"],
            "connections_lost": session.counts["connections_lost"],
        }

    def describe(self, number: int, body: bytes) -> str:
        feature = self.core.by_number[number]
        return feature.describe(body[: feature.key_size], None)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, me.cancel)
        loop.add_signal_handler(signal.SIGHUP, self.resync)
        self.follower.open()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.follower.run())
                group.create_task(self.session.run())
                group.create_task(self.announce())
                group.create_task(self.pass_on_losses())
                group.create_task(self.audit.run())
                group.create_task(self.window.run())
                self.follower.wake.set()
        finally:
            self.follower.close()

    def synced(self, count: int) -> None:
        """Say so in `systemctl status cmgrd`, with how often that was needed because of a loss."""
        counts = self.core.counts
        notify(
            f"STATUS=in sync with fpmd, {count} objects;"
            f" {counts['lost']} losses repaired, {counts['malformed']} malformed messages"
        )

    def resync(self) -> None:
        """SIGHUP: as if every message had been lost."""
        for channel in CHANNELS:
            self.core.lose(channel.families, "SIGHUP")
        self.follower.wake.set()

    async def announce(self) -> None:
        start = time.monotonic()
        await self.follower.ready.wait()
        log.info("the kernel's state is known after %.3f s", time.monotonic() - start)
        notify("READY=1\nSTATUS=waiting for fpmd")
        self.core.lost = set()
        self.session.ready.set()

    async def pass_on_losses(self) -> None:
        """Once all is known again after a loss, fpmd gets the features concerned as a whole."""
        await self.follower.ready.wait()
        while True:
            self.follower.settled.clear()
            await self.follower.settled.wait()
            if self.core.lost:
                self.session.resync |= self.core.lost
                self.core.lost = set()
                self.session.work.set()


def notify(state: str) -> None:
    """Tell systemd; nothing without it."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as opened:
        try:
            opened.sendto(state.encode(), address)
        except OSError as error:
            log.warning("systemd isn't told: %s", error)


class LogFormat(logging.Formatter):
    """One line with the priority that journald reads; a traceback's lines follow."""

    PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}

    def format(self, record: logging.LogRecord) -> str:
        return f"<{self.PRIORITIES.get(record.levelno, 5)}>{super().format(record)}"


def set_up_log(*, debug: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormat("%(message)s"))
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.DEBUG if debug else logging.INFO)


def die(text: str, hint: str = "") -> NoReturn:
    print(f"cmgrd: error: {text}", file=sys.stderr)
    if hint:
        print(f"cmgrd: hint: {hint}", file=sys.stderr)
    sys.exit(1)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        die(message, "see cmgrd --help")


def parser() -> Parser:
    """The command line."""
    top = Parser(prog="cmgrd", description="Keeps the fast path's tables as Linux has them.")
    top.add_argument("--instance", default="main", metavar="NAME", help="which fast path (main)")
    top.add_argument("-d", "--debug", action="store_true", help="log every change and its cause")
    top.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write what the kernel says there, as JSON lines",
    )
    top.add_argument(
        "--buffer",
        type=int,
        default=0,
        metavar="BYTES",
        help="receive buffer of each Netlink socket, at least 1; else as the kind of messages needs",
    )
    return top


def main() -> None:
    """The program cmgrd."""
    options = parser().parse_args()
    if not INSTANCE.fullmatch(options.instance):
        die(f"'{options.instance}' is no instance name", "1 to 31 letters, digits, '-' and '_'")
    if options.buffer < 0:
        die(f"a buffer of {options.buffer} bytes", "see cmgrd --help")
    set_up_log(debug=options.debug)
    take_lock(options.instance)
    try:
        asyncio.run(start(options.instance, options.record, options.buffer))
    except* (asyncio.CancelledError, KeyboardInterrupt):
        pass
    except* SeatTakenError as group:
        die(str(group.exceptions[0]), "stop the other cmgrd of this instance")
    except* FatalError as group:
        error = group.exceptions[0]
        die(str(error), error.hint if isinstance(error, FatalError) else "")
    except* NetlinkError as group:
        die(str(group.exceptions[0]), "cmgrd needs the capability CAP_NET_ADMIN")
    except* OSError as group:
        failure = group.exceptions[0]
        if isinstance(failure, OSError) and failure.filename:
            die(f"{failure.filename}: {failure.strerror}")
        die(str(failure))


def take_lock(instance: str) -> None:
    """Hold the instance's lock from now on: `fp-cli status` sees by it that cmgrd lives."""
    paths, error = ffi.new("struct paths *"), ffi.new("struct err *")
    path = str(RUN / instance / "cmgrd.lock").encode()
    if lib.paths_init(paths, instance.encode(), error) or lib.lock_take(
        path, b"cmgrd", instance.encode(), error
    ):
        die(ffi.string(error.text).decode(), ffi.string(error.hint).decode())


async def start(instance: str, record: Path | None, buffer: int) -> None:
    await Daemon(instance, record, buffer).run()
