# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli: look inside a running fast path. It only reads; what to do is told to Linux."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from sluice.cli.command import Command
from sluice.cli.discover import commands
from sluice.cli.error import CliError
from sluice.cli.output import aligned
from sluice.cli.view import View

PROGRAM = "fp-cli"


class Parser(argparse.ArgumentParser):
    """One line and a hint, exit status 1, like all our programs."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for wrong arguments."""
        raise CliError(message, hint=f"see `{self.prog} --help`")


def parser(known: dict[str, Command]) -> Parser:
    """The command line; commands of two words are a parser in a parser."""
    top = Parser(prog=PROGRAM, description=__doc__)
    top.add_argument("--instance", default="main", metavar="NAME", help="default main")
    top.add_argument("-j", "--json", action="store_true", help="a list of objects")
    top.set_defaults(command=None)
    seats: dict[str, argparse._SubParsersAction[Parser]] = {
        "": top.add_subparsers(metavar="COMMAND", parser_class=Parser)
    }
    for name, command in known.items():
        group, _, last = name.rpartition(" ")
        if group not in seats:
            inner = seats[""].add_parser(group, help=f"see `{PROGRAM} {group} --help`")
            seats[group] = inner.add_subparsers(metavar="COMMAND", required=True)
        one = seats[group].add_parser(last, help=command.help, description=command.help)
        # -j is taken behind the command too; SUPPRESS, or it'd undo the one in front of it.
        one.add_argument(
            "-j", "--json", action="store_true", default=argparse.SUPPRESS, help="a list of objects"
        )
        one.set_defaults(command=command)
        command.add_arguments(one)
    return top


def run(argv: Sequence[str]) -> str:
    """The output of a command line."""
    top = parser(commands())
    arguments = top.parse_args(argv)
    command: Command | None = arguments.command
    if command is None:
        raise CliError("which command?", hint=f"see `{PROGRAM} --help`")
    rows = command.run(View(arguments.instance), arguments)
    if arguments.json:
        import json

        return json.dumps(rows, indent=1)
    if not rows:
        return command.nothing
    lines = [aligned(rows, command.columns)]
    if command.summary:
        lines.append(command.summary(rows))
    return "\n".join(lines)


def main() -> int:
    """The program."""
    try:
        print(run(sys.argv[1:]))
        sys.stdout.flush()
    except CliError as error:
        return error.show(PROGRAM)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain once more while it exits.
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
