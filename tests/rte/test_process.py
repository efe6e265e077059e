# SPDX-License-Identifier: BSD-3-Clause
"""fp-rte as a process: its ports in Linux, what survives it, what it refuses. Without cmgrd: every packet is an
exception, so that the way between ports and TAPs stands alone.

    pcap file ==> in   fp-rte   out ==> pcap file        in, out: TAPs in Linux
"""

import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import rdpcap, wrpcap

from lab import netns
from lab.proc import Completed, run, wait_for
from tests.lib import product
from tests.lib.daemon import Daemon
from tests.lib.fastpath import FastPath
from tests.lib.rig import instance_files
from tests.lib.traffic import sockets

pytestmark = pytest.mark.functional
serial = itertools.count(1)
SIZES = [0, 1, 2, 3, 700, 1471, 1472]


class Place:
    """A namespace with an fpmd, and fp-rte to be started in it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.name = f"t{os.getpid()}r{next(serial)}"
        self.env = work / "fast-path.env"
        self.fast_path = FastPath(self.name)
        self.fpmd = self.daemon("fpmd")
        self.rte = self.daemon("fp-rte")

    def daemon(self, program: str, log: str = "") -> Daemon:
        options = ["--instance", self.name, "--env", str(self.env)]
        path = self.work / f"{log or program}.log"
        return Daemon(program, options, namespace=self.name, log=path)

    def settings(self, ports: str, **more: str) -> None:
        values = {"FP_PORTS": ports, "FP_HUGEPAGES": "no", "FP_MBUFS": "8192"} | more
        self.env.write_text("".join(f'{key}="{value}"\n' for key, value in values.items()))

    def start(self, ports: str, **more: str) -> None:
        self.settings(ports, **more)
        self.fpmd.start()
        self.start_rte()

    def start_rte(self) -> None:
        self.rte.start()
        wait_for(
            lambda: self.rte.log.read_text().count("forwarding between") > self.before(),
            "fp-rte to forward",
            timeout=30,
            interval=0.05,
            hint=f"see {self.rte.log}",
        )
        self.starts += 1

    starts = 0

    def before(self) -> int:
        assert self.rte.alive, self.rte.log.read_text()
        return self.starts

    def moves(self) -> int:
        """How often fp-rte took over another config file."""
        return self.rte.log.read_text().count("forwarding from fpmd's new")

    def refused(self) -> list[str]:
        """What fp-rte says when it doesn't start."""
        other = self.daemon("fp-rte", "refused")
        other.log.unlink(missing_ok=True)
        other.start()
        assert other.process is not None
        assert other.process.wait(30) == 1
        lines = other.log.read_text().splitlines()
        return [line for line in lines if line.startswith("fp-rte: ")]

    def check(self) -> Completed:
        words = [*product.program("fp-rte"), "--check", *self.rte.options]
        return run(["ip", "netns", "exec", self.name, *words], check=False)

    def ip(self, command: str) -> str:
        return run(["ip", "-n", self.name, *command.split()]).stdout

    def taps(self) -> dict[str, dict[str, object]]:
        links = json.loads(self.ip("-j -d link"))
        return {x["ifname"]: x for x in links if x.get("linkinfo", {}).get("info_kind") == "tun"}

    def port(self, name: str) -> dict[str, Any]:
        rows = self.fast_path.table("ports")
        return next(row for row in rows if row["name"] == name)

    def wait_for_port(self, name: str, field: str, least: int) -> None:
        wait_for(
            lambda: self.port(name)[field] >= least,
            f"{least} {field} of port {name}",
            timeout=10,
            interval=0.05,
        )


@contextmanager
def made(work: Path) -> Iterator[Place]:
    work.mkdir(exist_ok=True)
    place = Place(work)
    netns.create(place.name)
    run(
        ["ip", "netns", "exec", place.name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]
    )
    try:
        yield place
    finally:
        for daemon in (place.rte, place.fpmd):
            daemon.stop()
        netns.remove(place.name)
        for path in instance_files(place.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def place(evidence: Path) -> Iterator[Place]:
    with made(evidence) as place:
        yield place


def frames(count: int, size: int = 64, dst: str = "02:00:00:00:00:01") -> list[Ether]:
    head = Ether(dst=dst, src="02:00:00:00:00:02") / IP(src="192.0.2.2", dst="192.0.2.1") / UDP()
    return [head / Raw(struct.pack("!I", i).ljust(size - 42, b"x")) for i in range(count)]


# --- what a port is in Linux


def test_each_port_is_a_persistent_tap_with_the_ports_name(place: Place) -> None:
    place.start("red=net_null0,no-rx=1 blue=net_ring0")
    taps = place.taps()
    assert set(taps) == {"red", "blue"}
    for tap in taps.values():
        assert tap["linkinfo"]["info_data"]["persist"]  # type: ignore[index]
        assert tap["mtu"] == 1500
    assert place.port("red")["backend"] == "queue"
    assert place.port("red")["mac"] == taps["red"]["address"]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_linux_knows_of_a_tap_outlives_fp_rte(place: Place, how: str) -> None:
    place.start("red=net_null0,no-rx=1")
    place.ip("link set dev red up mtu 1400 address 02:00:00:00:00:77")
    place.ip("addr add 192.0.2.1/24 dev red")
    place.ip("route add 203.0.113.0/24 via 192.0.2.2")
    before = place.taps()["red"]
    assert getattr(place.rte, how)() in (None, 0)
    assert "192.0.2.1" in place.ip("addr show dev red")
    place.start_rte()
    after = place.taps()["red"]
    for key in ("ifindex", "address", "mtu"):
        assert after[key] == before[key], key
    assert "203.0.113.0/24 via 192.0.2.2" in place.ip("route")


def test_carrier_follows_fp_rte_and_the_link(place: Place) -> None:
    place.ip("link add wire type veth peer name far")
    place.ip("link set dev far up")
    place.start("red=net_af_xdp0,iface=wire,start_queue=0,queue_count=1")
    place.ip("link set dev red up")

    def carrier(wanted: bool, what: str) -> None:
        wait_for(
            lambda: ("LOWER_UP" in place.ip("link show dev red")) == wanted,
            what,
            timeout=5,
            interval=0.05,
        )

    carrier(True, "carrier")
    place.ip("link set dev far down")
    carrier(False, "loss of carrier with the link")
    place.ip("link set dev far up")
    carrier(True, "carrier with the link")
    place.rte.kill()
    carrier(False, "loss of carrier with fp-rte")


# --- packets


def test_packets_reach_linux_as_they_came(place: Place) -> None:
    sent = [frame for size in (60, 61, 100, 1514) for frame in frames(20, size)]
    wrpcap(str(place.work / "in.pcap"), sent)
    # A TAP takes packets once it's up; the receiver plays the file once, from the start.
    place.ip("tuntap add dev red mode tap vnet_hdr")
    place.ip("link set dev red up")
    capture = subprocess.Popen(
        [
            *("ip", "netns", "exec", place.name, "tcpdump", "-Uni", "red"),
            *("-w", str(place.work / "tap.pcap"), "-c", str(len(sent)), "udp"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert capture.stderr is not None
    while "listening on" not in capture.stderr.readline():
        assert capture.poll() is None
    try:
        place.start(f"red=net_pcap0,rx_pcap={place.work}/in.pcap,tx_pcap={place.work}/out.pcap")
        place.wait_for_port("red", "to_linux_packets", len(sent))
        capture.wait(10)
    finally:
        capture.kill()
        capture.wait()
    got = rdpcap(str(place.work / "tap.pcap"))
    assert [bytes(frame) for frame in got] == [bytes(frame) for frame in sent]


def test_packets_of_linux_leave_the_port_with_whole_checksums(place: Place) -> None:
    wrpcap(str(place.work / "in.pcap"), [])
    place.start(f"red=net_pcap0,rx_pcap={place.work}/in.pcap,tx_pcap={place.work}/out.pcap")
    place.ip("link set dev red up")
    place.ip("addr add 192.0.2.1/24 dev red")
    place.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev red")
    with sockets(place.name, socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for size in SIZES:
            sender.sendto(b"\xa5" * size, ("192.0.2.2", 9))
    place.wait_for_port("red", "tx_packets", len(SIZES))
    assert place.rte.stop() == 0
    got = [frame for frame in rdpcap(str(place.work / "out.pcap")) if UDP in frame]
    assert [frame[UDP].len - 8 for frame in got] == SIZES
    for frame in got:
        assert frame.dst == "02:00:00:00:00:02"
        there = frame[UDP].chksum
        assert there
        del frame[UDP].chksum
        assert Ether(bytes(frame))[UDP].chksum == there


def test_two_fast_paths_are_joined_by_shared_memory(place: Place, tmp_path: Path) -> None:
    """net_memif, both roles; Linux to Linux through two fast paths."""
    socket_path = f"socket={tmp_path}/memif.sock,socket-abstract=no"
    with made(place.work / "client") as other:
        place.start(f"red=net_memif0,role=server,{socket_path}")
        other.start(f"blue=net_memif0,role=client,{socket_path}")
        for one, name, address in ((place, "red", "192.0.2.1"), (other, "blue", "192.0.2.2")):
            one.ip(f"link set dev {name} up")
            one.ip(f"addr add {address}/24 dev {name}")
        place.wait_for_port("red", "link", True)
        ping = "ping -n -c 5 -i 0.1 -W 5 192.0.2.2"
        assert "5 received" in run(["ip", "netns", "exec", place.name, *ping.split()]).stdout
        assert other.port("blue")["to_linux_packets"] >= 5
        assert place.port("red")["from_linux_packets"] >= 5


def test_exceptions_stay_within_the_ports_budget(place: Place) -> None:
    wrpcap(str(place.work / "in.pcap"), frames(64))
    ports = f"red=net_pcap0,rx_pcap={place.work}/in.pcap,infinite_rx=1"
    place.ip("tuntap add dev red mode tap vnet_hdr")
    place.ip("link set dev red up")
    place.start(ports, FP_EXCEPTION_RATE="1000")
    place.wait_for_port("red", "to_linux_packets", 1)
    before, start = place.fast_path.counters(), time.monotonic()
    place.wait_for_port("red", "to_linux_packets", place.port("red")["to_linux_packets"] + 2000)
    taken, seconds = place.fast_path.counters() - before, time.monotonic() - start
    assert taken.reasons["exception_budget"] > taken.exceptions, "no flood: it proves nothing"
    # A tenth of a second's packets may come at once; reading two sets of counters takes its time as well.
    assert taken.exceptions < 1000 * (seconds + 0.5)
    assert taken.exceptions > 1000 * (seconds - 0.5) / 2


def test_counters_go_on_after_a_restart(place: Place) -> None:
    wrpcap(str(place.work / "in.pcap"), frames(50))
    place.start(f"red=net_pcap0,rx_pcap={place.work}/in.pcap,tx_pcap={place.work}/out.pcap")
    place.wait_for_port("red", "rx_packets", 50)
    place.rte.kill()
    place.start_rte()
    place.wait_for_port("red", "rx_packets", 100)
    assert place.port("red")["rx_packets"] == 100


def test_workers_without_a_transmit_queue_hand_over_to_one_that_has(place: Place) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    assert len(cpus) > 1, "this needs two CPUs"
    for number in (1, 2):
        place.ip(f"link add wire{number} type veth peer name far{number}")
        place.ip(f"link set dev far{number} up")
    # A queue each: worker 0 receives from red and owns both transmit queues, worker 1 receives from blue.
    ports = " ".join(
        f"{name}=net_af_xdp{i},iface=wire{i + 1},start_queue=0,queue_count=1"
        for i, name in enumerate(("red", "blue"))
    )
    place.start(ports, FP_CORES=f"{cpus[0]},{cpus[1]}")
    place.ip("link set dev red up")
    place.ip("link set dev blue up")
    place.ip("addr add 192.0.2.1/24 dev blue")
    place.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev blue")
    # Linux's packets for blue go by worker 1, which has no transmit queue.
    before = place.port("blue")["tx_packets"]
    run(
        [
            "ip",
            "netns",
            "exec",
            place.name,
            "ping",
            "-c",
            "3",
            "-i",
            "0.1",
            "-W",
            "0.1",
            "192.0.2.2",
        ],
        check=False,
    )
    place.wait_for_port("blue", "tx_packets", before + 3)


# --- the config file


def test_a_new_config_file_is_taken_over_while_packets_flow(place: Place) -> None:
    wrpcap(str(place.work / "in.pcap"), frames(64))
    place.start(f"red=net_pcap0,rx_pcap={place.work}/in.pcap,infinite_rx=1")
    path = Path(f"/dev/shm/sluice.{place.name}")
    copy = Path(f"{path}.copy")
    for number in range(1, 4):
        shutil.copyfile(path, copy)
        copy.rename(path)
        wait_for(
            lambda number=number: place.moves() == number,  # type: ignore[misc]
            "the new file in use",
            timeout=10,
            interval=0.05,
        )
    received = place.port("red")["rx_packets"]
    place.wait_for_port("red", "rx_packets", received + 1000)
    assert place.rte.alive


def test_a_config_file_of_another_layout_ends_fp_rte_with_one_line(place: Place) -> None:
    place.start("red=net_null0,no-rx=1")
    path = Path(f"/dev/shm/sluice.{place.name}")
    data = bytearray(path.read_bytes())
    at = data.index(b"iface".ljust(24, b"\0"), 0, 8192) + 24
    data[at : at + 4] = struct.pack("<I", 99)
    other = Path(f"{path}.other")
    other.write_bytes(data)
    other.rename(path)
    assert place.rte.process is not None
    assert place.rte.process.wait(10) == 1
    lines = [x for x in place.rte.log.read_text().splitlines() if x.startswith("fp-rte: ")]
    assert len(lines) == 2
    assert "table 'iface' is version 99" in lines[0]


# --- refusals: the exact line, and nothing left behind


@pytest.mark.parametrize(
    ("ports", "line"),
    [
        ("a=net_null0 a=net_null1", "FP_PORTS: two ports are named 'a'"),
        (
            "a234567890123456=net_null0",
            "FP_PORTS: port name 'a234567890123456' is longer than 15 characters",
        ),
        ("lan0=net_null0", "port lan0: Linux has another interface of that name"),
        ("a=net_nul0", "FP_PORTS: 'net_nul0' is neither a PCI address nor a virtual device"),
        ("a=0000:ff:1f.7", "FP_PORTS: there is no PCI device 0000:ff:1f.7"),
        ("a=net_af_xdp0,iface=nix", "port a: there is no interface nix in Linux"),
    ],
)
def test_a_port_that_cannot_be_is_refused(place: Place, ports: str, line: str) -> None:
    place.ip("link add lan0 type veth peer name lan1")
    place.settings(ports)
    place.fpmd.start()
    said = place.refused()
    assert said[0] == f"fp-rte: error: {line}"
    assert len(said) == 2
    assert said[1].startswith("fp-rte: hint: ")
    assert place.taps() == {}
    assert not Path(f"/dev/shm/sluice.{place.name}.stats").exists()


def test_a_device_that_does_not_open_leaves_no_tap_of_the_others(place: Place) -> None:
    place.settings(f"a=net_null0,no-rx=1 b=net_pcap0,rx_pcap={place.work}/missing.pcap")
    place.fpmd.start()
    said = place.refused()
    assert said[0].startswith("fp-rte: error: port b: can't ")
    assert len(said) == 2
    assert place.taps() == {}
    assert not Path(f"/dev/shm/sluice.{place.name}.stats").exists()


def test_a_second_fp_rte_of_an_instance_is_refused(place: Place) -> None:
    place.start("red=net_null0,no-rx=1")
    said = place.refused()
    assert said == [
        f"fp-rte: error: another fp-rte runs for instance '{place.name}', process {place.rte.pid}",
        "fp-rte: hint: stop it, or choose another --instance",
    ]
    assert place.rte.alive
    assert set(place.taps()) == {"red"}


def test_without_fpmd_it_gives_up_after_ten_seconds(place: Place) -> None:
    place.settings("red=net_null0,no-rx=1")
    assert place.refused() == [
        f"fp-rte: error: fpmd hasn't made /dev/shm/sluice.{place.name} within 10 s",
        f"fp-rte: hint: start fpmd of instance '{place.name}' first",
    ]
    assert place.taps() == {}


def test_check_says_what_would_be_used_and_changes_nothing(place: Place) -> None:
    place.settings("red=net_null0,no-rx=1", FP_CORES="0")
    files = instance_files(place.name)
    done = place.check()
    assert done.returncode == 0, done.stderr
    assert "red             net_null0,no-rx=1; name from FP_PORTS" in done.stdout
    assert "FP_CORES             0                            as set" in done.stdout
    assert "FP_MTU               1500                         auto" in done.stdout
    assert place.taps() == {}
    assert {p for p in instance_files(place.name) if p.is_file()} == {
        p for p in files if p.is_file()
    }


def test_check_names_all_that_is_wrong(place: Place) -> None:
    place.settings("red=net_null0 red=net_null1 x=net_nix0", FP_CORES="9999,1023")
    done = place.check()
    assert done.returncode == 1
    errors = [x for x in done.stderr.splitlines() if x.startswith("fp-rte: error: ")]
    assert errors == [
        "fp-rte: error: FP_PORTS: 'net_nix0' is neither a PCI address nor a virtual device",
        "fp-rte: error: FP_PORTS: two ports are named 'red'",
        "fp-rte: error: FP_CORES: '9999,1023' is no list of CPUs",
    ]
