# SPDX-License-Identifier: BSD-3-Clause
"""Rules of policy routing: what of them a packet can meet that Linux received and forwards.

Only dumps count: two rules may be equal in all, and the kernel doesn't number them. The list is told as a whole.
"""

import logging
import socket
import struct
from dataclasses import dataclass

from _sluice import lib
from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    RT_TABLE_DEFAULT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    Change,
    Family,
    Link,
    Message,
    Rule,
)

log = logging.getLogger("cmgrd")

KEY = struct.Struct("=IB3x")
HEAD = struct.Struct("=IB3xII")  # struct fpc_rule up to its rules
ENTRY = struct.Struct("=16s16sBBBBBBHIIIHHHHB3x")  # struct fpc_rule_entry
MOST: int = lib.FPC_RULES_MAX
LINUX_RULES: int = lib.FPC_RULE_ALL_LINUX
TABLE: int = lib.FPC_RULE_TABLE
GOTO: int = lib.FPC_RULE_GOTO
BLACKHOLE: int = lib.FPC_RULE_BLACKHOLE
UNREACHABLE: int = lib.FPC_RULE_UNREACHABLE
LINUX: int = lib.FPC_RULE_LINUX
INVERT: int = lib.FPC_RULE_ENTRY_INVERT
L3MDEV: int = lib.FPC_RULE_ENTRY_L3MDEV
IIF: int = lib.FPC_RULE_ENTRY_IIF
PROTO: int = lib.FPC_RULE_ENTRY_PROTO
SPORT: int = lib.FPC_RULE_ENTRY_SPORT
DPORT: int = lib.FPC_RULE_ENTRY_DPORT
SUPPRESS: int = lib.FPC_RULE_ENTRY_SUPPRESS

FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP = 1, 2, 3
FR_ACT_BLACKHOLE, FR_ACT_UNREACHABLE, FR_ACT_PROHIBIT = 6, 7, 8
NAMES = {AF_INET: "IPv4", AF_INET6: "IPv6"}
# What the kernel begins with: these cost the fast path nothing.
DEFAULT = {
    AF_INET: [
        Rule(AF_INET, 0, FR_ACT_TO_TBL, RT_TABLE_LOCAL),
        Rule(AF_INET, 32766, FR_ACT_TO_TBL, RT_TABLE_MAIN),
        Rule(AF_INET, 32767, FR_ACT_TO_TBL, RT_TABLE_DEFAULT),
    ],
    AF_INET6: [
        Rule(AF_INET6, 0, FR_ACT_TO_TBL, RT_TABLE_LOCAL),
        Rule(AF_INET6, 32766, FR_ACT_TO_TBL, RT_TABLE_MAIN),
    ],
}


@dataclass(frozen=True)
class Entry:
    """A rule as the fast path sees it. `selects`: src, its length, dst, its length, TOS, its mask, protocol."""

    priority: int
    selects: tuple[bytes, int, bytes, int, int, int, int]
    action: int
    flags: int
    iif: int = 0
    table: int = 0
    goto: int = 0
    sport: tuple[int, int] = (0, 0)
    dport: tuple[int, int] = (0, 0)
    suppress: int = 0

    def pack(self, target: int) -> bytes:
        src, src_plen, dst, dst_plen, tos, tos_mask, protocol = self.selects
        return ENTRY.pack(
            src, dst, src_plen, dst_plen, tos, tos_mask, protocol, self.action, self.flags, self.iif,
            self.table, target, *self.sport, *self.dport, self.suppress,
        )  # fmt: skip


ANY = (b"", 0, b"", 0, 0, 0, 0)


class Sync(Feature):
    key_size = 8
    families = frozenset({Family.RULE, Family.LINK})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.rules: dict[int, list[Rule]] = {AF_INET: [], AF_INET6: []}  # in the kernel's order
        self.fresh: dict[int, list[Rule]] = {}
        self.links: Mirror[int, tuple[str, bool]] = Mirror()  # name, whether it's a VRF device
        self.told: dict[int, str] = {}

    def begin(self, family: Family) -> None:
        if family is Family.RULE:
            self.fresh = {AF_INET: [], AF_INET6: []}
        else:
            self.links.begin()

    def abandon(self, family: Family) -> None:
        if family is Family.LINK:
            self.links.abandon()

    def end(self, family: Family) -> None:
        if family is Family.RULE:
            self.rules = self.fresh
        else:
            for ifindex in self.links.end():
                del self.links[ifindex]
        self.judge()

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        match message.value:
            case Rule() as rule if dumped:
                self.fresh[rule.family].append(rule)
            case Rule():
                self.redump(Family.RULE, message.name)
            case Link() as link:
                if message.change is Change.DELETED:
                    changed = self.links.pop(link.ifindex, None) is not None
                else:
                    now = (link.name, link.kind == "vrf")
                    changed = self.links.put(link.ifindex, now) != now
                if changed and not dumped:
                    self.judge()

    def judge(self) -> None:
        for family, rules in self.rules.items():
            key = KEY.pack(self.vrf, family)
            if rules == DEFAULT[family] or not any(self.rules.values()):
                # Without any rule the kernel can't have them, or hasn't been asked yet.
                self.delete(key)
                self.tell(family, "")
                continue
            indices = {name: ifindex for ifindex, (name, _) in self.links.items()}
            devices = {name for name, is_vrf in self.links.values() if is_vrf}
            entries = [e for rule in rules if (e := translate(rule, indices, devices))]
            if not entries or len(entries) > MOST:
                why = f"{len(rules)} ip rules, of which {MOST} fit" if entries else "no ip rules"
                self.tell(family, why)
                self.set(HEAD.pack(self.vrf, family, LINUX_RULES, 0))
                continue
            self.tell(family, "")
            body = HEAD.pack(self.vrf, family, 0, len(entries))
            for entry in entries:
                # The first one at or behind the priority that it goes to; there may be none.
                target = sum(other.priority < entry.goto for other in entries)
                body += entry.pack(target if entry.action == GOTO else 0)
            self.set(body)

    def tell(self, family: int, why: str) -> None:
        """Say once that a family takes Linux, and when no longer."""
        where = f" in {self.place.name}" if self.place.name else ""
        if why and self.told.get(family) != why:
            log.warning("all %s packets%s take Linux: %s", NAMES[family], where, why)
        elif not why and self.told.get(family):
            log.info("%s packets%s take the fast path again", NAMES[family], where)
        self.told[family] = why

    def describe(self, key: bytes, body: bytes | None) -> str:
        _, family = KEY.unpack(key)
        name = "IPv4" if family == socket.AF_INET else "IPv6"
        if body is None:
            return f"{name} rules"
        return f"{name} rules: {HEAD.unpack_from(body.ljust(HEAD.size, b'\0'))[3]}"


def translate(rule: Rule, indices: dict[str, int], vrf_devices: set[str]) -> Entry | None:
    """What a rule means for packets that Linux forwards: no mark, no output interface, user 0. None: nothing.

    `indices`: of interfaces, by name. A rule that names a VRF device as output matches its packets in some kernels and
    not in others.
    """
    unknown = bool(rule.unknown) or rule.oif in vrf_devices
    never = (
        (rule.mask and rule.mark & rule.mask)
        or (rule.oif and rule.oif not in vrf_devices)
        or (rule.iif and rule.iif not in indices)
        or (rule.uids and rule.uids[0] > 0)
    )
    if never and not rule.invert:
        return None
    if rule.action == FR_ACT_NOP or (rule.action == FR_ACT_GOTO and not rule.goto_resolved):
        return None
    flags, selects, iif = 0, ANY, 0
    sport = dport = (0, 0)
    # Inverted, what never matches always does; and of what isn't known all must be expected.
    if not (rule.invert and (never or unknown)):
        selects = (
            rule.src, rule.src_plen, rule.dst, rule.dst_plen, rule.tos, rule.tos_mask, rule.protocol,
        )  # fmt: skip
        flags |= (
            (INVERT if rule.invert else 0)
            | (L3MDEV if rule.l3mdev else 0)
            | (IIF if rule.iif else 0)
            | (PROTO if rule.protocol else 0)
            | (SPORT if rule.sport else 0)
            | (DPORT if rule.dport else 0)
        )
        iif = indices[rule.iif] if rule.iif else 0
        sport, dport = rule.sport or sport, rule.dport or dport
    elif rule.l3mdev:
        unknown = True  # whose table would it be?
    if rule.suppress is not None:
        flags |= SUPPRESS
    action = {
        FR_ACT_TO_TBL: TABLE,
        FR_ACT_GOTO: GOTO,
        FR_ACT_BLACKHOLE: BLACKHOLE,
        FR_ACT_UNREACHABLE: UNREACHABLE,
        FR_ACT_PROHIBIT: UNREACHABLE,
    }.get(rule.action, LINUX)
    if unknown or (action == TABLE and not rule.l3mdev and not rule.table):
        action = LINUX
    return Entry(
        priority=rule.priority,
        selects=selects,
        action=action,
        flags=flags,
        iif=iif,
        table=rule.table if action == TABLE and not rule.l3mdev else 0,
        goto=rule.goto,
        sport=sport,
        dport=dport,
        suppress=min(rule.suppress or 0, 255),
    )
