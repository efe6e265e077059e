# SPDX-License-Identifier: BSD-3-Clause
"""An instance's shared memory from Python, read-only: tables, rows, and the configuration's
canonical form, in which tests compare what two fpmds wrote.

    tables = Tables("main")
    for row in tables.rows("iface"):
        print(row["row"], row["name"])
    print(tables.fill("route"))
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from _sluice import ffi, lib
from sluice.fpc.objects import FEATURES, show

# A C struct or array of them; cffi has no types for these.
type Struct = Any
type Row = dict[str, Any]

SHM_FOLDER = Path("/dev/shm")


class ShmError(Exception):
    """The file isn't there, or isn't of our layout. `hint`: what the user can do, or ""."""

    def __init__(self, code: int, text: str, hint: str) -> None:
        super().__init__(text)
        self.errno = code
        self.hint = hint


@dataclass(frozen=True)
class Fill:
    """How full a table is: rows used now, at the most since its file was made, at all."""

    table: str
    used: int
    most: int
    capacity: int


def struct_of(table: str) -> str:
    """The C struct of a table's rows: struct NAME_row, digits left out where two share one."""
    for name in (table, re.sub(r"\d", "", table)):
        try:
            ffi.typeof(f"struct {name}_row")
        except ffi.error:
            continue
        return f"struct {name}_row"
    raise KeyError(f"table '{table}' has no struct")


class File:
    """One mapped file. `stats`: the one that fp-rte writes, else fpmd's."""

    def __init__(self, path: Path, *, stats: bool) -> None:
        describe = lib.feature_stats_tables if stats else lib.feature_config_tables
        expected = ffi.new("struct shm_table_desc[]", lib.SHM_MAX_TABLES)
        err = ffi.new("struct err *")
        self.path = path
        self.shm = ffi.gc(ffi.new("struct shm *"), lib.shm_detach)
        if lib.shm_attach(
            self.shm, str(path).encode(), False, expected, describe(expected, ffi.NULL), err
        ):
            text, hint = (ffi.string(s).decode() for s in (err.text, err.hint))
            raise ShmError(err.code, text, hint)

    def replaced(self) -> bool:
        """Whether the path leads to another file by now."""
        return bool(lib.shm_replaced(self.shm, str(self.path).encode()))

    def changes(self) -> int:
        """Counts the finished changes of the content."""
        return int(self.shm.header.changes)

    def entry(self, table: str) -> Struct:
        """A table's entry in the directory; KeyError."""
        entry = lib.shm_find(self.shm, table.encode())
        if entry == ffi.NULL:
            raise KeyError(table)
        return entry

    def tables(self) -> list[str]:
        """Names of all tables."""
        header = self.shm.header
        return [ffi.string(header.dir[i].name).decode() for i in range(header.n_tables)]

    def structs(self, table: str) -> Struct:
        """All rows of a table, as an array of its C struct."""
        entry, struct = self.entry(table), struct_of(table)
        start = ffi.cast("char *", self.shm.header) + entry.offset
        return ffi.cast(f"{struct}(*)[{entry.capacity}]", start)[0]

    def words(self, table: str, start: int, count: int) -> memoryview:
        """`count` rows from row `start` on as 32-bit words. Only what is read takes memory."""
        entry = self.entry(table)
        if not 0 <= start <= start + count <= entry.capacity:
            raise IndexError(f"table '{table}' has no rows {start} to {start + count - 1}")
        first = ffi.cast("char *", self.shm.header) + entry.offset + start * entry.row_size
        return memoryview(ffi.buffer(first, count * entry.row_size)).cast("I")


class Tables:
    """An instance's two files, each mapped when it's first asked for."""

    def __init__(self, instance: str = "main", *, folder: Path = SHM_FOLDER) -> None:
        self.config_path = folder / f"sluice.{instance}"
        self.stats_path = folder / f"sluice.{instance}.stats"

    @cached_property
    def config(self) -> File:
        """Fpmd's file."""
        return File(self.config_path, stats=False)

    @cached_property
    def stats(self) -> File:
        """fp-rte's file."""
        return File(self.stats_path, stats=True)

    def file_of(self, table: str) -> File:
        """The file that has the table; KeyError."""
        described = ffi.new("struct shm_table_desc[]", lib.SHM_MAX_TABLES)
        for file, describe in (
            ("config", lib.feature_config_tables),
            ("stats", lib.feature_stats_tables),
        ):
            for i in range(describe(described, ffi.NULL)):
                if ffi.string(described[i].name).decode() == table:
                    return self.config if file == "config" else self.stats
        raise KeyError(f"no feature has a table '{table}'")

    def structs(self, table: str) -> Struct:
        """All rows of a table, as an array of its C struct."""
        return self.file_of(table).structs(table)

    def rows(self, table: str) -> Iterator[Row]:
        """The rows that aren't all zero, as dicts; "row" is the index."""
        type_ = ffi.typeof(struct_of(table))
        size = ffi.sizeof(type_)
        zero = bytes(size)
        for index, struct in enumerate(self.structs(table)):
            if ffi.buffer(ffi.addressof(struct))[:] != zero:
                yield {"row": index, **show(struct, type_, size)}

    def fill(self, table: str) -> Fill:
        """How full a table is."""
        entry = self.file_of(table).entry(table)
        return Fill(table, int(entry.used), int(entry.used_most), int(entry.capacity))


def canonical(instance: str = "main", *, folder: Path = SHM_FOLDER) -> dict[str, list[Row]]:
    """What the config file says, feature by feature, in an order and form that don't depend on how
    it came about: no row numbers, but the keys of Linux instead. Each feature's dump.py says how.
    """
    tables = Tables(instance, folder=folder)
    found: dict[str, list[Row]] = {}
    for name in FEATURES:
        if (Path(__file__).parent.parent / "features" / name / "dump.py").exists():
            module = import_module(f"sluice.features.{name}.dump")
            found[name] = sorted(module.canonical(tables), key=lambda row: json.dumps(row))
    return found


def canonical_dump(instance: str = "main", *, folder: Path = SHM_FOLDER) -> str:
    """`canonical` as text, one object a line, so that differences can be read."""
    return "\n".join(
        f"{feature} {json.dumps(row)}"
        for feature, rows in canonical(instance, folder=folder).items()
        for row in rows
    )
