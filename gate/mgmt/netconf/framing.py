# SPDX-License-Identifier: BSD-3-Clause
"""Messages in a stream of bytes: end-of-message for base:1.0, chunks for 1.1 (RFC 6242 sections 4.2, 4.3). Pure."""

import re
from collections.abc import Iterator

END = b"]]>]]>"
LARGEST = 256 << 20
_CHUNK = re.compile(rb"\n#(?:([1-9][0-9]{0,9})|(#))\n")
_BEGINNING = re.compile(rb"(\n(#([1-9][0-9]{0,9}|#)?)?)?\Z")


class FramingError(Exception):
    """The stream isn't NETCONF; the session can only end."""


class Framing:
    """Both directions of one session. It begins with 1.0's framing; set `chunked` after both hellos."""

    def __init__(self) -> None:
        self.chunked = False
        self._buffer = bytearray()
        self._seen = 0
        self._chunks: list[bytes] = []
        self._size = 0

    def wrap(self, message: bytes) -> bytes:
        if not self.chunked:
            return message + END
        return b"\n#%d\n%b\n##\n" % (len(message), message)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def messages(self) -> Iterator[bytes]:
        """Whole messages among what was fed; `chunked` may be changed in between."""
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> bytes | None:
        if not self.chunked:
            at = self._buffer.find(END, max(0, self._seen - len(END)))
            if at < 0:
                self._seen = len(self._buffer)
                self._check(self._seen)
                return None
            message = bytes(self._buffer[:at])
            del self._buffer[: at + len(END)]
            self._seen = 0
            return message
        while True:
            head = _CHUNK.match(self._buffer)
            if head is None:
                if len(self._buffer) > 13 or not _BEGINNING.match(self._buffer):
                    raise FramingError(f"no chunk begins with {bytes(self._buffer[:16])!r}")
                return None
            if head[2]:
                if not self._chunks:
                    raise FramingError("a message without a chunk")
                del self._buffer[: head.end()]
                message = b"".join(self._chunks)
                self._chunks, self._size = [], 0
                return message
            size = int(head[1])
            if size > 0xFFFFFFFF:
                raise FramingError("a chunk of more than 4294967295 bytes")
            self._check(self._size + size)
            if len(self._buffer) < head.end() + size:
                return None
            self._chunks.append(bytes(self._buffer[head.end() : head.end() + size]))
            self._size += size
            del self._buffer[: head.end() + size]

    @staticmethod
    def _check(size: int) -> None:
        if size > LARGEST:
            raise FramingError(f"a message of more than {LARGEST} bytes")
