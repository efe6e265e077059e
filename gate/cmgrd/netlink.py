# SPDX-License-Identifier: BSD-3-Clause
"""The edge to the kernel: Netlink sockets that hear what changes, and dumps.

Changes come over several sockets, so that a flood of routes doesn't cost the links. Each has a buffer of its own; when
the kernel finds it full (ENOBUFS) it has thrown something away, and the families of that socket are dumped again.
"""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sluice.cmgrd import wire, xfrm
from sluice.cmgrd.kernel import AF_BRIDGE, AF_INET, AF_INET6, Family
from sluice.cmgrd.wire import NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM

log = logging.getLogger("cmgrd")

SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE, SO_NETNS_COOKIE = 33, 71
MIB = 1 << 20
RECEIVE = 1 << 16

# What a kernel says that lacks the protocol, the family or its module.
ABSENT = {errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT, errno.EINVAL}


@dataclass(frozen=True)
class Channel:
    """Which changes one socket hears."""

    protocol: int
    families: tuple[Family, ...]
    groups: tuple[int, ...]  # multicast groups, numbered from 1
    buffer: int  # bytes; used only when full


CHANNELS = (
    Channel(
        NETLINK_ROUTE,
        (
            Family.LINK,
            Family.ADDRESS,
            Family.NETCONF,
            Family.QDISC,
            Family.RULE,
            Family.NEXTHOP,
        ),
        # link, IPv6 link information, addresses, netconf, tc, rules, next hop objects
        (1, 12, 5, 9, 24, 25, 4, 8, 19, 32),
        8 * MIB,
    ),
    Channel(NETLINK_ROUTE, (Family.NEIGH,), (3,), 8 * MIB),
    Channel(NETLINK_ROUTE, (Family.ROUTE4,), (7,), 32 * MIB),
    Channel(NETLINK_ROUTE, (Family.ROUTE6,), (11,), 32 * MIB),
    # Those of PF_BRIDGE neighbours come with the other neighbours.
    Channel(NETLINK_ROUTE, (Family.MDB,), (26,), MIB),
    Channel(NETLINK_ROUTE, (Family.VLAN,), (33,), MIB),
    Channel(NETLINK_ROUTE, (Family.MROUTE,), (6, 10), 8 * MIB),
    Channel(NETLINK_NETFILTER, (Family.CHAIN,), (7,), MIB),
    # SAs, policies, expirations, migrations. Not the group of replay and lifetime values (AEVENTS): as soon as somebody
    # listens to that, the kernel says them for each second packet that it treats itself.
    Channel(NETLINK_XFRM, (Family.SA, Family.POLICY), (3, 4, 2, 7), 4 * MIB),
)

Request = tuple[int, int, bytes]  # protocol, type, payload

EXT_MASK = struct.pack("=HHI", 8, wire.IFLA_EXT_MASK, wire.RTEXT_FILTER_SKIP_STATS)
REQUESTS: dict[Family, tuple[Request, ...]] = {
    Family.LINK: ((NETLINK_ROUTE, 18, bytes(16) + EXT_MASK),),
    Family.ADDRESS: ((NETLINK_ROUTE, 22, struct.pack("=B7x", AF_INET)),),
    Family.NETCONF: tuple(
        (NETLINK_ROUTE, 82, struct.pack("=Bxxx", family)) for family in (AF_INET, AF_INET6)
    ),
    Family.QDISC: ((NETLINK_ROUTE, 38, bytes(20)),),
    Family.NEXTHOP: ((NETLINK_ROUTE, 106, bytes(8)),),
    Family.RULE: tuple(
        (NETLINK_ROUTE, 34, struct.pack("=B11x", family)) for family in (AF_INET, AF_INET6)
    ),
    Family.NEIGH: ((NETLINK_ROUTE, 30, bytes(12)),),
    Family.ROUTE4: ((NETLINK_ROUTE, 26, struct.pack("=B11x", AF_INET)),),
    Family.ROUTE6: ((NETLINK_ROUTE, 26, struct.pack("=B11x", AF_INET6)),),
    Family.FDB: ((NETLINK_ROUTE, 30, struct.pack("=B11x", AF_BRIDGE)),),
    Family.MDB: ((NETLINK_ROUTE, 86, struct.pack("=B7x", AF_BRIDGE)),),
    Family.VLAN: ((NETLINK_ROUTE, 114, struct.pack("=B7x", AF_BRIDGE)),),
    Family.MROUTE: tuple(
        (NETLINK_ROUTE, 26, struct.pack("=B11x", family)) for family in wire.MULTICAST_FAMILIES
    ),
    # Chains, then their rules.
    Family.CHAIN: tuple((NETLINK_NETFILTER, 10 << 8 | kind, bytes(4)) for kind in (4, 7)),
    # Policies, and what becomes of packets that none is for.
    Family.POLICY: ((NETLINK_XFRM, 0x15, b""), (NETLINK_XFRM, xfrm.GETDEFAULT, bytes(4))),
    Family.SA: ((NETLINK_XFRM, 0x12, b""),),
}
# Requests with one answer, and an acknowledgement behind it.
SINGLE = {(NETLINK_XFRM, xfrm.GETDEFAULT)}


class NetlinkError(Exception):
    """The kernel refused; `code` is the errno."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: {os.strerror(code)}")
        self.code = code


def open_socket(protocol: int, buffer: int) -> socket.socket:
    """A non-blocking Netlink socket; OSError if the kernel hasn't the protocol."""
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol
    )
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    opened.bind((0, 0))
    return opened


class Listener:
    """Hears the changes of one channel."""

    room = bytearray(RECEIVE)  # of all: what was read is copied at once

    def __init__(self, channel: Channel, opened: socket.socket) -> None:
        self.channel = channel
        self.socket = opened
        self.waiting = 0  # datagrams of it that are kept for later

    @classmethod
    def open(cls, channel: Channel, buffer: int = 0) -> "Listener | None":
        """None if this kernel has nothing of the kind. Raises NetlinkError."""
        try:
            opened = open_socket(channel.protocol, buffer or channel.buffer)
        except OSError as error:
            if error.errno in ABSENT:
                log.debug("this kernel has no Netlink protocol %d", channel.protocol)
                return None
            raise NetlinkError(error.errno or 0, f"Netlink protocol {channel.protocol}") from error
        for group in channel.groups:
            try:
                opened.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
            except OSError as error:
                if error.errno in ABSENT:
                    log.debug("this kernel has no group %d of %d", group, channel.protocol)
                    continue
                opened.close()
                what = f"group {group} of Netlink protocol {channel.protocol}"
                raise NetlinkError(error.errno or 0, what) from error
        return cls(channel, opened)

    def read(self, most: int) -> tuple[list[bytes], bool]:
        """Up to `most` datagrams that wait, and whether something before or between them was lost."""
        found: list[bytes] = []
        lost = False
        while len(found) < most:
            try:
                size, sender = self.socket.recvfrom_into(self.room)
            except BlockingIOError:
                break
            except InterruptedError:
                continue
            except OSError as error:
                lost = True
                if error.errno == errno.ENOBUFS:
                    continue
                log.warning("netlink: %s", error)
                break
            if sender[0] != 0:
                continue  # another process pretends to be the kernel
            if size == RECEIVE:
                lost = True  # cut off
                continue
            found.append(bytes(memoryview(self.room)[:size]))
        return found, lost

    def close(self) -> None:
        self.socket.close()


def answers(data: bytes, what: str) -> Iterator[tuple[int, int, int, int, bool]]:
    """(type, flags, start, end, last) of each message of a dump. Raises NetlinkError, MalformedError."""
    for kind, flags, _, at, end in wire.messages(data):
        if kind in (wire.NLMSG_ERROR, wire.NLMSG_DONE):
            code = -wire.I32.unpack_from(data, at)[0] if end - at >= 4 else 0
            if code > 0:
                raise NetlinkError(code, what)
            yield kind, flags, at, end, True
            return
        if kind == wire.NLMSG_OVERRUN:
            raise NetlinkError(errno.ENOBUFS, what)
        if kind != wire.NLMSG_NOOP:
            yield kind, flags, at, end, False


def setting(path: str, most: int = 255) -> int:
    """A number in /proc/sys/net, cut; 0 where the kernel hasn't got it."""
    try:
        return min(int((Path("/proc/sys/net") / path).read_text()), most)
    except (OSError, ValueError):
        return 0


def namespace() -> int:
    """The cookie of the network namespace that this thread is in; 0 before Linux 5.14."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as opened:
        try:
            cookie = opened.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError:
            return 0
    return int.from_bytes(cookie, "little")


async def dump(
    family: Family,
    feed: Callable[[int, int, int, bytes, int, int], None],
    feed_whole: Callable[[bytes], tuple[bool, bool]] | None = None,
    enter: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> bool:
    """Dump a family; `feed` gets (protocol, type, flags, data, start, end) of each message. Or `feed_whole` each
    datagram, and says whether that was the last one, and whether it is part of a whole; it raises OSError with the
    kernel's errno. `enter`: into the namespace.

    Whether it's complete: False if the kernel says that what was dumped changed meanwhile. A kernel without that family
    has none of it: complete. Others run between two datagrams. Raises NetlinkError, MalformedError.
    """
    loop = asyncio.get_running_loop()
    complete = True
    for protocol, kind, payload in REQUESTS[family]:
        try:
            with enter():
                opened = open_socket(protocol, MIB)
        except OSError as error:
            if error.errno in ABSENT:
                continue
            raise NetlinkError(error.errno or 0, f"dump of {family}") from error
        with opened:
            how = wire.NLM_F_ACK if (protocol, kind) in SINGLE else wire.NLM_F_DUMP
            head = wire.NLMSG.pack(
                wire.NLMSG.size + len(payload), kind, wire.NLM_F_REQUEST | how, 1, 0
            )
            opened.send(head + payload)
            last = False
            while not last:
                try:
                    data = await loop.sock_recv(opened, RECEIVE)
                    if feed_whole:
                        last, whole = feed_whole(data)
                        complete = complete and whole
                        continue
                    for answer, flags, at, end, last in answers(data, f"dump of {family}"):
                        if flags & wire.NLM_F_DUMP_INTR:
                            complete = False
                        if not last:
                            feed(protocol, answer, flags, data, at, end)
                except NetlinkError as error:
                    if error.code in ABSENT:
                        log.debug("this kernel has no such thing: %s", error)
                        break
                    raise
                except OSError as error:
                    if feed_whole and error.errno in ABSENT:
                        log.debug("this kernel has no %s: %s", family, error)
                        break
                    raise NetlinkError(error.errno or 0, f"dump of {family}") from error
                await asyncio.sleep(0)
    if family is Family.RULE:
        # Nobody tells when they change: they're as of the last dump.
        with enter():
            data = wire.MULTIPATH.pack(
                setting("ipv4/fib_multipath_hash_policy"),
                setting("ipv6/fib_multipath_hash_policy"),
                setting("ipv4/fib_multipath_use_neigh"),
            )
            path_mtu = bytes((setting("ipv4/ip_forward_use_pmtu"),))
            cookie = wire.NAMESPACE.pack(namespace())
            seed = wire.SEED.pack(setting("ipv4/fib_multipath_hash_seed", most=0xFFFFFFFF))
        feed(wire.SETTINGS, 1, 0, data, 0, len(data))
        feed(wire.SETTINGS, 2, 0, path_mtu, 0, 1)
        feed(wire.SETTINGS, 3, 0, cookie, 0, len(cookie))
        feed(wire.SETTINGS, 4, 0, seed, 0, len(seed))
    return complete
