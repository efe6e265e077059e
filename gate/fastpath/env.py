#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make gate/fast-path.env, the commented default settings, from settings.def. Usage: env.py SETTINGS_DEF > FILE."""

import re
import sys
import textwrap
from pathlib import Path

SETTING = re.compile(r'^SETTING\(\w+, "(\w+)", (\w+), (\d+), (\d+), "(.*)"\)$', re.MULTILINE)

HEAD = """\
# Settings of the fast path: fast-path.env(5). All are "auto" unless set here; `fp-rte --check` says what that means on
# this machine and what is wrong. Other instances than "main" have files of their own (--env).
"""


def entry(name: str, kind: str, low: str, high: str, text: str) -> str:
    """Return one setting: its help as a comment, then the setting itself, commented out."""
    text, *choices = text.split("|")
    if kind == "NUMBER":
        text += f". From {low} to {high}"
    elif choices:
        text += f". Values: {', '.join(['auto', *choices])}"
    lines = textwrap.wrap(
        text + ".", 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
    return "\n".join(["", *lines, f"#{name}=auto", ""])


def main() -> None:
    """Print the file."""
    source = Path(sys.argv[1]).read_text()
    found = SETTING.findall(source)
    if len(found) != source.count("\nSETTING("):
        sys.exit("env.py: a line of settings.def isn't understood")
    print(HEAD + "".join(entry(*setting) for setting in found), end="")


main()
