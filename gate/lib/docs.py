#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make manual pages and bash completions from what programs say of themselves.

Usage: docs.py man PROGRAM OUTPUT [COMMAND...]   from the argparse tree, or from COMMAND's --help
       docs.py bash PROGRAM OUTPUT

argparse trees come from the modules in PARSERS, so the package `sluice` and `_sluice` must be found.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

# The module that has parser() for each program in Python.
PARSERS = {
    "fp-cli": "sluice.cli.main",
    "fp-cpu-usage": "sluice.cli.cpu_usage",
    "fp-sync": "sluice.cmgrd.fp_sync",
    "cmgrd": "sluice.cmgrd.app",
    "hitflagsd": "sluice.hitflags.app",
    "fpsd": "sluice.fpsd.app",
}
SECTIONS = {
    "fp-cli": 1,
    "fp-cpu-usage": 1,
    "fp-sync": 1,
    "fp-rte": 8,
    "fpmd": 8,
    "cmgrd": 8,
    "hitflagsd": 8,
    "fpsd": 8,
    "fp-stats": 1,
}
OPTION = re.compile(r"^  (?:-(\w), )?--([\w-]+)(?:=(\w+))?\s{2,}(\S.*)$")
TAIL = """.SH EXIT STATUS
0, or 1 with an error and a hint on standard error.
"""


class Option(NamedTuple):
    """An option or, without `names`, an argument."""

    names: tuple[str, ...]
    value: str  # what it takes, "" for nothing
    choices: tuple[str, ...]
    help: str


class Page(NamedTuple):
    """A program, or one of its commands. `keys`: what its output as JSON means, as it stands."""

    name: str
    description: str
    options: list[Option]
    commands: list["Page"]
    keys: str = ""


# --- reading


def option(action: argparse.Action) -> Option:
    """One of argparse's."""
    takes = "" if action.nargs == 0 else str(action.metavar or action.dest).upper()
    choices = tuple(str(choice) for choice in action.choices or ())
    return Option(tuple(action.option_strings), takes, choices, action.help or "")


def from_parser(name: str, parser: argparse.ArgumentParser) -> Page:
    """The tree below a parser."""
    options: list[Option] = []
    commands: list[Page] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands += [from_parser(word, one) for word, one in action.choices.items()]
        else:
            options.append(option(action))
    command = parser.get_default("command")
    keys = ""
    if command:
        keys = sys.modules[(command.run or command.follow).__module__].__doc__ or ""
    return Page(name, parser.description or "", options, commands, keys)


def from_help(name: str, text: str) -> Page:
    """What a program in C prints."""
    head, _, rest = text.partition("\n\n")
    usage, _, description = head.partition("\n")
    if not usage.startswith(f"Usage: {name}"):
        sys.exit(f"docs.py: {name} --help begins with {usage!r}")
    options: list[Option] = []
    for line in rest.splitlines():
        found = OPTION.match(line)
        if found:
            short, long, value, meaning = found.groups()
            names = (f"-{short}",) if short else ()
            options.append(Option((*names, f"--{long}"), value or "", (), meaning))
        elif line.startswith("    ") and options:
            options[-1] = options[-1]._replace(help=f"{options[-1].help} {line.strip()}")
        elif line.strip():
            sys.exit(f"docs.py: a line of {name} --help isn't understood: {line!r}")
    return Page(name, " ".join(description.split()), options, [])


def page_of(program: str, help_command: list[str]) -> Page:
    """What is known of a program."""
    if not help_command:
        return from_parser(program, import_module(PARSERS[program]).parser())
    done = subprocess.run([*help_command, "--help"], capture_output=True, text=True, check=True)
    return from_help(program, done.stdout)


# --- manual pages


def escape(text: str) -> str:
    """Text safe for roff."""
    text = text.replace("\\", "\\e").replace("-", r"\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def option_words(one: Option) -> str:
    """The option as it is typed."""
    takes = "|".join(one.choices) or one.value
    if not one.names:
        return f"\\fI{escape(takes)}\\fR"
    names = ", ".join(f"\\fB{escape(name)}\\fR" for name in one.names)
    return f"{names} \\fI{escape(takes)}\\fR" if takes else names


def options_text(options: list[Option]) -> Iterator[str]:
    """Paragraphs of options."""
    for one in options:
        yield f".TP\n{option_words(one)}\n{escape(sentence(one.help))}\n"


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    if not text:
        sys.exit("docs.py: an option or a command has no help")
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def commands_text(prefix: str, pages: list[Page]) -> Iterator[str]:
    """Each command with its options, those of two words too."""
    for page in pages:
        name = f"{prefix}{page.name}"
        if page.commands:
            yield from commands_text(f"{name} ", page.commands)
            continue
        arguments = " ".join(option_words(one) for one in page.options if not one.names)
        yield f".SS \\fB{escape(name)}\\fR {arguments}\n{escape(sentence(page.description))}\n"
        yield from options_text([one for one in page.options if "--help" not in one.names])


def modules_text(pages: list[Page], seen: set[str]) -> Iterator[str]:
    """What commands' modules say of their output, each once."""
    for page in pages:
        yield from modules_text(page.commands, seen)
        if page.keys and page.keys not in seen:
            seen.add(page.keys)
            yield f".PP\n.nf\n{escape(page.keys.strip())}\n.fi\n"


def man(page: Page, section: int) -> str:
    """The manual page in roff."""
    short = page.description.split(". ")[0].rstrip(".")
    short = short.removeprefix(f"{page.name}: ")
    name = escape(page.name)
    parts = [
        f'.TH {escape(page.name.upper())} {section} "" Sluice "Sluice"\n',
        f".SH NAME\n{name} \\- {escape(short)}\n",
        f".SH SYNOPSIS\n.B {name}\n[\\fIOPTION\\fR]...",
        " \\fICOMMAND\\fR ...\n" if page.commands else "\n",
        f".SH DESCRIPTION\n{escape(sentence(page.description.removeprefix(f'{page.name}: ')))}\n",
        ".SH OPTIONS\n",
        *options_text(page.options),
    ]
    if page.commands:
        parts += [".SH COMMANDS\n", *commands_text("", page.commands)]
        parts += [".SH OUTPUT AS JSON\n", *modules_text(page.commands, set())]
    others = [f".BR {escape(other)} ({at})" for other, at in SECTIONS.items() if other != page.name]
    others.append(r".BR fast\-path.env (5)")
    return "".join(parts) + TAIL + ".SH SEE ALSO\n" + ",\n".join(others) + "\n"


# --- bash


def walk(prefix: str, page: Page) -> Iterator[tuple[str, Page]]:
    """Each command by the words that lead to it; "" is the program."""
    yield prefix, page
    for command in page.commands:
        yield from walk(f"{prefix} {command.name}".strip(), command)


def bash(page: Page) -> str:
    """A completion function; it needs nothing but bash."""
    function = "_" + page.name.replace("-", "_")
    tree = dict(walk("", page))
    valued: dict[str, Option] = {}
    for one in tree.values():
        for each in one.options:
            valued.update((name, each) for name in each.names if each.value or each.choices)
    lines = [
        "# Made by gate/lib/docs.py from the program's own options; don't edit.",
        f"{function}()",
        "{",
        "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' words='' i",
        "\tCOMPREPLY=()",
        "\tfor ((i = 1; i < COMP_CWORD; i++)); do",
        "\t\tcase ${COMP_WORDS[i]} in",
        *([f"\t\t{' | '.join(sorted(valued))}) ((i++)) ;;"] if valued else []),
        "\t\t-*) ;;",
        "\t\t*)",
        '\t\t\tcase "${command:+$command }${COMP_WORDS[i]}" in',
        *(f"\t\t\t'{name}') command='{name}' ;;" for name in tree if name),
        "\t\t\tesac",
        "\t\t\t;;",
        "\t\tesac",
        "\tdone",
        "\tcase $prev in",
    ]
    free: list[str] = []  # options that take what nobody can guess
    for name, each in sorted(valued.items()):
        if each.choices:
            reply = f"compgen -W '{' '.join(each.choices)}' -- \"$cur\""
        elif name == "--instance":
            found = "compgen -G '/dev/shm/sluice.*' | sed -E 's|^/dev/shm/sluice[.]||; s|[.].*||'"
            reply = f'compgen -W "$({found} | sort -u)" -- "$cur"'
        elif each.value == "FILE":
            reply = 'compgen -f -- "$cur"'
        else:
            free.append(name)
            continue
        lines += [f"\t{name})", f"\t\tmapfile -t COMPREPLY < <({reply})", "\t\treturn", "\t\t;;"]
    if free:
        lines.append(f"\t{' | '.join(free)}) return ;;")
    lines += ["\tesac", '\tcase "$command" in']
    for name, one in tree.items():
        words = [command.name for command in one.commands]
        words += [option_name for each in one.options for option_name in each.names]
        words += [choice for each in one.options if not each.names for choice in each.choices]
        lines.append(f"\t'{name}') words='{' '.join(words)}' ;;")
    lines += [
        "\tesac",
        '\tmapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")',
        "}",
        f"complete -F {function} {page.name}",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write one file."""
    kind, program, output, *help_command = sys.argv[1:]
    page = page_of(program, help_command)
    text = man(page, SECTIONS[program]) if kind == "man" else bash(page)
    Path(output).write_text(text)


if __name__ == "__main__":
    main()
