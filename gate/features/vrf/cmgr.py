# SPDX-License-Identifier: BSD-3-Clause
"""The VRF, and the guard: what Linux does to forwarded packets beyond routing them, and the fast path doesn't know."""

import logging
import struct
from typing import Any

from _sluice import lib
from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    RT_TABLE_DEFAULT,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    Chain,
    ChainRule,
    Change,
    Family,
    Message,
    Multipath,
    Namespace,
    PathMtu,
    Policy,
    Rule,
)

log = logging.getLogger("cmgrd")

BODY = struct.Struct("=IIQ")  # struct fpc_vrf
POLICY4: int = lib.FPC_VRF_POLICY4
POLICY6: int = lib.FPC_VRF_POLICY6
PORTS4: int = lib.FPC_VRF_MULTIPATH4_PORTS
PORTS6: int = lib.FPC_VRF_MULTIPATH6_PORTS
LINUX4: int = lib.FPC_VRF_MULTIPATH4_LINUX
LINUX6: int = lib.FPC_VRF_MULTIPATH6_LINUX
VRF = 0

DEFAULT_RULES = {
    AF_INET: {(0, RT_TABLE_LOCAL), (32766, RT_TABLE_MAIN), (32767, RT_TABLE_DEFAULT)},
    AF_INET6: {(0, RT_TABLE_LOCAL), (32766, RT_TABLE_MAIN)},
}
NAMES = {AF_INET: "IPv4", AF_INET6: "IPv6"}
NFPROTO_INET, NFPROTO_NETDEV = 1, 5
# Of the inet hooks: prerouting, forward, postrouting, ingress. Input and output see no forwarded packet.
FORWARDING_HOOKS = {0, 2, 4, 5}
HOOK_FORWARD = 2
CHAIN_FAMILIES = {
    NFPROTO_INET: (AF_INET, AF_INET6),
    NFPROTO_NETDEV: (AF_INET, AF_INET6),
    AF_INET: (AF_INET,),
    AF_INET6: (AF_INET6,),
}
POLICY_OF_SOCKET = 3


class Sync(Feature):
    key_size = 4
    families = frozenset({Family.RULE, Family.CHAIN, Family.POLICY})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.rules: Mirror[bytes, Rule] = Mirror()
        self.chains: Mirror[tuple[int, str, str], Chain] = Mirror()
        self.policies: Mirror[tuple[int, int, int], Policy] = Mirror()
        # Whether all rules of a chain are ones that the fast path follows too; by (family, table, chain).
        self.followed: dict[tuple[int, str, str], bool] = {}
        self.fresh: dict[tuple[int, str, str], bool] = {}  # the same, while they're dumped
        self.multipath = Multipath(0, 0, False)
        self.path_mtu = False
        self.namespace = Namespace(0)
        self.guards: dict[int, str] = {}

    def begin(self, family: Family) -> None:
        self.fresh = {}
        self.mirror(family).begin()

    def abandon(self, family: Family) -> None:
        self.mirror(family).abandon()

    def end(self, family: Family) -> None:
        mirror = self.mirror(family)
        for key in mirror.end():
            del mirror[key]
        if family is Family.CHAIN:
            self.followed = self.fresh
        self.judge()

    def mirror(self, family: Family) -> Mirror[Any, Any]:
        mirrors: dict[Family, Mirror[Any, Any]] = {
            Family.RULE: self.rules,
            Family.CHAIN: self.chains,
            Family.POLICY: self.policies,
        }
        return mirrors[family]

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        gone = message.change is Change.DELETED
        match message.value:
            case Rule() as rule:
                # Two rules may be equal in all; the kernel doesn't number them. Only dumps count.
                if dumped:
                    self.rules.put(rule.identity, rule)
                else:
                    self.redump(Family.RULE, message.name)
            case Multipath() as multipath:
                self.multipath = multipath
            case PathMtu() as path_mtu:
                self.path_mtu = path_mtu.used
            case ChainRule() as rule_of:
                place = (rule_of.family, rule_of.table, rule_of.chain)
                if dumped:
                    self.fresh[place] = self.fresh.get(place, True) and rule_of.clamp is not None
                else:
                    # What it does is followed when a dump has told, and fpmd knows it.
                    self.followed[place] = False
            case Namespace() as namespace:
                self.namespace = namespace
            case Chain() as chain:
                self.chains.put((chain.family, chain.table, chain.name), chain)
            case Policy() as policy if not gone:
                self.policies.put((policy.family, policy.direction, policy.index), policy)
        if not dumped:
            self.judge()

    def judge(self) -> None:
        """Set the guard flags, and say why when they change."""
        found = {family: self.reason(family) for family in (AF_INET, AF_INET6)}
        for family, reason in found.items():
            if reason != self.guards.get(family, ""):
                if reason:
                    log.warning("all %s packets take Linux: %s", NAMES[family], reason)
                else:
                    log.info("%s packets take the fast path again", NAMES[family])
        self.guards = found
        flags = (POLICY4 if found[AF_INET] else 0) | (POLICY6 if found[AF_INET6] else 0)
        self.set(BODY.pack(VRF, flags | self.choice(), self.namespace.cookie))

    def choice(self) -> int:
        """How to choose among the next hops of a route."""
        m = self.multipath
        flags = {0: 0, 1: PORTS4}.get(m.policy4, LINUX4) | {0: 0, 1: PORTS6}.get(m.policy6, LINUX6)
        return flags | (LINUX4 if m.use_neigh else 0)

    def reason(self, family: int) -> str:
        """Why packets of a family must take Linux; "" if they needn't."""
        rules = [rule for rule in self.rules.values() if rule.family == family and not rule.l3mdev]
        plain = {(rule.priority, rule.table) for rule in rules if rule.plain}
        # Without any rule known the protocol isn't there, or the first dump hasn't come.
        odd = [rule for rule in rules if not rule.plain]
        if rules and (odd or plain != DEFAULT_RULES[family]):
            priorities = sorted(
                {rule.priority for rule in odd} | {p for p, _ in plain ^ DEFAULT_RULES[family]}
            )
            return f"ip rule {', '.join(map(str, priorities))} differs from the default rules"
        for chain in self.chains.values():
            netdev = chain.family == NFPROTO_NETDEV and chain.hook >= 0
            if (netdev or chain.hook in FORWARDING_HOOKS) and family in CHAIN_FAMILIES.get(
                chain.family, ()
            ):
                # All its rules are in the fast path too, if it has any.
                place = (chain.family, chain.table, chain.name)
                simple = chain.hook == HOOK_FORWARD and not netdev and chain.accepts
                if simple and self.followed.get(place):
                    continue
                return f"nftables chain {chain.name} of table {chain.table} sees forwarded packets"
        if family == AF_INET and self.path_mtu:
            return "net.ipv4.ip_forward_use_pmtu is set"
        for policy in self.policies.values():
            if policy.direction < POLICY_OF_SOCKET and policy.family in (0, family):
                return "IPsec policies are installed"
        return ""

    def describe(self, key: bytes, body: bytes | None) -> str:
        return f"VRF {int.from_bytes(key, 'little')}" + (
            f" flags {BODY.unpack(body)[1]:#x}" if body else ""
        )
