# SPDX-License-Identifier: BSD-3-Clause
"""A feature's part in cmgrd: which parts of the kernel's state it follows, and what they mean in FPC.

`gate/features/<name>/cmgr.py` has a subclass of Feature called `Sync`; a feature without that file has no such part.
Shared code names no feature.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from sluice.cmgrd.kernel import MAIN_VRF, Family, Message, Vrf
from sluice.cmgrd.objects import Objects
from sluice.fpc import FEATURES, mask


class Mirror[K, V](dict[K, V]):
    """The kernel's objects of one kind. A dump marks them stale, refreshes those it finds and sweeps the others."""

    def __init__(self) -> None:
        super().__init__()
        self.stale: set[K] = set()

    def begin(self) -> None:
        self.stale = set(self)

    def put(self, key: K, value: V) -> V | None:
        """Returns what was there."""
        self.stale.discard(key)
        old = self.get(key)
        self[key] = value
        return old

    def end(self) -> list[K]:
        """What the dump didn't find; the caller drops each."""
        stale, self.stale = self.stale, set()
        return [key for key in self if key in stale] if stale else []

    def abandon(self) -> None:
        self.stale = set()


class Feature:
    """Pure: messages in, `self.set` and `self.delete` out, no IO.

    A dump of a family calls begin, handle with `dumped` for each object in the kernel's order, and end; abandon instead
    of end if the dump broke off. No other message of that family comes in between. `late` marks a message that may be
    older than what the last dump of its family saw.

    What comes by the million is decoded in C (native.h of the feature, inlet.h): `native` says which messages, and
    `handle` doesn't get them.
    """

    key_size: ClassVar[int]
    families: ClassVar[frozenset[Family]]

    def __init__(
        self,
        *,
        name: str,
        number: int,
        objects: Objects,
        redump: Callable[[Family, str], None],
        vrf: Vrf = MAIN_VRF,
    ) -> None:
        """`vrf`: the one whose kernel state this instance of the feature follows. All VRFs' share `objects`."""
        self.place = vrf
        self.vrf = vrf.number
        self.name = name
        self.number = number
        self.objects = objects
        self.wanted = objects.add_feature(number, self.key_size)
        # Asks for a dump of a family, soon; the text says why.
        self.redump = redump

    def native(self) -> dict[int, tuple[Any, Any]]:
        """The inlet_decoder and its state for RTM_* types of NETLINK_ROUTE."""
        return {}

    def noted(self) -> None:
        """Decoders in C have run: take what they noted."""

    def opened(self) -> None:
        """Fpmd has all of a VRF that came while cmgrd runs; until then its packets are to take Linux."""

    def forget(self) -> None:
        """The VRF is gone: so are its objects. All keys begin with the VRF's number."""
        prefix = self.vrf.to_bytes(4, sys.byteorder)
        for key in [key for key in self.wanted if key.startswith(prefix)]:
            self.delete(key)

    def begin(self, family: Family) -> None:
        raise NotImplementedError

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        raise NotImplementedError

    def end(self, family: Family) -> None:
        raise NotImplementedError

    def abandon(self, family: Family) -> None:
        raise NotImplementedError

    def describe(self, key: bytes, body: bytes | None) -> str:
        """An object, for the log. `body` is as long as the C struct."""
        raise NotImplementedError

    def shown(self, body: bytes) -> bytes:
        """What `fp-sync check` may show of an object, and compares: no secrets, nothing that moves by itself."""
        return mask(self.number, body)

    def set(self, body: bytes) -> None:
        self.objects.set(self.number, body)

    def delete(self, key: bytes) -> None:
        self.objects.delete(self.number, key)


def load(
    objects: Objects, redump: Callable[[Family, str], None], vrf: Vrf = MAIN_VRF
) -> list[Feature]:
    """The features that have a part here, in features.def's order."""
    features = []
    # Not find_spec: an installed feature without any Python has no package to look in.
    folder = Path(__file__).parent.parent / "features"
    for name, feature in FEATURES.items():
        if (folder / name / "cmgr.py").exists():
            sync: type[Feature] = import_module(f"sluice.features.{name}.cmgr").Sync
            features.append(
                sync(name=name, number=feature.id, objects=objects, redump=redump, vrf=vrf)
            )
    return features
