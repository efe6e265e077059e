# SPDX-License-Identifier: BSD-3-Clause
"""SAs: bytes, packets and sequence numbers of the fast path, for the kernel (XFRM_MSG_NEWAE).

The kernel's lifetime is set to what it is and what the fast path did since the last time; its sequence numbers never
go back; its replay window gets the packets that the fast path has seen, so that a packet which comes to Linux (a
fragment, say) can't be one that was here before. The kernel looks at its limits only when it treats a packet itself,
so the limits are watched here: XFRM_MSG_EXPIRE has it tell the key daemon (soft), or delete the SA (hard).

Keys are never seen here: XFRM_MSG_GETAE answers without them.
"""

import errno
import logging
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from _sluice import ffi, lib
from sluice.fpsd.counters import Counters as Base
from sluice.fpsd.ledger import Entry, Ledger
from sluice.fpsd.places import NLM_F_ACK, Asking, Places
from sluice.shm import File

log = logging.getLogger("fpsd")

NETLINK_XFRM, NLM_F_REPLACE = 6, 0x100
EXPIRE, NEWAE, GETAE = 0x18, 0x1E, 0x1F
AEVENT_ID = struct.Struct("=16s4sHBx16sII")  # struct xfrm_aevent_id
NLA = struct.Struct("=HH")
LTIME_VAL, REPLAY_VAL, MARK, REPLAY_ESN_VAL = 9, 10, 21, 23
LIFETIME = struct.Struct("=QQQQ")  # struct xfrm_lifetime_cur: bytes, packets, added, first used
REPLAY = struct.Struct("=III")  # struct xfrm_replay_state: oseq, seq, bitmap
REPLAY_ESN = struct.Struct("=IIIIII")  # words, oseq, seq, oseq_hi, seq_hi, window; then the bitmap
AE_RVAL, AE_LVAL, AE_CU = 2, 4, 64
# struct xfrm_user_expire: of the SA only what identifies it.
USER_EXPIRE = struct.Struct("=56x16s4sB3x16s116xH10xB7x")
WORD = 0xFFFFFFFF
NO_LIMIT = (1 << 64) - 1
BLOCK = 32  # sequence numbers in a block of the fast path's window
GONE = {errno.ESRCH, errno.EINVAL}  # no such SA, or it isn't valid any more


@dataclass(frozen=True)
class Replay:
    """Last sent, highest received, and which of the `window` numbers up to that were seen (bit 0: the highest)."""

    sent: int
    received: int
    seen: int
    window: int

    def merge(self, other: "Replay") -> "Replay":
        """As if one had treated the packets of both; the window stays."""
        top = max(self.received, other.received)
        seen = self.seen << (top - self.received) if top - self.received < self.window else 0
        seen |= other.seen << (top - other.received) if top - other.received < self.window else 0
        return Replay(max(self.sent, other.sent), top, seen & ((1 << self.window) - 1), self.window)


def from_kernel(a: dict[int, bytes]) -> Replay | None:
    """What XFRM_MSG_GETAE answers; None: nothing."""
    if REPLAY_ESN_VAL in a:
        data = a[REPLAY_ESN_VAL]
        words, oseq, seq, oseq_hi, seq_hi, window = REPLAY_ESN.unpack_from(data)
        bits = int.from_bytes(data[REPLAY_ESN.size : REPLAY_ESN.size + 4 * words], "little")
        seen = 0
        if window:
            # The kernel's bitmap is a ring in which the highest number's place follows from the number.
            at = (seq - 1 & WORD) % window
            for age in range(min(window, seq | seq_hi << 32)):
                if bits >> ((at - age) % window) & 1:
                    seen |= 1 << age
        return Replay(oseq | oseq_hi << 32, seq | seq_hi << 32, seen, window)
    if REPLAY_VAL in a:
        oseq, seq, bitmap = REPLAY.unpack(a[REPLAY_VAL])
        return Replay(oseq, seq, bitmap, 32)
    return None


def for_kernel(replay: Replay, was: dict[int, bytes]) -> bytes:
    """The attribute, in the form in which the kernel gave it."""
    if REPLAY_ESN_VAL not in was:
        return attribute(
            REPLAY_VAL, REPLAY.pack(replay.sent & WORD, replay.received & WORD, replay.seen & WORD)
        )
    words, window = REPLAY_ESN.unpack_from(was[REPLAY_ESN_VAL])[0], replay.window
    bits = 0
    if window:
        at = (replay.received - 1 & WORD) % window
        for age in range(window):
            if replay.seen >> age & 1:
                bits |= 1 << (at - age) % window
    head = REPLAY_ESN.pack(
        words,
        replay.sent & WORD,
        replay.received & WORD,
        replay.sent >> 32,
        replay.received >> 32,
        window,
    )
    return attribute(REPLAY_ESN_VAL, head + bits.to_bytes(4 * words, "little"))


def seen_in(blocks: Any, received: int, window: int) -> int:
    """Of the fast path's ring of blocks (ipsec.h): which of the `window` numbers up to `received` were there."""
    seen, first = 0, max(0, received - window + 1)
    for number in range(first // BLOCK, received // BLOCK + 1):
        word = int(blocks[number % lib.IPSEC_BLOCKS])
        if word >> 32 != number & WORD:
            continue
        for bit in range(BLOCK):
            age = received - (number * BLOCK + bit)
            if word >> bit & 1 and 0 <= age < window:
                seen |= 1 << age
    return seen


def attribute(kind: int, data: bytes) -> bytes:
    return NLA.pack(NLA.size + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= NLA.size:
        size, kind = NLA.unpack_from(data)
        if not NLA.size <= size <= len(data):
            break
        found[kind & 0x3FFF] = data[NLA.size : size]
        data = data[size + 3 & ~3 :]
    return found


@dataclass
class Seen:
    """An SA and what the fast path has done for it."""

    vrf: int
    generation: int
    ident: bytes  # struct xfrm_aevent_id up to its flags
    mark: bytes  # the attribute, or b""
    limits: tuple[int, int, int, int]  # bytes soft and hard, packets soft and hard
    n_bytes: int
    n_packets: int
    sent: int
    received: int
    window: int
    state: Any  # the row of "ipsec_sa_state"
    spi: int  # for people

    @property
    def name(self) -> str:
        """In the ledger."""
        return f"ipsec:{self.generation}"

    @property
    def news(self) -> tuple[int, int, int, int]:
        """What is other than before if there was a packet."""
        return self.n_bytes, self.n_packets, self.sent, self.received

    def replay(self) -> Replay:
        """With the window, which takes a while to read."""
        seen = seen_in(self.state.blocks, self.received, self.window)
        if self.state.generation != self.generation:
            seen = 0  # of another SA
        return Replay(self.sent, self.received, seen, self.window)


def seen_sas(config: File, stats: File) -> Iterator[Seen]:
    """Those that the fast path treats."""
    left = int(config.entry("ipsec_sa").used)
    states = stats.structs("ipsec_sa_state")
    for number, sa in enumerate(config.structs("ipsec_sa")):
        if not left:
            return
        generation = int(sa.generation)
        if not generation:
            continue
        left -= 1
        state = states[number]
        if state.generation != generation or sa.why != lib.IPSEC_SA_FAST:
            continue
        dst, src = bytes(ffi.buffer(sa.dst)), bytes(ffi.buffer(sa.src))
        spi = int(sa.spi).to_bytes(4, "little")
        found = Seen(
            vrf=sa.vrf,
            generation=generation,
            ident=AEVENT_ID.pack(dst, spi, sa.family, sa.proto, src, 0, 0)[:-8],
            mark=attribute(MARK, struct.pack("=II", sa.mark, sa.mark_mask))
            if sa.mark_mask
            else b"",
            limits=(sa.soft_bytes, sa.hard_bytes, sa.soft_packets, sa.hard_packets),
            n_bytes=int(state.bytes),
            n_packets=int(state.packets),
            sent=int(state.sent),
            received=int(state.received),
            window=int(sa.window),
            state=state,
            spi=int.from_bytes(spi, "big"),
        )
        # All of it is this SA's only if it still is.
        if sa.generation == generation and state.generation == generation:
            yield found


class Counters(Base):
    """All SAs."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.places = Places(NETLINK_XFRM)
        # By generation, what the kernel has been told last.
        self.last: dict[int, tuple[int, int, int, int]] = {}

    def close(self) -> None:
        """End it."""
        self.places.close()

    def tick(self, config: File, stats: File) -> None:
        """Tell the kernel of those with news."""
        found = {sa.name: sa for sa in seen_sas(config, stats)}
        self.ledger.keep("ipsec:", set(found))
        alive = {sa.generation for sa in found.values()}
        self.last = {g: told for g, told in self.last.items() if g in alive}
        news = [sa for sa in found.values() if self.news(sa)]
        if not news:
            if self.ledger.dirty:
                self.ledger.save()
            return
        by_vrf: dict[int, list[Seen]] = defaultdict(list)
        for sa in news:
            by_vrf[sa.vrf].append(sa)
        reached = []
        for vrf, sas in by_vrf.items():
            asking = self.places.asking(vrf, config)
            if asking:
                reached += [(asking, sa) for sa in sas if self.settle(asking, sa)]
        for _, sa in reached:
            entry = self.ledger[sa.name]
            entry.announce(sa.n_bytes - entry.n_bytes, sa.n_packets - entry.n_packets)
        self.ledger.save()
        for asking, sa in reached:
            self.tell(asking, sa)
        self.ledger.save()

    def news(self, sa: Seen) -> bool:
        """Whether the kernel lacks anything."""
        entry = self.ledger.entries.get(sa.name)
        if entry and entry.pending:
            return True
        return self.last.get(sa.generation) != sa.news

    def settle(self, asking: Asking, sa: Seen) -> bool:
        """Make the ledger's entry one that can be added to; False: there's no such SA."""
        answer = self.read(asking, sa)
        if answer is None:
            return False
        n_bytes, n_packets, *_ = LIFETIME.unpack(answer[LTIME_VAL])
        entry = self.ledger[sa.name]
        if entry.pending:
            entry.resolve(n_bytes, n_packets)
        entry.kernel_bytes, entry.kernel_packets = n_bytes, n_packets
        if sa.n_bytes < entry.n_bytes or sa.n_packets < entry.n_packets:
            # Another stats file: the fast path counts anew.
            entry.n_bytes = entry.n_packets = 0
        return True

    def read(self, asking: Asking, sa: Seen) -> dict[int, bytes] | None:
        """The SA's attributes as the kernel has them; None: there's no such SA (any more)."""
        payload = sa.ident + struct.pack("=II", AE_RVAL | AE_LVAL, 0) + sa.mark
        try:
            answer = asking.ask(GETAE, 0, payload)
        except OSError as error:
            self.refuse(sa, error)
            return None
        found = attributes(answer[AEVENT_ID.size :])
        return found if len(found.get(LTIME_VAL, b"")) == LIFETIME.size else None

    def tell(self, asking: Asking, sa: Seen) -> None:
        """Between the question and the answer there's nothing that takes time: what Linux counts meanwhile is lost."""
        entry = self.ledger[sa.name]
        a = self.read(asking, sa)
        replay = from_kernel(a) if a else None
        if a is None or replay is None:
            entry.more_bytes = entry.more_packets = 0
            return
        n_bytes, n_packets, added, used = LIFETIME.unpack(a[LTIME_VAL])
        n_bytes += entry.more_bytes
        n_packets += entry.more_packets
        if entry.more_packets and not used:
            used = int(time.time())
        payload = sa.ident + struct.pack("=II", AE_RVAL | AE_LVAL | AE_CU, 0) + sa.mark
        payload += attribute(LTIME_VAL, LIFETIME.pack(n_bytes, n_packets, added, used))
        payload += for_kernel(replay.merge(sa.replay()), a)
        try:
            asking.ask(NEWAE, NLM_F_REPLACE | NLM_F_ACK, payload)
        except OSError as error:
            self.refuse(sa, error)
            entry.more_bytes = entry.more_packets = 0
            return
        entry.added(n_bytes, n_packets)
        self.last[sa.generation] = sa.news
        self.told += 1
        log.debug("SA %#x: %d bytes, %d packets", sa.spi, n_bytes, n_packets)
        self.expire(asking, sa, entry, n_bytes, n_packets)

    def expire(self, asking: Asking, sa: Seen, entry: Entry, n_bytes: int, n_packets: int) -> None:
        """Say that a limit is reached, once each."""
        soft_bytes, hard_bytes, soft_packets, hard_packets = sa.limits
        hard = n_bytes >= hard_bytes or n_packets >= hard_packets
        soft = n_bytes >= soft_bytes or n_packets >= soft_packets
        if hard and not entry.hard:
            entry.hard = entry.soft = True
        elif soft and not entry.soft:
            entry.soft = True
        else:
            return
        dst, spi, family, proto, src = struct.unpack("=16s4sHBx16s", sa.ident)
        payload = USER_EXPIRE.pack(dst, spi, proto, src, family, hard) + sa.mark
        log.info(
            "SA %#x has reached its %s limit: %d bytes, %d packets",
            sa.spi,
            "hard" if hard else "soft",
            n_bytes,
            n_packets,
        )
        try:
            asking.ask(EXPIRE, NLM_F_ACK, payload)
        except OSError as error:
            self.refuse(sa, error)

    def refuse(self, sa: Seen, error: OSError) -> None:
        """What the kernel doesn't take. Raises other than a refusal."""
        if error.errno in GONE:
            return
        if error.errno == errno.EPERM or error.errno is None:
            raise error
        self.refused += 1
        log.warning("SA %#x: %s", sa.spi, error.strerror)
