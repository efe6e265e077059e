"""What decoding routes and neighbours means, told in plain Python: the oracle for the decoders in C
(gate/features/{route,neigh}/native.c). `route` and `neigh` read a payload, `Routes` and `Neighs` keep what follows from
messages and dumps; `route_payload` and `neigh_payload` write one.
"""

import struct
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from _sluice import lib
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    IFF_LOOPBACK,
    IFF_NOARP,
    NLM_F_APPEND,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NTF_PROXY,
    NUD_DELAY,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    RTN_MULTICAST,
    RTNH_F_DEAD,
    RTNH_F_LINKDOWN,
    RTNH_F_ONLINK,
)
from sluice.cmgrd.wire import (
    ADDRESS_SIZE,
    U16,
    IgnoredError,
    MalformedError,
    address,
    attributes,
    head,
    nested,
    number,
)

NDMSG = struct.Struct("=BxxxiHBB")
RTMSG = struct.Struct("=BBBBBBBBI")
RTNEXTHOP = struct.Struct("=HBBi")
KEY_SIZE = 32
HEAD = struct.Struct("=IIIBBBx16sIBBHHxx")  # struct fpc_route up to its next hops
COUNT_AT = HEAD.size - 6  # the number of next hops; behind it the MTU
MTU_MAX = 65534
HOP = struct.Struct("=IBBH16s")  # struct fpc_nexthop
HOP_FLAGS = 5  # where they stand in it
NEIGH = struct.Struct("=IIB3x16sI6sH")  # struct fpc_neigh
UNSUPPORTED: int = lib.FPC_ROUTE_UNSUPPORTED
HOP_DEAD: int = lib.FPC_NEXTHOP_DEAD
HOP_LINKDOWN: int = lib.FPC_NEXTHOP_LINKDOWN
HOP_ONLINK: int = lib.FPC_NEXTHOP_ONLINK
MAX_HOPS: int = lib.FPC_ROUTE_MAX_NEXTHOPS
WEIGHT_MAX = 256
USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP


@dataclass(frozen=True, slots=True)
class Neigh:
    """RTM_NEWNEIGH."""

    family: int
    ifindex: int
    address: bytes
    state: int  # NUD_*
    flags: int  # NTF_*
    mac: bytes  # b"": not known


@dataclass(frozen=True, slots=True)
class NextHop:
    """One of a route's next hops. `family` 0: no gateway."""

    ifindex: int
    family: int
    gateway: bytes
    flags: int  # RTNH_F_*
    weight: int  # 1 and more


@dataclass(frozen=True, slots=True)
class Route:
    """RTM_NEWROUTE.

    `unknown` says what of it the fast path can't follow, "" if nothing. `rest` is what tells it apart from another
    route to the same prefix with the same metric, and isn't said by the other fields.
    """

    family: int
    table: int
    metric: int
    dst: bytes
    plen: int
    tos: int
    type: int  # RTN_*
    protocol: int
    nexthops: tuple[NextHop, ...]
    unknown: str
    rest: bytes
    mtu: int = 0  # 0: that of the interface


# --- neighbours

NDA_DST, NDA_LLADDR = 1, 2


def neigh(data: bytes, at: int, end: int) -> Neigh:
    family, ifindex, state, flags, _ = head(NDMSG, data, at, end)
    if family not in ADDRESS_SIZE:
        raise IgnoredError  # a bridge's forwarding database
    a = attributes(data, at + NDMSG.size, end)
    if NDA_DST not in a:
        raise MalformedError("no address")
    return Neigh(family, ifindex, address(family, a[NDA_DST]), state, flags, a.get(NDA_LLADDR, b""))


# --- routes

RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 2, 3, 4, 5, 6
RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH, RTA_FLOW, RTA_CACHEINFO = 7, 8, 9, 11, 12
RTA_TABLE, RTA_VIA, RTA_PREF, RTA_EXPIRES, RTA_PAD, RTA_NH_ID = 15, 18, 20, 23, 24, 30
# What needs nothing of the fast path. Flow is the realm: only classifiers on an interface look at it.
RTA_KNOWN = {
    RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH, RTA_FLOW,
    RTA_CACHEINFO, RTA_TABLE, RTA_VIA, RTA_PREF, RTA_EXPIRES, RTA_PAD, RTA_NH_ID,
}  # fmt: skip
RTA_KNOWN_HOP = {RTA_GATEWAY, RTA_VIA, RTA_FLOW}
RTA_NAMES = {2: "source prefix", 19: "label swap", 22: "encapsulation", 21: "encapsulation"}
RTM_F_CLONED = 0x200
RTAX_LOCK, RTAX_MTU, RTAX_MAX_KNOWN = 1, 2, 17
RTN_UNICAST = 1


def next_hop(a: dict[int, bytes], family: int, ifindex: int, flags: int, weight: int) -> NextHop:
    gateway, of = a.get(RTA_GATEWAY), family
    if gateway is None and RTA_VIA in a:
        via = a[RTA_VIA]
        if len(via) < 2:
            raise MalformedError("a gateway without family")
        of, gateway = U16.unpack_from(via)[0], via[2:]
        if of not in ADDRESS_SIZE:
            raise MalformedError(f"a gateway of family {of}")
    if gateway is None:
        return NextHop(ifindex, 0, b"", flags & 0xFF, weight)
    return NextHop(ifindex, of, address(of, gateway), flags & 0xFF, weight)


def multipath(data: bytes, family: int, unknown: list[str]) -> tuple[NextHop, ...]:
    hops, at, end = [], 0, len(data)
    while end - at >= RTNEXTHOP.size:
        length, flags, more, ifindex = RTNEXTHOP.unpack_from(data, at)
        if not RTNEXTHOP.size <= length <= end - at:
            raise MalformedError(f"a next hop of {length} bytes, {end - at} there")
        a = attributes(data, at + RTNEXTHOP.size, at + length)
        if not a.keys() <= RTA_KNOWN_HOP:
            unknown.append(strange(a.keys() - RTA_KNOWN_HOP))
        hops.append(next_hop(a, family, ifindex, flags, more + 1))
        at += (length + 3) & ~3
    if at < end:
        raise MalformedError(f"{end - at} bytes left over behind the next hops")
    return tuple(hops)


def strange(kinds: set[int]) -> str:
    return ", ".join(RTA_NAMES.get(kind, f"attribute {kind}") for kind in sorted(kinds))


def route(data: bytes, at: int, end: int, strange_groups: Collection[int] = ()) -> Route:
    family, plen, src_len, tos, table, protocol, scope, kind, flags = head(RTMSG, data, at, end)
    if family not in ADDRESS_SIZE or flags & RTM_F_CLONED:
        raise IgnoredError  # multicast routing, MPLS; a cached exception
    size = ADDRESS_SIZE[family]
    if plen > 8 * size:
        raise MalformedError(f"a prefix of {plen} bits")
    a = attributes(data, at + RTMSG.size, end)
    unknown: list[str] = []
    if not a.keys() <= RTA_KNOWN:
        unknown.append(strange(a.keys() - RTA_KNOWN))
    if tos:
        unknown.append("type of service")
    if src_len:
        unknown.append("source prefix")
    mtu = 0
    if RTA_METRICS in a:
        metrics = nested(a[RTA_METRICS])
        # All the others are for packets that Linux itself sends.
        mtu = number(metrics.get(RTAX_MTU))
        # Locked, it depends on what Linux has learned of the path.
        if number(metrics.get(RTAX_LOCK)) & 1 << RTAX_MTU:
            unknown.append("locked MTU")
        if max(metrics, default=0) > RTAX_MAX_KNOWN:
            unknown.append("metrics")
    if int.from_bytes(a.get(RTA_NH_ID, b""), sys.byteorder) in strange_groups:
        unknown.append("a next hop group that Linux must choose in")
    if RTA_MULTIPATH in a:
        hops = multipath(a[RTA_MULTIPATH], family, unknown)
    elif RTA_OIF in a or RTA_GATEWAY in a or RTA_VIA in a:
        hops = (next_hop(a, family, number(a.get(RTA_OIF)), flags, 1),)
    else:
        hops = ()
        if kind == RTN_UNICAST:
            unknown.append("a next hop object that isn't shown")
    dst = a.get(RTA_DST)
    rest = b""
    if family == AF_INET:
        for kind_of in (RTA_PREFSRC, RTA_NH_ID):
            if kind_of in a and len(a[kind_of]) != 4:
                raise MalformedError(f"attribute {kind_of} of {len(a[kind_of])} bytes")
        if scope or RTA_PREFSRC in a or RTA_NH_ID in a:
            rest = bytes((scope,)) + a.get(RTA_PREFSRC, b"") + b"|" + a.get(RTA_NH_ID, b"")
    elif src_len and len(a.get(RTA_SRC, b"")) > 16:
        raise MalformedError("a long source prefix")
    elif src_len:  # not the preferred source: IPv6 takes it from a route without a word
        rest = bytes((src_len,)) + a.get(RTA_SRC, b"")
    return Route(
        family=family,
        table=number(a[RTA_TABLE]) if RTA_TABLE in a else table,
        metric=number(a[RTA_PRIORITY]) if RTA_PRIORITY in a else 0,
        dst=bytes(size) if dst is None else address(family, dst),
        plen=plen,
        tos=tos,
        type=kind,
        protocol=protocol,
        nexthops=hops,
        unknown=", ".join(unknown),
        rest=rest,
        mtu=mtu,
    )


# --- what follows


class Known(NamedTuple):
    """One of the kernel's routes: its FPC object, and what else tells it from others under the same key."""

    body: bytes
    rest: bytes


class Routes:
    """`wanted`: the FPC objects by key. `redumps`: families that must be dumped, and "link"."""

    def __init__(self, vrf: int = 0) -> None:
        self.vrf = vrf
        self.wanted: dict[bytes, bytes] = {}
        self.redumps: set[str] = set()
        self.lists: dict[bytes, list[Known]] = {}  # keys with several routes
        self.rests: dict[bytes, bytes] = {}  # of keys with one, where it isn't b""
        self.strange: set[int] = set()  # next hop groups that Linux must choose in
        # While a family is dumped: the keys it hasn't shown yet.
        self.stale: set[bytes] = set()
        # ... and those that have several routes: set when all are there, so that none is chosen too early.
        self.fresh: dict[bytes, list[Known]] = {}

    def begin(self, family: int) -> None:
        self.stale = {key for key in self.wanted if key[12] == family}

    def abandon(self) -> None:
        self.stale = set()
        self.fresh = {}

    def end(self) -> None:
        for key, routes in self.fresh.items():
            self.store(key, routes)
        for key in sorted(self.stale):
            self.store(key, [])
        self.fresh, self.stale = {}, set()

    def message(
        self, payload: bytes, flags: int, *, deleted: bool, dumped: bool, late: bool
    ) -> None:
        """Raises MalformedError."""
        try:
            shown = route(payload, 0, len(payload), self.strange)
        except IgnoredError:
            return
        if shown.type == RTN_MULTICAST and shown.family == AF_INET6 and not dumped:
            self.redumps.add("link")
        new = Known(self.encode(shown), shown.rest)
        key = new.body[:KEY_SIZE]
        if dumped:
            if not deleted:
                self.dumped(key, new)
            return
        known = self.known(key)
        if shown.family == AF_INET:
            after = (
                self.deleted4(known, new) if deleted else self.added4(known, new, flags, late=late)
            )
        else:
            after = self.deleted6(known, new) if deleted else self.added6(known, new, flags)
        self.store(key, after)

    def dumped(self, key: bytes, new: Known) -> None:
        """A dump shows a key's routes in the kernel's order."""
        if key in self.fresh:
            self.fresh[key].append(new)
        elif key in self.stale and key in self.lists:
            self.fresh[key] = [new]
        elif key in self.stale or not self.known(key):
            self.store(key, [new])
        else:
            self.fresh[key] = [*self.known(key), new]
        self.stale.discard(key)

    # --- what a message does to the routes under its key

    def added4(self, known: list[Known], new: Known, flags: int, *, late: bool) -> list[Known]:
        place = find(known, new)
        if flags & NLM_F_EXCL:
            return [new]
        if place is not None:
            return [*known[:place], new, *known[place + 1 :]]
        if flags & NLM_F_REPLACE:
            if known and late:
                # If there were two, and the first is gone by now, this isn't about the one we see.
                self.redumps.add("route4")
            return [new, *known[1:]]
        return [*known, new] if flags & NLM_F_APPEND else [new, *known]

    def deleted4(self, known: list[Known], old: Known) -> list[Known]:
        place = find(known, old)
        if place is None:
            if known:
                self.redumps.add("route4")
            return known
        return [*known[:place], *known[place + 1 :]]

    def added6(self, known: list[Known], new: Known, flags: int) -> list[Known]:
        if not known or flags & NLM_F_EXCL:
            return [new]
        if len(known) == 1 and known[0].rest == new.rest:
            if flags & NLM_F_REPLACE:
                return [new]
            if meaning(new.body) == meaning(known[0].body) and set(hops(new.body)) >= set(
                hops(known[0].body)
            ):
                return [joined(known[0], new)]
        if alone(new) and not flags & NLM_F_REPLACE:
            place = find(known, new)
            return known if place is not None else [*known, new]
        self.redumps.add("route6")
        return known

    def deleted6(self, known: list[Known], old: Known) -> list[Known]:
        if not known:
            return known
        if len(known) == 1 and known[0].rest == old.rest and hops(known[0].body):
            gone = set(hops(old.body))
            there = hops(known[0].body)
            if gone == set(there):
                return []
            if gone < set(there):
                return [Known(without(known[0].body, gone), old.rest)]
        place = find(known, old)
        if place is not None and alone(old):
            return [*known[:place], *known[place + 1 :]]
        self.redumps.add("route6")
        return known

    # --- the routes under a key

    def known(self, key: bytes) -> list[Known]:
        several = self.lists.get(key)
        if several is not None:
            return several
        body = self.wanted.get(key)
        return [] if body is None else [Known(body, self.rests.get(key, b""))]

    def store(self, key: bytes, routes: list[Known]) -> None:
        if len(routes) > 1:
            self.lists[key] = routes
            self.rests.pop(key, None)
            self.wanted[key] = chosen(key, routes)
            return
        self.lists.pop(key, None)
        if routes and routes[0].rest:
            self.rests[key] = routes[0].rest
        else:
            self.rests.pop(key, None)
        if routes:
            self.wanted[key] = routes[0].body
        else:
            self.wanted.pop(key, None)

    # --- FPC

    def encode(self, route: Route) -> bytes:
        flags, nexthops = 0, route.nexthops
        if (
            route.unknown
            or len(nexthops) > MAX_HOPS
            or route.mtu > MTU_MAX
            # Each of the joined routes has its own, and a message shows that of one.
            or (route.family == AF_INET6 and route.mtu and len(nexthops) > 1)
            or any(h.weight > WEIGHT_MAX for h in nexthops)
        ):
            flags, nexthops = UNSUPPORTED, ()
        body = HEAD.pack(
            self.vrf,
            route.table,
            route.metric,
            route.family,
            route.plen,
            route.tos,
            route.dst,
            flags,
            route.type,
            route.protocol,
            len(nexthops),
            route.mtu if nexthops else 0,
        )
        for hop in nexthops:
            body += HOP.pack(
                hop.ifindex,
                hop.family,
                hop_flags(hop.flags),
                hop.weight,
                hop.gateway,
            )
        return body


def hop_flags(flags: int) -> int:
    """As enum fpc_nexthop_flags. The kernel itself says dead where a link that is down is to be ignored."""
    return (
        (HOP_DEAD if flags & RTNH_F_DEAD else 0)
        | (HOP_LINKDOWN if flags & RTNH_F_LINKDOWN else 0)
        | (HOP_ONLINK if flags & RTNH_F_ONLINK else 0)
    )


def plain(body: bytes) -> bytes:
    """The object without its next hops' flags, which the kernel changes without a word."""
    if len(body) == HEAD.size:
        return body
    copy = bytearray(body)
    for at in range(HEAD.size + HOP_FLAGS, len(copy), HOP.size):
        copy[at] = 0
    return bytes(copy)


def find(known: list[Known], wanted: Known) -> int | None:
    """Where in the list that route is."""
    if known and wanted == known[0]:
        return 0
    for place, route in enumerate(known):
        if route.rest == wanted.rest and plain(route.body) == plain(wanted.body):
            return place
    return None


def hops(body: bytes) -> list[bytes]:
    """The next hops, without flags."""
    body = plain(body)
    return [body[at : at + HOP.size] for at in range(HEAD.size, len(body), HOP.size)]


def alone(route: Known) -> bool:
    """Of IPv6: it has one next hop without gateway, so that it's never joined to others."""
    there = hops(route.body)
    return len(there) == 1 and there[0][4] == 0


def meaning(body: bytes) -> bytes:
    """Flags, type and MTU."""
    return body[KEY_SIZE : KEY_SIZE + 5] + body[COUNT_AT + 2 : COUNT_AT + 4]


def without(body: bytes, gone: set[bytes]) -> bytes:
    """The object without some of its next hops."""
    left = [
        body[HEAD.size + index * HOP.size :][: HOP.size]
        for index, hop in enumerate(hops(body))
        if hop not in gone
    ]
    return (
        body[:COUNT_AT]
        + struct.pack("=H", len(left))
        + body[COUNT_AT + 2 : HEAD.size]
        + b"".join(left)
    )


def joined(old: Known, new: Known) -> Known:
    """With the next hops in the kernel's order: those of the old one, then what came. The message begins with the one
    that it's about.
    """
    before, now = hops(old.body), hops(new.body)
    order = before + [hop for hop in now if hop not in before]
    if len(order) != len(now):
        return new
    whole = {
        hop: new.body[HEAD.size + at * HOP.size :][: HOP.size]
        for at, hop in reversed([*enumerate(now)])
    }
    return Known(new.body[: HEAD.size] + b"".join(whole[hop] for hop in order), new.rest)


def chosen(key: bytes, routes: list[Known]) -> bytes:
    """The FPC object for several routes under one key."""
    if key[12] == AF_INET:
        return next((route.body for route in routes if alive(route.body)), routes[0].body)
    # The same whatever their order, which a message doesn't tell.
    body = bytearray(min(route.body for route in routes)[: HEAD.size])
    body[KEY_SIZE] |= UNSUPPORTED
    body[COUNT_AT:] = bytes(HEAD.size - COUNT_AT)
    return bytes(body)


def alive(body: bytes) -> bool:
    flags = [body[at] for at in range(HEAD.size + HOP_FLAGS, len(body), HOP.size)]
    return not flags or any(not f & HOP_DEAD for f in flags)


class Neighs:
    """As Routes. `quiet`: devices that resolve no addresses."""

    def __init__(self, vrf: int = 0) -> None:
        self.vrf = vrf
        self.wanted: dict[bytes, bytes] = {}
        self.quiet: set[int] = set()

    def message(self, payload: bytes, *, deleted: bool) -> None:
        """One that came by itself. Raises MalformedError."""
        try:
            shown = neigh(payload, 0, len(payload))
        except IgnoredError:
            return
        if shown.flags & NTF_PROXY:
            return
        fixed = shown.state & (NUD_PERMANENT | NUD_NOARP)
        body = NEIGH.pack(
            self.vrf, shown.ifindex & 0xFFFFFFFF, shown.family, shown.address, 0, shown.mac,
            fixed or NUD_REACHABLE,
        )  # fmt: skip
        key = body[:28]
        if (
            deleted
            or not usable(shown)
            or (shown.state & NUD_NOARP and shown.ifindex in self.quiet)
        ):
            self.wanted.pop(key, None)
        else:
            self.wanted[key] = body

    def link(self, ifindex: int, flags: int) -> None:
        if flags & (IFF_NOARP | IFF_LOOPBACK):
            self.quiet.add(ifindex)
            for key, body in list(self.wanted.items()):
                _, index, _, _, _, _, state = NEIGH.unpack(body)
                if index == ifindex and state & NUD_NOARP:
                    del self.wanted[key]
        else:
            self.quiet.discard(ifindex)


def usable(shown: Neigh) -> bool:
    """It has an Ethernet address of one host. Group addresses are the kernel's own, made without a word."""
    mac = shown.mac
    return bool(shown.state & USABLE) and len(mac) == 6 and not mac[0] & 1 and mac != bytes(6)


# --- writing


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def gateway(hop: NextHop, family: int) -> bytes:
    if not hop.family:
        return b""
    if hop.family == family:
        return attribute(RTA_GATEWAY, hop.gateway)
    return attribute(RTA_VIA, struct.pack("=H", hop.family) + hop.gateway)


def route_payload(value: Route) -> bytes:
    """A payload that `route` reads as `value`; for IPv4 `rest` is the preferred source, or nothing."""
    one = value.nexthops[0].flags if len(value.nexthops) == 1 else 0
    payload = RTMSG.pack(
        value.family, value.plen, 0, value.tos, min(value.table, 255), value.protocol, 0, value.type, one
    )  # fmt: skip
    payload += u32(RTA_TABLE, value.table) + attribute(RTA_DST, value.dst)
    if value.metric:
        payload += u32(RTA_PRIORITY, value.metric)
    if value.mtu:
        payload += attribute(RTA_METRICS, u32(RTAX_MTU, value.mtu))
    if value.rest:
        payload += attribute(RTA_PREFSRC, value.rest)
    if value.unknown:
        payload += attribute(40, b"")
    if len(value.nexthops) == 1:
        hop = value.nexthops[0]
        payload += u32(RTA_OIF, hop.ifindex) + gateway(hop, value.family)
    elif value.nexthops:
        hops = b""
        for hop in value.nexthops:
            inner = gateway(hop, value.family)
            hops += RTNEXTHOP.pack(8 + len(inner), hop.flags, hop.weight - 1, hop.ifindex) + inner
        payload += attribute(RTA_MULTIPATH, hops)
    return payload


def neigh_payload(value: Neigh) -> bytes:
    payload = NDMSG.pack(value.family, value.ifindex, value.state, value.flags, 0)
    payload += attribute(NDA_DST, value.address)
    return payload + (attribute(NDA_LLADDR, value.mac) if value.mac else b"")
