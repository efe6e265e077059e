# SPDX-License-Identifier: BSD-3-Clause
"""The seam: how a feature has its entries in Linux refreshed when the fast path used them.

Features bring a class `Hits` in gate/features/<name>/hits.py. It's pure but for the shared memory that it's handed:
messages in, requests out.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from sluice.hitflags.memory import Memory

# Messages for the kernel, without the header: type, flags beside NLM_F_REQUEST, payload.
Request = tuple[int, int, bytes]


class Refresher(ABC):
    """Entries of one kind in one VRF. `now` is CLOCK_MONOTONIC in seconds, as hit times are."""

    # Of NETLINK_ROUTE: the multicast groups to hear (numbered from 1), and the request for a dump.
    groups: tuple[int, ...]
    dump: Request

    def __init__(self, vrf: int) -> None:
        self.vrf = vrf

    @abstractmethod
    def begin(self) -> None:
        """What was known may be wrong: a dump follows."""

    @abstractmethod
    def message(self, kind: int, payload: memoryview, now: float) -> None:
        """A message of the kernel, of any type. ValueError for a malformed one."""

    @abstractmethod
    def due(self, memory: Memory, now: float) -> Iterator[Request]:
        """What is to be refreshed now. Asked about once a second; the daemon may stop in the middle, when it has sent
        enough for that second, and asks again.
        """

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many entries might have to be refreshed; 0: needn't be asked."""


def refreshers(vrf: int) -> list[Refresher]:
    """One of each feature that has any."""
    folder = Path(__file__).parent.parent / "features"
    return [
        import_module(f"sluice.features.{path.parent.name}.hits").Hits(vrf)
        for path in sorted(folder.glob("*/hits.py"))
    ]
