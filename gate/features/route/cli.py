# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli routes, fp-cli route get.

Keys of `-j`: prefix, family (4 or 6), vrf, table (Linux's number; 254 is
main and local together), type (gateway, connected, local, broadcast, blackhole,
unreachable, multipath; linux: a route the fast path leaves to Linux), via (gateway, null without),
interface (name, "" without). Of multipath routes via and interface are lists, and share is one too:
how many of 256 parts of all flows take each next hop; null else. mtu: the route's own, null if it
has none or several next hops. `route get` adds address and mac
(of the neighbour that the packet would be sent to, null if it isn't resolved or there is none).

The routes are read out of the tries that packets are looked up in, so a prefix that longer ones
cover wholly isn't there.
"""

import argparse
import socket

from sluice.cli.command import Command, Row, Value
from sluice.cli.error import CliError
from sluice.cli.text import address_text, family_number, mac_text
from sluice.cli.view import Struct, View
from sluice.features.iface.cli import interface_names
from sluice.features.neigh.cli import chained
from sluice.features.route.trie import VALUE, Trie

TYPES = (
    "none", "gateway", "connected", "local", "broadcast", "blackhole", "unreachable", "linux",
    "multipath",
)  # fmt: skip
ROOT = 65536
NO_MTU = 65535
MAIN = 254
SIZES = {socket.AF_INET: 32, socket.AF_INET6: 128}
TABLES = {
    socket.AF_INET: ("mtrie4_root", "mtrie4_line", "root4"),
    socket.AF_INET6: ("mtrie6_root", "mtrie6_line", "root6"),
}

type Prefix = tuple[int, int]  # address as a number, length


def other_tables(view: View) -> list[Struct]:
    """Rows of routing tables other than main and local."""
    return [row for row in view.config.rows("route_table", "struct route_table_row") if row.table]


def trie_of(view: View, family: int, vrf: int, table: int = MAIN) -> Trie:
    """A VRF's and family's routing table, as it stands in memory; MAIN: tables local and main."""
    root, line, field = TABLES[socket.AddressFamily(family)]
    vrfs = view.config.rows("vrf", "struct vrf_row")
    if not 0 <= vrf < view.config.capacity("vrf"):
        raise CliError(
            f"there is no VRF {vrf}", hint=f"VRFs are 0 to {view.config.capacity('vrf') - 1}"
        )
    of = vrfs[vrf]
    if table != MAIN:
        of = next((row for row in other_tables(view) if (row.vrf, row.table) == (vrf, table)), None)
    start = getattr(of, field) * ROOT if of else 0
    words = view.config.words(root, start=start, count=ROOT)
    return Trie(words, view.config.words(line), SIZES[socket.AddressFamily(family)])


def routes(view: View, arguments: argparse.Namespace) -> list[Row]:
    """The routes of all VRFs that have interfaces, filtered as asked."""
    nexthops = view.config.rows("nexthop", "struct nexthop_row")
    names = interface_names(view)
    wanted = parse_prefix(arguments.prefix) if arguments.prefix else None
    families = [socket.AF_INET, socket.AF_INET6]
    if wanted:
        families = [socket.AddressFamily(wanted[0])]
    elif arguments.family:
        families = [arguments.family]
    found: list[Row] = []
    tables = [(vrf, MAIN) for vrf in {vrf for _, vrf in names.values()} or {0}]
    tables += [(row.vrf, row.table) for row in other_tables(view)]
    for vrf, table in sorted(tables):
        for family in families:
            trie = trie_of(view, family, vrf, table)
            for (address, plen), number in sorted(trie.leaves()):
                if wanted and not within((address, plen), wanted[1], SIZES[family]):
                    continue
                prefix = f"{number_text(family, address)}/{plen}"
                found.append(describe(view, prefix, family, (vrf, table), nexthops[number], names))
    return found


def group_parts(group: Struct) -> list[tuple[int, int]]:
    """A next hop group's members: the row of each, and how many of 256 parts of all hashes it takes, rounded."""
    found = []
    before = 0
    for member in group.member[0 : group.n]:
        end = member.last + 1
        found.append((int(member.nexthop), (end - before + (1 << 22)) >> 23))
        before = end
    return found


def describe(
    view: View,
    prefix: str,
    family: int,
    place: tuple[int, int],
    nexthop: Struct,
    names: dict[int, tuple[str, int]],
) -> Row:
    """A route as an object; `place`: VRF and table."""
    kind = nexthop.type
    via: Value = address_text(nexthop.family, nexthop.gateway) if nexthop.family else None
    interface: Value = names.get(nexthop.iface, ("", 0))[0]
    share: Value = None
    if nexthop.group:
        rows = view.config.rows("nexthop", "struct nexthop_row")
        group = view.config.rows("nexthop_group", "struct nexthop_group_row")[nexthop.group]
        members = [(rows[number], part) for number, part in group_parts(group)]
        via = [address_text(hop.family, hop.gateway) if hop.family else None for hop, _ in members]
        interface = [names.get(hop.iface, ("", 0))[0] for hop, _ in members]
        share = [count for _, count in members]
    return {
        "prefix": prefix,
        "family": family_number(family),
        "vrf": place[0],
        "table": place[1],
        "type": TYPES[kind] if kind < len(TYPES) else str(kind),
        "via": via,
        "interface": interface,
        "share": share,
        "mtu": nexthop.mtu if nexthop.mtu not in (0, NO_MTU) else None,
    }


def get(view: View, arguments: argparse.Namespace) -> list[Row]:
    """The route and neighbour of one destination."""
    family, (address, _) = parse_prefix(arguments.address)
    entry = trie_of(view, family, arguments.vrf, arguments.table).lookup(address)
    number = entry & VALUE
    if not number:
        return []
    nexthop = view.config.rows("nexthop", "struct nexthop_row")[number]
    plen = entry >> 23 & 0xFF
    size = SIZES[socket.AddressFamily(family)]
    network = address >> (size - plen) << (size - plen)
    row = describe(
        view,
        f"{number_text(family, network)}/{plen}",
        family,
        (arguments.vrf, arguments.table),
        nexthop,
        interface_names(view),
    )
    return [
        {"address": number_text(family, address), **row, "mac": next_mac(view, nexthop, address)}
    ]


def next_mac(view: View, nexthop: Struct, address: int) -> str | None:
    """The neighbour's MAC, where there is one."""
    rows = view.config.rows("neigh", "struct neigh_row")
    kind = TYPES[nexthop.type] if nexthop.type < len(TYPES) else ""
    number = 0
    if kind == "gateway":
        number = nexthop.neigh
    elif kind == "connected":
        for candidate in chained(view):
            row = rows[candidate]
            if row.iface == nexthop.iface and number_of(row.family, row.addr) == address:
                number = candidate
    return mac_text(rows[number].l2) if number and rows[number].valid else None


def parse_prefix(word: str) -> tuple[int, Prefix]:
    """ADDRESS or ADDRESS/LENGTH; returns family, address with the bits beyond the length zero,
    length.
    """
    address, slash, length = word.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    size = SIZES[family]
    try:
        number = int.from_bytes(socket.inet_pton(family, address))
        plen = int(length) if slash else size
    except (OSError, ValueError):
        plen = -1
    if not 0 <= plen <= size or (slash and not length.isdecimal()):
        raise CliError(
            f"'{word}' is no IPv4 or IPv6 address or prefix",
            hint="for example 192.0.2.0/24 or 2001:db8::1",
        )
    return family, (number >> (size - plen) << (size - plen), plen)


def within(prefix: Prefix, wanted: Prefix, size: int) -> bool:
    """Whether `prefix` is `wanted` or a part of it."""
    shift = size - wanted[1]
    return prefix[1] >= wanted[1] and prefix[0] >> shift == wanted[0] >> shift


def number_text(family: int, address: int) -> str:
    """An address that stands as a number."""
    size = SIZES[socket.AddressFamily(family)]
    return socket.inet_ntop(family, address.to_bytes(size // 8))


def number_of(family: int, addr: Struct) -> int:
    """The number of a 16-byte address field."""
    size = SIZES[socket.AddressFamily(family)]
    return int.from_bytes(bytes(addr[0 : size // 8]))


def routes_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `routes`."""
    group = parser.add_mutually_exclusive_group()
    for number, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        group.add_argument(
            f"-{number}",
            dest="family",
            action="store_const",
            const=family,
            help=f"only IPv{number}",
        )
    parser.add_argument("prefix", nargs="?", metavar="PREFIX", help="this one and its parts")


def get_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `route get`."""
    parser.add_argument("address", metavar="ADDRESS", help="IPv4 or IPv6")
    parser.add_argument(
        "--vrf", type=int, default=0, metavar="N", help="number of the VRF (default 0)"
    )
    parser.add_argument(
        "--table",
        type=int,
        default=MAIN,
        metavar="N",
        help="routing table (default 254, main and local); rules aren't asked",
    )


COLUMNS = (
    ("prefix", "PREFIX"),
    ("vrf", "VRF"),
    ("table", "TABLE"),
    ("type", "TYPE"),
    ("via", "VIA"),
    ("interface", "INTERFACE"),
    ("share", "SHARE"),
)
COMMANDS = (
    Command(
        name="routes",
        help="routes in the fast path's tries",
        run=routes,
        columns=COLUMNS,
        nothing="The fast path has no such routes.",
        add_arguments=routes_arguments,
    ),
    Command(
        name="route get",
        help="what a packet to ADDRESS would take",
        run=get,
        columns=(("address", "ADDRESS"), *COLUMNS, ("mac", "MAC")),
        nothing="No route: such packets go to Linux.",
        add_arguments=get_arguments,
    ),
)
