"""Packets go through, and it's the fast path that carries them.

h1 -- p1  router  p2 -- h2 -- 203.0.113.0/24, 2001:db8:3::/64
"""

import json
import os

import pytest

from lab.errors import LabError
from lab.proc import wait_for
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.product import output as product_run
from tests.lib.rig import BEHIND4, BEHIND6, LEFT, RIGHT, Driver, Rig, Side, ping
from tests.lib.traffic import Stream, tcp_transfer, udp_exchange

pytestmark = pytest.mark.functional
both_drivers = pytest.mark.parametrize("rig", [Driver.AF_XDP, Driver.AF_PACKET], indirect=True)
# Background of every test: a neighbour that Linux probes, a report of a multicast group.
BACKGROUND = 12


@both_drivers
@pytest.mark.parametrize("address", [RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6])
def test_pings_pass_and_the_fast_path_carries_both_directions(rig: Rig, address: str) -> None:
    with rig.carried(packets=100, exceptions=BACKGROUND):
        assert ping(rig.h1, address, count=50) == 50


@both_drivers
@pytest.mark.parametrize("address", [BEHIND4, BEHIND6])
def test_udp_passes_in_both_directions(rig: Rig, address: str) -> None:
    with rig.carried(packets=200, exceptions=BACKGROUND):
        assert udp_exchange(rig, address, 100) == 100


@both_drivers
@pytest.mark.parametrize("address", [BEHIND4, BEHIND6])
def test_tcp_carries_data_unchanged_in_both_directions(rig: Rig, address: str) -> None:
    data = os.urandom(1 << 20)
    # With segments of at most 1460 bytes there are this many in each direction, acknowledgements
    # not counted.
    with rig.carried(packets=2 * len(data) // 1460, exceptions=BACKGROUND):
        assert tcp_transfer(rig, address, data) == data


@both_drivers
@pytest.mark.parametrize(
    ("a", "b"), [(LEFT, RIGHT), (RIGHT, LEFT)], ids=["left to right", "right to left"]
)
@pytest.mark.parametrize("family", [4, 6])
def test_a_forwarded_packet_is_the_same_but_for_macs_and_ttl(
    rig: Rig, a: Side, b: Side, family: int
) -> None:
    addresses = (a.host4, b.host4) if family == 4 else (a.host6, b.host6)
    payloads = [f"packet {number}".ljust(40).encode() for number in range(200)]
    sent = [
        udp_frame((a.host_mac, addresses[0]), (a.port_mac, addresses[1]), payload, ttl=64)
        for payload in payloads
    ]
    wanted = [
        udp_frame((b.port_mac, addresses[0]), (b.host_mac, addresses[1]), payload, ttl=63)
        for payload in payloads
    ]
    with (
        Wire(rig.hosts[a.host].namespace, "eth0") as near,
        Wire(rig.hosts[b.host].namespace, "eth0") as far,
        rig.carried(packets=len(sent), exceptions=BACKGROUND),
    ):
        near.send(sent, per_second=5000)
        heard = far.hear(until=len(wanted), timeout=5, wanted=lambda f: b"packet " in f)
        # One flow: all of it, once, in order. Nothing more may come.
        heard += far.hear(quiet=0.1, wanted=lambda f: b"packet " in f)
    assert heard == wanted


def test_status_shows_all_daemons_alive(rig: Rig) -> None:
    rows = {row["daemon"]: row for row in rig.fast_path.table("status")}
    # They aren't part of the rig.
    for name in ("hitflagsd", "fpsd"):
        assert not rows.pop(name)["alive"]
    assert {name: row["pid"] for name, row in rows.items()} == {
        daemon.name: daemon.pid for daemon in rig.daemons
    }
    assert all(row["alive"] for row in rows.values())


def test_cpu_usage_adds_up_and_counts_packets(rig: Rig) -> None:
    with Stream(rig, per_second=300) as stream:
        wait_for(lambda: stream.received >= 20, "traffic", timeout=10, interval=0.02)
        options = ["--instance", rig.instance, "-j", "--interval", "0.5"]
        rows = json.loads(product_run("fp-cpu-usage", *options))
    assert rows, "no worker"
    for row in rows:
        assert 90 <= row["busy"] + row["idle"] + row["sleep"] <= 101, row
    assert sum(row["packets"] for row in rows) >= 100, rows
    assert all(row["cycles"] > 0 for row in rows if row["packets"])


def test_counters_of_an_interface_count_each_packet_and_byte(rig: Rig) -> None:
    frames = [udp_frame((LEFT.host_mac, LEFT.host4), (LEFT.port_mac, RIGHT.host4), b"x" * 100)] * 50
    before = {row["name"]: row for row in rig.fast_path.table("stats")}
    with Wire(rig.h1.namespace, "eth0") as near, rig.carried(packets=50, exceptions=BACKGROUND):
        near.send(frames)
    after = {row["name"]: row for row in rig.fast_path.table("stats")}

    def delta(name: str, key: str) -> int:
        return int(after[name][key] - before[name][key])

    assert (delta("p1", "rx_packets"), delta("p2", "tx_packets")) == (50, 50)
    size = len(frames[0])
    assert (delta("p1", "rx_bytes"), delta("p2", "tx_bytes")) == (50 * size, 50 * size)
    workers = [
        now["tx_packets"] - then["tx_packets"]
        for now, then in zip(after["p2"]["workers"], before["p2"]["workers"], strict=True)
    ]
    assert sum(workers) == 50


@pytest.mark.parametrize("address", [RIGHT.host4, RIGHT.host6])
def test_unknown_neighbours_are_resolved_by_linux_by_way_of_exceptions(
    rig: Rig, address: str
) -> None:
    rig.router.ip("neigh flush dev p1")
    rig.router.ip("neigh flush dev p2")
    wait_for(
        lambda: address not in rig.neighbours(), "the fast path to forget", timeout=5, interval=0.05
    )
    before = rig.fast_path.counters()
    assert ping(rig.h1, address, count=1, wait=5) == 1
    rig.wait_for_neighbours({address})
    assert (rig.fast_path.counters() - before).exceptions >= 1
    with rig.carried(packets=40, exceptions=BACKGROUND):
        assert ping(rig.h1, address, count=20) == 20


@pytest.mark.parametrize("address", [LEFT.port4, LEFT.port6, RIGHT.port4, RIGHT.port6])
def test_packets_for_the_router_reach_linux_and_its_answers_leave(rig: Rig, address: str) -> None:
    before = rig.fast_path.counters()
    port = next(row for row in rig.fast_path.table("ports") if row["name"] == "p1")
    assert ping(rig.h1, address, count=10) == 10
    delta = rig.fast_path.counters() - before
    assert delta.exceptions >= 10
    wait_for(
        lambda: (
            next(row for row in rig.fast_path.table("ports") if row["name"] == "p1")[
                "from_linux_packets"
            ]
            >= port["from_linux_packets"] + 10
        ),
        "Linux's answers in the port's counters",
        timeout=3,
        interval=0.05,
    )


@pytest.mark.parametrize("address", [LEFT.host4, LEFT.host6])
def test_what_linux_sends_leaves_the_port(rig: Rig, address: str) -> None:
    before = rig.fast_path.table("ports")[0]["from_linux_packets"]
    assert ping(rig.router, address, count=10) == 10
    wait_for(
        lambda: rig.fast_path.table("ports")[0]["from_linux_packets"] >= before + 10,
        "Linux's packets in the port's counters",
        timeout=3,
        interval=0.05,
    )


def test_packet_buffers_that_don_t_come_back_are_seen(rig: Rig) -> None:
    """What the fixture checks behind every test, with more buffers in use than ever come back."""
    assert rig.idle_buffers is not None
    rig.check_buffers()
    idle, rig.idle_buffers = rig.idle_buffers, rig.idle_buffers - 100
    try:
        with pytest.raises(LabError, match="packet buffers"):
            rig.check_buffers(timeout=0.5)
    finally:
        rig.idle_buffers = idle
