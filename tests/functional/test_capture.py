# SPDX-License-Identifier: BSD-3-Clause
"""tcpdump on a port shows what the fast path carries, and Linux does nothing else with it."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from lab import netns
from lab.proc import stop, wait_for
from tests.lib.rig import BEHIND4, BEHIND6, Driver, Rig, ping

pytestmark = pytest.mark.functional
COUNT = 20
REQUEST, REPLY = 8, 0


def capturing(rig: Rig) -> set[str]:
    """Ports whose packets are copied."""
    return {row["name"] for row in rig.fast_path.table("ports") if row["capturing"]}


@contextmanager
def capture(rig: Rig, path: Path, *options: str, ports: tuple[str, ...] = ()) -> Iterator[Path]:
    """tcpdump with these options; fp-rte copies to it on `ports`."""
    process = subprocess.Popen(
        netns.in_namespace(
            rig.router.namespace, ["tcpdump", "-n", "-U", "-w", str(path), *options]
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # It listens before it makes the file.
        wait_for(path.exists, "tcpdump's file", timeout=10, interval=0.02)
        wait_for(
            lambda: set(ports) <= capturing(rig),
            f"fp-rte to see the capture on {', '.join(ports)}",
            timeout=10,
            interval=0.02,
            hint=f"see {rig.rte.log}",
        )
        yield path
    finally:
        stop(process)


def frames(path: Path) -> list[bytes]:
    """What tcpdump has written so far; a packet that is being written may miss."""
    try:
        return [bytes(packet) for packet in rdpcap(str(path))]
    except EOFError:
        return []


def echoes(path: Path, kind: int) -> list[bytes]:
    return [f for f in frames(path) if ICMP in Ether(f) and Ether(f)[ICMP].type == kind]


def wait_for_echoes(path: Path, kind: int, count: int) -> list[bytes]:
    wait_for(
        lambda: len(echoes(path, kind)) >= count,
        f"{count} echoes of type {kind} in {path.name}",
        timeout=5,
        interval=0.05,
    )
    return echoes(path, kind)


def linux_received(rig: Rig) -> int:
    """Packets that the router's own IPv4 and IPv6 have received."""
    text = rig.router.run("nstat", "-asz", "IpInReceives", "Ip6InReceives").stdout
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    counts = {words[0]: int(words[1]) for words in lines}
    return counts["IpInReceives"] + counts.get("Ip6InReceives", 0)


def test_tcpdump_shows_what_the_fast_path_carries_in_its_direction(
    rig: Rig, evidence: Path
) -> None:
    with (
        capture(rig, evidence / "in.pcap", "-i", "p1", "-Q", "in", ports=("p1",)) as received,
        capture(rig, evidence / "out.pcap", "-i", "p1", "-Q", "out") as sent,
        capture(rig, evidence / "p2.pcap", "-i", "p2", ports=("p2",)) as both,
        rig.carried(packets=2 * COUNT, exceptions=12),
    ):
        assert ping(rig.h1, BEHIND4, count=COUNT) == COUNT
        requests = wait_for_echoes(received, REQUEST, COUNT)
        replies = wait_for_echoes(sent, REPLY, COUNT)
        wait_for_echoes(both, REPLY, COUNT)
    assert len(requests) == len(replies) == COUNT
    assert not echoes(received, REPLY)
    assert not echoes(sent, REQUEST)
    # As they came in and as they left: the TTL of h1's and h2's packets, MAC addresses of the wire.
    assert {(Ether(f).dst, Ether(f)[IP].ttl) for f in requests} == {("02:00:00:00:01:01", 64)}
    assert {(Ether(f).src, Ether(f)[IP].ttl) for f in replies} == {("02:00:00:00:01:01", 63)}
    onward = echoes(both, REQUEST)
    assert len(onward) == len(echoes(both, REPLY)) == COUNT
    assert {(Ether(f).dst, Ether(f)[IP].ttl) for f in onward} == {("02:00:00:00:02:02", 63)}


@pytest.mark.parametrize("rig", [Driver.AF_XDP, Driver.AF_PACKET], indirect=True)
def test_linux_does_nothing_with_what_a_capture_shows(rig: Rig, evidence: Path) -> None:
    with (
        capture(rig, evidence / "p1.pcap", "-i", "p1", ports=("p1",)) as left,
        capture(rig, evidence / "p2.pcap", "-i", "p2", ports=("p2",)),
    ):
        # ARP and the like is Linux's.
        ping(rig.h1, BEHIND4, count=1)
        before = linux_received(rig)
        with (
            netns_capture(rig, evidence / "arrives.pcap") as wire,
            rig.carried(packets=2 * COUNT, exceptions=12),
        ):
            assert ping(rig.h1, BEHIND4, count=COUNT) == COUNT
            wait_for_echoes(wire, REQUEST, COUNT)
            wait_for_echoes(left, REPLY, COUNT)
            assert len(echoes(wire, REQUEST)) == COUNT, "each request arrives once"
        # Neighbour discovery and multicast reports come when they like.
        assert linux_received(rig) - before < COUNT // 2


@contextmanager
def netns_capture(rig: Rig, path: Path) -> Iterator[Path]:
    """What arrives at h2."""
    process = subprocess.Popen(
        netns.in_namespace(
            rig.h2.namespace, ["tcpdump", "-n", "-U", "-w", str(path), "-i", "eth0"]
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(path.exists, "tcpdump's file", timeout=10, interval=0.02)
        yield path
    finally:
        stop(process)


def test_a_capture_on_any_interface_shows_all_ports(rig: Rig, evidence: Path) -> None:
    with capture(rig, evidence / "any.pcap", "-i", "any", "icmp6", ports=("p1", "p2")) as path:
        with rig.carried(packets=2 * COUNT, exceptions=12):
            assert ping(rig.h1, BEHIND6, count=COUNT) == COUNT

        def requests() -> int:
            try:
                packets = rdpcap(str(path))
            except EOFError:
                return 0
            return sum(1 for packet in packets if ICMPv6EchoRequest in packet)

        # Each in on p1 and out on p2; "any" also sees the wires that fp-rte's ports are made of.
        wait_for(
            lambda: requests() >= 2 * COUNT, "the requests on both ports", timeout=5, interval=0.05
        )


def test_without_a_capture_nothing_is_copied_and_no_program_is_left(
    rig: Rig, evidence: Path
) -> None:
    def programs() -> str:
        return rig.router.run("bpftool", "net", "show").stdout

    with capture(rig, evidence / "p1.pcap", "-i", "p1", ports=("p1",)) as path:
        assert "sluice_ingress" in programs()
        assert rig.router.run("tc", "filter", "show", "dev", "p1", "ingress").stdout == ""
        ping(rig.h1, BEHIND4, count=2)
        wait_for_echoes(path, REPLY, 2)
    wait_for(
        lambda: "sluice_" not in programs(), "the end of the programs", timeout=10, interval=0.1
    )
    copies = copied(rig)
    with rig.carried(packets=2 * COUNT, exceptions=12):
        assert ping(rig.h1, BEHIND4, count=COUNT) == COUNT
    assert copied(rig) == copies


def copied(rig: Rig) -> int:
    return sum(int(row["captured"]) for row in rig.fast_path.table("ports"))


def test_a_socket_for_one_protocol_costs_nothing(rig: Rig) -> None:
    """As LLDP daemons have one."""
    with netns.entered(rig.router.namespace):
        lldp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88CC))
        lldp.bind(("p1", 0x88CC))
    copies = copied(rig)
    with lldp, rig.carried(packets=2 * COUNT, exceptions=12):
        # Longer than fp-rte takes to see a capture.
        assert ping(rig.h1, BEHIND4, count=COUNT) == COUNT
        rig.h1.run("ping", "-n", "-c", "5", "-i", "0.2", BEHIND4)
    assert copied(rig) == copies


def test_a_capture_outlives_the_fast_path(rig: Rig, evidence: Path) -> None:
    with capture(rig, evidence / "p1.pcap", "-i", "p1", ports=("p1",)) as path:
        ping(rig.h1, BEHIND4, count=2)
        wait_for_echoes(path, REPLY, 2)
        rig.rte.kill()
        assert "sluice_" not in rig.router.run("bpftool", "net", "show").stdout
        rig.rte.start()
        rig.wait_for_ports()
        rig.resolve()
        wait_for(
            lambda: "p1" in capturing(rig),
            "the new fp-rte to see the capture",
            timeout=10,
            interval=0.05,
        )
        # Of another size than those before.
        with rig.carried(packets=2 * COUNT, exceptions=12):
            assert ping(rig.h1, BEHIND4, count=COUNT, size=200) == COUNT

        def new(kind: int) -> int:
            return sum(1 for frame in echoes(path, kind) if len(frame) == 14 + 20 + 8 + 200)

        wait_for(
            lambda: new(REPLY) >= COUNT, "the new pings in the capture", timeout=5, interval=0.05
        )
        assert new(REQUEST) == new(REPLY) == COUNT
