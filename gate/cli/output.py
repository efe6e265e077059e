# SPDX-License-Identifier: BSD-3-Clause
"""Rows as tables for people."""

from collections.abc import Mapping, Sequence


def cell(value: object) -> str:
    """One value: nothing known is a dash, a list is joined by commas."""
    if value is None or value == "":
        return "-"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in value) or "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def aligned(rows: Sequence[Mapping[str, object]], columns: Sequence[tuple[str, str]]) -> str:
    """A table with a heading; numbers stand right, all else left."""
    lines = [[heading for _, heading in columns]]
    lines += [[cell(row[key]) for key, _ in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    right = [
        bool(rows) and all(is_number(row[key]) or row[key] is None for row in rows)
        for key, _ in columns
    ]
    shown = []
    for line in lines:
        cells = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def is_number(value: object) -> bool:
    """Whether it's a count; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
