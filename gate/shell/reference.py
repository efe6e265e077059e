# SPDX-License-Identifier: BSD-3-Clause
"""Writes docs/: the commands, the models and the manual page, from the same things that the program reads.

python3 -m sluice.shell.reference FOLDER
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sluice.mgmt import yang
from sluice.mgmt.app import load_models
from sluice.mgmt.feature import discover
from sluice.mgmt.yang import Schema, SNode, text_of
from sluice.shell import app, model
from sluice.shell.commands import COMMANDS, Command
from sluice.shell.output import PIPES
from sluice.shell.tools import COMMAND, SHELL, TOOLS

MADE = "Made by `make docs` from the program; change it there."
KEYS = (
    ("?", "What can stand at the cursor."),
    ("Tab", "Complete the word, or list what it could become."),
    ("Up, Down", "Older lines that begin with what's typed."),
    ("Ctrl-R", "Search in older lines."),
    ("Ctrl-C", "Forget the line, or end a command."),
    ("Ctrl-D", "Leave."),
)
TREE = (
    ("NAME [VALUE] ...", "While editing: walk, create entries, set values; several in a line."),
    ("..", "One up."),
    ("/ PATH", "From the top."),
    ("PATH { ... }", "A block: } leads back where { was."),
)


def commands() -> list[Command]:
    return sorted([*COMMANDS, COMMAND], key=lambda command: command.name)


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def rows(pairs: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for left, right in pairs:
        yield f"| `{cell(left)}` | {cell(right)} |"
    yield ""


def command_reference() -> Iterator[str]:
    yield "# Commands of `sluice`"
    yield ""
    yield f"{MADE} Words may be abbreviated as long as they're unique."
    yield ""
    yield "## The tree"
    yield ""
    yield from rows(TREE)
    yield "What's in it: [models.md](models.md)."
    yield ""
    for command in commands():
        yield f"## {command.name}"
        yield ""
        yield f"{command.help}{' Only while editing.' if command.edits else ''}"
        yield ""
        yield from rows(command.usage)
        if command is COMMAND:
            for tool in TOOLS:
                if tool.words:
                    yield f"`cmd {tool.name}{f' {tool.target.upper()}' if tool.target else ''}`, then:"
                    yield ""
                    words = [(f"{w.name} ...", w.help) for w in tool.words]
                    yield from rows((*words, ("vrf NAME", "In which VRF; main without it.")))
    yield "## Pipes"
    yield ""
    yield "Behind any command; those that read data (`flat`, `json`, `xml`, `table`) stand first."
    yield ""
    yield from rows(tuple((f"| {pipe.word}", pipe.help) for pipe in PIPES))
    yield "## Keys"
    yield ""
    yield from rows(KEYS)


# Models


def takes(schema: Schema, snode: SNode) -> str:
    """A leaf's type and default in words."""
    if model.is_empty(snode):
        return "nothing"
    text = model.expects(schema, snode)
    default = yang.default_of(snode)
    if default is not None:
        text += f"; {default} if not said"
    if model.is_mandatory(snode) and yang.is_config(snode):
        text += "; has to be there"
    if model.references(schema, snode):
        text += "; one that exists"
    return text


def nodes(schema: Schema, parent: SNode | None, way: list[str]) -> Iterator[tuple[SNode, str, str]]:
    """(node, as it's typed, what it takes) of all nodes below, keys within their lists."""
    for snode in model.children(schema, parent):
        if yang.is_key(snode):
            continue
        words = [*way, model.name_of(snode)]
        taken = ""
        if snode.nodetype == yang.LIST:
            keys = model.keys_of(snode)
            words += [model.name_of(key).upper() for key in keys]
            taken = "; ".join(f"{model.name_of(key).upper()}: {takes(schema, key)}" for key in keys)
        elif snode.nodetype & model.TERMS:
            taken = takes(schema, snode)
        yield snode, " ".join(words), taken
        yield from nodes(schema, snode, words)


def model_reference(schema: Schema) -> Iterator[str]:
    """All models that hold configuration, and the appliance's own ones."""
    by_module: dict[str, list[tuple[SNode, str, str]]] = {}
    for found in nodes(schema, None, []):
        by_module.setdefault(model.module_of(found[0]), []).append(found)
    rpcs: dict[str, list[SNode]] = {}
    for rpc in model.operations(schema):
        rpcs.setdefault(model.module_of(rpc), []).append(rpc)
    yield "# Models"
    yield ""
    yield f"{MADE} Paths are as they're typed in `sluice`; words in capitals are keys."
    yield ""
    for name, inside in sorted(by_module.items()):
        configures = any(yang.is_config(snode) for snode, _, _ in inside)
        if not configures and name.startswith(("ietf-", "nc-")):
            continue
        module = schema.module(name)
        yield f"## {name}"
        yield ""
        described = " ".join(text_of(module.dsc).split())
        yield model.sentence(described) if name.startswith("ietf-") else described
        yield ""
        for title, wanted in (("Configuration", True), ("State", False)):
            these = [node for node in inside if yang.is_config(node[0]) is wanted]
            if not these:
                continue
            yield f"### {title}"
            yield ""
            yield "| path | takes | |" if wanted else "| path | is | |"
            yield "|---|---|---|"
            for snode, path, taken in these:
                yield f"| `{path}` | {cell(taken)} | {cell(model.help_of(snode))} |"
            yield ""
        if name in rpcs:
            yield "### Operations"
            yield ""
            yield from rows(tuple((model.name_of(r), model.help_of(r)) for r in rpcs[name]))


# The manual page


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(cq")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def manual() -> Iterator[str]:
    parser = app.parser()
    yield f'.\\" {MADE}'
    yield '.TH SLUICE 1 "" Sluice'
    yield ".SH NAME"
    yield roff("sluice - command line of the Sluice router appliance")
    yield ".SH SYNOPSIS"
    yield f".B {roff(parser.prog)}"
    yield roff(" ".join(parser.format_usage().split()[2:]))
    yield ".SH DESCRIPTION"
    yield roff(parser.description or "")
    yield roff(
        "It gets the models from the management daemon (yamsd) and makes its commands from them. "
        "Standard input that isn't a terminal is read as commands. "
        "The first command that fails ends a batch; changes that weren't committed are lost then."
    )
    yield ".SH OPTIONS"
    for action in parser._actions:
        flags = ", ".join(action.option_strings)
        value = f" {action.metavar}" if action.metavar else ""
        yield ".TP"
        yield f".B {roff(flags + value)}"
        yield roff(action.help or "")
    yield ".SH COMMANDS"
    for command in commands():
        for usage, text in command.usage:
            yield ".TP"
            yield f".B {roff(usage)}"
            yield roff(text)
    yield ".SH TREE"
    for usage, text in TREE:
        yield ".TP"
        yield f".B {roff(usage)}"
        yield roff(text)
    yield ".SH PIPES"
    for pipe in PIPES:
        yield ".TP"
        yield f".B | {roff(pipe.word)}"
        yield roff(pipe.help)
    yield ".SH KEYS"
    for key, text in KEYS:
        yield ".TP"
        yield f".B {roff(key)}"
        yield roff(text)
    yield ".SH EXIT STATUS"
    yield roff("0 if all commands did what they were to do, 1 if one didn't, 2 for wrong options.")
    yield ".SH FILES"
    for path, text in (
        ("/run/sluice-mgmt/netconf.sock", "The management daemon's socket."),
        ("~/.local/state/sluice/history", "Lines that were typed."),
        ("~/.cache/sluice/models", "Models of servers, as they gave them."),
    ):
        yield ".TP"
        yield f".I {roff(path)}"
        yield roff(text)
    yield ".SH SEE ALSO"
    yield roff(f"cmd {SHELL.word} leads to Linux's own tools.")


def documents() -> dict[str, str]:
    """All files by their names."""
    schema = load_models(discover())
    made = {
        "commands.md": command_reference(),
        "models.md": model_reference(schema),
        "sluice.1": manual(),
    }
    return {name: "\n".join(lines).rstrip() + "\n" for name, lines in made.items()}


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="Write the references.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        folder.mkdir(exist_ok=True)
        for name, text in documents().items():
            (folder / name).write_text(text)
    except OSError as error:
        sys.exit(f"reference: error: {error}")


if __name__ == "__main__":
    main()
