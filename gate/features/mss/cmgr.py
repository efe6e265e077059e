# SPDX-License-Identifier: BSD-3-Clause
"""TCP MSS clamps of nftables' forward hook. Whether a chain holds anything else is the guard's business
(../vrf/cmgr.py).
"""

import socket
import struct
import sys

from _sluice import lib
from sluice.cmgrd.feature import Feature
from sluice.cmgrd.kernel import AF_INET, AF_INET6, Chain, ChainRule, Clamp, Family, Message

BODY = struct.Struct("=IBBBx16s16sIHxx")  # struct fpc_mss
ROUTE: int = lib.FPC_MSS_ROUTE
HOOK_FORWARD = 2
NFPROTO_INET = 1
FAMILIES = {NFPROTO_INET: (AF_INET, AF_INET6), AF_INET: (AF_INET,), AF_INET6: (AF_INET6,)}


class Sync(Feature):
    """A dump of the chains comes with one of their rules behind it; nothing else counts: each commit leads to both."""

    key_size = 40
    families = frozenset({Family.CHAIN})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.prefix = self.vrf.to_bytes(4, sys.byteorder)  # of this VRF's keys
        self.forward: set[tuple[int, str, str]] = set()  # chains of the forward hook
        self.found: dict[bytes, tuple[int, int]] = {}  # by key: flags, size

    def begin(self, family: Family) -> None:
        self.forward, self.found = set(), {}

    def abandon(self, family: Family) -> None:
        self.begin(family)

    def end(self, family: Family) -> None:
        mine = {key for key in self.wanted if key.startswith(self.prefix)}
        for key in sorted(mine - set(self.found)):
            self.delete(key)

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        if not dumped:
            return
        match message.value:
            case Chain(hook=hook) as chain if hook == HOOK_FORWARD:
                self.forward.add((chain.family, chain.table, chain.name))
            case ChainRule(clamp=Clamp() as clamp) as rule:
                if (rule.family, rule.table, rule.chain) in self.forward:
                    # At once, not at the end: the fast path must have it before the guard is lifted.
                    for family in FAMILIES.get(rule.family, ()):
                        self.add(family, clamp)

    def add(self, family: int, clamp: Clamp) -> None:
        """Rules that match the same packets are one object, with what each of them does."""
        names = (clamp.input.encode(), clamp.output.encode())
        head = BODY.pack(self.vrf, family, clamp.mask, clamp.value, *names, 0, 0)[: self.key_size]
        flags, size = self.found.get(head, (0, 0))
        flags |= 0 if clamp.size else ROUTE
        if clamp.size:
            size = min(size or clamp.size, clamp.size)
        self.found[head] = (flags, size)
        self.set(BODY.pack(self.vrf, family, clamp.mask, clamp.value, *names, flags, size))

    def describe(self, key: bytes, body: bytes | None) -> str:
        _, family, mask, value, source, target, flags, size = BODY.unpack(body or key + bytes(8))
        text = f"MSS clamp of {'IPv4' if family == socket.AF_INET else 'IPv6'} flags {value:#x}/{mask:#x}"
        for word, name in (("in", source), ("out", target)):
            if name.rstrip(b"\0"):
                text += f" {word} {name.rstrip(b'\0').decode(errors='replace')}"
        if body:
            text += (" rt mtu" if flags & ROUTE else "") + (f" size {size}" if size else "")
        return text
