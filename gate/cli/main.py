# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli: look inside a running fast path. It changes nothing; what to do is told to Linux."""

import argparse
import sys
from collections.abc import Iterator, Sequence
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


def parser() -> Parser:
    """The command line; commands of two words are a parser in a parser."""
    top = Parser(prog=PROGRAM, description=__doc__)
    top.add_argument("--instance", default="main", metavar="NAME", help="default main")
    top.add_argument("-j", "--json", action="store_true", help="a list of objects")
    top.set_defaults(command=None)
    seats: dict[str, argparse._SubParsersAction[Parser]] = {
        "": top.add_subparsers(metavar="COMMAND", parser_class=Parser)
    }
    for name, command in commands().items():
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


def output(argv: Sequence[str]) -> Iterator[str]:
    """The output of a command line, piece by piece; each is printed as lines of its own."""
    arguments = parser().parse_args(argv)
    command: Command | None = arguments.command
    if command is None:
        raise CliError("which command?", hint=f"see `{PROGRAM} --help`")
    view = View(arguments.instance)
    if command.follow:
        for row in command.follow(view, arguments):
            yield as_json(row, indent=None) if arguments.json else command.show(row)
        return
    assert command.run
    rows = command.run(view, arguments)
    if arguments.json:
        yield as_json(rows, indent=1)
    elif not rows:
        yield command.nothing
    else:
        yield aligned(rows, command.columns)
        if command.summary:
            yield command.summary(rows)


def as_json(value: object, *, indent: int | None) -> str:
    """Commands for people needn't load the module."""
    import json

    return json.dumps(value, indent=indent)


def run(argv: Sequence[str]) -> str:
    """All of the output of a command line."""
    return "\n".join(output(argv))


def main() -> int:
    """The program."""
    try:
        for text in output(sys.argv[1:]):
            print(text, flush=True)
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
