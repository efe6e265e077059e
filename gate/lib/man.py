#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make the manual page fast-path.env(5) from settings.def. Usage: man.py SETTINGS_DEF OUTPUT."""

import re
import sys
from pathlib import Path

SETTING = re.compile(r'^SETTING\(\w+, "(\w+)", (\w+), (\d+), (\d+), "(.*)"\)$', re.MULTILINE)

HEAD = r""".TH FAST\-PATH.ENV 5 "" Sluice "Sluice"
.SH NAME
fast\-path.env \- cores, ports and memory of the fast path
.SH SYNOPSIS
.I /etc/sluice/fast\-path.env
.SH DESCRIPTION
Lines of the form KEY=VALUE, as in systemd's EnvironmentFile; lines that begin with # or ; are comments.
Each setting may be
.BR auto ,
which is also what a missing one means; the file itself may be missing.
.B fp\-rte \-\-check
says what would be used on this machine and what is wrong.
.SH SETTINGS
"""

TAIL = r""".SH SEE ALSO
.BR fp\-rte (8),
.BR fpmd (8),
.BR fp\-cli (1)
"""


def escape(text: str) -> str:
    """Return text safe for roff."""
    return text.replace("\\", "\\e").replace("-", r"\-")


def entry(name: str, kind: str, low: str, high: str, text: str) -> str:
    """Return one setting's paragraph."""
    text, *choices = text.split("|")
    if kind == "NUMBER":
        values = f"auto, or a number from {low} to {high}"
    elif kind == "CHOICE":
        values = ", ".join(["auto", *choices])
    else:
        values = "auto, or text"
    return f".TP\n.B {escape(name)}\n{escape(text)}.\n.br\nValues: {escape(values)}.\n"


def main() -> None:
    """Write the page."""
    source = Path(sys.argv[1]).read_text()
    found = SETTING.findall(source)
    if len(found) != source.count("\nSETTING("):
        sys.exit("man.py: a line of settings.def isn't understood")
    Path(sys.argv[2]).write_text(HEAD + "".join(entry(*setting) for setting in found) + TAIL)


main()
