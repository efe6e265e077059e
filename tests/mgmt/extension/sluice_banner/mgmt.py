"""A model, an applier, state and an operation: what a feature may bring."""

import os
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch

FILE = Path(os.environ.get("BANNER_FILE", "/etc/motd"))


class Banner(Applier):
    name: ClassVar[str] = "banner"
    watches = (Watch("/acme-banner:banner"),)

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            if "password" in ((entry.new or {}).get("text") or ""):
                raise ConfigError("no passwords in banners", tag="invalid-value", path=entry.path)

    async def remove(self, entries: list[Entry]) -> None:
        FILE.unlink(missing_ok=True)

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            text = (entry.new or {}).get("text")
            if text is not None:
                FILE.write_text(text + "\n")
            elif (entry.old or {}).get("text") is not None:
                FILE.unlink(missing_ok=True)


def shown() -> dict[str, Any]:
    text = FILE.read_text().strip() if FILE.exists() else ""
    return {"acme-banner:banner": {"shown": text}}


FEATURE = Feature(
    name="banner",
    models=(Path(__file__).parent / "acme-banner.yang",),
    appliers=(Banner(),),
    states=(State("/acme-banner:banner/shown", shown),),
    operations={"acme-banner:shout": lambda given: {"text": given["text"].upper()}},
)
