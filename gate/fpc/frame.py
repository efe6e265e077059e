# SPDX-License-Identifier: BSD-3-Clause
"""Frames: cutting them out of a stream of bytes, and putting them together. Pure."""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from _sluice import lib
from sluice.fpc.error import MalformedError, RefusedError

HEAD = struct.Struct("=IHHHHI")  # struct fpc_frame
HELLO = struct.Struct("=II32s")  # struct fpc_hello
ACK = struct.Struct("=iHH32s120s")  # struct fpc_ack
EVENT = struct.Struct("=II")  # struct fpc_event
HEAD_SIZE = HEAD.size
MAX_FRAME: int = lib.FPC_MAX_FRAME
VERSION: int = lib.FPC_VERSION


class Verb(enum.IntEnum):
    """enum fpc_verb."""

    HELLO = lib.FPC_HELLO
    SET = lib.FPC_SET
    DEL = lib.FPC_DEL
    SYNC_BEGIN = lib.FPC_SYNC_BEGIN
    SYNC_END = lib.FPC_SYNC_END
    DUMP = lib.FPC_DUMP
    EVENT = lib.FPC_EVENT
    ACK = lib.FPC_ACK
    AUDIT = lib.FPC_AUDIT


class Flag(enum.IntFlag):
    """enum fpc_frame_flags."""

    ACK = lib.FPC_F_ACK
    REFUSED = lib.FPC_F_REFUSED
    PARKED = lib.FPC_F_PARKED


class Role(enum.IntEnum):
    """enum fpc_role."""

    SYNC = lib.FPC_ROLE_SYNC
    RTE = lib.FPC_ROLE_RTE
    VIEWER = lib.FPC_ROLE_VIEWER


class EventKind(enum.IntEnum):
    """enum fpc_event_kind."""

    PUBLISHED = lib.FPC_EVENT_PUBLISHED


class State(enum.StrEnum):
    """How an object stands with fpmd."""

    APPLIED = "applied"
    PARKED = "parked"
    REFUSED = "refused"


class Frame(NamedTuple):
    """One frame; `body` is what follows the head."""

    verb: int
    feature: int = 0
    flags: int = 0
    seq: int = 0
    body: bytes = b""

    def pack(self) -> bytes:
        """As bytes."""
        return pack(self.verb, self.feature, self.flags, self.seq, self.body)


def pack(verb: int, feature: int = 0, flags: int = 0, seq: int = 0, body: bytes = b"") -> bytes:
    """A frame as bytes. ValueError: longer than MAX_FRAME."""
    length = HEAD_SIZE + len(body)
    if length > MAX_FRAME:
        raise ValueError(f"frame of {length} bytes, at most {MAX_FRAME} are allowed")
    return HEAD.pack(length, HEAD_SIZE, feature, verb, flags, seq) + body


def pack_hello(role: int, name: str, *, version: int = VERSION) -> bytes:
    """The first frame of a connection."""
    return pack(Verb.HELLO, body=HELLO.pack(version, role, name.encode()[:31]))


def text(field: bytes) -> str:
    """A NUL-padded string of a struct."""
    return field.split(b"\0", 1)[0].decode(errors="replace")


def filled(body: bytes, size: int) -> bytes:
    """The body as a receiver of `size` bytes sees it: short ones zero-filled. MalformedError:
    longer by more than zeros.
    """
    if len(body) > size and any(body[size:]):
        raise MalformedError(
            f"struct of {len(body)} bytes, {size} are known and the rest isn't zero"
        )
    return body[:size].ljust(size, b"\0")


@dataclass(frozen=True)
class Ack:
    """fpmd's answer; `errno` 0: done (`text` may still say that the object is parked, and why)."""

    errno: int
    feature: int
    verb: int
    field: str
    text: str
    seq: int

    @classmethod
    def parse(cls, frame: Frame) -> Self:
        """From an ACK frame."""
        code, feature, verb, field, why = ACK.unpack(filled(frame.body, ACK.size))
        return cls(code, feature, verb, text(field), text(why), frame.seq)

    def error(self) -> RefusedError:
        """As an exception to raise."""
        return RefusedError(
            self.errno,
            self.text,
            field=self.field,
            seq=self.seq,
            verb=self.verb,
            feature=self.feature,
        )


@dataclass(frozen=True)
class Event:
    """Something happened in fpmd."""

    kind: int

    @classmethod
    def parse(cls, frame: Frame) -> Self:
        """From an EVENT frame."""
        return cls(EVENT.unpack(filled(frame.body, EVENT.size))[0])


@dataclass(frozen=True)
class Stored:
    """An object as fpmd keeps it (DUMP). `error` says why it is refused."""

    feature: int
    state: State
    body: bytes
    error: Ack | None = None


class Decoder:
    """Cuts a stream of bytes into frames. Strict: MalformedError where C's frame_next fails,
    too.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes and yield the frames that are whole now."""
        self.buffer += data
        at = 0
        try:
            while len(self.buffer) - at >= HEAD_SIZE:
                length, head, feature, verb, flags, seq = HEAD.unpack_from(self.buffer, at)
                if length > MAX_FRAME or head < HEAD_SIZE or length < head:
                    raise MalformedError(f"frame of {length} bytes with a head of {head}")
                if len(self.buffer) - at < length:
                    break
                body = bytes(self.buffer[at + head : at + length])
                at += length
                yield Frame(verb, feature, flags, seq, body)
        finally:
            del self.buffer[:at]
