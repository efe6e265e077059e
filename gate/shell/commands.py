# SPDX-License-Identifier: BSD-3-Clause
"""The commands that aren't the models': what each takes, and what it does.

A parser reads the command's words and returns what is to be done; nothing happens before the whole line is read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from sluice.mgmt import yang
from sluice.mgmt.yang import Defaults, Format
from sluice.shell import load, model, tree
from sluice.shell.client import RpcError
from sluice.shell.output import Output
from sluice.shell.place import NETCONF, Place, term
from sluice.shell.show import View, difference
from sluice.shell.words import Line, Option, quote
from sluice.shell.world import DATASTORES, PERSIST, SLUICE, ShellError, World

Action = Callable[[], Output]


@dataclass(frozen=True)
class Command:
    """`usage` is for the reference; `edits`: only while a configuration is edited; `data`: its output is data."""

    name: str
    help: str
    usage: tuple[tuple[str, str], ...]
    parse: Callable[[World, Line], Action]
    edits: bool = False
    data: bool = False

    @property
    def option(self) -> Option:
        return Option(self.name, self.help, self)


COMMANDS: list[Command] = []


def command(
    name: str,
    text: str,
    *usage: tuple[str, str],
    edits: bool = False,
    data: bool = False,
) -> Callable[[Callable[[World, Line], Action]], Callable[[World, Line], Action]]:
    def register(parse: Callable[[World, Line], Action]) -> Callable[[World, Line], Action]:
        COMMANDS.append(Command(name, text, usage, parse, edits, data))
        return parse

    return register


def said(*lines: str) -> Output:
    return Output(lines)


def problems(world: World) -> Iterable[str]:
    return [f"not valid yet: {text}" for text in world.problems]


# Editing


@command(
    "edit",
    "Begin to change the configuration.",
    ("edit running", "Begin with the configuration that runs."),
    ("edit startup", "Begin with the one that a start of the machine begins with."),
)
def edit(world: World, line: Line) -> Action:
    named = line.choose(
        [
            Option("running", "Begin with the configuration that runs."),
            Option("startup", "Begin with the one that a start of the machine begins with."),
        ],
        "a configuration to edit",
    )
    line.done()

    def run() -> Output:
        if world.editing and world.edited:
            raise ShellError(
                "there are changes that aren't committed", "`commit` or `rollback` first"
            )
        world.enter()
        if named.word == "startup":
            world.flush()
            world.rpc(f'<rollback xmlns="{SLUICE}"><startup/></rollback>')
            world.touched()
        return said()

    return run


@command(
    "exit",
    "Stop editing; or leave.",
    (
        "exit",
        "Stop editing, or leave if nothing is edited. Changes that aren't committed keep you.",
    ),
    ("exit discard", "Forget them."),
)
def leave(world: World, line: Line) -> Action:
    discard = False
    if line.more():
        line.choose([Option("discard", "Forget changes that aren't committed.")], "known here")
        discard = True
        line.done()

    def run() -> Output:
        if not world.editing:
            raise EOFError
        if world.edited and not discard:
            raise ShellError(
                "there are changes that aren't committed",
                "`commit` makes them run, `exit discard` forgets them",
            )
        world.leave()
        return said()

    return run


@command(
    "set",
    "Set values or create entries, and stay where you are.",
    ("set PATH [VALUE]", "As without `set`, but never walks."),
    edits=True,
)
def set_(world: World, line: Line) -> Action:
    found = tree.statement(world, line, world.place)
    line.done()
    if not found.sets:
        raise line.refuse("a value or an entry is missing")

    def run() -> Output:
        world.put(found.sets)
        return Output(problems(world))

    return run


@command(
    "del",
    "Delete a node and all below it.",
    ("del PATH", "A value, an entry, a container, or all entries of a list."),
    edits=True,
)
def delete(world: World, line: Line) -> Action:
    place = tree.path(world, line, world.place, config=True, values=True)
    line.done()
    if not place.steps:
        raise line.refuse("what is to be deleted?", hint="`rollback factory` begins from nothing")

    def run() -> Output:
        world.delete(place)
        while world.place.steps[: len(place.steps)] == place.steps:
            world.place = world.place.up
        return Output(problems(world))

    return run


def _entry(world: World, line: Line) -> tuple[Place, tuple[str, ...]]:
    """ENTRY to KEY..."""
    to = Option("to", "The new name follows.")
    first = line.peek()
    place = tree.path(world, line, world.place, config=True, stop=(to,))
    if not place.is_entry:
        raise line.refuse(f"{place} isn't an entry of a list", first)
    line.choose([to], "known here")
    snode = place.steps[-1].snode
    found = tree.keys(world, line, place.up, snode)
    line.done()
    return place, found


@command(
    "rename",
    "Give an entry another name; what refers to it follows.",
    ("rename ENTRY to KEY", "ENTRY is a path to an entry of a list."),
    edits=True,
)
def rename(world: World, line: Line) -> Action:
    place, keys = _entry(world, line)

    def run() -> Output:
        count = world.copy_entry(place, keys, rename=True)
        size = len(place.steps)
        if world.place.steps[:size] == place.steps:
            rest = world.place.steps[size:]
            world.place = Place((*place.up.down(place.steps[-1].snode, keys).steps, *rest))
        told = [f"references that follow: {count}"] if count else []
        return Output([*told, *problems(world)])

    return run


@command(
    "copy",
    "Copy an entry, or a whole configuration.",
    ("copy ENTRY to KEY", "A copy of a list's entry under another name."),
    ("copy running startup", "What runs is what the next start begins with; the same as `save`."),
    ("copy startup candidate", "Edit what the next start begins with."),
)
def copy(world: World, line: Line) -> Action:
    first = line.peek()
    sources = [Option(name, f"The {name} configuration.") for name in DATASTORES]
    whole = first is None or line.cursor() is not None or first.text in DATASTORES
    if not whole:
        place, keys = _entry(world, line)

        def run_entry() -> Output:
            world.copy_entry(place, keys, rename=False)
            return Output(problems(world))

        return run_entry
    offered = list(sources)
    if world.editing:
        offered += tree.choices(world, world.place, config=True)
    source = line.choose(offered, "something to copy")
    targets = [o for o in sources if o.word not in ("running", source.word)]
    target = line.choose(targets, "something to copy to")
    line.done()

    def run() -> Output:
        if target.word == "candidate":
            world.enter()
        world.flush()
        world.rpc(
            f"<copy-config><target><{target.word}/></target>"
            f"<source><{source.word}/></source></copy-config>"
        )
        if target.word == "candidate":
            world.touched()
        return said()

    return run


# Looking


def _source(world: World, line: Line) -> str:
    """The datastore a `show config` begins with."""
    token = line.peek()
    if token is not None and line.cursor() is None and token.text in DATASTORES:
        line.at += 1
        return token.text
    return "candidate" if world.editing else "running"


@command(
    "show",
    "Show configuration or state.",
    ("show config [running|candidate|startup] [PATH]", "What's configured, as it can be typed in."),
    ("show config ... all", "With what the models say about what nobody has said."),
    ("show state [PATH]", "What is: counters, neighbours, sessions."),
    data=True,
)
def show(world: World, line: Line) -> Action:
    named = line.choose(
        [Option("config", "What's configured."), Option("state", "What is.")], "something to show"
    )
    if named.word == "state":
        place = tree.path(world, line, world.place, config=False)
        line.done()
        return lambda: Output(
            view=View(world.tree("state", place), place, config=False, state=True)
        )
    every = Option("all", "With what the models say about what nobody has said.")
    stop = [every]
    cursor = line.cursor()
    if cursor is not None:
        stop += [Option(name, f"The {name} configuration.") for name in DATASTORES]
    source = _source(world, line)
    place = tree.path(world, line, world.place, config=True, stop=tuple(stop))
    defaults = False
    if line.more():
        line.choose([every], "known here")
        defaults = True
    line.done()

    def run() -> Output:
        found = world.tree(source, place)
        if defaults:
            found.add_defaults()
        return Output(view=View(found, place, defaults=defaults))

    return run


@command(
    "diff",
    "What has been changed and isn't committed.",
    ("diff", "The candidate beside what runs: - goes, + comes."),
    ("diff startup", "What runs, or is edited, beside what the next start begins with."),
)
def diff(world: World, line: Line) -> Action:
    base = "running"
    if line.more():
        base = line.choose(
            [
                Option("running", "Beside what runs."),
                Option("startup", "Beside what the next start begins with."),
            ],
            "something to compare with",
        ).word
        line.done()

    def run() -> Output:
        mine = "candidate" if world.editing else "running"
        old = list(View(world.tree(base), Place()).flat())
        new = list(View(world.tree(mine), Place()).flat())
        lines = list(difference(old, new))
        if mine == "candidate" and base == "running" and not lines:
            world.edited = False
        return Output(lines, value={"diff": lines})

    return run


# Committing


@command(
    "validate",
    "Whether what's edited could be committed.",
    ("validate", "All that's wrong, with its place."),
    edits=True,
)
def validate(world: World, line: Line) -> Action:
    line.done()

    def run() -> Output:
        world.flush()
        found = world.check()
        return Output(found or ["valid"], failed=bool(found), value={"problems": found})

    return run


def _comment(line: Line) -> str:
    token = line.take('a comment, in "quotation marks"')
    if len(token.text) > 1024:
        raise line.refuse("a comment has at most 1024 characters", token)
    return token.text


def _minutes(line: Line) -> int:
    """Seconds, from minutes or `90s`; 10 minutes without a number."""
    token = line.peek()
    if token is None or (line.cursor() is None and not token.text[:1].isdigit()):
        return 600
    if line.cursor() is not None:
        return 600
    number, unit = token.text.removesuffix("s"), token.text.endswith("s")
    if not number.isdecimal() or not 1 <= int(number) <= 86400:
        raise line.refuse(
            f"{token.text!r} isn't a time", token, hint="minutes, such as 5, or seconds: 90s"
        )
    line.at += 1
    return int(number) * (1 if unit else 60)


COMMENT = Option("comment", "Say why.")


@command(
    "commit",
    "Make what's edited run: all of it, or nothing.",
    ('commit [comment "WHY"]', "Also confirms a commit that waits for it."),
    (
        'commit confirmed [MINUTES] [comment "WHY"]',
        "Undone unless another `commit` follows within so many minutes (10; or 90s), whatever happens to the session.",
    ),
    ("commit cancel", "Undo a commit that waits to be confirmed."),
)
def commit(world: World, line: Line) -> Action:
    confirmed: int | None = None
    comment = ""
    left = [
        Option("confirmed", "Undone after some minutes unless another commit follows."),
        Option("cancel", "Undo a commit that waits to be confirmed."),
        COMMENT,
    ]
    while line.more():
        named = line.choose(left, "known here")
        if named.word == "cancel":
            line.done()
            return lambda: _cancel(world)
        left = [o for o in left if o.word not in (named.word, "cancel")]
        if named.word == "comment":
            comment = _comment(line)
        else:
            confirmed = _minutes(line)
    return lambda: _commit(world, confirmed, comment)


def pending(world: World) -> str:
    """Whose confirmed commit waits; empty if none does."""
    reply = world.rpc(
        f'<get><filter><management xmlns="{SLUICE}"><confirmed-commit/></management></filter></get>'
    )
    user, session = (
        reply.findtext(f".//{{{SLUICE}}}{name}") or "" for name in ("user", "session-id")
    )
    return f"{user} (session {session})" if session else ""


def _commit(world: World, confirmed: int | None, comment: str) -> Output:
    waits = pending(world)
    if not world.editing and not waits:
        raise ShellError("nothing is being edited", "`edit running` begins")
    world.flush()
    top = etree.Element("commit")
    if confirmed is not None:
        etree.SubElement(top, "confirmed")
        etree.SubElement(top, "confirm-timeout").text = str(confirmed)
        etree.SubElement(top, "persist").text = PERSIST
    if waits:
        etree.SubElement(top, "persist-id").text = PERSIST
    if comment:
        etree.SubElement(top, "comment", nsmap={None: SLUICE}).text = comment
        top[-1].tag = f"{{{SLUICE}}}comment"
    try:
        world.rpc(etree.tostring(top))
    except RpcError as error:
        if waits and any("persist-id" in fault.message for fault in error.faults):
            raise ShellError(
                f"a commit of {waits} waits to be confirmed",
                "it's confirmed in that session, or undone after its time",
            ) from error
        raise
    world.clean()
    if confirmed is not None:
        return said(
            f"committed; undone in {confirmed} seconds unless you `commit` again, "
            "from here or after another login"
        )
    return said("confirmed" if waits else "committed")


def _cancel(world: World) -> Output:
    top = etree.Element("cancel-commit")
    etree.SubElement(top, "persist-id").text = PERSIST
    world.rpc(etree.tostring(top))
    return said("undone")


@command(
    "rollback",
    "Put an older configuration into what's edited; `commit` makes it run.",
    ("rollback", "Forget changes that aren't committed."),
    ("rollback N", "As it was N commits ago."),
    ("rollback checkpoint NAME", "As it was at a checkpoint."),
    ("rollback startup", "What the next start begins with."),
    ("rollback factory", "As the appliance came."),
)
def rollback(world: World, line: Line) -> Action:
    inner = "<commits>0</commits>"
    words = [
        Option("checkpoint", "As it was at a checkpoint."),
        Option("startup", "What the next start begins with."),
        Option("factory", "As the appliance came."),
    ]
    token = line.peek()
    if token is not None and token.text.isdecimal() and line.cursor() is None:
        line.at += 1
        inner = f"<commits>{int(token.text)}</commits>"
    elif token is not None:
        named = line.choose(words, "something to go back to")
        inner = f"<{named.word}/>"
        if named.word == "checkpoint":
            name = _checkpoint(world, line)
            inner = f"<checkpoint>{name}</checkpoint>"
    line.done()

    def run() -> Output:
        if token is None:
            if world.editing:
                world.discard()
            return said()
        world.enter()
        world.flush()
        world.rpc(f'<rollback xmlns="{SLUICE}">{inner}</rollback>')
        world.touched()
        return Output(["`diff` shows what changes, `commit` makes it run", *problems(world)])

    return run


def _checkpoint(world: World, line: Line) -> str:
    """The name of a checkpoint, as the daemon's own model wants it."""
    snode = world.schema.find(f"/sluice-mgmt:{'management/checkpoint/name'}")
    assert snode is not None
    holder = yang.data_parent(snode)
    assert holder is not None

    def wrong(text: str) -> str | None:
        good = text and len(text) <= 64 and text[0] not in ".-"
        if good and all(c.isascii() and (c.isalnum() or c in "_.-") for c in text):
            return None
        return f"{text!r} can't be a checkpoint's name"

    above = yang.data_parent(holder)
    assert above is not None
    place = Place().down(above).down(holder)
    return line.value(
        lambda: "a checkpoint's name: letters, digits, '_', '-', '.'",
        wrong,
        lambda: [Option(name, "a checkpoint") for name in world.values(place)],
    ).text


@command(
    "checkpoint",
    "Keep what runs under a name.",
    ('checkpoint NAME [comment "WHY"]', "For `rollback checkpoint NAME`."),
)
def checkpoint(world: World, line: Line) -> Action:
    name = _checkpoint(world, line)
    comment = ""
    if line.more():
        line.choose([COMMENT], "known here")
        comment = _comment(line)
    line.done()

    def run() -> Output:
        top = etree.Element(f"{{{SLUICE}}}checkpoint", nsmap={None: SLUICE})
        etree.SubElement(top, f"{{{SLUICE}}}name").text = name
        if comment:
            etree.SubElement(top, f"{{{SLUICE}}}comment").text = comment
        world.rpc(etree.tostring(top))
        return said(f"kept as {name}")

    return run


@command(
    "save",
    "What runs is what the next start begins with; or write what's shown to a file.",
    ("save", "The same as `copy running startup`."),
    ("save FILE", "Write the configuration, as `show config` tells it; .json and .xml as these."),
)
def save(world: World, line: Line) -> Action:
    path = None
    if line.more():
        path = Path(line.take("a file").text).expanduser()
        line.done()

    def run() -> Output:
        world.flush()
        if path is None:
            world.rpc(
                "<copy-config><target><startup/></target><source><running/></source></copy-config>"
            )
            return said("saved")
        found = world.tree("candidate" if world.editing else "running")
        if path.suffix == ".json":
            text = found.print(Format.JSON, pretty=True)
        elif path.suffix == ".xml":
            inner = found.print(Format.XML, defaults=Defaults.EXPLICIT, pretty=True)
            text = f'<config xmlns="{NETCONF}">\n{inner}</config>\n'
        else:
            text = "".join(f"{text}\n" for text in View(found, Place()).text())
        try:
            beside = path.with_name(path.name + ".new")
            beside.write_text(text)
            beside.chmod(0o600)
            beside.rename(path)
        except OSError as error:
            raise ShellError(f"can't write {path}: {error.strerror}") from None
        return said(f"written to {path}")

    return run


@command(
    "load",
    "Take a file's configuration.",
    ("load merge FILE", "Add it to what's edited."),
    ("load replace FILE", "In place of all that's edited."),
    edits=True,
)
def load_(world: World, line: Line) -> Action:
    named = line.choose(
        [
            Option("merge", "Add it to what's edited."),
            Option("replace", "In place of all that's edited."),
        ],
        "a way to load",
    )
    path = Path(line.take("a file: commands, JSON or XML").text).expanduser()
    line.done()

    def run() -> Output:
        found = load.read(world, path)
        world.edit(found) if named.word == "merge" else load.replace(world, found)
        return Output(problems(world))

    return run


# Operations of the models


@command(
    "help",
    "What can stand in a line.",
    ("help [LINE]", "What could follow LINE; the same as ? at its end."),
)
def help_(world: World, line: Line) -> Action:
    from sluice.shell.reader import describe

    if line.completing:
        raise line.refuse("anything")
    rest = line.text[line.tokens[line.at].start :] if line.more() else ""
    line.at = len(line.tokens)
    return lambda: Output(describe(world, f"{rest} " if rest else ""))


def call(world: World, line: Line, rpc: yang.SNode) -> Action:
    """An operation of a model: its input as names and values."""
    namespace = yang.text_of(rpc.module.ns)
    top = etree.Element(f"{{{namespace}}}{model.name_of(rpc)}", nsmap={None: namespace})
    left = {model.name_of(snode): snode for snode in model.inputs(rpc)}
    while line.more():
        if not left:
            line.done()
        named = line.choose(
            [Option(name, model.help_of(snode), snode) for name, snode in left.items()],
            "known here",
        )
        snode = named.tag
        assert snode is not None
        if snode.nodetype != yang.LEAFLIST:
            del left[named.word]
        text = None
        if snode.nodetype & model.TERMS and not model.is_empty(snode):
            text = tree.value(world, line, Place(), snode).text
        top.append(term(snode, text))
    for name, snode in left.items():
        if model.is_mandatory(snode) and snode.nodetype == yang.LEAF:
            raise line.refuse(f"{name!r} is missing", hint=model.expects(world.schema, snode))

    def run() -> Output:
        reply = world.rpc(etree.tostring(top))
        lines = []
        for element in reply:
            for part in element.iter():
                if isinstance(part.tag, str) and len(part) == 0 and (part.text or "").strip():
                    lines.append(f"{etree.QName(part).localname} {quote(part.text.strip())}")
        return Output(lines)

    return run
