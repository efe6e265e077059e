# SPDX-License-Identifier: BSD-3-Clause
"""nftables rules, as far as the fast path knows what they do: those that clamp the maximum segment size of TCP.

Strict: a rule counts as understood only if each of its expressions, to the last attribute, is what `nft` makes of

    [iifname NAME] [oifname NAME] tcp flags syn tcp option maxseg size set rt mtu | N

with `tcp flags & MASK == VALUE` for the flags too. Whatever else it holds (a counter, another order) makes it one that
isn't understood, and its chain keeps all packets on Linux's path.
"""

from collections.abc import Sequence

from sluice.cmgrd.kernel import Clamp

Attributes = tuple[tuple[int, bytes], ...]
Expression = tuple[str, Attributes]
"""Name, and the attributes of NFTA_EXPR_DATA in the order of their types; nested ones as bytes."""

NAME_SIZE = 16
META_IIFNAME, META_OIFNAME, META_L4PROTO = 6, 7, 16
CMP_EQ, CMP_NEQ = 0, 1
TCP, SYN = 6, 2


def be32(value: int) -> bytes:
    """As netfilter has its numbers."""
    return value.to_bytes(4)


def value(data: bytes) -> bytes:
    """The attribute NFTA_DATA_VALUE around some bytes."""
    length = 4 + len(data)
    return length.to_bytes(2, "little") + b"\1\0" + data + bytes(-length % 4)


REGISTER = be32(1)


def meta(key: int) -> Expression:
    return "meta", ((1, REGISTER), (2, be32(key)))


def cmp(operation: int, data: bytes) -> Expression:
    return "cmp", ((1, REGISTER), (2, be32(operation)), (3, value(data)))


TCP_FLAGS: Expression = (
    "payload",
    ((1, REGISTER), (2, be32(2)), (3, be32(13)), (4, be32(1))),
)


def masked(mask: int) -> Expression:
    # Source and destination register, length, operation (mask and xor), mask, xor.
    return "bitwise", (
        (1, REGISTER),
        (2, REGISTER),
        (3, be32(1)),
        (4, value(bytes((mask,)))),
        (5, value(b"\0")),
        (6, be32(0)),
    )


ROUTE_MSS: tuple[Expression, ...] = (
    ("rt", ((1, REGISTER), (2, be32(3)))),
    ("byteorder", ((1, REGISTER), (2, REGISTER), (3, be32(1)), (4, be32(2)), (5, be32(2)))),
)
# Type 2 (maximum segment size), offset 2, length 2, no flags, operation TCP option, source register.
SET_MSS: Expression = (
    "exthdr",
    ((2, b"\2"), (3, be32(2)), (4, be32(2)), (5, be32(0)), (6, be32(1)), (7, REGISTER)),
)


class _Reader:
    """Expressions one after the other."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self.left = list(expressions)

    def take(self, *wanted: Expression) -> bool:
        """Whether these come next; if so, goes past them."""
        if tuple(self.left[: len(wanted)]) != wanted:
            return False
        del self.left[: len(wanted)]
        return True

    def name(self, key: int) -> str | None:
        """The interface's name that a rule compares with; "" if it doesn't, None if it isn't understood."""
        if not self.take(meta(key)):
            return ""
        if not self.left:
            return None
        data = dict(self.left[0][1]).get(3, b"")[4:]
        text = data.split(b"\0", 1)[0]
        # Shorter data would match all names that begin so.
        if len(data) != NAME_SIZE or not text or not self.take(cmp(CMP_EQ, data)):
            return None
        return text.decode(errors="replace") if text.isascii() else None


def clamp(expressions: Sequence[Expression]) -> Clamp | None:
    """What a rule with these expressions does, None if it isn't surely that."""
    reader = _Reader(expressions)
    names = {}
    for key in (META_IIFNAME, META_OIFNAME):
        name = reader.name(key)
        if name is None:
            return None
        names[key] = name
    if not reader.take(meta(META_L4PROTO), cmp(CMP_EQ, bytes((TCP,))), TCP_FLAGS):
        return None
    if len(reader.left) < 2:
        return None
    mask = int.from_bytes(dict(reader.left[0][1]).get(4, b"")[4:5])
    wanted = int.from_bytes(dict(reader.left[1][1]).get(3, b"")[4:5])
    if not reader.take(masked(mask)):
        return None
    if mask == SYN and reader.take(cmp(CMP_NEQ, b"\0")):
        wanted = SYN
    elif (
        not wanted & mask & SYN or wanted & ~mask or not reader.take(cmp(CMP_EQ, bytes((wanted,))))
    ):
        return None
    size = 0
    if not reader.take(*ROUTE_MSS):
        if not reader.left:
            return None
        data = dict(reader.left[0][1]).get(2, b"")[4:6]
        size = int.from_bytes(data)
        if not size or not reader.take(("immediate", ((1, REGISTER), (2, value(data))))):
            return None
    if not reader.take(SET_MSS) or reader.left:
        return None
    return Clamp(mask, wanted, names[META_IIFNAME], names[META_OIFNAME], size)
