# SPDX-License-Identifier: BSD-3-Clause
"""The daemon: once a second it has each feature tell the kernel what the fast path counted."""

import asyncio
import logging
import signal
from pathlib import Path

from sluice import daemon
from sluice.daemon import RUN, FatalError, notify
from sluice.fpsd.counters import counters
from sluice.fpsd.ledger import Ledger
from sluice.shm import SHM_FOLDER, File, ShmError

PROGRAM = "fpsd"
log = logging.getLogger(PROGRAM)

TICK = 1.0


class Daemon:
    """Serves one instance."""

    def __init__(self, instance: str, *, folder: Path = SHM_FOLDER) -> None:
        self.paths = (folder / f"sluice.{instance}", folder / f"sluice.{instance}.stats")
        self.files: tuple[File, File] | None = None
        self.trouble = ""
        self.counters = counters(Ledger(RUN / instance / "fpsd.json"))
        self.told = ""

    async def run(self) -> None:
        """Until a signal comes."""
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, me.cancel)
        notify(log, "READY=1")
        try:
            while True:
                self.tick()
                await asyncio.sleep(TICK)
        finally:
            for one in self.counters:
                one.close()

    def tick(self) -> None:
        """Once a second."""
        files = self.look()
        if files is None:
            return
        for one in self.counters:
            try:
                one.tick(*files)
            except OSError as error:
                if error.errno == 1:
                    raise FatalError(
                        "the kernel lets nobody set counters", "CAP_NET_ADMIN is needed"
                    ) from error
                log.warning("%s; trying again", error)
        told, refused = (
            sum(getattr(one, name) for one in self.counters) for name in ("told", "refused")
        )
        status = f"{told} objects brought up to date, {refused} refused"
        if status != self.told:
            notify(log, f"STATUS={status}")
            self.told = status

    def look(self) -> tuple[File, File] | None:
        """The files that are current; None: there's no fast path."""
        if self.files is None or any(file.replaced() for file in self.files):
            self.files = None
            try:
                self.files = File(self.paths[0], stats=False), File(self.paths[1], stats=True)
            except ShmError as error:
                if str(error) != self.trouble:
                    log.info("nothing to tell: %s", error)
                self.trouble = str(error)
                return None
            self.trouble = ""
        return self.files


def parser() -> daemon.Parser:
    """The command line."""
    return daemon.parser(
        PROGRAM,
        "Tells the kernel what the fast path counted, where it can be told: of IPsec's SAs.",
    )


async def start(instance: str) -> None:
    """Make the daemon in the loop that runs it."""
    await Daemon(instance).run()


def main() -> None:
    """The program fpsd."""
    daemon.run(parser(), log, start)
