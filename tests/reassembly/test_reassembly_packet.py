# SPDX-License-Identifier: BSD-3-Clause
"""Fragments become packets where a stage needs whole ones; what doesn't come to one goes to Linux as it came in.

host .10 -- 192.0.2.0/24, 2001:db8:1::/64 -- lan [router] wan -- 198.51.100.0/24, 2001:db8:2::/64 -- host .10
"""

import itertools
import random
import struct
from collections.abc import Iterator

import pytest

from tests.fptun.trailer import trailer
from tests.lib.packets import checksum, ipv4, ipv6, mac
from tests.packet.harness import Port, Router
from tests.stages.conftest import Net, networks, probed

pytestmark = pytest.mark.packet

HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
PEER, WAN = "02:00:00:00:bb:10", "02:00:00:00:00:02"
HELD, BUFFERS = 256, 768  # of reassembly_input.c
FRAGMENT6 = 44


class Flow:
    """IPv4 packets from the host at lan to that at wan."""

    family = 4
    ethertype = b"\x08\x00"
    header = 20

    def __init__(self, source: str = "192.0.2.10", destination: str = "198.51.100.10") -> None:
        self.source, self.destination = source, destination

    def whole(self, payload: bytes, *, ident: int = 7, ttl: int = 64, protocol: int = 17) -> bytes:
        return ipv4(
            self.source, self.destination, payload,
            protocol=protocol, ttl=ttl, identification=ident, fragment=0,
        )  # fmt: skip

    def piece(
        self, payload: bytes, at: int, *, more: bool, ident: int = 7, ttl: int = 64,
        protocol: int = 17, flags: int = 0, ecn: int = 0,
    ) -> bytes:  # fmt: skip
        field = (0x2000 if more else 0) | flags | at // 8
        made = ipv4(
            self.source, self.destination, payload,
            protocol=protocol, ttl=ttl, identification=ident, fragment=field,
        )  # fmt: skip
        if ecn:
            made = made[:1] + bytes([ecn]) + made[2:10] + b"\0\0" + made[12:]
            made = made[:10] + struct.pack("!H", checksum(made[:20])) + made[12:]
        return made


class Flow6(Flow):
    """And of IPv6."""

    family = 6
    ethertype = b"\x86\xdd"
    header = 40

    def __init__(self, source: str = "2001:db8:1::10", destination: str = "2001:db8:2::10") -> None:
        super().__init__(source, destination)

    def whole(self, payload: bytes, *, ident: int = 7, ttl: int = 64, protocol: int = 17) -> bytes:
        return ipv6(self.source, self.destination, payload, protocol=protocol, hop_limit=ttl)

    def piece(
        self, payload: bytes, at: int, *, more: bool, ident: int = 7, ttl: int = 64,
        protocol: int = 17, flags: int = 0, ecn: int = 0,
    ) -> bytes:  # fmt: skip
        behind = struct.pack("!BBHI", protocol, 0, at | more, ident) + payload
        made = ipv6(self.source, self.destination, behind, protocol=FRAGMENT6, hop_limit=ttl)
        return made[:1] + bytes([ecn << 4]) + made[2:]


def flow(family: int, **fields: str) -> Flow:
    return Flow(**fields) if family == 4 else Flow6(**fields)


def payload(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def cut(f: Flow, data: bytes, sizes: list[int], **fields: int) -> list[bytes]:
    """Fragments of these sizes, and one with the rest."""
    made, at = [], 0
    for size in [*sizes, len(data) - sum(sizes)]:
        part = data[at : at + size]
        made.append(f.piece(part, at, more=at + size < len(data), **fields))
        at += size
    return made


def came(f: Flow, packet: bytes) -> bytes:
    return mac(LAN) + mac(HOST) + f.ethertype + packet


def left(f: Flow, packet: bytes) -> bytes:
    return mac(PEER) + mac(WAN) + f.ethertype + packet


@pytest.fixture(scope="module")
def made() -> Iterator[Router]:
    router = Router()
    yield router
    router.close()


@pytest.fixture
def net(made: Router) -> Iterator[Net]:
    """Reassembly of both families in VRF 0."""
    net = Net(made)
    for stage in ("ip_reassembly", "ip6_reassembly"):
        made.enable_stage(stage)
    made.fpn0()
    later(net, 0)
    yield net
    made.fpn0()
    later(net, 3)
    for stage in ("ip_reassembly", "ip6_reassembly"):
        made.enable_stage(stage, on=False)
    made.reset()


SECONDS = itertools.count(100)


def later(net: Net, seconds: int) -> list[tuple[str, bytes]]:
    """The clock goes on by so many seconds; what comes out then."""
    for _ in range(seconds):
        next(SECONDS)
    net.router.clock(next(SECONDS))
    return [(o.kind, o.frame) for o in net.router.poll()]


def sends(net: Net, f: Flow, packets: list[bytes]) -> list[tuple[str, bytes]]:
    out = []
    for at in range(0, len(packets), 32):
        out += net.router.burst(net.lan.number, [came(f, p) for p in packets[at : at + 32]])
    return [(o.kind, o.frame) for o in out]


def moved(
    net: Net, f: Flow, packets: list[bytes]
) -> tuple[list[tuple[str, bytes]], dict[str, int]]:
    before = net.router.counters()
    out = sends(net, f, packets)
    return out, dict(net.router.counters() - before)


FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


@FAMILIES
def test_fragments_in_any_order_become_the_packet(net: Net, family: int) -> None:
    f, data = flow(family), payload(700)
    want = [("sent", left(f, f.whole(data, ttl=63)))]
    for number, order in enumerate(itertools.permutations(range(4))):
        pieces = cut(f, data, [8, 400, 160], ident=number)
        if family == 4:
            want = [("sent", left(f, f.whole(data, ttl=63, ident=number)))]
        assert moved(net, f, [pieces[i] for i in order]) == (want, {})
    assert net.router.buffers_in_use() == 0


@FAMILIES
def test_a_packet_beyond_the_mtu_leaves_in_fragments_as_it_came(net: Net, family: int) -> None:
    """As large as the largest that came; IPv6 ones with their identification."""
    f = flow(family)
    largest = {4: 1480, 6: 1448}[family]
    for size, of in ((3000, largest), (9000, largest), (4000, 1240)):
        data = payload(size)
        sizes = [of] * (size // of)
        pieces = cut(f, data, sizes)
        want = [("sent", left(f, p)) for p in cut(f, data, sizes, ttl=63)]
        assert moved(net, f, [*pieces[1:], pieces[0]]) == (want, {})
    assert net.router.buffers_in_use() == 0


@FAMILIES
def test_random_cuts_and_orders(net: Net, family: int) -> None:
    f, draw = flow(family), random.Random(family)
    for number in range(150):
        data, rest, sizes = payload(draw.randrange(16, 1400), number), 0, []
        for _ in range(draw.randrange(1, 12)):
            size = 8 * draw.randrange(1, 30)
            if rest + size < len(data):
                sizes.append(size)
                rest += size
        if not sizes:
            sizes = [8]
        pieces = cut(f, data, sizes, ident=number)
        draw.shuffle(pieces)
        doubled = draw.random() < 0.3
        if doubled:
            pieces.insert(1, pieces[0])
        want = left(f, f.whole(data, ttl=63, ident=number))
        assert moved(net, f, pieces) == (
            [("sent", want)],
            {"reassembly_duplicate": 1} if doubled else {},
        ), number


@FAMILIES
@pytest.mark.parametrize("size", [0, 5, 40])
def test_padding_and_other_packets_in_between(net: Net, family: int, size: int) -> None:
    f, other, data = flow(family), flow(family), payload(600)
    pieces = [p + b"\xa5" * size for p in cut(f, data, [200, 200])]
    plain = other.whole(b"12345678plain")
    out = sends(net, f, [pieces[2], plain, pieces[0], plain, pieces[1], plain])
    passes = ("sent", left(f, other.whole(b"12345678plain", ttl=63)))
    assert out == [passes, passes, ("sent", left(f, f.whole(data, ttl=63))), passes]


@FAMILIES
def test_what_linux_must_have_goes_there_whole(net: Net, family: int) -> None:
    f = flow(family, destination="192.0.2.1" if family == 4 else "2001:db8:1::1")
    data = payload(3000)
    out = sends(net, f, cut(f, data, [1400, 1400]))
    want = came(f, f.whole(data)) + trailer(ifindex=net.lan.ifindex, flags=0)
    assert out == [("special", want)]


@FAMILIES
def test_without_fpn0_fragments_go_to_linux_as_they_came(net: Net, family: int) -> None:
    f = flow(family)
    net.router.fpn0(on=False)
    pieces = cut(f, payload(600), [200, 200])
    out, counters = moved(net, f, pieces)
    assert out == [("linux", came(f, p)) for p in pieces]
    assert counters == {"reassembly_not_ready": 3}


@FAMILIES
def test_off_they_are_forwarded_as_they_are(net: Net, family: int) -> None:
    f = flow(family)
    for stage in ("ip_reassembly", "ip6_reassembly"):
        net.router.enable_stage(stage, on=False)
    pieces = cut(f, payload(600), [200, 200])
    out = sends(net, f, pieces)
    assert out == [("sent", left(f, p)) for p in cut(f, payload(600), [200, 200], ttl=63)]


@FAMILIES
def test_incomplete_ones_go_to_linux_after_two_seconds(net: Net, family: int) -> None:
    f = flow(family)
    pieces = cut(f, payload(600), [200, 200])
    before = net.router.interface_counters(net.lan)
    assert sends(net, f, [pieces[2], pieces[0]]) == []
    assert later(net, 0) == []
    counters = net.router.counters()
    out = later(net, 1)
    assert out == [("linux", came(f, pieces[0])), ("linux", came(f, pieces[2]))]
    assert net.router.counters() - counters == {"reassembly_incomplete": 2}
    # What Linux gets it counts itself.
    after = net.router.interface_counters(net.lan)
    assert after["rx_packets"] == before["rx_packets"]
    assert after["exceptions"] == before["exceptions"] + 2
    # Another fragment doesn't find them any more.
    assert sends(net, f, [pieces[1]]) == []
    assert net.router.buffers_in_use() == 1


@FAMILIES
@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 208), (200, 400)), ((200, 400), (0, 208)), ((0, 400), (8, 408)), ((96, 200), (0, 400))],
    ids=str,
)
def test_overlaps_go_to_linux(
    net: Net, family: int, first: tuple[int, int], second: tuple[int, int]
) -> None:
    f, data = flow(family), payload(600)
    pieces = [f.piece(data[a:b], a, more=True) for a, b in (first, second)]
    out, counters = moved(net, f, pieces)
    assert sorted(out) == sorted(("linux", came(f, p)) for p in pieces)
    assert counters == {"reassembly_overlap": 2}
    assert net.router.buffers_in_use() == 0


@FAMILIES
def test_two_ends_go_to_linux(net: Net, family: int) -> None:
    f, data = flow(family), payload(600)
    for one, two in (
        (f.piece(data[200:400], 200, more=False), f.piece(data[400:500], 400, more=False)),
        (f.piece(data[400:500], 400, more=False), f.piece(data[200:400], 200, more=False)),
        (f.piece(data[200:400], 200, more=False), f.piece(data[400:600], 400, more=True)),
        (f.piece(data[400:600], 400, more=True), f.piece(data[200:400], 200, more=False)),
    ):
        out, counters = moved(net, f, [one, two])
        assert sorted(out) == sorted(("linux", came(f, p)) for p in (one, two))
        assert counters == {"reassembly_overlap": 2}


@FAMILIES
def test_a_duplicate_is_dropped(net: Net, family: int) -> None:
    f, data = flow(family), payload(600)
    pieces = cut(f, data, [200, 200])
    out, counters = moved(net, f, [pieces[0], pieces[2], pieces[0], pieces[2], pieces[1]])
    assert out == [("sent", left(f, f.whole(data, ttl=63)))]
    assert counters == {"reassembly_duplicate": 2}


@FAMILIES
def test_odd_ones_take_the_others_along(net: Net, family: int) -> None:
    f, data = flow(family), payload(600)
    held = f.piece(data[:200], 0, more=True)
    odd = [
        f.piece(data[200:399], 200, more=True),  # 199 bytes
        f.piece(data[200:400], 200, more=True, ecn=2),
        f.piece(data[200:400], 65528, more=False),
    ]
    if family == 4:
        odd.append(f.piece(data[200:400], 200, more=True, flags=0x4000))
    for one in odd:
        out, counters = moved(net, f, [held, one])
        assert sorted(out) == sorted(("linux", came(f, p)) for p in (held, one)), one.hex()
        assert counters == {"reassembly_odd": 2}
        assert net.router.buffers_in_use() == 0


@FAMILIES
def test_only_fragments_of_one_packet_meet(net: Net, family: int) -> None:
    f, data = flow(family), payload(400)
    other = flow(family, source="192.0.2.11" if family == 4 else "2001:db8:1::11")
    first, last = cut(f, data, [200])
    assert sends(net, f, [first]) == []
    assert sends(net, f, [cut(f, data, [200], ident=8)[1]]) == []
    assert sends(net, f, [cut(other, data, [200])[1]]) == []
    if family == 4:
        assert sends(net, f, [cut(f, data, [200], protocol=6)[1]]) == []
    # The same on another interface.
    out = net.router.burst(net.wan.number, [mac(WAN) + mac(PEER) + f.ethertype + last])
    assert out == []
    assert sends(net, f, [last]) == [("sent", left(f, f.whole(data, ttl=63)))]


@FAMILIES
def test_a_flood_takes_no_more_than_its_room(net: Net, family: int) -> None:
    """First fragments that nothing follows: the oldest make room; who comes in one go gets through."""
    f, data = flow(family), payload(400)
    out: list[tuple[str, bytes]] = []
    flood = [f.piece(data[:200], 0, more=True, ident=1000 + n) for n in range(2000)]
    counters = net.router.counters()
    for at in range(0, 2000, 100):
        out += sends(net, f, flood[at : at + 100])
        right = sends(net, f, cut(f, data, [200], ident=at))
        assert right[-1] == ("sent", left(f, f.whole(data, ttl=63, ident=at)))
        out += right[:-1]
        assert net.router.buffers_in_use() <= HELD
    # All but those still held are Linux's, in order.
    assert [frame for _, frame in out] == [came(f, p) for p in flood[: len(out)]]
    assert len(out) >= 2000 - HELD
    assert net.router.counters() - counters == {"reassembly_full": len(out)}
    assert len(later(net, 3)) == 2000 - len(out)
    assert net.router.buffers_in_use() == 0


@FAMILIES
def test_many_fragments_of_many_packets_are_bounded_in_all(net: Net, family: int) -> None:
    f, data = flow(family), payload(8 * 62)
    for number in range(30):
        sends(net, f, cut(f, data, [8] * 61, ident=number)[:-1])
        assert net.router.buffers_in_use() <= BUFFERS + 64
    assert net.router.buffers_in_use() > BUFFERS - 64
    later(net, 3)
    assert net.router.buffers_in_use() == 0


@FAMILIES
def test_more_than_64_fragments_go_to_linux(net: Net, family: int) -> None:
    f, data = flow(family), payload(8 * 70)
    pieces = cut(f, data, [8] * 69)
    out, counters = moved(net, f, pieces[:-1])
    # The 65th takes the others along; what follows is a new datagram.
    assert [kind for kind, _ in out] == ["linux"] * 65
    assert counters == {"reassembly_full": 65}


@FAMILIES
def test_without_memory_it_is_a_chain(net: Net, family: int) -> None:
    f, data = flow(family), payload(600)
    net.router.buffers(0)
    assert sends(net, f, cut(f, data, [200, 200])) == [("sent", left(f, f.whole(data, ttl=63)))]


@FAMILIES
@pytest.mark.parametrize("segments", [1, 2, 3])
def test_buffers_of_any_shape(net: Net, family: int, segments: int) -> None:
    f, data = flow(family), payload(3200)
    of = {4: 1480, 6: 1448}[family]
    out = []
    for piece in cut(f, data, [of, of]):
        frame = came(f, piece)
        sizes = [100] * (segments - 1)
        out += net.router.burst(net.lan.number, [frame], segments=[*sizes, len(frame) - sum(sizes)])
    want = [left(f, p) for p in cut(f, data, [of, of], ttl=63)]
    assert [(o.kind, o.frame) for o in out] == [("sent", frame) for frame in want]


def test_an_ipv6_packet_in_one_fragment_passes_as_it_is(net: Net) -> None:
    f = Flow6()
    one = f.piece(payload(100), 0, more=False)
    assert sends(net, f, [one]) == [("sent", left(f, f.piece(payload(100), 0, more=False, ttl=63)))]


def test_fragments_for_this_host_are_put_together_for_who_takes_the_packet() -> None:
    """As of a tunnel: its taker gets the whole, and what it leaves goes to Linux whole."""
    with probed("ip=253:pass") as net:
        net.router.enable_stage("ip_local_reassembly")
        net.router.fpn0()
        f = Flow(destination="192.0.2.1")
        data = payload(2500)
        out, counters = moved(net, f, cut(f, data, [1400], protocol=253))
        whole = came(f, f.whole(data, protocol=253))
        assert out == [("special", whole + trailer(ifindex=net.lan.ifindex, flags=0))]
        assert counters == {"probe_ip_253": 1, "ip_local": 1}
        # Those for others stay as they are.
        there = Flow()
        out = sends(net, there, cut(there, data, [1400], protocol=253))
        assert out == [
            ("sent", left(there, p)) for p in cut(there, data, [1400], ttl=63, protocol=253)
        ]


def test_protected_and_clear_fragments_dont_mix() -> None:
    """What's put together of protected ones passes Linux's policies."""
    with probed("ip=253:open") as net:
        net.router.enable_stage("ip_reassembly")
        net.router.fpn0()
        f = Flow(destination="192.0.2.1")
        data = payload(400)
        first, last = cut(f, data, [200])

        def protected(packet: bytes) -> bytes:
            return ipv4("192.0.2.10", "192.0.2.1", packet, protocol=253)

        assert sends(net, f, [protected(first), last]) == []
        out = sends(net, f, [protected(last)])
        whole = came(f, f.whole(data))
        assert out == [("special", whole + trailer(ifindex=net.lan.ifindex))]
        out = sends(net, f, [first])
        assert out == [("special", whole + trailer(ifindex=net.lan.ifindex, flags=0))]


__all__ = ["Port", "networks"]
