# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli rules.

Keys of `-j`, one object a rule, in the order in which packets meet them: vrf, family (4 or 6), pref
(place in the fast path's list, from 0; not Linux's number), from, to (prefixes, "all"), selectors
(the others, in words), action (table N, main, local, the table of the packet's VRF device, goto N,
blackhole, unreachable, linux: what matches takes Linux). Families whose rules are the kernel's own
have none.
"""

import argparse
import socket
from collections.abc import Iterator

from _sluice import lib
from sluice.cli.command import Command, Row
from sluice.cli.view import Struct, View

FAMILIES = ((socket.AF_INET, 4, "rules4"), (socket.AF_INET6, 16, "rules6"))
ACTIONS = {
    lib.FPC_RULE_BLACKHOLE: "blackhole",
    lib.FPC_RULE_UNREACHABLE: "unreachable",
    lib.FPC_RULE_LINUX: "linux",
}
TABLES = {lib.ROUTE_TABLE_MAIN: "table main", lib.ROUTE_TABLE_LOCAL: "table local"}


def rules(view: View, _: argparse.Namespace) -> list[Row]:
    """All rules beyond the kernel's own."""
    return list(shown(view))


def shown(view: View) -> Iterator[Row]:
    """Rule by rule."""
    sets = view.config.rows("rule_set", "struct rule_set_row")
    for vrf, row in enumerate(view.config.rows("vrf", "struct vrf_row")):
        for family, size, field in FAMILIES:
            number = getattr(row, field)
            if not number:
                continue
            for place in range(sets[number].n):
                entry = sets[number].rule[place].entry
                yield {
                    "vrf": vrf,
                    "family": 4 if size == 4 else 6,
                    "pref": place,
                    "from": prefix(family, entry.src, entry.src_plen, size),
                    "to": prefix(family, entry.dst, entry.dst_plen, size),
                    "selectors": " ".join(selectors(entry)),
                    "action": action(view, entry),
                }


def prefix(family: int, address: Struct, plen: int, size: int) -> str:
    """As `ip rule` has it."""
    if not plen:
        return "all"
    return f"{socket.inet_ntop(family, bytes(address[0:size]))}/{plen}"


def selectors(entry: Struct) -> Iterator[str]:
    """What else must be so."""
    if entry.flags & lib.FPC_RULE_ENTRY_INVERT:
        yield "not"
    if entry.flags & lib.FPC_RULE_ENTRY_IIF:
        yield f"iif {entry.iif}"
    if entry.tos_mask:
        yield f"tos {entry.tos:#x}/{entry.tos_mask:#x}"
    if entry.flags & lib.FPC_RULE_ENTRY_PROTO:
        yield f"ipproto {entry.proto}"
    if entry.flags & lib.FPC_RULE_ENTRY_SPORT:
        yield f"sport {entry.sport[0]}-{entry.sport[1]}"
    if entry.flags & lib.FPC_RULE_ENTRY_DPORT:
        yield f"dport {entry.dport[0]}-{entry.dport[1]}"
    if entry.flags & lib.FPC_RULE_ENTRY_SUPPRESS:
        yield f"suppress_prefixlength {entry.suppress_plen}"


def action(view: View, entry: Struct) -> str:
    """What becomes of a packet that matches."""
    if entry.action == lib.FPC_RULE_GOTO:
        return f"goto {entry.target}"
    if entry.action != lib.FPC_RULE_TABLE:
        return ACTIONS.get(entry.action, str(entry.action))
    if entry.flags & lib.FPC_RULE_ENTRY_L3MDEV:
        return "table of the VRF device"
    if entry.table in TABLES:
        return TABLES[entry.table]
    tables = view.config.rows("route_table", "struct route_table_row")
    return f"table {tables[entry.table].table}"


COMMANDS = (
    Command(
        name="rules",
        help="policy routing in the fast path",
        run=rules,
        columns=(
            ("vrf", "VRF"),
            ("family", "FAMILY"),
            ("pref", "PLACE"),
            ("from", "FROM"),
            ("to", "TO"),
            ("selectors", "SELECTORS"),
            ("action", "ACTION"),
        ),
        nothing="The rules are the kernel's own: local, main, default.",
    ),
)
