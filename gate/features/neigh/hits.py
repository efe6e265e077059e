# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours that only the fast path uses.

Linux's state machine (RFC 4861 7.3, and the same for ARP): an entry is REACHABLE for a while, then STALE. It stays
that until a packet is sent to it: then DELAY, five seconds later PROBE (a question on the wire), and REACHABLE
again. An entry that is never used is thrown away after gc_stale_time. Linux doesn't see the fast path's packets,
so an entry that the fast path has used since it became STALE is told to be used: NTF_USE does in the kernel what a
packet does. That's once a round of that state machine, however many packets there are, and nothing happens to
entries in other states.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from _sluice import ffi, lib
from sluice.hitflags.memory import Memory
from sluice.hitflags.netlink import attributes
from sluice.hitflags.refresher import Refresher, Request

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTNLGRP_NEIGH = 3
NDMSG = struct.Struct("=BxxxiHBB")  # family, ifindex, state, flags, type
NDA_DST, NDA_CACHEINFO = 1, 3
CACHEINFO = struct.Struct("=IIII")  # ages: confirmed, used, updated, in 1/100 s; references
TICKS = 100  # USER_HZ
NUD_STALE = 0x04
NTF_USE, NTF_PROXY, NTF_EXT_LEARNED = 0x01, 0x08, 0x10
SIZES = {socket.AF_INET: 4, socket.AF_INET6: 16}
# If the kernel doesn't say what became of a refresh, it was lost.
AGAIN = 30.0

Place = tuple[int, int, bytes]  # ifindex, family, address


@dataclass
class Stale:
    """An entry that Linux would probe if it had a packet for it."""

    since: float
    flags: int  # NTF_EXT_LEARNED: must be told, or a request would clear it
    asked: float = 0.0


class Hits(Refresher):
    """The STALE neighbours of a namespace."""

    groups = (RTNLGRP_NEIGH,)
    dump = (RTM_GETNEIGH, 0, bytes(12))

    def __init__(self, vrf: int) -> None:
        super().__init__(vrf)
        self.stale: dict[Place, Stale] = {}

    @property
    def waiting(self) -> int:
        """Entries that Linux would probe if it had a packet for them."""
        return len(self.stale)

    def begin(self) -> None:
        """A dump follows."""
        self.stale = {}

    def message(self, kind: int, payload: memoryview, now: float) -> None:
        """RTM_NEWNEIGH and RTM_DELNEIGH; others are none of ours."""
        if kind not in (RTM_NEWNEIGH, RTM_DELNEIGH):
            return
        if len(payload) < NDMSG.size:
            raise ValueError("a neighbour is cut off")
        family, ifindex, state, flags, _ = NDMSG.unpack_from(payload)
        if family not in SIZES or flags & NTF_PROXY:
            return
        found = attributes(payload[NDMSG.size :])
        address = bytes(found.get(NDA_DST, b""))
        if len(address) != SIZES[family]:
            raise ValueError("a neighbour without an address")
        place = (ifindex, family, address)
        if kind == RTM_DELNEIGH or state != NUD_STALE:
            self.stale.pop(place, None)
            return
        age = 0.0
        if len(found.get(NDA_CACHEINFO, b"")) >= CACHEINFO.size:
            age = CACHEINFO.unpack_from(found[NDA_CACHEINFO])[2] / TICKS
        self.stale[place] = Stale(now - age, flags & NTF_EXT_LEARNED)

    def due(self, memory: Memory, now: float) -> Iterator[Request]:
        """Those that the fast path has used since they're STALE, the one that waits longest first."""
        for place, entry in list(self.stale.items()):
            if entry.asked and now - entry.asked < AGAIN:
                continue
            # Hit times are whole seconds: in the second of the change nobody knows which came first.
            if self.used(memory, place) <= entry.since:
                continue
            entry.asked = now
            ifindex, family, address = place
            head = NDMSG.pack(family, ifindex, NUD_STALE, NTF_USE | entry.flags, 0)
            yield (
                RTM_NEWNEIGH,
                0,
                head + struct.pack("=HH", 4 + len(address), NDA_DST) + address,
            )

    def used(self, memory: Memory, place: Place) -> int:
        """The second in which the fast path used it last; 0: never."""
        ifindex, family, address = place
        iface = memory.iface(self.vrf, ifindex)
        if not iface:
            return 0
        full = ffi.from_buffer(address.ljust(16, b"\0"))
        return int(lib.neigh_last_hit(memory.config, memory.stats, iface, family, full))
