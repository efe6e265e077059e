# SPDX-License-Identifier: BSD-3-Clause
"""Commands that go on: monitor and trace, over shared memory that is made here; filters; rings."""

import json
from pathlib import Path

import pytest
from _sluice import ffi, lib
from hypothesis import given
from hypothesis import strategies as st
from sluice.cli import monitor, view
from sluice.cli.error import CliError
from sluice.cli.main import output, run
from sluice.cli.pcap_filter import compiled
from sluice.cli.trace import Collector, Names, Ring, shown, summary
from sluice.cli.view import View

from tests.cli.synthetic import Instance

PACKET = bytes.fromhex(
    "020000000101020000000102080045000020000100003f110000c0000202cb00710100350036000c0000"
)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(view, "SHM_FOLDER", tmp_path)
    monkeypatch.setattr(view, "RUN_FOLDER", tmp_path / "run")
    made = Instance(tmp_path, "test")
    made.link(1, "p1", type=1, port=0)
    made.link(2, "p2", type=1, port=1)
    made.link(3, "lo")
    made.counters(0, 1)
    made.rows(made.stats, "port_state", "port_state_row")[0].name = b"p1"
    made.rows(made.stats, "port_state", "port_state_row")[1].name = b"p2"
    return made


# --- monitor


def test_rates_are_what_happened_between_two_readings(instance: Instance) -> None:
    seen = View("test")
    instance.reason(0, "tx_full", 0, {0: 5})
    instance.reason(1, "ip_ttl", 1, {0: 7})
    instance.counters(0, 2, tx_packets=100, tx_bytes=10_000)
    before = monitor.read(seen)._replace(at=10.0)
    instance.counters(0, 1, rx_packets=2000, rx_bytes=128_000, exceptions=20)
    instance.counters(0, 2, tx_packets=2100, tx_bytes=138_000, tx_dropped=4)
    instance.reason(1, "ip_ttl", 1, {0: 27})
    after = monitor.read(seen)._replace(at=12.0)
    row = monitor.rates(before, after)
    assert row["seconds"] == 2.0
    assert row["interfaces"] == [
        {
            "name": "p1", "vrf": 0, "rx_packets": 1000, "rx_bits": 512_000, "tx_packets": 0,
            "tx_bits": 0, "dropped": 0, "exceptions": 10,
        },
        {
            "name": "p2", "vrf": 0, "rx_packets": 0, "rx_bits": 0, "tx_packets": 1000,
            "tx_bits": 512_000, "dropped": 2, "exceptions": 0,
        },
    ]  # fmt: skip
    # Only what was met meanwhile.
    assert row["reasons"] == [
        {"reason": "ip_ttl", "kind": "exception", "packets": 10.0, "text": "about ip_ttl"}
    ]
    text = monitor.monitor_shown(row)
    assert all(word in text for word in ("p1", "p2", "512000", "ip_ttl"))


def test_an_interface_that_comes_anew_has_no_negative_rates(instance: Instance) -> None:
    seen = View("test")
    instance.counters(0, 1, rx_packets=1000)
    before = monitor.read(seen)._replace(at=1.0)
    instance.counters(0, 1, rx_packets=10)
    row = monitor.rates(before, monitor.read(seen)._replace(at=2.0))
    interfaces = row["interfaces"]
    assert isinstance(interfaces, list)
    assert interfaces[0]["rx_packets"] == 10


def test_monitor_prints_a_json_line_an_interval(instance: Instance) -> None:
    words = ["--instance", "test", "monitor", "--interval", "0.01", "--count", "3", "-j"]
    lines = list(output(words))
    assert len(lines) == 3
    assert all("\n" not in line and json.loads(line)["workers"] for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ["monitor", "--interval", "0"],
        ["monitor", "--interval", "nan"],
        ["monitor", "--count", "-1"],
        ["monitor", "--count", "x"],
        ["trace", "--count", "0"],
        ["trace", "--seconds", "0"],
        ["trace", "--seconds", "nan"],
        ["trace", "--port", "p9"],
        ["trace", "udp", "and"],
        ["trace"],  # nobody listens
    ],
)
def test_wrong_words_are_refused_with_a_hint(instance: Instance, words: list[str]) -> None:
    with pytest.raises(CliError) as caught:
        run(["--instance", "test", *words])
    assert caught.value.hint
    assert "\n" not in caught.value.text + caught.value.hint


# --- rings


def test_rings_show_their_filling(instance: Instance) -> None:
    assert "never run" in run(["--instance", "test", "rings"])
    row = instance.rows(instance.stats, "ring", "ring_row")[0]
    row.name, row.kind, row.owner = b"to Linux: p1", lib.RING_TO_LINUX, 0
    row.size, row.used, row.used_most = 1000, 125, 500
    assert json.loads(run(["--instance", "test", "-j", "rings"])) == [
        {
            "name": "to Linux: p1", "kind": "to-linux", "owner": 0, "used": 125, "most": 500,
            "size": 1000, "fill": 12.5, "lost": 0,
        }
    ]  # fmt: skip


# --- stages and plugins


def test_stages_shows_where_each_one_is_on(instance: Instance) -> None:
    assert "Nobody works" in run(["--instance", "test", "stages"])
    rows = instance.rows(instance.stats, "stage", "stage_row")
    for number, name in enumerate((b"ingress_qos", b"ip_filter", b"ip6_filter", b"egress_qos")):
        rows[number].name, rows[number].text = name, b"about it"
    rows[1].registered, rows[3].everywhere = 2, 1
    instance.rows(instance.config, "iface", "iface_row")[1].stages = 0b10
    instance.rows(instance.config, "vrf", "vrf_row")[7].stages = 0b110
    shown = json.loads(run(["--instance", "test", "-j", "stages"]))
    assert shown == [
        {
            "stage": "ip_filter", "text": "about it", "registered": 2, "everywhere": False,
            "interfaces": ["p1"], "vrfs": [7],
        },
        {
            "stage": "ip6_filter", "text": "about it", "registered": 0, "everywhere": False,
            "interfaces": [], "vrfs": [7],
        },
        {
            "stage": "egress_qos", "text": "about it", "registered": 0, "everywhere": True,
            "interfaces": [], "vrfs": [],
        },
    ]  # fmt: skip
    assert len(json.loads(run(["--instance", "test", "-j", "stages", "--all"]))) == 4


def test_plugins_shows_the_counters_of_each(instance: Instance) -> None:
    assert "No plugin" in run(["--instance", "test", "plugins"])
    rows = instance.rows(instance.stats, "plugin", "plugin_row")
    for number, name in enumerate((b"mark", b"marker")):
        rows[number].name, rows[number].version = name, b"1.0"
        rows[number].joined, rows[number].path = b"ip_input ip_filter", b"/x.so"
    instance.reason(0, "marker_other", 0, {0: 9})
    reasons = instance.rows(instance.stats, "reason", "reason_row")
    for number, (counter, kind) in enumerate({"mark_drop": 0, "marker_rule1": 2}.items(), 1):
        instance.reason(number, counter, kind, {0: 3, 5: number})
        reasons[number].plugin = 1
    first, second = json.loads(run(["--instance", "test", "-j", "plugins"]))
    assert first["joined"] == ["ip_input", "ip_filter"]
    assert first["counters"] == [
        {"counter": "drop", "kind": "drop", "count": 4, "text": "about mark_drop"}
    ]
    assert second["counters"] == [
        {"counter": "rule1", "kind": "counter", "count": 5, "text": "about marker_rule1"}
    ]
    assert "marker rule1: 5 about marker_rule1" in run(["--instance", "test", "plugins"])
    # Neither among drops nor exceptions.
    assert [r["reason"] for r in json.loads(run(["--instance", "test", "-j", "drops"]))] == [
        "marker_other",
        "mark_drop",
    ]


# --- filters


def test_a_filter_is_compiled_as_tcpdump_does() -> None:
    assert compiled("") == compiled("  ") == []
    # tcpdump -y EN10MB -ddd ip
    assert compiled("ip") == [(40, 0, 0, 12), (21, 0, 1, 0x800), (6, 0, 0, 262144), (6, 0, 0, 0)]
    with pytest.raises(CliError, match=r"filter 'ip \+'"):
        compiled("ip +")


# --- trace


def put(instance: Instance, worker: int, serial: int, step: int, **fields: object) -> None:
    """A record as a worker writes it."""
    rows = instance.rows(instance.stats, "trace", "trace_row")
    row = rows[worker * lib.TRACE_ROWS + serial % lib.TRACE_ROWS]
    data = fields.pop("data", None)
    if isinstance(data, bytes):
        ffi.memmove(row.data, data, len(data))
        row.n_data, row.len = len(data), len(data)
    for key, value in {"session": 5, "packet": 1, "tsc": serial * 1000, **fields}.items():
        setattr(row, key, value)
    row.step, row.serial = step, serial


def test_a_group_of_next_hops_is_shown_with_its_members(instance: Instance) -> None:
    instance.nexthop(1, "gateway", iface=1, via="192.0.2.2")
    instance.nexthop(2, "gateway", iface=2, via="198.51.100.2")
    row = instance.nexthop(3, "group")
    instance.rows(instance.config, "nexthop", "nexthop_row")[row].group = 1
    group = instance.rows(instance.config, "nexthop_group", "nexthop_group_row")[1]
    group.n = 2
    for member, last in enumerate(((1 << 29) - 1, (1 << 31) - 1)):
        group.member[member].nexthop, group.member[member].last = member + 1, last
    seen = View("test")
    ring = Ring(seen.stats.rows("trace", "struct trace_row"), 0)
    put(instance, 0, 1, lib.TRACE_RECEIVED, port=0, data=PACKET)
    put(instance, 0, 2, lib.TRACE_GROUP, row=row)
    put(instance, 0, 3, lib.TRACE_NEXTHOP, row=2)
    put(instance, 0, 4, lib.TRACE_SENT, port=1, data=PACKET)
    collector = Collector(Names(seen), 5, 1_000_000)
    for record, _ in ring.read():
        assert record is not None
        assert list(collector.add(0, record)) == []
    assert list(collector.ended()) == []
    (packet,) = (packet.row() for packet in collector.ended())
    steps = packet["steps"]
    assert isinstance(steps, list)
    assert steps[1]["members"] == [
        {"via": "192.0.2.2", "interface": "p1", "share": 64},
        {"via": "198.51.100.2", "interface": "p2", "share": 192},
    ]
    text = shown(packet)
    assert "group of 2:" in text
    assert "192/256 via 198.51.100.2 on p2" in text


def test_records_become_packets_with_names_and_times(instance: Instance) -> None:
    instance.neighbour(4, 2, "198.51.100.2", "02:00:00:00:02:02", bucket=9)
    instance.nexthop(2, "gateway", iface=2, via="198.51.100.2", neigh=4)
    instance.reason(3, "ip_ttl", 1, {})
    stage = instance.rows(instance.stats, "stage", "stage_row")[1]
    stage.name, stage.text = b"ip_mss", b"TCP MSS clamp"
    seen = View("test")
    ring = Ring(seen.stats.rows("trace", "struct trace_row"), 0)
    collector = Collector(Names(seen), 5, 1_000_000)
    put(instance, 0, 1, lib.TRACE_RECEIVED, port=0, data=PACKET)
    put(instance, 0, 2, lib.TRACE_IFACE, row=1)
    put(instance, 0, 3, lib.TRACE_NEXTHOP, row=2)
    put(instance, 0, 4, lib.TRACE_STAGE, row=1)
    put(instance, 0, 5, lib.TRACE_NEIGH, row=4)
    put(instance, 0, 6, lib.TRACE_SENT, port=1, data=PACKET)
    put(instance, 0, 7, lib.TRACE_RECEIVED, packet=2, port=1, data=PACKET)
    put(instance, 0, 8, lib.TRACE_TO_LINUX, packet=2, port=1, reason=3)
    put(instance, 0, 9, lib.TRACE_RECEIVED, session=6, data=PACKET)
    packets = [
        packet
        for record, _ in ring.read()
        if record is not None
        for packet in collector.add(0, record)
    ]
    # The second has ended, but something might follow: it's given at the next look.
    assert len(packets) == 1
    assert list(collector.ended()) == []
    packets += collector.ended()
    first, second = (packet.row() for packet in packets)
    assert first["summary"] == "192.0.2.2 port 53 > 203.0.113.1 port 54 UDP"
    assert first["steps"] == [
        {"step": "received", "us": 0.0, "port": "p1", "length": len(PACKET), "data": PACKET.hex()},
        {"step": "interface", "us": 1000.0, "interface": "p1"},
        {"step": "route", "us": 2000.0, "type": "gateway", "via": "198.51.100.2", "interface": "p2"},
        {
            "step": "stage", "us": 3000.0, "stage": "ip_mss", "text": "TCP MSS clamp",
        },
        {
            "step": "neighbour", "us": 4000.0, "address": "198.51.100.2",
            "mac": "02:00:00:00:02:02", "interface": "p2",
        },
        {"step": "sent", "us": 5000.0, "port": "p2", "length": len(PACKET), "data": PACKET.hex()},
    ]  # fmt: skip
    steps = second["steps"]
    assert isinstance(steps, list)
    assert steps[-1] == {
        "step": "to-linux", "us": 1000.0, "port": "p2", "reason": "ip_ttl", "text": "about ip_ttl",
    }  # fmt: skip
    text = shown(first)
    assert "route gateway via 198.51.100.2 on p2" in text
    assert "stage ip_mss (TCP MSS clamp)" in text
    assert "ip_ttl (about ip_ttl)" in shown(second)


def test_overwritten_records_are_told(instance: Instance) -> None:
    seen = View("test")
    ring = Ring(seen.stats.rows("trace", "struct trace_row"), 1)
    for serial in range(1, 2 * lib.TRACE_ROWS + 11):
        put(instance, 1, serial, lib.TRACE_IFACE)
    got = list(ring.read())
    lost = sum(count for _, count in got)
    serials = [int(record.serial) for record, _ in got if record is not None]
    assert lost + len(serials) == 2 * lib.TRACE_ROWS + 10
    assert serials == list(range(serials[0], 2 * lib.TRACE_ROWS + 11))
    assert list(ring.read()) == []


@given(st.binary(max_size=80))
def test_any_frame_has_a_summary(frame: bytes) -> None:
    assert summary(frame)
    assert summary(frame[:12].ljust(12, b"\0") + b"\x08\x00" + frame)
    assert summary(frame[:12].ljust(12, b"\0") + b"\x86\xdd" + frame)
