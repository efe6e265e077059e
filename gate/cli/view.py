# SPDX-License-Identifier: BSD-3-Clause
"""An instance's shared memory, mapped read-only when a command first asks for it.

Rows are C structs of `_sluice`, read in place: a counter can change between two looks, and a
configuration row can be taken back. Commands only show, so they take what they find and follow no
link without a bound.
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from _sluice import ffi, lib
from sluice.cli.error import CliError

# A row or field of a C struct; cffi has no types for these.
type Struct = Any

SHM_FOLDER = Path("/dev/shm")
RUN_FOLDER = Path("/run/sluice")
WORKER_ON = 1


class Worker(NamedTuple):
    """A worker that runs or has run."""

    number: int
    core: int
    running: bool
    row: Struct


class Shared:
    """One file of shared memory."""

    def __init__(self, path: Path, descriptions: Struct, count: int) -> None:
        self.path = path
        self.shm = ffi.gc(ffi.new("struct shm *"), lib.shm_detach)
        err = ffi.new("struct err *")
        if lib.shm_attach(self.shm, str(path).encode(), False, descriptions, count, err):
            hint = ffi.string(err.hint).decode()
            if err.code == errno.EACCES:
                hint = "run it as root, or as a member of the group sluice"
            raise CliError(ffi.string(err.text).decode(), hint=hint)
        self.header = self.shm.header

    def directory(self) -> Iterator[Struct]:
        """The directory's entries."""
        for index in range(self.header.n_tables):
            yield self.header.dir[index]

    def entry(self, table: str) -> Struct:
        """One table's directory entry."""
        entry = lib.shm_find(self.shm, table.encode())
        if entry == ffi.NULL:
            raise CliError(
                f"{self.path} has no table '{table}'",
                hint="its writer is of another Sluice version",
            )
        return entry

    def capacity(self, table: str) -> int:
        """How many rows the table has room for."""
        return int(self.entry(table).capacity)

    def rows(self, table: str, struct: str) -> Struct:
        """All rows, as an array of structs that knows its length."""
        entry = self.entry(table)
        if ffi.sizeof(struct) != entry.row_size:
            raise CliError(f"{self.path}: rows of '{table}' aren't as this program knows them")
        start = ffi.cast("char *", self.header) + entry.offset
        return ffi.cast(f"{struct}(*)[{entry.capacity}]", start)[0]

    def words(self, table: str, *, start: int = 0, count: int | None = None) -> memoryview:
        """A table as one array of 32-bit words, or `count` of them."""
        entry = self.entry(table)
        total = entry.capacity * entry.row_size // 4
        count = total - start if count is None else count
        if start < 0 or start + count > total:
            raise CliError(f"'{table}' has no such row")
        first = ffi.cast("char *", self.header) + entry.offset + 4 * start
        return memoryview(ffi.buffer(first, 4 * count)).cast("I")


class View:
    """What commands look at."""

    def __init__(self, instance: str) -> None:
        if not (instance.replace("-", "").replace("_", "").isalnum() and len(instance) < 32):
            raise CliError(
                f"'{instance}' is no instance name", hint="use 1 to 31 letters, digits, '-' or '_'"
            )
        self.instance = instance
        self.config_path = SHM_FOLDER / f"sluice.{instance}"
        self.stats_path = SHM_FOLDER / f"sluice.{instance}.stats"
        self.run_dir = RUN_FOLDER / instance
        self._config: Shared | None = None
        self._stats: Shared | None = None

    @property
    def config(self) -> Shared:
        """What fpmd writes."""
        if self._config is None:
            self.require(self.config_path, "fpmd")
            tables = ffi.new("struct shm_table_desc[64]")
            count = lib.feature_config_tables(tables, ffi.NULL)
            self._config = Shared(self.config_path, tables, count)
        return self._config

    @property
    def stats(self) -> Shared:
        """What fp-rte writes."""
        if self._stats is None:
            self.require(self.stats_path, "fp-rte")
            tables = ffi.new("struct shm_table_desc[64]")
            count = lib.feature_stats_tables(tables, ffi.NULL)
            self._stats = Shared(self.stats_path, tables, count)
        return self._stats

    def config_or_none(self) -> Shared | None:
        """What fpmd writes, if it has ever run."""
        return self.config if self.config_path.exists() else None

    def stats_or_none(self) -> Shared | None:
        """What fp-rte writes, if it has ever run."""
        return self.stats if self.stats_path.exists() else None

    def written_by(self, daemon: str) -> Shared | None:
        """The file that a daemon writes, if it has ever run."""
        if daemon == "fpmd":
            return self.config_or_none()
        return self.stats_or_none() if daemon == "fp-rte" else None

    def require(self, path: Path, writer: str) -> None:
        """Say it in the user's words when a file isn't there."""
        if path.exists():
            return
        if not self.config_path.exists() and not self.stats_path.exists():
            others = instances()
            hint = f"there are: {', '.join(others)}" if others else "none runs on this machine"
            raise CliError(f"there is no instance '{self.instance}'", hint=hint)
        raise CliError(
            f"instance '{self.instance}' has no {path}",
            hint=f"{writer} makes it at its start: is it running?",
        )

    def workers(self) -> list[Worker]:
        """Workers that run, or have run."""
        rows = self.stats.rows("worker", "struct worker_row")
        return [
            Worker(number, row.core, row.state == WORKER_ON, row)
            for number, row in enumerate(rows)
            if row.state == WORKER_ON or row.loops
        ]

    def lock_holder(self, daemon: str) -> int | None:
        """The living daemon's process, by the lock that it holds; None if it doesn't live."""
        path = self.run_dir / f"{daemon}.lock"
        if not lib.lock_held(str(path).encode()):
            return None
        try:
            return int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0


def instances() -> list[str]:
    """Instances that have shared memory on this machine."""
    names = {path.name.split(".")[1] for path in SHM_FOLDER.glob("sluice.*")}
    return sorted(name for name in names if name)
