# SPDX-License-Identifier: BSD-3-Clause
"""Links, and what Linux's settings for them mean to the fast path."""

import struct
from collections import Counter
from dataclasses import replace
from typing import Any

from _sluice import lib
from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_UP,
    NETCONF_ALL,
    Address,
    Change,
    Family,
    Link,
    Message,
    Netconf,
    Qdisc,
)

BODY = struct.Struct("=IIII6s2x16s16sIII")  # struct fpc_iface
KEY = struct.Struct("=II")
UP: int = lib.FPC_IFACE_UP
RUNNING: int = lib.FPC_IFACE_RUNNING
FORWARD4: int = lib.FPC_IFACE_FORWARD4
FORWARD6: int = lib.FPC_IFACE_FORWARD6
RPF: int = lib.FPC_IFACE_RPF
RPF_LOOSE: int = lib.FPC_IFACE_RPF_LOOSE
LOOPBACK: int = lib.FPC_IFACE_LOOPBACK
SLAVE: int = lib.FPC_IFACE_SLAVE
FOREIGN: int = lib.FPC_IFACE_FOREIGN
PROXY: int = lib.FPC_IFACE_PROXY
MULTICAST: int = lib.FPC_IFACE_MULTICAST
NAME_MAX = 15
VRF_KIND = "vrf"

# Queueing that lets every packet pass, at once if the device can take it.
HARMLESS_QDISCS = {
    "noqueue", "mq", "mqprio", "pfifo", "bfifo", "pfifo_fast", "pfifo_head_drop", "fq", "fq_codel", "sfq",
}  # fmt: skip
# Devices that take packets with other destination addresses from the device below them.
SHARERS = {"macvlan", "macvtap", "ipvlan", "ipvtap"}

# Whoever's message it is, it may have changed what another one would have told.
NOTHING = Netconf(0, 0, None, None, None)


class Sync(Feature):
    key_size = 8
    families = frozenset({Family.LINK, Family.NETCONF, Family.QDISC, Family.ADDRESS})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.links: Mirror[int, Link] = Mirror()
        self.netconfs: Mirror[tuple[int, int], Netconf] = Mirror()
        self.addresses: Mirror[tuple[int, bytes], None] = Mirror()  # IPv4
        self.numbered: Counter[int] = Counter()  # how many a device has
        self.sharers: dict[int, set[int]] = {}  # the devices that take from a device's packets
        # Only those that matter.
        self.qdiscs: Mirror[tuple[int, int, int], str] = Mirror()

    def begin(self, family: Family) -> None:
        if mirror := self.mirror(family):
            mirror.begin()

    def abandon(self, family: Family) -> None:
        if mirror := self.mirror(family):
            mirror.abandon()

    def mirror(self, family: Family) -> Mirror[Any, Any] | None:
        mirrors: dict[Family, Mirror[Any, Any]] = {
            Family.LINK: self.links,
            Family.NETCONF: self.netconfs,
            Family.ADDRESS: self.addresses,
            Family.QDISC: self.qdiscs,
        }
        return mirrors.get(family)

    def end(self, family: Family) -> None:
        if family is Family.LINK:
            for ifindex in self.links.end():
                self.drop_link(ifindex)
        elif family is Family.NETCONF:
            for key in self.netconfs.end():
                del self.netconfs[key]
            self.judge_all()
        elif family is Family.ADDRESS:
            for ifindex, address in self.addresses.end():
                self.drop_address(ifindex, address)
        elif family is Family.QDISC:
            for place in self.qdiscs.end():
                del self.qdiscs[place]
            self.judge_all()

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        gone = message.change is Change.DELETED
        match message.value:
            case Link() as link:
                if gone:
                    self.drop_link(link.ifindex)
                else:
                    self.put_link(link)
                    if link.mtu6 != link.mtu and not dumped:
                        # A message about a new link or MTU is sent before IPv6 has taken notice.
                        self.redump(Family.LINK, message.name)
            case Netconf() as netconf:
                self.put_netconf(netconf, gone=gone)
            case Qdisc() as qdisc:
                queue = (qdisc.ifindex, qdisc.handle, qdisc.parent)
                if gone or qdisc.kind in HARMLESS_QDISCS:
                    self.qdiscs.pop(queue, None)
                else:
                    self.qdiscs.put(queue, qdisc.kind)
                self.judge_with_ports(qdisc.ifindex)
            case Address() as address if address.family == AF_INET:
                place = bytes([address.plen]) + address.address
                if gone:
                    self.drop_address(address.ifindex, place)
                else:
                    self.put_address(address.ifindex, place)
            case Address() if not dumped:
                self.redump(Family.LINK, message.name)

    def put_link(self, link: Link) -> None:
        old = self.links.put(link.ifindex, link)
        if old is None or old.lower != link.lower:
            self.share(old, link)
        self.judge(link.ifindex)
        if old != link:
            self.judge_ports(link)

    def judge_ports(self, link: Link) -> None:
        """What a VRF device's ports do depends on it."""
        if link.kind == VRF_KIND:
            for port in self.links.values():
                if port.master == link.ifindex:
                    self.judge(port.ifindex)

    def share(self, old: Link | None, new: Link | None) -> None:
        """A device above another one changed, came or went."""
        if old and old.kind in SHARERS and old.lower:
            self.sharers[old.lower].discard(old.ifindex)
            self.judge(old.lower)
        if new and new.kind in SHARERS and new.lower:
            self.sharers.setdefault(new.lower, set()).add(new.ifindex)
            self.judge(new.lower)

    def drop_link(self, ifindex: int) -> None:
        link = self.links.pop(ifindex, None)
        # All that's known of it goes along: the number may be used again.
        for place in [place for place in self.qdiscs if place[0] == ifindex]:
            del self.qdiscs[place]
        for family in (AF_INET, AF_INET6):
            self.netconfs.pop((family, ifindex), None)
        for address in [address for address in self.addresses if address[0] == ifindex]:
            del self.addresses[address]
        del self.numbered[ifindex]
        self.delete(KEY.pack(self.vrf, ifindex))
        self.share(link, None)
        if link:
            self.judge_ports(link)

    def put_address(self, ifindex: int, place: bytes) -> None:
        if (ifindex, place) not in self.addresses:
            self.numbered[ifindex] += 1
        self.addresses.put((ifindex, place), None)
        self.judge_with_ports(ifindex)

    def drop_address(self, ifindex: int, place: bytes) -> None:
        if (ifindex, place) in self.addresses:
            del self.addresses[ifindex, place]
            self.numbered[ifindex] -= 1
        self.judge_with_ports(ifindex)

    def judge_with_ports(self, ifindex: int) -> None:
        self.judge(ifindex)
        if link := self.links.get(ifindex):
            self.judge_ports(link)

    def put_netconf(self, netconf: Netconf, *, gone: bool) -> None:
        key = (netconf.family, netconf.ifindex)
        if gone:
            self.netconfs.pop(key, None)
        else:
            old = self.netconfs.get(key, NOTHING)
            told = {
                field: getattr(old, field)
                for field in (
                    "forwarding",
                    "rp_filter",
                    "ignore_linkdown",
                    "proxy",
                    "mc_forwarding",
                )
                if getattr(netconf, field) is None
            }
            self.netconfs.put(key, replace(netconf, **told))
        if netconf.ifindex == NETCONF_ALL:
            self.judge_all()
        else:
            self.judge_with_ports(netconf.ifindex)

    def judge_all(self) -> None:
        for ifindex in self.links:
            self.judge(ifindex)

    def judge(self, ifindex: int) -> None:
        """Set the interface's object from all that's known of it."""
        link = self.links.get(ifindex)
        if link is None:
            return
        all4 = self.netconfs.get((AF_INET, NETCONF_ALL), NOTHING)
        all6 = self.netconfs.get((AF_INET6, NETCONF_ALL), NOTHING)
        # Linux receives what comes in on a VRF device's port as if it came in on the device.
        master = self.links.get(link.master)
        l3mdev = master if master and master.kind == VRF_KIND else None
        receiver = l3mdev or link
        own4 = self.netconfs.get((AF_INET, receiver.ifindex), NOTHING)
        flags = 0
        if link.flags & IFF_UP:
            flags |= UP
        if link.flags & IFF_LOWER_UP:
            flags |= RUNNING
        if own4.forwarding:
            flags |= FORWARD4
        # ip6_forward() looks at the setting for all devices, whatever the device's own says.
        if all6.forwarding and all(one.mtu6 and not one.disable_ipv6 for one in (link, receiver)):
            flags |= FORWARD6
        filtering = max(all4.rp_filter or 0, own4.rp_filter or 0)
        if filtering:
            # Without an address of its own Linux is strict.
            flags |= RPF_LOOSE if filtering > 1 and self.numbered[receiver.ifindex] else RPF
        if link.flags & IFF_LOOPBACK:
            flags |= LOOPBACK
        if link.master and not l3mdev:
            flags |= SLAVE
        for family in (AF_INET, AF_INET6):
            own = self.netconfs.get((family, ifindex), NOTHING)
            flags |= (PROXY if own.proxy else 0) | (MULTICAST if own.mc_forwarding else 0)
        if (
            link.xdp
            or any(place[0] in (ifindex, receiver.ifindex) for place in self.qdiscs)
            or self.sharers.get(ifindex)
            or receiver.xdp
        ):
            flags |= FOREIGN
        self.set(
            BODY.pack(
                self.vrf,
                ifindex,
                flags,
                link.mtu,
                link.mac if len(link.mac) == 6 else b"",
                link.name.encode()[:NAME_MAX],
                link.kind.encode()[:NAME_MAX],
                link.mtu6 if link.mtu6 != link.mtu else 0,
                l3mdev.ifindex if l3mdev else 0,
                l3mdev.table if l3mdev else 0,
            )
        )

    def describe(self, key: bytes, body: bytes | None) -> str:
        ifindex = KEY.unpack(key)[1]
        if body is None:
            return f"interface {ifindex}"
        _, _, flags, mtu, _, name, _, mtu6, *_ = BODY.unpack(body.ljust(BODY.size, b"\0"))
        return f"interface {name.rstrip(b'\0').decode()} ({ifindex}) flags {flags:#x} mtu {mtu}" + (
            f", {mtu6} for IPv6" if mtu6 else ""
        )
