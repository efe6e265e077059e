# SPDX-License-Identifier: BSD-3-Clause
"""VRFs: a network namespace for each but main."""

from pathlib import Path
from typing import ClassVar

from pyroute2 import netns
from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Applier, Entry, Feature, Watch


class Namespaces(Applier):
    name: ClassVar[str] = "vrf"
    order: ClassVar[int] = 20
    watches = (Watch("/sluice-vrf:vrf", deep=False),)

    async def remove(self, entries: list[Entry]) -> None:
        for entry in entries:
            (name,) = entry.keys
            kernel.vrfs.discard(name)
            if name != kernel.MAIN and kernel.exists(name):
                try:
                    netns.remove(name)
                except OSError as error:
                    raise ConfigError(
                        f"can't remove the namespace: {error.strerror}", path=entry.path
                    ) from error

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            (name,) = entry.keys
            if not kernel.exists(name):
                try:
                    netns.create(name)
                except OSError as error:
                    raise ConfigError(
                        f"can't make the namespace: {error.strerror}", path=entry.path
                    ) from error
                with kernel.iproute(name) as ipr:
                    ipr.link("set", index=1, state="up")
            kernel.vrfs.add(name)


FEATURE = Feature(
    name="vrf",
    models=(Path(__file__).parent / "sluice-vrf.yang",),
    appliers=(Namespaces(),),
    factory={"sluice-vrf:vrf": [{"name": kernel.MAIN}]},
)
