# SPDX-License-Identifier: BSD-3-Clause
"""Follows the kernel's state in one network namespace."""

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from sluice.cmgrd import audit, wire
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import Family
from sluice.cmgrd.netlink import CHANNELS, Listener, NetlinkError, dump
from sluice.daemon import FatalError

log = logging.getLogger("cmgrd")

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


class Follower:
    """Follows the kernel: reads what it says, hands it to the core, dumps what the core wants dumped."""

    def __init__(
        self,
        core: Core,
        *,
        buffer: int = 0,
        enter: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`enter`: into the namespace that is followed."""
        self.core = core
        self.enter = enter
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
            with self.enter():
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
            # IPsec's hold keys.
            shown = data.hex() if channel.protocol != wire.NETLINK_XFRM else f"{len(data)} bytes"
            log.exception("a Netlink datagram couldn't be handled: %s", shown)
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
            complete = await dump(family, self.feed, self.feed_whole if whole else None, self.enter)
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
