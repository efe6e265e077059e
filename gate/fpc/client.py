# SPDX-License-Identifier: BSD-3-Clause
"""An asyncio client of fpmd."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from sluice.fpc.error import FpcError, LostError, MalformedError, RefusedError
from sluice.fpc.frame import (
    Ack,
    Decoder,
    Event,
    Flag,
    Frame,
    Role,
    State,
    Stored,
    Verb,
    pack,
    pack_hello,
)
from sluice.fpc.objects import feature as feature_of

READ_SIZE = 1 << 18
EVENTS_MAX = 1024
SEQ_MAX = 0xFFFFFFFF


def number(feature: str | int) -> int:
    """A feature's number."""
    return feature if isinstance(feature, int) else feature_of(feature).id


class Dump:
    """The objects of a DUMP on their way."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []

    def add(self, frame: Frame) -> None:
        """A SET frame of the answer."""
        state = State.APPLIED
        if frame.flags & Flag.REFUSED:
            state = State.REFUSED
        elif frame.flags & Flag.PARKED:
            state = State.PARKED
        self.stored.append(Stored(frame.feature, state, frame.body))

    def explain(self, ack: Ack) -> None:
        """The ACK that says why the last one is refused."""
        last = self.stored[-1]
        self.stored[-1] = Stored(last.feature, last.state, last.body, ack)


class Client:
    """A connection, made by `connect` and ended by `close` (or `async with`). One task of it reads.

    `post` queues a frame at once and without waiting; `drain` waits until fpmd keeps up. fpmd's
    errors for frames that asked for no answer go to `on_refused`. When the connection ends,
    everyone who waits gets LostError, and `lost` is set.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seq = 0
        self.lost = asyncio.Event()
        self.error: FpcError = LostError("fpmd closed the connection")
        self.on_refused: Callable[[RefusedError], None] = lambda _: None
        self.decoder = Decoder()
        self.acks: dict[int, asyncio.Future[Ack]] = {}
        self.dumps: dict[int, Dump] = {}
        self.event_queue: asyncio.Queue[Event | None] = asyncio.Queue(EVENTS_MAX)
        self.greeting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.read())

    @classmethod
    async def connect(cls, path: str | Path, role: Role, *, name: str) -> Self:
        """Connect to fpmd's socket and introduce ourselves. LostError: nobody there; RefusedError:
        the role is taken (errno EBUSY), ...
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=READ_SIZE)
        except OSError as error:
            raise LostError(f"can't reach fpmd at {path}: {error.strerror}") from error
        client = cls(reader, writer)
        writer.write(pack_hello(role, name))
        try:
            await client.greeting
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        """For `async with`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """End the connection."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def post(self, verb: int, feature: str | int = 0, body: bytes = b"", *, flags: int = 0) -> int:
        """Queue a frame; returns its number. Call `drain` now and then."""
        if self.lost.is_set():
            raise self.error
        self.seq = self.next_seq
        self.writer.write(pack(verb, number(feature), flags, self.seq, body))
        return self.seq

    async def drain(self) -> None:
        """Wait while more than asyncio's high-water mark of bytes waits to be sent."""
        if self.lost.is_set():
            raise self.error
        try:
            await self.writer.drain()
        except OSError as error:
            raise LostError(f"the connection to fpmd broke: {error}") from error

    async def request(self, verb: int, feature: str | int = 0, body: bytes = b"") -> Ack:
        """Send a frame and wait for its ACK. RefusedError if that says no."""
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        seq = self.post(verb, feature, body, flags=Flag.ACK)
        self.acks[seq] = future
        try:
            await self.drain()
            ack = await future
        finally:
            del self.acks[seq]
        if ack.errno:
            raise ack.error()
        return ack

    async def request_all(self, data: bytes, count: int) -> Ack:
        """Send `count` frames that somebody has put together, numbered from `next_seq` on, the last one with Flag.ACK;
        wait for its ACK. RefusedError if that says no.
        """
        if self.lost.is_set():
            raise self.error
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self.seq = seq = self.next_seq + count - 1
        self.acks[seq] = future
        self.writer.write(data)
        try:
            await self.drain()
            ack = await future
        finally:
            del self.acks[seq]
        if ack.errno:
            raise ack.error()
        return ack

    @property
    def next_seq(self) -> int:
        """The number of the frame that comes next."""
        return self.seq % SEQ_MAX + 1

    async def send(
        self, verb: int, feature: str | int = 0, body: bytes = b"", *, ack: bool = False
    ) -> Ack | None:
        """Send a frame; with `ack` wait for the answer."""
        if ack:
            return await self.request(verb, feature, body)
        self.post(verb, feature, body)
        await self.drain()
        return None

    async def set(self, feature: str | int, body: bytes, *, ack: bool = False) -> Ack | None:
        """SET an object (body: see objects.encode)."""
        return await self.send(Verb.SET, feature, body, ack=ack)

    async def delete(self, feature: str | int, key: bytes, *, ack: bool = False) -> Ack | None:
        """DEL an object."""
        return await self.send(Verb.DEL, feature, key, ack=ack)

    async def sync_begin(self, feature: str | int = 0) -> None:
        """Mark objects stale: one feature's, or all of our role's."""
        await self.request(Verb.SYNC_BEGIN, feature)

    async def sync_end(self, feature: str | int = 0) -> None:
        """Have what wasn't SET since sync_begin deleted."""
        await self.request(Verb.SYNC_END, feature)

    async def dump(self, feature: str | int = 0) -> list[Stored]:
        """All objects of a feature, or of all."""
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        seq = self.post(Verb.DUMP, feature)
        dump = Dump()
        self.dumps[seq], self.acks[seq] = dump, future
        try:
            await self.drain()
            ack = await future
        finally:
            del self.acks[seq], self.dumps[seq]
        if ack.errno:
            raise ack.error()
        return dump.stored

    async def events(self) -> AsyncIterator[Event]:
        """Events as they come, until the connection ends (LostError)."""
        while True:
            event = await self.event_queue.get()
            if event is None:
                raise self.error
            yield event

    async def read(self) -> None:
        """The reading task."""
        try:
            while data := await self.reader.read(READ_SIZE):
                for frame in self.decoder.feed(data):
                    self.take(frame)
        except MalformedError as error:
            self.error = error
        except OSError as error:
            self.error = LostError(f"the connection to fpmd broke: {error}")
        finally:
            self.end()

    def end(self) -> None:
        """Tell everyone who waits."""
        self.lost.set()
        self.writer.close()
        waiting: list[asyncio.Future[Any]] = [self.greeting, *self.acks.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(self.error)
                # Nobody may wait any more.
                future.exception()
        if self.event_queue.full():
            self.event_queue.get_nowait()
        self.event_queue.put_nowait(None)

    def take(self, frame: Frame) -> None:
        """One frame of fpmd."""
        match frame.verb:
            case Verb.HELLO:
                if not self.greeting.done():
                    self.greeting.set_result(None)
            case Verb.ACK:
                self.take_ack(Ack.parse(frame))
            case Verb.SET if frame.seq in self.dumps:
                self.dumps[frame.seq].add(frame)
            case Verb.EVENT:
                # They all say "look again": of many, some may be lost.
                if not self.event_queue.full():
                    self.event_queue.put_nowait(Event.parse(frame))
            case _:
                pass

    def take_ack(self, ack: Ack) -> None:
        """An answer, or an error that nobody asked for."""
        if not self.greeting.done():
            self.greeting.set_exception(ack.error())
        elif ack.seq in self.dumps and ack.verb == Verb.SET:
            self.dumps[ack.seq].explain(ack)
        elif ack.seq in self.acks:
            if not self.acks[ack.seq].done():
                self.acks[ack.seq].set_result(ack)
        elif ack.errno:
            self.on_refused(ack.error())
