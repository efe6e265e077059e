# SPDX-License-Identifier: BSD-3-Clause
"""What the command line asks of a YANG model: which nodes are where, what they take, what to offer for them."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from _libyang import ffi, lib
from cffi import FFI
from sluice.mgmt import yang
from sluice.mgmt.yang import Schema, SNode, text_of
from sluice.shell.words import Option

# The binding keeps ranges opaque. A part is its least and its greatest value.
_more = FFI()
_more.cdef("struct range { struct { int64_t min; int64_t max; } *parts; };")

NODES = yang.CONTAINER | yang.LIST | yang.LEAF | yang.LEAFLIST
INNER = yang.CONTAINER | yang.LIST
TERMS = yang.LEAF | yang.LEAFLIST
SUGGEST = "suggest"  # the extension of sluice-cli.yang
SUGGEST_MODULE = "sluice-cli"

_UNSIGNED = {
    lib.LY_TYPE_UINT8: 8,
    lib.LY_TYPE_UINT16: 16,
    lib.LY_TYPE_UINT32: 32,
    lib.LY_TYPE_UINT64: 64,
}
_SIGNED = {
    lib.LY_TYPE_INT8: 8,
    lib.LY_TYPE_INT16: 16,
    lib.LY_TYPE_INT32: 32,
    lib.LY_TYPE_INT64: 64,
}


def array(pointer: Any) -> Iterator[Any]:
    """Items of one of libyang's sized arrays, whose length stands before it."""
    if pointer != ffi.NULL:
        for index in range(int(ffi.cast("uint64_t *", pointer)[-1])):
            yield pointer[index]


def name_of(snode: SNode) -> str:
    return text_of(snode.name)


def module_of(snode: SNode) -> str:
    return text_of(snode.module.name)


def sentence(text: str) -> str:
    """The first sentence of a description, on one line."""
    flat = " ".join(text.split())
    found = re.match(r"(.+?[.!?])(\s|$)", flat)
    return found[1] if found else flat


def help_of(snode: SNode) -> str:
    return sentence(text_of(snode.dsc))


def children(schema: Schema, parent: SNode | None) -> Iterator[SNode]:
    """Data nodes below a node, or at the top, in the model's order; through choices and cases."""
    if parent is None:
        for module in schema.implemented():
            # libyang adds what replies are made of to ietf-netconf, which has no data.
            if module.compiled != ffi.NULL and text_of(module.name) != "ietf-netconf":
                yield from _next(ffi.NULL, module.compiled)
    elif parent.nodetype & INNER:
        yield from _next(parent, ffi.NULL)


def _next(parent: Any, module: Any) -> Iterator[SNode]:
    found = lib.lys_getnext(ffi.NULL, parent, module, 0)
    while found != ffi.NULL:
        if found.nodetype & NODES:
            yield found
        found = lib.lys_getnext(found, parent, module, 0)


@cache
def keys_of(snode: SNode) -> list[SNode]:
    return [child for child in _next(snode, ffi.NULL) if yang.is_key(child)]


@cache
def options(schema: Schema, parent: SNode | None, *, config: bool = False) -> list[Option]:
    """What can be named below a node, keys aside. Where two modules use a name, it has the module's before it.

    Remembered, as what else is asked for each line of a long file: schemas are never freed.
    """
    found = [
        child
        for child in children(schema, parent)
        if not yang.is_key(child)
        and (yang.is_config(child) or not config)
        and not child.flags & (lib.LYS_STATUS_OBSLT | lib.LYS_STATUS_DEPRC)
    ]
    names = [name_of(child) for child in found]
    return [
        Option(
            name if names.count(name) == 1 else f"{module_of(child)}:{name}", help_of(child), child
        )
        for name, child in zip(names, found, strict=True)
    ]


@cache
def only_keys(schema: Schema, snode: SNode) -> bool:
    """Whether there's nothing to configure but that it's there."""
    return all(yang.is_key(child) or not yang.is_config(child) for child in children(schema, snode))


def type_of(snode: SNode) -> Any:
    """A leaf's or leaf-list's type, a leafref's target's in its place."""
    kind = (
        "struct lysc_node_leaf *" if snode.nodetype == yang.LEAF else "struct lysc_node_leaflist *"
    )
    return _real(ffi.cast(kind, snode).type)


def _real(kind: Any) -> Any:
    while kind.basetype == lib.LY_TYPE_LEAFREF:
        kind = ffi.cast("struct lysc_type_leafref *", kind).realtype
    return kind


def units_of(snode: SNode) -> str:
    kind = (
        "struct lysc_node_leaf *" if snode.nodetype == yang.LEAF else "struct lysc_node_leaflist *"
    )
    return text_of(ffi.cast(kind, snode).units)


def is_mandatory(snode: SNode) -> bool:
    return bool(snode.flags & lib.LYS_MAND_TRUE)


def is_empty(snode: SNode) -> bool:
    """A leaf that's only there or not."""
    return bool(type_of(snode).basetype == lib.LY_TYPE_EMPTY)


def _members(kind: Any) -> Iterator[Any]:
    """A type, or all that a union is made of."""
    kind = _real(kind)
    if kind.basetype == lib.LY_TYPE_UNION:
        for member in array(ffi.cast("struct lysc_type_union *", kind).types):
            yield from _members(member)
    else:
        yield kind


def words(snode: SNode) -> list[Option]:
    """The values that can be listed: enumerations, booleans, identities, bits; also those of a union's members."""
    found: list[Option] = []
    for kind in _members(type_of(snode)):
        if kind.basetype == lib.LY_TYPE_ENUM:
            for item in array(ffi.cast("struct lysc_type_enum *", kind).enums):
                found.append(Option(text_of(item.name), sentence(text_of(item.dsc))))
        elif kind.basetype == lib.LY_TYPE_BITS:
            for item in array(ffi.cast("struct lysc_type_bits *", kind).bits):
                found.append(Option(text_of(item.name), sentence(text_of(item.dsc))))
        elif kind.basetype == lib.LY_TYPE_BOOL:
            found += [Option("true", ""), Option("false", "")]
        elif kind.basetype == lib.LY_TYPE_IDENT:
            for base in array(ffi.cast("struct lysc_type_identityref *", kind).bases):
                found += _identities(base, snode)
    return found


def _identities(base: Any, snode: SNode) -> Iterator[Option]:
    for identity in array(base.derived):
        name, module = text_of(identity.name), text_of(identity.module.name)
        word = name if module == module_of(snode) else f"{module}:{name}"
        yield Option(word, sentence(text_of(identity.dsc)))
        yield from _identities(identity, snode)


def _listable(kind: Any) -> bool:
    return kind.basetype in (
        lib.LY_TYPE_ENUM,
        lib.LY_TYPE_BOOL,
        lib.LY_TYPE_IDENT,
        lib.LY_TYPE_BITS,
    )


def _ranges(pointer: Any, bits: int, *, signed: bool) -> str:
    """`68 to 65535`; nothing where all that the type can hold is allowed."""
    if pointer == ffi.NULL:
        return ""
    mask = (1 << 64) - 1
    parts = _more.cast("struct range *", yang.address(pointer)).parts
    count = int(_more.cast("uint64_t *", parts)[-1])
    texts = []
    for index in range(count):
        low, high = parts[index].min, parts[index].max
        if not signed:
            low, high = low & mask, high & mask
        if high == mask:
            texts.append(f"at least {low}")
        else:
            texts.append(str(low) if low == high else f"{low} to {high}")
    del bits
    return " or ".join(texts)


def _span(bits: int, *, signed: bool) -> str:
    return f"{-(1 << bits - 1)} to {(1 << bits - 1) - 1}" if signed else f"0 to {(1 << bits) - 1}"


def _typedef(schema: Schema, name: str) -> str:
    """What a typedef of this name says it is."""
    for module in schema.modules():
        if module.parsed == ffi.NULL:
            continue
        for typedef in array(module.parsed.typedefs):
            if text_of(typedef.name) == name:
                return sentence(text_of(typedef.dsc))
    return ""


def _expected(schema: Schema, kind: Any) -> str:
    base = kind.basetype
    name = text_of(kind.name)
    if base in _UNSIGNED or base in _SIGNED:
        signed = base in _SIGNED
        bits = (_SIGNED if signed else _UNSIGNED)[base]
        number = ffi.cast("struct lysc_type_num *", kind)
        span = _ranges(number.range, bits, signed=signed) or _span(bits, signed=signed)
        return f"a number, {span}"
    if base == lib.LY_TYPE_DEC64:
        decimal = ffi.cast("struct lysc_type_dec *", kind)
        return f"a number with up to {decimal.fraction_digits} digits after the point"
    if _listable(kind):
        return ""
    known = {
        "ipv4-address": "an IPv4 address: 192.0.2.1",
        "ipv4-address-no-zone": "an IPv4 address: 192.0.2.1",
        "ipv6-address": "an IPv6 address: 2001:db8::1",
        "ipv6-address-no-zone": "an IPv6 address: 2001:db8::1",
        "ip-address": "an IPv4 or IPv6 address",
        "ipv4-prefix": "an IPv4 prefix: 192.0.2.0/24",
        "ipv6-prefix": "an IPv6 prefix: 2001:db8::/32",
        "ip-prefix": "an IPv4 or IPv6 prefix: 192.0.2.0/24",
        "mac-address": "a MAC address: 02:00:00:00:00:01",
        "date-and-time": "a date and time: 2026-01-31T12:00:00Z",
    }
    if name in known:
        return known[name]
    described = _typedef(schema, name)
    if described:
        return described.rstrip(".")
    if base == lib.LY_TYPE_STRING:
        text = ffi.cast("struct lysc_type_str *", kind)
        span = _ranges(text.length, 64, signed=False)
        patterns = [text_of(item.expr) for item in array(text.patterns)]
        result = f"text of {span} characters" if span else "text"
        return result + (f" like {' and '.join(patterns)}" if patterns else "")
    if base == lib.LY_TYPE_INST:
        return "a path in the tree"
    if base == lib.LY_TYPE_BINARY:
        return "bytes in base64"
    return "a value"


def expects(schema: Schema, snode: SNode) -> str:
    """What a leaf takes, in words: `a number, 68 to 65535 (bytes)`."""
    texts: list[str] = []
    for kind in _members(type_of(snode)):
        text = _expected(schema, kind)
        if text and text not in texts:
            texts.append(text)
    listable = [option.word for option in words(snode)]
    if listable:
        shown = ", ".join(listable[:12]) + (", ..." if len(listable) > 12 else "")
        texts.append(f"one of {shown}" if len(listable) > 1 else shown)
    units = units_of(snode)
    return ", or ".join(texts) + (f" ({units})" if units else "")


def problem(schema: Schema, snode: SNode, value: str) -> str | None:
    """Why a leaf can't have this value, by its type alone."""
    if schema.valid(snode, value):
        return None
    return f"{name_of(snode)} can't be {value!r}"


def references(schema: Schema, snode: SNode) -> list[str]:
    """Where a leafref's values are, as paths without predicates; also of a union's members."""
    kind = (
        "struct lysc_node_leaf *" if snode.nodetype == yang.LEAF else "struct lysc_node_leaflist *"
    )
    own = ffi.cast(kind, snode).type
    if own.basetype not in (lib.LY_TYPE_LEAFREF, lib.LY_TYPE_UNION):
        return []
    out = ffi.new("struct ly_set **")
    if lib.lysc_node_lref_targets(snode, out) != lib.LY_SUCCESS:
        lib.ly_err_clean(schema.ctx, ffi.NULL)
        return []
    found = [yang.schema_path(out[0].snodes[index]) for index in range(out[0].count)]
    lib.ly_set_free(out[0], ffi.NULL)
    return found


def referrers(schema: Schema, snode: SNode) -> list[SNode]:
    """The leafrefs that lead to a leaf."""
    out = ffi.new("struct ly_set **")
    if lib.lysc_node_lref_backlinks(schema.ctx, snode, 0, out) != lib.LY_SUCCESS:
        lib.ly_err_clean(schema.ctx, ffi.NULL)
        return []
    found = [out[0].snodes[index] for index in range(out[0].count)]
    lib.ly_set_free(out[0], ffi.NULL)
    return found


def suggestions(snode: SNode) -> list[str]:
    """Where values worth offering are, as the model's sluice-cli:suggest says: paths without predicates."""
    return [
        text_of(item.argument)
        for item in array(snode.exts)
        if text_of(getattr(item, "def").name) == SUGGEST
        and text_of(getattr(item, "def").module.name) == SUGGEST_MODULE
    ]


def operations(schema: Schema) -> Iterator[SNode]:
    """All RPCs of the models."""
    for module in schema.implemented():
        if module.compiled != ffi.NULL:
            yield from _rpcs(module.compiled)


def _rpcs(module: Any) -> Iterator[SNode]:
    found = lib.lys_getnext(ffi.NULL, ffi.NULL, module, 0)
    while found != ffi.NULL:
        if found.nodetype == lib.LYS_RPC:
            yield found
        found = lib.lys_getnext(found, ffi.NULL, module, 0)


def inputs(rpc: SNode) -> list[SNode]:
    """What an RPC takes."""
    return list(_next(rpc, ffi.NULL))
