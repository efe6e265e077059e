# SPDX-License-Identifier: BSD-3-Clause
"""BFD as FRR writes it."""

from collections.abc import Iterator
from typing import Any

from sluice.features.routing.lines import Line

DAEMON = "bfdd"
# (YANG's leaf, the value that FRR doesn't write)
NUMBERS = (
    ("detect-multiplier", 3),
    ("transmit-interval", 300),
    ("receive-interval", 300),
    ("minimum-ttl", 254),
)


def render(value: dict[str, Any]) -> list[Line]:
    inner = []
    for profile in value.get("profile", []):
        at = f"/profile[name='{profile['name']}']"
        lines = tuple(session_lines(profile, at))
        inner.append(Line(f"profile {profile['name']}", at=at, inner=lines))
    for peer in value.get("peer", []):
        at = f"/peer[address='{peer['address']}']"
        header = f"peer {peer['address']}" + (" multihop" if peer["multihop"] else "")
        for leaf in ("local-address", "interface"):
            if leaf in peer:
                header += f" {leaf} {peer[leaf]}"
        lines = tuple(session_lines(peer, at))
        if "profile" in peer:
            text = f"profile {peer['profile']}"
            lines = (Line(text, key="profile", undo="no profile", at=f"{at}/profile"), *lines)
        inner.append(Line(header, at=at, inner=lines))
    return [Line("bfd", undo="", who=(DAEMON,), inner=tuple(inner))]


def session_lines(given: dict[str, Any], at: str) -> Iterator[Line]:
    for leaf, default in NUMBERS:
        if given[leaf] != default:
            yield Line(f"{leaf} {given[leaf]}", key=leaf, undo=f"no {leaf}", at=f"{at}/{leaf}")
    if given["passive-mode"]:
        yield Line("passive-mode", at=f"{at}/passive-mode")
    if not given["enabled"]:
        yield Line("shutdown", at=f"{at}/enabled")
