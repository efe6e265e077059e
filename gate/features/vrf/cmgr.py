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
    Chain,
    ChainRule,
    Change,
    Family,
    Message,
    MulticastRoute,
    Multipath,
    MultipathSeed,
    Namespace,
    PathMtu,
    PolicyDefault,
)

log = logging.getLogger("cmgrd")

BODY = struct.Struct("=IIQ32sIII4x")  # struct fpc_vrf
NAME_MAX = 31
POLICY4: int = lib.FPC_VRF_POLICY4
POLICY6: int = lib.FPC_VRF_POLICY6
PORTS4: int = lib.FPC_VRF_MULTIPATH4_PORTS
PORTS6: int = lib.FPC_VRF_MULTIPATH6_PORTS
LINUX4: int = lib.FPC_VRF_MULTIPATH4_LINUX
LINUX6: int = lib.FPC_VRF_MULTIPATH6_LINUX

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


class Sync(Feature):
    key_size = 4
    families = frozenset({Family.RULE, Family.CHAIN, Family.POLICY, Family.MROUTE})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.chains: Mirror[tuple[int, str, str], Chain] = Mirror()
        # Whether all rules of a chain are ones that the fast path follows too; by (family, table, chain).
        self.followed: dict[tuple[int, str, str], bool] = {}
        self.fresh: dict[tuple[int, str, str], bool] = {}  # the same, while they're dumped
        self.mroutes: Mirror[tuple[int, int, bytes, bytes], None] = Mirror()
        self.multipath = Multipath(0, 0, False)
        self.multipath_seed = 0
        self.path_mtu = False
        self.policy_default = PolicyDefault(blocks=False)
        self.namespace = Namespace(0)
        self.guards: dict[int, str] = {}
        # Another VRF than cmgrd's own stays closed until fpmd has all of it.
        self.is_open = self.vrf == 0

    def opened(self) -> None:
        self.is_open = True
        self.judge()

    def begin(self, family: Family) -> None:
        self.fresh = {}
        if mirror := self.mirror(family):
            mirror.begin()

    def abandon(self, family: Family) -> None:
        if mirror := self.mirror(family):
            mirror.abandon()

    def end(self, family: Family) -> None:
        if mirror := self.mirror(family):
            for key in mirror.end():
                del mirror[key]
        if family is Family.CHAIN:
            self.followed = self.fresh
        self.judge()

    def mirror(self, family: Family) -> Mirror[Any, Any] | None:
        mirrors: dict[Family, Mirror[Any, Any]] = {
            Family.CHAIN: self.chains,
            Family.MROUTE: self.mroutes,
        }
        return mirrors.get(family)

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        gone = message.change is Change.DELETED
        match message.value:
            case Multipath() as multipath:
                self.multipath = multipath
            case MultipathSeed() as seed:
                self.multipath_seed = seed.value
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
            case PolicyDefault() as default:
                self.policy_default = default
            case MulticastRoute() as route:
                group = (route.family, route.table, route.source, route.group)
                if gone:
                    self.mroutes.pop(group, None)
                else:
                    self.mroutes.put(group, None)
        if not dumped:
            self.judge()

    def judge(self) -> None:
        """Set the guard flags, and say why when they change."""
        where = f" in {self.place.name}" if self.place.name else ""
        found = {family: self.reason(family) for family in (AF_INET, AF_INET6)}
        for family, reason in found.items():
            if reason != self.guards.get(family, ""):
                if reason:
                    log.warning("all %s packets%s take Linux: %s", NAMES[family], where, reason)
                else:
                    log.info("%s packets%s take the fast path again", NAMES[family], where)
        self.guards = found
        flags = (POLICY4 if found[AF_INET] else 0) | (POLICY6 if found[AF_INET6] else 0)
        if not self.is_open:
            flags = POLICY4 | POLICY6
        name = self.place.name.encode()[:NAME_MAX]
        netns = self.place.netns or self.namespace.cookie
        flags |= self.choice()
        self.set(BODY.pack(self.vrf, flags, netns, name, *self.multicast(), self.multipath_seed))

    def multicast(self) -> tuple[int, int]:
        """How many multicast routes there are. Linux forwards by them: group addresses are exceptions."""
        families = [place[0] for place in self.mroutes]
        return families.count(AF_INET), families.count(AF_INET6)

    def choice(self) -> int:
        """How to choose among the next hops of a route."""
        m = self.multipath
        flags = {0: 0, 1: PORTS4}.get(m.policy4, LINUX4) | {0: 0, 1: PORTS6}.get(m.policy6, LINUX6)
        return flags | (LINUX4 if m.use_neigh else 0)

    def reason(self, family: int) -> str:
        """Why packets of a family must take Linux; "" if they needn't."""
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
        if self.policy_default.blocks:
            return "packets without an IPsec policy are dropped (ip xfrm policy getdefault)"
        return ""

    def describe(self, key: bytes, body: bytes | None) -> str:
        return f"VRF {int.from_bytes(key, 'little')}" + (
            f" flags {BODY.unpack(body.ljust(BODY.size, b'\0'))[1]:#x}" if body else ""
        )
