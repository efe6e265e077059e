# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours whose link layer address Linux would use."""

import socket
import struct

from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    IFF_LOOPBACK,
    IFF_NOARP,
    NTF_PROXY,
    NUD_DELAY,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    Change,
    Family,
    Link,
    Message,
    Neigh,
)

BODY = struct.Struct("=IIB3x16sI6sH")  # struct fpc_neigh
KEY = struct.Struct("=IIB3x16s")
VRF = 0
USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP

Place = tuple[int, int, bytes]  # ifindex, family, address


class Sync(Feature):
    key_size = 28
    families = frozenset({Family.NEIGH, Family.LINK})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.neighs: Mirror[Place, Neigh] = Mirror()
        self.quiet: dict[int, bool] = {}  # of each link: it resolves no addresses

    def begin(self, family: Family) -> None:
        if family is Family.NEIGH:
            self.neighs.begin()

    def abandon(self, family: Family) -> None:
        self.neighs.abandon()

    def end(self, family: Family) -> None:
        if family is Family.NEIGH:
            for place in self.neighs.end():
                self.drop(place)

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        gone = message.change is Change.DELETED
        match message.value:
            case Neigh() as neigh:
                place = (neigh.ifindex, neigh.family, neigh.address)
                if neigh.flags & NTF_PROXY:
                    return
                if gone or not usable(neigh):
                    self.drop(place)
                else:
                    self.neighs.put(place, neigh)
                    self.judge(neigh)
            case Link() as link if gone:
                self.quiet.pop(link.ifindex, None)
                for place in [place for place in self.neighs if place[0] == link.ifindex]:
                    self.drop(place)
            case Link() as link:
                quiet = bool(link.flags & (IFF_NOARP | IFF_LOOPBACK))
                if self.quiet.get(link.ifindex, False) is not quiet:
                    self.quiet[link.ifindex] = quiet
                    for neigh in [n for n in self.neighs.values() if n.ifindex == link.ifindex]:
                        self.judge(neigh)

    def judge(self, neigh: Neigh) -> None:
        # On such a device the kernel makes an entry for every destination, without a word.
        if neigh.state & NUD_NOARP and self.quiet.get(neigh.ifindex, False):
            self.delete(key_of((neigh.ifindex, neigh.family, neigh.address)))
            return
        # The state moves without a packet's way changing. So that this isn't a new object each time, the timed ones are
        # all called reachable.
        fixed = neigh.state & (NUD_PERMANENT | NUD_NOARP)
        key = key_of((neigh.ifindex, neigh.family, neigh.address))
        self.set(key + BODY_REST.pack(0, neigh.mac, fixed or NUD_REACHABLE))

    def drop(self, place: Place) -> None:
        self.neighs.pop(place, None)
        self.delete(key_of(place))

    def describe(self, key: bytes, body: bytes | None) -> str:
        _, ifindex, family, address = KEY.unpack(key)
        size = 4 if family == socket.AF_INET else 16
        text = f"neighbour {socket.inet_ntop(family, address[:size])} of interface {ifindex}"
        return text + (f" at {body[32:38].hex(':')}" if body else "")


BODY_REST = struct.Struct("=I6sH")


def usable(neigh: Neigh) -> bool:
    """It has an Ethernet address of one host. Group addresses are the kernel's own, made without a word."""
    mac = neigh.mac
    return bool(neigh.state & USABLE) and len(mac) == 6 and not mac[0] & 1 and mac != bytes(6)


def key_of(place: Place) -> bytes:
    ifindex, family, address = place
    return KEY.pack(VRF, ifindex, family, address)
