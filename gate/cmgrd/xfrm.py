# SPDX-License-Identifier: BSD-3-Clause
"""NETLINK_XFRM's wire format (linux/xfrm.h), as wire.py does for the others.

Messages about security associations hold their keys. These go into the objects and nowhere else: `masked` is what may
be written or shown of a message.
"""

import struct

from sluice.cmgrd import wire
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    Algorithm,
    Encap,
    Family,
    Object,
    Policy,
    PolicyDefault,
    Sa,
    SaKey,
    SaMigration,
    Selector,
    Template,
)
from sluice.cmgrd.wire import DELETED, NETLINK_XFRM, NEW, IgnoredError, MalformedError

(
    NEWSA, DELSA, GETSA, NEWPOLICY, DELPOLICY, GETPOLICY, ALLOCSPI, ACQUIRE, EXPIRE, UPDPOLICY, UPDSA, POLEXPIRE,
    FLUSHSA, FLUSHPOLICY,
) = range(0x10, 0x1E)  # fmt: skip
MIGRATE, SETDEFAULT, GETDEFAULT = 0x21, 0x27, 0x28

SELECTOR = struct.Struct("=16s16s2s2s2s2sHBBB3xiI")
ID = struct.Struct("=16s4sB3x")
LIMITS = struct.Struct(
    "=QQQQ32x"
)  # struct xfrm_lifetime_cfg: bytes, packets; seconds are the kernel's alone
USED = struct.Struct("=QQQ8x")  # struct xfrm_lifetime_cur: bytes, packets, since when
USERSA = struct.Struct("=56s24s16s64s32s12xIIHBBB7x")
USERSA_ID = struct.Struct("=16s4sHBx")
USERPOLICY = struct.Struct("=56s64x32xIIBBBB4x")
TEMPLATE = struct.Struct("=16s4sB3xHxx16sIBBBxIII")
ENCAP = struct.Struct("=H2s2s2x16x")
ALGORITHM = struct.Struct("=64sI")  # and the key, its length in bits
ALGORITHM_LONG = struct.Struct("=64sII")  # with a length of what packets carry, in bits
REPLAY = struct.Struct("=III")
REPLAY_ESN = struct.Struct("=IIIIII")
MARK = struct.Struct("=II")

ALG_AUTH, ALG_CRYPT, ALG_COMP, ENCAPSULATION, TMPL, SA, POLICY, SEC_CTX, LTIME, REPLAY_VAL = range(
    1, 11
)
ALG_AEAD, ALG_AUTH_TRUNC, MARK_, TFCPAD, REPLAY_ESN_VAL, EXTRA_FLAGS = 18, 20, 21, 22, 23, 24
COADDR, LASTUSED, POLICY_TYPE, SRCADDR, RTHR, ETHR, PROTO, PAD = 14, 15, 16, 13, 11, 12, 25, 27
OFFLOAD_DEV, SET_MARK, SET_MARK_MASK, IF_ID, MTIMER, SA_DIR, NAT_KEEPALIVE = (
    28,
    29,
    30,
    31,
    32,
    33,
    34,
)
# Attributes of an SA that are in kernel.Sa, or are of no consequence for a packet.
SA_KNOWN = {
    ALG_AUTH, ALG_CRYPT, ALG_AEAD, ALG_AUTH_TRUNC, ENCAPSULATION, SA, MARK_, REPLAY_VAL, REPLAY_ESN_VAL,
    EXTRA_FLAGS, SET_MARK, SET_MARK_MASK, IF_ID, SA_DIR,
    LTIME, RTHR, ETHR, LASTUSED, SRCADDR, PAD, MTIMER, NAT_KEEPALIVE, OFFLOAD_DEV,
}  # fmt: skip
POLICY_KNOWN = {TMPL, POLICY, MARK_, IF_ID, POLICY_TYPE, LASTUSED, PAD, OFFLOAD_DEV}
# Attributes that hold keys: the length of what stands before each.
SECRET = {
    ALG_AUTH: ALGORITHM.size,
    ALG_CRYPT: ALGORITHM.size,
    ALG_AEAD: ALGORITHM_LONG.size,
    ALG_AUTH_TRUNC: ALGORITHM_LONG.size,
}

STATE_WILDRECV = 8
XFLAGS_KNOWN = 0x3  # DONT_ENCAP_DSCP, OSEQ_MAY_WRAP
POLICY_ICMP, POLICY_CPU_ACQUIRE = 2, 4
DEFAULT_BLOCK = 1
ESP, AH = 50, 51


def trimmed(family: int, address: bytes) -> bytes:
    """16 bytes without what a union may hold behind an IPv4 address."""
    return address[:4] + bytes(12) if family == AF_INET else address


def selector(data: bytes) -> tuple[Selector, int]:
    """And the user's number, which belongs to sockets."""
    dst, src, dport, dport_mask, sport, sport_mask, family, dst_plen, src_plen, proto, ifindex, user = (
        SELECTOR.unpack(data)
    )  # fmt: skip
    if max(dst_plen, src_plen) > (32 if family == AF_INET else 128):
        raise MalformedError(f"a prefix of {max(dst_plen, src_plen)} bits in family {family}")
    found = Selector(
        family=family,
        dst=trimmed(family, dst),
        dst_plen=dst_plen,
        src=trimmed(family, src),
        src_plen=src_plen,
        proto=proto,
        dport=dport,
        dport_mask=dport_mask,
        sport=sport,
        sport_mask=sport_mask,
        ifindex=ifindex,
    )
    return found, user


def mark(a: dict[int, bytes]) -> tuple[int, int]:
    """Value and mask; zeros: any packet."""
    data = a.get(MARK_, bytes(MARK.size))
    if len(data) != MARK.size:
        raise MalformedError(f"a mark of {len(data)} bytes")
    value, mask = MARK.unpack(data)
    return value, mask


def algorithm(data: bytes, layout: struct.Struct) -> Algorithm:
    if len(data) < layout.size:
        raise MalformedError(f"an algorithm of {len(data)} bytes")
    name, key_bits, *rest = layout.unpack_from(data)
    size = (key_bits + 7) // 8
    if size > len(data) - layout.size:
        raise MalformedError(f"a key of {key_bits} bits in {len(data) - layout.size} bytes")
    icv_bits = rest[0] if rest else 0
    return Algorithm(wire.text(name), data[layout.size : layout.size + size], icv_bits // 8)


def sa_key(a: dict[int, bytes], family: int, dst: bytes, spi: bytes, proto: int) -> SaKey:
    value, mask = mark(a)
    return SaKey(family, proto, trimmed(family, dst), spi, value, mask)


def sa(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_NEWSA, XFRM_MSG_UPDSA."""
    wire.head(USERSA, data, at, end)
    sel, ident, src, limits, used, _, reqid, family, mode, window, flags = USERSA.unpack_from(
        data, at
    )
    a = wire.attributes(data, at + USERSA.size, end)
    dst, spi, proto = ID.unpack(ident)
    if family not in (AF_INET, AF_INET6):
        raise MalformedError(f"an SA of family {family}")
    if (proto == ESP and not a.keys() & {ALG_CRYPT, ALG_AEAD}) or (
        proto == AH and not a.keys() & {ALG_AUTH, ALG_AUTH_TRUNC}
    ):
        raise IgnoredError  # larval: a number is reserved, or a negotiation goes on
    found, user = selector(sel)
    unknown = [f"attribute {kind}" for kind in sorted(a.keys() - SA_KNOWN - {TFCPAD})]
    if wire.number(a.get(TFCPAD)):
        unknown.append("padding")
    extra = wire.number(a.get(EXTRA_FLAGS))
    if extra & ~XFLAGS_KNOWN or flags & STATE_WILDRECV:
        unknown.append("flags")
    if user:
        unknown.append("user")
    esn = a.get(REPLAY_ESN_VAL)
    replay = (0, 0, 0, 0)
    if esn is not None:
        if len(esn) < REPLAY_ESN.size:
            raise MalformedError(f"a replay state of {len(esn)} bytes")
        _, oseq, seq, oseq_hi, seq_hi, window = REPLAY_ESN.unpack_from(esn)
        replay = (oseq, oseq_hi, seq, seq_hi)
    elif REPLAY_VAL in a:
        if len(a[REPLAY_VAL]) != REPLAY.size:
            raise MalformedError(f"a replay state of {len(a[REPLAY_VAL])} bytes")
        oseq, seq, _ = REPLAY.unpack(a[REPLAY_VAL])
        replay = (oseq, 0, seq, 0)
    encap = None
    if ENCAPSULATION in a:
        if len(a[ENCAPSULATION]) < ENCAP.size:
            raise MalformedError(f"an encapsulation of {len(a[ENCAPSULATION])} bytes")
        encap = Encap(*ENCAP.unpack_from(a[ENCAPSULATION]))
    # The kernel tells both; only the one with the length can be used.
    auth = algorithm(a[ALG_AUTH_TRUNC], ALGORITHM_LONG) if ALG_AUTH_TRUNC in a else None
    if auth is None and ALG_AUTH in a:
        unknown.append("attribute 1 alone")
    n_bytes, n_packets, added = USED.unpack(used)
    set_mark = wire.number(a.get(SET_MARK))
    return Sa(
        key=sa_key(a, family, dst, spi, proto),
        src=trimmed(family, src),
        mode=mode,
        flags=flags,
        extra_flags=extra,
        reqid=reqid,
        selector=found,
        replay_window=window,
        limits=LIMITS.unpack(limits),
        used=(n_bytes, n_packets),
        added=added,
        replay=replay,
        crypt=algorithm(a[ALG_CRYPT], ALGORITHM) if ALG_CRYPT in a else None,
        auth=auth,
        aead=algorithm(a[ALG_AEAD], ALGORITHM_LONG) if ALG_AEAD in a else None,
        encap=encap,
        direction=wire.number(a.get(SA_DIR)),
        if_id=wire.number(a.get(IF_ID)),
        set_mark=set_mark,
        set_mark_mask=wire.number(a.get(SET_MARK_MASK), 0xFFFFFFFF if set_mark else 0),
        unknown=", ".join(unknown),
    )


def sa_deleted(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_DELSA."""
    wire.head(USERSA_ID, data, at, end)
    dst, spi, family, proto = USERSA_ID.unpack_from(data, at)
    return sa_key(wire.attributes(data, at + USERSA_ID.size, end), family, dst, spi, proto)


def hard(data: bytes, at: int, end: int, size: int) -> int:
    """Where the attributes of an XFRM_MSG_EXPIRE or _POLEXPIRE begin. A soft limit changes nothing: IgnoredError."""
    if end - at < size + 8:
        raise MalformedError(f"{end - at} bytes, the fixed part has {size + 8}")
    if not data[at + size]:
        raise IgnoredError
    return at + size + 8


def sa_expired(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_EXPIRE: the kernel says nothing else when it deletes an SA for its age."""
    behind = hard(data, at, end, USERSA.size)
    _, ident, _, _, _, _, _, family, *_ = USERSA.unpack_from(data, at)
    return sa_key(wire.attributes(data, behind, end), family, *ID.unpack(ident))


def template(data: bytes) -> Template:
    dst, spi, proto, family, src, reqid, mode, _, optional, auth_algs, enc_algs, _ = (
        TEMPLATE.unpack(data)
    )
    return Template(
        family=family,
        dst=trimmed(family, dst),
        src=trimmed(family, src),
        spi=spi,
        proto=proto,
        mode=mode,
        reqid=reqid,
        optional=bool(optional),
        auth_algs=auth_algs,
        enc_algs=enc_algs,
    )


def policy_of(data: bytes, a: dict[int, bytes]) -> Policy:
    """From a struct xfrm_userpolicy_info and the attributes beside it."""
    sel, priority, index, direction, action, flags, _ = USERPOLICY.unpack(data)
    found, user = selector(sel)
    unknown = [f"attribute {kind}" for kind in sorted(a.keys() - POLICY_KNOWN)]
    if any(a.get(POLICY_TYPE, b"")[:1]):
        unknown.append("type")
    if flags & POLICY_CPU_ACQUIRE:
        unknown.append("flags")
    if user:
        unknown.append("user")
    templates = a.get(TMPL, b"")
    if len(templates) % TEMPLATE.size:
        raise MalformedError(f"templates of {len(templates)} bytes")
    value, mask = mark(a)
    return Policy(
        family=found.family,
        index=index,
        direction=direction,
        selector=found,
        priority=priority,
        action=action,
        icmp=bool(flags & POLICY_ICMP),
        mark=value,
        mark_mask=mask,
        if_id=wire.number(a.get(IF_ID)),
        templates=tuple(
            template(templates[i : i + TEMPLATE.size])
            for i in range(0, len(templates), TEMPLATE.size)
        ),
        unknown=", ".join(unknown),
    )


def policy(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_NEWPOLICY, XFRM_MSG_UPDPOLICY."""
    wire.head(USERPOLICY, data, at, end)
    fixed = data[at : at + USERPOLICY.size]
    return policy_of(fixed, wire.attributes(data, at + USERPOLICY.size, end))


def policy_deleted(data: bytes, at: int, end: int) -> Object | None:
    """XFRM_MSG_DELPOLICY: the policy that is gone stands in an attribute."""
    if end - at < SELECTOR.size + 8:
        raise MalformedError(f"{end - at} bytes, the fixed part has {SELECTOR.size + 8}")
    a = wire.attributes(data, at + SELECTOR.size + 8, end)
    if len(a.get(POLICY, b"")) != USERPOLICY.size:
        return None
    return policy_of(a[POLICY], a)


def policy_expired(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_POLEXPIRE, for which the same holds as for an SA's."""
    behind = hard(data, at, end, USERPOLICY.size)
    return policy_of(data[at : at + USERPOLICY.size], wire.attributes(data, behind, end))


def policy_default(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_GETDEFAULT's answer: for packets that come in, are forwarded, are sent."""
    if end - at < 3:
        raise MalformedError(f"{end - at} bytes, the fixed part has 3")
    return PolicyDefault(DEFAULT_BLOCK in (data[at + 1], data[at + 2]))


def migration(data: bytes, at: int, end: int) -> Object:
    """XFRM_MSG_MIGRATE."""
    return SaMigration()


wire.TYPES |= {
    (NETLINK_XFRM, NEWSA): ("XFRM_MSG_NEWSA", Family.SA, NEW, sa),
    (NETLINK_XFRM, UPDSA): ("XFRM_MSG_UPDSA", Family.SA, NEW, sa),
    (NETLINK_XFRM, DELSA): ("XFRM_MSG_DELSA", Family.SA, DELETED, sa_deleted),
    (NETLINK_XFRM, EXPIRE): ("XFRM_MSG_EXPIRE", Family.SA, DELETED, sa_expired),
    # Those of one protocol, or all: a dump tells which are left.
    (NETLINK_XFRM, FLUSHSA): ("XFRM_MSG_FLUSHSA", Family.SA, DELETED, wire.something),
    (NETLINK_XFRM, MIGRATE): ("XFRM_MSG_MIGRATE", Family.SA, NEW, migration),
    (NETLINK_XFRM, NEWPOLICY): ("XFRM_MSG_NEWPOLICY", Family.POLICY, NEW, policy),
    (NETLINK_XFRM, UPDPOLICY): ("XFRM_MSG_UPDPOLICY", Family.POLICY, NEW, policy),
    (NETLINK_XFRM, DELPOLICY): ("XFRM_MSG_DELPOLICY", Family.POLICY, DELETED, policy_deleted),
    (NETLINK_XFRM, POLEXPIRE): ("XFRM_MSG_POLEXPIRE", Family.POLICY, DELETED, policy_expired),
    (NETLINK_XFRM, FLUSHPOLICY): (
        "XFRM_MSG_FLUSHPOLICY",
        Family.POLICY,
        DELETED,
        wire.something,
    ),
    (NETLINK_XFRM, SETDEFAULT): ("XFRM_MSG_SETDEFAULT", Family.POLICY, NEW, wire.something),
    (NETLINK_XFRM, GETDEFAULT): ("XFRM_MSG_GETDEFAULT", Family.POLICY, NEW, policy_default),
}

# Bytes before the attributes, by message.
FIXED = {
    NEWSA: USERSA.size,
    UPDSA: USERSA.size,
    DELSA: USERSA_ID.size,
    EXPIRE: USERSA.size + 8,
}


def masked(kind: int, payload: bytes) -> bytes:
    """The message as it may be written down: with zeros for keys, and for attributes that aren't known. What can't be
    read is left out.
    """
    if kind not in FIXED:
        return payload
    found = bytearray(payload)
    at, end = FIXED[kind], len(payload)
    while end - at >= wire.NLA.size:
        length, attribute = wire.NLA.unpack_from(payload, at)
        if not wire.NLA.size <= length <= end - at:
            return bytes(found[:at])
        attribute &= wire.NLA_TYPE_MASK
        if attribute in SECRET or attribute not in SA_KNOWN:
            start = min(at + wire.NLA.size + SECRET.get(attribute, 0), at + length)
            found[start : at + length] = bytes(at + length - start)
        at += (length + 3) & ~3
    return bytes(found[:at])
