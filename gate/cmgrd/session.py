# SPDX-License-Identifier: BSD-3-Clause
"""The edge to fpmd: one FPC connection that is made again whenever it breaks.

After HELLO comes a full sync (SYNC_BEGIN 0, every wanted object, SYNC_END 0), which also tells a restarted fpmd that
it knows all; then single changes as they come. What is on its way is bounded: the last frame of a batch asks for an
answer, at most two batches are unanswered, and meanwhile changes coalesce in `Objects`.
"""

import asyncio
import contextlib
import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from sluice.cmgrd.objects import Objects, frame_at
from sluice.fpc import Client, FpcError, RefusedError, Role, Verb
from sluice.fpc.client import SEQ_MAX

log = logging.getLogger("cmgrd")

BATCH = 4096
RETRY_FIRST, RETRY_MOST = 0.05, 1.0  # seconds between attempts to connect
# How long another cmgrd may hold the seat: one that was killed is gone at once.
SEAT_TAKEN = 5.0
AUDIT_SECONDS = 10.0  # without a change, then fpmd is asked whether it has all
WARNINGS = 20  # refusals that get a line each, from one sync to the next


class SeatTakenError(Exception):
    """Another cmgrd serves this fpmd."""


class Session:
    """`resync`: numbers of features that fpmd is to be given again as a whole; 0 for all."""

    def __init__(
        self,
        objects: Objects,
        path: Path,
        *,
        order: Iterable[int],
        describe: Callable[[int, bytes], str],
        on_synced: Callable[[int], None],
    ) -> None:
        self.objects = objects
        self.path = path
        self.order = list(order)
        self.describe = describe
        self.on_synced = on_synced
        self.ready = asyncio.Event()  # all of the kernel's state is known
        self.work = asyncio.Event()
        self.resync: set[int] = set()
        self.counts: Counter[str] = Counter()
        objects.on_change = self.work.set
        self.synced = False  # on this connection
        self.refused = 0  # since the last sync
        # What fpmd may still complain about: frames, by the first one's number.
        self.sent: dict[int, bytes] = {}
        self.lag = self.lag_most = (
            0.0  # seconds from a change's arrival to fpmd's answer; most: since the last look
        )
        # Features that an audit on this connection needn't ask for any more.
        self.unequal: set[int] = set()
        self.answer: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve fpmd until cancelled. Raises SeatTakenError."""
        loop = asyncio.get_running_loop()
        delay, told, taken_since = RETRY_FIRST, "", 0.0
        while True:
            await self.ready.wait()
            self.synced = False
            reason = "fpmd closed the connection"
            try:
                await self.serve()
            except RefusedError as error:
                reason = str(error)
                if error.errno == errno.EBUSY:
                    taken_since = taken_since or loop.time()
                    if loop.time() - taken_since > SEAT_TAKEN:
                        raise SeatTakenError(error.text) from error
            except FpcError as error:
                reason = str(error)
            if self.synced:
                delay, told, taken_since = RETRY_FIRST, "", 0.0
            if reason != told:  # once, not each time
                log.warning("%s", reason)
                told = reason
            self.counts["connections_lost"] += 1
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY_MOST)

    async def serve(self) -> None:
        """One connection, until it ends: raises FpcError."""
        async with await Client.connect(self.path, Role.SYNC, name="cmgrd") as client:
            client.on_refused = self.complain
            talking = asyncio.create_task(self.talk(client))
            losing = asyncio.create_task(client.lost.wait())
            tasks = [talking, losing]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.objects.listen(False)
                if self.answer:
                    tasks.append(self.answer)
                    self.answer = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.sent.clear()
            if not talking.cancelled() and (error := talking.exception()):
                raise error
            raise client.error

    async def talk(self, client: Client) -> None:
        self.unequal = set()
        # From here on every change is kept until it's told.
        self.objects.listen(True)
        self.resync = {0}
        while True:
            if self.resync:
                wanted = [0] if 0 in self.resync else sorted(self.resync)
                self.resync = set()
                await self.sync(client, wanted)
            elif self.objects.waiting:
                await self.send(client)
            else:
                self.work.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AUDIT_SECONDS):
                        await self.work.wait()
                if not (self.work.is_set() or self.resync or self.objects.waiting):
                    await self.audit(client)

    async def audit(self, client: Client) -> None:
        """While nothing changes: does fpmd have what it was told? A feature that it hasn't is told again as a whole,
        once on a connection: what it refuses for good would differ for ever.
        """
        if self.answer:
            await self.answer
        for feature in self.order:
            # Not what changes while an answer is on its way: fpmd gets the question behind it.
            if feature in self.unequal or self.objects.waiting:
                continue
            try:
                await client.request(Verb.AUDIT, feature, self.objects.audit(feature))
            except RefusedError as error:
                if error.errno != errno.EILSEQ:
                    # An older fpmd doesn't know the question.
                    self.unequal.update(self.order)
                    return
                log.warning("%s; telling them again", error)
                self.counts["audits_unequal"] += 1
                self.unequal.add(feature)
                self.resync.add(feature)

    async def sync(self, client: Client, features: list[int]) -> None:
        """Tell all objects of these features (0: of all), and that there are no others."""
        start = asyncio.get_running_loop().time()
        self.refused = 0
        count = 0
        for feature in features:
            client.post(Verb.SYNC_BEGIN, feature)
            before = self.objects.pushed
            for number in self.order if feature == 0 else [feature]:
                self.objects.tell(number)
            end = self.objects.pushed
            count += end - before
            # What changes meanwhile stands behind those, or is told with them.
            while self.objects.taken < end:
                await self.send(client)
            await client.request(Verb.SYNC_END, feature)
        self.synced = True
        self.counts["syncs"] += 1
        seconds = asyncio.get_running_loop().time() - start
        log.info("fpmd has all %d objects, told in %.3f s", count, seconds)
        self.on_synced(count)

    async def send(self, client: Client) -> None:
        """Send one batch, once the one before the last has been answered."""
        seq = client.next_seq
        count, data = self.objects.take(min(BATCH, SEQ_MAX - seq + 1), seq)
        if not count:
            raise MemoryError
        self.sent[seq] = data
        taken = self.objects.taken
        before, self.answer = (
            self.answer,
            asyncio.create_task(self.finish(client, data, count, taken)),
        )
        await asyncio.sleep(0)  # so that it's posted now
        if before:
            await before

    async def finish(self, client: Client, data: bytes, count: int, taken: int) -> None:
        """Send a batch; the answer to its last frame says that all are done."""
        seq = client.next_seq
        try:
            await client.request_all(data, count)
        except RefusedError as error:
            self.complain(error)
        del self.sent[seq]
        lag = self.objects.told(taken)
        if lag is not None:
            self.lag = lag
            self.lag_most = max(self.lag_most, lag)

    def complain(self, error: RefusedError) -> None:
        """An object that fpmd didn't take; it keeps it in view (`fp-cli refused`)."""
        self.counts["refused"] += 1
        self.refused += 1
        if self.refused > WARNINGS:
            return
        first = max((seq for seq in self.sent if seq <= error.seq), default=0)
        found = frame_at(self.sent.get(first, b""), error.seq)
        what = self.describe(*found) if found else f"feature {error.feature}"
        log.warning("fpmd refused %s: %s", what, error)
        if self.refused == WARNINGS:
            log.warning("more refusals aren't logged; see `fp-cli refused`")
