# SPDX-License-Identifier: BSD-3-Clause
"""The edge to the kernel: one socket that hears, one that dumps, one that asks."""

import errno
import os
import socket
import struct
from collections.abc import Iterator

from sluice.daemon import FatalError

NLMSG = struct.Struct("=IHHII")
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLM_F_DUMP_INTR = 0x10
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE = 33
ROOM = 1 << 16
BUFFER = 4 << 20

Request = tuple[int, int, bytes]


def messages(data: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """(type, flags, payload) of each message of a datagram. ValueError if it's cut off."""
    view, at = memoryview(data), 0
    while at < len(data):
        if len(data) - at < NLMSG.size:
            raise ValueError("a message is cut off")
        size, kind, flags, _, _ = NLMSG.unpack_from(data, at)
        if size < NLMSG.size or size > len(data) - at:
            raise ValueError(f"a message of {size} bytes in {len(data) - at}")
        yield kind, flags, view[at + NLMSG.size : at + size]
        at += size + 3 & ~3


def attributes(payload: memoryview) -> dict[int, memoryview]:
    """The last of each type. ValueError if one is cut off."""
    found: dict[int, memoryview] = {}
    while len(payload) >= 4:
        size, kind = struct.unpack_from("=HH", payload)
        if not 4 <= size <= len(payload):
            raise ValueError(f"an attribute of {size} bytes in {len(payload)}")
        found[kind & 0x3FFF] = payload[4:size]
        payload = payload[size + 3 & ~3 :]
    return found


def opened() -> socket.socket:
    """A socket of NETLINK_ROUTE in this thread's namespace."""
    try:
        made = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
        made.bind((0, 0))
    except OSError as error:
        raise FatalError(f"Netlink: {error.strerror}") from error
    return made


class Kernel:
    """NETLINK_ROUTE in one namespace."""

    def __init__(self, groups: set[int]) -> None:
        self.events = opened()
        try:
            self.events.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:
            self.events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        for group in groups:
            self.events.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self.asking = opened()

    def close(self) -> None:
        """End it."""
        self.events.close()
        self.asking.close()

    def read(self) -> tuple[list[bytes], bool]:
        """The datagrams that wait, and whether some were lost."""
        found: list[bytes] = []
        while True:
            try:
                data, sender = self.events.recvfrom(ROOM)
            except BlockingIOError:
                return found, False
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return found, True
            if sender[0] == 0:
                found.append(data)

    def dump(self, request: Request) -> tuple[list[bytes], bool]:
        """All datagrams of a dump, and whether it's whole: False if what was dumped changed meanwhile."""
        kind, flags, payload = request
        complete = True
        found: list[bytes] = []
        with opened() as one:
            one.setblocking(True)
            one.settimeout(10)
            one.send(message(kind, NLM_F_DUMP | flags, payload))
            while True:
                data = one.recv(ROOM)
                # The end may stand in the same datagram as the last entries.
                found.append(data)
                for answer, answer_flags, body in messages(data):
                    complete = complete and not answer_flags & NLM_F_DUMP_INTR
                    if answer in (NLMSG_DONE, NLMSG_ERROR):
                        code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                        if code > 0:
                            raise OSError(code, os.strerror(code))
                        return found, complete

    def ask(self, request: Request) -> bool:
        """Send a request; False: not now, the kernel has no room."""
        kind, flags, payload = request
        try:
            self.asking.send(message(kind, flags, payload))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return False
        return True

    def errors(self) -> list[int]:
        """The errno of each request that the kernel refused since the last call."""
        codes: list[int] = []
        while True:
            try:
                data = self.asking.recv(ROOM)
            except (BlockingIOError, InterruptedError):
                return codes
            except OSError:
                continue
            for kind, _, body in messages(data):
                if kind == NLMSG_ERROR and len(body) >= 4:
                    code = -struct.unpack_from("=i", body)[0]
                    codes += [code] if code > 0 else []


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """With its header."""
    return NLMSG.pack(NLMSG.size + len(payload), kind, NLM_F_REQUEST | flags, 1, 0) + payload
