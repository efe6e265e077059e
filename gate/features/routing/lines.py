# SPDX-License-Identifier: BSD-3-Clause
"""FRR's configuration as a tree of lines, and what has to be said to a daemon to get from one to another.

Pure functions. A feature's values are rendered to `Line`s, in FRR's own words and order of options, so that each stands
in the daemon's `show running-config` to the letter once it's there: that's how we know. What stands there without being
one of ours is somebody else's and isn't touched.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

# What a daemon says it has: each line with the lines below it.
Actual = dict[str, "Actual"]

# Lines that only end a block or say nothing.
NOISE = ("!", "exit", "exit-address-family", "end")


@dataclass(frozen=True)
class Line:
    """A line, or a block if it has `inner`.

    `key`: another line with the same key, in the same block, takes its place without having to be taken back first
    (default: the text). `fresh`: unless it has to be, because FRR would keep an option, or refuses.
    `undo` takes it back (default: "no " and the text); for a block, empty: it stays, without our lines.
    `head`: key of a line of the same block, or the one around it, with which this one goes by itself.
    `at`: the YANG path, below the entry's. `who`: the daemons that take it, if not all that get the rest.
    """

    text: str
    key: str = ""
    undo: str | None = None
    head: str = ""
    fresh: bool = False
    at: str = ""
    who: tuple[str, ...] = ()
    inner: tuple["Line", ...] | None = None
    end: str = "exit"

    @property
    def name(self) -> str:
        return self.key if self.key and self.inner is None else self.text

    @property
    def stands(self) -> bool:
        """Not a block that's only there for what's in it."""
        return self.inner is None or self.undo != ""

    @property
    def no(self) -> str:
        return f"no {self.text}" if self.undo is None else self.undo


@dataclass(frozen=True)
class Said:
    """Something to say to a daemon, and the line it's about."""

    text: str
    line: Line | None = field(default=None, compare=False)


def parse(text: str) -> Actual:
    """`show running-config`; depth is by indentation."""
    top: Actual = {}
    open_: list[tuple[int, Actual]] = [(-1, top)]
    for line in text.splitlines():
        words = line.strip()
        if not words or words in NOISE or words.startswith("!"):
            continue
        depth = len(line) - len(line.lstrip())
        while open_[-1][0] >= depth:
            open_.pop()
        inner: Actual = open_[-1][1].setdefault(words, {})
        open_.append((depth, inner))
    return top


def of(lines: Iterable[Line], daemon: str) -> list[Line]:
    """The lines that a daemon takes; what's said of the same block in several places is put together."""
    found: dict[str, Line] = {}
    for line in _of(lines, daemon):
        there = found.get(line.text)
        if there is not None and line.inner is not None:
            line = replace(line, inner=(*(there.inner or ()), *line.inner))
        found[line.text] = line
    return list(found.values())


def _of(lines: Iterable[Line], daemon: str) -> Iterator[Line]:
    for line in lines:
        if line.who and daemon not in line.who:
            continue
        if line.inner is None:
            yield line
        else:
            yield replace(line, inner=tuple(_of(line.inner, daemon)))


def removals(old: list[Line], new: list[Line], actual: Actual, heads: frozenset[str]) -> list[Said]:
    """What takes back that of `old` which `new` doesn't have, as far as it's there. `heads`: lines around that go."""
    wanted = {line.name: line for line in new}
    going = heads | {line.name for line in old if goes(line, wanted, actual)}
    said: list[Said] = []
    for line in reversed(old):
        there = actual.get(line.text)
        if there is None:
            continue
        if line.inner is not None:
            kept = wanted.get(line.name)
            if kept is None and line.stands and ours(line.inner, there):
                said.append(Said(line.no, line))
                continue
            keep = list((kept and kept.inner) or ())
            said += block(line, removals(list(line.inner), keep, there, going))
        elif line.name in going and line.head not in going:
            said.append(Said(line.no, line))
    return said


def goes(line: Line, wanted: dict[str, Line], actual: Actual) -> bool:
    """Whether a line has to be taken back."""
    if line.inner is not None:
        return False
    new = wanted.get(line.name)
    return new is None or (new.text != line.text and new.fresh and line.text in actual)


def ours(lines: Iterable[Line], actual: Actual) -> bool:
    """Whether all that's in a block is ours."""
    known = {line.text: line for line in lines}
    return all(
        text in known and ours(known[text].inner or (), inner) for text, inner in actual.items()
    )


def additions(new: list[Line], actual: Actual) -> list[Said]:
    """What says that of `new` which isn't there."""
    said: list[Said] = []
    for line in new:
        there = actual.get(line.text)
        if line.inner is None:
            if there is None:
                said.append(Said(line.text, line))
        else:
            inner = additions(list(line.inner), there or {})
            if there is None and line.stands and not inner:
                said += [Said(line.text, line), Said(line.end)]
            said += block(line, inner)
    return said


def block(line: Line, inner: list[Said]) -> list[Said]:
    """Lines said within a block."""
    return [Said(line.text, line), *inner, Said(line.end)] if inner else []


def missing(new: list[Line], actual: Actual) -> Iterator[Line]:
    """Lines that aren't there though they should be."""
    for line in new:
        there = actual.get(line.text)
        if there is None:
            if line.stands or line.inner:
                yield line
        elif line.inner:
            yield from missing(list(line.inner), there)


def lingering(old: list[Line], new: list[Line], actual: Actual) -> Iterator[Line]:
    """Lines that are there though they should be gone."""
    wanted = {line.text: line for line in new}
    for line in old:
        there = actual.get(line.text)
        if there is None:
            continue
        kept = wanted.get(line.text)
        if line.inner is not None:
            yield from lingering(list(line.inner), list((kept and kept.inner) or ()), there)
        elif kept is None:
            yield line
