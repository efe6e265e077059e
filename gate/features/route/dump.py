# SPDX-License-Identifier: BSD-3-Clause
"""Routes in the canonical dump: what a walk through the tries finds."""

import ipaddress
import socket
from collections.abc import Iterator

from _sluice import ffi, lib
from sluice.features.iface.dump import link
from sluice.features.route.trie import Trie
from sluice.fpc.objects import bytes_to
from sluice.shm import Row, Struct, Tables

MAIN = 254
FAMILIES = ((socket.AF_INET, 4, 32), (socket.AF_INET6, 6, 128))


def trie(tables: Tables, version: int, size: int, of: Struct) -> Trie:
    """A routing table: `of` is its row, or the VRF's for local and main."""
    root = getattr(of, f"root{version}")
    name = f"mtrie{version}_line"
    lines = tables.config.words(name, 0, tables.config.entry(name).capacity)
    return Trie(tables.config.words(f"mtrie{version}_root", root, 1), lines, size)


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
            "mtu": hop.mtu if hop.mtu != lib.NEXTHOP_NO_MTU else 0,
            "mac": bytes(ffi.buffer(neigh.l2))[:6].hex(":") if neigh and neigh.valid else "",
        }

    def members(group: Struct) -> list[Row]:
        return [
            {**single(nexthops[one.nexthop]), "last": one.last} for one in group.member[0 : group.n]
        ]

    vrfs = {0} | {row["vrf"] for row in tables.rows("iface")}
    # A routing table's row: that of the VRF for main and local.
    roots = [(vrf, MAIN, tables.structs("vrf")[vrf]) for vrf in vrfs]
    roots += [(r.vrf, r.table, r) for r in tables.structs("route_table") if r.table]
    for vrf, table, of in sorted(roots, key=lambda one: one[:2]):
        for family, version, bits in FAMILIES:
            for (address, plen), number in trie(tables, version, bits, of).leaves():
                hop = nexthops[number]
                packed = address.to_bytes(bits // 8)
                yield {
                    "vrf": vrf,
                    "table": table,
                    "prefix": f"{ipaddress.ip_address(packed)}/{plen}",
                    "family": int(family),
                    "type": types.get(hop.type, str(hop.type)),
                    **single(hop),
                    **({"members": members(groups[hop.group])} if hop.group else {}),
                }
