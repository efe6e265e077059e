# SPDX-License-Identifier: BSD-3-Clause
"""MSS clamps in the canonical dump."""

from collections.abc import Iterator

from _sluice import ffi, lib
from sluice.shm import Row, Tables


def canonical(tables: Tables) -> Iterator[Row]:
    """Each rule; and whether some found no room, so that Linux clamps."""
    rows = tables.structs("mss")
    for row in rows:
        if row.clamp:
            yield {
                "vrf": row.vrf,
                "family": row.family,
                "flags": f"{row.tcp_value:#x}/{row.tcp_mask:#x}",
                "input": ffi.string(row.input).decode(errors="replace"),
                "output": ffi.string(row.output).decode(errors="replace"),
                "size": row.clamp & 0xFFFF,
                "route": bool(row.clamp & lib.MSS_ROUTE),
                "linux": bool(row.clamp & lib.MSS_LINUX),
            }
