# SPDX-License-Identifier: BSD-3-Clause
"""The machine's name."""

import socket
import time
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch

FILE = Path("/etc/hostname")


class Name(Applier):
    name: ClassVar[str] = "hostname"
    order: ClassVar[int] = 10
    watches = (Watch("/sluice-system:system"),)

    async def remove(self, entries: list[Entry]) -> None:
        self.set(None)

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            new, old = entry.new or {}, entry.old or {}
            # Without a statement now and before, the name is nobody's business here.
            if new.get("hostname") or old.get("hostname"):
                self.set(new.get("hostname"))

    @staticmethod
    def set(name: str | None) -> None:
        if name is None:
            try:
                name = FILE.read_text().strip()
            except OSError:
                return
        if name and name != socket.gethostname():
            socket.sethostname(name)


def state() -> dict[str, Any]:
    return {
        "sluice-system:system": {
            "state": {
                "hostname": socket.gethostname(),
                "uptime": str(int(time.clock_gettime(time.CLOCK_BOOTTIME))),
            }
        }
    }


FEATURE = Feature(
    name="system",
    models=(Path(__file__).parent / "sluice-system.yang",),
    appliers=(Name(),),
    states=(State("/sluice-system:system/state", state),),
)
