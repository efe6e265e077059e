"""fp-cli shows what stands in shared memory. No daemon runs: the files are made here."""

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from _sluice import lib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sluice.cli import view
from sluice.cli.cpu_counters import usage
from sluice.cli.discover import commands
from sluice.cli.error import CliError
from sluice.cli.main import run
from sluice.cli.output import aligned

from tests.cli.synthetic import Instance
from tests.lib.product import python_path

MAC1, MAC2 = "02:00:00:00:00:11", "02:00:00:00:00:22"
UP, RUNNING, FORWARD4, RPF = 1, 2, 4, 16


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An instance with two ports and one other link, in a folder of its own."""
    monkeypatch.setattr(view, "SHM_FOLDER", tmp_path)
    monkeypatch.setattr(view, "RUN_FOLDER", tmp_path / "run")
    made = Instance(tmp_path, "test")
    made.link(1, "p1", type=1, port=0, flags=UP | RUNNING | FORWARD4)
    made.link(2, "p2", type=1, port=1, flags=UP)
    made.link(5, "lo", flags=UP | RPF, mtu=65536)
    return made


def table(command: str) -> Any:
    return json.loads(run(["--instance", "test", "-j", *command.split()]))


def text(command: str) -> str:
    return run(["--instance", "test", *command.split()])


def test_interfaces_shows_links_with_their_flags_and_skips_free_rows(instance: Instance) -> None:
    rows = table("interfaces")
    assert [row["name"] for row in rows] == ["p1", "p2", "lo"]
    assert rows[0] == {
        "name": "p1",
        "ifindex": 11,
        "vrf": 0,
        "type": "port",
        "port": 0,
        "kind": "",
        "mac": "00:00:00:00:00:00",
        "mtu": 1500,
        "mtu6": 0,
        "up": True,
        "running": True,
        "forward4": True,
        "forward6": False,
        "flags": [],
        "l3mdev": "",
        "table": None,
    }
    assert (rows[2]["type"], rows[2]["port"], rows[2]["flags"]) == ("linux", None, ["rpf"])


def test_stats_adds_up_the_workers_and_tells_them_apart(instance: Instance) -> None:
    instance.counters(0, 2, tx_packets=5, tx_bytes=500, exceptions=1)
    instance.counters(3, 2, tx_packets=7, tx_bytes=700, rx_dropped=2)
    rows = {row["name"]: row for row in table("stats")}
    assert set(rows) == {"p1", "p2"}, "links that carried nothing and aren't ports are left out"
    assert set(table("stats --all")[2]) == set(rows["p2"])
    p2 = rows["p2"]
    assert (p2["tx_packets"], p2["tx_bytes"], p2["exceptions"], p2["rx_dropped"]) == (
        12,
        1200,
        1,
        2,
    )
    assert [(w["worker"], w["core"], w["tx_packets"]) for w in p2["workers"]] == [
        (0, 1, 5),
        (3, 4, 7),
    ]
    shown = text("stats")
    assert "total: 12 forwarded, 1 handed to Linux, 2 dropped" in shown
    assert "worker 3 on CPU 4: 7 forwarded" in shown


def test_drops_and_exceptions_are_told_apart_and_zeros_left_out(instance: Instance) -> None:
    instance.counters(0, 1)
    instance.counters(1, 1)
    instance.reason(0, "no_mbuf", 0, {0: 0})
    instance.reason(1, "tx_full", 0, {0: 3, 1: 4})
    instance.reason(2, "ip_ttl", 1, {1: 9})
    # Counted by a thread that is no worker.
    instance.reason(3, "tap_full", 0, {2: 5})
    instance.exceptions(2, {(0, 2): 2, (1, 0): 3, (1, 2): 4})
    classes = {"control": 0, "local": 0, "forwarded": 0}
    assert table("drops") == [
        {"reason": "tx_full", "text": "about tx_full", "packets": 7, **classes},
        {"reason": "tap_full", "text": "about tap_full", "packets": 5, **classes},
    ]
    assert table("exceptions") == [
        {
            "reason": "ip_ttl",
            "text": "about ip_ttl",
            "packets": 9,
            "control": 3,
            "local": 0,
            "forwarded": 6,
        }
    ]
    assert "by class: control 3, local 0, forwarded 6" in text("exceptions")
    assert [row["reason"] for row in table("drops --all")] == ["no_mbuf", "tx_full", "tap_full"]


def test_neighbours_follows_chains_and_shows_unresolved_ones(instance: Instance) -> None:
    instance.neighbour(3, 1, "192.0.2.2", MAC1, bucket=7)
    instance.neighbour(4, 2, "2001:db8::2", MAC2, bucket=7)
    instance.neighbour(9, 2, "198.51.100.9", None, bucket=60)
    rows = {row["address"]: row for row in table("neighbours")}
    assert {address: row["mac"] for address, row in rows.items()} == {
        "192.0.2.2": MAC1,
        "2001:db8::2": MAC2,
        "198.51.100.9": None,
    }
    assert rows["192.0.2.2"]["interface"] == "p1"
    assert rows["192.0.2.2"]["state"] == "REACHABLE"
    assert rows["192.0.2.2"]["used"] is None


def test_a_chain_that_bites_its_tail_ends(instance: Instance) -> None:
    instance.neighbour(3, 1, "192.0.2.2", MAC1, bucket=7)
    instance.rows(instance.config, "neigh", "neigh_row")[3].next = 3
    assert table("neighbours")[0]["address"] == "192.0.2.2"


def test_route_get_names_the_neighbour_that_a_packet_would_go_to(instance: Instance) -> None:
    instance.neighbour(3, 1, "192.0.2.2", MAC1, bucket=7)
    instance.neighbour(4, 2, "198.51.100.2", MAC2, bucket=9)
    connected = instance.nexthop(1, "connected", iface=1)
    gateway = instance.nexthop(2, "gateway", iface=2, via="198.51.100.2", neigh=4)
    instance.route(4, 0xC0000200, 24, connected)
    instance.route(4, 0xCB007100, 24, gateway)
    got = table("route get 192.0.2.2")
    assert got == [
        {
            "address": "192.0.2.2",
            "prefix": "192.0.2.0/24",
            "family": 4,
            "vrf": 0,
            "table": 254,
            "type": "connected",
            "via": None,
            "interface": "p1",
            "share": None,
            "mtu": None,
            "mac": MAC1,
        }
    ]
    assert table("route get 192.0.2.3")[0]["mac"] is None
    far = table("route get 203.0.113.5")[0]
    assert (far["via"], far["mac"], far["interface"]) == ("198.51.100.2", MAC2, "p2")
    assert table("route get 10.0.0.1") == []
    assert "No route" in text("route get 10.0.0.1")


def test_a_multipath_route_shows_each_next_hop_and_its_share(instance: Instance) -> None:
    instance.nexthop(1, "gateway", iface=1, via="192.0.2.2")
    instance.nexthop(2, "connected", iface=2)
    made = instance.rows(instance.config, "nexthop_group", "nexthop_group_row")[1]
    made.n = 2
    for member, last in enumerate(((1 << 29) - 1, (1 << 31) - 1)):
        made.member[member].nexthop, made.member[member].last = member + 1, last
    group = instance.nexthop(3, "group")
    instance.rows(instance.config, "nexthop", "nexthop_row")[group].group = 1
    instance.route(4, 0xCB007100, 24, group)
    (row,) = table("routes")
    assert (row["type"], row["via"], row["interface"], row["share"]) == (
        "multipath",
        ["192.0.2.2", None],
        ["p1", "p2"],
        [64, 192],
    )
    assert "p1,p2" in text("routes")
    assert table("route get 203.0.113.9")[0]["mac"] is None


def prefixes(size: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Prefixes that share their first bits often enough to lie in each other."""
    one = st.tuples(
        st.integers(0, 3), st.integers(0, (1 << (size - 14)) - 1), st.integers(0, size)
    ).map(lambda t: (((t[0] << (size - 2)) | t[1]) >> (size - t[2]) << (size - t[2]), t[2]))
    return st.lists(one, max_size=6, unique=True)


@pytest.mark.parametrize("version", [4, 6])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_routes_are_read_out_of_the_tries_as_they_were_put_in(
    version: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = 32 if version == 4 else 128
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    wanted = data.draw(prefixes(size))
    folder = tmp_path_factory.mktemp("shm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "SHM_FOLDER", folder)
        made = Instance(folder, "test")
        made.link(1, "p1", type=1)
        for number, (address, plen) in enumerate(sorted(wanted, key=lambda p: p[1]), 1):
            made.route(version, address, plen, made.nexthop(number, "connected", iface=1))
        shown = {row["prefix"] for row in table(f"routes -{version}")}

        def words(address: int, plen: int) -> str:
            return f"{socket.inet_ntop(family, address.to_bytes(size // 8))}/{plen}"

        assert shown <= {words(*prefix) for prefix in wanted}
        for address, plen in wanted:
            # Any address's longest match, by the naive way.
            probe = address | data.draw(st.integers(0, (1 << (size - plen)) - 1))
            best = max(
                (p for p in wanted if probe >> (size - p[1]) == p[0] >> (size - p[1])),
                key=lambda p: p[1],
            )
            target = socket.inet_ntop(family, probe.to_bytes(size // 8))
            assert table(f"route get {target}")[0]["prefix"] == words(*best)
            assert words(*best) in shown


def test_routes_can_be_limited_to_a_prefix_and_its_parts(instance: Instance) -> None:
    hop = instance.nexthop(1, "local")
    for address, plen in ((0x0A000000, 8), (0x0A010000, 16), (0x0A010100, 24), (0xC0000200, 24)):
        instance.route(4, address, plen, hop)
    assert [row["prefix"] for row in table("routes 10.1.0.0/16")] == ["10.1.0.0/16", "10.1.1.0/24"]
    assert table("routes 2001:db8::/32") == []
    assert len(table("routes")) == 4


def test_tables_show_their_filling(instance: Instance) -> None:
    from _sluice import lib

    lib.shm_count(lib.shm_find(instance.config, b"nexthop"), 16)
    lib.shm_count(lib.shm_find(instance.config, b"nexthop"), -8)
    row = next(row for row in table("tables") if row["table"] == "nexthop")
    assert (row["used"], row["most"], row["capacity"], row["fill"]) == (8, 16, 64, 12.5)


def test_status_sees_who_holds_a_lock(instance: Instance, tmp_path: Path) -> None:
    from _sluice import ffi, lib

    (tmp_path / "run/test").mkdir(parents=True)
    path = str(tmp_path / "run/test/fpmd.lock").encode()
    assert not lib.lock_take(path, b"fpmd", b"test", ffi.NULL)
    rows = {row["daemon"]: row for row in table("status")}
    assert (rows["fpmd"]["alive"], rows["fpmd"]["pid"]) == (True, os.getpid())
    assert rows["fpmd"]["created"] > 0
    assert (rows["fp-rte"]["alive"], rows["fp-rte"]["pid"]) == (False, None)


# --- errors


def error(*words: str) -> CliError:
    with pytest.raises(CliError) as caught:
        run(list(words))
    assert caught.value.hint, "each error has a hint"
    assert "\n" not in caught.value.text + caught.value.hint
    return caught.value


def test_an_unknown_instance_is_named_with_those_that_are_there(instance: Instance) -> None:
    found = error("--instance", "nosuch", "stats")
    assert found.text == "there is no instance 'nosuch'"
    assert "test" in found.hint


def test_a_table_of_another_version_is_named(instance: Instance, tmp_path: Path) -> None:
    with (tmp_path / "sluice.test").open("r+b") as file:
        at = file.read(8192).index(b"nexthop".ljust(24, b"\0"))
        file.seek(at + 24)
        file.write(struct.pack("<I", 7))
    found = error("--instance", "test", "routes")
    assert "table 'nexthop' is version 7" in found.text
    assert "another Sluice version" in found.hint


@pytest.mark.parametrize("content", [b"", b"junk" * 5000], ids=["empty", "junk"])
def test_a_file_that_is_no_shared_memory_is_named(
    instance: Instance, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sluice.test").unlink()
    (tmp_path / "sluice.test").write_bytes(content)
    with pytest.raises(CliError, match=r"sluice\.test is no Sluice shared memory"):
        run(["--instance", "test", "interfaces"])


def test_a_missing_half_is_named_with_who_makes_it(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "sluice.test.stats").unlink()
    assert "fp-rte" in error("--instance", "test", "drops").hint
    assert table("interfaces"), "what's there can be seen"


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        [],
        ["route"],
        ["--bogus"],
        ["routes", "1.2.3.4.5"],
        ["routes", "192.0.2.0/33"],
        ["routes", "192.0.2.0/"],
        ["routes", "::/129"],
        ["route", "get", "192.0.2.1", "--vrf", "100000"],
        ["route", "get", "192.0.2.1", "--vrf", "-1"],
    ],
)
def test_wrong_words_are_refused(instance: Instance, words: list[str]) -> None:
    error("--instance", "test", *words)


def test_the_program_prints_one_line_and_a_hint_and_exits_with_1(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice.cli.main", "--instance", "no-such-instance", "stats"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(python_path())},
        check=False,
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["fp-cli", "error"], ["fp-cli", "hint"]]
    assert not done.stdout


# --- for people


def test_every_command_explains_itself_and_shows_keys_that_it_has(instance: Instance) -> None:
    instance.counters(0, 1)
    instance.reason(0, "no_mbuf", 0, {0: 1})
    instance.reason(1, "ip_ttl", 1, {0: 1})
    instance.neighbour(3, 1, "192.0.2.2", MAC1, bucket=7)
    instance.route(4, 0, 0, instance.nexthop(1, "gateway", iface=1, via="192.0.2.2", neigh=3))
    instance.rows(instance.stats, "port_state", "port_state_row")[0].name = b"p1"
    instance.rows(instance.stats, "ring", "ring_row")[0].name = b"captures"
    instance.rows(instance.config, "mss", "mss_row")[1].clamp = 1400
    instance.rows(instance.stats, "stage", "stage_row")[0].name = b"ip_filter"
    instance.rows(instance.stats, "plugin", "plugin_row")[0].name = b"marker"
    instance.rows(instance.config, "vrf", "vrf_row")[0].rules4 = 1
    rules = instance.rows(instance.config, "rule_set", "rule_set_row")[1]
    rules.n, rules.rule[0].entry.action = 1, lib.FPC_RULE_BLACKHOLE
    sa = instance.rows(instance.config, "ipsec_sa", "ipsec_sa_row")[1]
    sa.generation, sa.family = 1, socket.AF_INET
    policy = instance.rows(instance.config, "ipsec_policy", "ipsec_policy_row")[1]
    policy.used, policy.sel.family = 1, socket.AF_INET
    extra = {"route get": "route get 192.0.2.2", "stages": "stages --all"}
    for name, command in commands().items():
        assert command.help
        if name in ("refused", "status") or command.follow:
            continue  # asks daemons, or goes on (test_looking_on.py)
        rows = table(extra.get(name, name))
        assert rows, f"{name} shows nothing here"
        assert all(key in row for row in rows for key, _ in command.columns), name
        assert len({tuple(row) for row in rows}) == 1, f"{name}: not all rows have the same keys"
        assert text(extra.get(name, name)).splitlines()[0].startswith(command.columns[0][1])


def test_tables_for_people_are_aligned() -> None:
    rows: list[dict[str, object]] = [
        {"name": "a", "count": 5, "share": 0.25, "tags": ["x", "y"]},
        {"name": "longer", "count": None, "share": 10.0, "tags": []},
    ]
    columns = (("name", "NAME"), ("count", "COUNT"), ("share", "%"), ("tags", "TAGS"))
    assert aligned(rows, columns).splitlines() == [
        "NAME    COUNT     %  TAGS",
        "a           5   0.2  x,y",
        "longer      -  10.0  -",
    ]


def test_cpu_usage_is_what_happened_between_two_readings() -> None:
    keys = (
        "packets", "from_linux", "given", "taken", "busy_cycles", "idle_cycles", "sleep_cycles",
    )  # fmt: skip
    before = {(0, 1): dict(zip(keys, (100, 0, 0, 0, 1000, 1000, 1000), strict=True))}
    after = {
        (0, 1): dict(zip(keys, (300, 50, 20, 250, 26000, 26000, 51000), strict=True)),
        (1, 2): dict.fromkeys(keys, 0),
    }
    rows = usage(before, after, 2.0)
    assert rows[0] == {
        "worker": 0,
        "core": 1,
        "busy": 25.0,
        "idle": 25.0,
        "sleep": 50.0,
        "packets": 100,
        "from_linux": 25,
        "given": 10,
        "taken": 125,
        "cycles": 50,
    }
    assert (rows[1]["busy"], rows[1]["cycles"]) == (0.0, None)
