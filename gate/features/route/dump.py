# SPDX-License-Identifier: BSD-3-Clause
"""Routes in the canonical dump: what a walk through the tries finds."""

import ipaddress
import itertools
import socket
from collections.abc import Iterator

from _sluice import ffi, lib
from sluice.features.iface.dump import link
from sluice.fpc.objects import bytes_to
from sluice.shm import Row, Struct, Tables

BLOCK, VALUE = lib.MTRIE_BLOCK, lib.MTRIE_VALUE
FAMILIES = (
    (socket.AF_INET, 32, "mtrie4_root", "mtrie4_block", "root4"),
    (socket.AF_INET6, 128, "mtrie6_root", "mtrie6_block", "root6"),
)


class Walk:
    """One root of one family. Yields (address, prefix length, next hop's row)."""

    def __init__(self, tables: Tables, row: int, bits: int, root: str, block: str) -> None:
        self.config, self.bits, self.block = tables.config, bits, block
        self.root = self.config.words(root, row, 1)

    def leaves(self) -> Iterator[tuple[int, int, int]]:
        """Each prefix that is seen anywhere, once."""
        seen = set()
        for address, plen, nexthop in self.below(self.root, 0, self.bits - 16):
            if (address, plen) not in seen:
                seen.add((address, plen))
                yield address, plen, nexthop

    def below(self, entries: memoryview, base: int, shift: int) -> Iterator[tuple[int, int, int]]:
        """The leaves of one array of entries, each of which stands for 2^shift addresses."""
        index = 0
        for entry, group in itertools.groupby(entries):
            count = sum(1 for _ in group)
            if entry & BLOCK:
                if shift == 0:
                    raise ValueError("the trie is deeper than an address is long")
                for i in range(index, index + count):
                    block = self.config.words(self.block, entry & VALUE, 1)
                    yield from self.below(block, base + (i << shift), shift - 8)
            elif entry & VALUE:
                plen = entry >> 23 & 0xFF
                # The run belongs to one or more prefixes of that length side by side.
                step = 1 << (self.bits - plen)
                start = base + (index << shift)
                end = start + (count << shift)
                for address in range(start - start % step, end, step):
                    yield address, plen, entry & VALUE
            index += count


def canonical(tables: Tables) -> Iterator[Row]:
    """Each prefix that some address ends at, with where it leads."""
    ifaces, nexthops = tables.structs("iface"), tables.structs("nexthop")
    neighs = tables.structs("neigh")
    types = {
        value: name.removeprefix("NEXTHOP_").lower()
        for name, value in ffi.typeof("enum nexthop_type").relements.items()
    }
    groups = tables.structs("nexthop_group")

    def single(hop: Struct) -> Row:
        neigh = neighs[hop.neigh] if hop.neigh else None
        return {
            "iface": link(ifaces, hop.iface),
            "gateway": bytes_to(bytes(ffi.buffer(hop.gateway)), hop.family),
            "mac": bytes(ffi.buffer(neigh.l2))[:6].hex(":") if neigh and neigh.valid else "",
        }

    def slots(group: int) -> list[Row]:
        return [
            {**single(nexthops[number]), "slots": sum(1 for _ in run)}
            for number, run in itertools.groupby(groups[group].slot)
        ]

    vrfs = {0} | {row["vrf"] for row in tables.rows("iface")}
    for vrf in sorted(vrfs):
        for family, bits, root, block, field in FAMILIES:
            for address, plen, number in Walk(
                tables, getattr(tables.structs("vrf")[vrf], field), bits, root, block
            ).leaves():
                hop = nexthops[number]
                packed = address.to_bytes(bits // 8)
                yield {
                    "vrf": vrf,
                    "prefix": f"{ipaddress.ip_address(packed)}/{plen}",
                    "family": int(family),
                    "type": types.get(hop.type, str(hop.type)),
                    **single(hop),
                    **({"slots": slots(hop.group)} if hop.group else {}),
                }
