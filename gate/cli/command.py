# SPDX-License-Identifier: BSD-3-Clause
"""What a command of fp-cli is. Features bring theirs in gate/features/<feature>/cli.py, as
`COMMANDS`.

A command returns rows, each a dict with the same keys in the same order. `fp-cli -j` prints them as
they are: their keys and units are a contract, told in the module that makes them, and only ever
added to. People see those that `columns` lists, in a table.

A command that goes on (`follow` in place of `run`) gives row after row; `-j` prints each as one
line, people see what `show` makes of it.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sluice.cli.view import View

type Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
type Row = dict[str, Value]


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """Most commands have none."""


class Command(NamedTuple):
    """One command. `name` may be two words (`route get`)."""

    name: str
    help: str
    run: Callable[[View, argparse.Namespace], list[Row]] | None = None
    # Key and heading, in the order people see them.
    columns: Sequence[tuple[str, str]] = ()
    # What people see instead of a table without rows.
    nothing: str = ""
    # Lines below the table, for people.
    summary: Callable[[list[Row]], str] | None = None
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments
    follow: Callable[[View, argparse.Namespace], Iterator[Row]] | None = None
    show: Callable[[Row], str] = str
