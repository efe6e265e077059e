# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces in the canonical dump."""

from collections.abc import Iterator

from _sluice import lib
from sluice.shm import Row, Struct, Tables


def link(ifaces: Struct, row: int) -> str:
    """An interface row as others name it: VRF/ifindex; "" for none, "gone" for one without a link."""
    if not row:
        return ""
    iface = ifaces[row]
    return f"{iface.vrf}/{iface.ifindex}" if iface.ifindex else "gone"


def canonical(tables: Tables) -> Iterator[Row]:
    """Each interface that has a link."""
    numbers = tables.structs("route_table")
    for row in tables.rows("iface"):
        if row.pop("row") and row["ifindex"]:
            if row["type"] != lib.IFACE_PORT:
                del row["port"]
            row["table"] = numbers[row["table"]].table if row["table"] else 0
            yield row
