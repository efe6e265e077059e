# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli neighbours.

Keys of `-j`: address, family (4 or 6), interface (name), vrf, mac (null: a next hop names it, but
Linux hasn't resolved it), state (Linux's, such as REACHABLE; "" without MAC), used (seconds since
the fast path last sent a packet there, null: never).
"""

import argparse
import time
from collections.abc import Iterator

from sluice.cli.command import Command, Row
from sluice.cli.text import address_text, family_number, mac_text
from sluice.cli.view import View
from sluice.features.iface.cli import interface_names

STATES = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}


def chained(view: View) -> Iterator[int]:
    """Row numbers of all neighbours, by way of the hash table: rows outside of it are free."""
    rows = view.config.rows("neigh", "struct neigh_row")
    for first in view.config.words("neigh_bucket"):
        number, steps = first, 0
        # A chain can change while it's followed; what's met is a neighbour, but it needn't end.
        while number and steps < len(rows):
            yield number
            number, steps = rows[number].next, steps + 1


def neighbours(view: View, _: argparse.Namespace) -> list[Row]:
    """Each neighbour, resolved or not."""
    rows = view.config.rows("neigh", "struct neigh_row")
    stats = view.stats_or_none()
    hits = stats.rows("neigh_hit", "struct neigh_hit_row") if stats else None
    names = interface_names(view)
    now = int(time.monotonic())
    found: list[Row] = []
    for number in chained(view):
        row = rows[number]
        name, vrf = names.get(row.iface, ("", 0))
        used = hits[number].seconds if hits is not None else 0
        if used <= row.born:
            used = 0  # of another neighbour, which had the row before
        found.append(
            {
                "address": address_text(row.family, row.addr),
                "family": family_number(row.family),
                "interface": name,
                "vrf": vrf,
                "mac": mac_text(row.l2) if row.valid else None,
                "state": STATES.get(row.state, hex(row.state)) if row.valid else "",
                "used": max(0, now - used) if used else None,
            }
        )
    return sorted(found, key=lambda row: (row["family"], row["interface"], row["address"]))


COMMANDS = (
    Command(
        name="neighbours",
        help="link layer addresses of neighbours",
        run=neighbours,
        columns=(
            ("address", "ADDRESS"),
            ("interface", "INTERFACE"),
            ("vrf", "VRF"),
            ("mac", "MAC"),
            ("state", "STATE"),
            ("used", "USED (S AGO)"),
        ),
        nothing="The fast path knows no neighbours.",
    ),
)
