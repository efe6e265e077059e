# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between a client and fpmd."""

import errno
import os


class FpcError(Exception):
    """All of them."""


class LostError(FpcError):
    """The connection to fpmd ended, or couldn't be made."""


class MalformedError(FpcError):
    """Bytes that are no FPC."""


class RefusedError(FpcError):
    """fpmd refused a frame.

    errno: positive; field: the struct's field that is wrong, or ""; text: one line; seq: the
    frame's number; verb and feature: its numbers.
    """

    def __init__(
        self, code: int, text: str, *, field: str, seq: int, verb: int, feature: int
    ) -> None:
        super().__init__(text)
        self.errno = code
        self.text = text
        self.field = field
        self.seq = seq
        self.verb = verb
        self.feature = feature

    def __str__(self) -> str:
        """One line for people."""
        name = errno.errorcode.get(self.errno, str(self.errno))
        where = f", field {self.field}" if self.field else ""
        return f"{self.text or os.strerror(self.errno)} ({name}{where})"
