# SPDX-License-Identifier: BSD-3-Clause
"""A blocking client of fpmd, for tools and tests."""

import os
import select
import socket
from collections import deque
from pathlib import Path
from typing import Self

from sluice.fpc.client import Dump, number
from sluice.fpc.error import LostError, RefusedError
from sluice.fpc.frame import Ack, Decoder, Event, Flag, Frame, Role, Stored, Verb, pack, pack_hello


class Connection:
    """A connection; each wait ends after `timeout` seconds with LostError.

    Errors that nobody asked for are kept in `refused`, events in `events`.
    """

    def __init__(self, path: str | Path, role: Role, *, name: str, timeout: float = 10) -> None:
        self.path = str(path)
        self.timeout = timeout
        self.role = role
        self.seq = 0
        self.decoder = Decoder()
        self.ready: deque[Frame] = deque()
        self.refused: list[RefusedError] = []
        self.events: list[Event] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(self.path)
        except OSError as error:
            self.socket.close()
            why = os.strerror(error.errno) if error.errno else str(error)
            raise LostError(f"can't reach fpmd at {self.path}: {why}") from error
        try:
            self.send_bytes(pack_hello(role, name))
            frame = self.receive()
            if frame.verb == Verb.ACK:
                raise Ack.parse(frame).error()
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are. What fpmd says meanwhile is read into `ready`: it stops listening
        to those who don't.
        """
        view = memoryview(data)
        poll = select.poll()
        poll.register(self.socket, select.POLLIN | select.POLLOUT)
        while view:
            ready = poll.poll(self.timeout * 1000)
            if not ready:
                raise LostError("fpmd doesn't answer")
            try:
                if ready[0][1] & select.POLLOUT:
                    view = view[self.socket.send(view, socket.MSG_DONTWAIT) :]
                    continue
            except BlockingIOError:
                continue
            except OSError as error:
                # What it said before it hung up counts more.
                if not self.ready:
                    raise LostError(f"the connection to fpmd broke: {error.strerror}") from error
                return
            self.read_more()

    def read_more(self) -> None:
        """Receive once."""
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError as error:
            raise LostError("fpmd doesn't answer") from error
        except OSError as error:
            raise LostError(f"the connection to fpmd broke: {error.strerror}") from error
        if not data:
            raise LostError("fpmd closed the connection")
        self.ready.extend(self.decoder.feed(data))

    def receive(self) -> Frame:
        """The next frame of fpmd, whatever it is."""
        while not self.ready:
            self.read_more()
        return self.ready.popleft()

    def post(self, verb: int, feature: str | int = 0, body: bytes = b"", *, flags: int = 0) -> int:
        """Send a frame; returns its number."""
        self.seq = self.seq % 0xFFFFFFFF + 1
        self.send_bytes(pack(verb, number(feature), flags, self.seq, body))
        return self.seq

    def set_aside(self, frame: Frame) -> None:
        """A frame that isn't what we wait for."""
        if frame.verb == Verb.EVENT:
            self.events.append(Event.parse(frame))
        elif frame.verb == Verb.ACK:
            ack = Ack.parse(frame)
            if ack.errno:
                self.refused.append(ack.error())

    def wait_ack(self, seq: int, dump: Dump | None = None) -> Ack:
        """The answer to frame `seq`."""
        while True:
            frame = self.receive()
            if frame.seq == seq and frame.verb == Verb.SET and dump:
                dump.add(frame)
            elif frame.seq == seq and frame.verb == Verb.ACK:
                ack = Ack.parse(frame)
                if dump and ack.verb == Verb.SET:
                    dump.explain(ack)
                    continue
                if ack.errno:
                    raise ack.error()
                return ack
            elif frame.verb == Verb.ACK and not frame.seq and not Ack.parse(frame).verb:
                # The stream as a whole was refused.
                raise Ack.parse(frame).error()
            else:
                self.set_aside(frame)

    def request(self, verb: int, feature: str | int = 0, body: bytes = b"") -> Ack:
        """Send a frame and wait for its ACK; RefusedError if that says no."""
        return self.wait_ack(self.post(verb, feature, body, flags=Flag.ACK))

    def set(self, feature: str | int, body: bytes) -> Ack:
        """SET an object and wait for the answer."""
        return self.request(Verb.SET, feature, body)

    def delete(self, feature: str | int, key: bytes) -> Ack:
        """DEL an object and wait for the answer."""
        return self.request(Verb.DEL, feature, key)

    def sync_begin(self, feature: str | int = 0) -> None:
        """Mark objects stale: one feature's, or all of our role's."""
        self.request(Verb.SYNC_BEGIN, feature)

    def sync_end(self, feature: str | int = 0) -> None:
        """Have what wasn't SET since sync_begin deleted."""
        self.request(Verb.SYNC_END, feature)

    def dump(self, feature: str | int = 0) -> list[Stored]:
        """All objects of a feature, or of all."""
        dump = Dump()
        self.wait_ack(self.post(Verb.DUMP, feature), dump)
        return dump.stored
