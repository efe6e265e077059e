# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli vrfs.

Keys of `-j`: vrf (number), name (of the network namespace, "" for the one the daemons run in),
ipv4, ipv6 (fast: the fast path forwards; linux: all packets of the family take Linux), interfaces
(how many there are, of all kinds), mroutes4, mroutes6 (multicast routes, by which Linux forwards).
"""

import argparse

from _sluice import lib
from sluice.cli.command import Command, Row
from sluice.cli.text import text
from sluice.cli.view import View
from sluice.features.iface.cli import links


def vrfs(view: View, _: argparse.Namespace) -> list[Row]:
    """Each VRF that is known."""
    counts: dict[int, int] = {}
    for _number, link in links(view):
        counts[link.vrf] = counts.get(link.vrf, 0) + 1
    return [
        {
            "vrf": number,
            "name": text(row.name),
            "ipv4": "linux" if row.flags & lib.FPC_VRF_POLICY4 else "fast",
            "ipv6": "linux" if row.flags & lib.FPC_VRF_POLICY6 else "fast",
            "interfaces": counts.get(number, 0),
            "mroutes4": row.mroutes4,
            "mroutes6": row.mroutes6,
        }
        for number, row in enumerate(view.config.rows("vrf", "struct vrf_row"))
        if row.flags != lib.FPC_VRF_FLAGS or row.netns
    ]


COMMANDS = (
    Command(
        name="vrfs",
        help="network namespaces that are VRFs",
        run=vrfs,
        columns=(
            ("vrf", "VRF"),
            ("name", "NAME"),
            ("ipv4", "IPV4"),
            ("ipv6", "IPV6"),
            ("interfaces", "INTERFACES"),
            ("mroutes4", "MROUTES4"),
            ("mroutes6", "MROUTES6"),
        ),
        nothing="The fast path knows no VRF.",
    ),
)
