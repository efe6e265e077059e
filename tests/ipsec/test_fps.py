# SPDX-License-Identifier: BSD-3-Clause
"""SAs' counters on their way to the kernel: a kernel of Python here, which does as xfrm_replay.c and xfrm_user.c do."""

import errno
import logging
import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _sluice import ffi, lib
from hypothesis import given
from hypothesis import strategies as st
from sluice.cmgrd.namespaces import FOLDER, SO_NETNS_COOKIE, Namespace
from sluice.features.ipsec import fps
from sluice.fpsd.ledger import Ledger
from sluice.fpsd.places import Places

from lab import netns

SPI = 0x1234
WORD = 0xFFFFFFFF


# --- replay windows


class Window:
    """The kernel's (RFC 4303, 3.4.3; xfrm_replay_advance_esn): a ring of bits, moved one packet after the other."""

    def __init__(self, window: int) -> None:
        self.window, self.top = window, 0
        self.bits = [False] * (-(-window // 32) * 32)

    def take(self, seq: int) -> bool:
        """A packet; whether it's new."""
        at = (self.top - 1 & WORD) % self.window
        if seq > self.top:
            diff = seq - self.top
            if diff < self.window:
                for i in range(1, diff):
                    self.bits[(at + i) % self.window] = False
                place = (at + diff) % self.window
            else:
                self.bits = [False] * len(self.bits)
                place = (seq - 1 & WORD) % self.window
            self.top = seq
        else:
            diff = self.top - seq
            if diff >= self.window:
                return False
            place = (at - diff) % self.window
            if self.bits[place]:
                return False
        self.bits[place] = True
        return True

    def attributes(self) -> dict[int, bytes]:
        words = len(self.bits) // 32
        head = struct.pack("=IIIIII", words, 0, self.top & WORD, 0, self.top >> 32, self.window)
        bits = sum(1 << i for i, bit in enumerate(self.bits) if bit)
        return {fps.REPLAY_ESN_VAL: head + bits.to_bytes(4 * words, "little")}


def told(attribute: bytes) -> dict[int, bytes]:
    return fps.attributes(attribute)


WINDOWS = st.sampled_from((32, 64, 128, 1024, 4096))
# Moves of a stream of packets: mostly forward.
MOVES = st.lists(
    st.one_of(st.integers(1, 3), st.integers(-40, 70), st.integers(1000, 5000)), max_size=80
)


@given(WINDOWS, MOVES)
def test_the_kernels_window_is_read(window: int, moves: list[int]) -> None:
    kernel, seen, seq = Window(window), set(), 0
    for move in moves:
        seq = max(1, seq + move)
        if kernel.take(seq):
            seen.add(seq)
    found = fps.from_kernel(kernel.attributes())
    assert found
    assert (found.received, found.window) == (kernel.top, window)
    ages = {age for age in range(window) if found.seen >> age & 1}
    assert ages == {kernel.top - s for s in seen if kernel.top - s < window}
    # And written as it was.
    assert told(fps.for_kernel(found, kernel.attributes())) == kernel.attributes() or not seen


@given(WINDOWS, MOVES, MOVES)
def test_what_both_have_seen_is_never_taken_again(
    window: int, ours: list[int], theirs: list[int]
) -> None:
    """Packets of one SA, some through Linux, some through the fast path; then all again, through Linux."""
    kernel, fast, seen, seq = Window(window), Window(window), set(), 0
    for taker, moves in ((kernel, theirs), (fast, ours)):
        for move in moves:
            seq = max(1, seq + move)
            if taker.take(seq):
                seen.add(seq)
    both = fps.from_kernel(kernel.attributes())
    mine = fps.from_kernel(fast.attributes())
    assert both
    assert mine
    after = Window(window)
    merged = told(fps.for_kernel(both.merge(mine), kernel.attributes()))[fps.REPLAY_ESN_VAL]
    after.top = struct.unpack_from("=I", merged, 8)[0]
    bits = int.from_bytes(merged[24:], "little")
    after.bits = [bool(bits >> i & 1) for i in range(len(after.bits))]
    assert after.top == max(kernel.top, fast.top)
    for one in sorted(seen):
        assert not after.take(one), f"{one} was there"
    for one in range(max(1, after.top - window + 1), after.top):
        if one not in seen:
            assert after.take(one), f"{one} wasn't there"


@given(st.integers(0, 2**20), WINDOWS, st.sets(st.integers(0, 5000), max_size=60))
def test_the_fast_paths_blocks_are_read(received: int, window: int, ages: set[int]) -> None:
    blocks = ffi.new("uint64_t[]", lib.IPSEC_BLOCKS)
    seqs = {received - age for age in ages if received >= age}
    for seq in sorted(seqs):
        at, number = seq // 32 % lib.IPSEC_BLOCKS, seq // 32
        if blocks[at] >> 32 != number:
            blocks[at] = number << 32
        blocks[at] |= 1 << seq % 32
    found = fps.seen_in(blocks, received, window)
    assert {age for age in range(window) if found >> age & 1} == {
        received - seq for seq in seqs if received - seq < window
    }


def test_the_old_form_of_the_replay_state() -> None:
    old = {fps.REPLAY_VAL: struct.pack("=III", 7, 100, 0b101)}
    found = fps.from_kernel(old)
    assert found == fps.Replay(7, 100, 0b101, 32)
    merged = found.merge(fps.Replay(9, 102, 0b11, 32))
    assert merged == fps.Replay(9, 102, 0b10111, 32)
    assert told(fps.for_kernel(merged, old)) == {
        fps.REPLAY_VAL: struct.pack("=III", 9, 102, 0b10111)
    }


# --- counters


class Table:
    """What File gives, of two tables."""

    def __init__(self, name: str, rows: Any) -> None:
        self.name, self.rows, self.used = name, rows, 0

    def structs(self, table: str) -> Any:
        assert table == self.name
        return self.rows

    def entry(self, table: str) -> "Table":
        assert table == self.name
        return self


class Killed(BaseException):
    """SIGKILL."""


class Kernel:
    """One SA. Also the `Places` and their socket."""

    def __init__(self) -> None:
        self.n_bytes = self.n_packets = self.used = 0
        self.replay = struct.pack("=III", 0, 0, 0)
        self.there = True
        self.expired: list[bool] = []
        self.before: Callable[[int], None] = lambda kind: None
        self.after: Callable[[int], None] = lambda kind: None

    def asking(self, vrf: int, config: Any) -> "Kernel":
        return self

    def close(self) -> None:
        pass

    def treat(self, size: int) -> None:
        """A packet that Linux itself sends."""
        self.n_bytes += size
        self.n_packets += 1
        oseq, *rest = struct.unpack("=III", self.replay)
        self.replay = struct.pack("=III", oseq + 1, *rest)

    def ask(self, kind: int, flags: int, payload: bytes) -> bytes:
        self.before(kind)
        if not self.there:
            raise OSError(errno.ESRCH, "No such process")
        answer = b""
        match kind:
            case fps.GETAE:
                assert len(payload) == 48
                assert payload[16:20] == SPI.to_bytes(4)
                lifetime = struct.pack("=QQQQ", self.n_bytes, self.n_packets, 11, self.used)
                answer = payload + fps.attribute(fps.REPLAY_VAL, self.replay)
                answer += fps.attribute(fps.LTIME_VAL, lifetime)
            case fps.NEWAE:
                assert flags & 0x100, "the kernel wants NLM_F_REPLACE"
                a = fps.attributes(payload[48:])
                self.n_bytes, self.n_packets, added, self.used = struct.unpack(
                    "=QQQQ", a[fps.LTIME_VAL]
                )
                assert added == 11
                self.replay = a[fps.REPLAY_VAL]
            case fps.EXPIRE:
                assert len(payload) == 232
                assert payload[72:76] == SPI.to_bytes(4)
                self.expired.append(bool(payload[224]))
                self.there = not payload[224]
        self.after(kind)
        return answer


class Rig:
    """An SA of the fast path, and the daemon's part."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fpsd.json"
        self.kernel = Kernel()
        self.config = Table("ipsec_sa", ffi.new("struct ipsec_sa_row[4]"))
        self.stats = Table("ipsec_sa_state", ffi.new("struct ipsec_sa_state_row[4]"))
        self.sa, self.state = self.config.rows[2], self.stats.rows[2]
        self.config.used = 1
        self.sa.generation = self.state.generation = 77
        self.sa.spi = int.from_bytes(SPI.to_bytes(4), "little")
        self.sa.family, self.sa.proto, self.sa.window = 2, 50, 32
        self.sa.soft_bytes = self.sa.hard_bytes = (1 << 64) - 1
        self.sa.soft_packets = self.sa.hard_packets = (1 << 64) - 1
        self.start()

    def start(self) -> None:
        """The daemon, for the first time or again."""
        self.counters = fps.Counters(Ledger(self.path))
        self.counters.places.close()
        self.counters.places = self.kernel  # type: ignore[assignment]

    def send(self, packets: int, size: int = 100) -> None:
        """Through the fast path."""
        self.state.packets += packets
        self.state.bytes += packets * size
        self.state.sent += packets

    def tick(self) -> None:
        self.counters.tick(self.config, self.stats)  # type: ignore[arg-type]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_linux_has_its_own_and_the_fast_paths(rig: Rig) -> None:
    rig.kernel.treat(1000)
    rig.send(5)
    rig.tick()
    assert (rig.kernel.n_bytes, rig.kernel.n_packets) == (1500, 6)
    assert rig.kernel.used
    rig.kernel.treat(1000)
    rig.send(2)
    rig.tick()
    rig.tick()
    assert (rig.kernel.n_bytes, rig.kernel.n_packets) == (2700, 9)
    assert struct.unpack("=III", rig.kernel.replay)[0] == 7
    assert rig.counters.told == 2, "a tick without news says nothing"


def test_a_restart_tells_nothing_twice(rig: Rig) -> None:
    rig.send(5)
    rig.tick()
    rig.start()
    rig.tick()
    rig.send(1)
    rig.start()
    rig.tick()
    assert (rig.kernel.n_bytes, rig.kernel.n_packets) == (600, 6)


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_any_moment_the_sum_is_right(rig: Rig, seed: int) -> None:
    chance = random.Random(seed)
    linux = fast = 0

    def maybe(kind: int) -> None:
        if chance.random() < 0.15:
            raise Killed

    rig.kernel.before = rig.kernel.after = maybe
    for _ in range(200):
        if chance.random() < 0.5:
            rig.send(number := chance.randrange(2, 50), 100)
            fast += number
        try:
            rig.tick()
        except Killed:
            rig.start()
        if chance.random() < 0.3:
            # One, where the fast path has at least two: so it's known which of them the kernel counted.
            rig.kernel.treat(100)
            linux += 1
            rig.kernel.before = rig.kernel.after = lambda kind: None
            rig.tick()
            rig.kernel.before = rig.kernel.after = maybe
    rig.kernel.before = rig.kernel.after = lambda kind: None
    rig.tick()
    assert rig.kernel.n_packets == linux + fast
    assert rig.kernel.n_bytes == 100 * (linux + fast)


def test_limits_are_told_once_each(rig: Rig) -> None:
    rig.sa.soft_bytes, rig.sa.hard_packets = 1000, 30
    rig.send(9)
    rig.tick()
    assert rig.kernel.expired == []
    rig.kernel.treat(100)  # both count
    rig.send(1)
    rig.tick()
    assert rig.kernel.expired == [False]
    rig.send(5)
    rig.tick()
    rig.start()
    rig.send(5)
    rig.tick()
    assert rig.kernel.expired == [False]
    rig.send(9)
    rig.tick()
    assert rig.kernel.expired == [False, True]
    rig.send(9)
    rig.tick()
    assert rig.kernel.expired == [False, True]
    assert not rig.counters.refused, "that an SA is gone is no refusal"


def test_only_what_the_fast_path_treats_is_told(rig: Rig) -> None:
    rig.send(5)
    rig.state.generation = 76  # of a former SA in the row
    rig.tick()
    rig.state.generation = 77
    rig.sa.why = lib.IPSEC_SA_LINUX
    rig.tick()
    assert rig.kernel.n_packets == 0
    rig.sa.why = lib.IPSEC_SA_FAST
    rig.tick()
    assert rig.kernel.n_packets == 5


def test_another_sa_in_the_row_begins_at_its_own(rig: Rig) -> None:
    rig.send(5)
    rig.tick()
    rig.kernel.n_bytes = rig.kernel.n_packets = 0
    rig.sa.generation = rig.state.generation = 78
    rig.state.bytes = rig.state.packets = rig.state.sent = 0
    rig.send(3)
    rig.tick()
    assert rig.kernel.n_packets == 3
    assert list(rig.counters.ledger.entries) == ["ipsec:78"]


def test_a_fast_path_that_counts_anew_takes_nothing_away(rig: Rig) -> None:
    rig.send(5)
    rig.tick()
    rig.state.bytes = rig.state.packets = 0
    rig.send(2)
    rig.tick()
    assert rig.kernel.n_packets == 7


@pytest.mark.functional
def test_sockets_are_in_the_vrfs_namespace(caplog: pytest.LogCaptureFixture) -> None:
    """And another one when the VRF is another namespace."""
    names = [f"t{os.getpid()}-fpsd-{i}" for i in range(2)]
    rows = ffi.new("struct vrf_row[256]")
    places, table = Places(fps.NETLINK_XFRM), Table("vrf", rows)
    try:
        seen = []
        for name in names:
            netns.create(name)
            namespace = Namespace(name, FOLDER / name)
            rows[3].netns, rows[3].name = namespace.cookie(), name.encode()
            asking = places.asking(3, table)  # type: ignore[arg-type]
            assert asking
            assert places.asking(3, table) is asking  # type: ignore[arg-type]
            cookie = asking.socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
            assert int.from_bytes(cookie, "little") == rows[3].netns
            # The kernel answers: there's no such SA.
            with pytest.raises(OSError, match="No such process"):
                asking.ask(fps.GETAE, 0, bytes(16) + b"\1\2\3\4\2\0\x32" + bytes(25))
            seen.append(asking)
            namespace.close()
        assert seen[0] is not seen[1]
        rows[3].netns = 1
        caplog.set_level(logging.WARNING, logger="fpsd")
        for _ in range(3):
            assert places.asking(3, table) is None  # type: ignore[arg-type]
        assert caplog.text.count("VRF 3 can't be reached") == 1, "once, not each second"
    finally:
        places.close()
        for name in names:
            netns.remove(name)


def test_a_ledger_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"a": 1}', '{"a": {"x": 1}}'):
        (tmp_path / "x.json").write_text(text)
        assert Ledger(tmp_path / "x.json").entries == {}
