# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli trace over a running fast path."""

import json
import socket
import struct
import subprocess
import threading
from typing import Any

import pytest

from lab.proc import wait_for
from tests.lib import product
from tests.lib.rig import BEHIND4, Rig, ping

pytestmark = pytest.mark.functional


class Trace:
    """A running `fp-cli -j trace`."""

    def __init__(self, rig: Rig, *words: str) -> None:
        self.process = subprocess.Popen(
            [*product.program("fp-cli"), "--instance", rig.instance, "-j", "trace", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=product.environment(),
        )

    def rows(self) -> list[dict[str, Any]]:
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]


def test_a_trace_follows_pings_there_and_back(rig: Rig) -> None:
    # Others' packets would make it end early: only these.
    trace = Trace(rig, "--count", "4", "--seconds", "20", "icmp", "and", "host", BEHIND4)
    # Armed when it's armed: pings go on until it has seen its four.
    ended = threading.Event()

    def ping_on() -> None:
        while not ended.is_set():
            ping(rig.h1, BEHIND4, count=1, wait=1)

    pinging = threading.Thread(target=ping_on)
    pinging.start()
    try:
        rows = trace.rows()
    finally:
        ended.set()
        pinging.join()
    assert len(rows) == 4
    there = [row for row in rows if row["summary"] == f"192.0.2.2 > {BEHIND4} ICMP"]
    back = [row for row in rows if row["summary"] == f"{BEHIND4} > 192.0.2.2 ICMP"]
    assert there
    assert back
    assert len(there) + len(back) == 4
    steps = there[0]["steps"]
    assert [step["step"] for step in steps] == [
        "received",
        "interface",
        "route",
        "neighbour",
        "sent",
    ]
    received, interface, route, neighbour, sent = steps
    assert (received["port"], interface["interface"]) == ("p1", "p1")
    assert (route["type"], route["via"], route["interface"]) == ("gateway", "198.51.100.2", "p2")
    assert (neighbour["address"], neighbour["mac"]) == ("198.51.100.2", "02:00:00:00:02:02")
    assert sent["port"] == "p2"
    # Received for the router, sent to h2.
    assert received["data"].startswith("020000000101")
    assert sent["data"].startswith("020000000202")
    assert [step["us"] for step in steps] == sorted(step["us"] for step in steps)


def test_a_trace_that_sees_nothing_ends_in_time(rig: Rig) -> None:
    trace = Trace(rig, "--seconds", "0.5", "tcp", "port", "1")
    ping(rig.h1, BEHIND4, count=2)
    assert trace.rows() == []


def test_a_killed_viewer_disarms_its_trace_and_only_one_is_armed(rig: Rig) -> None:
    first = Trace(rig, "--count", "1000000")

    def second() -> str:
        return rig.fast_path.cli("trace", "--seconds", "0.1", check=False).stderr

    def armed() -> bool:
        nonlocal first
        if first.process.poll() is not None:  # a second one was armed before it
            first = Trace(rig, "--count", "1000000")
        return "another trace is armed" in second()

    wait_for(armed, "the trace", timeout=30, interval=0.1)
    first.process.kill()
    first.process.communicate()
    wait_for(lambda: second() == "", "the trace's end", timeout=30, interval=0.1)
    with rig.carried(packets=20, exceptions=12):
        assert ping(rig.h1, BEHIND4, count=10) == 10


HEAD = struct.Struct("=IIHHI")  # version, packets, port, instructions, zero
ANY = 0xFFFF


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x", id="short"),
        pytest.param(HEAD.pack(2, 1, ANY, 0, 0), id="version"),
        pytest.param(HEAD.pack(1, 0, ANY, 0, 0), id="no packets"),
        pytest.param(HEAD.pack(1, 1, ANY, 0, 7), id="not zero"),
        pytest.param(HEAD.pack(1, 1, 60, 0, 0), id="no such port"),
        pytest.param(HEAD.pack(1, 1, ANY, 1, 0) + b"\x05\0\0\0\xff\0\0\0", id="jumps out"),
        pytest.param(HEAD.pack(1, 1, ANY, 1, 0) + bytes(8), id="no end"),
        pytest.param(HEAD.pack(1, 1, ANY, 0xFFFF, 0), id="instructions missing"),
        pytest.param(HEAD.pack(1, 1, ANY, 0xFFFF, 0) + bytes(8 * 0xFFFF // 8), id="too long"),
    ],
)
def test_fp_rte_survives_whatever_it_is_asked(rig: Rig, request_bytes: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(10)
        client.connect(f"/run/sluice/{rig.instance}/rte.sock")
        client.send(request_bytes)
        answer = client.recv(4096)
    # An empty packet can't be told from the end.
    assert not request_bytes or int.from_bytes(answer[:4], "little") > 0
    assert rig.rte.alive


def test_clients_that_say_nothing_keep_nobody_out_for_long(rig: Rig) -> None:
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(8)]
    try:
        for client in idle:
            client.connect(f"/run/sluice/{rig.instance}/rte.sock")
    finally:
        for client in idle:
            client.close()
    wait_for(
        lambda: rig.fast_path.cli("trace", "--seconds", "0.1", check=False).returncode == 0,
        "a trace",
        timeout=10,
        interval=0.1,
    )


def test_rings_and_monitor_show_a_running_fast_path(rig: Rig) -> None:
    rings = {row["name"]: row for row in rig.fast_path.table("rings")}
    assert {
        "to Linux: p1 control",
        "to Linux: p2 forwarded",
        "from Linux: worker 0",
        "captures",
    } <= set(rings)
    memory = [row for row in rings.values() if row["kind"] == "memory"]
    assert memory
    assert all(0 < row["used"] < row["size"] for row in memory)
    monitor = subprocess.Popen(
        [
            *product.program("fp-cli"),
            *("--instance", rig.instance, "-j", "monitor", "--interval", "0.5", "--count", "4"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=product.environment(),
    )
    while monitor.poll() is None:
        ping(rig.h1, BEHIND4, count=5)
    out = monitor.communicate()[0]
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 4
    ports = {port["name"]: port for row in rows for port in row["interfaces"] if port["rx_packets"]}
    assert {"p1", "p2"} <= set(ports)
    assert any(worker["packets"] for row in rows for worker in row["workers"])
