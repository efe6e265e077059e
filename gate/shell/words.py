# SPDX-License-Identifier: BSD-3-Clause
"""A typed line as words, and the one way to read it: for running, checking, completing and helping alike. Pure.

A parser takes word after word from a Line. Where the line can't go on as it's written, Refused points at the word. In a
line that is being completed, asking for the word at the cursor raises Wanted with what could stand there; so the parser
of a command is its completion and its help as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

QUOTES = "\"'"
ESCAPED = '"\\'


@dataclass(frozen=True)
class Token:
    """A word of the line; `text` is without quotation marks, `start` and `end` are columns of what was typed."""

    text: str
    start: int
    end: int
    quoted: bool = False


@dataclass(frozen=True)
class Option:
    """Something that can stand at a place, and what it means. `tag` is for whoever made it."""

    word: str
    help: str = ""
    tag: Any = field(default=None, compare=False)


class Refused(Exception):  # noqa: N818
    """A line that can't be: what's wrong with the columns from `start` to `end`, and what would be right.

    `typing`: the last word may still become right.
    """

    def __init__(
        self, text: str, start: int, end: int, *, hint: str = "", typing: bool = False
    ) -> None:
        super().__init__(text)
        self.text, self.start, self.end, self.hint, self.typing = text, start, end, hint, typing


class Wanted(Exception):  # noqa: N818
    """What can stand at the cursor in place of `token`; `expects` says it in words where it can't be listed."""

    def __init__(self, token: Token, options: Sequence[Option], expects: str = "") -> None:
        super().__init__(expects)
        self.token, self.options, self.expects = token, list(options), expects


def split(text: str) -> tuple[list[Token], bool]:
    """The words of a line, and whether the last one is still open: a quotation mark is missing.

    `|`, `;`, `{` and `}` by themselves are words, `#` before a word begins a comment.
    """
    tokens: list[Token] = []
    at, size = 0, len(text)
    while at < size:
        if text[at].isspace():
            at += 1
            continue
        if text[at] == "#":
            break
        start = at
        if text[at] in "|;":
            at += 1
            tokens.append(Token(text[start], start, at))
            continue
        found, quoted = "", False
        while at < size and not text[at].isspace() and text[at] not in "|;":
            if text[at] not in QUOTES:
                found += text[at]
                at += 1
                continue
            quote, quoted = text[at], True
            at += 1
            while at < size and text[at] != quote:
                if quote == '"' and text[at] == "\\" and text[at + 1 : at + 2] in ESCAPED:
                    at += 1
                    if at == size:
                        break
                found += text[at]
                at += 1
            if at == size:
                tokens.append(Token(found, start, at, quoted=True))
                return tokens, True
            at += 1
        tokens.append(Token(found, start, at, quoted))
    return tokens, False


def quote(word: str) -> str:
    """A word as it has to be typed."""
    if word and not any(c.isspace() or c in "\"'|;\\" for c in word) and word[0] != "#":
        return word if word not in "{}" else f'"{word}"'
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def prefixed(options: Sequence[Option], text: str) -> list[Option]:
    return [option for option in options if option.word.startswith(text)]


class Line:
    """The words of one command. `completing`: the last word is what the user is about to type."""

    def __init__(self, text: str, tokens: list[Token], *, completing: bool = False) -> None:
        self.text = text
        self.tokens = tokens
        self.at = 0
        self.completing = completing

    @classmethod
    def of(cls, text: str, *, completing: bool = False) -> "Line":
        tokens, is_open = split(text)
        if completing:
            blank = not text or text[-1].isspace()
            if not is_open and (not tokens or blank or tokens[-1].text in ("|", ";")):
                tokens.append(Token("", len(text), len(text)))
        elif is_open:
            last = tokens[-1]
            raise Refused("the quotation mark isn't closed", last.start, last.end, typing=True)
        return cls(text, tokens, completing=completing)

    @property
    def end(self) -> int:
        return self.tokens[-1].end if self.tokens else 0

    def more(self) -> bool:
        return self.at < len(self.tokens)

    def peek(self) -> Token | None:
        return self.tokens[self.at] if self.more() else None

    def cursor(self) -> Token | None:
        """The next word if it's the one being typed."""
        if self.completing and self.at == len(self.tokens) - 1:
            return self.tokens[self.at]
        return None

    def last(self) -> Token:
        """The word taken last."""
        return self.tokens[self.at - 1] if self.at else Token("", 0, 0)

    def refuse(self, text: str, token: Token | None = None, *, hint: str = "") -> Refused:
        """Points at a word, or behind the line."""
        if token is None:
            return Refused(text, self.end, self.end + 1, hint=hint, typing=True)
        return Refused(text, token.start, token.end, hint=hint)

    def take(self, what: str) -> Token:
        """Any word."""
        if (cursor := self.cursor()) is not None:
            raise Wanted(cursor, [], what)
        token = self.peek()
        if token is None:
            raise self.refuse(f"{what} is missing")
        self.at += 1
        return token

    def choose(self, options: Sequence[Option], what: str) -> Option:
        """One of several words, or so much of it that it's the only one."""
        if (cursor := self.cursor()) is not None:
            raise Wanted(cursor, options, what)
        token = self.peek()
        if token is None:
            raise Refused(
                f"{what} is missing", self.end, self.end + 1, hint=listed(options), typing=True
            )
        found = match(options, token)
        if isinstance(found, Option):
            self.at += 1
            return found
        if found:
            raise Refused(
                f"{token.text!r} could be several",
                token.start,
                token.end,
                hint=listed(found),
                typing=self.at == len(self.tokens) - 1,
            )
        close = get_close_matches(token.text, [option.word for option in options], 1)
        hint = f"did you mean {close[0]}?" if close else listed(options)
        raise Refused(f"{token.text!r} isn't {what}", token.start, token.end, hint=hint)

    def value(
        self,
        expects: Callable[[], str],
        problem: Callable[[str], str | None],
        options: Callable[[], Sequence[Option]],
    ) -> Token:
        """A value that `problem` finds nothing wrong with."""
        if (cursor := self.cursor()) is not None:
            raise Wanted(cursor, options(), expects())
        token = self.peek()
        if token is None:
            raise self.refuse("a value is missing", hint=expects())
        wrong = problem(token.text)
        if wrong is not None:
            raise self.refuse(wrong, token, hint=expects())
        self.at += 1
        return token

    def done(self) -> None:
        """Nothing may follow."""
        if (cursor := self.cursor()) is not None:
            raise Wanted(cursor, [])
        token = self.peek()
        if token is not None:
            raise self.refuse(f"nothing can follow here, so not {token.text!r}", token)


def match(options: Sequence[Option], token: Token) -> Option | list[Option]:
    """The option a word means; several or none as a list."""
    for option in options:
        if option.word == token.text:
            return option
    if token.quoted or not token.text:
        return []
    found = prefixed(options, token.text)
    # A name that two modules use, without its module.
    found = found or [option for option in options if option.word.endswith(f":{token.text}")]
    return found[0] if len(found) == 1 else found


def listed(options: Sequence[Option], most: int = 12) -> str:
    words = [option.word for option in options[:most]]
    if not words:
        return ""
    return "one of " + ", ".join(words) + (", ..." if len(options) > most else "")
