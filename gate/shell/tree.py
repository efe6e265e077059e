# SPDX-License-Identifier: BSD-3-Clause
"""Paths and statements: how words become nodes of the tree."""

from dataclasses import dataclass, field

from sluice.mgmt import yang
from sluice.mgmt.yang import SNode
from sluice.shell import model
from sluice.shell.place import Place
from sluice.shell.words import Line, Option, Token
from sluice.shell.world import World

UP = Option("..", "One up.")
ROOT = Option("/", "The top of the tree.")


@dataclass
class Statement:
    """What a line sets: nodes with their values, and where it leads. `words` are the tokens that name each node."""

    place: Place
    sets: list[tuple[Place, str | None]] = field(default_factory=list)
    words: list[tuple[Place, Token]] = field(default_factory=list)
    walks: bool = False  # only `/`, `..` and names: nothing is created unless it isn't there


def slashes(line: Line) -> None:
    """Take words with slashes in them, where names are expected, apart: `/vrf`, `../ipv4`, `ipv4/address`."""
    token = line.peek()
    if token is None or token.quoted or "/" not in token.text or token.text == "/":
        return
    parts: list[Token] = []
    at = token.start
    head, slash, rest = token.text.partition("/")
    if not head:
        parts.append(Token("/", at, at + 1))
        at += 1
    else:
        parts.append(Token(head, at, at + len(head)))
        at += len(head) + len(slash)
    if rest or line.cursor() is not None:
        parts.append(Token(rest, at, token.end))
    line.tokens[line.at : line.at + 1] = parts


def start(line: Line, place: Place) -> Place:
    """Take `/` and `..` from the beginning of a path."""
    slashes(line)
    token = line.peek()
    if token is not None and token.text == "/" and line.cursor() is None:
        line.at += 1
        place = Place()
    return ups(line, place)


def ups(line: Line, place: Place) -> Place:
    while True:
        slashes(line)
        token = line.peek()
        if token is None or token.text != ".." or line.cursor() is not None:
            return place
        if not place.steps:
            raise line.refuse("this is the top: nothing is above", token)
        line.at += 1
        place = place.up


def choices(world: World, place: Place, *, config: bool) -> list[Option]:
    """What can be named at a place."""
    return model.options(world.schema, place.snode, config=config)


def what(place: Place) -> str:
    if not place.steps:
        return "in the tree"
    return f"in {' '.join(place.words())}"


def value(world: World, line: Line, place: Place, snode: SNode) -> Token:
    """A value of a leaf below a place; for a key, `place` is the list without it."""
    return line.value(
        lambda: f"{model.name_of(snode)}: {model.expects(world.schema, snode)}",
        lambda text: model.problem(world.schema, snode, text),
        lambda: world.offered(place, snode),
    )


def keys(world: World, line: Line, place: Place, snode: SNode) -> tuple[str, ...]:
    found: list[str] = []
    for key in model.keys_of(snode):
        found.append(value(world, line, place.down(snode, ()), key).text)
    return tuple(found)


def path(
    world: World,
    line: Line,
    place: Place,
    *,
    config: bool,
    stop: tuple[Option, ...] = (),
    values: bool = False,
) -> Place:
    """A path to something that may be there: lists may stand without keys, for all entries. `values`: leaf-lists' too.

    Words of `stop` end it where a name could stand.
    """
    place = start(line, place)
    while line.more():
        snode = place.snode
        if snode is not None and snode.nodetype == yang.LIST and not place.is_entry:
            if _stops(line, stop):
                return place
            place = place.up.down(snode, keys(world, line, place.up, snode))
            continue
        if snode is not None and snode.nodetype & model.TERMS:
            if snode.nodetype == yang.LEAFLIST and values and not place.steps[-1].keys:
                found = value(world, line, place.up, snode)
                place = place.up.down(snode, (found.text,))
            return place
        if _stops(line, stop):
            return place
        slashes(line)
        named = line.choose([*choices(world, place, config=config), *stop], f"known {what(place)}")
        place = ups(line, place.down(named.tag))
    return place


def _stops(line: Line, stop: tuple[Option, ...]) -> bool:
    token = line.peek()
    return (
        token is not None
        and line.cursor() is None
        and token.text in {option.word for option in stop}
    )


def statement(world: World, line: Line, place: Place) -> Statement:
    """A line that walks and sets: `interface physical eth0 mtu 1400`, `..`, `/ vrf main`."""
    result = Statement(start(line, place))
    result.walks = True
    while line.more():
        token = line.peek()
        assert token is not None
        if token.text in ("{", "}") and line.cursor() is None:
            break
        slashes(line)
        here = result.place
        named = line.choose(choices(world, here, config=True), f"known {what(here)}")
        snode = named.tag
        token = line.last()
        if snode.nodetype & model.TERMS:
            made = here.down(snode)
            text = None
            if snode.nodetype == yang.LEAFLIST:
                text = value(world, line, here, snode).text
                made = here.down(snode, (text,))
                result.sets.append((made, None))
            else:
                if not model.is_empty(snode):
                    text = value(world, line, here, snode).text
                result.sets.append((made, text))
            result.words.append((made, line.last()))
            result.walks = False
            continue
        if snode.nodetype == yang.LIST:
            entry = here.down(snode, keys(world, line, here, snode))
            result.sets.append((entry, None))
            result.words.append((entry, line.last()))
            result.place = entry
        else:
            inner = here.down(snode)
            if yang.is_presence(snode):
                result.sets.append((inner, None))
            result.words.append((inner, token))
            result.place = inner
        result.place = ups(line, result.place)
    return result


def settles(world: World, found: Statement) -> bool:
    """Whether a line that ends in an entry stays where it is, because there's nothing more to say in it."""
    snode = found.place.snode
    return (
        found.place.is_entry
        and bool(found.sets)
        and found.sets[-1][0] == found.place
        and snode is not None
        and model.only_keys(world.schema, snode)
    )
