#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make features_gen.h from features.def and the reasons.def files.

Usage: gen.py GATE_DIR names          the features' folders, in order, one a line (for meson)
       gen.py GATE_DIR header OUTPUT  the header
       gen.py GATE_DIR inputs         the files that the header is made from
"""

import re
import sys
from pathlib import Path

FEATURE = re.compile(r"^FEATURE\((\w+),\s*(\d+)\)", re.MULTILINE)
REASON = re.compile(r'^(DROP|EXCEPTION|LOCAL|TRANSIT)\((\w+),\s*"([^"]*)"\)', re.MULTILINE)
SCOPES = ("LOCAL", "TRANSIT")


def features(gate: Path) -> list[tuple[str, int]]:
    """Return (folder, number) in order; numbers must differ and folders exist."""
    found = [(n, int(i)) for n, i in FEATURE.findall((gate / "features/features.def").read_text())]
    if len({i for _, i in found}) != len(found):
        sys.exit("features.def: a number stands twice")
    for name, _ in found:
        if not (gate / "features" / name).is_dir():
            sys.exit(f"features.def: {name} has no folder")
    return found


def reasons(gate: Path, names: list[str]) -> list[tuple[str, str, str]]:
    """Return (kind, name, text): the shared reasons first, then each feature's, prefixed with its name.

    A kind that is a scope is an EXCEPTION whose packets are known to be for this host, or not.
    """
    found = REASON.findall((gate / "fastpath/reasons.def").read_text())
    for name in names:
        path = gate / "features" / name / "reasons.def"
        if path.exists():
            found += [(k, f"{name}_{r}", t) for k, r, t in REASON.findall(path.read_text())]
    return found


def header(gate: Path) -> str:
    """Return the text of features_gen.h."""
    listed = features(gate)
    all_reasons = [
        ("EXCEPTION" if kind in SCOPES else kind, kind, name, text)
        for kind, name, text in reasons(gate, [name for name, _ in listed])
    ]
    lines = [
        "// SPDX-License-Identifier: BSD-3-Clause",
        "/* Made by gate/features/gen.py; don't edit. */",
        "#pragma once",
        "",
        "enum feature_id {",
        *(f"\tFEATURE_{name.upper()} = {number}," for name, number in listed),
        "};",
        "",
        "/* X(folder) for each feature, in order. */",
        "#define FEATURES(X) \\",
        *(f"\tX({name}) \\" for name, _ in listed),
        "",
        "",
        "enum reason_kind { REASON_DROP, REASON_EXCEPTION, REASON_COUNTER };",
        "",
        "/* Why a packet left the fast path other than forwarded. */",
        "enum reason {",
        *(f"\t{k}_{n.upper()}," for k, _, n, _ in all_reasons),
        "\tN_REASONS",
        "};",
        "",
        "/* X(kind, name, text) for each reason, in the order of enum reason. */",
        "#define REASONS(X) \\",
        *(f'\tX({k}, {n}, "{t}") \\' for k, _, n, t in all_reasons),
        "",
        "",
        "/* X(reason, LOCAL or TRANSIT) for exceptions whose packets are surely for this host, surely not. */",
        "#define REASON_SCOPES(X) \\",
        *(f"\tX({k}_{n.upper()}, {s}) \\" for k, s, n, _ in all_reasons if s in SCOPES),
        "",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    gate = Path(sys.argv[1])
    if sys.argv[2] == "names":
        print("\n".join(name for name, _ in features(gate)))
    elif sys.argv[2] == "inputs":
        shared = [gate / "features/features.def", gate / "fastpath/reasons.def"]
        print("\n".join(map(str, [*shared, *sorted(gate.glob("features/*/reasons.def"))])))
    else:
        Path(sys.argv[3]).write_text(header(gate))


main()
