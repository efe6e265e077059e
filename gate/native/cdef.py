#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make the C source of the cffi module _sluice from the headers, so that they stay the one source
of truth.

Usage: cdef.py GATE_DIR GENERATED_INCLUDE_DIR OUTPUT.c DEPFILE COMPILER...

Python gets, by their C names:
  - structs, enums and integer or string macros of the headers below and of each feature's
    fpc_NAME.h, NAME.h and native.h;
  - functions and variables of the headers in FUNCTIONS and of each feature's native.h (with a
    native.c beside it).
Inline functions are left out, and so is _Atomic: to Python, shared memory is plain numbers.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cffi import FFI

TYPES = [
    "shm/quiesce.h",
    "fastpath/plugins.h",
    "fastpath/reasons.h",
    "fastpath/rings.h",
    "fastpath/trace.h",
    "fpc/fpc.h",
]
FUNCTIONS = [
    "lib/err.h",
    "lib/paths.h",
    "lib/settings.h",
    "lib/lock.h",
    "lib/folder.h",
    "shm/shm.h",
    "features/feature.h",
    "fpc/frame.h",
    "fpc/check.h",
    "cmgrd/store.h",
    "cmgrd/inlet.h",
]
# Integer macros of the system that ours refer to.
KNOWN = {"UINT8_MAX", "UINT16_MAX", "UINT32_MAX", "UINT64_MAX", "INT32_MAX", "sizeof", "struct"}
# Of no use to Python: variadic, and what they fill is read.
LEFT_OUT = {"err_set", "err_hint"}

LINE = re.compile(r'# \d+ "([^"]*)"')
DEFINE = re.compile(r"#define (\w+)(\(?)\s*(.*)")
TOKEN = re.compile(r"0[xX][\da-fA-F']+[uUlL]*|\d[\d']*[uUlL]*|[A-Za-z_]\w*|<<|>>|[-+*/%|&^~()\s]")


def own_lines(preprocessed: str, gate: Path, generated: Path) -> Iterator[tuple[str, str]]:
    """Lines that stand in headers of ours, each with the header's path within gate/."""
    here = ""
    for line in preprocessed.splitlines():
        marker = LINE.match(line)
        if marker:
            path = Path(marker[1])
            here = ""
            if path.is_absolute() and path.is_relative_to(gate):
                here = str(path.relative_to(gate))
            elif path.name == "features_gen.h" and path.parent == generated:
                here = path.name
        elif here:
            yield here, line


def declarations(text: str) -> Iterator[str]:
    """Cut C into declarations at the top level, a function's body included."""
    depth = start = 0
    for at, char in enumerate(text):
        if char in "{(":
            depth += 1
        elif char in "})":
            depth -= 1
        function_end = (
            char == "}" and depth == 0 and text[start:].lstrip().startswith("static inline")
        )
        if (char == ";" and depth == 0) or function_end:
            yield text[start : at + 1].strip()
            start = at + 1
    if text[start:].strip():
        sys.exit(f"cdef.py: the headers end within a declaration: {text[start:].strip()[:80]!r}")


def wanted(declaration: str, with_functions: bool) -> bool:
    """Whether Python gets this declaration."""
    if declaration in ("", ";") or declaration.startswith(("static inline", "static_assert")):
        return False
    if "{" in declaration or declaration.startswith("typedef"):
        return True
    if re.fullmatch(r"(struct|enum) \w+;", declaration):
        return True
    name = re.search(r"(\w+)\s*\(", declaration)
    return with_functions and not (name and name[1] in LEFT_OUT)


def is_integer(body: str, known: set[str]) -> bool:
    """Whether a macro's text can be nothing but an integer constant."""
    at = 0
    while at < len(body):
        token = TOKEN.match(body, at)
        if not token or (re.match(r"[A-Za-z_]", token[0]) and token[0] not in known):
            return False
        at = token.end()
    return bool(re.search(r"\w", body))


def cdef(preprocessed: str, gate: Path, generated: Path) -> str:
    """The text for FFI.cdef."""
    chunks: list[tuple[str, list[str]]] = []
    known, result = set(KNOWN), []
    for header, line in own_lines(preprocessed, gate, generated):
        define = DEFINE.match(line)
        if define:
            name, call, body = define.groups()
            if call or not body or name in known:
                continue
            if is_integer(body, known):
                known.add(name)
                result.append(f"#define {name} ...")
            elif re.fullmatch(r'(\s*"([^"\\]|\\.)*")+', body):
                result.append(f"static char *const {name};")
        elif not line.startswith("#"):
            if not chunks or chunks[-1][0] != header:
                chunks.append((header, []))
            chunks[-1][1].append(line)
    # A struct may include an X-macro file in its middle, so the text is cut as a whole; each
    # declaration belongs to the header it ends in.
    text, owners = "", []
    for header, lines in chunks:
        text += "\n".join(lines) + "\n"
        owners.append((len(text), header))
    text = re.sub(r"\[\[.*?\]\]", lambda m: " " * len(m[0]), text, flags=re.DOTALL)
    text = re.sub(r"\b_Atomic\b", " " * 7, text)
    at = 0
    for declaration in declarations(text):
        at = text.index(declaration, at) + len(declaration)
        header = next(owner for end, owner in owners if at <= end)
        functions = header in FUNCTIONS or header.endswith("/native.h")
        if wanted(declaration, functions):
            result.append(declaration)
            # A flag macro may be made of enumerators.
            if declaration.startswith("enum"):
                known.update(re.findall(r"\b([A-Z]\w+)\b", declaration))
    return "\n".join(result) + "\n"


def feature_headers(gate: Path) -> list[str]:
    """The headers of each feature, in features.def's order."""
    features = re.findall(r"^FEATURE\((\w+),", (gate / "features/features.def").read_text(), re.M)
    return [
        f"features/{name}/{header}"
        for name in features
        for header in (f"fpc_{name}.h", f"{name}.h", "native.h")
        if (gate / "features" / name / header).exists()
    ]


def main() -> None:
    gate, generated = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    output, depfile, compiler = Path(sys.argv[3]), sys.argv[4], sys.argv[5:]
    source = "".join(f'#include "{h}"\n' for h in FUNCTIONS + TYPES + feature_headers(gate))
    flags = ["-std=gnu2x", "-D_GNU_SOURCE", f"-I{gate}", f"-I{generated}"]
    done = subprocess.run(
        [*compiler, "-E", "-dD", *flags, "-MD", "-MF", depfile, "-MT", str(output), "-x", "c", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    ffi = FFI()
    ffi.cdef(cdef(done.stdout, gate, generated))
    ffi.set_source("_sluice", source)
    ffi.emit_c_code(str(output))


main()
