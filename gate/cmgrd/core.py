# SPDX-License-Identifier: BSD-3-Clause
"""The pure middle: takes what came over Netlink, gives it to the features, and says which families must be dumped.

The one way back to certainty is a dump: at the start, after lost or malformed messages, and where the kernel changes
something without a word. It marks what is known of the family, refreshes what it finds and sweeps the rest. A dump that
the kernel calls interrupted refreshes but doesn't sweep, and is repeated.

Order: the daemon subscribes first and dumps then. What comes meanwhile waits and is handled after the dump, marked
`late`, because the dump may have seen its effect already.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from sluice.cmgrd import wire
from sluice.cmgrd.feature import Feature, load
from sluice.cmgrd.kernel import Change, Family
from sluice.cmgrd.objects import Objects

log = logging.getLogger("cmgrd")

# The order of dumps: what others look at comes first.
DUMPED = (
    Family.LINK,
    Family.ADDRESS,
    Family.NETCONF,
    Family.QDISC,
    Family.RULE,
    Family.CHAIN,
    Family.POLICY,
    Family.NEIGH,
    Family.ROUTE4,
    Family.ROUTE6,
)


class Core:
    """`due`: families to dump, with the reason. `unknown`: families that haven't been dumped completely yet."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.due: dict[Family, str] = {}
        self.counts: Counter[str] = Counter()
        self.features = load(self.objects, self.want)
        self.followers: dict[Family, list[Feature]] = {family: [] for family in Family}
        for feature in self.features:
            for family in feature.families:
                self.followers[family].append(feature)
            if log.isEnabledFor(logging.DEBUG):
                feature.report = self.report
        self.families = {family for family in Family if self.followers[family]}
        self.unknown = {family for family in DUMPED if family in self.families}
        self.due = {family: "start" for family in DUMPED if family in self.unknown}
        self.dumping: Family | None = None
        # Features whose objects fpmd should get again as a whole, once all is known.
        self.lost: set[int] = set()
        self.cause = ""

    @property
    def ready(self) -> bool:
        return not self.unknown

    def want(self, family: Family, reason: str) -> None:
        """Have the family dumped soon; the first reason stands."""
        if family in self.families and family in DUMPED:
            self.due.setdefault(family, reason)

    def report(self, what: str, how: str) -> None:
        log.debug("%s %s: %s", what, how, self.cause)

    def lose(self, families: Iterable[Family], reason: str) -> None:
        """Messages of these families are gone: dump them, and give fpmd the result as a whole."""
        self.counts["lost"] += 1
        for family in families:
            self.want(family, reason)
            if family is Family.ADDRESS:
                self.want(Family.ROUTE4, reason)
                self.want(Family.LINK, reason)
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
        if complete:
            self.unknown.discard(family)
        else:
            self.counts["interrupted"] += 1
            self.want(family, "interrupted dump")

    def message(
        self, protocol: int, kind: int, flags: int, data: bytes, at: int, end: int, *, late: bool
    ) -> None:
        """One message: of the dump that is going on (`late` false then), or one that came by itself."""
        try:
            message = wire.decode(protocol, kind, flags, data, at, end)
        except wire.MalformedError as error:
            self.malformed(f"{wire.type_name(protocol, kind)}: {error}")
            known = wire.TYPES.get((protocol, kind))
            if known and not self.dumping:
                # What it meant, only a dump can tell.
                families = [known[1]] if known[1] else [Family.ROUTE4, Family.ROUTE6]
                Core.lose(self, families, "malformed message")
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
        for feature in self.followers[family]:
            feature.handle(message, dumped=dumped, late=late)

    def malformed(self, text: str) -> None:
        """Count and log it; what it may have been about is the caller's to lose()."""
        self.counts["malformed"] += 1
        log.warning("malformed Netlink message left out: %s", text)
