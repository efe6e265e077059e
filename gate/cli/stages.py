# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli stages and fp-cli plugins.

Keys of `stages -j`, one object a stage in the order in which packets pass them: stage, text,
registered (how many functions of features and plugins work there), everywhere (true: it's on for
all packets), interfaces (names of those it's on for), vrfs (numbers of those it's on for).

Keys of `plugins -j`, in the order of FP_PLUGINS: name, version, text, path, arguments, joined (hooks
and stages that it registered), counters: a list of objects with counter (its name in the plugin),
kind (drop, exception or counter), count, text.
"""

import argparse

from sluice.cli.command import Command, Row, Value
from sluice.cli.text import text
from sluice.cli.view import View

KINDS = ("drop", "exception", "counter")


def stages(view: View, arguments: argparse.Namespace) -> list[Row]:
    """The way of a packet."""
    links = [row for row in view.config.rows("iface", "struct iface_row") if row.ifindex]
    vrfs = list(enumerate(view.config.rows("vrf", "struct vrf_row")))
    found: list[Row] = []
    for number, row in enumerate(view.stats.rows("stage", "struct stage_row")):
        name = text(row.name)
        if not name:
            break
        interfaces: list[Value] = [text(link.name) for link in links if link.stages >> number & 1]
        in_vrfs: list[Value] = [vrf for vrf, one in vrfs if one.stages >> number & 1]
        if not (arguments.all or row.registered or row.everywhere or interfaces or in_vrfs):
            continue
        found.append(
            {
                "stage": name,
                "text": text(row.text),
                "registered": row.registered,
                "everywhere": bool(row.everywhere),
                "interfaces": interfaces,
                "vrfs": in_vrfs,
            }
        )
    return found


def plugins(view: View, _: argparse.Namespace) -> list[Row]:
    """What was loaded, and what it counted."""
    reasons = view.stats.rows("reason", "struct reason_row")
    counts = view.stats.rows("worker_reason", "struct worker_reason_row")
    names = [text(row.name) for row in reasons]
    found: list[Row] = []
    for row in view.stats.rows("plugin", "struct plugin_row"):
        plugin = text(row.name)
        if not plugin:
            break
        counters: list[Value] = [
            {
                "counter": name.removeprefix(f"{plugin}_"),
                "kind": KINDS[reasons[number].kind],
                "count": sum(one.count[number] for one in counts),
                "text": text(reasons[number].text),
            }
            for number, name in enumerate(names)
            if reasons[number].plugin and name.startswith(f"{plugin}_")
        ]
        found.append(
            {
                "name": plugin,
                "version": text(row.version),
                "text": text(row.text),
                "path": text(row.path),
                "arguments": text(row.arguments),
                "joined": list(text(row.joined).split()),
                "counters": counters,
            }
        )
    return found


def counters_below(rows: list[Row]) -> str:
    """The counters, for people."""
    lines: list[str] = []
    for row in rows:
        counters = row["counters"]
        assert isinstance(counters, list)
        for one in counters:
            lines.append(f"{row['name']} {one['counter']}: {one['count']} {one['text']}")
    return "\n".join(lines)


def stages_arguments(parser: argparse.ArgumentParser) -> None:
    """The option of stages."""
    parser.add_argument("--all", action="store_true", help="also those where nobody works")


COMMANDS = (
    Command(
        name="stages",
        help="the stages of a packet's way, in order: who works there, and where they're on",
        run=stages,
        columns=(
            ("stage", "STAGE"),
            ("registered", "FUNCTIONS"),
            ("everywhere", "EVERYWHERE"),
            ("interfaces", "INTERFACES"),
            ("vrfs", "VRFS"),
            ("text", "MEANING"),
        ),
        nothing="Nobody works at any stage; --all shows them.",
        add_arguments=stages_arguments,
    ),
    Command(
        name="plugins",
        help="plugins of the fast path, and their counters",
        run=plugins,
        columns=(
            ("name", "PLUGIN"),
            ("version", "VERSION"),
            ("joined", "JOINED"),
            ("arguments", "ARGUMENTS"),
            ("text", "MEANING"),
        ),
        summary=counters_below,
        nothing="No plugin is loaded (FP_PLUGINS in fast-path.env).",
    ),
)
