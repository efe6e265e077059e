# SPDX-License-Identifier: BSD-3-Clause
"""The daemon: options, log, signals, and the two tasks (follow the kernel, serve fpmd)."""

import asyncio
import logging
import signal
import time
from collections import Counter
from pathlib import Path

from sluice import daemon
from sluice.cmgrd import audit
from sluice.cmgrd.core import Core
from sluice.cmgrd.follower import Follower
from sluice.cmgrd.kernel import Vrf
from sluice.cmgrd.netlink import CHANNELS, NetlinkError
from sluice.cmgrd.recording import RecordedCore
from sluice.cmgrd.session import SeatTakenError, Session
from sluice.cmgrd.vrfs import Vrfs, own_vrf
from sluice.cmgrd.window import Window
from sluice.daemon import RUN, FatalError, notify

PROGRAM = "cmgrd"
log = logging.getLogger(PROGRAM)


class Daemon:
    def __init__(
        self, instance: str, record: Path | None, vrfs: list[str], buffer: int = 0
    ) -> None:
        self.record = record.open("w", buffering=1) if record else None
        self.core = self.make_core(own_vrf(vrfs), None)
        self.follower = Follower(self.core, buffer=buffer)
        self.session = Session(
            self.core.objects,
            RUN / instance / "fpc.sock",
            order=self.core.by_number,
            describe=self.describe,
            on_synced=self.synced,
        )
        self.vrfs = Vrfs(
            vrfs,
            buffer=buffer,
            make_core=lambda vrf: self.make_core(vrf, self.core),
            on_lost=self.resync_features,
        )
        self.audit = audit.Audit(self.follower)
        path = RUN / instance / "cmgrd.sock"
        self.window = Window(path, self.core, self.status, self.audit_all)
        self.started = time.monotonic()

    def make_core(self, vrf: Vrf, main: Core | None) -> Core:
        return RecordedCore(self.record, vrf, main=main) if self.record else Core(vrf, main=main)

    def followers(self) -> list[Follower]:
        """Of all VRFs."""
        return [self.follower, *(one.follower for one in self.vrfs)]

    def counts(self) -> Counter[str]:
        """Of all VRFs that there are now."""
        return sum((one.core.counts for one in self.followers()), Counter())

    async def audit_all(self) -> None:
        await self.audit.all()
        for one in list(self.vrfs):
            await one.audit_all()

    def status(self) -> dict[str, object]:
        """What `fp-sync status` shows; keys are only ever added."""
        counts, session, objects = self.counts(), self.session, self.core.objects
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
            "messages": sum(int(one.core.inlet.messages) for one in self.followers()),
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
            "vrfs": 1 + len(self.vrfs),
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
                group.create_task(self.vrfs.run())
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
        counts = self.counts()
        notify(
            log,
            f"STATUS=in sync with fpmd, {count} objects;"
            f" {counts['lost']} losses repaired, {counts['malformed']} malformed messages",
        )

    def resync(self) -> None:
        """SIGHUP: as if every message had been lost."""
        for follower in self.followers():
            for channel in CHANNELS:
                follower.core.lose(channel.families, "SIGHUP")
            follower.wake.set()

    def resync_features(self, features: set[int]) -> None:
        """Fpmd is to be given all objects of these again."""
        self.session.resync |= features
        self.session.work.set()

    async def announce(self) -> None:
        start = time.monotonic()
        await self.follower.ready.wait()
        # VRFs that are there already: fpmd would take those that aren't told for gone.
        await self.vrfs.found.wait()
        for one in list(self.vrfs):
            await one.known.wait()
        log.info("the kernel's state is known after %.3f s", time.monotonic() - start)
        notify(log, "READY=1\nSTATUS=waiting for fpmd")
        self.core.lost = set()
        self.session.ready.set()

    async def pass_on_losses(self) -> None:
        """Once all is known again after a loss, fpmd gets the features concerned as a whole."""
        await self.follower.ready.wait()
        while True:
            self.follower.settled.clear()
            await self.follower.settled.wait()
            if self.core.lost:
                lost, self.core.lost = self.core.lost, set()
                self.resync_features(lost)


def parser() -> daemon.Parser:
    """The command line."""
    top = daemon.parser(PROGRAM, "Keeps the fast path's tables as Linux has them.")
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
    top.add_argument(
        "--vrfs",
        action="append",
        default=[],
        metavar="PATTERN",
        help="network namespaces with such names in /run/netns are VRFs, such as '*';"
        " may be given several times (none)",
    )
    return top


def main() -> None:
    """The program cmgrd."""
    options = parser().parse_args()
    if options.buffer < 0:
        daemon.die(PROGRAM, f"a buffer of {options.buffer} bytes", f"see {PROGRAM} --help")
    daemon.set_up_log(log, debug=options.debug)
    daemon.take_lock(PROGRAM, options.instance)
    try:
        asyncio.run(start(options.instance, options.record, options.vrfs, options.buffer))
    except* (asyncio.CancelledError, KeyboardInterrupt):
        pass
    except* SeatTakenError as group:
        daemon.die(PROGRAM, str(group.exceptions[0]), "stop the other cmgrd of this instance")
    except* FatalError as group:
        error = group.exceptions[0]
        daemon.die(PROGRAM, str(error), error.hint if isinstance(error, FatalError) else "")
    except* NetlinkError as group:
        daemon.die(PROGRAM, str(group.exceptions[0]), "cmgrd needs the capability CAP_NET_ADMIN")
    except* OSError as group:
        failure = group.exceptions[0]
        if isinstance(failure, OSError) and failure.filename:
            daemon.die(PROGRAM, f"{failure.filename}: {failure.strerror}")
        daemon.die(PROGRAM, str(failure))


async def start(instance: str, record: Path | None, vrfs: list[str], buffer: int) -> None:
    await Daemon(instance, record, vrfs, buffer).run()
