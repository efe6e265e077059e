# SPDX-License-Identifier: BSD-3-Clause
"""The seam: how a feature has its objects' counters in Linux brought up to what the fast path did.

Features bring a class `Counters` in gate/features/<name>/fps.py.
"""

from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path

from sluice.fpsd.ledger import Ledger
from sluice.shm import File


class Counters(ABC):
    """Objects of one kind, in all VRFs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.told = self.refused = (
            0  # objects brought up to date, and those that the kernel refused, so far
        )

    @abstractmethod
    def tick(self, config: File, stats: File) -> None:
        """Called about once a second. OSError: the kernel doesn't answer."""

    @abstractmethod
    def close(self) -> None:
        """End it."""


def counters(ledger: Ledger) -> list[Counters]:
    """One of each feature that has any."""
    folder = Path(__file__).parent.parent / "features"
    return [
        import_module(f"sluice.features.{path.parent.name}.fps").Counters(ledger)
        for path in sorted(folder.glob("*/fps.py"))
    ]
