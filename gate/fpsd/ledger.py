# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel has been told of each object's counters, so that a restart neither tells it twice nor leaves it out.

The kernel's counters can be set, not added to, and hold what Linux itself did as well. So the fast path's share that is
in there already must be known. It stands in a file of the instance's run folder (lost with a reboot, as the counters
are): written once before a round, with what is about to be added, and once after it. A daemon that is killed in between
finds out at its next start by the kernel's counters whether that was added: they can't have grown by as much without
it, unless Linux treated as many packets of that object between the two as the fast path in that round.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Entry:
    """Of one object: bytes and packets of the fast path that the kernel has; those that are on their way, and the
    kernel's own counters as they were last seen. `soft`, `hard`: it has been told that the limit is reached.
    """

    n_bytes: int = 0
    n_packets: int = 0
    more_bytes: int = 0
    more_packets: int = 0
    kernel_bytes: int = 0
    kernel_packets: int = 0
    soft: bool = False
    hard: bool = False

    @property
    def pending(self) -> bool:
        """Something is on its way, or was when the daemon was killed."""
        return bool(self.more_bytes or self.more_packets)

    def announce(self, n_bytes: int, n_packets: int) -> None:
        """These are about to be added."""
        self.more_bytes, self.more_packets = n_bytes, n_packets

    def added(self, kernel_bytes: int, kernel_packets: int) -> None:
        """They are, and the kernel has that now."""
        self.n_bytes += self.more_bytes
        self.n_packets += self.more_packets
        self.more_bytes = self.more_packets = 0
        self.kernel_bytes, self.kernel_packets = kernel_bytes, kernel_packets

    def resolve(self, kernel_bytes: int, kernel_packets: int) -> None:
        """The daemon was killed when something was on its way: was it added?"""
        grown = kernel_bytes - self.kernel_bytes, kernel_packets - self.kernel_packets
        if grown[0] >= self.more_bytes and grown[1] >= self.more_packets:
            self.added(kernel_bytes, kernel_packets)
        self.more_bytes = self.more_packets = 0


class Ledger:
    """The entries, by a name that no other object has had or will have until a reboot."""

    def __init__(self, path: Path) -> None:
        """Reads the file; what can't be read is as if it weren't there."""
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.dirty = False
        with suppress(OSError, ValueError, TypeError, AttributeError):
            self.entries = {
                name: Entry(**fields) for name, fields in json.loads(path.read_text()).items()
            }

    def __getitem__(self, name: str) -> Entry:
        return self.entries.setdefault(name, Entry())

    def keep(self, prefix: str, names: set[str]) -> None:
        """Of the entries whose names begin so only these are needed any more."""
        for name in [n for n in self.entries if n.startswith(prefix) and n not in names]:
            del self.entries[name]
            self.dirty = True

    def save(self) -> None:
        """OSError."""
        text = json.dumps({name: asdict(entry) for name, entry in self.entries.items()})
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)
        self.dirty = False
