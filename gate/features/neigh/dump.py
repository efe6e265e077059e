# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours in the canonical dump."""

from collections.abc import Iterator

from _sluice import ffi
from sluice.features.iface.dump import link
from sluice.fpc.objects import bytes_to
from sluice.shm import Row, Tables


def canonical(tables: Tables) -> Iterator[Row]:
    """Each neighbour that workers find: along the chains, so a row that isn't linked is missed."""
    ifaces, neighs = tables.structs("iface"), tables.structs("neigh")
    for bucket in tables.structs("neigh_bucket"):
        at, left = bucket.first, len(neighs)
        while at:
            neigh = neighs[at]
            l2 = bytes(ffi.buffer(neigh.l2))
            yield {
                "iface": link(ifaces, neigh.iface),
                "addr": bytes_to(bytes(ffi.buffer(neigh.addr)), neigh.family),
                "mac": l2[:6].hex(":") if neigh.valid else "",
                "source": l2[6:12].hex(":") if neigh.valid else "",
                "state": neigh.state,
            }
            at, left = neigh.next, left - 1
            if not left:
                raise ValueError("a chain of neighbours runs in a circle")
