# SPDX-License-Identifier: BSD-3-Clause
"""The errors that users see: one line and a hint."""

import sys


class CliError(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def show(self, program: str) -> int:
        """Print it; returns the exit status."""
        print(f"{program}: error: {self.text}", file=sys.stderr)
        if self.hint:
            print(f"{program}: hint: {self.hint}", file=sys.stderr)
        return 1
