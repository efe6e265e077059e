# SPDX-License-Identifier: BSD-3-Clause
"""The daemon: hears the kernel, asks the refreshers once a second, tells the kernel what was used."""

import asyncio
import errno
import logging
import signal
import time

from sluice import daemon
from sluice.daemon import FatalError, notify
from sluice.hitflags.memory import Memory
from sluice.hitflags.netlink import NLMSG_ERROR, Kernel, messages
from sluice.hitflags.refresher import Refresher, refreshers

PROGRAM = "hitflagsd"
log = logging.getLogger(PROGRAM)

VRF = 0  # the namespace that the daemon runs in; others' links aren't followed yet
TICK = 1.0
# A second: what the kernel does about a refresh is a probe on the wire, five seconds later.
REFRESHES = 1000
RETRY = 1.0
# The entry went away meanwhile, or its link, or its address family.
GONE = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


class Daemon:
    """Follows one namespace."""

    def __init__(self, instance: str) -> None:
        self.memory = Memory(instance)
        self.refreshers: list[Refresher] = refreshers(VRF)
        self.kernel = Kernel({group for one in self.refreshers for group in one.groups})
        self.lost = True
        self.refreshed = self.refused = self.malformed = 0
        self.told = ""

    async def run(self) -> None:
        """Until a signal comes."""
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, me.cancel)
        loop.add_reader(self.kernel.events, self.hear)
        self.sync()
        notify(log, "READY=1")
        try:
            while True:
                await asyncio.sleep(TICK)
                self.tick()
        finally:
            loop.remove_reader(self.kernel.events)
            self.kernel.close()

    def hear(self) -> None:
        """Hand over what waits on the socket."""
        datagrams, lost = self.kernel.read()
        for data in datagrams:
            self.hand_over(data, self.refreshers)
        if lost:
            log.info("netlink: messages were lost; dumping")
            self.lost = True

    def hand_over(self, data: bytes, to: list[Refresher]) -> None:
        """One datagram of the kernel's."""
        now = time.monotonic()
        try:
            for kind, _, payload in messages(data):
                for one in to:
                    if kind > NLMSG_ERROR:
                        one.message(kind, payload, now)
        except ValueError as error:
            self.malformed += 1
            log.warning("malformed message: %s: %s", error, data.hex())
            self.lost = True

    def sync(self) -> None:
        """Learn everything anew."""
        self.lost = False
        for one in self.refreshers:
            try:
                datagrams, complete = self.kernel.dump(one.dump)
            except OSError as error:
                log.warning("dump: %s; trying again", error.strerror or error)
                self.lost = True
                continue
            one.begin()
            for data in datagrams:
                self.hand_over(data, [one])
            self.lost = self.lost or not complete
        # What came meanwhile is newer.
        self.hear()

    def tick(self) -> None:
        """Once a second."""
        if self.lost:
            self.sync()
        # What is known of an entry shall be as fresh as can be when it's told to be used.
        self.hear()
        waiting = any(one.waiting for one in self.refreshers)
        if waiting and self.look():
            self.refresh(time.monotonic())
        for code in self.kernel.errors():
            if code == errno.EPERM:
                raise FatalError("the kernel lets nobody refresh", "CAP_NET_ADMIN is needed")
            if code not in GONE:
                self.refused += 1
                log.warning("a refresh was refused: %s", errno.errorcode.get(code, str(code)))
        status = f"{self.refreshed} refreshes, {self.refused} refused, {self.malformed} malformed"
        if status != self.told:
            notify(log, f"STATUS={status}")
            self.told = status

    def look(self) -> bool:
        """Whether there's a fast path whose hits can be seen."""
        before = self.memory.trouble
        found = self.memory.look()
        if not found and self.memory.trouble != before:
            log.info("nothing to refresh: %s", self.memory.trouble)
        return found

    def refresh(self, now: float) -> None:
        """Tell the kernel what was used."""
        left = REFRESHES
        for one in self.refreshers:
            for request in one.due(self.memory, now):
                if not self.kernel.ask(request):
                    return
                self.refreshed += 1
                log.debug("refreshed: type %d %s", request[0], request[2].hex())
                left -= 1
                if not left:
                    return


def parser() -> daemon.Parser:
    """The command line."""
    return daemon.parser(
        PROGRAM, "Keeps alive in Linux what only the fast path uses: neighbours and the like."
    )


async def start(instance: str) -> None:
    """Make the daemon in the loop that runs it."""
    await Daemon(instance).run()


def main() -> None:
    """The program hitflagsd."""
    daemon.run(parser(), log, start)
