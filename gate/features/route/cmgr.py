# SPDX-License-Identifier: BSD-3-Clause
"""Routes of the tables main and local, IPv4 and IPv6.

The kernel may hold several routes under what is one key in FPC (prefix, table, metric, type of service):

- IPv4 keeps a list and uses its first living route. Each message tells what happened to the list: NLM_F_EXCL is the
  only one, NLM_F_REPLACE takes the first one's place, NLM_F_APPEND goes to the end, neither to the front.
- IPv6 joins routes with a gateway into one multipath route; a message shows it whole (RTA_MULTIPATH), a deletion shows
  what is deleted of it. Others lie side by side, such as every device's fe80::/64: which of them is used is Linux's to
  decide, so such a key is marked unsupported.

Where a message can't be fitted to what's known, and where the kernel removes routes without a word (IPv4: link down or
gone, address gone, next hop object gone), the family is dumped again.

Memory: one FPC object a route, nothing else in the common case; `lists` and `rests` hold the exceptions.
"""

import socket
import struct
from typing import NamedTuple

from _sluice import lib
from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    IFF_LOWER_UP,
    IFF_UP,
    NLM_F_APPEND,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTNH_F_DEAD,
    RTNH_F_LINKDOWN,
    RTNH_F_ONLINK,
    Address,
    Change,
    Family,
    Link,
    Message,
    Netconf,
    NextHopObject,
    Route,
)

KEY = struct.Struct("=IIIBBBx16s")
HEAD = struct.Struct("=IIIBBBx16sIBBHHxx")  # struct fpc_route up to its next hops
HOP = struct.Struct("=IBBH16s")  # struct fpc_nexthop
COUNT_AT = HEAD.size - 6  # the number of next hops; behind it the MTU
HOP_FLAGS = 5  # where they stand in it
VRF = 0
TABLES = {RT_TABLE_MAIN, RT_TABLE_LOCAL}
UNSUPPORTED: int = lib.FPC_ROUTE_UNSUPPORTED
HOP_DEAD: int = lib.FPC_NEXTHOP_DEAD
HOP_LINKDOWN: int = lib.FPC_NEXTHOP_LINKDOWN
HOP_ONLINK: int = lib.FPC_NEXTHOP_ONLINK
MAX_HOPS: int = lib.FPC_ROUTE_MAX_NEXTHOPS
WEIGHT_MAX = 256
MTU_MAX = 65534


class Known(NamedTuple):
    """One of the kernel's routes: its FPC object, and what else tells it from others under the same key."""

    body: bytes
    rest: bytes


class Sync(Feature):
    key_size = 32
    families = frozenset(
        {
            Family.ROUTE4,
            Family.ROUTE6,
            Family.LINK,
            Family.ADDRESS,
            Family.NEXTHOP,
            Family.NETCONF,
        }
    )

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.lists: dict[bytes, list[Known]] = {}  # keys with several routes
        self.rests: dict[bytes, bytes] = {}  # of keys with one, where it isn't b""
        # While a family is dumped: the keys it hasn't shown yet.
        self.stale: set[bytes] = set()
        # ... and those that have several routes: set when all are there, so that none is chosen too early.
        self.fresh: dict[bytes, list[Known]] = {}
        self.links: Mirror[int, tuple[int, int]] = Mirror()  # what of a link moves routes
        self.ignore_linkdown: Mirror[tuple[int, int], bool] = Mirror()

    # --- dumps

    def begin(self, family: Family) -> None:
        if family in (Family.ROUTE4, Family.ROUTE6):
            wanted = socket.AF_INET if family is Family.ROUTE4 else socket.AF_INET6
            self.stale = {key for key in self.wanted if key[12] == wanted}
        elif family is Family.LINK:
            self.links.begin()
        elif family is Family.NETCONF:
            self.ignore_linkdown.begin()

    def abandon(self, family: Family) -> None:
        self.stale = set()
        self.fresh = {}
        self.links.abandon()
        self.ignore_linkdown.abandon()

    def end(self, family: Family) -> None:
        if family in (Family.ROUTE4, Family.ROUTE6):
            for key, routes in self.fresh.items():
                self.store(key, routes)
            for key in sorted(self.stale):
                self.store(key, [])
            self.fresh, self.stale = {}, set()
        elif family is Family.LINK:
            for ifindex in self.links.end():
                del self.links[ifindex]
                self.moved("a link is gone")
        elif family is Family.NETCONF:
            for place in self.ignore_linkdown.end():
                del self.ignore_linkdown[place]

    # --- messages

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        match message.value:
            case Route() as route:
                if route.table in TABLES:
                    self.handle_route(message, route, dumped=dumped, late=late)
            case Link() as link:
                self.handle_link(message, link)
            case Address() as address if address.family == AF_INET and not dumped:
                # With an address go the routes that prefer it as their source; with a device's last one, all of the
                # device. With the first one, next hops that were dead come alive.
                self.redump(Family.ROUTE4, message.name)
            case NextHopObject():
                if message.change is Change.DELETED or message.flags & NLM_F_REPLACE:
                    self.moved(message.name)
            case Netconf() as netconf if netconf.ignore_linkdown is not None:
                place = (netconf.family, netconf.ifindex)
                old = self.ignore_linkdown.put(place, netconf.ignore_linkdown)
                if bool(old) is not netconf.ignore_linkdown:
                    self.moved("ignore_routes_with_linkdown")

    def moved(self, reason: str) -> None:
        self.redump(Family.ROUTE4, reason)
        self.redump(Family.ROUTE6, reason)

    def handle_link(self, message: Message, link: Link) -> None:
        if message.change is Change.DELETED:
            if self.links.pop(link.ifindex, None) is not None:
                self.moved(f"{message.name} {link.name}")
            for family in (socket.AF_INET, socket.AF_INET6):
                self.ignore_linkdown.pop((family, link.ifindex), None)
            return
        state = (link.flags & (IFF_UP | IFF_LOWER_UP), link.master)
        old = self.links.put(link.ifindex, state)
        if old is not None and old != state:
            self.moved(f"{message.name} {link.name}")

    def handle_route(self, message: Message, route: Route, *, dumped: bool, late: bool) -> None:
        new = Known(self.encode(route), route.rest)
        key = new.body[: self.key_size]
        if dumped:
            self.dumped(key, new)
            return
        known = self.known(key)
        if route.family == AF_INET:
            if message.change is Change.DELETED:
                after = self.deleted4(known, new)
            else:
                after = self.added4(known, new, message.flags, late=late)
        elif message.change is Change.DELETED:
            after = self.deleted6(known, new)
        else:
            after = self.added6(known, new, message.flags)
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
                self.redump(Family.ROUTE4, "replaced during a dump")
            return [new, *known[1:]]
        return [*known, new] if flags & NLM_F_APPEND else [new, *known]

    def deleted4(self, known: list[Known], old: Known) -> list[Known]:
        place = find(known, old)
        if place is None:
            if known:
                self.redump(Family.ROUTE4, "deletion of another route")
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
                return [new]
        if alone(new) and not flags & NLM_F_REPLACE:
            place = find(known, new)
            return known if place is not None else [*known, new]
        self.redump(Family.ROUTE6, "one more route to a prefix")
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
        self.redump(Family.ROUTE6, "deletion of another route")
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
            self.set(chosen(key, routes))
            return
        self.lists.pop(key, None)
        if routes and routes[0].rest:
            self.rests[key] = routes[0].rest
        else:
            self.rests.pop(key, None)
        if routes:
            self.set(routes[0].body)
        else:
            self.delete(key)

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
        if route.family == AF_INET6 and len(nexthops) > 1:
            # A message begins with the next hop that it's about, a dump with the oldest.
            nexthops = tuple(sorted(nexthops, key=lambda h: (h.ifindex, h.gateway, h.weight)))
        body = HEAD.pack(
            VRF,
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

    def describe(self, key: bytes, body: bytes | None) -> str:
        _, table, metric, family, plen, tos, dst = KEY.unpack(key)
        size = 4 if family == socket.AF_INET else 16
        text = f"route {socket.inet_ntop(family, dst[:size])}/{plen} table {table} metric {metric}"
        if tos:
            text += f" tos {tos:#x}"
        if body is None:
            return text
        flags, kind, protocol, count, mtu = struct.unpack_from("=IBBHH", body, self.key_size)
        text += f" type {kind} protocol {protocol}" + (f" mtu {mtu}" if mtu else "")
        if flags & UNSUPPORTED:
            text += " unsupported"
        for index in range(count):
            ifindex, of, _, weight, gateway = HOP.unpack_from(body, HEAD.size + index * HOP.size)
            if of:
                text += f" via {socket.inet_ntop(of, gateway[: 4 if of == socket.AF_INET else 16])}"
            text += f" dev {ifindex}" + (f" weight {weight}" if count > 1 else "")
        return text


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
    return body[Sync.key_size : Sync.key_size + 5] + body[COUNT_AT + 2 : COUNT_AT + 4]


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


def chosen(key: bytes, routes: list[Known]) -> bytes:
    """The FPC object for several routes under one key."""
    if key[12] == AF_INET:
        return next((route.body for route in routes if alive(route.body)), routes[0].body)
    # The same whatever their order, which a message doesn't tell.
    body = bytearray(min(route.body for route in routes)[: HEAD.size])
    body[Sync.key_size] |= UNSUPPORTED
    body[COUNT_AT:] = bytes(HEAD.size - COUNT_AT)
    return bytes(body)


def alive(body: bytes) -> bool:
    flags = [body[at] for at in range(HEAD.size + HOP_FLAGS, len(body), HOP.size)]
    return not flags or any(not f & HOP_DEAD for f in flags)
