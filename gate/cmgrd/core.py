# SPDX-License-Identifier: BSD-3-Clause
"""The pure middle: takes what came over Netlink, gives it to the features, and says which families must be dumped.

The one way back to certainty is a dump: at the start, after lost or malformed messages, and where the kernel changes
something without a word. It marks what is known of the family, refreshes what it finds and sweeps the rest. A dump that
the kernel calls interrupted refreshes but doesn't sweep, and is repeated.

Order: the daemon subscribes first and dumps then. What comes meanwhile waits and is handled after the dump, marked
`late`, because the dump may have seen its effect already.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from _sluice import ffi, lib
from sluice.cmgrd import wire
from sluice.cmgrd.feature import Feature, load
from sluice.cmgrd.kernel import MAIN_VRF, Change, Family, Several, Vrf
from sluice.cmgrd.objects import Objects
from sluice.fpc import FEATURES, Frame, Verb, mask

log = logging.getLogger("cmgrd")

SIZES = {feature.id: feature.size for feature in FEATURES.values()}
BATCH = 64  # datagrams read from a socket at once

# The order of dumps: what others look at comes first.
DUMPED = (
    Family.LINK,
    Family.ADDRESS,
    Family.NETCONF,
    Family.QDISC,
    Family.RULE,
    Family.CHAIN,
    Family.POLICY,
    Family.SA,
    Family.NEIGH,
    Family.NEXTHOP,
    Family.ROUTE4,
    Family.ROUTE6,
    Family.MROUTE,
    Family.FDB,
    Family.MDB,
    Family.VLAN,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """An effective change of an object, for who looks on. `body` None: deleted."""

    feature: int
    key: bytes
    body: bytes | None
    text: str  # the object, for people
    cause: str


class Core:
    """`due`: families to dump, with the reason. `unknown`: families that haven't been dumped completely yet."""

    def __init__(
        self,
        place: Vrf = MAIN_VRF,
        *,
        main: "Core | None" = None,
        more: Iterable[type[Feature]] = (),
    ) -> None:
        """The kernel's state of one VRF. `main`: the core of cmgrd's own, whose objects and watchers the others share.
        `more`: features that follow something and have no FPC object of their own.
        """
        self.place = place
        self.vrf = place.number
        self.objects: Objects = main.objects if main else Objects()
        # What was the objects' count of changes when somebody last looked; and those that came of this VRF.
        self.counted: list[int] = main.counted if main else [0]
        self.changes = 0
        self.due: dict[Family, str] = {}
        self.counts: Counter[str] = Counter()
        self.features = load(self.objects, self.want, place)
        for number, sync in enumerate(more, start=200):
            self.features.append(
                sync(
                    name=f"more{number}",
                    number=number,
                    objects=self.objects,
                    redump=self.want,
                    vrf=place,
                )
            )
        self.followers: dict[Family, list[Feature]] = {family: [] for family in Family}
        for feature in self.features:
            for family in feature.families:
                self.followers[family].append(feature)
        self.by_number = {feature.number: feature for feature in self.features}
        self.open_inlet()
        self.families = {family for family in Family if self.followers[family]}
        self.unknown = {family for family in DUMPED if family in self.families}
        self.due = {family: "start" for family in DUMPED if family in self.unknown}
        self.dumping: Family | None = None
        # Features whose objects fpmd should get again as a whole, once all is known.
        self.lost: set[int] = set()
        self.cause = ""
        # Called with each effective change; they make everything slower.
        self.watchers: list[Callable[[Seen], None]] = main.watchers if main else []
        if not main and log.isEnabledFor(logging.DEBUG):
            self.watch(report)

    @property
    def ready(self) -> bool:
        return not self.unknown

    def want(self, family: Family, reason: str) -> None:
        """Have the family dumped soon; the first reason stands."""
        if family in self.families and family in DUMPED:
            self.due.setdefault(family, reason)

    def open_inlet(self) -> None:
        """The decoders in C."""
        self.inlet = ffi.gc(lib.inlet_new(), lib.inlet_free)
        if self.inlet == ffi.NULL:
            raise MemoryError
        self.about = ffi.new("struct inlet_message *")
        self.found = ffi.new("struct inlet_end *")
        self.error = ffi.new("struct err *")
        self.natives = [feature for feature in self.features if feature.native()]
        types: set[int] = set()
        for feature in self.natives:
            for kind, (decoder, state) in feature.native().items():
                lib.inlet_decode(self.inlet, kind, decoder, state)
                types.add(kind)
        # Families of which every message is decoded there.
        self.native_families = {
            family
            for (protocol, kind), (_, one, _, _) in wire.TYPES.items()
            if protocol == wire.NETLINK_ROUTE and kind in types
            for family in ([one] if one else wire.ROUTES)
        }

    @property
    def direct(self) -> bool:
        """Nobody wants to see single messages: datagrams may go to the decoders in C as they are."""
        return not self.watchers

    def watch(self, watcher: Callable[[Seen], None]) -> None:
        self.watchers.append(watcher)
        self.objects.keep_journal(True)

    def unwatch(self, watcher: Callable[[Seen], None]) -> None:
        self.watchers.remove(watcher)
        self.objects.keep_journal(bool(self.watchers))

    def show(self) -> None:
        """Tell the watchers what has changed since the last time, and why."""
        for frame in self.objects.journal():
            seen = self.seen(frame)
            for watcher in self.watchers:
                watcher(seen)

    def seen(self, frame: Frame) -> Seen:
        """What the journal's frame says, without secrets."""
        feature = self.by_number[frame.feature]
        key = frame.body[: feature.key_size]
        body = mask(frame.feature, frame.body) if frame.verb == Verb.SET else None
        whole = None if body is None else body.ljust(SIZES[frame.feature], b"\0")
        return Seen(frame.feature, key, body, feature.describe(key, whole), self.cause)

    def lose(self, families: Iterable[Family], reason: str) -> None:
        """Messages of these families are gone: dump them, and give fpmd the result as a whole."""
        self.counts["lost"] += 1
        for family in families:
            self.want(family, reason)
            if family is Family.ADDRESS:
                self.want(Family.ROUTE4, reason)
                self.want(Family.LINK, reason)
            if family is Family.NEIGH:
                self.want(Family.FDB, reason)
                self.lost |= {feature.number for feature in self.followers[Family.FDB]}
            if family is Family.NEXTHOP:
                self.want(Family.ROUTE4, reason)
                self.want(Family.ROUTE6, reason)
            self.lost |= {feature.number for feature in self.followers[family]}

    def begin(self, family: Family) -> None:
        self.dumping = family
        self.due.pop(family, None)
        for feature in self.followers[family]:
            feature.begin(family)

    def end(self, *, complete: bool) -> None:
        """A dump is over. Not complete: it's wanted again."""
        family = self.dumping
        assert family is not None
        self.dumping = None
        self.counts["dumps"] += 1
        self.cause = f"missing in a dump of {family}"
        for feature in self.followers[family]:
            if complete:
                feature.end(family)
            else:
                feature.abandon(family)
        self.settle()
        if complete:
            self.unknown.discard(family)
        else:
            self.counts["interrupted"] += 1
            self.want(family, "interrupted dump")

    def opened(self) -> None:
        """Fpmd has all objects of a VRF that came later."""
        self.cause = "all is told"
        for feature in self.features:
            feature.opened()
        self.settle()

    def forget(self) -> None:
        """The VRF is gone."""
        self.cause = "the namespace is gone"
        for feature in self.features:
            feature.forget()
        self.settle()

    def settle(self) -> None:
        """After one message, or some."""
        self.changes += self.objects.changes - self.counted[0]
        self.counted[0] = self.objects.changes
        if self.watchers:
            self.show()
        self.objects.noticed()
        for feature in self.natives:
            feature.noted()

    def datagram(self, data: bytes, families: Iterable[Family], *, late: bool) -> bool:
        """A datagram of NETLINK_ROUTE to the decoders in C; a dump's if one goes on. Whether it was its last one.

        Raises wire.MalformedError if it can't be cut into messages, and OSError with the errno that the kernel or our
        own memory gave. `interrupted` counts.
        """
        self.about.vrf = self.vrf
        self.about.dumped = self.dumping is not None
        self.about.late = late
        if self.dumping:
            self.cause = f"dump of {self.dumping}"
        lib.inlet_datagram(self.inlet, data, len(data), self.about, self.found)
        return self.judge(families)

    def read(self, fd: int, families: Iterable[Family]) -> int:
        """Read a socket that belongs to families of `native_families`. The number of datagrams; OSError: none there
        (BlockingIOError), something lost (ENOBUFS), ...
        """
        self.about.vrf = self.vrf
        self.about.dumped = self.about.late = False
        cut = ffi.new("unsigned *")
        count = int(lib.inlet_read(self.inlet, fd, BATCH, self.about, cut, self.found))
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        try:
            self.judge(families)
        except (OSError, wire.MalformedError) as error:
            self.malformed(str(error))
            self.lose(families, "malformed datagram")
        if cut[0]:
            self.lose(families, "a datagram was cut off")
        return count

    def judge(self, families: Iterable[Family]) -> bool:
        """What the inlet says of a datagram, or some. As `datagram`."""
        found = self.found
        if found.malformed:
            text = ffi.string(found.err.text).decode(errors="replace")
            if not found.type:
                self.settle()
                raise wire.MalformedError(text)
            self.malformed(
                f"{wire.type_name(wire.NETLINK_ROUTE, found.type)}: {text}", found.malformed
            )
            if not self.dumping:
                self.lose(families, "malformed message")
        if self.inlet.passed_len:
            self.take_passed()
        self.settle()
        if found.code:
            raise OSError(found.code, os.strerror(found.code))
        return bool(found.done)

    def take_passed(self) -> None:
        """Messages that no decoder in C took."""
        data = bytes(ffi.buffer(self.inlet.passed, self.inlet.passed_len))
        self.inlet.passed_len = 0
        late = bool(self.about.late)
        for kind, flags, _, at, end in wire.messages(data):
            self.decoded(wire.NETLINK_ROUTE, kind, flags, data, at, end, late=late)

    def message(
        self, protocol: int, kind: int, flags: int, data: bytes, at: int, end: int, *, late: bool
    ) -> None:
        """One message: of the dump that is going on (`late` false then), or one that came by itself."""
        if protocol == wire.NETLINK_ROUTE and self.native(kind, flags, data, at, end, late=late):
            return
        self.decoded(protocol, kind, flags, data, at, end, late=late)

    def native(self, kind: int, flags: int, data: bytes, at: int, end: int, *, late: bool) -> bool:
        """One message to its decoder in C; whether it took it."""
        payload = ffi.from_buffer(data)
        m = ffi.new(
            "struct inlet_message *",
            {
                "vrf": self.vrf,
                "type": kind,
                "flags": flags,
                "dumped": self.dumping is not None,
                "late": late,
                "data": ffi.cast("uint8_t *", payload) + at,
                "len": end - at,
            },
        )
        code = lib.inlet_message(self.inlet, m, self.error)
        if code == lib.INLET_PASS:
            return False
        name = wire.type_name(wire.NETLINK_ROUTE, kind)
        self.cause = name if not self.dumping else f"dump of {self.dumping}"
        if code:
            self.refuse(
                name,
                wire.TYPES.get((wire.NETLINK_ROUTE, kind)),
                ffi.string(self.error.text).decode(errors="replace"),
            )
        self.settle()
        return True

    def refuse(self, name: str, known: wire.Type | None, text: str) -> None:
        """A malformed message: what it meant, only a dump can tell."""
        self.malformed(f"{name}: {text}")
        if known and not self.dumping:
            Core.lose(self, [known[1]] if known[1] else wire.ROUTES, "malformed message")

    def decoded(
        self, protocol: int, kind: int, flags: int, data: bytes, at: int, end: int, *, late: bool
    ) -> None:
        """A message that Python decodes."""
        try:
            message = wire.decode(protocol, kind, flags, data, at, end)
        except wire.MalformedError as error:
            self.refuse(
                wire.type_name(protocol, kind), wire.TYPES.get((protocol, kind)), str(error)
            )
            return
        if message is None:
            return
        family, dumped = message.family, self.dumping is not None
        if dumped and family is not self.dumping:
            return
        if message.value is None:
            self.want(Family(family), message.name)
            return
        if dumped and message.change is Change.DELETED:
            return
        self.cause = message.name if not dumped else f"dump of {family}"
        several = isinstance(message.value, Several)
        values = message.value.values if isinstance(message.value, Several) else (message.value,)
        for value in values:
            one = replace(message, value=value) if several else message
            for feature in self.followers[family]:
                feature.handle(one, dumped=dumped, late=late)
        self.settle()

    def malformed(self, text: str, count: int = 1) -> None:
        """Count and log it; what it may have been about is the caller's to lose()."""
        self.counts["malformed"] += count
        log.warning("malformed Netlink message left out: %s", text)


def report(seen: Seen) -> None:
    """The debug log names the kernel's event behind each change."""
    log.debug("%s %s: %s", seen.text, "deleted" if seen.body is None else "set", seen.cause)
