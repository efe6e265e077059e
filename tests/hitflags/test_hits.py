"""Which neighbours are refreshed, message by message; the shared memory is a table of hit times."""

import socket
import struct
from typing import Any

import pytest
from sluice.features.neigh.hits import AGAIN, NTF_EXT_LEARNED, NTF_USE, Hits
from sluice.hitflags.memory import Memory
from sluice.hitflags.netlink import attributes, messages
from sluice.hitflags.refresher import Refresher, Request, refreshers

NEW, GONE = 28, 29
REACHABLE, STALE, DELAY, PERMANENT, FAILED = 0x02, 0x04, 0x08, 0x80, 0x20
A, B, SIX = "192.0.2.2", "192.0.2.3", "2001:db8::2"


class HitTimes(Hits):
    """Hit times by address instead of a fast path."""

    def __init__(self) -> None:
        super().__init__(0)
        self.times: dict[str, int] = {}

    def used(self, memory: Memory, place: Any) -> int:
        return self.times.get(socket.inet_ntop(place[1], place[2]), 0)

    def refreshed(self, now: float) -> list[str]:
        return [address(request) for request in self.due(Memory("none"), now)]


def address(request: Request) -> str:
    kind, _, payload = request
    assert kind == NEW
    family, flags = payload[0], payload[10]
    assert flags & NTF_USE
    return socket.inet_ntop(family, payload[16:])


def message(
    where: str, state: int, *, flags: int = 0, age: int = 0, ifindex: int = 3
) -> memoryview:
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    packed = socket.inet_pton(family, where)
    return memoryview(
        struct.pack("=BxxxiHBB", family, ifindex, state, flags, 1)
        + struct.pack("=HH", 4 + len(packed), 1)
        + packed
        + struct.pack("=HHIIII", 20, 3, 0, 0, age * 100, 0)
    )


@pytest.fixture
def hits() -> HitTimes:
    return HitTimes()


def test_only_what_was_used_since_it_is_stale_is_refreshed(hits: HitTimes) -> None:
    for where in (A, B, SIX):
        hits.message(NEW, message(where, STALE), 100.5)
    assert hits.waiting == 3
    hits.times = {A: 101, B: 100, SIX: 102}
    assert hits.refreshed(103) == [A, SIX]


def test_a_refresh_is_asked_for_once_a_round(hits: HitTimes) -> None:
    hits.message(NEW, message(A, STALE), 100)
    for second in range(101, 120):
        hits.times = {A: second}
        assert hits.refreshed(second) == ([A] if second == 101 else [])
    # The kernel went on; a while later it's stale again.
    hits.message(NEW, message(A, DELAY), 120)
    hits.message(NEW, message(A, REACHABLE), 125)
    hits.times = {A: 126}
    assert hits.refreshed(126) == []
    hits.message(NEW, message(A, STALE), 155)
    assert hits.refreshed(156) == []
    hits.times = {A: 156}
    assert hits.refreshed(157) == [A]


def test_a_refresh_that_was_lost_is_asked_for_again(hits: HitTimes) -> None:
    hits.message(NEW, message(A, STALE), 100)
    hits.times = {A: 101}
    assert hits.refreshed(101) == [A]
    assert hits.refreshed(101 + AGAIN - 1) == []
    assert hits.refreshed(101 + AGAIN) == [A]


@pytest.mark.parametrize("state", [REACHABLE, DELAY, PERMANENT, FAILED])
def test_entries_in_other_states_are_let_be(hits: HitTimes, state: int) -> None:
    hits.message(NEW, message(A, STALE), 100)
    hits.message(NEW, message(A, state), 101)
    hits.times = {A: 200}
    assert (hits.waiting, hits.refreshed(201)) == (0, [])


def test_entries_that_are_gone_are_forgotten(hits: HitTimes) -> None:
    hits.message(NEW, message(A, STALE), 100)
    hits.message(GONE, message(A, STALE), 101)
    assert hits.waiting == 0
    hits.message(NEW, message(B, STALE), 100)
    hits.begin()
    assert hits.waiting == 0


def test_a_dump_tells_how_long_an_entry_has_been_stale(hits: HitTimes) -> None:
    hits.message(NEW, message(A, STALE, age=50), 100)
    hits.times = {A: 60}
    assert hits.refreshed(100) == [A]


def test_what_was_learned_by_others_stays_theirs(hits: HitTimes) -> None:
    hits.message(NEW, message(A, STALE, flags=NTF_EXT_LEARNED), 100)
    hits.times = {A: 101}
    ((_, _, payload),) = hits.due(Memory("none"), 102)
    assert payload[10] == NTF_USE | NTF_EXT_LEARNED
    hits.message(NEW, message(B, STALE, flags=0x08), 100)  # a proxy entry
    assert hits.waiting == 1


@pytest.mark.parametrize("size", [0, 3, 11, 15, 17])
def test_malformed_messages_are_errors(hits: HitTimes, size: int) -> None:
    with pytest.raises(ValueError):
        hits.message(NEW, message(A, STALE)[:size], 100)
    hits.message(99, message(A, STALE)[:size], 100)


def test_malformed_datagrams_are_errors() -> None:
    good = struct.pack("=IHHII", 16, NEW, 0, 0, 0)
    assert [kind for kind, _, _ in messages(good * 2)] == [NEW, NEW]
    for bad in (good[:15], struct.pack("=IHHII", 15, NEW, 0, 0, 0), good + b"\0"):
        with pytest.raises(ValueError):
            list(messages(bad))
    with pytest.raises(ValueError):
        attributes(memoryview(struct.pack("=HH", 3, 1)))


def test_features_are_found_by_their_file() -> None:
    found = refreshers(0)
    assert any(isinstance(one, Hits) for one in found)
    assert all(isinstance(one, Refresher) for one in found)
