# SPDX-License-Identifier: BSD-3-Clause
"""fp-sync: how the fast path follows Linux. Looks, compares, records and replays; asks cmgrd, fpmd and the kernel.

Keys of `status -j` (one object): ready (all of the kernel's state is known), synced (fpmd has it), uptime_seconds,
objects (how many of each feature), waiting (objects that fpmd is still to be told), refused (since the last sync),
lag_seconds (from a change's arrival to fpmd's answer, last), lag_most_seconds (most since the last look), messages
(decoded in C), changes, losses, malformed, failures, dumps, dumps_interrupted, audits, divergences (objects that an
audit had to repair), divergences_fpmd (features of which fpmd had others than it was told), syncs, connections_lost.

Keys of `check -j` (a list): kind (missing: the kernel has it, the fast path doesn't; extra; different; table: a row
of shared memory differs from what a new fpmd writes), feature, object, kernel, fast_path.

Keys of `monitor -j` (a line each): verb (SET, DEL), feature, object (for people), cause (the kernel's message), body
(FPC's, hex); or lost: changes that weren't shown because the reader was too slow.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from sluice.cli.error import CliError
from sluice.cli.output import aligned
from sluice.cli.view import View
from sluice.cmgrd import compare, tape
from sluice.cmgrd.ask import Answers

PROGRAM = "fp-sync"


class Command(NamedTuple):
    """One command; `run` returns the exit status."""

    name: str
    help: str
    run: Callable[[View, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None


class Parser(argparse.ArgumentParser):
    """One line and a hint, exit status 1, like all our programs."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for wrong arguments."""
        raise CliError(message, hint=f"see `{self.prog} --help`")


def status(view: View, options: argparse.Namespace) -> int:
    """What cmgrd says of itself."""
    with Answers(view, "status") as answers:
        shown = next(iter(answers))
    if options.json:
        print(json.dumps(shown))
        return 0
    objects = shown.pop("objects")
    shown |= {f"objects: {name}": count for name, count in objects.items()}
    rows = [{"name": name.replace("_", " "), "value": value} for name, value in shown.items()]
    print(
        aligned(
            [row | {"value": str(row["value"])} for row in rows],
            (("name", "NAME"), ("value", "VALUE")),
        )
    )
    return 0


def check(view: View, options: argparse.Namespace) -> int:
    """0: equal, 1: different."""
    found = compare.check(view, seconds=options.seconds, tables=options.tables)
    if options.json:
        print(json.dumps(found.differences, indent=1))
    else:
        for row in found.differences:
            print(compare.text(row))
        print(found.summary)
    return 1 if found.differences else 0


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `check`."""
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="how long a difference must last (3)",
    )
    parser.add_argument(
        "--tables",
        action="store_true",
        help="also compare shared memory with what a new fpmd writes; needs as much memory again",
    )


def monitor(view: View, options: argparse.Namespace) -> int:
    """Changes as they come."""
    with Answers(view, "monitor") as answers:
        for count, change in enumerate(answers):
            if count == 0:
                continue  # it listens
            if options.json:
                print(json.dumps(change), flush=True)
            elif "lost" in change:
                print(f"{change['lost']} changes weren't shown", flush=True)
            else:
                how = "deleted" if change["verb"] == "DEL" else "set"
                print(f"{change['object']} {how}: {change['cause']}", flush=True)
            if count == options.count:
                return 0
    return 0


def monitor_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `monitor`."""
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N changes")


def record(view: View, options: argparse.Namespace) -> int:
    """Objects and changes into a file."""
    told = tape.record(view, options.file, seconds=options.seconds)
    if options.json:
        print(json.dumps(told))
    else:
        print(f"{told['objects']} objects and {told['changes']} changes are in {options.file}")
    return 0


def record_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `record`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="is written anew, a line a frame")
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.0,
        metavar="S",
        help="end then; else on SIGINT or SIGTERM",
    )


def replay(view: View, options: argparse.Namespace) -> int:
    """A recording into an fpmd that has no cmgrd."""
    told = tape.replay(view, options.file)
    if options.json:
        print(json.dumps(told))
    else:
        print(f"{told['frames']} frames sent, {told['refused']} objects refused")
    return 0


def replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `replay`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="from `record`, or `fpmd --record`")


COMMANDS = (
    Command("status", "how far cmgrd is, and what it had to repair", status),
    Command("check", "compare the kernel with the fast path; exit status 1 if they differ", check, check_arguments),
    Command("monitor", "changes as they come, each with the kernel's message behind it", monitor, monitor_arguments),
    Command("record", "write all objects, then the changes as they come, to a file", record, record_arguments),
    Command("replay", "send what was recorded to the instance's fpmd, in cmgrd's place", replay, replay_arguments),
)  # fmt: skip


def parser() -> Parser:
    """The command line."""
    top = Parser(prog=PROGRAM, description="fp-sync: how the fast path follows Linux.")
    top.add_argument("--instance", default="main", metavar="NAME", help="default main")
    top.add_argument("-j", "--json", action="store_true", help="answer in JSON")
    top.set_defaults(command=None)
    commands = top.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        one = commands.add_parser(command.name, help=command.help, description=command.help)
        one.add_argument(
            "-j", "--json", action="store_true", default=argparse.SUPPRESS, help="answer in JSON"
        )
        one.set_defaults(command=command)
        command.add_arguments(one)
    return top


def main() -> int:
    """The program."""
    try:
        options = parser().parse_args()
        if options.command is None:
            raise CliError("which command?", hint=f"see `{PROGRAM} --help`")
        command: Command = options.command
        return command.run(View(options.instance), options)
    except CliError as error:
        return error.show(PROGRAM)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
