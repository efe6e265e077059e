# SPDX-License-Identifier: BSD-3-Clause
"""Ports in the canonical dump."""

from collections.abc import Iterator

from sluice.features.iface.dump import link
from sluice.shm import Row, Tables


def canonical(tables: Tables) -> Iterator[Row]:
    """Each port, and the link it's bound to."""
    ifaces = tables.structs("iface")
    for row in tables.rows("port"):
        if row["tap_ifindex"]:
            yield {
                "port": row["row"],
                "tap_ifindex": row["tap_ifindex"],
                "mac": row["mac"],
                "name": row["name"],
                "iface": link(ifaces, row["iface"]),
            }
