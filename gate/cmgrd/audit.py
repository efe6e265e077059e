# SPDX-License-Identifier: BSD-3-Clause
"""The continuous audit: does the kernel still say what is known of it?

One family after the other is dumped, slowly: the next one starts PAUSE seconds after the last one, or, where a dump
takes long, when a hundred times its duration is over. A dump marks, refreshes and sweeps, so it repairs whatever it
finds. What it changed beyond what messages that came meanwhile can explain (each one object) was a divergence, and is
counted: something had been missed without a loss being reported. While the kernel is busy the count can be too low,
never too high.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from sluice.cmgrd.core import DUMPED
from sluice.cmgrd.kernel import Family

if TYPE_CHECKING:
    from sluice.cmgrd.follower import Follower

log = logging.getLogger("cmgrd")

PAUSE = 10.0
SHARE = 0.01  # of the time, at most
REASON = "audit"
SHOWN = 20  # divergences that are named in the log


class Audit:
    """Has the follower dump families, and judges what that changed."""

    def __init__(self, follower: "Follower") -> None:
        self.follower = follower

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await self.follower.ready.wait()
        while True:
            for family in self.all_families():
                await asyncio.sleep(PAUSE)
                start = loop.time()
                await self.families([family])
                await asyncio.sleep(max(0.0, (loop.time() - start) / SHARE - PAUSE))

    def all_families(self) -> list[Family]:
        return [family for family in DUMPED if family in self.follower.core.families]

    async def all(self) -> None:
        """Every family, now."""
        await self.families(self.all_families())

    async def families(self, families: list[Family]) -> None:
        core = self.follower.core
        before = core.counts["audits"] + core.counts["audits_broken"]
        for family in families:
            core.want(family, REASON)
            self.follower.not_before.pop(family, None)
        wanted = sum(core.due.get(family) == REASON for family in families)
        self.follower.wake.set()
        while core.counts["audits"] + core.counts["audits_broken"] < before + wanted:
            self.follower.dumped.clear()
            await self.follower.dumped.wait()


class Balance:
    """What an audit's dump changed, and what messages can explain of it."""

    def __init__(self, follower: "Follower") -> None:
        # What came before is no part of it.
        follower.read_to_the_end()
        while follower.backlog:
            follower.handle_some()
        follower.core.settle()
        self.follower = follower
        self.objects = follower.core.objects
        self.changes = follower.core.changes
        self.received = follower.received
        self.named = not follower.core.watchers
        if self.named:
            self.objects.keep_journal(True)

    def close(self, family: Family, *, complete: bool) -> None:
        """The dump is over."""
        core = self.follower.core
        frames = self.objects.journal() if self.named else []
        if self.named:
            self.objects.keep_journal(bool(core.watchers))
        core.counts["audits" if complete else "audits_broken"] += 1
        found = core.changes - self.changes - (self.follower.received - self.received)
        if found <= 0 or not complete:
            return
        core.counts["divergences"] += found
        log.warning(
            "audit of %s: %d objects weren't as the kernel has them; repaired", family, found
        )
        for frame in frames[:SHOWN]:
            seen = core.seen(frame)
            log.warning("  %s%s", seen.text, "" if seen.body else " is gone")
