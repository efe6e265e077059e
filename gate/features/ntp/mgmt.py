# SPDX-License-Identifier: BSD-3-Clause
"""Network time: a drop-in of systemd-timesyncd."""

from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch
from sluice.mgmt.host import host, lines, remove, run, write

UNIT = "systemd-timesyncd.service"
DROP_IN = Path("/run/systemd/timesyncd.conf.d/50-sluice.conf")


class Servers(Applier):
    name: ClassVar[str] = "time servers"
    order: ClassVar[int] = 45
    watches = (Watch("/sluice-system:system/sluice-ntp:ntp"),)

    async def prepare(self, entries: list[Entry]) -> None:
        for entry in entries:
            if (entry.new or {}).get("server") and not await host.services.known(UNIT):
                raise ConfigError(
                    f"this machine has no {UNIT} to set the clock; a container's clock is its host's",
                    path=entry.path,
                )

    async def remove(self, entries: list[Entry]) -> None:
        await self.set([])

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            await self.set((entry.new or {}).get("server", []))

    @staticmethod
    async def set(servers: list[str]) -> None:
        if servers:
            text = drop_in(servers)
            changed = write(DROP_IN, text)
        else:
            changed = remove(DROP_IN)
        if changed:
            await host.services.again(UNIT)


def drop_in(servers: list[str]) -> str:
    """The empty assignment: only these, not those of the image's files too."""
    return lines(
        "# Made by yamsd from its configuration; a change here is lost.",
        "[Time]",
        "NTP=",
        f"NTP={' '.join(servers)}",
    )


async def state() -> dict[str, Any]:
    found: dict[str, Any] = {"synchronized": Path("/run/systemd/timesync/synchronized").exists()}
    if await host.services.known(UNIT):
        try:
            out = await run(["timedatectl", "show-timesync", "--all"])
        except ConfigError:  # it doesn't run
            out = ""
        found |= parsed(out)
    return {"sluice-system:system": {"sluice-ntp:ntp": {"state": found}}}


def parsed(text: str) -> dict[str, Any]:
    """What `timedatectl show-timesync` says."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    found: dict[str, Any] = {}
    if values.get("ServerName"):
        found["server"] = values["ServerName"]
    if values.get("ServerAddress"):
        found["address"] = values["ServerAddress"]
    for part in values.get("NTPMessage", "").strip("{} ").split(","):
        key, _, value = part.strip().partition("=")
        if key == "Stratum" and value.isdigit():
            found["stratum"] = int(value)
    return found


FEATURE = Feature(
    name="ntp",
    models=(Path(__file__).parent / "sluice-ntp.yang",),
    appliers=(Servers(),),
    states=(State("/sluice-system:system/sluice-ntp:ntp/state", state),),
)
