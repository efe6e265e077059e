# SPDX-License-Identifier: BSD-3-Clause
"""The FPC objects that the fast path should have, and which of them fpmd hasn't been told yet: the store of store.h.

Changes coalesce by key: what waits is bounded by the number of objects, however often they change.
"""

import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from _sluice import ffi, lib
from sluice.fpc import Decoder, Verb
from sluice.fpc import Frame as Told

AUDIT = struct.Struct("=QII")  # struct fpc_audit


class Listed(Mapping[bytes, bytes]):
    """A feature's objects by key, to look at. A body is without the zeros at its end."""

    def __init__(self, objects: "Objects", feature: int, key_size: int) -> None:
        self.objects = objects
        self.feature = feature
        self.key_size = key_size

    def body(self, found: Any) -> bytes:
        return bytes(ffi.buffer(found.data, found.len))

    def __getitem__(self, key: bytes) -> bytes:
        if len(key) != self.key_size:
            raise KeyError(key)
        found = lib.store_find(self.objects.store, self.feature, key)
        if found == ffi.NULL:
            raise KeyError(key)
        return self.body(found)

    def __iter__(self) -> Iterator[bytes]:
        store = self.objects.store
        keys = [
            bytes(ffi.buffer(lib.store_at(store, self.feature, place).data, self.key_size))
            for place in range(len(self))
        ]
        return iter(keys)

    def __len__(self) -> int:
        return int(self.objects.store.lists[self.feature].n)


class Objects:
    """One process, one thread. `wanted[feature][key]` is the object's whole body, of which the key is the front."""

    def __init__(self) -> None:
        self.store = ffi.gc(lib.store_new(), lib.store_free)
        if self.store == ffi.NULL:
            raise MemoryError
        self.out = ffi.gc(ffi.new("struct frame_out *"), lib.frame_out_free)
        self.wanted: dict[int, Listed] = {}
        self.on_change: Callable[[], None] = lambda: None
        # When what stands in the queue came there: (entries so far, time).
        self.stamps: deque[tuple[int, float]] = deque()
        self.stamped = 0

    def add_feature(self, feature: int, key_size: int) -> Listed:
        """Its objects by key, to look at; only set, delete and decoders in C may change them."""
        if lib.store_feature(self.store, feature, key_size):
            raise ValueError(f"a feature with the number {feature}")
        return self.wanted.setdefault(feature, Listed(self, feature, key_size))

    @property
    def listening(self) -> bool:
        """Single changes are kept. Without: nobody listens, and a full sync comes first."""
        return bool(self.store.listening)

    def listen(self, listening: bool) -> None:
        lib.store_listen(self.store, listening)
        self.stamps.clear()
        self.stamped = self.pushed

    @property
    def changes(self) -> int:
        """Sets and deletions that changed something, so far."""
        return int(self.store.changes)

    @property
    def waiting(self) -> int:
        """How many objects fpmd is still to be told."""
        return int(self.store.waiting)

    @property
    def pushed(self) -> int:
        """Entries into the queue so far."""
        return int(self.store.pushed)

    @property
    def taken(self) -> int:
        """Entries that have left the queue."""
        return int(self.store.taken)

    def set(self, feature: int, body: bytes) -> bool:
        """Whether that changes anything."""
        done = lib.store_set(self.store, feature, body, len(body), ffi.NULL, 0, ffi.NULL)
        if done < 0:
            raise MemoryError
        self.noticed()
        return bool(done)

    def delete(self, feature: int, key: bytes) -> bool:
        done = bool(lib.store_delete(self.store, feature, key))
        self.noticed()
        return done

    def noticed(self) -> None:
        """Called after each change, or some: who waits for changes is told, and how long they wait is noted."""
        if self.store.pushed != self.stamped:
            self.stamped = self.pushed
            self.stamps.append((self.stamped, time.monotonic()))
            self.on_change()

    def audit(self, feature: int) -> bytes:
        """What all of a feature's objects come to: struct fpc_audit."""
        listed = self.store.lists[feature]
        return AUDIT.pack(listed.sum, listed.n, 0)

    def tell(self, feature: int) -> None:
        """Put all of a feature's objects into the queue."""
        lib.store_tell(self.store, feature)
        # They aren't news: how long they wait is nobody's lag.
        self.stamped = self.pushed

    def take(self, most: int, seq: int) -> tuple[int, bytes]:
        """The next changes to tell fpmd, oldest first: how many, and as frames from number `seq` on, the last one with
        FPC_F_ACK.
        """
        count = int(lib.store_take(self.store, self.out, most, seq))
        size = self.out.end - self.out.start
        data = bytes(ffi.buffer(self.out.data + self.out.start, size)) if size else b""
        lib.frame_out_sent(self.out, size)
        return count, data

    def told(self, taken: int) -> float | None:
        """All that had been taken when `taken` was its count is fpmd's now: how long the oldest of it waited, seconds.
        None: none of that was news.
        """
        oldest = None
        while self.stamps and self.stamps[0][0] <= taken:
            _, when = self.stamps.popleft()
            oldest = when if oldest is None else oldest
        return None if oldest is None else time.monotonic() - oldest

    def keep_journal(self, on: bool) -> None:
        """Keep each effective change for `journal`."""
        self.store.journal = on
        if not on:
            lib.frame_out_free(ffi.addressof(self.store, "written"))

    def journal(self) -> list[Told]:
        """The changes since the last call, as frames."""
        written = self.store.written
        size = written.end - written.start
        if not size:
            return []
        data = bytes(ffi.buffer(written.data + written.start, size))
        lib.frame_out_sent(ffi.addressof(self.store, "written"), size)
        return list(Decoder().feed(data))


def frame_at(data: bytes, seq: int) -> tuple[int, bytes] | None:
    """Feature and body of the frame with that number in what `take` gave."""
    for frame in Decoder().feed(data):
        if frame.seq == seq and frame.verb in (Verb.SET, Verb.DEL):
            return frame.feature, frame.body
    return None
