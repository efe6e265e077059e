# SPDX-License-Identifier: BSD-3-Clause
"""FPC's structs are a contract between versions: what stood in abi.json must stand where it stood.

Structs may grow at the tail, after which UPDATE_GOLDEN=1 writes the file anew.
"""

import json
import os
from pathlib import Path

from _sluice import ffi
from sluice.fpc import FEATURES

GOLDEN = Path(__file__).parent / "abi.json"
FRAME_STRUCTS = ("struct fpc_frame", "struct fpc_hello", "struct fpc_ack", "struct fpc_event")


def layout(struct: str) -> list[list[object]]:
    """Return [field, offset, bytes] of a struct, in order."""
    return [
        [name, field.offset, ffi.sizeof(field.type)] for name, field in ffi.typeof(struct).fields
    ]


def current() -> dict[str, object]:
    """Return the layout of every struct that goes over the socket, and the features' numbers and keys."""
    objects = [f for f in FEATURES.values() if f.size]
    structs = {name: layout(name) for name in (*FRAME_STRUCTS, *(f.struct for f in objects))}
    return {
        "numbers": {f.name: f.id for f in FEATURES.values()},
        "keys": {f.name: f.key_size for f in objects},
        "structs": structs,
    }


def test_no_field_of_the_contract_has_moved() -> None:
    now = json.loads(json.dumps(current()))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    then = json.loads(GOLDEN.read_text())
    assert then["numbers"].items() <= now["numbers"].items()
    assert then["keys"].items() <= now["keys"].items()
    for struct, fields in then["structs"].items():
        assert now["structs"][struct][: len(fields)] == fields, struct


def test_the_golden_file_knows_every_field() -> None:
    assert json.loads(GOLDEN.read_text()) == json.loads(json.dumps(current()))
