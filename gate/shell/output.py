# SPDX-License-Identifier: BSD-3-Clause
"""What a command has to say, and the pipes that change how it's said."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sluice.shell.show import View, table
from sluice.shell.words import Line, Option, Refused


@dataclass
class Output:
    """Lines; or data, which can be shown in several ways. `failed`: the command didn't do what it was to do."""

    lines: Iterable[str] = ()
    view: View | None = None
    value: Any = None
    failed: bool = False

    def text(self) -> Iterator[str]:
        return iter(self.lines) if self.view is None else self.view.text()

    def data(self) -> Any:
        """For JSON: what it means, its lines if nothing more is known."""
        if self.view is not None:
            return self.view.value()
        return self.value if self.value is not None else {"output": list(self.lines)}


@dataclass(frozen=True)
class Pipe:
    """One step after a `|`. `whole` takes data (it stands first), else `each` takes lines."""

    name: str
    whole: Callable[[Output], Iterator[str]] | None = None
    each: Callable[[Iterator[str]], Iterator[str]] | None = None


@dataclass
class Plumbing:
    """All that follows a command."""

    pipes: list[Pipe] = field(default_factory=list)
    watch: tuple[float, int] | None = None  # seconds between, how often (0: until interrupted)
    rpc: bool = False

    def run(self, output: Output, *, as_json: bool = False) -> Iterator[str]:
        lines: Iterator[str] | None = None
        if as_json and not any(pipe.whole for pipe in self.pipes):
            lines = to_json(output)
        for pipe in self.pipes:
            if pipe.whole is not None:
                lines = pipe.whole(output)
            elif pipe.each is not None:
                lines = pipe.each(output.text() if lines is None else lines)
        return output.text() if lines is None else lines


PIPES = [
    Option("match", "Only lines that a regular expression finds something in."),
    Option("except", "Only lines that a regular expression finds nothing in."),
    Option("count", "How many lines."),
    Option("flat", "Each value as a line from the root, as it can be typed in."),
    Option("json", "RFC 7951's JSON."),
    Option("xml", "XML as in NETCONF."),
    Option("table", "A list's entries as rows."),
    Option("watch", "Again and again, every two or so many seconds."),
    Option("rpc", "The XML of the RPCs that were sent for it, and of their answers."),
]
TIMES = [Option("times", "How often; without it until Ctrl-C.")]


def to_json(output: Output) -> Iterator[str]:
    yield from json.dumps(output.data(), indent=2, ensure_ascii=False).splitlines()


def _xml(output: Output) -> Iterator[str]:
    assert output.view is not None
    yield from output.view.xml().splitlines()


def _flat(output: Output) -> Iterator[str]:
    assert output.view is not None
    yield from output.view.flat()


def _table(output: Output) -> Iterator[str]:
    assert output.view is not None
    yield from table(output.view.rows())


WHOLE = {"json": to_json, "xml": _xml, "flat": _flat, "table": _table}


def count(lines: Iterator[str]) -> Iterator[str]:
    yield str(sum(1 for _ in lines))


def parse(line: Line, *, data: bool) -> Plumbing:
    """What follows the first `|`. `data`: the command shows data, so it can be had as XML or a table."""
    result = Plumbing()
    while True:
        offered = [
            option
            for option in PIPES
            if option.word not in ("xml", "flat", "table", "json")
            or ((data or option.word == "json") and not result.pipes)
        ]
        named = line.choose(offered, "what can follow | here")
        token = line.last()
        match named.word:
            case "match" | "except":
                pattern = line.take("a regular expression")
                try:
                    found = re.compile(pattern.text)
                except re.error as error:
                    raise line.refuse(
                        f"this isn't a regular expression: {error}", pattern
                    ) from None
                result.pipes.append(_matching(named.word, found))
            case "count":
                result.pipes.append(Pipe("count", each=count))
            case "rpc":
                result.rpc = True
            case "watch":
                result.watch = _watch(line)
            case name:
                result.pipes.append(Pipe(name, whole=WHOLE[name]))
        if not line.more():
            return result
        if line.peek() is not None and line.cursor() is None:
            token = line.peek() or token
            if token.text != "|":
                raise line.refuse("a | has to stand between", token)
            line.at += 1
            continue
        line.done()


def _matching(name: str, pattern: re.Pattern[str]) -> Pipe:
    wanted = name == "match"

    def each(lines: Iterator[str]) -> Iterator[str]:
        return (text for text in lines if bool(pattern.search(text)) is wanted)

    return Pipe(name, each=each)


def _watch(line: Line) -> tuple[float, int]:
    seconds, times = 2.0, 0
    token = line.peek()
    if token is not None and line.cursor() is None and token.text not in ("|", "times"):
        try:
            seconds = float(token.text)
        except ValueError:
            seconds = 0.0
        if not 0.1 <= seconds <= 3600:
            raise line.refuse(f"{token.text!r} isn't a number of seconds, 0.1 to 3600", token)
        line.at += 1
    token = line.peek()
    if token is not None and line.cursor() is None and token.text == "times":
        line.choose(TIMES, "times")
        token = line.take("how often, a number")
        if not token.text.isdecimal() or not int(token.text):
            raise line.refuse(f"{token.text!r} isn't how often", token)
        times = int(token.text)
    return seconds, times


def split_pipes(line: Line) -> tuple[Line, Line | None]:
    """The command, and what follows its first `|`."""
    for index, token in enumerate(line.tokens):
        if token.text == "|" and not token.quoted:
            if index == 0:
                raise Refused("a command has to stand before |", token.start, token.end)
            left = Line(line.text, line.tokens[:index])
            right = Line(line.text, line.tokens[index + 1 :], completing=line.completing)
            if not right.tokens and not line.completing:
                raise Refused("something has to follow |", token.start, token.end, typing=True)
            return left, right
    return line, None
