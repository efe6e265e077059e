"""The decoders in C against their oracle in Python: the same objects, the same refusals, the same wishes for a dump."""

import itertools
import logging
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from _sluice import lib
from hypothesis import given, settings
from hypothesis import strategies as st
from sluice.cmgrd import wire
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    IFF_NOARP,
    IFF_UP,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Change,
    Family,
    Link,
    Message,
    Vrf,
)
from sluice.fpc import FEATURES, decode

from tests.cmgrd.oracle import (
    Neigh,
    Neighs,
    NextHop,
    Route,
    Routes,
    attribute,
    neigh_payload,
    route_payload,
    u32,
)
from tests.cmgrd.test_wire import MESSAGES

NEW, DEL, NEW_NEIGH, DEL_NEIGH = 24, 25, 28, 29
ROUTE, NEIGH = FEATURES["route"].id, FEATURES["neigh"].id
FAMILIES = {AF_INET: Family.ROUTE4, AF_INET6: Family.ROUTE6}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.getLogger("cmgrd").setLevel(logging.ERROR)
    yield
    logging.getLogger("cmgrd").setLevel(logging.NOTSET)


class Both:
    """A core and the oracle, given the same."""

    def __init__(self) -> None:
        self.core = Core()
        self.core.due = {}
        self.core.unknown = set()
        self.routes, self.neighs = Routes(), Neighs()
        self.dumping = 0
        self.malformed = 0

    def give(self, kind: int, flags: int, payload: bytes, *, late: bool = False) -> None:
        self.core.message(0, kind, flags, payload, 0, len(payload), late=late)
        before = self.malformed
        try:
            if kind in (NEW_NEIGH, DEL_NEIGH):
                self.neighs.message(payload, deleted=kind == DEL_NEIGH)
            else:
                dumped = bool(self.dumping)
                self.routes.message(payload, flags, deleted=kind == DEL, dumped=dumped, late=late)
        except wire.MalformedError:
            self.malformed += 1
        assert self.core.counts["malformed"] == self.malformed, (kind, payload.hex(), before)

    def begin(self, family: int) -> None:
        self.dumping = family
        self.core.begin(FAMILIES[family])
        self.routes.begin(family)
        self.routes.redumps.discard(FAMILIES[family])

    def end(self, *, complete: bool) -> None:
        self.dumping = 0
        self.core.end(complete=complete)
        self.core.due = {f: why for f, why in self.core.due.items() if why != "interrupted dump"}
        if complete:
            self.routes.end()
        else:
            self.routes.abandon()

    def check(self) -> None:
        for number, wanted in ((ROUTE, self.routes.wanted), (NEIGH, self.neighs.wanted)):
            found = dict(self.core.objects.wanted[number])
            assert found.keys() == wanted.keys()
            for key, body in wanted.items():
                assert found[key] == key + body[len(key) :].rstrip(b"\0")
        # The first reason stands: where that was a malformed message, the others aren't seen.
        broken = {family for family, why in self.core.due.items() if why == "malformed message"}
        assert self.core.due.keys() - broken == self.routes.redumps - broken


def recorded(*kinds: int) -> list[tuple[int, int, bytes]]:
    return [(kind, flags, data) for protocol, kind, flags, data in MESSAGES
            if protocol == 0 and kind in kinds]  # fmt: skip


ALL = recorded(NEW, DEL, NEW_NEIGH, DEL_NEIGH)


# Message types that are multicast routes or forwarding entries by their family, which wire.py reads.
OF_OTHERS = {(kind, family) for kind in (NEW, DEL) for family in wire.MULTICAST_FAMILIES} | {
    (kind, AF_BRIDGE) for kind in (NEW_NEIGH, DEL_NEIGH)
}


def test_what_the_kernel_said_is_read_alike() -> None:
    both = Both()
    for kind, flags, payload in ALL:
        both.give(kind, flags, payload)
        both.check()
    assert len(ALL) > 100


@pytest.mark.parametrize("seed", range(4))
def test_messages_with_flipped_and_missing_bits_are_read_or_refused_alike(seed: int) -> None:
    chance, both = random.Random(seed), Both()
    for _ in range(1500):
        kind, flags, payload = chance.choice(ALL)
        broken = bytearray(payload)
        for _ in range(chance.choice([1, 1, 2, 8])):
            broken[chance.randrange(len(broken))] = chance.choice([0, 1, 2, 4, 8, 16, 30, 128, 255])
        if chance.random() < 0.2:
            del broken[chance.randrange(len(broken)) :]
        if broken and (kind, broken[0]) in OF_OTHERS:
            continue
        both.give(kind, flags, bytes(broken))
    both.core.due = {}
    both.routes.redumps = set()
    both.check()


ATTRIBUTES = st.lists(
    st.tuples(
        st.integers(0, 50), st.one_of(st.binary(max_size=20), st.just(bytes(4)), st.just(bytes(16)))
    ),
    max_size=6,
).map(lambda pairs: b"".join(attribute(kind, data) for kind, data in pairs))
HOPS = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 9), ATTRIBUTES), max_size=4
).map(
    lambda hops: attribute(
        9, b"".join(struct.pack("=HBBi", 8 + len(a), f, w, i) + a for f, w, i, a in hops)
    )
)
HEADS = st.tuples(
    st.sampled_from([AF_INET, AF_INET, AF_INET6, 7, 28]),
    st.integers(0, 130), st.sampled_from([0, 0, 0, 5]), st.sampled_from([0, 0, 0, 16]),
    st.sampled_from([254, 255, 100]), st.just(3), st.sampled_from([0, 253]), st.integers(0, 12),
    st.sampled_from([0, 1, 17, 0x200]),
).map(lambda fields: struct.pack("=BBBBBBBBI", *fields))  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([NEW, NEW, DEL]), HEADS, ATTRIBUTES, st.one_of(st.just(b""), HOPS)
        ),
        max_size=8,
    )
)
def test_any_routes_are_read_or_refused_alike(
    messages: list[tuple[int, bytes, bytes, bytes]],
) -> None:
    both = Both()
    for kind, head, attributes, hops in messages:
        both.give(kind, NLM_F_CREATE, head + attributes + hops)
    both.check()


def some_route(chance: random.Random) -> Route:
    family = chance.choice([AF_INET, AF_INET6])
    size = 4 if family == AF_INET else 16
    hops = []
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        of = chance.choice([0, family, family, AF_INET6])
        gateway = bytes([chance.randrange(1, 4)] * (0 if not of else 4 if of == AF_INET else 16))
        hops.append(
            NextHop(
                chance.randrange(1, 4),
                of,
                gateway,
                chance.choice([0, 0, 0, 1, 16]),
                chance.randrange(1, 3),
            )
        )
    source = bytes([192, 0, 2, chance.randrange(1, 3)])
    return Route(
        family=family, table=chance.choice([254, 254, 255, 100]), metric=chance.choice([0, 5]),
        dst=bytes([chance.randrange(1, 4)]) + bytes(size - 1), plen=8, tos=chance.choice([0, 0, 0, 4]),
        type=chance.choice([1, 1, 1, 6, 5]), protocol=3, nexthops=tuple(hops),
        unknown=chance.choice(["", "", "", "x"]),
        rest=chance.choice([b"", b"", source]) if family == AF_INET else b"",
        mtu=chance.choice([0, 0, 0, 1400, 70000]),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_any_history_of_messages_and_dumps_ends_alike(seed: int) -> None:
    """Few keys, so that several routes come under one; dumps, also broken off, in between."""
    chance, both = random.Random(seed), Both()
    for _ in range(300):
        if not both.dumping and chance.random() < 0.05:
            both.begin(chance.choice([AF_INET, AF_INET6]))
        elif both.dumping and chance.random() < 0.1:
            both.end(complete=chance.random() < 0.7)
            both.check()
        value = some_route(chance)
        if both.dumping:
            value = replace(some_route(chance), family=value.family)
            if value.family != both.dumping:
                continue
            size = 4 if value.family == AF_INET else 16
            fits = all(hop.family in (0, value.family, AF_INET6) for hop in value.nexthops)
            value = replace(value, dst=value.dst[:1] + bytes(size - 1), rest=b"")
            if not fits:
                continue
        flags = chance.choice(
            [0, NLM_F_CREATE, NLM_F_CREATE | NLM_F_EXCL, NLM_F_REPLACE, NLM_F_APPEND]
        )
        kind = chance.choice([NEW, NEW, DEL])
        both.give(kind, flags, route_payload(value), late=chance.random() < 0.2)
        if not both.dumping:
            both.check()


def test_routes_of_a_strange_next_hop_group_are_linux_s() -> None:
    both, chance = Both(), random.Random(1)
    decoder = both.core.by_number[ROUTE]
    for strange in (False, True, True, False):
        changed = lib.routes_strange_group(decoder.routes, 0, 7, strange)  # type: ignore[attr-defined]
        assert changed == (strange != (7 in both.routes.strange))
        both.routes.strange = {7} if strange else set()
        lib.routes_strange_group(decoder.routes, 1, 8, strange)  # type: ignore[attr-defined]
        for family, group in itertools.product((AF_INET, AF_INET6), (7, 8)):
            dst = bytes([group]) + bytes(3 if family == AF_INET else 15)
            hop = NextHop(1, 0, b"", 0, 1)
            value = replace(
                some_route(chance), family=family, dst=dst, nexthops=(hop, hop), metric=0
            )
            value = replace(value, tos=0, type=1, unknown="", rest=b"", mtu=0, table=254)
            both.give(NEW, NLM_F_REPLACE, route_payload(value) + u32(30, group))
            both.check()
        found = [decode("route", body) for body in both.routes.wanted.values()]
        assert [r["flags"] for r in found if r["dst"].startswith(("7.", "700:"))] == [
            ["UNSUPPORTED"] if strange else []
        ] * 2
        assert all(not r["flags"] for r in found if r["dst"].startswith(("8.", "800:")))


@pytest.mark.parametrize("seed", range(4))
def test_any_history_of_neighbours_ends_alike(seed: int) -> None:
    chance, both = random.Random(seed), Both()
    for _ in range(600):
        if chance.random() < 0.1:
            index, flags = chance.randrange(1, 4), chance.choice([IFF_UP, IFF_UP | IFF_NOARP])
            link = Link(index, "x", flags, 1500, b"", "", 0, 0, 1500, False, False)
            for feature in both.core.followers[Family.LINK]:
                if feature.number == NEIGH:
                    feature.handle(
                        Message(Family.LINK, Change.NEW, "test", 0, link), dumped=False, late=False
                    )
            both.neighs.link(index, flags)
            both.core.due.pop(Family.NEIGH, None)
        family = chance.choice([AF_INET, AF_INET6])
        mac = chance.choice(
            [b"\2\0\0\0\0" + bytes([chance.randrange(4)]), b"", b"\1\0\0\0\0\1", bytes(6)]
        )
        value = Neigh(
            family, chance.randrange(1, 4), bytes([chance.randrange(3)]) * (4 if family == AF_INET else 16),
            chance.choice([2, 4, 8, 0x10, 0x40, 0x80, 0x20, 1]), chance.choice([0, 0, 0, 8]), mac,
        )  # fmt: skip
        both.give(chance.choice([NEW_NEIGH, NEW_NEIGH, DEL_NEIGH]), 0, neigh_payload(value))
        both.check()


def test_an_attribute_that_runs_over_the_end_is_named(caplog: pytest.LogCaptureFixture) -> None:
    payload = bytes([2]) + bytes(11) + struct.pack("=HH", 40, 1) + bytes(4)
    core = Core()
    core.due = {}
    logging.getLogger("cmgrd").setLevel(logging.WARNING)
    core.message(0, NEW, 0, payload, 0, len(payload), late=False)
    assert "RTM_NEWROUTE: attribute 1 of 40 bytes, 8 there" in caplog.text
    assert core.due.keys() == {Family.ROUTE4, Family.ROUTE6}


def datagram(*messages: tuple[int, int, bytes]) -> bytes:
    parts = []
    for kind, flags, payload in messages:
        parts.append(
            wire.NLMSG.pack(16 + len(payload), kind, flags, 0, 0)
            + payload
            + bytes(-len(payload) % 4)
        )
    return b"".join(parts)


def simple(last: int, **more: Any) -> bytes:
    hop = NextHop(3, AF_INET, bytes([192, 0, 2, 1]), 0, 1)
    value = Route(AF_INET, 254, 0, bytes([203, 0, 113, last]), 32, 0, 1, 3, (hop,), "", b"")
    return route_payload(replace(value, **more))


def test_a_datagram_is_the_same_as_its_messages() -> None:
    one, other = Core(), Core()
    for kind, flags, payload in ALL:
        one.message(0, kind, flags, payload, 0, len(payload), late=False)
    for at in range(0, len(ALL), 7):
        other.datagram(datagram(*ALL[at : at + 7]), wire.ROUTES, late=False)
    for number in (ROUTE, NEIGH):
        assert dict(one.objects.wanted[number]) == dict(other.objects.wanted[number])


def test_what_is_malformed_in_a_datagram_is_left_out_alone() -> None:
    core = Core()
    core.due = {}
    bad = simple(2) + b"\1"
    data = datagram((NEW, 0, simple(1)), (NEW, 0, bad), (77, 0, b""), (NEW, 0, simple(3)))
    assert not core.datagram(data, wire.ROUTES, late=False)
    assert len(core.objects.wanted[ROUTE]) == 2
    assert core.counts["malformed"] == 1
    assert core.due.keys() == {Family.ROUTE4, Family.ROUTE6}
    with pytest.raises(wire.MalformedError, match="message type 24 of 999 bytes"):
        core.datagram(wire.NLMSG.pack(999, NEW, 0, 0, 0), wire.ROUTES, late=False)


def test_the_end_of_a_dump_and_its_errors_are_seen() -> None:
    core = Core()
    core.begin(Family.ROUTE4)
    data = datagram((NEW, wire.NLM_F_DUMP_INTR, simple(1)), (wire.NLMSG_DONE, 0, bytes(4)))
    assert core.datagram(data, wire.ROUTES, late=False)
    assert core.found.interrupted
    with pytest.raises(OSError, match="Operation not supported"):
        core.datagram(
            datagram((wire.NLMSG_ERROR, 0, struct.pack("=i", -95))), wire.ROUTES, late=False
        )
    core.end(complete=True)
    assert len(core.objects.wanted[ROUTE]) == 1


def test_the_key_carries_vrf_and_table() -> None:
    core = Core(Vrf(7))
    payload = simple(1) + u32(15, 1000)
    core.message(0, NEW, 0, payload, 0, len(payload), late=False)
    (key,) = core.objects.wanted[ROUTE]
    assert struct.unpack_from("=II", key) == (7, 1000)
