# SPDX-License-Identifier: BSD-3-Clause
"""Routes of all tables, IPv4 and IPv6. They are decoded in C: native.h says how.

Where a message can't be fitted to what's known, and where the kernel removes routes without a word (IPv4: link down or
gone, address gone, next hop object gone), the family is dumped again.
"""

import socket
import struct
from typing import Any

from _sluice import ffi, lib
from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    IFF_LOWER_UP,
    IFF_UP,
    NLM_F_REPLACE,
    Address,
    Change,
    Family,
    Link,
    Message,
    Netconf,
    NextHopObject,
)

KEY = struct.Struct("=IIIBBBx16s")
HEAD = struct.Struct("=IIIBBBx16sIBBHHxx")  # struct fpc_route up to its next hops
HOP = struct.Struct("=IBBH16s")  # struct fpc_nexthop
UNSUPPORTED: int = lib.FPC_ROUTE_UNSUPPORTED
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
ADDRESS_FAMILIES = {Family.ROUTE4: AF_INET, Family.ROUTE6: AF_INET6}
# What the decoder notes, the family to be dumped then, and why.
NOTES = (
    (lib.ROUTES_REPLACED, Family.ROUTE4, "replaced during a dump"),
    (lib.ROUTES_DELETED4, Family.ROUTE4, "deletion of another route"),
    (lib.ROUTES_ADDED6, Family.ROUTE6, "one more route to a prefix"),
    (lib.ROUTES_DELETED6, Family.ROUTE6, "deletion of another route"),
    # IPv6 on a device has just been enabled or disabled, which the link tells only when asked.
    (lib.ROUTES_MULTICAST6, Family.LINK, "a device's multicast route"),
)


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
        self.routes = ffi.gc(lib.routes_new(self.objects.store, self.number), lib.routes_free)
        if self.routes == ffi.NULL:
            raise MemoryError
        self.links: Mirror[int, tuple[int, int]] = Mirror()  # what of a link moves routes
        self.ignore_linkdown: Mirror[tuple[int, int], bool] = Mirror()
        self.strange_groups: Mirror[int, None] = Mirror()  # their routes are Linux's

    def native(self) -> dict[int, tuple[Any, Any]]:
        decoder = (ffi.addressof(lib, "routes_message"), self.routes)
        return {RTM_NEWROUTE: decoder, RTM_DELROUTE: decoder}

    def noted(self) -> None:
        notes = self.routes.notes
        if not notes:
            return
        self.routes.notes = 0
        for bit, family, reason in NOTES:
            if notes & bit:
                self.redump(family, reason)

    def forget(self) -> None:
        lib.routes_forget(self.routes, self.vrf)

    # --- dumps

    def begin(self, family: Family) -> None:
        if family in ADDRESS_FAMILIES:
            lib.routes_begin(self.routes, self.vrf, ADDRESS_FAMILIES[family])
        elif family is Family.LINK:
            self.links.begin()
        elif family is Family.NETCONF:
            self.ignore_linkdown.begin()
        elif family is Family.NEXTHOP:
            self.strange_groups.begin()

    def abandon(self, family: Family) -> None:
        if family in ADDRESS_FAMILIES:
            lib.routes_abandon(self.routes, self.vrf, ADDRESS_FAMILIES[family])
        self.links.abandon()
        self.ignore_linkdown.abandon()
        self.strange_groups.abandon()

    def end(self, family: Family) -> None:
        if family in ADDRESS_FAMILIES:
            lib.routes_end(self.routes, self.vrf, ADDRESS_FAMILIES[family])
        elif family is Family.LINK:
            for ifindex in self.links.end():
                del self.links[ifindex]
                self.moved("a link is gone")
        elif family is Family.NETCONF:
            for place in self.ignore_linkdown.end():
                del self.ignore_linkdown[place]
        elif family is Family.NEXTHOP:
            for number in self.strange_groups.end():
                del self.strange_groups[number]
                lib.routes_strange_group(self.routes, self.vrf, number, False)

    # --- messages

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        match message.value:
            case Link() as link:
                self.handle_link(message, link)
            case Address() as address if address.family == AF_INET and not dumped:
                # With an address go the routes that prefer it as their source; with a device's last one, all of the
                # device. With the first one, next hops that were dead come alive.
                self.redump(Family.ROUTE4, message.name)
            case NextHopObject() as nexthop:
                self.handle_nexthop(message, nexthop, dumped=dumped)
            case Netconf() as netconf if netconf.ignore_linkdown is not None:
                place = (netconf.family, netconf.ifindex)
                old = self.ignore_linkdown.put(place, netconf.ignore_linkdown)
                if bool(old) is not netconf.ignore_linkdown:
                    self.moved("ignore_routes_with_linkdown")

    def handle_nexthop(self, message: Message, nexthop: NextHopObject, *, dumped: bool) -> None:
        gone = message.change is Change.DELETED
        strange = not gone and not nexthop.hashed
        if strange:
            self.strange_groups.put(nexthop.number, None)
        else:
            self.strange_groups.pop(nexthop.number, None)
        changed = lib.routes_strange_group(self.routes, self.vrf, nexthop.number, strange)
        if changed < 0:
            raise MemoryError
        # A new object has no routes yet, but they may have been dumped before it was.
        if changed or (not dumped and (gone or message.flags & NLM_F_REPLACE)):
            self.moved(message.name)

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
