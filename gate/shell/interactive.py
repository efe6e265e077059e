# SPDX-License-Identifier: BSD-3-Clause
"""The command line that people type at: prompt_toolkit with completion, checks while typing, ? and history."""

import os
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from prompt_toolkit.validation import ValidationError, Validator
from sluice.shell import reader
from sluice.shell.app import EXPECTED, Failed, complaint, perform
from sluice.shell.client import Offline
from sluice.shell.words import split
from sluice.shell.world import ShellError, World

STYLE = Style.from_dict(
    {
        "host": "bold",
        "place": "ansicyan",
        "pending": "ansiyellow bold",
        "invalid": "ansired bold",
        "bottom-toolbar": "noreverse",
        "validation-toolbar": "noreverse ansired",
    }
)


class WordCompleter(Completer):
    """Tab."""

    def __init__(self, world: World) -> None:
        self.world = world

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor could become."""
        text = document.text_before_cursor
        start, options = reader.complete(self.world, text)
        for option in options:
            yield Completion(
                option.word + " ",
                start_position=start - len(text),
                display=option.word,
                display_meta=option.help,
            )


class LineValidator(Validator):
    """Refuses a wrong word as it's typed, with what would be right."""

    def __init__(self, world: World) -> None:
        self.world = world

    def validate(self, document: Document) -> None:
        """Raises ValidationError at the wrong word."""
        if not self.world.connected:
            return  # what's wrong then is said when the line is run
        error = reader.check(self.world, document.text)
        if error is not None:
            text = f"{error.text}; {error.hint}" if error.hint else error.text
            raise ValidationError(min(error.end, len(document.text)), text)


def bindings(world: World) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("?")
    def _help(event: KeyPressEvent) -> None:
        text = event.current_buffer.document.text_before_cursor
        if split(text)[1]:
            event.current_buffer.insert_text("?")
            return
        lines = list(reader.describe(world, text))
        prompt = "".join(part[1] for part in prompt_of(world))
        run_in_terminal(lambda: print("\n".join([f"{prompt}{text}?", *lines])))

    return keys


def prompt_of(world: World) -> FormattedText:
    """`HOST> `; while editing `HOST running / vrf main # `, with * for changes and ! if they aren't valid."""
    host = world.target.host or socket.gethostname().partition(".")[0]
    parts = [("class:host", host)]
    if not world.editing:
        return FormattedText([*parts, ("", "> ")])
    parts += [("", " running "), ("class:place", str(world.place))]
    if world.problems:
        parts.append(("class:invalid", " !"))
    elif world.edited:
        parts.append(("class:pending", " *"))
    return FormattedText([*parts, ("", " # ")])


def toolbar(world: World) -> str | FormattedText:
    if world.problems:
        more = f" (and {len(world.problems) - 1} more)" if len(world.problems) > 1 else ""
        return FormattedText([("class:invalid", f"not valid yet: {world.problems[0]}{more}")])
    return ""


def history_of() -> History:
    """Kept in the user's home, if there's one that can be written to."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "sluice"
    path = folder / "history"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


class Terminal:
    """One user at one terminal. `input_` and `output` are for tests."""

    def __init__(
        self,
        world: World,
        *,
        as_json: bool = False,
        history: History | None = None,
        input_: Input | None = None,
        output: Output | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.world = world
        self.as_json = as_json
        self.say = say
        self.session: PromptSession[str] = PromptSession(
            message=lambda: prompt_of(world),
            completer=WordCompleter(world),
            validator=LineValidator(world),
            validate_while_typing=True,
            complete_while_typing=False,
            history=history or history_of(),
            enable_history_search=True,
            key_bindings=bindings(world),
            bottom_toolbar=lambda: toolbar(world) or None,
            style=STYLE,
            input=input_,
            output=output,
            reserve_space_for_menu=6,
        )
        world.notices = self.notice

    def notice(self, text: str) -> None:
        """Called by the connection's thread."""
        self.say(f"[{text}]")

    def connect(self) -> None:
        """Say what's wrong if nobody answers; much works without."""
        try:
            _ = self.world.client
        except EXPECTED as error:
            for line in complaint(self.world, error, ""):
                self.say(line)
            self.say("`cmd` works without it; any other command tries again")
        for text in self.world.warnings:
            self.say(f"sluice: warning: {text}")

    def run(self) -> int:
        """Until the user leaves."""
        self.connect()
        while True:
            try:
                with patch_stdout():
                    text = self.session.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                if self.leave():
                    return 0
                continue
            try:
                self.line(text)
            except EOFError:
                return 0

    def leave(self) -> bool:
        """Ctrl-D: not while changes would be lost."""
        if self.world.editing and self.world.edited:
            self.say("there are changes that aren't committed: `commit`, or `exit discard`")
            return False
        return True

    def line(self, text: str) -> None:
        """Run one line and say what went wrong."""
        try:
            perform(self.world, text, sys.stdout, as_json=self.as_json)
        except KeyboardInterrupt:
            self.say("")
        except Failed:
            pass
        except EXPECTED as error:
            for line in complaint(self.world, error, text):
                self.say(line)
            if isinstance(error, Offline) and self.world.editing and not self.world.connected:
                self.say("changes that weren't committed are lost")
        except (ShellError, OSError) as error:
            self.say(f"sluice: error: {error}")
        sys.stdout.flush()


def run(world: World, *, as_json: bool = False) -> int:
    """The program without -c and -f at a terminal."""
    return Terminal(world, as_json=as_json).run()
