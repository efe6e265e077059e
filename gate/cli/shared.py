# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli's commands that belong to no feature: status, drops, exceptions, tables, refused.

Keys of `status -j`, one object a daemon: daemon, alive, pid (null if not alive), instance, version
(of the installed product, null where it isn't installed), created (when it made its file of shared
memory, nanoseconds since 1970: tells two of them apart; null for a daemon that has none), changes
(of that file's content). Keys of `drops -j` and `exceptions -j`: reason (its name), text, packets,
and how many of these were to be handed to Linux in the classes control (keeps neighbours, routing
and tunnels alive), local (others for this host) and forwarded (all others).
Keys of `tables -j`: file (config: written by fpmd; stats: by fp-rte), table, used, most (since fpmd
made the file), capacity, fill (percent), version (of the layout), row_size (bytes). Only tables
whose rows are given out count `used`. Keys of `refused -j`: feature, object (its fields in words),
state (refused: not in the fast path; parked: waits for something it depends on), errno, field (the
one that is wrong, or ""), reason.
"""

import argparse

from sluice.cli.command import Command, Row
from sluice.cli.text import text
from sluice.cli.view import View

DAEMONS = ("fpmd", "fp-rte", "cmgrd", "hitflagsd", "fpsd")
REASON_DROP, REASON_EXCEPTION = 0, 1
CLASSES = ("control", "local", "forwarded")


def status(view: View, _: argparse.Namespace) -> list[Row]:
    """Each daemon."""
    if not view.run_dir.exists():
        view.require(view.config_path, "fpmd")
    found: list[Row] = []
    for daemon in DAEMONS:
        pid = view.lock_holder(daemon)
        shared = view.written_by(daemon)
        found.append(
            {
                "daemon": daemon,
                "alive": pid is not None,
                "pid": pid,
                "instance": view.instance,
                "version": product_version(),
                "created": shared.header.created if shared else None,
                "changes": shared.header.changes if shared else None,
            }
        )
    return found


def product_version() -> str | None:
    """As the package says; a build directory has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sluice")
    except PackageNotFoundError:
        return None


def reasons(view: View, arguments: argparse.Namespace, kind: int) -> list[Row]:
    """The counters of one kind, summed over all threads, also those that no longer run."""
    names = view.stats.rows("reason", "struct reason_row")
    counts = view.stats.rows("worker_reason", "struct worker_reason_row")
    classes = view.stats.rows("worker_exception", "struct worker_exception_row")
    found: list[Row] = []
    for number, row in enumerate(names):
        name = text(row.name)
        if not name:
            break
        if row.kind != kind:
            continue
        packets = sum(one.count[number] for one in counts)
        if not packets and not arguments.all:
            continue
        found.append(
            {
                "reason": name,
                "text": text(row.text),
                "packets": packets,
                **{
                    label: sum(one.count[index][number] for one in classes)
                    for index, label in enumerate(CLASSES)
                },
            }
        )
    return found


def class_summary(rows: list[Row]) -> str:
    """Totals: a line below the table for people."""
    totals: dict[str, int] = {}
    for row in rows:
        for label in CLASSES:
            count = row[label]
            assert isinstance(count, int)
            totals[label] = totals.get(label, 0) + count
    return "by class: " + ", ".join(f"{label} {count}" for label, count in totals.items())


def drops(view: View, arguments: argparse.Namespace) -> list[Row]:
    """Why packets were dropped."""
    return reasons(view, arguments, REASON_DROP)


def exceptions(view: View, arguments: argparse.Namespace) -> list[Row]:
    """Why packets were handed to Linux."""
    return reasons(view, arguments, REASON_EXCEPTION)


def tables(view: View, arguments: argparse.Namespace) -> list[Row]:
    """How full each table is."""
    found: list[Row] = []
    for name, shared in (("config", view.config_or_none()), ("stats", view.stats_or_none())):
        if shared is None:
            continue
        for entry in shared.directory():
            counted = entry.used_most > 0
            if name == "stats" and not counted and not arguments.all:
                continue
            found.append(
                {
                    "file": name,
                    "table": text(entry.name),
                    "used": entry.used,
                    "most": entry.used_most,
                    "capacity": entry.capacity,
                    "fill": round(100 * entry.used / entry.capacity, 1) if entry.capacity else 0.0,
                    "version": entry.version,
                    "row_size": entry.row_size,
                }
            )
    if not found:
        view.require(view.config_path, "fpmd")
    return found


def refused(view: View, _: argparse.Namespace) -> list[Row]:
    """Objects of Linux that aren't in the fast path."""
    from sluice.cli.refused import refused_objects

    return refused_objects(view)


def all_argument(parser: argparse.ArgumentParser) -> None:
    """The option of drops, exceptions and tables."""
    parser.add_argument("--all", action="store_true", help="also those without a count")


REASON_COLUMNS = (
    ("reason", "REASON"),
    ("packets", "PACKETS"),
    *((label, label.upper()) for label in CLASSES),
    ("text", "MEANING"),
)
COMMANDS = (
    Command(
        name="status",
        help="which daemons are alive",
        run=status,
        columns=(
            ("daemon", "DAEMON"),
            ("alive", "ALIVE"),
            ("pid", "PID"),
            ("instance", "INSTANCE"),
        ),
    ),
    Command(
        name="drops",
        help="packets dropped, by reason",
        run=drops,
        columns=REASON_COLUMNS,
        nothing="Nothing was dropped.",
        add_arguments=all_argument,
    ),
    Command(
        name="exceptions",
        help="packets handed to Linux, by reason and class",
        run=exceptions,
        columns=REASON_COLUMNS,
        nothing="Nothing was handed to Linux.",
        summary=class_summary,
        add_arguments=all_argument,
    ),
    Command(
        name="tables",
        help="how full the tables are",
        run=tables,
        columns=(
            ("file", "FILE"),
            ("table", "TABLE"),
            ("used", "USED"),
            ("most", "MOST"),
            ("capacity", "CAPACITY"),
            ("fill", "%"),
        ),
        add_arguments=all_argument,
    ),
    Command(
        name="refused",
        help="objects of Linux that aren't in the fast path; their packets take Linux",
        run=refused,
        columns=(
            ("feature", "FEATURE"),
            ("object", "OBJECT"),
            ("state", "STATE"),
            ("reason", "REASON"),
        ),
        nothing="All that Linux has is in the fast path.",
    ),
)
