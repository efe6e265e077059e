# SPDX-License-Identifier: BSD-3-Clause
"""Netlink's wire format: from bytes to kernel.Message. Pure, and strict where it matters: what is too short or runs
over its end is refused, what is merely unknown is passed over or makes the object one that Linux keeps for itself.

Routes and neighbours aren't here but in C (inlet.h), IPsec is in xfrm.py.

Not pyroute2: its import alone takes longer than cmgrd's whole start, most of all under emulation. Tests hold the two
against each other.
"""

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from sluice.cmgrd import nft
from sluice.cmgrd.kernel import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    Address,
    BridgeVlan,
    Chain,
    ChainRule,
    Change,
    Family,
    Fdb,
    Link,
    Mdb,
    Message,
    MulticastRoute,
    Multipath,
    MultipathSeed,
    Namespace,
    Netconf,
    NextHopObject,
    Object,
    PathMtu,
    Qdisc,
    Rule,
    Several,
)

NETLINK_ROUTE, NETLINK_XFRM, NETLINK_NETFILTER = 0, 6, 12

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x4, 0x300, 0x10

NLMSG = struct.Struct("=IHHII")  # nlmsghdr
NLA = struct.Struct("=HH")  # nlattr
IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBI")
RULEHDR = struct.Struct("=BBBBBxxBI")
TCMSG = struct.Struct("=BxxxiIII")
NFGEN = struct.Struct("=BBH")
U16, U32, I32, BE32 = (
    struct.Struct("=H"),
    struct.Struct("=I"),
    struct.Struct("=i"),
    struct.Struct(">I"),
)

NLA_TYPE_MASK = 0x3FFF
ADDRESS_SIZE = {AF_INET: 4, AF_INET6: 16}


class MalformedError(Exception):
    """The message breaks Netlink's or its type's rules."""


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Cut a datagram into (type, flags, seq, start, end) of each message's payload. Raises MalformedError."""
    at, size = 0, len(data)
    while at < size:
        if size - at < NLMSG.size:
            raise MalformedError(f"{size - at} bytes left over")
        length, kind, flags, seq, _ = NLMSG.unpack_from(data, at)
        if not NLMSG.size <= length <= size - at:
            raise MalformedError(f"message type {kind} of {length} bytes, {size - at} there")
        yield kind, flags, seq, at + NLMSG.size, at + length
        at += (length + 3) & ~3


def attributes(data: bytes, at: int, end: int) -> dict[int, bytes]:
    """The attributes in data[at:end] by type; of two of one type the last counts, as in the kernel."""
    found = {}
    while end - at >= 4:
        length, kind = NLA.unpack_from(data, at)
        if not 4 <= length <= end - at:
            raise MalformedError(
                f"attribute {kind & NLA_TYPE_MASK} of {length} bytes, {end - at} there"
            )
        found[kind & NLA_TYPE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    if at < end:
        raise MalformedError(f"{end - at} bytes left over behind the attributes")
    return found


def nested(data: bytes) -> dict[int, bytes]:
    return attributes(data, 0, len(data))


def number(data: bytes | None, default: int = 0) -> int:
    """A u8, u16 or u32."""
    if data is None:
        return default
    if len(data) not in (1, 2, 4):
        raise MalformedError(f"a number of {len(data)} bytes")
    return int.from_bytes(data, "little" if U16.pack(1)[0] else "big")


def signed(data: bytes | None, default: int = 0) -> int:
    if data is None:
        return default
    if len(data) != 4:
        raise MalformedError(f"a number of {len(data)} bytes")
    return int(I32.unpack(data)[0])


def text(data: bytes | None) -> str:
    return (data or b"").split(b"\0", 1)[0].decode(errors="replace")


def address(family: int, data: bytes) -> bytes:
    if len(data) != ADDRESS_SIZE[family]:
        raise MalformedError(f"an address of {len(data)} bytes in family {family}")
    return data


def head(layout: struct.Struct, data: bytes, at: int, end: int) -> tuple[int, ...]:
    if end - at < layout.size:
        raise MalformedError(f"{end - at} bytes, the fixed part has {layout.size}")
    return layout.unpack_from(data, at)


# --- links

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_LINK_NETNSID, IFLA_XDP = 18, 26, 29, 37, 43
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INET6_CONF, IFLA_XDP_ATTACHED = 1, 2, 2, 2
IFLA_VRF_TABLE = 1
RTEXT_FILTER_SKIP_STATS = 8
DEVCONF_MTU6, DEVCONF_DISABLE_IPV6 = 2, 26


def link(data: bytes, at: int, end: int) -> Object | None:
    family, _, ifindex, flags, _ = head(IFINFO, data, at, end)
    if family == AF_INET6:
        return None  # MTU or flags of IPv6 changed: the whole link tells
    if family != AF_UNSPEC or ifindex <= 0:
        raise IgnoredError  # a bridge port's view of it
    a = attributes(data, at + IFINFO.size, end)
    mtu6, disable_ipv6 = 0, True
    inet6 = nested(a[IFLA_AF_SPEC]).get(AF_INET6) if IFLA_AF_SPEC in a else None
    if inet6 is not None:
        conf = nested(inet6).get(IFLA_INET6_CONF, b"")
        if len(conf) >= 4 * (DEVCONF_DISABLE_IPV6 + 1):
            mtu6 = I32.unpack_from(conf, 4 * DEVCONF_MTU6)[0]
            disable_ipv6 = I32.unpack_from(conf, 4 * DEVCONF_DISABLE_IPV6)[0] != 0
    info = nested(a[IFLA_LINKINFO]) if IFLA_LINKINFO in a else {}
    kind, table = text(info.get(IFLA_INFO_KIND)), 0
    if kind == "vrf" and IFLA_INFO_DATA in info:
        table = number(nested(info[IFLA_INFO_DATA]).get(IFLA_VRF_TABLE))
    return Link(
        ifindex=ifindex,
        name=text(a.get(IFLA_IFNAME)),
        flags=flags,
        mtu=number(a.get(IFLA_MTU)),
        mac=a.get(IFLA_ADDRESS, b""),
        kind=kind,
        master=number(a.get(IFLA_MASTER)),
        lower=0 if IFLA_LINK_NETNSID in a else number(a.get(IFLA_LINK)),
        mtu6=mtu6,
        disable_ipv6=disable_ipv6,
        xdp=IFLA_XDP in a and number(nested(a[IFLA_XDP]).get(IFLA_XDP_ATTACHED)) != 0,
        table=table,
    )


# --- addresses, netconf

IFA_ADDRESS, IFA_LOCAL = 1, 2


def ifaddr(data: bytes, at: int, end: int) -> Object:
    family, plen, _, _, ifindex = head(IFADDR, data, at, end)
    if family not in ADDRESS_SIZE:
        raise IgnoredError
    a = attributes(data, at + IFADDR.size, end)
    local = a.get(IFA_LOCAL) or a.get(IFA_ADDRESS)
    if local is None:
        raise MalformedError("no address")
    return Address(family, ifindex, plen, address(family, local))


NETCONFA_IFINDEX, NETCONFA_FORWARDING, NETCONFA_RP_FILTER, NETCONFA_MC_FORWARDING = 1, 2, 3, 4
NETCONFA_PROXY, NETCONFA_IGNORE_LINKDOWN = 5, 6


def netconf(data: bytes, at: int, end: int) -> Object:
    if end - at < 1:
        raise MalformedError("no family")
    family = data[at]
    if family not in ADDRESS_SIZE:
        raise IgnoredError
    a = attributes(data, at + 4, end)
    if NETCONFA_IFINDEX not in a:
        raise MalformedError("no interface")

    def value(kind: int) -> int | None:
        return signed(a[kind]) if kind in a else None

    def switch(kind: int) -> bool | None:
        there = value(kind)
        return None if there is None else there != 0

    return Netconf(
        family=family,
        ifindex=signed(a[NETCONFA_IFINDEX]),
        forwarding=switch(NETCONFA_FORWARDING),
        rp_filter=value(NETCONFA_RP_FILTER),
        ignore_linkdown=switch(NETCONFA_IGNORE_LINKDOWN),
        proxy=switch(NETCONFA_PROXY),
        mc_forwarding=switch(NETCONFA_MC_FORWARDING),
    )


# --- traffic control, rules

TCA_KIND = 1


def qdisc(data: bytes, at: int, end: int) -> Object:
    _, ifindex, handle, parent, _ = head(TCMSG, data, at, end)
    return Qdisc(
        ifindex, handle, parent, text(attributes(data, at + TCMSG.size, end).get(TCA_KIND))
    )


FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_GOTO, FRA_PRIORITY, FRA_FWMARK = 1, 2, 3, 4, 6, 10
FRA_FLOW, FRA_SUPPRESS_IFGROUP, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE = 11, 13, 14, 15
FRA_FWMASK, FRA_OIFNAME, FRA_PAD, FRA_L3MDEV, FRA_UID_RANGE = 16, 17, 18, 19, 20
FRA_PROTOCOL, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_DSCP = 21, 22, 23, 24, 25
FRA_SPORT_MASK, FRA_DPORT_MASK, FRA_DSCP_MASK = 28, 29, 30
# What's decoded, and what needs nothing of the fast path (flow is the realm).
FRA_KNOWN = {
    FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_GOTO, FRA_PRIORITY, FRA_FWMARK, FRA_FLOW, FRA_SUPPRESS_IFGROUP,
    FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_OIFNAME, FRA_PAD, FRA_L3MDEV, FRA_UID_RANGE,
    FRA_PROTOCOL, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_DSCP, FRA_DSCP_MASK,
}  # fmt: skip
FIB_RULE_INVERT, FIB_RULE_UNRESOLVED = 2, 4
NOT_SET = 0xFFFFFFFF
# What IPv4 compares of a packet's type of service with a rule's `tos`; IPv6 all of the DSCP.
TOS_MASK = {AF_INET: 0x1C, AF_INET6: 0xFC}
RANGE16, RANGE32 = struct.Struct("=HH"), struct.Struct("=II")


def rule(data: bytes, at: int, end: int) -> Object:
    family, dst_len, src_len, tos, table, action, flags = head(RULEHDR, data, at, end)
    if family not in ADDRESS_SIZE:
        raise IgnoredError  # multicast routing
    size = ADDRESS_SIZE[family]
    if max(dst_len, src_len) > 8 * size:
        raise MalformedError(f"a prefix of {max(dst_len, src_len)} bits")
    a = attributes(data, at + RULEHDR.size, end)

    def prefix(kind: int, plen: int) -> bytes:
        if plen and kind not in a:
            raise MalformedError("a prefix without address")
        return address(family, a[kind]) if plen else b""

    def span(kind: int, layout: struct.Struct) -> tuple[int, int] | None:
        if kind not in a:
            return None
        if len(a[kind]) != layout.size:
            raise MalformedError(f"a range of {len(a[kind])} bytes")
        first, last = layout.unpack(a[kind])
        return first, last

    known = FRA_KNOWN | {
        kind for kind in (FRA_SPORT_MASK, FRA_DPORT_MASK) if number(a.get(kind)) == 0xFFFF
    }
    unknown = [f"attribute {kind}" for kind in sorted(a.keys() - known)]
    if number(a.get(FRA_SUPPRESS_IFGROUP), NOT_SET) != NOT_SET:
        unknown.append("suppress_ifgroup")
    suppress = number(a.get(FRA_SUPPRESS_PREFIXLEN), NOT_SET)
    mark = number(a.get(FRA_FWMARK))
    tos_mask = TOS_MASK[family] if tos else 0
    if FRA_DSCP in a:
        tos, tos_mask = number(a[FRA_DSCP]) << 2, number(a.get(FRA_DSCP_MASK), 0x3F) << 2
    return Rule(
        family=family,
        priority=number(a.get(FRA_PRIORITY)),
        action=action,
        table=number(a.get(FRA_TABLE), table),
        invert=bool(flags & FIB_RULE_INVERT),
        src=prefix(FRA_SRC, src_len),
        src_plen=src_len,
        dst=prefix(FRA_DST, dst_len),
        dst_plen=dst_len,
        tos=tos,
        tos_mask=tos_mask,
        mark=mark,
        mask=number(a.get(FRA_FWMASK), NOT_SET if mark else 0),
        iif=text(a.get(FRA_IIFNAME)),
        oif=text(a.get(FRA_OIFNAME)),
        uids=span(FRA_UID_RANGE, RANGE32),
        protocol=number(a.get(FRA_IP_PROTO)),
        sport=span(FRA_SPORT_RANGE, RANGE16),
        dport=span(FRA_DPORT_RANGE, RANGE16),
        goto=number(a.get(FRA_GOTO)),
        goto_resolved=not flags & FIB_RULE_UNRESOLVED,
        suppress=None if suppress == NOT_SET else suppress,
        l3mdev=number(a.get(FRA_L3MDEV)) != 0,
        unknown=", ".join(unknown),
    )


# Neighbours and routes are decoded in C: gate/features/{neigh,route}/native.c.

NHA_ID, NHA_GROUP, NHA_GROUP_TYPE = 1, 2, 3
NEXTHOP_GRP = struct.Struct("=IBBxx")
NEXTHOP_GRP_TYPE_MPATH = 0


def nexthop_object(data: bytes, at: int, end: int) -> Object:
    if end - at < 8:
        raise MalformedError("no head")
    a = attributes(data, at + 8, end)
    kind = a.get(NHA_GROUP_TYPE, b"\0\0")
    if len(kind) != 2:
        raise MalformedError(f"a group's type of {len(kind)} bytes")
    members = a.get(NHA_GROUP, b"")
    if len(members) % NEXTHOP_GRP.size:
        raise MalformedError(f"a group's members in {len(members)} bytes")
    plain = not any(high for _, _, high in NEXTHOP_GRP.iter_unpack(members))
    hashed = int.from_bytes(kind, sys.byteorder) == NEXTHOP_GRP_TYPE_MPATH and plain
    return NextHopObject(number(a.get(NHA_ID)), hashed)


# --- netfilter

NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_HOOK_HOOKNUM = 1, 3, 4, 1
NFTA_CHAIN_POLICY, NF_ACCEPT = 5, 1


def chain(data: bytes, at: int, end: int) -> Object:
    family, _, _ = head(NFGEN, data, at, end)
    a = attributes(data, at + NFGEN.size, end)
    hook = -1
    if NFTA_CHAIN_HOOK in a:
        value = nested(a[NFTA_CHAIN_HOOK]).get(NFTA_HOOK_HOOKNUM, b"")
        if len(value) != 4:
            raise MalformedError("a chain's hook without number")
        hook = BE32.unpack(value)[0]
    return Chain(
        family=family,
        table=text(a.get(NFTA_CHAIN_TABLE)),
        name=text(a.get(NFTA_CHAIN_NAME)),
        hook=hook,
        accepts=a.get(NFTA_CHAIN_POLICY) == BE32.pack(NF_ACCEPT),
    )


NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 1, 2


def expressions(data: bytes) -> list[nft.Expression]:
    """A rule's, in order."""
    found = []
    at = 0
    while len(data) - at >= NLA.size:
        length, kind = NLA.unpack_from(data, at)
        if not NLA.size <= length <= len(data) - at or kind & NLA_TYPE_MASK != NFTA_LIST_ELEM:
            raise MalformedError(f"an expression of {length} bytes, {len(data) - at} there")
        a = nested(data[at + NLA.size : at + length])
        content = nested(a.get(NFTA_EXPR_DATA, b""))
        found.append((text(a.get(NFTA_EXPR_NAME)), tuple(sorted(content.items()))))
        at += (length + 3) & ~3
    return found


def chain_rule(data: bytes, at: int, end: int) -> Object:
    family, _, _ = head(NFGEN, data, at, end)
    a = attributes(data, at + NFGEN.size, end)
    return ChainRule(
        family=family,
        table=text(a.get(NFTA_RULE_TABLE)),
        chain=text(a.get(NFTA_RULE_CHAIN)),
        clamp=nft.clamp(expressions(a.get(NFTA_RULE_EXPRESSIONS, b""))),
    )


# --- bridges, multicast routes


def each(data: bytes, wanted: int) -> Iterator[bytes]:
    """The contents of all attributes of a type."""
    at, end = 0, len(data)
    while end - at >= NLA.size:
        length, kind = NLA.unpack_from(data, at)
        if not NLA.size <= length <= end - at:
            raise MalformedError(f"attribute {kind & NLA_TYPE_MASK} of {length} bytes")
        if kind & NLA_TYPE_MASK == wanted:
            yield data[at + NLA.size : at + length]
        at += (length + 3) & ~3


NDMSG = struct.Struct("=BxxxiHBB")
NDA_DST, NDA_LLADDR, NDA_VLAN, NDA_VNI, NDA_MASTER = 1, 2, 5, 7, 9


def fdb(data: bytes, at: int, end: int) -> Object:
    _, ifindex, state, flags, _ = head(NDMSG, data, at, end)
    a = attributes(data, at + NDMSG.size, end)
    if len(a.get(NDA_LLADDR, b"")) != 6:
        raise MalformedError("a forwarding entry without MAC")
    return Fdb(
        ifindex=ifindex,
        mac=a[NDA_LLADDR],
        vlan=number(a.get(NDA_VLAN)),
        remote=a.get(NDA_DST, b""),
        vni=number(a.get(NDA_VNI)),
        master=number(a.get(NDA_MASTER)),
        state=state,
        flags=flags,
    )


BR_PORT_MSG, BR_VLAN_MSG = struct.Struct("=BxxxI"), struct.Struct("=BxxxI")
BR_MDB_ENTRY = struct.Struct("=IBBH16sHxx")
BRIDGE_VLAN_INFO = struct.Struct("=HH")
MDBA_MDB, MDBA_MDB_ENTRY, MDBA_MDB_ENTRY_INFO, MDB_PERMANENT = 1, 1, 1, 1
ENTRY, ENTRY_INFO, ENTRY_RANGE = 1, 1, 2  # BRIDGE_VLANDB_*
# Of a group's protocol (ETH_P_*, network byte order): bytes of its address.
GROUP_SIZES = {0x0800: 4, 0x86DD: 16, 0: 6}


def mdb(data: bytes, at: int, end: int) -> Object:
    _, bridge = head(BR_PORT_MSG, data, at, end)
    found = []
    for group in each(data[at + BR_PORT_MSG.size : end], MDBA_MDB):
        for entry in each(group, MDBA_MDB_ENTRY):
            for info in each(entry, MDBA_MDB_ENTRY_INFO):
                entry_head: tuple[Any, ...] = head(BR_MDB_ENTRY, info, 0, len(info))
                port, state, flags, vlan, content, kind = entry_head
                size = GROUP_SIZES.get(socket.ntohs(kind))
                if size is None:
                    raise MalformedError(f"a group of protocol {socket.ntohs(kind):#x}")
                permanent = state == MDB_PERMANENT
                found.append(Mdb(bridge, port, vlan, content[:size], permanent, flags))
    return Several(tuple(found))


def bridge_vlan(data: bytes, at: int, end: int) -> Object:
    _, ifindex = head(BR_VLAN_MSG, data, at, end)
    found = []
    for entry in each(data[at + BR_VLAN_MSG.size : end], ENTRY):
        a = nested(entry)
        if ENTRY_INFO not in a:
            raise MalformedError("VLANs without number")
        flags, first = head(BRIDGE_VLAN_INFO, a[ENTRY_INFO], 0, len(a[ENTRY_INFO]))
        found.append(BridgeVlan(ifindex, first, number(a.get(ENTRY_RANGE), first), flags))
    return Several(tuple(found))


RTMSG = struct.Struct("=BBBBBBBBI")
RTNEXTHOP = struct.Struct("=HBBi")
RTNL_FAMILY_IPMR, RTNL_FAMILY_IP6MR = 128, 129
RTA_DST, RTA_SRC, RTA_IIF, RTA_MULTIPATH, RTA_TABLE = 1, 2, 3, 9, 15
MULTICAST_FAMILIES = {RTNL_FAMILY_IPMR: AF_INET, RTNL_FAMILY_IP6MR: AF_INET6}


def multicast_route(data: bytes, at: int, end: int) -> Object:
    fixed = head(RTMSG, data, at, end)
    of, table = fixed[0], fixed[4]
    family = MULTICAST_FAMILIES[of]
    a = attributes(data, at + RTMSG.size, end)
    hops, oifs, place = a.get(RTA_MULTIPATH, b""), [], 0
    while len(hops) - place >= RTNEXTHOP.size:
        length, _, _, oif = RTNEXTHOP.unpack_from(hops, place)
        if not RTNEXTHOP.size <= length <= len(hops) - place:
            raise MalformedError(f"a next hop of {length} bytes, {len(hops) - place} there")
        oifs.append(oif)
        place += (length + 3) & ~3
    unset = bytes(ADDRESS_SIZE[family])
    return MulticastRoute(
        family=family,
        table=number(a.get(RTA_TABLE), table),
        source=address(family, a.get(RTA_SRC, unset)),
        group=address(family, a.get(RTA_DST, unset)),
        iif=number(a.get(RTA_IIF)),
        oifs=tuple(oifs),
    )


# Not Netlink: what netlink.py reads from /proc with the rules, a message each.
SETTINGS = 255
MULTIPATH = struct.Struct("=BBB")


def multipath_settings(data: bytes, at: int, end: int) -> Object:
    if end - at != MULTIPATH.size:
        raise MalformedError(f"{end - at} bytes, it takes {MULTIPATH.size}")
    policy4, policy6, use_neigh = MULTIPATH.unpack_from(data, at)
    return Multipath(policy4, policy6, bool(use_neigh))


SEED = struct.Struct("=I")


def multipath_seed(data: bytes, at: int, end: int) -> Object:
    if end - at != SEED.size:
        raise MalformedError(f"{end - at} bytes, it takes {SEED.size}")
    return MultipathSeed(*SEED.unpack_from(data, at))


def forward_settings(data: bytes, at: int, end: int) -> Object:
    if end - at != 1:
        raise MalformedError(f"{end - at} bytes, it takes 1")
    return PathMtu(bool(data[at]))


NAMESPACE = struct.Struct("=Q")


def namespace(data: bytes, at: int, end: int) -> Object:
    if end - at != NAMESPACE.size:
        raise MalformedError(f"{end - at} bytes, it takes {NAMESPACE.size}")
    return Namespace(*NAMESPACE.unpack_from(data, at))


class IgnoredError(Exception):
    """A well-formed message about something that isn't followed."""


def something(data: bytes, at: int, end: int) -> None:
    """For messages that only say that something changed."""


def elsewhere(data: bytes, at: int, end: int) -> Object:
    """What the decoders in C have passed: of a family that isn't followed."""
    raise IgnoredError


Decoder = Callable[[bytes, int, int], Object | None]
# Name, family (None: one of ROUTES), change, decoder.
Type = tuple[str, Family | None, Change, Decoder]
ROUTES = (Family.ROUTE4, Family.ROUTE6)
NEW, DELETED = Change.NEW, Change.DELETED
NFT = 10 << 8
TYPES: dict[tuple[int, int], Type] = {
    (NETLINK_ROUTE, 16): ("RTM_NEWLINK", Family.LINK, NEW, link),
    (NETLINK_ROUTE, 17): ("RTM_DELLINK", Family.LINK, DELETED, link),
    (NETLINK_ROUTE, 20): ("RTM_NEWADDR", Family.ADDRESS, NEW, ifaddr),
    (NETLINK_ROUTE, 21): ("RTM_DELADDR", Family.ADDRESS, DELETED, ifaddr),
    (NETLINK_ROUTE, 24): ("RTM_NEWROUTE", None, NEW, elsewhere),
    (NETLINK_ROUTE, 25): ("RTM_DELROUTE", None, DELETED, elsewhere),
    (NETLINK_ROUTE, 28): ("RTM_NEWNEIGH", Family.NEIGH, NEW, elsewhere),
    (NETLINK_ROUTE, 29): ("RTM_DELNEIGH", Family.NEIGH, DELETED, elsewhere),
    (NETLINK_ROUTE, 32): ("RTM_NEWRULE", Family.RULE, NEW, rule),
    (NETLINK_ROUTE, 33): ("RTM_DELRULE", Family.RULE, DELETED, rule),
    (SETTINGS, 1): ("fib_multipath settings", Family.RULE, NEW, multipath_settings),
    (SETTINGS, 2): ("ip_forward_use_pmtu", Family.RULE, NEW, forward_settings),
    (SETTINGS, 3): ("network namespace", Family.RULE, NEW, namespace),
    (SETTINGS, 4): ("fib_multipath_hash_seed", Family.RULE, NEW, multipath_seed),
    (NETLINK_ROUTE, 36): ("RTM_NEWQDISC", Family.QDISC, NEW, qdisc),
    (NETLINK_ROUTE, 37): ("RTM_DELQDISC", Family.QDISC, DELETED, qdisc),
    (NETLINK_ROUTE, 80): ("RTM_NEWNETCONF", Family.NETCONF, NEW, netconf),
    (NETLINK_ROUTE, 81): ("RTM_DELNETCONF", Family.NETCONF, DELETED, netconf),
    (NETLINK_ROUTE, 84): ("RTM_NEWMDB", Family.MDB, NEW, mdb),
    (NETLINK_ROUTE, 85): ("RTM_DELMDB", Family.MDB, DELETED, mdb),
    # How a dump of MDBs answers.
    (NETLINK_ROUTE, 86): ("RTM_GETMDB", Family.MDB, NEW, mdb),
    (NETLINK_ROUTE, 112): ("RTM_NEWVLAN", Family.VLAN, NEW, bridge_vlan),
    (NETLINK_ROUTE, 113): ("RTM_DELVLAN", Family.VLAN, DELETED, bridge_vlan),
    (NETLINK_ROUTE, 104): ("RTM_NEWNEXTHOP", Family.NEXTHOP, NEW, nexthop_object),
    (NETLINK_ROUTE, 105): ("RTM_DELNEXTHOP", Family.NEXTHOP, DELETED, nexthop_object),
    (NETLINK_NETFILTER, NFT | 3): ("NFT_MSG_NEWCHAIN", Family.CHAIN, NEW, chain),
    (NETLINK_NETFILTER, NFT | 6): ("NFT_MSG_NEWRULE", Family.CHAIN, NEW, chain_rule),
    # A commit: the chains themselves are dumped, since a table takes its chains along.
    (NETLINK_NETFILTER, NFT | 15): ("NFT_MSG_NEWGEN", Family.CHAIN, NEW, something),
}


# What comes under the same numbers as routes and neighbours, by the address family.
OTHERS: dict[tuple[int, int], Type] = {
    (24, RTNL_FAMILY_IPMR): ("RTM_NEWROUTE", Family.MROUTE, NEW, multicast_route),
    (25, RTNL_FAMILY_IPMR): ("RTM_DELROUTE", Family.MROUTE, DELETED, multicast_route),
    (24, RTNL_FAMILY_IP6MR): ("RTM_NEWROUTE", Family.MROUTE, NEW, multicast_route),
    (25, RTNL_FAMILY_IP6MR): ("RTM_DELROUTE", Family.MROUTE, DELETED, multicast_route),
    (28, AF_BRIDGE): ("RTM_NEWNEIGH", Family.FDB, NEW, fdb),
    (29, AF_BRIDGE): ("RTM_DELNEIGH", Family.FDB, DELETED, fdb),
}


def type_name(protocol: int, kind: int) -> str:
    """RTM_NEWROUTE, ..., for people."""
    known = TYPES.get((protocol, kind))
    return known[0] if known else f"type {kind} of protocol {protocol}"


def decode(protocol: int, kind: int, flags: int, data: bytes, at: int, end: int) -> Message | None:
    """The message whose payload is data[at:end]; None for one that isn't followed. Raises MalformedError."""
    known = TYPES.get((protocol, kind))
    if known is None:
        return None
    if protocol == NETLINK_ROUTE and end > at:
        known = OTHERS.get((kind, data[at]), known)
    name, family, change, decoder = known
    try:
        value = decoder(data, at, end)
    except IgnoredError:
        return None
    assert family is not None
    return Message(family, change, name, flags, value)
