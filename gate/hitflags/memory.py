# SPDX-License-Identifier: BSD-3-Clause
"""The fast path's shared memory, as far as hit times need it: always the files that are current."""

from pathlib import Path
from typing import Any

from sluice.shm import SHM_FOLDER, File, ShmError


class Memory:
    """Both files of an instance. `look` before use: False while there are none."""

    def __init__(self, instance: str, *, folder: Path = SHM_FOLDER) -> None:
        self.paths = (folder / f"sluice.{instance}", folder / f"sluice.{instance}.stats")
        self.files: tuple[File, File] | None = None
        self.trouble = ""  # why there are none
        self.links: dict[tuple[int, int], int] = {}

    def look(self) -> bool:
        """Take the current files, and which row each interface has in them."""
        if self.files is None or any(file.replaced() for file in self.files):
            try:
                config, stats = self.paths
                self.files = (File(config, stats=False), File(stats, stats=True))
            except ShmError as error:
                self.files, self.trouble = None, str(error)
                return False
        self.trouble = ""
        self.links = {
            (row.vrf, row.ifindex): number
            for number, row in enumerate(self.files[0].structs("iface"))
            if row.ifindex
        }
        return True

    def iface(self, vrf: int, ifindex: int) -> int:
        """An interface's row; 0: the fast path doesn't know it."""
        return self.links.get((vrf, ifindex), 0)

    @property
    def config(self) -> Any:
        """`struct shm *` of fpmd's file."""
        assert self.files
        return self.files[0].shm

    @property
    def stats(self) -> Any:
        """`struct shm *` of fp-rte's file."""
        assert self.files
        return self.files[1].shm
