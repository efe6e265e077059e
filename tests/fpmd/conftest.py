# SPDX-License-Identifier: BSD-3-Clause
"""A real fpmd on an instance of the test's own, and, where a test wants one, the traces of a living
fp-rte: its lock, its stats file, its connection.
"""

import fcntl
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from _sluice import ffi, lib
from sluice.fpc import Connection, Role, encode
from sluice.shm import Tables, canonical_dump

from lab.proc import wait_for
from tests.lib import product

NUMBERS = itertools.count()
SHM = Path("/dev/shm")


def settings(**values: int) -> Any:
    """Default settings, some of them changed."""
    filled = ffi.new("struct settings *")
    lib.settings_init(filled)
    for name, value in values.items():
        setattr(filled, name, value)
    return filled


def create_shm(path: Path, describe: Any, *, change: Any = None, **values: int) -> Any:
    """A file of shared memory as a daemon would make it; `change` may alter the table descriptions."""
    tables = ffi.new("struct shm_table_desc[]", lib.SHM_MAX_TABLES)
    count = describe(tables, settings(**values))
    if change:
        change(tables)
    shm, err = ffi.new("struct shm *"), ffi.new("struct err *")
    path.unlink(missing_ok=True)
    assert not lib.shm_create(shm, str(path).encode(), tables, count, err), ffi.string(err.text)
    return ffi.gc(shm, lib.shm_detach)


class FakeRte:
    """What fpmd sees of a living fp-rte."""

    def __init__(self, fpmd: "Fpmd", *, stats: bool = True) -> None:
        self.fpmd = fpmd
        fpmd.run_dir.mkdir(parents=True, exist_ok=True)
        self.lock: IO[str] = (fpmd.run_dir / "fp-rte.lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.shm = create_shm(fpmd.stats_path, lib.feature_stats_tables) if stats else None
        self.connection: Connection | None = None

    def connect(self) -> Connection:
        """Its conversation with fpmd."""
        self.connection = self.fpmd.connect(Role.RTE)
        return self.connection

    def sync(self, **ports: int) -> Connection:
        """Tell all ports: name=ifindex."""
        connection = self.connection or self.connect()
        connection.sync_begin()
        for number, (name, ifindex) in enumerate(ports.items()):
            connection.set(
                "port", encode("port", port=number, tap_ifindex=ifindex, name=name, mac=mac(number))
            )
        connection.sync_end()
        return connection

    def die(self) -> None:
        """All of it is gone, as after SIGKILL; the stats file stays."""
        if self.connection:
            self.connection.close()
        self.lock.close()


class Fpmd:
    """The daemon; start it, talk to it, kill it."""

    def __init__(self, folder: Path) -> None:
        self.instance = f"t{os.getpid()}-{next(NUMBERS)}"
        self.folder = folder
        self.run_dir = Path("/run/sluice") / self.instance
        self.socket = self.run_dir / "fpc.sock"
        self.config_path = SHM / f"sluice.{self.instance}"
        self.new_path = SHM / f"sluice.{self.instance}.new"
        self.stats_path = SHM / f"sluice.{self.instance}.stats"
        self.log = folder / "fpmd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.connections: list[Connection] = []
        self.rtes: list[FakeRte] = []

    def command(self, *options: str) -> list[str]:
        return [*product.program("fpmd"), "--instance", self.instance, *options]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must come by itself."""
        return subprocess.run(
            self.command(*options), capture_output=True, text=True, timeout=20, check=False
        )

    def start(self, *options: str) -> None:
        """Start it and wait until it listens."""
        with self.log.open("ab") as log:
            size = log.tell()
            self.process = subprocess.Popen(self.command(*options), stdout=log, stderr=log)

        def listens() -> bool:
            assert self.process
            assert self.process.poll() is None, self.log.read_text()
            return "fpmd serves" in self.log.read_bytes()[size:].decode()

        wait_for(listens, "fpmd", timeout=10, interval=0.01)

    def end(self, number: int) -> int:
        """Send it a signal and wait for its end; returns its status."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(10)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def connect(self, role: Role = Role.SYNC, name: str = "test") -> Connection:
        connection = Connection(self.socket, role, name=name, timeout=5)
        self.connections.append(connection)
        return connection

    def rte(self, *, stats: bool = True) -> FakeRte:
        rte = FakeRte(self, stats=stats)
        self.rtes.append(rte)
        return rte

    def tables(self) -> Tables:
        return Tables(self.instance)

    def ino(self) -> int:
        """Which file is published."""
        return self.config_path.stat().st_ino

    def dump(self) -> str:
        """The state of the config file that is published."""
        return canonical_dump(self.instance)

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        for rte in self.rtes:
            rte.die()
        if self.process and self.process.poll() is None:
            self.kill()
        for path in (self.config_path, self.new_path, self.stats_path):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)


@pytest.fixture
def idle(evidence: Path) -> Iterator[Fpmd]:
    """An fpmd that isn't started."""
    daemon = Fpmd(evidence)
    yield daemon
    daemon.close()


@pytest.fixture
def fpmd(idle: Fpmd) -> Fpmd:
    """A running fpmd."""
    idle.start()
    return idle


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def router() -> list[tuple[str, bytes]]:
    """The objects of a small router with two VRFs whose addresses overlap, in features.def's order."""
    found: list[tuple[str, bytes]] = []
    for vrf in (0, 1):
        found.append(("vrf", encode("vrf", vrf=vrf)))
    for vrf in (0, 1):
        for i in (2, 3):
            found.append(
                (
                    "iface",
                    encode(
                        "iface", vrf=vrf, ifindex=i, name=f"eth{i}", mac=mac(16 * vrf + i),
                        mtu=1500, flags=["UP", "RUNNING", "FORWARD4", "FORWARD6"],
                    ),
                )
            )  # fmt: skip
    for vrf in (0, 1):
        for family, addr in ((2, "192.0.2.1"), (10, "2001:db8::1")):
            found.append(
                (
                    "neigh",
                    encode("neigh", vrf=vrf, ifindex=2, family=family, addr=addr, mac=mac(99)),
                )
            )
    for vrf in (0, 1):
        hop4 = {"ifindex": 2, "family": 2, "gateway": "192.0.2.1", "weight": 1}
        hop6 = {"ifindex": 2, "family": 10, "gateway": "2001:db8::1", "weight": 1}
        link = {"ifindex": 3, "weight": 1}
        for family, dst, plen, hops in (
            (2, "198.51.100.0", 24, [hop4]),
            (2, "198.51.100.128", 25, [link]),
            (2, "0.0.0.0", 0, [hop4]),
            (10, "2001:db8:1::", 48, [hop6]),
            (10, "::", 0, [link]),
        ):
            found.append(
                (
                    "route",
                    encode(
                        "route", vrf=vrf, table=254, family=family, dst=dst, plen=plen, type=1,
                        nexthops=hops,
                    ),
                )
            )  # fmt: skip
    return found


def sync(connection: Connection, objects: list[tuple[str, bytes]]) -> None:
    """A whole sync."""
    connection.sync_begin()
    for feature, body in objects:
        connection.post(2, feature, body)
    connection.sync_end()
    assert not connection.refused
