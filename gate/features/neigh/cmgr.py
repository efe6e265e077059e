# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours whose link layer address Linux would use. They are decoded in C: native.h."""

import socket
import struct
from typing import Any

from _sluice import ffi, lib
from sluice.cmgrd.feature import Feature
from sluice.cmgrd.kernel import IFF_LOOPBACK, IFF_NOARP, Change, Family, Link, Message

KEY = struct.Struct("=IIB3x16s")
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29


class Sync(Feature):
    key_size = 28
    families = frozenset({Family.NEIGH, Family.LINK})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.neighs = ffi.gc(lib.neighs_new(self.objects.store, self.number), lib.neighs_free)
        if self.neighs == ffi.NULL:
            raise MemoryError

    def native(self) -> dict[int, tuple[Any, Any]]:
        decoder = (ffi.addressof(lib, "neighs_message"), self.neighs)
        return {RTM_NEWNEIGH: decoder, RTM_DELNEIGH: decoder}

    def forget(self) -> None:
        super().forget()
        lib.neighs_forget(self.neighs, self.vrf, 0)

    def begin(self, family: Family) -> None:
        if family is Family.NEIGH:
            lib.neighs_begin(self.neighs, self.vrf)

    def abandon(self, family: Family) -> None:
        if family is Family.NEIGH:
            lib.neighs_abandon(self.neighs, self.vrf)

    def end(self, family: Family) -> None:
        if family is Family.NEIGH:
            lib.neighs_end(self.neighs, self.vrf)

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        link = message.value
        if not isinstance(link, Link):
            return
        if message.change is Change.DELETED:
            lib.neighs_forget(self.neighs, self.vrf, link.ifindex)
            return
        quiet = bool(link.flags & (IFF_NOARP | IFF_LOOPBACK))
        changed = lib.neighs_quiet(self.neighs, self.vrf, link.ifindex, quiet)
        if changed < 0:
            raise MemoryError
        if changed:
            self.redump(Family.NEIGH, f"{message.name} {link.name}")

    def describe(self, key: bytes, body: bytes | None) -> str:
        _, ifindex, family, address = KEY.unpack(key)
        size = 4 if family == socket.AF_INET else 16
        text = f"neighbour {socket.inet_ntop(family, address[:size])} of interface {ifindex}"
        return text + (f" at {body[32:38].hex(':')}" if body else "")
