# SPDX-License-Identifier: BSD-3-Clause
"""The FPC objects that the fast path should have, and which of them fpmd hasn't been told yet.

Changes coalesce by key: what waits is bounded by the number of objects, however often they change.
"""

from collections.abc import Callable
from typing import NamedTuple


class Frame(NamedTuple):
    """A SET of the whole object, or a DEL when `body` is None."""

    feature: int
    key: bytes
    body: bytes | None


class Objects:
    """One process, one thread. `wanted[feature][key]` is the object's whole body, of which the key is the front."""

    def __init__(self) -> None:
        self.wanted: dict[int, dict[bytes, bytes]] = {}
        self.changed: dict[tuple[int, bytes], None] = {}
        # Nobody listens yet: a full sync comes first, so that single changes needn't be kept.
        self.listening = False
        self.on_change: Callable[[], None] = lambda: None
        self.changes = 0

    def add_feature(self, feature: int) -> dict[bytes, bytes]:
        """Its objects by key, to look at; only set and delete may change them."""
        return self.wanted.setdefault(feature, {})

    def set(self, feature: int, key: bytes, body: bytes) -> bool:
        """Whether that changes anything."""
        objects = self.wanted[feature]
        if objects.get(key) == body:
            return False
        objects[key] = body
        self.note(feature, key)
        return True

    def delete(self, feature: int, key: bytes) -> bool:
        if self.wanted[feature].pop(key, None) is None:
            return False
        self.note(feature, key)
        return True

    def note(self, feature: int, key: bytes) -> None:
        self.changes += 1
        if self.listening:
            if not self.changed:
                self.on_change()
            self.changed[feature, key] = None

    def take(self, most: int) -> list[Frame]:
        """The next changes to tell fpmd, oldest first."""
        frames: list[Frame] = []
        while self.changed and len(frames) < most:
            feature, key = next(iter(self.changed))
            del self.changed[feature, key]
            frames.append(Frame(feature, key, self.wanted[feature].get(key)))
        return frames
