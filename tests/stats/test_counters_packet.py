# SPDX-License-Identifier: BSD-3-Clause
"""What the fast path counts for Linux's SNMP counters, packet by packet; and whose counters they are when a row goes to
another interface.
"""

from collections.abc import Callable

import pytest
from _sluice import ffi, lib
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.packet.harness import RTN_BLACKHOLE, Port, Router

pytestmark = pytest.mark.packet

type Counters = dict[str, int | tuple[int, ...]]

HOST, LAN, PEER = "02:00:00:00:aa:10", "02:00:00:00:00:01", "02:00:00:00:bb:10"
NUMBERS = (
    "in_bytes", "out_forwarded", "out_packets", "out_bytes", "frag_oks", "frag_fails", "frag_creates",
)  # fmt: skip
ZERO: Counters = {"ecn": (0, 0, 0, 0), **dict.fromkeys(NUMBERS, 0)}


@pytest.fixture
def lan(router: Router) -> Port:
    port = router.port("lan")
    router.address("192.0.2.1/24", port)
    router.address("2001:db8:1::1/64", port)
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    port = router.port("wan")
    router.address("198.51.100.1/24", port)
    router.address("2001:db8:2::1/64", port)
    router.neighbour("198.51.100.10", port, PEER)
    router.neighbour("2001:db8:2::10", port, PEER)
    return port


def packet(version: int, *, ecn: int = 0, ttl: int = 64, size: int = 40, to: str = "") -> bytes:
    if version == 4:
        head = IP(src="192.0.2.10", dst=to or "198.51.100.10", ttl=ttl, tos=ecn)
    else:
        head = IPv6(src="2001:db8:1::10", dst=to or "2001:db8:2::10", hlim=ttl, tc=ecn)
    return bytes(Ether(src=HOST, dst=LAN) / head / UDP() / Raw(bytes(size)))


def counters(router: Router, port: Port, version: int) -> Counters:
    row = router.rows("iface_stats", "iface_stats_row")[router.iface_row(port.ifindex, port.vrf)]
    ip = row.ip4 if version == 4 else row.ip6
    return {"ecn": tuple(ip.in_ecn), **{name: int(getattr(ip, name)) for name in NUMBERS}}


def delta(before: Counters, after: Counters) -> Counters:
    found: Counters = {}
    for name, value in after.items():
        old = before[name]
        if isinstance(value, tuple):
            assert isinstance(old, tuple)
            found[name] = tuple(a - b for a, b in zip(value, old, strict=True))
        else:
            assert isinstance(old, int)
            found[name] = value - old
    return found


@pytest.fixture(params=["short way", "through stages"])
def way(request: pytest.FixtureRequest, router: Router, wan: Port) -> str:
    """Both ways through the code: packets of a VRF with an MSS clamp take the long one."""
    if request.param == "through stages":
        for family in (2, 10):
            router.set(
                "mss",
                {
                    "family": family,
                    "tcp_mask": 2,
                    "tcp_value": 2,
                    "flags": lib.FPC_MSS_ROUTE,
                    "input": b"",
                    "output": b"",
                },
            )
    return str(request.param)


@pytest.fixture
def moves(
    router: Router, lan: Port, wan: Port, way: str
) -> Callable[..., tuple[Counters, Counters]]:
    """What frames that come in on lan add to its counters and to wan's; and that the other family's stay."""

    def send(version: int, frames: list[bytes]) -> tuple[Counters, Counters]:
        other = 10 - version
        before = [counters(router, p, v) for p in (lan, wan) for v in (version, other)]
        router.burst(lan.number, frames)
        after = [counters(router, p, v) for p in (lan, wan) for v in (version, other)]
        assert before[1::2] == after[1::2]
        return delta(before[0], after[0]), delta(before[2], after[2])

    return send


@pytest.mark.parametrize("version", [4, 6])
def test_forwarded_packets_count_as_received_and_as_transmitted(moves, version: int) -> None:
    frames = [packet(version, ecn=ecn) for ecn in (0, 1, 2, 3, 3, 0)]
    size = len(frames[0]) - 14
    came, left = moves(version, frames)
    assert came == ZERO | {"in_bytes": 6 * size, "ecn": (2, 1, 1, 2)}
    assert left == ZERO | {"out_forwarded": 6, "out_packets": 6, "out_bytes": 6 * size}


@pytest.mark.parametrize("version", [4, 6])
def test_padding_counts_as_received_but_not_as_transmitted(moves, version: int) -> None:
    frame = packet(version)
    came, left = moves(version, [frame + bytes(20), frame])
    assert came["in_bytes"] == 2 * (len(frame) - 14) + 20
    assert left["out_bytes"] == 2 * (len(frame) - 14)


@pytest.mark.parametrize("version", [4, 6])
def test_what_goes_to_linux_is_counted_there(moves, version: int) -> None:
    came, left = moves(version, [packet(version, ttl=1), packet(version, to=unknown(version))])
    assert (came, left) == (ZERO, ZERO)


@pytest.mark.parametrize("version", [4, 6])
def test_among_exceptions_only_the_others_count(moves, version: int) -> None:
    frames = [packet(version, ttl=1, ecn=3), packet(version, ecn=2), packet(version, ttl=1)]
    came, left = moves(version, frames)
    assert came == ZERO | {"in_bytes": len(frames[1]) - 14, "ecn": (0, 0, 1, 0)}
    assert left["out_forwarded"] == 1


@pytest.mark.parametrize("version", [4, 6])
def test_a_blackhole_counts_what_was_received(
    router: Router, lan: Port, moves, version: int
) -> None:
    prefix = "203.0.113.0/24" if version == 4 else "2001:db8:3::/48"
    router.route(prefix, type=RTN_BLACKHOLE)
    row = router.iface_row(lan.ifindex)
    before = router.rows("iface_stats", "iface_stats_row")[row].rx_ip_dropped
    target = "203.0.113.9" if version == 4 else "2001:db8:3::9"
    frame = packet(version, to=target, ecn=1)
    came, left = moves(version, [frame] * 3)
    assert came == ZERO | {"in_bytes": 3 * (len(frame) - 14), "ecn": (0, 3, 0, 0)}
    assert left == ZERO
    # Linux drops it in its IP layer: no device has dropped it.
    assert router.rows("iface_stats", "iface_stats_row")[row].rx_ip_dropped - before == 3


def test_a_fragmented_packet_is_forwarded_once_and_sent_in_pieces(wan: Port, moves) -> None:
    wan.change(mtu=576)
    frame = packet(4, ecn=2, size=1172)  # 1200 bytes: 1180 of payload, 552 of it in each fragment
    came, left = moves(4, [frame + b"behind", packet(4)])
    small = len(packet(4)) - 14
    assert came == ZERO | {"in_bytes": 1206 + small, "ecn": (1, 0, 1, 0)}
    assert left == ZERO | {
        "out_forwarded": 2,
        "out_packets": 3 + 1,
        "out_bytes": 1180 + 3 * 20 + small,
        "frag_oks": 1,
        "frag_creates": 3,
    }


@pytest.mark.parametrize("version", [4, 6])
def test_what_mustn_t_be_fragmented_is_linux_s_to_count(wan: Port, moves, version: int) -> None:
    wan.change(mtu=1280, mtu6=1280)
    frame = bytearray(packet(version, size=1372))
    if version == 4:
        # DF, and the checksum with it.
        frame[20] |= 0x40
        frame[24:26] = ((int.from_bytes(frame[24:26]) - 0x4000) % 0xFFFF).to_bytes(2)
    assert moves(version, [bytes(frame)]) == (ZERO, ZERO)


def test_exceptions_that_linux_has_no_room_for_were_never_received_by_ip(
    router: Router, lan: Port, moves
) -> None:
    router.linux_takes(1)
    came, _ = moves(4, [packet(4, ttl=1)] * 5)
    assert came == ZERO


def test_a_full_port_tells_how_many_bytes_it_lost(router: Router, lan: Port, wan: Port) -> None:
    row = router.iface_row(wan.ifindex)
    before = router.rows("iface_stats", "iface_stats_row")[row].tx_dropped_bytes
    frame = packet(4)
    router.ports_take(2)
    router.burst(lan.number, [frame] * 5)
    after = router.rows("iface_stats", "iface_stats_row")[row].tx_dropped_bytes
    assert after - before == 3 * len(frame)


def unknown(version: int) -> str:
    return "192.88.99.9" if version == 4 else "2001:db8:ffff::9"


# --- whose counters


def own(router: Router, row: int) -> int:
    """rx_packets of the interface that has the row now."""
    base = router.rows("iface_base", "iface_base_row")[row]
    assert base.created == router.stats.header.created
    total = router.rows("iface_stats", "iface_stats_row")[row].rx_packets
    return int(total - base.base.rx_packets)


def retired(router: Router) -> int:
    """InReceives of VRF 0's interfaces that are gone, as far as their rows went to others."""
    row = router.rows("iface_retired", "iface_retired_row")
    assert row[0].seq % 2 == 0
    return sum(row[0].sum.ip4.in_ecn)


def kept(router: Router) -> int:
    """Of those that have rows."""
    bases = router.rows("iface_base", "iface_base_row")
    stats = router.rows("iface_stats", "iface_stats_row")
    capacity = lib.shm_find(router.config, b"iface").capacity
    return sum(
        sum(stats[i].ip4.in_ecn) - sum(bases[i].base.ip4.in_ecn)
        for i in range(1, capacity)
        if bases[i].ifindex
    )


def test_an_interface_that_gets_anothers_row_begins_at_nothing(
    router: Router, lan: Port, wan: Port
) -> None:
    total = retired(router) + kept(router)
    router.burst(lan.number, [packet(4)] * 10)
    row = router.iface_row(lan.ifindex)
    assert own(router, row) >= 10
    assert retired(router) + kept(router) == total + 10
    # As many interfaces as there are rows: one of them gets this one.
    router.delete("iface", lan.object())
    router.burst(wan.number, [])
    names = [router.link(f"new{i}", ifindex=1000 + i) for i in range(1, 40)]
    for link in names:
        new = router.iface_row(link.ifindex)
        assert own(router, new) == 0, f"row {new} of {link.name}"
    # What the VRF has received stays.
    assert retired(router) + kept(router) == total + 10


def test_a_link_that_comes_back_under_its_number_is_another_one(
    router: Router, lan: Port, wan: Port
) -> None:
    router.burst(lan.number, [packet(4)] * 10)
    lan.delete()
    lan.change()
    assert own(router, router.iface_row(lan.ifindex)) == 0
    router.burst(lan.number, [packet(4)] * 3)
    assert own(router, router.iface_row(lan.ifindex)) == 3


def test_a_neighbour_that_gets_anothers_row_was_never_used(
    router: Router, lan: Port, wan: Port
) -> None:
    def hit(address: str) -> int:
        full = ffi.from_buffer(bytes(map(int, address.split("."))).ljust(16, b"\0"))
        row = router.iface_row(wan.ifindex)
        return int(lib.neigh_last_hit(router.config, router.stats, row, 2, full))

    neighs = router.rows("neigh", "neigh_row")
    hits = router.rows("neigh_hit", "neigh_hit_row")
    number = next(
        i
        for i in range(1, lib.shm_find(router.config, b"neigh").capacity)
        if bytes(neighs[i].addr[0:4]) == bytes([198, 51, 100, 10]) and neighs[i].iface
    )
    # Hits are of the second that the row's neighbour came in, or before: another's.
    router.burst(lan.number, [packet(4)])
    assert hit("198.51.100.99") == 0
    assert hit("198.51.100.10") in (0, hits[number].seconds)
    assert neighs[number].born > 0
    assert (hit("198.51.100.10") == 0) == (hits[number].seconds <= neighs[number].born)
