# SPDX-License-Identifier: BSD-3-Clause
"""Software distribution: a port with one receive queue, two workers. Who handles a flow may change
at any time; the order of its packets may not.

    pcap file ==> red  worker 0 --. fp-rte   blue ==> pcap file
                       worker 1 <-'
"""

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from sluice.fpc import Connection, Role, encode

from lab.proc import wait_for
from tests.bench.traffic import PEER_MAC, PORT_MAC, frame, write_pcap
from tests.rte.test_process import Place, made

pytestmark = pytest.mark.functional
FLOWS = 100
PACKETS = 200_000
HEADER = 14 + 20 + 8
RTN_UNICAST, NUD_PERMANENT, AF_INET = 1, 0x80, 2


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with made(tmp_path / "place") as found:
        yield found


def numbered() -> Iterator[bytes]:
    """Packets of all flows in runs of different length; each says which of its flow it is."""
    rng = random.Random(1)
    bare = [frame(4, 0xC6120000 + flow + 1) for flow in range(FLOWS)]
    numbers = [0] * FLOWS
    flow = 0
    for _ in range(PACKETS):
        flow = flow if rng.random() < 0.4 else rng.randrange(FLOWS)
        yield bare[flow][:HEADER] + struct.pack(">I", numbers[flow]) + bare[flow][HEADER + 4 :]
        numbers[flow] += 1


def read_numbers(path: Path) -> dict[bytes, list[int]]:
    """By flow: the numbers of its packets, as they came."""
    data, at = path.read_bytes(), 24
    found: dict[bytes, list[int]] = {}
    while at + 16 + HEADER + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 8)
        packet = data[at + 16 : at + 16 + length]
        if packet[12:14] == b"\x08\x00" and packet[30:32] == b"\xc6\x12":
            found.setdefault(packet[30:34], []).append(struct.unpack_from(">I", packet, HEADER)[0])
        at += 16 + length
    return found


def configure(place: Place) -> None:
    """What cmgrd would: two interfaces, a neighbour, a route."""
    index = {name: place.port(name)["ifindex"] for name in ("red", "blue")}
    path = f"/run/sluice/{place.name}/fpc.sock"
    with Connection(path, Role.SYNC, name="test", timeout=20) as fpmd:
        fpmd.set("vrf", encode("vrf", vrf=0))
        for name, mac in (("red", PORT_MAC), ("blue", bytes.fromhex("020000000001"))):
            fpmd.set(
                "iface",
                encode(
                    "iface",
                    vrf=0,
                    ifindex=index[name],
                    flags=["UP", "RUNNING", "FORWARD4"],
                    mtu=1500,
                    mac=mac.hex(":"),
                    name=name,
                ),
            )
        hop = {"ifindex": index["blue"], "family": AF_INET, "gateway": "203.0.113.2"}
        fpmd.set(
            "neigh",
            encode(
                "neigh",
                vrf=0,
                ifindex=index["blue"],
                family=AF_INET,
                addr="203.0.113.2",
                mac=PEER_MAC.hex(":"),
                state=NUD_PERMANENT,
            ),
        )
        fpmd.set(
            "route",
            encode(
                "route",
                vrf=0,
                table=254,
                family=AF_INET,
                plen=15,
                dst="198.18.0.0",
                type=RTN_UNICAST,
                nexthops=[{**hop, "weight": 1}],
            ),
        )


def workers(place: Place) -> list[dict[str, int]]:
    from sluice.shm import Tables

    return [
        {key: int(row[key]) for key in ("packets", "given", "taken")}
        for row in Tables(place.name).rows("worker")
    ][:2]


@pytest.mark.parametrize("mode", ["auto", "yes", "no"])
def test_the_order_of_each_flow_is_kept(place: Place, mode: str) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    assert len(cpus) > 1, "this needs two CPUs"
    settings = {"FP_CORES": f"{cpus[0]},{cpus[1]}", "FP_SPREAD": mode, "FP_MBUFS": "32768"}
    source, sink = place.work / "in.pcap", place.work / "out.pcap"
    write_pcap(source, [])
    ports = f"red=net_pcap0,rx_pcap={source} blue=net_pcap1,tx_pcap={sink}"
    place.start(ports, **settings)
    configure(place)
    # The TAPs stay, and what fpmd knows: from its start on it forwards.
    place.rte.stop()
    write_pcap(source, numbered())
    for _ in range(5):
        given = play(place, sink)
        # On a busy machine the other worker may wake up when all is over: `auto` wakes nobody.
        if mode == "no" or given:
            break
    assert (given == 0) == (mode == "no"), given
    if mode == "no":
        assert "spread_full" not in place.fast_path.counters().reasons


def since(key: str, now: list[dict[str, int]], before: list[dict[str, int]]) -> int:
    return sum(row[key] for row in now) - sum(row[key] for row in before)


def gone_through(now: list[dict[str, int]], before: list[dict[str, int]]) -> bool:
    received = since("packets", now, before) >= PACKETS
    return received and since("given", now, before) == since("taken", now, before)


def play(place: Place, sink: Path) -> int:
    """Let it forward the file once and look at what comes out; how many packets another worker had."""
    before = workers(place)
    place.start_rte()
    wait_for(
        lambda: gone_through(workers(place), before),
        "all packets to go through",
        timeout=60,
        interval=0.05,
    )
    place.rte.stop()
    given = since("given", workers(place), before)
    flows = read_numbers(sink)
    assert len(flows) == FLOWS
    assert sum(map(len, flows.values())) > PACKETS // 10
    for flow, numbers in flows.items():
        assert numbers == sorted(set(numbers)), f"flow {flow.hex()}"
    return given


def test_it_is_said_what_is_done(place: Place) -> None:
    ports = "red=net_null0,no-rx=1"
    for value, cores, text in (
        ("auto", "0,1", "while a worker can't keep up     auto"),
        ("yes", "0,1", "yes                          as set"),
        ("no", "0,1", "no                           as set"),
        ("auto", "0", "no: one worker               auto"),
    ):
        place.settings(ports, FP_SPREAD=value, FP_CORES=cores)
        line = next(x for x in place.check().stdout.splitlines() if x.startswith("FP_SPREAD"))
        assert line.split(maxsplit=1)[1] == text or line.split() == ["FP_SPREAD", *text.split()]
    place.settings(ports, FP_SPREAD="maybe")
    assert "FP_SPREAD=maybe is none of its values" in place.check().stderr


def test_rings_between_workers_are_shown(place: Place) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    source = place.work / "in.pcap"
    write_pcap(source, [frame(4, 0xC6120001)] * 64)
    place.start(f"red=net_pcap0,rx_pcap={source}", FP_CORES=f"{cpus[0]},{cpus[1]}")
    rings = {row["name"]: row for row in place.fast_path.table("rings")}
    ring = rings["spread: worker 0 to 1"]
    assert (ring["kind"], ring["owner"], ring["size"]) == ("spread", 1, 1024)
    assert "spread: worker 1 to 0" not in rings


def test_what_finds_no_room_is_dropped_and_counted(place: Place) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    source = place.work / "in.pcap"
    # One flow, as fast as it can come: all of it is one worker's, which has more to do than the other.
    write_pcap(source, [frame(4, 0xC6120001)] * 64)
    place.start(
        f"red=net_pcap0,rx_pcap={source},infinite_rx=1",
        FP_CORES=f"{cpus[0]},{cpus[1]}",
        FP_SPREAD="yes",
    )
    wait_for(
        lambda: place.fast_path.counters().reasons.get("spread_full"),
        "packets to be dropped",
        timeout=30,
        interval=0.05,
    )
    before = workers(place)
    wait_for(lambda: since("taken", workers(place), before) > 10_000, "others to go on", timeout=30)
