#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cycles per packet of the fast path beside its peers, in one run (`make bench`).

All devices take frames from net_pcap without end and send to net_null, on one core, on the same DPDK, and share the
machine in turns: rounds are interleaved, so that its load hits all alike. The kernel's harness is another one
(tests/bench/linux.py). A benchmark, not a test: it judges nothing. Results: a table, build/bench/forwarding.json and
forwarding.png.

Rows of the case insert-1m are about routes, not packets: mpps is a million routes a second on the clock on the
wall, from the first to the last one's acceptance, cycles are CPU cycles a route of the process that has them
(sluice: fpmd; grout: its main thread; linux: `ip -batch`, most of which is the kernel). Sluice gets its routes
as messages made beforehand, the others as text through their own tools, which is how they are given them. Each
round starts from an empty table, which takes long: a third of the rounds.

In ipv4-1m and ipv6-200k the harness weighs heavily: net_pcap walks through 262,144 buffers, more than any cache holds,
so most of testpmd-io's cycles there are waiting for memory. Compare with that floor.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.duts import Dut, Grout, Testpmd, UnavailableError
from tests.bench.linux import Linux
from tests.bench.sluice import Sluice
from tests.bench.traffic import CASES, Case, pcap_for

TOP = Path(__file__).resolve().parents[2]
RESULTS = TOP / "build/bench"
INSERT = "insert-1m"
WARM_SECONDS = 0.3
ROUND_SECONDS = 1.0
LOCK = Path("/run/sluice-bench.lock")
HUGE_PAGES = 4096  # of 2 MiB: packets of four devices in the case with the most


@dataclass(frozen=True, kw_only=True)
class Row:
    """One device in one case."""

    dut: str
    case: str
    rounds: int
    mpps_median: float
    mpps_min: float
    mpps_max: float
    cycles_median: float
    dpdk: str
    cores: int
    load: float


def progress(text: str) -> None:
    """Tell what a long step is doing."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)


def tsc_hz() -> float:
    """Return the frequency of the time stamp counter as the kernel's log-free /proc/cpuinfo gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("cpu MHz"):
            return float(line.split(":")[1]) * 1e6
    sys.exit("error: /proc/cpuinfo names no frequency")


def task_seconds(pids: list[int]) -> dict[str, float]:
    """Return the time each thread has had on a CPU."""
    found = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def one_round(dut: Dut) -> float:
    """Let the device run alone for a moment; return its packets per second of its worker's CPU time.

    CPU time, not the clock on the wall, so that other load on the machine takes nothing away. The worker is the thread
    that ran most: all devices poll.
    """
    for pid in dut.pids():
        os.kill(pid, signal.SIGCONT)
    time.sleep(WARM_SECONDS)
    first, start = dut.packets(), task_seconds(dut.measured())
    time.sleep(ROUND_SECONDS)
    last, end = dut.packets(), task_seconds(dut.measured())
    for pid in dut.pids():
        os.kill(pid, signal.SIGSTOP)
    busiest = max(end[task] - start.get(task, 0) for task in end)
    if not busiest:
        sys.exit(f"error: {dut.name} had no CPU time for {ROUND_SECONDS} s")
    return (last - first) / busiest


@contextlib.contextmanager
def huge_pages(least: int) -> Iterator[None]:
    """Have at least that many 2 MiB pages reserved meanwhile, and the machine for this benchmark alone.

    Devices of all benchmarks on a machine have the same names, and measure nothing beside one another.
    """
    path = Path("/proc/sys/vm/nr_hugepages")
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another benchmark ({LOCK})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        before = int(path.read_text())
        path.write_text(str(max(before, least)))
        try:
            if int(path.read_text()) < least:
                sys.exit(f"error: {path} stays below {least}\nhint: free memory on this machine")
            yield
        finally:
            path.write_text(str(before))


def run_case(case: Case, duts: list[Dut], rounds: int, hz: float, dpdk: str) -> list[Row]:
    """Measure all devices in one case."""
    pcap = pcap_for(case, RESULTS)
    running: list[Dut] = []
    rates: dict[str, list[float]] = {}
    try:
        for dut in duts:
            progress(f"{case.name}: starting {dut.name}")
            try:
                dut.start(case, pcap)
            except UnavailableError as why:
                progress(f"{case.name}: {dut.name} left out: {why}")
                dut.stop()
                continue
            running.append(dut)
            for pid in dut.pids():
                os.kill(pid, signal.SIGSTOP)
        for number in range(rounds):
            progress(f"{case.name}: round {number + 1} of {rounds}")
            for dut in running:
                rates.setdefault(dut.name, []).append(one_round(dut))
    finally:
        for dut in running:
            dut.stop()
    return [
        Row(
            dut=name,
            case=case.name,
            rounds=len(found),
            mpps_median=statistics.median(found) / 1e6,
            mpps_min=min(found) / 1e6,
            mpps_max=max(found) / 1e6,
            cycles_median=hz / statistics.median(found),
            dpdk=dpdk,
            cores=1,
            load=os.getloadavg()[0],
        )
        for name, found in rates.items()
    ]


def run_insert(duts: list[Dut], rounds: int, hz: float, dpdk: str) -> list[Row]:
    """Measure how fast a million routes get into a device's empty table."""
    case = next(case for case in CASES if case.name == "ipv4-1m")
    pcap = pcap_for(case, RESULTS)
    rates: dict[str, list[float]] = {}
    cycles: dict[str, list[float]] = {}
    for number in range(rounds):
        for dut in duts:
            progress(f"{INSERT}: round {number + 1} of {rounds}, {dut.name}")
            try:
                dut.start(case, pcap)
            except UnavailableError as why:
                progress(f"{INSERT}: {dut.name} left out: {why}")
                continue
            finally:
                dut.stop()
            if dut.insert_seconds:
                rates.setdefault(dut.name, []).append(case.routes / dut.insert_seconds)
                cycles.setdefault(dut.name, []).append(dut.insert_cpu_seconds * hz / case.routes)
    return [
        Row(
            dut=name,
            case=INSERT,
            rounds=len(found),
            mpps_median=statistics.median(found) / 1e6,
            mpps_min=min(found) / 1e6,
            mpps_max=max(found) / 1e6,
            cycles_median=statistics.median(cycles[name]),
            dpdk=dpdk,
            cores=1,
            load=os.getloadavg()[0],
        )
        for name, found in rates.items()
    ]


def table(rows: list[Row]) -> str:
    """Return the results for people."""
    lines = [f"{'case':<12} {'device':<16} {'cycles':>7} {'Mpps':>7} {'range':>15}"]
    for row in rows:
        spread = f"{row.mpps_min:.2f}-{row.mpps_max:.2f}"
        lines.append(
            f"{row.case:<12} {row.dut:<16} {row.cycles_median:>7.1f} {row.mpps_median:>7.2f} {spread:>15}"
        )
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Draw cycles per packet, a group of bars a case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row.case != INSERT]
    cases = list(dict.fromkeys(row.case for row in rows))
    duts = list(dict.fromkeys(row.dut for row in rows))
    figure, axes = pyplot.subplots(figsize=(11, 5))
    width = 0.8 / max(len(duts), 1)
    for i, dut in enumerate(duts):
        found = {row.case: row.cycles_median for row in rows if row.dut == dut}
        axes.bar(
            [j + i * width for j in range(len(cases))],
            [found.get(case, 0) for case in cases],
            width,
            label=dut,
        )
    axes.set_xticks([j + 0.4 - width / 2 for j in range(len(cases))], cases)
    axes.set_ylabel("cycles per packet, one core, drivers included")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--case", action="append", help="only this case; may stand often")
    parser.add_argument("--dut", action="append", help="only this device; may stand often")
    parser.add_argument("--build", type=Path, default=TOP / "build/bench-sid")
    args = parser.parse_args()

    RESULTS.mkdir(parents=True, exist_ok=True)
    dpdk = subprocess.run(
        ["pkg-config", "--modversion", "libdpdk"], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    duts: list[Dut] = [
        Sluice(args.build, RESULTS),
        Grout(RESULTS),
        Testpmd("macswap"),
        Testpmd("io"),
        Linux(RESULTS),
    ]
    duts = [dut for dut in duts if not args.dut or dut.name in args.dut]
    rows: list[Row] = []
    with huge_pages(HUGE_PAGES):
        for case in CASES:
            if args.case and case.name not in args.case:
                continue
            rows += run_case(case, duts, args.rounds, tsc_hz(), dpdk)
        if not args.case or INSERT in args.case:
            routers = [dut for dut in duts if not isinstance(dut, Testpmd)]
            rows += run_insert(routers, (args.rounds + 2) // 3, tsc_hz(), dpdk)
    print(f"DPDK {dpdk}, load {os.getloadavg()[0]:.1f}, one worker")
    print(table(rows))
    (RESULTS / "forwarding.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if rows:
        plot(rows, RESULTS / "forwarding.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
