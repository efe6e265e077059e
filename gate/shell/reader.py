# SPDX-License-Identifier: BSD-3-Clause
"""Reading whole lines: commands, statements of the tree, pipes; and from the same reading completion and help."""

from collections.abc import Iterator
from dataclasses import dataclass

from sluice.shell import output, tree
from sluice.shell import tools as _tools
from sluice.shell.client import Offline, RpcError
from sluice.shell.commands import COMMANDS, Action, Command, problems
from sluice.shell.output import Output, Plumbing
from sluice.shell.place import of_path
from sluice.shell.words import Line, Option, Refused, Wanted, match, quote
from sluice.shell.world import ShellError, World

ENTER = Option("<enter>", "Do it.")
PIPE = Option("|", "Show the output in another way.")
CMD = _tools.COMMAND


@dataclass
class Job:
    """A line that can be run."""

    action: Action
    plumbing: Plumbing

    @property
    def repeats(self) -> bool:
        return self.plumbing.watch is not None


def parse(world: World, text: str, *, completing: bool = False) -> Job | None:
    """Read a line; None if it says nothing. Raises Refused, or, completing, Wanted."""
    line = Line.of(text, completing=completing)
    if not line.tokens:
        return None
    left, right = output.split_pipes(line)
    action, data = _command(world, left)
    plumbing = Plumbing() if right is None else output.parse(right, data=data)
    return Job(action, plumbing)


def _usable(world: World) -> list[Option]:
    return [command.option for command in [*COMMANDS, CMD] if world.editing or not command.edits]


def _command(world: World, line: Line) -> tuple[Action, bool]:
    token = line.peek()
    assert token is not None
    if line.cursor() is None:
        if token.text in ("/", "..") or token.text.startswith(("/", "../")):
            return _statement(world, line), False
        if token.text == "}" and not token.quoted:
            return _close(world, line), False
    options = _usable(world)
    if world.editing:
        tree.slashes(line)
        options += tree.choices(world, world.place, config=True)
        if world.place.steps:
            options += [tree.UP, tree.ROOT]
    _hint_about_modes(world, line, options)
    found = line.choose(options, "known here")
    if isinstance(found.tag, Command):
        return found.tag.parse(world, line), found.tag.data
    line.at -= 1
    return _statement(world, line), False


def _hint_about_modes(world: World, line: Line, options: list[Option]) -> None:
    """A word that would be right while editing says so."""
    token = line.peek()
    if world.editing or token is None or line.cursor() is not None:
        return
    if match(options, token):
        return
    others = [command.option for command in COMMANDS if command.edits]
    try:
        others += tree.choices(world, world.place, config=True)
    except Offline:
        return
    found = match(others, token)
    if isinstance(found, Option):
        raise Refused(
            f"{found.word!r} is for editing", token.start, token.end, hint="`edit running` begins"
        )


def _statement(world: World, line: Line) -> Action:
    if not world.editing and line.cursor() is None:
        token = line.peek()
        raise line.refuse("nothing is being edited", token, hint="`edit running` begins")
    found = tree.statement(world, line, world.place)
    opens = False
    if line.more() and line.cursor() is None:
        token = line.peek()
        if token is not None and token.text == "{" and not token.quoted:
            line.at += 1
            opens = True
    line.done()

    def run() -> Output:
        new = bool(found.sets)
        if found.walks and found.sets and not world.batch:
            new = not world.exists(found.sets[-1][0])
        if new:
            try:
                world.put(found.sets)
            except RpcError as error:
                raise _pointed(world, found, error) from error
        if opens:
            world.blocks.append(world.place)
            world.place = found.place
        elif found.walks and not world.blocks and not tree.settles(world, found):
            world.place = found.place
        return Output(problems(world) if new else [])

    return run


def _pointed(world: World, found: tree.Statement, error: RpcError) -> Exception:
    """The server's refusal at the word that it's about, if it says which."""
    for fault in error.faults:
        place = of_path(world.schema, fault.path) if fault.path else None
        for named, token in reversed(found.words):
            if place is not None and named.path() == place.path():
                return Refused(fault.message or fault.tag, token.start, token.end)
    return error


def _close(world: World, line: Line) -> Action:
    token = line.peek()
    line.at += 1
    line.done()
    if not world.blocks:
        raise line.refuse("there's no { that this could close", token)

    def run() -> Output:
        world.place = world.blocks.pop()
        return Output()

    return run


def check(world: World, text: str) -> Refused | None:
    """What's wrong with a line that is being typed; what may still become right isn't."""
    try:
        parse(world, text)
    except Refused as error:
        return None if error.typing else error
    except (Offline, ShellError):
        return None
    return None


def wanted(world: World, text: str) -> Wanted | None:
    """What could stand at the end of a line."""
    try:
        parse(world, text, completing=True)
    except Wanted as found:
        return found
    except (Refused, Offline, ShellError):
        return None
    return None


def complete(world: World, text: str) -> tuple[int, list[Option]]:
    """What the word at the end could become: the column it begins in, and the words as they're typed."""
    found = wanted(world, text)
    if found is None:
        return len(text), []
    options = [
        Option(quote(option.word), option.help)
        for option in found.options
        if option.word.startswith(found.token.text)
    ]
    return found.token.start, options


def finished(world: World, text: str) -> bool:
    """Whether a line could be run as it is."""
    try:
        return parse(world, text) is not None
    except (Refused, Offline, ShellError):
        return False


def describe(world: World, text: str) -> Iterator[str]:
    """Help for the end of a line: what can stand there, with what it means."""
    try:
        parse(world, text, completing=True)
        options, expects, start = [], "", ""
    except Wanted as found:
        start = found.token.text
        options = [option for option in found.options if option.word.startswith(start)]
        expects = found.expects
    except Refused as error:
        yield f"{error.text}{f' ({error.hint})' if error.hint else ''}"
        return
    # Names are listed; values can be others than those offered as well.
    if expects and (not options or ": " in expects):
        yield f"  {expects}"
    if not start and finished(world, text):
        options += [ENTER, PIPE]
    width = max((len(option.word) for option in options), default=0)
    for option in options:
        yield f"  {option.word.ljust(width)}  {option.help}".rstrip()
    if not options and not expects:
        yield "  nothing can follow"
