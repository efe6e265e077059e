# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli interfaces, fp-cli stats.

Keys of `interfaces -j`: name, ifindex, vrf, type (port: the fast path sends there itself; linux:
packets for it take Linux), port (number, null for others), kind (Linux's link kind, "" for a device
without), mac, mtu, mtu6, up, running, forward4, forward6, flags (what else keeps packets on Linux's path:
rpf, rpf_loose, loopback, slave, foreign; proxy, multicast), l3mdev (name of the VRF device
that it's a port of, "" without), table (whose routing table this is, null without).

Keys of `stats -j`, one object an interface, packets that the fast path carried: name, ifindex, vrf,
rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, tx_dropped, exceptions (received here,
handed to Linux), workers (a list of objects: worker, core, rx_packets, tx_packets). Bytes are with
the Ethernet header.
"""

import argparse
from collections.abc import Iterator

from _sluice import lib
from sluice.cli.command import Command, Row
from sluice.cli.text import mac_text, text
from sluice.cli.view import Struct, View

IFACE_PORT = 1
FLAGS = (
    "up", "running", "forward4", "forward6", "rpf", "loopback", "slave", "foreign",
    "rpf_loose", "proxy", "multicast",
)  # fmt: skip
SHOWN_APART = FLAGS[:4]
COUNTERS = (
    "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "rx_dropped", "tx_dropped", "exceptions",
)  # fmt: skip


def links(view: View) -> Iterator[tuple[int, Struct]]:
    """Row number and row of each link."""
    for number, row in enumerate(view.config.rows("iface", "struct iface_row")):
        if number and row.ifindex:
            yield number, row


def interface_names(view: View) -> dict[int, tuple[str, int]]:
    """Name and VRF of each link, by row number."""
    return {number: (text(row.name), row.vrf) for number, row in links(view)}


def interfaces(view: View, _: argparse.Namespace) -> list[Row]:
    """Each link of Linux that the fast path knows."""
    found: list[Row] = []
    kinds = view.config.rows("iface_kind", "struct iface_kind_row")
    tables = view.config.rows("route_table", "struct route_table_row")
    devices = {(row.vrf, row.ifindex): text(row.name) for _, row in links(view)}
    for number, row in links(view):
        flags = [name for bit, name in enumerate(FLAGS) if row.flags >> bit & 1]
        is_port = row.type == IFACE_PORT
        found.append(
            {
                "name": text(row.name),
                "ifindex": row.ifindex,
                "vrf": row.vrf,
                "type": "port" if is_port else "linux",
                "port": row.port if is_port else None,
                "kind": text(kinds[number].kind),
                "mac": mac_text(row.mac),
                "mtu": row.mtu,
                "mtu6": row.mtu6,
                **{name: name in flags for name in SHOWN_APART},
                "flags": [name for name in flags if name not in SHOWN_APART],
                "l3mdev": devices.get((row.vrf, row.l3mdev), ""),
                "table": tables[row.table].table if row.table else None,
            }
        )
    return found


def stats(view: View, arguments: argparse.Namespace) -> list[Row]:
    """What the fast path carried, per interface; those that never carried a packet only if they're
    ports.
    """
    capacity = view.stats.capacity("iface_stats") // lib.WORKERS_MAX
    bases = view.config.rows("iface_base", "struct iface_base_row")
    created = view.stats.header.created
    counters = view.stats.rows("iface_stats", "struct iface_stats_row")
    workers = view.workers()
    found: list[Row] = []
    for number, row in links(view):
        rows = [(worker, counters[worker.number * capacity + number]) for worker in workers]
        base = bases[number].base if bases[number].created == created else None
        sums: Row = {
            key: sum(getattr(one, key) for _, one in rows) - (getattr(base, key) if base else 0)
            for key in COUNTERS
        }
        if row.type != IFACE_PORT and not any(sums.values()) and not arguments.all:
            continue
        found.append(
            {
                "name": text(row.name),
                "ifindex": row.ifindex,
                "vrf": row.vrf,
                **sums,
                "workers": [
                    {
                        "worker": worker.number,
                        "core": worker.core,
                        "rx_packets": one.rx_packets,
                        "tx_packets": one.tx_packets,
                    }
                    for worker, one in rows
                ],
            }
        )
    return found


def stats_summary(rows: list[Row]) -> str:
    """Totals, and who forwarded: lines below the table for people."""
    totals = [sum(number(row[key]) for row in rows) for key in COUNTERS]
    sums = dict(zip(COUNTERS, totals, strict=True))
    dropped = sums["rx_dropped"] + sums["tx_dropped"]
    per_worker: dict[str, int] = {}
    for row in rows:
        workers = row["workers"]
        assert isinstance(workers, list)
        for one in workers:
            who = f"worker {one['worker']} on CPU {one['core']}"
            per_worker[who] = per_worker.get(who, 0) + one["tx_packets"]
    lines = [
        f"total: {sums['tx_packets']} forwarded, {sums['exceptions']} handed to Linux,"
        f" {dropped} dropped"
    ]
    lines += [f"{who}: {packets} forwarded" for who, packets in per_worker.items()]
    return "\n".join(lines)


def number(value: object) -> int:
    """A counter of a row."""
    assert isinstance(value, int)
    return value


def stats_arguments(parser: argparse.ArgumentParser) -> None:
    """The option of `stats`."""
    parser.add_argument("--all", action="store_true", help="interfaces without packets too")


COMMANDS = (
    Command(
        name="interfaces",
        help="links of Linux as the fast path knows them",
        run=interfaces,
        columns=(
            ("name", "NAME"),
            ("ifindex", "INDEX"),
            ("vrf", "VRF"),
            ("l3mdev", "L3MDEV"),
            ("type", "TYPE"),
            ("port", "PORT"),
            ("kind", "KIND"),
            ("mac", "MAC"),
            ("mtu", "MTU"),
            ("up", "UP"),
            ("running", "RUNNING"),
            ("forward4", "IPV4"),
            ("forward6", "IPV6"),
            ("flags", "FLAGS"),
        ),
        nothing="The fast path knows no interfaces: is cmgrd running?",
    ),
    Command(
        name="stats",
        help="what the fast path carried, per interface",
        run=stats,
        columns=(
            ("name", "NAME"),
            ("rx_packets", "RX PACKETS"),
            ("rx_bytes", "RX BYTES"),
            ("tx_packets", "TX PACKETS"),
            ("tx_bytes", "TX BYTES"),
            ("rx_dropped", "RX DROPPED"),
            ("tx_dropped", "TX DROPPED"),
            ("exceptions", "EXCEPTIONS"),
        ),
        nothing="The fast path knows no interfaces: is cmgrd running?",
        summary=stats_summary,
        add_arguments=stats_arguments,
    ),
)
