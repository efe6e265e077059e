# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli mss.

Keys of `-j`, one object a rule: family (4 or 6), vrf, input, output (names of interfaces, null: any),
flags (VALUE/MASK of the TCP flags a packet must have), size (the size it sets, null without), route
(true: what the routes' MTU lets through).
"""

import argparse

from sluice.cli.command import Command, Row
from sluice.cli.text import family_number, text
from sluice.cli.view import View

ROUTE, LINUX = 1 << 16, 1 << 17


def mss(view: View, _: argparse.Namespace) -> list[Row]:
    """The rules that lower TCP's maximum segment size."""
    found: list[Row] = []
    for row in view.config.rows("mss", "struct mss_row"):
        if row.clamp and not row.clamp & LINUX:
            found.append(
                {
                    "family": family_number(row.family),
                    "vrf": row.vrf,
                    "input": text(row.input) or None,
                    "output": text(row.output) or None,
                    "flags": f"{row.tcp_value:#x}/{row.tcp_mask:#x}",
                    "size": row.clamp & 0xFFFF or None,
                    "route": bool(row.clamp & ROUTE),
                }
            )
    return found


COMMANDS = (
    Command(
        name="mss",
        help="rules that lower TCP's maximum segment size",
        run=mss,
        columns=(
            ("family", "IPV"),
            ("vrf", "VRF"),
            ("input", "FROM"),
            ("output", "TO"),
            ("flags", "TCP FLAGS"),
            ("size", "SIZE"),
            ("route", "ROUTE'S MTU"),
        ),
        nothing="The fast path lowers no maximum segment size.",
    ),
)
