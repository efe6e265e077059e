# SPDX-License-Identifier: BSD-3-Clause
"""What many routes cost fpmd: CPU time of each step, and memory. `python3 -m tests.bench.insert BUILD [FPMD]`.

One million IPv4 and 200,000 IPv6 routes through 64 gateways: /24 and /64 side by side, and /24 and /48 scattered at
random over 0.0.0.0/1 and 2000::/3, the most memory that such routes can take. As bytes made beforehand, so that only
fpmd works in the time measured. CPU time isn't wall-clock: the figures hold on a busy machine too, give or take its
caches. With a second argument the same for another fpmd, for example of the commit before.
"""

import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from sluice.fpc import Connection, Role, encode
from sluice.fpc.frame import Verb, pack
from sluice.fpc.objects import FEATURES

from tests.bench.duts import stop_process, wait_for

IPV4, IPV6 = 1_000_000, 200_000
GATEWAYS = 64
INSTANCE = "insert"
RTN_UNICAST = 1


def addresses(family: int, scattered: bool) -> list[tuple[bytes, int]]:
    """The prefixes: their addresses, packed to 16 bytes, and length."""
    rng = random.Random(1)
    if scattered and family == socket.AF_INET:
        return [
            (struct.pack(">I12x", i << 8), 24) for i in rng.sample(range(1 << 16, 1 << 23), IPV4)
        ]
    if scattered:
        found = rng.sample(range(1 << 45), IPV6)
        return [(struct.pack(">Q8x", 1 << 61 | i << 16), 48) for i in found]
    if family == socket.AF_INET:
        return [(struct.pack(">I12x", 0x10000000 + (i << 8)), 24) for i in range(IPV4)]
    return [(struct.pack(">IIQ", 0x20010DB8, i, 0), 64) for i in range(IPV6)]


def frames(verb: Verb, family: int, shift: int = 0, scattered: bool = False) -> bytes:
    """A frame a route."""
    gateway = "203.0.113.{}" if family == socket.AF_INET else "2001:db9:1::{:x}"
    bodies = [
        encode(
            "route",
            vrf=0,
            table=254,
            family=family,
            plen=24 if family == socket.AF_INET else 64,
            dst="0.0.0.0" if family == socket.AF_INET else "::",
            type=RTN_UNICAST,
            protocol=186,
            nexthops=[
                {"ifindex": 7, "family": family, "weight": 1, "gateway": gateway.format(i + 1)}
            ],
        )
        for i in range(GATEWAYS)
    ]
    number = FEATURES["route"].id
    parts = []
    for i, (address, plen) in enumerate(addresses(family, scattered)):
        at = bodies[(i + shift) % GATEWAYS]
        body = at[:13] + bytes([plen]) + at[14:16] + address + at[32:]
        parts.append(pack(verb, number, body=body[:32] if verb is Verb.DEL else body))
    return b"".join(parts)


class Fpmd:
    """One process with tables large enough."""

    def __init__(self, program: Path, folder: Path) -> None:
        env = folder / "fast-path.env"
        env.write_text("FP_MAX_IPV4_LINES=2097152\n")
        self.process = subprocess.Popen([program, "--instance", INSTANCE, "--env", env], text=True)
        path = f"/run/sluice/{INSTANCE}/fpc.sock"
        wait_for("fpmd's start", Path(path).exists, 10)
        self.connection = Connection(path, Role.SYNC, name="insert", timeout=300)
        self.connection.set("vrf", encode("vrf", vrf=0))
        self.connection.set(
            "iface",
            encode("iface", vrf=0, ifindex=7, flags=["UP"], mtu=1500, mac="02:00:00:00:00:01"),
        )

    def cpu(self) -> float:
        """CPU time so far, seconds."""
        fields = Path(f"/proc/{self.process.pid}/schedstat").read_text().split()
        return int(fields[0]) / 1e9

    def memory(self) -> tuple[float, float]:
        """Private and shared memory, MiB."""
        sums = {"Private": 0, "Shmem": 0}
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                sums["Private"] = int(line.split()[1])
            elif line.startswith("RssShmem"):
                sums["Shmem"] = int(line.split()[1])
        return sums["Private"] / 1024, sums["Shmem"] / 1024

    def feed(self, what: str, data: bytes) -> None:
        """Send all, wait until fpmd has worked it off, and say what it took."""
        before = self.cpu()
        self.connection.send_bytes(data)
        self.connection.set("vrf", encode("vrf", vrf=0))
        private, shared = self.memory()
        print(
            f"{what:<32} {self.cpu() - before:6.2f} s   private {private:6.1f} MiB, "
            f"shared {shared:6.1f} MiB, together {private + shared:6.1f} MiB",
            flush=True,
        )

    def stop(self) -> None:
        """End it and remove what it leaves."""
        self.connection.close()
        stop_process(self.process)
        for path in Path("/dev/shm").glob(f"sluice.{INSTANCE}*"):
            path.unlink()


def main() -> None:
    """Feed each fpmd the same."""
    build = Path(sys.argv[1])
    programs = [build / "gate" / "fpmd", *map(Path, sys.argv[2:])]
    steps = {
        "insert 1,000,000 IPv4": frames(Verb.SET, socket.AF_INET),
        "insert 200,000 IPv6": frames(Verb.SET, socket.AF_INET6),
        "the same again": frames(Verb.SET, socket.AF_INET),
        "other gateways": frames(Verb.SET, socket.AF_INET, 1),
        "delete 1,000,000 IPv4": frames(Verb.DEL, socket.AF_INET),
    }
    scattered = {
        "insert 1,000,000 IPv4, scattered": frames(Verb.SET, socket.AF_INET, scattered=True),
        "insert 200,000 IPv6, scattered": frames(Verb.SET, socket.AF_INET6, scattered=True),
        "delete 1,000,000 IPv4, scattered": frames(Verb.DEL, socket.AF_INET, scattered=True),
    }
    for program in programs:
        print(f"{program}, load {os.getloadavg()[0]:.1f}")
        for kind in (steps, scattered):
            with tempfile.TemporaryDirectory() as folder:
                fpmd = Fpmd(program, Path(folder))
                try:
                    for what, data in kind.items():
                        fpmd.feed(what, data)
                finally:
                    fpmd.stop()


if __name__ == "__main__":
    main()
