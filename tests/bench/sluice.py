# SPDX-License-Identifier: BSD-3-Clause
"""Our own fast path as a device under test: fpmd and fp-rte as they are, tables set through FPC as cmgrd would."""

import socket
import subprocess
import time
from pathlib import Path

from sluice.fpc import Connection, FpcError, Role, Verb, decode, encode
from sluice.fpc.frame import pack
from sluice.fpc.objects import FEATURES
from sluice.shm import Tables

from tests.bench.duts import (
    CONTROL_CPU,
    MAC,
    PORT_MAC_TEXT,
    WORKER_CPU,
    UnavailableError,
    address_text,
    stop_process,
    wait_for,
)
from tests.bench.traffic import Case, prefixes

INSTANCE = "bench"
RTN_UNICAST = 1
NUD_PERMANENT = 0x80


class Sluice:
    """fp-rte with one worker between net_pcap and net_null."""

    name = "sluice"
    # The last one is where all go.
    links: tuple[tuple[str, str], ...] = (("s0", PORT_MAC_TEXT), ("s1", "02:00:00:00:00:01"))

    def __init__(self, build: Path, folder: Path) -> None:
        self.build = build
        self.folder = folder
        self.fpmd: subprocess.Popen[str] | None = None
        self.rte: subprocess.Popen[str] | None = None
        self.insert_seconds = 0.0  # wall-clock from the first route to the last one's ACK
        self.insert_cpu_seconds = 0.0  # of fpmd's CPU time

    def _spawn(self, program: str, env: Path) -> subprocess.Popen[str]:
        with (self.folder / f"{program}.log").open("w") as log:
            return subprocess.Popen(
                [self.build / "gate" / program, "--instance", INSTANCE, "--env", env],
                stdout=log,
                stderr=log,
                text=True,
            )

    def _log(self, program: str) -> str:
        lines = (self.folder / f"{program}.log").read_text().strip().splitlines()
        return f"{program}: {lines[-1] if lines else 'no message'}"

    def start(self, case: Case, pcap: Path) -> None:
        """Start both daemons and set interfaces, one neighbour and the case's routes."""
        env = self.folder / "fast-path.env"
        env.write_text(self.settings(case, pcap))
        self.fpmd = self._spawn("fpmd", env)
        wait_for("fpmd's start", Path(f"/run/sluice/{INSTANCE}/fpc.sock").exists, 10)
        self.rte = self._spawn("fp-rte", env)
        rte = self.rte

        def ports_there() -> bool:
            if rte.poll() is not None:
                raise UnavailableError(self._log("fp-rte"))
            return len(self._ports()) == len(self.links)

        wait_for("fp-rte's start", ports_there, 60)
        self._configure(case)
        self._check_forwarding()

    def settings(self, case: Case, pcap: Path) -> str:
        """Return fast-path.env."""
        return (
            f'FP_PORTS="s0=net_pcap0,rx_pcap={pcap},infinite_rx=1 s1=net_null1,no-rx=1"\n'
            f"FP_CORES={WORKER_CPU}\nFP_CONTROL_CORE={CONTROL_CPU}\nFP_IDLE_SLEEP=0\n"
            f"FP_MBUFS={16384 + 2 * case.destinations}\nFP_HUGEPAGES=yes\n"
        )

    def _ports(self) -> list[dict[str, object]]:
        try:
            with Connection(f"/run/sluice/{INSTANCE}/fpc.sock", Role.VIEWER, name="bench") as fpmd:
                return [decode("port", item.body) for item in fpmd.dump("port")]
        except FpcError:
            return []

    def _fpmd_cpu(self) -> float:
        assert self.fpmd
        return int(Path(f"/proc/{self.fpmd.pid}/schedstat").read_text().split()[0]) / 1e9

    def _configure(self, case: Case) -> None:
        family = socket.AF_INET if case.family == 4 else socket.AF_INET6
        gateway = "203.0.113.2" if case.family == 4 else "2001:db9:1::2"
        taps = {str(port["name"]): port["tap_ifindex"] for port in self._ports()}
        with Connection(
            f"/run/sluice/{INSTANCE}/fpc.sock", Role.SYNC, name="bench", timeout=120
        ) as fpmd:
            fpmd.set("vrf", encode("vrf", vrf=0))
            for name, mac in self.links:
                link = encode(
                    "iface",
                    vrf=0,
                    ifindex=taps[name],
                    flags=["UP", "RUNNING", "FORWARD4", "FORWARD6"],
                    mtu=1500,
                    mac=mac,
                    name=name,
                )
                fpmd.set("iface", link)
            neigh = encode(
                "neigh",
                vrf=0,
                ifindex=taps[self.links[-1][0]],
                family=family,
                addr=gateway,
                mac=MAC,
                state=NUD_PERMANENT,
            )
            fpmd.set("neigh", neigh)
            nexthop = {
                "ifindex": taps[self.links[-1][0]],
                "family": family,
                "weight": 1,
                "gateway": gateway,
            }
            routes = [
                encode(
                    "route",
                    vrf=0,
                    table=254,
                    family=family,
                    plen=plen,
                    dst=address_text(case, address),
                    type=RTN_UNICAST,
                    nexthops=[nexthop],
                )
                for address, plen in prefixes(case)
            ]
            # In one piece: how fast this script makes frames isn't what is measured.
            number = FEATURES["route"].id
            stream = b"".join(pack(Verb.SET, number, body=body) for body in routes[:-1])
            cpu, start = self._fpmd_cpu(), time.monotonic()
            fpmd.send_bytes(stream)
            fpmd.set("route", routes[-1])
            self.insert_seconds = time.monotonic() - start
            self.insert_cpu_seconds = self._fpmd_cpu() - cpu

    def _check_forwarding(self) -> None:
        """Raise UnavailableError unless nearly all packets are sent: rates of dropped ones would be a lie."""
        # On a busy machine time passes between the two counters: some tries.
        for _ in range(10):
            before = self._counts()
            time.sleep(0.5)
            after = self._counts()
            received, forwarded = (now - then for now, then in zip(after, before, strict=True))
            if received and forwarded >= received * 0.99:
                return
        raise UnavailableError(f"only {forwarded} of {received} packets were forwarded")

    def _counts(self) -> tuple[int, int]:
        rows = Tables(INSTANCE).rows("iface_stats")
        return self.packets(), sum(int(row["tx_packets"]) for row in rows)

    def packets(self) -> int:
        """Return the packets that the worker received."""
        return sum(int(row["packets"]) for row in Tables(INSTANCE).rows("worker"))

    def pids(self) -> list[int]:
        """Return the processes of both daemons."""
        return [p.pid for p in (self.rte, self.fpmd) if p]

    measured = pids

    def stop(self) -> None:
        """End both and remove what they left."""
        stop_process(self.rte)
        stop_process(self.fpmd)
        for name, _ in self.links:
            subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL)
        for path in Path("/dev/shm").glob(f"sluice.{INSTANCE}*"):
            path.unlink()
