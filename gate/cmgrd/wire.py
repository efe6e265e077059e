# SPDX-License-Identifier: BSD-3-Clause
"""Netlink's wire format: from bytes to kernel.Message. Pure, and strict where it matters: what is too short or runs
over its end is refused, what is merely unknown is passed over or makes the object one that Linux keeps for itself.

Routes and neighbours aren't here but in C (inlet.h).

Not pyroute2: its import alone takes longer than cmgrd's whole start, most of all under emulation. Tests hold the two
against each other.
"""

import struct
from collections.abc import Callable, Iterator

from sluice.cmgrd import nft
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    Address,
    Chain,
    ChainRule,
    Change,
    Family,
    Link,
    Message,
    Multipath,
    Namespace,
    Netconf,
    NextHopObject,
    Object,
    PathMtu,
    Policy,
    Qdisc,
    Rule,
)

NETLINK_ROUTE, NETLINK_XFRM, NETLINK_NETFILTER = 0, 6, 12

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10

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
IFLA_INFO_KIND, IFLA_INET6_CONF, IFLA_XDP_ATTACHED = 1, 2, 2
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
    return Link(
        ifindex=ifindex,
        name=text(a.get(IFLA_IFNAME)),
        flags=flags,
        mtu=number(a.get(IFLA_MTU)),
        mac=a.get(IFLA_ADDRESS, b""),
        kind=text(nested(a[IFLA_LINKINFO]).get(IFLA_INFO_KIND)) if IFLA_LINKINFO in a else "",
        master=number(a.get(IFLA_MASTER)),
        lower=0 if IFLA_LINK_NETNSID in a else number(a.get(IFLA_LINK)),
        mtu6=mtu6,
        disable_ipv6=disable_ipv6,
        xdp=IFLA_XDP in a and number(nested(a[IFLA_XDP]).get(IFLA_XDP_ATTACHED)) != 0,
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


NETCONFA_IFINDEX, NETCONFA_FORWARDING, NETCONFA_RP_FILTER, NETCONFA_IGNORE_LINKDOWN = 1, 2, 3, 6


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

    forwarding, ignore = value(NETCONFA_FORWARDING), value(NETCONFA_IGNORE_LINKDOWN)
    return Netconf(
        family=family,
        ifindex=signed(a[NETCONFA_IFINDEX]),
        forwarding=None if forwarding is None else forwarding != 0,
        rp_filter=value(NETCONFA_RP_FILTER),
        ignore_linkdown=None if ignore is None else ignore != 0,
    )


# --- traffic control, rules

TCA_KIND = 1


def qdisc(data: bytes, at: int, end: int) -> Object:
    _, ifindex, handle, parent, _ = head(TCMSG, data, at, end)
    return Qdisc(
        ifindex, handle, parent, text(attributes(data, at + TCMSG.size, end).get(TCA_KIND))
    )


FRA_PRIORITY, FRA_SUPPRESS_IFGROUP, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE = 6, 13, 14, 15
FRA_PAD, FRA_L3MDEV, FRA_PROTOCOL = 18, 19, 21
FRA_HARMLESS = {
    FRA_PRIORITY,
    FRA_SUPPRESS_IFGROUP,
    FRA_SUPPRESS_PREFIXLEN,
    FRA_TABLE,
    FRA_PAD,
    FRA_PROTOCOL,
}
FR_ACT_TO_TBL = 1
FIB_RULE_UNRESOLVED = 4
NOT_SET = 0xFFFFFFFF


def rule(data: bytes, at: int, end: int) -> Object:
    family, dst_len, src_len, tos, table, action, flags = head(RULEHDR, data, at, end)
    if family not in ADDRESS_SIZE:
        raise IgnoredError  # multicast routing
    a = attributes(data, at + RULEHDR.size, end)
    simple = (
        (dst_len, src_len, tos, action) == (0, 0, 0, FR_ACT_TO_TBL)
        and not flags & ~FIB_RULE_UNRESOLVED
        and number(a.get(FRA_SUPPRESS_PREFIXLEN), NOT_SET) == NOT_SET
        and number(a.get(FRA_SUPPRESS_IFGROUP), NOT_SET) == NOT_SET
    )
    l3mdev = number(a.get(FRA_L3MDEV)) != 0
    return Rule(
        family=family,
        priority=number(a.get(FRA_PRIORITY)),
        table=number(a.get(FRA_TABLE), table),
        plain=simple and not l3mdev and a.keys() <= FRA_HARMLESS,
        l3mdev=simple and l3mdev and a.keys() <= FRA_HARMLESS | {FRA_L3MDEV},
        identity=data[at:end],
    )


# Neighbours and routes are decoded in C: gate/features/{neigh,route}/native.c.

NHA_ID = 1


def nexthop_object(data: bytes, at: int, end: int) -> Object:
    if end - at < 8:
        raise MalformedError("no head")
    return NextHopObject(number(attributes(data, at + 8, end).get(NHA_ID)))


# --- netfilter, IPsec

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


# struct xfrm_userpolicy_info: selector (56 bytes, its family at 40), lifetimes (64 and 32), priority, index, dir.
XFRM_FAMILY, XFRM_INDEX, XFRM_DIRECTION, XFRM_SIZE = 40, 156, 160, 168


def policy(data: bytes, at: int, end: int) -> Object:
    if end - at < XFRM_SIZE:
        raise MalformedError(f"{end - at} bytes, the fixed part has {XFRM_SIZE}")
    return Policy(
        family=U16.unpack_from(data, at + XFRM_FAMILY)[0],
        index=U32.unpack_from(data, at + XFRM_INDEX)[0],
        direction=data[at + XFRM_DIRECTION],
    )


# Not Netlink: what netlink.py reads from /proc with the rules, a message each.
SETTINGS = 255
MULTIPATH = struct.Struct("=BBB")


def multipath_settings(data: bytes, at: int, end: int) -> Object:
    if end - at != MULTIPATH.size:
        raise MalformedError(f"{end - at} bytes, it takes {MULTIPATH.size}")
    policy4, policy6, use_neigh = MULTIPATH.unpack_from(data, at)
    return Multipath(policy4, policy6, bool(use_neigh))


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
    (NETLINK_ROUTE, 36): ("RTM_NEWQDISC", Family.QDISC, NEW, qdisc),
    (NETLINK_ROUTE, 37): ("RTM_DELQDISC", Family.QDISC, DELETED, qdisc),
    (NETLINK_ROUTE, 80): ("RTM_NEWNETCONF", Family.NETCONF, NEW, netconf),
    (NETLINK_ROUTE, 81): ("RTM_DELNETCONF", Family.NETCONF, DELETED, netconf),
    (NETLINK_ROUTE, 104): ("RTM_NEWNEXTHOP", Family.NEXTHOP, NEW, nexthop_object),
    (NETLINK_ROUTE, 105): ("RTM_DELNEXTHOP", Family.NEXTHOP, DELETED, nexthop_object),
    (NETLINK_NETFILTER, NFT | 3): ("NFT_MSG_NEWCHAIN", Family.CHAIN, NEW, chain),
    (NETLINK_NETFILTER, NFT | 6): ("NFT_MSG_NEWRULE", Family.CHAIN, NEW, chain_rule),
    # A commit: the chains themselves are dumped, since a table takes its chains along.
    (NETLINK_NETFILTER, NFT | 15): ("NFT_MSG_NEWGEN", Family.CHAIN, NEW, something),
    (NETLINK_XFRM, 0x13): ("XFRM_MSG_NEWPOLICY", Family.POLICY, NEW, policy),
    (NETLINK_XFRM, 0x14): ("XFRM_MSG_DELPOLICY", Family.POLICY, DELETED, something),
    (NETLINK_XFRM, 0x19): ("XFRM_MSG_UPDPOLICY", Family.POLICY, NEW, policy),
    (NETLINK_XFRM, 0x1B): ("XFRM_MSG_POLEXPIRE", Family.POLICY, NEW, something),
    (NETLINK_XFRM, 0x1D): ("XFRM_MSG_FLUSHPOLICY", Family.POLICY, DELETED, something),
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
    name, family, change, decoder = known
    try:
        value = decoder(data, at, end)
    except IgnoredError:
        return None
    assert family is not None
    return Message(family, change, name, flags, value)
