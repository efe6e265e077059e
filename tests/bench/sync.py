# SPDX-License-Identifier: BSD-3-Clause
"""What a million routes cost on their way from the kernel into the fast path (`make bench-sync`).

A router with the fast path on, in a namespace; routes come by `ip -batch`, and by FRR's `sharp install routes` where
the tools tree has FRR. Measured: how long after the kernel had the last one the fast path looks it up (in the trie
that packets are looked up in), the CPU time that the kernel spent on it (the system time of who installed them) and
that cmgrd and fpmd spent together, and cmgrd's peak memory. A benchmark, not a test: it judges nothing but that all
routes have arrived. Results: a line each, and build/bench/sync.json.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lib.daemon import Daemon
from tests.lib.rig import RIGHT, Driver, Rig
from tests.lib.traffic import Stream

TOP = Path(__file__).resolve().parents[2]
RESULT = TOP / "build/bench/sync.json"
GATEWAYS = 64
FIRST = 0x10000000  # 16.0.0.0
LIMIT_SECONDS = 120
FRR_FOLDER = Path("/usr/lib/frr")


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

    def run_sharp(self, routes: int, folder: Path) -> None:
        """FRR as it is: zebra and sharpd in the router's namespace; /32 routes."""
        with frr(self.rig, folder) as (zebra, vtysh):
            first = FIRST + (0x40 << 20)
            last = text_of(first + routes - 1)

            def kernel_has_it() -> bool:
                shown = self.rig.router.run("ip", "-4", "route", "show", f"{last}/32", check=False)
                return bool(shown.stdout.strip())

            def install() -> tuple[float, float]:
                before = system_time(zebra)
                vtysh(f"sharp install routes {text_of(first)} nexthop {RIGHT.host4} {routes}")
                end = self.wait("FRR", kernel_has_it, pause=0.05)
                return end, system_time(zebra) - before

            self.measure("sharp", routes, install, last, RIGHT.host4)
            self.check(routes)


@contextmanager
def frr(rig: Rig, folder: Path) -> Iterator[tuple[int, Callable[[str], str]]]:
    """zebra's process, and vtysh."""
    folder = folder / "frr"
    folder.mkdir(mode=0o755)
    folder.parent.chmod(0o755)
    shutil.chown(folder, "frr", "frr")
    (folder / "vtysh.conf").touch()
    socket = ["--vty_socket", str(folder)]
    daemons = []
    for name, more in (("zebra", ["-s", "90000000"]), ("sharpd", [])):
        argv = [
            FRR_FOLDER / name, *more, *socket, "-z", folder / "zserv.api", "-i", folder / f"{name}.pid",
            "-f", "/dev/null", "--log", f"file:{folder}/{name}.log",
        ]  # fmt: skip
        daemons.append(
            subprocess.Popen(["ip", "netns", "exec", rig.router.namespace, *map(str, argv)])
        )
        deadline = time.monotonic() + 20
        while not (folder / f"{name}.vty").exists():
            if daemons[-1].poll() is not None or time.monotonic() > deadline:
                sys.exit(f"error: {name} doesn't start")
            time.sleep(0.05)

    def vtysh(command: str) -> str:
        argv = ["ip", "netns", "exec", rig.router.namespace, "vtysh", *socket, "-c", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    try:
        yield daemons[0].pid, vtysh
    finally:
        for process in reversed(daemons):
            process.terminate()
            process.wait(30)


def main() -> None:
    """Run what the options select."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--case", choices=("ip-batch", "sharp"), action="append")
    options = parser.parse_args()
    cases = options.case or ["ip-batch", "sharp"]
    rows: list[Row] = []
    for case in cases:
        if case == "sharp" and not (FRR_FOLDER / "sharpd").exists():
            progress("sharp: left out, the tools tree has no FRR")
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = {"FP_MAX_IPV4_BLOCKS": "65536"}
            with Rig(folder / "rig", driver=Driver.AF_PACKET, settings=settings) as rig:
                rig.resolve()
                bench = Bench(rig)
                (bench.run_batch if case == "ip-batch" else bench.run_sharp)(options.routes, folder)
                rows += bench.rows
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
