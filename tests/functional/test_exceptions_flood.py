"""Linux can't be drowned: under a flood of exceptions, as fast as the fast path can receive, the
control plane's packets reach Linux to the last one, and of the others no more than the budget
allows.

h1 -- p1  router  p2 -- h2        The flood comes from a file that a third port, p3, reads over and over without a wire:
          p3 == pcap              nothing can be lost in front of the fast path, and it's always busy.
"""

import json
import os
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from lab.proc import wait_for
from tests.functional.conftest import observed
from tests.lib.flood import P3, PEER, SILENT, endless, frame4, icmp, ports, restart
from tests.lib.frames import SOL_PACKET, Wire, write_pcap
from tests.lib.packets import ether, ipv4, ipv6, udp, udp_frame
from tests.lib.rig import LEFT, Rig, wait_for_counters

pytestmark = pytest.mark.functional
SECONDS = 10
RATE = 2000
CONTROL_RATE = 100_000
PACKET_STATISTICS = 6
FLOOD = 8000  # frames of the file


def bfd(number: int) -> bytes:
    return udp(
        LEFT.host4, LEFT.port4, struct.pack("!6I", number, 0, 0, 0, 0, 0), ports=(49152, 3784)
    )


# To an address of the router, which it doesn't matter on which of its interfaces.
CONTROL = {
    "bfd": frame4(bfd(0), LEFT.port4, ttl=255),
    "ospf": ether(
        PEER,
        "01:00:5e:00:00:05",
        ipv4(LEFT.host4, "224.0.0.5", bytes(44), protocol=89, ttl=1),
        kind=0x0800,
    ),
    "bgp": frame4(
        struct.pack("!HHIIBBHHH", 50000, 179, 1, 0, 0x50, 0x10, 1024, 0, 0),
        LEFT.port4,
        protocol=6,
        ttl=1,
    ),
    "arp": ether(
        PEER,
        "ff:ff:ff:ff:ff:ff",
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
        + bytes.fromhex(PEER.replace(":", ""))
        + socket.inet_aton("203.0.113.77")
        + bytes(6)
        + socket.inet_aton("203.0.113.77"),
        kind=0x0806,
    ),
    "vrrp": ether(
        PEER,
        "01:00:5e:00:00:12",
        ipv4(LEFT.host4, "224.0.0.18", bytes(20), protocol=112, ttl=255),
        kind=0x0800,
    ),
    "neighbour discovery": ether(
        PEER,
        P3,
        ipv6("fe80::99", LEFT.port6, bytes([136]) + bytes(23), protocol=58, hop_limit=255),
        kind=0x86DD,
    ),
}


def flood() -> list[bytes]:
    """For this host, for nobody, and in between the control plane's: each of them once."""
    frames = [
        frame4(icmp(0, i), LEFT.port4, protocol=1)
        if i % 2
        else frame4(icmp(3, i), "198.18.0.1", protocol=1)
        for i in range(FLOOD)
    ]
    for i, frame in enumerate(CONTROL.values()):
        frames[(i + 1) * FLOOD // (len(CONTROL) + 1)] = frame
    return frames


class Listener:
    """Counts the frames that arrive in Linux on an interface. A context manager."""

    def __init__(self, namespace: str, interface: str) -> None:
        self.wires = [Wire(namespace, interface, protocol) for protocol in (0x0800, 0x0806, 0x86DD)]
        self.heard: Counter[bytes] = Counter()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def listen(self) -> None:
        while not self.ending.is_set():
            for wire in self.wires:
                self.heard.update(wire.hear(quiet=0.05, timeout=0.2))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.thread.join(10)
        self.lost = 0
        for wire in self.wires:
            self.heard.update(wire.hear(quiet=0.1))
            _, lost = struct.unpack("=II", wire.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self.lost += lost
            wire.socket.close()


@pytest.fixture
def rig(rigs: Callable[..., Rig], request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    """With p3, which is silent at first."""
    rig = rigs(
        "flood",
        FP_PORTS=ports(SILENT),
        FP_EXCEPTION_RATE=str(RATE),
        FP_EXCEPTION_CONTROL=str(CONTROL_RATE),
        FP_MBUFS="32768",
    )
    rig.router.ip(f"link set p3 address {P3} up")
    yield from observed(rig, request, evidence)


def by_class(rig: Rig, command: str) -> Counter[str]:
    """Packets of each class."""
    total: Counter[str] = Counter()
    for row in rig.fast_path.table(command):
        total.update({name: row[name] for name in ("control", "local", "forwarded")})
    return total


def port(rig: Rig, name: str) -> dict[str, int]:
    """A port's counters."""
    return next(row for row in rig.fast_path.table("ports") if row["name"] == name)


def received(rig: Rig) -> int:
    return port(rig, "p3")["rx_packets"]


def test_the_control_plane_survives_ten_seconds_of_flood(rig: Rig, evidence: Path) -> None:
    frames = flood()
    path = evidence / "flood.pcap"
    write_pcap(path, frames)
    before = rig.fast_path.counters()
    handed, dropped, rx = by_class(rig, "exceptions"), by_class(rig, "drops"), received(rig)
    neighbour = [
        udp_frame(
            (LEFT.host_mac, LEFT.host4), (LEFT.port_mac, LEFT.port4), b"%8d" % i, ports=(1, 3784)
        )
        for i in range(100 * (SECONDS - 2))
    ]
    rig.rte.stop()
    with (
        Listener(rig.router.namespace, "p3") as p3,
        Listener(rig.router.namespace, "p1") as p1,
        Wire(rig.h1.namespace, "eth0") as h1,
    ):
        start = time.monotonic()
        restart(rig, endless(path))
        rig.wait_for_ports()
        flooding = time.monotonic()
        # On another port that the same worker serves, at a neighbour's pace.
        h1.send(neighbour, per_second=100)
        time.sleep(max(0.0, SECONDS - (time.monotonic() - flooding)))
        rig.rte.stop()
        seconds = time.monotonic() - start
    assert p3.lost == p1.lost == 0, "the test's own sockets lost packets"

    delta = rig.fast_path.counters() - before
    handed, dropped = by_class(rig, "exceptions") - handed, by_class(rig, "drops") - dropped
    rounds, rest = divmod(received(rig) - rx, len(frames))
    (evidence / "result.json").write_text(
        json.dumps({"rounds": rounds, "seconds": seconds, "handed": handed, "dropped": dropped})
    )
    report = f"{rounds} rounds of {len(frames)} in {seconds:.1f} s; {handed}; {dropped}; {delta}"
    print(report)

    # A flood it is, if the machine lets it: far more than the budget.
    assert rounds * len(frames) > 10 * RATE * seconds, report
    for name, frame in CONTROL.items():
        sent = rounds + (frames.index(frame) < rest)
        assert p3.heard[frame] == sent, f"{name}: {p3.heard[frame]} of {sent} arrived; {report}"
    assert [p1.heard[frame] for frame in neighbour] == [1] * len(neighbour), report
    assert dropped["control"] == 0, report

    others = sum(p3.heard.values()) - sum(p3.heard[frame] for frame in CONTROL.values())
    # A tenth of a second's packets may come at once.
    assert others <= RATE * (seconds + 0.2), report
    assert others >= RATE * (SECONDS - 2) / 2, f"far below the budget: {report}"
    assert min(handed["local"], handed["forwarded"]) >= RATE * (SECONDS - 2) / 8, report
    assert delta.reasons["exception_budget"] > delta.reasons["ip_local"], report


def test_a_receive_ring_that_overflows_is_seen(rig: Rig) -> None:
    """fp-rte is stopped while more comes than its ring holds: the port is overloaded when it goes on, at the latest the
    second time, for then it's known that the device has lost packets."""
    restart(rig, SILENT)
    rig.wait_for_ports()
    frame = ether(
        LEFT.host_mac,
        LEFT.port_mac,
        ipv4(LEFT.host4, LEFT.port4, icmp(0, 1), protocol=1),
        kind=0x0800,
    )
    before = rig.fast_path.counters()

    def fill() -> bool:
        os.kill(rig.rte.pid, signal.SIGSTOP)
        try:
            with Wire(rig.h1.namespace, "eth0") as h1:
                h1.send([frame] * 6000)
        finally:
            os.kill(rig.rte.pid, signal.SIGCONT)
        missed = port(rig, "p1")["rx_missed"]
        # The next round is within the second for which a loss counts.
        wait_for_counters(lambda: port(rig, "p1")["rx_missed"], lambda now: now > missed)
        return port(rig, "p1")["overloads"] > 0

    wait_for(fill, "an overloaded port", timeout=30, interval=0.01)
    assert port(rig, "p1")["rx_missed"] > 0
    delta = rig.fast_path.counters() - before
    assert delta.reasons["exception_overload"] > 0, delta
