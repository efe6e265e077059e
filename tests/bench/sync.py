# SPDX-License-Identifier: BSD-3-Clause
"""What a million routes cost on their way from the kernel into the fast path (`make bench-sync`).

A router with the fast path on, in a namespace; routes come by `ip -batch`, and from FRR as it is, by BGP (Debian's
package has no sharpd, whose `sharp install routes` would do the same without a neighbour). Measured: how long after
the kernel had the last one the fast path looks it up (in the trie that packets are looked up in), the CPU time that the
kernel spent on it (the system time of who installed them) and that cmgrd and fpmd spent together, and cmgrd's peak
memory. A benchmark, not a test: it judges nothing but that all routes have arrived. Results: a line each, and
build/bench/sync.json.
"""

import argparse
import contextlib
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.frr import Frr
from tests.lib.daemon import Daemon
from tests.lib.rig import RIGHT, Driver, Rig
from tests.lib.traffic import Stream, sockets

TOP = Path(__file__).resolve().parents[2]
RESULT = TOP / "build/bench/sync.json"
GATEWAYS = 64
FIRST = 0x10000000  # 16.0.0.0
LIMIT_SECONDS = 900
AS_NUMBER = 65002  # the announcing neighbour's
CONFIGURATION = f"""
router bgp 65001
 no bgp ebgp-requires-policy
 neighbor {RIGHT.host4} remote-as {AS_NUMBER}
exit
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case."""

    case: str
    routes: int
    lag_seconds: float
    kernel_seconds: float  # from the first route to the last one
    kernel_cpu_seconds: float
    sync_cpu_seconds: float
    cmgrd_cpu_seconds: float
    fpmd_cpu_seconds: float
    cmgrd_peak_mib: float
    load: float


def progress(text: str) -> None:
    """Tell what a long step is doing."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)


def text_of(address: int) -> str:
    """An IPv4 address."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def cpu_of(pid: int) -> float:
    """CPU time of a process, all its threads, seconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def system_time(pid: int) -> float:
    """CPU time that the kernel spent for a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[12]) / os.sysconf("SC_CLK_TCK")


def peak_mib(daemon: Daemon) -> float:
    """The most memory it has used."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


class Bench:
    """The rig, and what is measured on it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.rows: list[Row] = []
        self.speaker: Speaker | None = None

    def known(self, address: str, gateway: str) -> bool:
        """Whether the fast path would send a packet there by that gateway."""
        found = self.rig.fast_path.table(f"route get {address}")
        return any(row.get("via") == gateway for row in found)

    def wait(self, what: str, condition: Callable[[], bool], *, pause: float = 0.01) -> float:
        """Until it's so; the time when it was seen."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                sys.exit(f"error: {what} takes longer than {LIMIT_SECONDS} s")
            time.sleep(pause)
        return time.monotonic()

    def measure(
        self,
        case: str,
        routes: int,
        install: Callable[[], tuple[float, float]],
        last: str,
        gateway: str,
    ) -> None:
        """`install` returns when the kernel had the last one, and its system time."""
        rig = self.rig
        before = {d.name: cpu_of(d.pid) for d in (rig.cmgrd, rig.fpmd)}
        load = os.getloadavg()[0]
        start = time.monotonic()
        kernel_end, kernel_cpu = install()
        seen = self.wait(f"the last route of {case}", lambda: self.known(last, gateway))
        self.idle()
        spent = {d.name: cpu_of(d.pid) - before[d.name] for d in (rig.cmgrd, rig.fpmd)}
        row = Row(
            case=case,
            routes=routes,
            lag_seconds=round(max(0.0, seen - kernel_end), 3),
            kernel_seconds=round(kernel_end - start, 3),
            kernel_cpu_seconds=round(kernel_cpu, 3),
            sync_cpu_seconds=round(sum(spent.values()), 3),
            cmgrd_cpu_seconds=round(spent["cmgrd"], 3),
            fpmd_cpu_seconds=round(spent["fpmd"], 3),
            cmgrd_peak_mib=round(peak_mib(rig.cmgrd), 1),
            load=round(load, 2),
        )
        self.rows.append(row)
        print(json.dumps(asdict(row)), flush=True)

    def idle(self) -> None:
        """Until cmgrd and fpmd have nothing to do any more."""
        last, quiet = 0.0, 0
        while quiet < 3:
            now = cpu_of(self.rig.cmgrd.pid) + cpu_of(self.rig.fpmd.pid)
            quiet = quiet + 1 if now - last < 0.005 else 0
            last = now
            time.sleep(0.1)

    def check(self, routes: int) -> None:
        """All routes are there, and packets to the last one go through the fast path."""
        kernel = self.rig.router.run("sh", "-c", "ip -4 route show | wc -l").stdout
        used = next(
            r["used"]
            for r in self.rig.fast_path.table("tables --all")
            if r["table"] == "mtrie4_block"
        )
        progress(f"the kernel has {kernel.strip()} routes; {used} trie blocks are used")
        lost = self.rig.cmgrd.log.read_text(errors="replace").count("were lost")
        progress(f"cmgrd repaired {lost} losses so far")
        assert int(kernel) >= routes
        with self.rig.carried(packets=100, exceptions=50), Stream(self.rig) as stream:
            self.wait("traffic", lambda: stream.received >= 100)

    # --- cases

    def batch(self, verb: str, routes: int, folder: Path) -> Callable[[], tuple[float, float]]:
        """`ip -batch` with /24 routes through 64 gateways."""
        path = folder / f"batch-{verb}"
        with path.open("w") as out:
            for i in range(routes):
                via = f"via 198.51.100.{2 + i % GATEWAYS}"
                out.write(f"route {verb} {text_of(FIRST + (i << 8))}/24 {via}\n")

        def install() -> tuple[float, float]:
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime
            subprocess.run(
                ["ip", "netns", "exec", self.rig.router.namespace, "ip", "-batch", str(path)],
                check=True,
            )
            end = time.monotonic()
            return end, resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime - before

        return install

    def gateway(self, i: int) -> str:
        """The gateway of the i-th route."""
        return f"198.51.100.{2 + i % GATEWAYS}"

    def run_batch(self, routes: int, folder: Path) -> None:
        """Install a million, then flap: other gateways for all of them."""
        last = text_of(FIRST + ((routes - 1) << 8) + 1)
        install = self.batch("add", routes, folder)
        self.measure("ip-batch", routes, install, last, self.gateway(routes - 1))
        self.check(routes)

    def run_frr(self, routes: int, folder: Path) -> None:
        """FRR as it is: a neighbour announces /24 prefixes over BGP, bgpd and zebra install them."""
        namespace = self.rig.router.namespace
        # Room for what it says to the kernel in one go.
        with Frr(namespace, ("bgpd",), folder, zebra=("-s", "90000000")) as frr:
            frr.configure(CONFIGURATION)
            zebra = frr.processes["zebra"].pid
            first = FIRST + (0x40 << 20)
            last = first + ((routes - 1) << 8)

            def install() -> tuple[float, float]:
                before = system_time(zebra)
                speaker = Speaker(self.rig)
                speaker.announce(first, routes)
                end = self.wait("FRR", lambda: kernel_count(self.rig) >= routes, pause=0.2)
                self.speaker = speaker
                return end, system_time(zebra) - before

            self.measure("frr-bgp", routes, install, text_of(last + 1), RIGHT.host4)
            self.check(routes)


def kernel_count(rig: Rig) -> int:
    """How many IPv4 routes the kernel has, cheaply. Main and local are one trie, which is shown twice."""
    stat = rig.router.run("cat", "/proc/net/fib_triestat").stdout
    return max(int(line.split()[1]) for line in stat.splitlines() if "Prefixes:" in line)


class Speaker:
    """A BGP neighbour (RFC 4271) that announces many prefixes with one next hop, and nothing else."""

    def __init__(self, rig: Rig) -> None:
        self.socket = sockets(rig.h2.namespace, socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.socket.connect((RIGHT.port4, 179))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.send(1, struct.pack(">BHH4sB", 4, AS_NUMBER, 0, socket.inet_aton(RIGHT.host4), 0))
        self.send(4, b"")
        threading.Thread(target=self.drain, daemon=True).start()

    def send(self, kind: int, body: bytes) -> None:
        """One message."""
        self.socket.sendall(b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body)

    def drain(self) -> None:
        """Read what it says, and let it know that we live."""
        with contextlib.suppress(OSError):
            while self.socket.recv(65536):
                pass

    def announce(self, first: int, count: int) -> None:
        """Prefixes of 24 bits, one after the other."""
        path = struct.pack(">BBH", 2, 1, AS_NUMBER)
        attributes = b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(path)]) + path
        attributes += b"\x40\x03\x04" + socket.inet_aton(RIGHT.host4)
        head = struct.pack(">HH", 0, len(attributes)) + attributes
        for start in range(0, count, 900):
            prefixes = b"".join(
                struct.pack(">BI", 24, first + (n << 8))[:4]
                for n in range(start, min(count, start + 900))
            )
            self.send(2, head + prefixes)


def main() -> None:
    """Run what the options select."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--case", choices=("ip-batch", "frr-bgp"), action="append")
    options = parser.parse_args()
    cases = options.case or ["ip-batch", "frr-bgp"]
    rows: list[Row] = []
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = {"FP_MAX_IPV4_LINES": "2097152"}
            with Rig(folder / "rig", driver=Driver.AF_PACKET, settings=settings) as rig:
                rig.resolve()
                bench = Bench(rig)
                (bench.run_batch if case == "ip-batch" else bench.run_frr)(options.routes, folder)
                rows += bench.rows
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
