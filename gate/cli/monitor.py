# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli monitor and fp-cli rings.

Keys of `monitor -j`, one JSON line an interval: time (seconds since 1970), seconds (measured),
interfaces: objects with name, vrf, rx_packets, rx_bits, tx_packets, tx_bits, dropped, exceptions;
workers: objects as of fp-cpu-usage; reasons: objects with reason, kind (drop, exception, or counter
of a plugin), packets, text, of those that were met meanwhile. All counts are a second; bits are with
the Ethernet header.

Keys of `rings -j`: name, kind (to-linux, from-linux, transmit, capture, spread, memory), owner
(port of to-linux, worker of from-linux, transmit and spread, CPU socket of memory), used, most (of what was seen ten
times a second since fp-rte's start), size, fill (percent), lost (of
capture: copies that weren't shown; packets that other rings have no room for are among the drops).
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

from sluice.cli import cpu_counters
from sluice.cli.command import Command, Row
from sluice.cli.error import CliError
from sluice.cli.output import aligned
from sluice.cli.text import text
from sluice.cli.view import View

COUNTERS = (
    "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "rx_dropped", "tx_dropped", "exceptions",
)  # fmt: skip
KINDS = ("drop", "exception", "counter")
RING_KINDS = ("", "to-linux", "from-linux", "transmit", "capture", "spread", "memory")
INTERFACE_COLUMNS = (
    ("name", "INTERFACE"),
    ("rx_packets", "RX PACKETS/S"),
    ("rx_bits", "RX BIT/S"),
    ("tx_packets", "TX PACKETS/S"),
    ("tx_bits", "TX BIT/S"),
    ("dropped", "DROPPED/S"),
    ("exceptions", "EXCEPTIONS/S"),
)
REASON_COLUMNS = (
    ("reason", "REASON"), ("kind", "KIND"), ("packets", "PACKETS/S"), ("text", "MEANING"),
)  # fmt: skip


class Reading(NamedTuple):
    """All counters at one moment."""

    at: float  # CLOCK_MONOTONIC
    interfaces: dict[tuple[str, int], tuple[int, ...]]  # by name and VRF
    ports: set[tuple[str, int]]
    workers: dict[tuple[int, int], dict[str, int]]
    reasons: dict[tuple[str, int, str], int]  # by name, kind and text


def read(view: View) -> Reading:
    """The counters now."""
    capacity = view.config.capacity("iface")
    stats = view.stats.rows("iface_stats", "struct iface_stats_row")
    names = view.stats.rows("reason", "struct reason_row")
    counts = view.stats.rows("worker_reason", "struct worker_reason_row")
    workers = [worker.number for worker in view.workers()]
    interfaces: dict[tuple[str, int], tuple[int, ...]] = {}
    ports: set[tuple[str, int]] = set()
    for number, row in enumerate(view.config.rows("iface", "struct iface_row")):
        if not number or not row.ifindex:
            continue
        key = (text(row.name), row.vrf)
        rows = [stats[worker * capacity + number] for worker in workers]
        interfaces[key] = tuple(sum(getattr(one, counter) for one in rows) for counter in COUNTERS)
        if row.type:
            ports.add(key)
    reasons: dict[tuple[str, int, str], int] = {}
    for number, row in enumerate(names):
        name = text(row.name)
        if not name:
            break
        total = sum(counts[worker].count[number] for worker in workers)
        if total:
            reasons[name, row.kind, text(row.text)] = total
    return Reading(time.monotonic(), interfaces, ports, cpu_counters.read(view), reasons)


def rates(before: Reading, after: Reading) -> Row:
    """What happened between two readings, a second."""
    seconds = after.at - before.at
    interfaces: list[Row] = []
    for key, now in after.interfaces.items():
        then = before.interfaces.get(key, (0,) * len(COUNTERS))
        # An interface that was made anew begins at what it has now.
        moved = [b - a if b >= a else b for a, b in zip(then, now, strict=True)]
        if not any(moved) and key not in after.ports:
            continue
        delta = dict(zip(COUNTERS, moved, strict=True))
        interfaces.append(
            {
                "name": key[0],
                "vrf": key[1],
                "rx_packets": round(delta["rx_packets"] / seconds),
                "rx_bits": round(8 * delta["rx_bytes"] / seconds),
                "tx_packets": round(delta["tx_packets"] / seconds),
                "tx_bits": round(8 * delta["tx_bytes"] / seconds),
                "dropped": round((delta["rx_dropped"] + delta["tx_dropped"]) / seconds),
                "exceptions": round(delta["exceptions"] / seconds),
            }
        )
    met = {key: now - before.reasons.get(key, 0) for key, now in after.reasons.items()}
    reasons: list[Row] = [
        {"reason": name, "kind": KINDS[kind], "packets": round(count / seconds, 1), "text": meaning}
        for (name, kind, meaning), count in sorted(met.items(), key=lambda item: -item[1])
        if count > 0
    ]
    return {
        "time": round(time.time(), 3),
        "seconds": round(seconds, 3),
        "interfaces": interfaces,
        "workers": cpu_counters.usage(before.workers, after.workers, seconds),
        "reasons": reasons,
    }


def monitor(view: View, arguments: argparse.Namespace) -> Iterator[Row]:
    """Rates, an interval after the other."""
    if not 0.01 <= arguments.interval <= 3600:
        raise CliError(f"can't measure over {arguments.interval:g} s", hint="use 0.01 to 3600")
    if arguments.count < 0:
        raise CliError(f"can't show {arguments.count} intervals", hint="use 1 and more")
    before, shown = read(view), 0
    while not arguments.count or shown < arguments.count:
        time.sleep(arguments.interval)
        after = read(view)
        yield rates(before, after)
        before, shown = after, shown + 1


def monitor_shown(row: Row) -> str:
    """One interval for people."""
    at = row["time"]
    assert isinstance(at, float)
    head = time.strftime("%H:%M:%S", time.localtime(at)) + f", over {row['seconds']} s"
    parts = [head]
    for key, columns in (
        ("interfaces", INTERFACE_COLUMNS),
        ("workers", cpu_counters.COLUMNS),
        ("reasons", REASON_COLUMNS),
    ):
        rows = row[key]
        assert isinstance(rows, list)
        if rows:
            parts.append(aligned(rows, columns))
    return "\n\n".join(parts) + "\n"


def monitor_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `monitor`."""
    parser.add_argument(
        "--interval", type=float, default=1, metavar="S", help="seconds to measure (default 1)"
    )
    parser.add_argument(
        "--count", type=int, default=0, metavar="N", help="end after N intervals (default: never)"
    )


def rings(view: View, _: argparse.Namespace) -> list[Row]:
    """How full the rings between threads and the packet memory are."""
    found: list[Row] = []
    for row in view.stats.rows("ring", "struct ring_row"):
        name = text(row.name)
        if not name:
            break
        found.append(
            {
                "name": name,
                "kind": RING_KINDS[row.kind] if row.kind < len(RING_KINDS) else str(row.kind),
                "owner": row.owner,
                "used": row.used,
                "most": row.used_most,
                "size": row.size,
                "fill": round(100 * row.used / row.size, 1) if row.size else 0.0,
                "lost": row.lost,
            }
        )
    return found


COMMANDS = (
    Command(
        name="monitor",
        help="live rates per interface, worker and reason",
        follow=monitor,
        show=monitor_shown,
        add_arguments=monitor_arguments,
    ),
    Command(
        name="rings",
        help="how full the rings between threads and the packet memory are",
        run=rings,
        columns=(
            ("name", "RING"),
            ("used", "USED"),
            ("most", "MOST"),
            ("size", "SIZE"),
            ("fill", "%"),
        ),
        nothing="fp-rte has no rings: it has never run.",
    ),
)
