# SPDX-License-Identifier: BSD-3-Clause
"""Shared memory files: layout, versions, bounds, seen from Python through the C functions."""

import errno
import faulthandler
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from _sluice import ffi, lib
from sluice.shm import ShmError, Tables, struct_of


def create(path: Path, describe: Any = lib.feature_config_tables, change: Any = None) -> Any:
    tables = ffi.new("struct shm_table_desc[]", lib.SHM_MAX_TABLES)
    settings, err = ffi.new("struct settings *"), ffi.new("struct err *")
    lib.settings_init(settings)
    count = describe(tables, settings)
    if change:
        change(tables)
    shm = ffi.new("struct shm *")
    if lib.shm_create(shm, str(path).encode(), tables, count, err):
        raise OSError(err.code, ffi.string(err.text).decode())
    return ffi.gc(shm, lib.shm_detach)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    create(tmp_path / "sluice.x")
    create(tmp_path / "sluice.x.stats", lib.feature_stats_tables)
    return Tables("x", folder=tmp_path)


def row(tables: Tables, table: str, index: int) -> Any:
    """A row to write: mapped anew, as the writer does."""
    file = tables.file_of(table)
    shm, err = ffi.new("struct shm *"), ffi.new("struct err *")
    assert not lib.shm_attach(shm, str(file.path).encode(), True, ffi.NULL, 0, err)
    kept.append(ffi.gc(shm, lib.shm_detach))
    return ffi.cast(f"{struct_of(table)} *", lib.shm_rows(shm, table.encode()))[index]


kept: list[Any] = []


def test_every_table_has_a_struct_of_its_rows_size(tables: Tables) -> None:
    for file in (tables.config, tables.stats):
        for table in file.tables():
            assert ffi.sizeof(struct_of(table)) == file.entry(table).row_size
            assert file.entry(table).offset % 64 == 0
            assert len(file.structs(table)) == file.entry(table).capacity > 0


def test_tables_dont_overlap_and_lie_within_the_file(tables: Tables) -> None:
    for file in (tables.config, tables.stats):
        entries = sorted((file.entry(t) for t in file.tables()), key=lambda e: e.offset)
        end = ffi.sizeof("struct shm_header")
        for entry in entries:
            assert entry.offset >= end
            end = entry.offset + entry.row_size * entry.capacity
        assert end <= file.path.stat().st_size


def test_rows_are_shown_with_addresses_as_text(tables: Tables) -> None:
    written = row(tables, "iface", 3)
    written.ifindex, written.mtu, written.name = 7, 1500, b"eth7"
    ffi.memmove(written.mac, b"\2\0\0\0\0\7", 6)
    (shown,) = tables.rows("iface")
    assert (shown["row"], shown["ifindex"], shown["mtu"]) == (3, 7, 1500)
    assert (shown["name"], shown["mac"]) == ("eth7", "02:00:00:00:00:07")
    assert tables.fill("iface").used == 0
    counted = row(tables, "iface_stats", 3)
    counted.rx_packets, counted.ip4.out_forwarded = 5, 4
    (shown,) = tables.rows("iface_stats")
    assert (shown["rx_packets"], shown["ip4"]["out_forwarded"]) == (5, 4)
    with pytest.raises(KeyError):
        tables.structs("no_such")


def test_a_file_isnt_made_over_another(tmp_path: Path) -> None:
    path = tmp_path / "sluice.x"
    path.write_text("precious")
    with pytest.raises(OSError, match=str(path)) as error:
        create(path)
    assert error.value.errno == errno.EEXIST
    assert path.read_text() == "precious"


def test_a_file_that_isnt_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShmError, match=f"{tmp_path}/sluice.x") as error:
        Tables("x", folder=tmp_path).structs("iface")
    assert error.value.errno == errno.ENOENT
    assert "running" in error.value.hint


def change(field: str, value: object) -> Any:
    """Describe the table "iface" otherwise."""

    def apply(tables: Any) -> None:
        table = next(t for t in tables if ffi.string(t.name) == b"iface")
        setattr(table, field, value)

    return apply


other_name = ffi.new("char[]", b"another")


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (change("version", 9), "table 'iface' is version 9 with rows of 64 bytes"),
        (change("row_size", 128), "table 'iface' is version 3 with rows of 128 bytes"),
        (change("name", other_name), "has no table 'iface'"),
    ],
)
def test_another_layout_is_refused_and_the_table_named(
    tmp_path: Path, alter: Any, text: str
) -> None:
    create(tmp_path / "sluice.x", change=alter)
    with pytest.raises(ShmError, match=text) as error:
        Tables("x", folder=tmp_path).structs("iface")
    assert error.value.errno == errno.EPROTO
    assert "another Sluice version" in error.value.hint


def test_a_table_more_is_fine(tmp_path: Path) -> None:
    create(tmp_path / "sluice.x", describe=lambda t, s: add_table(t, s))
    assert Tables("x", folder=tmp_path).config.tables()[-1] == "another"


def add_table(tables: Any, settings: Any) -> int:
    count: int = lib.feature_config_tables(tables, settings)
    tables[count] = {"name": other_name, "version": 1, "row_size": 64, "capacity": 4}
    return count + 1


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, struct.pack("=Q", 0x1234)),  # magic
        (8, struct.pack("=Q", 1 << 40)),  # size
        (16, struct.pack("=I", 65)),  # n_tables
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, offset: int, value: bytes) -> None:
    path = tmp_path / "sluice.x"
    create(path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value)
    with pytest.raises(ShmError, match="no Sluice shared memory"):
        Tables("x", folder=tmp_path).structs("iface")


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", (1 << 64) - 64), ("offset", 1 << 40), ("offset", 65), ("capacity", 0xFFFFFFFF)],
)
def test_a_table_outside_the_file_is_refused(tmp_path: Path, field: str, value: int) -> None:
    path = tmp_path / "sluice.x"
    shm = create(path)
    setattr(shm.header.dir[0], field, value)
    with pytest.raises(ShmError, match="table 'vrf' lies outside the file"):
        Tables("x", folder=tmp_path).structs("iface")


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_a_cut_file_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "sluice.x"
    create(path)
    os.truncate(path, size)
    with pytest.raises(ShmError, match="no Sluice shared memory"):
        Tables("x", folder=tmp_path).structs("iface")


def test_a_file_in_its_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "sluice.x"
    create(path)
    tables = Tables("x", folder=tmp_path)
    assert not tables.config.replaced()
    create(tmp_path / "new")
    (tmp_path / "new").rename(path)
    assert tables.config.replaced()


def test_readers_cant_write(tables: Tables) -> None:
    """The mapping says so; a child process shows it, since it dies of trying."""
    assert not tables.config.shm.writable
    struct_row = tables.structs("iface")[1]
    child = os.fork()
    if not child:
        faulthandler.disable()
        struct_row.ifindex = 1
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 11
