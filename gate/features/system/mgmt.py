# SPDX-License-Identifier: BSD-3-Clause
"""The machine's name and its time zone."""

import socket
import time
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch
from sluice.mgmt.host import Covered

FILE = Path("/etc/hostname")
ZONES = Path("/usr/share/zoneinfo")
LOCALTIME = Path("/etc/localtime")


class Name(Applier):
    name: ClassVar[str] = "hostname"
    order: ClassVar[int] = 10
    watches = (Watch("/sluice-system:system", deep=False),)

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


class Zone(Applier):
    name: ClassVar[str] = "time zone"
    order: ClassVar[int] = 10
    watches = (Watch("/sluice-system:system", deep=False),)

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            zone = (entry.new or {}).get("timezone")
            if zone and not (ZONES / zone).is_file():
                raise ConfigError(
                    f"there's no time zone {zone}: ls {ZONES} shows them",
                    tag="invalid-value",
                    path=f"{entry.path}/timezone",
                )

    async def remove(self, entries: list[Entry]) -> None:
        self.set(None)

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.set((entry.new or {}).get("timezone"))

    @staticmethod
    def set(zone: str | None) -> None:
        covered = Covered(LOCALTIME)
        changed = covered.link(str(ZONES / zone)) if zone else covered.uncover()
        if changed:
            time.tzset()


def zone_now() -> str:
    """The zone's name, as the link says it."""
    try:
        return str(LOCALTIME.readlink()).rpartition("zoneinfo/")[2] or "UTC"
    except OSError:
        return "UTC"


def state() -> dict[str, Any]:
    return {
        "sluice-system:system": {
            "state": {
                "hostname": socket.gethostname(),
                "timezone": zone_now(),
                "uptime": str(int(time.clock_gettime(time.CLOCK_BOOTTIME))),
            }
        }
    }


FEATURE = Feature(
    name="system",
    models=(Path(__file__).parent / "sluice-system.yang",),
    appliers=(Name(), Zone()),
    states=(State("/sluice-system:system/state", state),),
)
