# SPDX-License-Identifier: BSD-3-Clause
"""Rules in the canonical dump."""

from collections.abc import Iterator

from _sluice import ffi, lib
from sluice.shm import Row, Tables

FAMILIES = ((4, "rules4"), (6, "rules6"))


def canonical(tables: Tables) -> Iterator[Row]:
    """Each VRF's and family's list; a table as its number in Linux."""
    sets, numbers = tables.structs("rule_set"), tables.structs("route_table")
    for vrf, row in enumerate(tables.structs("vrf")):
        for family, field in FAMILIES:
            found = getattr(row, field)
            for place in range(sets[found].n if found else 0):
                entry = sets[found].rule[place].entry
                content = bytearray(ffi.buffer(ffi.addressof(entry)))
                table = entry.table
                if entry.action == lib.FPC_RULE_TABLE and table > lib.ROUTE_TABLE_LOCAL:
                    table = numbers[table].table
                offset = ffi.offsetof("struct fpc_rule_entry", "table")
                content[offset : offset + 4] = bytes(4)
                yield {
                    "vrf": vrf,
                    "family": family,
                    "place": place,
                    "table": table,
                    "rule": bytes(content).hex(),
                }
