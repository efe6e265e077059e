#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a second worker brings (`make bench BENCH="--case workers"`).

One worker beside two, 4096 IPv4 destinations, net_pcap without end in and net_null out:

  1-worker   one port, one worker
  2-ports    two receiving ports, a worker each: what RSS gives where the device can spread
  1-port     one port with one receive queue, two workers: software distribution (FP_SPREAD)

Rates are packets per second of CPU time that each worker had (the mean of the workers'), so that other load takes
nothing away but the caches. On a machine whose two CPUs are threads of one core, two workers can't give twice as much;
`scale` is the rate over 1-worker's. A benchmark, not a test. Results: a table and build/bench/workers.json.
"""

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sluice.shm import Tables

from tests.bench.duts import PORT_MAC_TEXT, UnavailableError
from tests.bench.forwarding import HUGE_PAGES, RESULTS, TOP, WARM_SECONDS, huge_pages, progress
from tests.bench.sluice import INSTANCE, Sluice
from tests.bench.traffic import CASES, Case, pcap_for

NAME = "workers"
ROUND_SECONDS = 1.0


class Workers(Sluice):
    """fp-rte with some workers and receiving ports."""

    def __init__(self, build: Path, folder: Path, name: str, *, cpus: str, receivers: int) -> None:
        super().__init__(build, folder)
        self.name = name
        self.cpus = cpus
        self.receivers = receivers
        self.links = (
            ("s0", PORT_MAC_TEXT),
            *((f"r{i}", PORT_MAC_TEXT) for i in range(1, receivers)),
            ("s1", "02:00:00:00:00:01"),
        )

    def settings(self, case: Case, pcap: Path) -> str:
        """Return fast-path.env: a net_pcap port for each receiver."""
        ports = [f"s0=net_pcap0,rx_pcap={pcap},infinite_rx=1"]
        ports += [
            f"r{i}=net_pcap{i},rx_pcap={pcap},infinite_rx=1" for i in range(1, self.receivers)
        ]
        ports += ["s1=net_null1,no-rx=1"]
        return (
            f'FP_PORTS="{" ".join(ports)}"\nFP_CORES={self.cpus}\nFP_CONTROL_CORE=0\n'
            f"FP_IDLE_SLEEP=0\nFP_MBUFS={65536 + 4 * case.destinations}\nFP_HUGEPAGES=yes\n"
        )

    def worker_seconds(self) -> list[float]:
        """Return the CPU time of each worker's thread."""
        assert self.rte
        found = []
        for task in Path(f"/proc/{self.rte.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("dpdk-worker"):
                found.append(int((task / "schedstat").read_text().split()[0]) / 1e9)
        # The last one is the exception thread, which sleeps.
        return sorted(found)[-len(self.cpus.split(",")) :]

    def _check_forwarding(self) -> None:
        """Raise UnavailableError if nothing is sent.

        A worker that another process keeps from its CPU loses the flows it has: `lost` says how much, and the rates are
        those of sent packets.
        """
        before = self.sent()
        time.sleep(0.5)
        if self.sent() == before:
            raise UnavailableError("nothing was forwarded")

    def sent(self) -> int:
        """Return the packets sent."""
        return sum(int(row["tx_packets"]) for row in Tables(INSTANCE).rows("iface_stats"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arrangement."""

    case: str
    rounds: int
    workers: int
    mpps_median: float
    mpps_min: float
    mpps_max: float
    scale: float  # over 1-worker
    given: float  # share of the packets that another worker handled
    dropped: float  # share
    load: float


def measure(dut: Workers, rounds: int) -> tuple[list[float], float, float]:
    """Return the rates of all rounds, and the shares of packets given away and dropped."""
    rates = []
    time.sleep(WARM_SECONDS)
    first_sent, first_worker = dut.sent(), totals()
    for _ in range(rounds):
        sent, seconds = dut.sent(), dut.worker_seconds()
        time.sleep(ROUND_SECONDS)
        sent = dut.sent() - sent
        used = [now - then for now, then in zip(dut.worker_seconds(), seconds, strict=True)]
        rates.append(sent / statistics.mean(used))
    received, given = (now - then for now, then in zip(totals(), first_worker, strict=True))
    return rates, given / received, max(0.0, 1 - (dut.sent() - first_sent) / received)


def totals() -> tuple[int, int]:
    """Return the packets received, and given to other workers."""
    rows = list(Tables(INSTANCE).rows("worker"))
    return sum(int(row["packets"]) for row in rows), sum(int(row["given"]) for row in rows)


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--case", action="append", help="run if it's 'workers', or none is given")
    parser.add_argument("--dut", action="append", help="run if it's 'sluice', or none is given")
    parser.add_argument("--build", type=Path, default=TOP / "build/bench-sid")
    args = parser.parse_args()
    if (args.case and NAME not in args.case) or (args.dut and "sluice" not in args.dut):
        return 0
    if len(os.sched_getaffinity(0)) < 2:
        progress("workers: left out: this machine has one CPU")
        return 0

    RESULTS.mkdir(parents=True, exist_ok=True)
    case = next(case for case in CASES if case.name == "ipv4-4096")
    pcap = pcap_for(case, RESULTS)
    rows: list[Row] = []
    with huge_pages(HUGE_PAGES):
        for dut in (
            Workers(args.build, RESULTS, "1-worker", cpus="1", receivers=1),
            Workers(args.build, RESULTS, "2-ports", cpus="0,1", receivers=2),
            Workers(args.build, RESULTS, "1-port", cpus="0,1", receivers=1),
        ):
            progress(f"workers: {dut.name}")
            try:
                dut.start(case, pcap)
                rates, given, dropped = measure(dut, args.rounds)
            except UnavailableError as why:
                progress(f"workers: {dut.name} left out: {why}")
                continue
            finally:
                dut.stop()
            median = statistics.median(rates) / 1e6
            rows.append(
                Row(
                    case=dut.name,
                    rounds=args.rounds,
                    workers=len(dut.cpus.split(",")),
                    mpps_median=median,
                    mpps_min=min(rates) / 1e6,
                    mpps_max=max(rates) / 1e6,
                    scale=median / rows[0].mpps_median if rows else 1.0,
                    given=given,
                    dropped=dropped,
                    load=os.getloadavg()[0],
                )
            )
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    print(
        f"load {os.getloadavg()[0]:.1f}, CPU 0 shares its core with {siblings.read_text().strip()}"
    )
    print(
        f"{'case':<10} {'workers':>7} {'Mpps':>7} {'range':>12} {'scale':>6} {'given':>6} {'lost':>6}"
    )
    for row in rows:
        spread = f"{row.mpps_min:.1f}-{row.mpps_max:.1f}"
        print(
            f"{row.case:<10} {row.workers:>7} {row.mpps_median:>7.1f} {spread:>12} {row.scale:>6.2f}"
            f" {row.given:>6.1%} {row.dropped:>6.2%}"
        )
    (RESULTS / "workers.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
