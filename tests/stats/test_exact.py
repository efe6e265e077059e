"""Linux's counters are the truth about all packets, whoever forwarded them: the same frames go through a router that is
Linux alone and through one with the fast path, and every program must be told the same.

h1 -- p1  router  p2 -- h2
"""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.proc import wait_for
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import BEHIND4, BEHIND6, LEFT, Driver, Rig
from tests.stats.reading import Numbers, Reader, moved

pytestmark = pytest.mark.functional

FAR4, FAR6 = "198.51.100.2", "2001:db8:2::2"
NARROW4 = "203.0.113.129"  # behind a route with an MTU of 600
BLACK4, BLACK6 = "203.0.113.65", "2001:db8:3:4000::1"
TARGETS = {"ipv4": (LEFT.host4, FAR4), "ipv6": (LEFT.host6, FAR6)}


def frame(
    version: str, *, to: str = "", ttl: int = 64, size: int = 100, ecn: int = 0, whole: bool = True
) -> bytes:
    """`whole`: not to be fragmented (IPv4)."""
    source, target = TARGETS[version]
    made = bytearray(
        udp_frame((LEFT.host_mac, source), (LEFT.port_mac, to or target), bytes(size), ttl=ttl)
    )
    if version == "ipv6":
        made[15] |= ecn << 4
        return bytes(made)
    made[15] |= ecn
    # RFC 1624: the checksum over the word that changed.
    total = int.from_bytes(made[24:26]) - ecn
    if not whole:
        made[20] &= ~0x40
        total += 0x4000
    made[24:26] = ((total + 0xFFFF) % 0xFFFF if total <= 0 or total > 0xFFFF else total).to_bytes(2)
    return bytes(made)


def frames() -> list[bytes]:
    """Forwarded, with and without ECN, padded; exceptions of all kinds; dropped ones."""
    made: list[bytes] = []
    for version, behind, black in (("ipv4", BEHIND4, BLACK4), ("ipv6", BEHIND6, BLACK6)):
        made += [frame(version)] * 200
        made += [frame(version, to=behind, size=size) for size in range(0, 1400, 7)]
        made += [frame(version, ecn=ecn) for ecn in (0, 1, 2, 3, 3)] * 10
        made += [frame(version, size=0)] * 20
        made += [frame(version) + b"behind"] * 20
        made += [frame(version, ttl=1)] * 15
        made += [frame(version, to=black)] * 25
        made += [frame(version, to="192.88.99.1" if version == "ipv4" else "2001:db8:ffff::1")] * 5
        other = bytearray(frame(version))
        other[5] ^= 0x10
        made += [bytes(other)] * 9
    # In three fragments, whole, in two of which one is short; and those that mustn't be fragmented.
    for size in (1400, 300, 572, 573):
        made += [frame("ipv4", to=NARROW4, size=size, ecn=2, whole=False)] * 10
    made += [frame("ipv4", to=NARROW4, size=1000)] * 5
    # A wrong checksum: Linux counts InHdrErrors.
    broken = bytearray(frame("ipv4"))
    broken[24] ^= 0x55
    made += [bytes(broken)] * 7
    return made


def quiet(reader: Reader) -> dict[str, Numbers]:
    """All counters, once they stand still."""
    last: list[dict[str, Numbers]] = [{}]

    def still() -> bool:
        now = reader.all("p1", "p2")
        same, last[0] = last[0] == now, now
        return same

    wait_for(still, "counters that stand still", timeout=30, interval=0.5)
    return last[0]


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    yield from made(tmp_path_factory.mktemp("linux"), Driver.NONE)


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    yield from made(tmp_path_factory.mktemp("fast"), Driver.AF_PACKET)


def made(work: Path, driver: Driver) -> Iterator[Rig]:
    with Rig(work, driver=driver, silent_hosts=True) as rig:
        rig.router.ip("route add blackhole 203.0.113.64/26")
        rig.router.ip(f"route add 203.0.113.128/26 via {FAR4} mtu 600")
        rig.router.ip("-6 route add blackhole 2001:db8:3:4000::/66")
        if rig.on:
            rig.wait_for_prefixes({"203.0.113.64/26", "203.0.113.128/26", "2001:db8:3:4000::/66"})
        yield rig


def reader_of(rig: Rig) -> Reader:
    return Reader(rig.router, rig.instance if rig.on else None)


def sent_through(rig: Rig, what: list[bytes]) -> dict[str, Numbers]:
    """The counters' differences that the frames make."""
    reader = reader_of(rig)
    before = quiet(reader)
    with Wire(rig.h1.namespace, "eth0", socket.ntohs(0)) as wire:
        for start in range(0, len(what), 50):
            wire.send(what[start : start + 50], per_second=5000)
    return moved(before, quiet(reader))


def test_every_counter_is_what_linux_alone_would_show(linux: Rig, fast: Rig) -> None:
    what = frames()
    alone = sent_through(linux, what)
    with fast.carried(packets=900, exceptions=2 * 15 + 2 * 5 + 5 + 7, drops=2 * 25 + 2 * 9):
        both = sent_through(fast, what)
    assert alone["ip p1"]["rx_packets"] == len(what)
    assert alone["snmp"]["Ip:FragCreates"] == 10 * 3 + 10 * 2
    assert both == alone
