# SPDX-License-Identifier: BSD-3-Clause
"""A terminal for tests: tmux runs a program, keys are typed, the screen is read."""

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from lab.errors import LabError


class Screen:
    """One program in one terminal, of a tmux server of its own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        width: int = 100,
        height: int = 30,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="screen-")
        self.socket = Path(self._folder.name) / "tmux"
        size = ("-x", str(width), "-y", str(height))
        words = [f"{name}={value}" for name, value in (env or {}).items()]
        # remain-on-exit: what a program that has ended said can be read.
        self.tmux("new-session", "-d", *size, "--", "env", *words, *command, ";",
                  "set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "status", "off")  # fmt: skip

    def tmux(self, *args: str) -> str:
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", str(self.socket), "-u", *args],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"tmux {args[0]}: {done.stderr.strip()}")
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        subprocess.run(
            ["tmux", "-S", str(self.socket), "kill-server"], capture_output=True, check=False
        )
        self._folder.cleanup()

    def type(self, text: str) -> None:
        """Type text as it is."""
        self.tmux("send-keys", "-l", "--", text)

    def key(self, name: str) -> None:
        """Press a key by tmux's name: Enter, Tab, Up, C-r, Escape."""
        self.tmux("send-keys", name)

    def line(self, text: str) -> None:
        self.type(text)
        self.key("Enter")

    def text(self, *, history: bool = False) -> str:
        """What's on the screen; `history`: and what has left it at the top."""
        lines = self.tmux("capture-pane", "-p", *(["-S", "-"] if history else []))
        return "\n".join(line.rstrip() for line in lines.splitlines()).rstrip("\n")

    def until(self, text: str, *, timeout: float = 120, last: bool = False) -> str:
        """Wait until a text is on the screen; `last`: at its end, as a prompt is. Returns the screen."""
        end = time.monotonic() + timeout
        while True:
            found = self.text()
            lines = [line for line in found.splitlines() if line.strip()]
            if (text in (lines[-1] if lines else "")) if last else (text in found):
                return found
            if time.monotonic() > end:
                raise LabError(f"{text!r} didn't come; the screen is\n{found}")
            time.sleep(0.05)
