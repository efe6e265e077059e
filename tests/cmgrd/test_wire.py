"""Netlink's wire format: equal to what pyroute2 reads, and never more than a MalformedError on nonsense."""

import json
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from sluice.cmgrd import wire
from sluice.cmgrd.kernel import Link

from tests.cmgrd import oracle as ours
from tests.cmgrd.oracle import Neigh, Route, attribute

FOLDER = Path(__file__).parent / "golden"


def recorded() -> Iterator[tuple[int, int, int, bytes]]:
    """(protocol, type, flags, payload) of every message of the golden recordings, each once."""
    seen = set()
    for path in sorted(FOLDER.glob("*.netlink.jsonl")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["do"] == "message" and (entry["type"], entry["hex"]) not in seen:
                seen.add((entry["type"], entry["hex"]))
                yield (
                    entry["protocol"],
                    entry["type"],
                    entry["flags"],
                    bytes.fromhex(entry["hex"]),
                )


MESSAGES = list(recorded())


def decode(message: tuple[int, int, int, bytes]) -> object | None:
    """Routes and neighbours are decoded in C: of those the oracle's view, which C is held against."""
    protocol, kind, flags, payload = message
    reader: Any = {24: ours.route, 25: ours.route, 28: ours.neigh, 29: ours.neigh}.get(kind)
    if protocol == 0 and reader:
        with suppress(wire.IgnoredError):
            return reader(payload, 0, len(payload))
        return None
    found = wire.decode(protocol, kind, flags, payload, 0, len(payload))
    return found and found.value


def with_head(message: tuple[int, int, int, bytes]) -> bytes:
    _, kind, flags, payload = message
    return wire.NLMSG.pack(wire.NLMSG.size + len(payload), kind, flags, 0, 0) + payload


def test_links_are_read_as_pyroute2_reads_them() -> None:
    count = 0
    for message in MESSAGES:
        found = decode(message)
        if isinstance(found, Link):
            oracle = ifinfmsg(with_head(message))
            oracle.decode()
            info = oracle.get_attr("IFLA_LINKINFO")
            link = found
            mac = oracle.get_attr("IFLA_ADDRESS")
            assert link.ifindex == oracle["index"]
            assert link.name == oracle.get_attr("IFLA_IFNAME")
            assert link.flags == oracle["flags"]
            assert link.mtu == oracle.get_attr("IFLA_MTU")
            assert link.master == (oracle.get_attr("IFLA_MASTER") or 0)
            assert link.mac.hex(":") == mac
            assert link.kind == (info.get_attr("IFLA_INFO_KIND") if info else "")
            count += 1
    assert count > 20


def test_neighbours_are_read_as_pyroute2_reads_them() -> None:
    count = 0
    for message in MESSAGES:
        found = decode(message)
        if isinstance(found, Neigh):
            oracle = ndmsg(with_head(message))
            oracle.decode()
            neigh = found
            assert (neigh.family, neigh.ifindex) == (oracle["family"], oracle["ifindex"])
            assert (neigh.state, neigh.flags) == (oracle["state"], oracle["flags"])
            assert address(neigh.family, neigh.address) == oracle.get_attr("NDA_DST")
            assert neigh.mac.hex(":") == (oracle.get_attr("NDA_LLADDR") or "")
            count += 1
    assert count > 5


def test_routes_are_read_as_pyroute2_reads_them() -> None:
    count = 0
    for message in MESSAGES:
        found = decode(message)
        if isinstance(found, Route):
            oracle = rtmsg(with_head(message))
            oracle.decode()
            route = found
            assert (route.family, route.plen) == (oracle["family"], oracle["dst_len"])
            assert (route.type, route.protocol) == (oracle["type"], oracle["proto"])
            assert route.table == oracle.get_attr("RTA_TABLE")
            assert route.metric == (oracle.get_attr("RTA_PRIORITY") or 0)
            if oracle.get_attr("RTA_DST"):
                assert address(route.family, route.dst) == oracle.get_attr("RTA_DST")
            assert [hop.ifindex for hop in route.nexthops] == oracle_interfaces(oracle)
            assert [hop.weight for hop in route.nexthops] == oracle_weights(oracle)
            count += 1
    assert count > 50


def oracle_interfaces(oracle: rtmsg) -> list[int]:
    several = oracle.get_attr("RTA_MULTIPATH")
    if several:
        return [hop["oif"] for hop in several]
    return [oracle.get_attr("RTA_OIF")] if oracle.get_attr("RTA_OIF") else []


def oracle_weights(oracle: rtmsg) -> list[int]:
    several = oracle.get_attr("RTA_MULTIPATH")
    return (
        [hop["hops"] + 1 for hop in several] if several else [1] * bool(oracle.get_attr("RTA_OIF"))
    )


def address(family: int, data: bytes) -> str:
    return socket.inet_ntop(family, data)


def test_a_message_cut_anywhere_is_malformed_or_still_whole() -> None:
    """Never anything but MalformedError."""
    seen: set[int] = set()
    for protocol, kind, flags, payload in MESSAGES:
        if kind in seen:
            continue
        seen.add(kind)
        for size in range(len(payload)):
            try:
                wire.decode(protocol, kind, flags, payload[:size], 0, size)
            except wire.MalformedError:
                continue


def test_flipped_bits_are_malformed_or_another_message() -> None:
    chance = random.Random(1)
    for protocol, kind, flags, payload in MESSAGES[::5]:
        for _ in range(20):
            broken = bytearray(payload)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            try:
                wire.decode(protocol, kind, flags, bytes(broken), 0, len(broken))
            except wire.MalformedError:
                continue


@given(st.sampled_from(sorted(wire.TYPES)), st.binary(max_size=300))
def test_any_payload_is_refused_or_read(known: tuple[int, int], payload: bytes) -> None:
    with suppress(wire.MalformedError):
        wire.decode(*known, 0, payload, 0, len(payload))


@given(st.binary(max_size=200))
def test_any_datagram_is_refused_or_cut_into_messages(data: bytes) -> None:
    with suppress(wire.MalformedError):
        for _, _, _, at, end in wire.messages(data):
            assert wire.NLMSG.size <= at <= end <= len(data)


def route_with(*attributes: bytes, kind: int = 1, plen: int = 24) -> Route:
    payload = ours.RTMSG.pack(2, plen, 0, 0, 254, 3, 0, kind, 0) + b"".join(attributes)
    return ours.route(payload, 0, len(payload))


DST, OIF = attribute(1, bytes([203, 0, 113, 0])), attribute(4, struct.pack("=I", 7))


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (attribute(77, b"abcd"), "attribute 77"),
        (attribute(22, b"") + attribute(21, b"\1\0"), "encapsulation, encapsulation"),
        (attribute(8, attribute(ours.RTAX_MTU, struct.pack("=I", 1400))), ""),
        (
            attribute(
                8,
                attribute(ours.RTAX_LOCK, struct.pack("=I", 4))
                + attribute(ours.RTAX_MTU, struct.pack("=I", 1400)),
            ),
            "locked MTU",
        ),
        (attribute(8, attribute(40, bytes(4))), "metrics"),
        (attribute(8, attribute(8, struct.pack("=I", 1400))), ""),  # advertised MSS
        (attribute(11, bytes(4)), ""),  # realm
    ],
)
def test_what_the_fast_path_cannot_follow_is_named(extra: bytes, why: str) -> None:
    assert route_with(DST, OIF, extra).unknown == why


def test_a_hidden_next_hop_object_is_unknown() -> None:
    assert "next hop object" in route_with(DST, attribute(30, bytes(4))).unknown
