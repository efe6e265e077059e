"""The FPC session against an fpmd of the test's own: syncs, changes, refusals, reconnections."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from _sluice import ffi, lib
from sluice.cmgrd import session as session_module
from sluice.cmgrd.objects import Objects
from sluice.cmgrd.session import SeatTakenError, Session
from sluice.fpc import Decoder, Flag, Frame, Verb, pack
from sluice.fpc.frame import ACK

VRF, IFACE = 1, 3


class Fpmd:
    """Listens, keeps what it's told, and answers as fpmd does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames: list[Frame] = []
        self.stored: dict[tuple[int, bytes], bytes] = {}
        self.stale: set[tuple[int, bytes]] = set()
        self.connections = 0
        self.hello_error = self.audit_error = self.refused_audits = 0
        self.refuse: Callable[[Frame], int] = lambda frame: 0
        self.sizes: dict[int, int] = {}  # of an older version's structs
        self.hold = asyncio.Event()
        self.hold.set()
        self.writers: list[asyncio.StreamWriter] = []

    async def listen(self) -> None:
        self.server = await asyncio.start_unix_server(self.serve, self.path)

    async def close(self) -> None:
        """As if killed."""
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.writers = []
        self.path.unlink(missing_ok=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        decoder = Decoder()
        while data := await reader.read(4096):
            for frame in decoder.feed(data):
                await self.hold.wait()
                self.take(frame, writer)

    def take(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        self.frames.append(frame)
        code = 0
        match frame.verb:
            case Verb.HELLO:
                if self.hello_error:
                    self.answer(writer, frame, self.hello_error)
                    writer.close()
                else:
                    writer.write(pack(Verb.HELLO, body=bytes(40)))
                return
            case Verb.SET:
                code = self.refuse(frame) or self.outgrown(frame)
                if code:
                    self.answer(writer, frame, code)
                    return
                key = (frame.feature, frame.body[: 4 if frame.feature == VRF else 8])
                self.stored[key] = frame.body
                self.stale.discard(key)
            case Verb.DEL:
                self.stored.pop((frame.feature, frame.body), None)
            case Verb.AUDIT:
                code = self.audit_error
                self.refused_audits += code != 0
            case Verb.SYNC_BEGIN:
                self.stale = {key for key in self.stored if frame.feature in (0, key[0])}
            case Verb.SYNC_END:
                for key in self.stale:
                    del self.stored[key]
        if code or frame.flags & Flag.ACK:
            self.answer(writer, frame, code)

    def outgrown(self, frame: Frame) -> int:
        """As fpmd's own check says of a struct that may be longer than it knows."""
        size = self.sizes.get(frame.feature, len(frame.body))
        whole, error = ffi.new("char[]", 4096), ffi.new("struct err *")
        return -int(lib.check_grow(whole, size, frame.body, len(frame.body), error))

    def answer(self, writer: asyncio.StreamWriter, frame: Frame, code: int) -> None:
        text = b"no room" if code else b""
        body = ACK.pack(code, frame.feature, frame.verb, b"mtu" if code else b"", text)
        writer.write(pack(Verb.ACK, frame.feature, 0, frame.seq, body))

    def verbs(self) -> list[int]:
        return [frame.verb for frame in self.frames]


def iface(number: int, mtu: int = 1500) -> bytes:
    key = bytes(4) + number.to_bytes(4, "little")
    return key + (3).to_bytes(4, "little") + mtu.to_bytes(4, "little") + bytes(40)


def stored(number: int, mtu: int = 1500) -> dict[tuple[int, bytes], bytes]:
    body = iface(number, mtu)
    return {(IFACE, body[:8]): body.rstrip(b"\0")}


@asynccontextmanager
async def at_work(path: Path) -> AsyncIterator[tuple[Fpmd, Objects, Session, asyncio.Task[None]]]:
    objects = Objects()
    objects.add_feature(VRF, 4)
    objects.add_feature(IFACE, 8)
    session = Session(
        objects,
        path,
        order=(VRF, IFACE),
        describe=lambda feature, body: f"object {body[:8].hex()}",
        on_synced=lambda count: None,
    )
    session.ready.set()
    fpmd = Fpmd(path)
    await fpmd.listen()
    task = asyncio.create_task(session.run())
    try:
        yield fpmd, objects, session, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await fpmd.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


Work = Callable[[Path], Awaitable[None]]


def run(tmp_path: Path, work: Work) -> None:
    async def body() -> None:
        await work(tmp_path / "fpc.sock")

    asyncio.run(body())


def put(objects: Objects, body: bytes) -> None:
    objects.set(IFACE, body)


def test_a_connection_begins_with_a_full_sync(tmp_path: Path) -> None:
    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            # Before it's connected: nothing is kept but the objects.
            put(objects, iface(1))
            put(objects, iface(2))
            assert not objects.waiting
            await until(lambda: session.synced)
            verbs = [Verb.HELLO, Verb.SYNC_BEGIN, Verb.SET, Verb.SET, Verb.SYNC_END]
            assert fpmd.verbs() == verbs
            assert fpmd.stored == stored(1) | stored(2)

    run(tmp_path, work)


def test_changes_follow_as_set_and_del(tmp_path: Path) -> None:
    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            await until(lambda: session.synced)
            put(objects, iface(1))
            await until(lambda: fpmd.stored == stored(1))
            put(objects, iface(1, 1400))
            await until(lambda: fpmd.stored == stored(1, 1400))
            objects.delete(IFACE, iface(1)[:8])
            await until(lambda: not fpmd.stored)

    run(tmp_path, work)


def test_changes_of_one_object_coalesce_while_fpmd_is_slow(tmp_path: Path) -> None:
    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            await until(lambda: session.synced)
            fpmd.hold.clear()
            for mtu in range(1000, 4000):
                put(objects, iface(1, mtu))
                if mtu % 100 == 0:
                    await asyncio.sleep(0)
                assert objects.waiting <= 1
            fpmd.hold.set()
            await until(lambda: fpmd.stored == stored(1, 3999))
            assert fpmd.verbs().count(Verb.SET) < 100

    run(tmp_path, work)


def test_what_is_unanswered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BATCH", 16)

    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            await until(lambda: session.synced)
            fpmd.hold.clear()
            for number in range(1, 1001):
                put(objects, iface(number))
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert objects.waiting == 1000 - 2 * 16
            fpmd.hold.set()
            await until(lambda: len(fpmd.stored) == 1000)
            assert len(session.sent) <= 2 * 16

    run(tmp_path, work)


def test_a_restarted_fpmd_is_given_everything_and_the_rest_is_swept(tmp_path: Path) -> None:
    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            put(objects, iface(1))
            put(objects, iface(2))
            await until(lambda: session.synced)
            await fpmd.close()
            await until(lambda: not session.synced)
            objects.delete(IFACE, iface(1)[:8])
            put(objects, iface(3))
            # It comes back with what it had.
            await fpmd.listen()
            await until(lambda: session.synced)
            assert fpmd.connections == 2
            assert fpmd.stored == stored(2) | stored(3)

    run(tmp_path, work)


def test_a_feature_can_be_told_again_as_a_whole(tmp_path: Path) -> None:
    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            put(objects, iface(1))
            await until(lambda: session.synced)
            fpmd.stored |= stored(9)  # what it should have lost
            fpmd.frames.clear()
            session.resync.add(IFACE)
            session.work.set()
            await until(lambda: fpmd.verbs()[-1:] == [Verb.SYNC_END])
            assert {frame.feature for frame in fpmd.frames} == {IFACE}
            assert fpmd.stored == stored(1)

    run(tmp_path, work)


def test_a_refusal_is_logged_with_the_object_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            fpmd.refuse = lambda frame: errno.ENOSPC if frame.body[4] == 2 else 0
            for number in (1, 2, 3):
                put(objects, iface(number))
            await until(lambda: session.synced)
            assert session.counts["refused"] == 1
            fpmd.refuse = lambda frame: errno.ENOSPC
            put(objects, iface(4))
            await until(lambda: session.counts["refused"] == 2)

    with caplog.at_level(logging.WARNING, logger="cmgrd"):
        run(tmp_path, work)
    assert "fpmd refused object 0000000002000000: no room (ENOSPC, field mtu)" in caplog.text
    assert "fpmd refused object 0000000004000000" in caplog.text


def test_an_older_fpmd_takes_what_it_knows_and_a_newer_one_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cmgrd was upgraded first: its structs are longer. What says nothing new is taken."""

    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            fpmd.sizes = {IFACE: 24}
            new = iface(2)[:40] + b"new" + bytes(13)
            for body in (iface(1), new, iface(3)):
                put(objects, body)
            await until(lambda: session.synced)
            assert fpmd.stored == stored(1) | stored(3)
            assert session.counts["refused"] == 1
            put(objects, iface(4))
            await until(lambda: fpmd.stored == stored(1) | stored(3) | stored(4))
            await fpmd.close()
            await until(lambda: not session.synced)
            fpmd.sizes = {}
            await fpmd.listen()
            await until(lambda: session.synced)
            assert fpmd.stored == stored(1) | stored(3) | stored(4) | {
                (IFACE, new[:8]): new.rstrip(b"\0")
            }
            assert session.counts["refused"] == 1

    with caplog.at_level(logging.WARNING, logger="cmgrd"):
        run(tmp_path, work)
    assert "fpmd refused object 0000000002000000" in caplog.text


@pytest.mark.parametrize("error", [errno.EILSEQ, errno.EOPNOTSUPP])
def test_while_nothing_changes_fpmd_is_asked_whether_it_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Once told again on a connection; an older fpmd isn't asked again."""
    monkeypatch.setattr(session_module, "AUDIT_SECONDS", 0.01)

    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, objects, session, _):
            put(objects, iface(1))
            await until(lambda: fpmd.verbs().count(Verb.AUDIT) >= 4)
            assert session.counts["audits_unequal"] == 0
            fpmd.stored |= stored(9)
            fpmd.audit_error = error
            told = error == errno.EILSEQ
            await until(lambda: fpmd.stored == stored(1) if told else fpmd.refused_audits > 0)
            await asyncio.sleep(0.1)
            assert session.counts["audits_unequal"] == (2 if told else 0)
            assert fpmd.refused_audits == (2 if told else 1)

    run(tmp_path, work)


def test_a_second_cmgrd_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SEAT_TAKEN", 0.2)

    async def work(path: Path) -> None:
        async with at_work(path) as (fpmd, _, _, task):
            fpmd.hello_error = errno.EBUSY
            with pytest.raises(SeatTakenError, match="no room"):
                async with asyncio.timeout(5):
                    await task

    run(tmp_path, work)
