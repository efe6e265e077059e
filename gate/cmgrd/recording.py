# SPDX-License-Identifier: BSD-3-Clause
"""What goes into the core, as JSON lines: written by `cmgrd --record`, read by the golden tests.

    {"do": "begin", "family": "route4"}
    {"do": "message", "name": "RTM_NEWROUTE", "protocol": 0, "type": 24, "flags": 2, "late": false, "hex": "..."}
    {"do": "end", "complete": true}
    {"do": "lose", "families": ["route4"], "reason": "ENOBUFS"}
    {"do": "note", "text": "for people"}

Steps of another VRF than number 0 have its number ("vrf": 3).
A message between begin and end belongs to the dump. `hex` is the payload, without the nlmsghdr.
Keys of IPsec's security associations are zeros in it: what is replayed makes SAs that are Linux's alone.
"""

import json
from collections.abc import Iterable
from typing import IO

from sluice.cmgrd import wire, xfrm
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import MAIN_VRF, Family, Vrf


class RecordedCore(Core):
    """A core that writes down what it's given, before it acts on it."""

    def __init__(self, file: IO[str], vrf: Vrf = MAIN_VRF, *, main: Core | None = None) -> None:
        """`file` has a line buffer; several cores may share it."""
        super().__init__(vrf, main=main)
        self.file = file

    @property
    def direct(self) -> bool:
        return False

    def write(self, **entry: object) -> None:
        if self.vrf:
            entry["vrf"] = self.vrf
        self.file.write(json.dumps(entry) + "\n")

    def begin(self, family: Family) -> None:
        self.write(do="begin", family=family)
        super().begin(family)

    def end(self, *, complete: bool) -> None:
        self.write(do="end", complete=complete)
        super().end(complete=complete)

    def lose(self, families: Iterable[Family], reason: str) -> None:
        families = list(families)
        self.write(do="lose", families=families, reason=reason)
        super().lose(families, reason)

    def message(
        self, protocol: int, kind: int, flags: int, data: bytes, at: int, end: int, *, late: bool
    ) -> None:
        shown = data[at:end]
        if protocol == wire.NETLINK_XFRM:
            shown = xfrm.masked(kind, shown)
        self.write(
            do="message",
            name=wire.type_name(protocol, kind),
            protocol=protocol,
            type=kind,
            flags=flags,
            late=late,
            hex=shown.hex(),
        )
        super().message(protocol, kind, flags, data, at, end, late=late)


def replay(core: Core, line: str) -> str:
    """Give the core one recorded step; returns what it was, for people, "" if it's another VRF's."""
    entry = json.loads(line)
    if entry.get("vrf", 0) != core.vrf:
        return ""
    match entry["do"]:
        case "begin":
            core.begin(Family(entry["family"]))
            return f"begin {entry['family']}"
        case "end":
            core.end(complete=entry["complete"])
            return "end" if entry["complete"] else "end, interrupted"
        case "lose":
            core.lose([Family(name) for name in entry["families"]], entry["reason"])
            return f"lose {', '.join(entry['families'])}"
        case "message":
            data = bytes.fromhex(entry["hex"])
            core.message(
                entry["protocol"],
                entry["type"],
                entry["flags"],
                data,
                0,
                len(data),
                late=entry["late"],
            )
            return str(entry["name"])
        case "note":
            return f"# {entry['text']}"
        case other:
            raise ValueError(f"an unknown step: {other}")
