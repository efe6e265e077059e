"""yamsd with the example's features. The system it configures is a file, WORK/world.json, that outlives it.

    daemon WORK [--kill-at N] [--as-user]

--kill-at ends it with SIGKILL before the Nth step of writing files.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

from sluice.mgmt.app import serve
from sluice.mgmt.store import Disk

from tests.mgmt.rig import World, feature


class FileWorld(World):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.exists():
            self.things = json.loads(path.read_text())

    def save(self) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.things))
        beside.rename(self.path)


class KillingDisk(Disk):
    """Counts steps and dies before one of them."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            print(f"dying before: {what}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--kill-at", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    world = FileWorld(options.work / "world.json")
    disk = KillingDisk(options.kill_at)
    asyncio.run(serve([feature(world)], options.work / "state", options.work / "run", disk))


if __name__ == "__main__":
    main()
