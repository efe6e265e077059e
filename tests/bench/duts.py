# SPDX-License-Identifier: BSD-3-Clause
"""The devices under test: one process (group) each, packets from a pcap file without end in, none out.

A device is started and filled once per case and then stopped with SIGSTOP; a round lets one run at a
time. Worker threads are pinned to one CPU, everything else to another.
"""

import contextlib
import ipaddress
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.bench.traffic import PEER_MAC, PORT_MAC, Case, prefixes

WORKER_CPU = 1
CONTROL_CPU = 0
START_SECONDS = 120
MAC = PEER_MAC.hex(":")
PORT_MAC_TEXT = PORT_MAC.hex(":")


class UnavailableError(Exception):
    """The device can't be measured here; the text says why."""


class Dut(Protocol):
    """What the benchmark needs of a device."""

    name: str
    # Of the last start: time on the wall and of CPUs from the first route to the last; 0: it has no routes.
    insert_seconds: float
    insert_cpu_seconds: float

    def start(self, case: Case, pcap: Path) -> None:
        """Start it and give it the case's routes; raise UnavailableError."""

    def packets(self) -> int:
        """Return how many packets it has sent (or received, where it only moves them) so far."""

    def pids(self) -> list[int]:
        """Return the processes to stop between rounds."""

    def measured(self) -> list[int]:
        """Return the processes whose busiest thread forwards."""

    def stop(self) -> None:
        """End it; safe after a failed start."""


def address_text(case: Case, address: int) -> str:
    """Return an address as text."""
    return str(
        ipaddress.IPv4Address(address) if case.family == 4 else ipaddress.IPv6Address(address)
    )


def wait_for(what: str, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Poll ready() until it is true; raise UnavailableError naming what, after seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise UnavailableError(f"{what} took more than {seconds:.0f} s")
        time.sleep(0.1)


def stop_process(process: subprocess.Popen[str] | None) -> None:
    """End a process that may be stopped, already gone or never started."""
    if process is None or process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Testpmd:
    """DPDK's own forwarder: the floor. io moves packets untouched, macswap writes their Ethernet header."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.insert_seconds = self.insert_cpu_seconds = 0.0
        self.name = f"testpmd-{mode}"
        self.process: subprocess.Popen[str] | None = None

    def start(self, case: Case, pcap: Path) -> None:
        """Start testpmd; the case's routes mean nothing to it."""
        if not shutil.which("dpdk-testpmd"):
            raise UnavailableError("dpdk-testpmd isn't installed")
        mbufs = 16384 + 2 * case.destinations
        command = [
            "stdbuf",
            "-oL",
            "dpdk-testpmd",
            "-l",
            f"{CONTROL_CPU},{WORKER_CPU}",
            "--no-pci",
            "--in-memory",
        ]
        command += [f"--vdev=net_pcap0,rx_pcap={pcap},infinite_rx=1", "--vdev=net_null1,no-rx=1"]
        command += ["--", "-i", "--nb-cores=1", f"--forward-mode={self.mode}"]
        command += [f"--total-num-mbufs={mbufs}", "--no-lsc-interrupt", "--burst=64"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._tell("set promisc all on\nstart")
        self.packets()

    def _tell(self, commands: str) -> None:
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(commands + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise UnavailableError(
                f"dpdk-testpmd ended with status {self.process.poll()}"
            ) from error

    def packets(self) -> int:
        """Return the packets received from the pcap port."""
        assert self.process and self.process.stdout
        self._tell("show port stats 0")
        found = None
        for line in self.process.stdout:
            found = re.search(r"RX-packets: (\d+)", line) or found
            if found and "####" in line:
                return int(found[1])
        raise UnavailableError(f"dpdk-testpmd ended with status {self.process.poll()}")

    def pids(self) -> list[int]:
        """Return testpmd's process."""
        return [self.process.pid] if self.process else []

    measured = pids

    def stop(self) -> None:
        """End testpmd."""
        stop_process(self.process)


class Grout:
    """DPDK's graph router, Debian sid's package."""

    name = "grout"

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "grout.sock"
        self.log = folder / "grout.log"
        self.insert_seconds = self.insert_cpu_seconds = 0.0
        self.process: subprocess.Popen[str] | None = None

    def _cli(self, commands: list[str], timeout: float = 300) -> str:
        done = subprocess.run(
            ["grcli", "-j", "-s", str(self.socket), "-e", "-f", "/dev/stdin"],
            input="\n".join(commands) + "\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise UnavailableError(f"grcli: {done.stdout.strip().splitlines()[-1:]}")
        return done.stdout

    def start(self, case: Case, pcap: Path) -> None:
        """Start grout polling, with one worker, and add the routes through one next hop with a static MAC."""
        if not shutil.which("grout"):
            raise UnavailableError("grout isn't installed")
        self.socket.unlink(missing_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                f"taskset -c {CONTROL_CPU},{WORKER_CPU} grout -s {self.socket} -M :0 -p".split(),
                stdout=log,
                stderr=log,
                text=True,
            )
        wait_for("grout's start", self.socket.exists, 30)
        # The first port makes the VRF.
        commands = ["interface add port p1 devargs net_null1,no-rx=1 up"]
        if case.routes > 1:
            kind = "rib4-routes" if case.family == 4 else "rib6-routes"
            commands.append(f"interface set vrf main {kind} {case.routes * 5 // 4}")
        commands.append(f"interface add port p0 devargs net_pcap0,rx_pcap={pcap},infinite_rx=1 up")
        if case.family == 4:
            commands += ["address add 192.0.2.1/24 iface p0", "address add 203.0.113.1/24 iface p1"]
            gateway = "203.0.113.2"
        else:
            commands += [
                "address add 2001:db9::1/64 iface p0",
                "address add 2001:db9:1::1/64 iface p1",
            ]
            gateway = "2001:db9:1::2"
        commands.append(f"nexthop add l3 iface p1 id 45 address {gateway} mac {MAC}")
        self._cli(commands)
        routes = [
            f"route add {address_text(case, address)}/{plen} via id 45"
            for address, plen in prefixes(case)
        ]
        before, start = self._control_seconds(), time.monotonic()
        self._cli(routes)
        self.insert_seconds = time.monotonic() - start
        self.insert_cpu_seconds = self._control_seconds() - before

    def _control_seconds(self) -> float:
        """CPU time of the main thread, which has the routes; the worker polls in another."""
        assert self.process
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/schedstat")
        return int(task.read_text().split()[0]) / 1e9

    def packets(self) -> int:
        """Return the packets sent on p1."""
        for row in json.loads(self._cli(["interface stats"], 10).strip() or "[]"):
            if row["interface"] == "p1":
                return int(row["tx_packets"])
        raise UnavailableError("grout shows no statistics of p1")

    def pids(self) -> list[int]:
        """Return grout's process."""
        return [self.process.pid] if self.process else []

    measured = pids

    def stop(self) -> None:
        """End grout."""
        stop_process(self.process)
        with contextlib.suppress(OSError):
            self.socket.unlink()
