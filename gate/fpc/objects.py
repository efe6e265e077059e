# SPDX-License-Identifier: BSD-3-Clause
"""Objects: between Python values and the C structs of the features' fpc_NAME.h, which cffi knows
from the headers.

The struct of feature NAME is struct fpc_NAME. Its fields in Python and JSON:

  numbers                  int; `flags` also as a list of names, where the header has an enum
  fpc_X_flags: ["UP", "RUNNING"] char[]                   str
  uint8_t[6]               "02:00:00:00:00:01"
  uint8_t[16] beside a `family` field: "192.0.2.1", "2001:db8::1"; "" for family 0
  other bytes              hex
  arrays of structs        list; field n_FIELD, if there is one, is its length
  structs                  a dictionary
  fields named pad...      left out
"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from _sluice import ffi, lib

# A C struct; cffi has no types for these.
type Struct = Any
type Fields = dict[str, Any]

ADDRESS_SIZE: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}


@dataclass(frozen=True)
class Feature:
    """A feature's FPC side. `size` 0: it has no objects."""

    name: str
    id: int
    size: int
    key_size: int
    known_flags: int
    owner: int
    secret: slice  # of the object; `mask`

    @property
    def struct(self) -> str:
        """The C type of its object."""
        return f"struct fpc_{self.name}"


def load() -> dict[str, Feature]:
    """All features, in the order of a sync."""
    found = (lib.features[i] for i in range(lib.n_features))
    return {
        name: Feature(
            name,
            f.id,
            f.msg_size,
            f.key_size,
            f.known_flags,
            f.owner,
            slice(f.secret_at, f.secret_at + f.secret_size),
        )
        for f in found
        for name in [ffi.string(f.name).decode()]
    }


FEATURES = load()
BY_ID = {f.id: f for f in FEATURES.values()}


def feature(which: str | int | Feature) -> Feature:
    """By name or number; KeyError."""
    if isinstance(which, Feature):
        return which
    return FEATURES[which] if isinstance(which, str) else BY_ID[which]


def mask(which: str | int | Feature, body: bytes) -> bytes:
    """The body as it may be shown: with zeros where it's secret, as feature_mask() does."""
    secret = feature(which).secret
    return body[: secret.start] + bytes(len(body[secret])) + body[secret.stop :]


@cache
def flag_names(struct: str) -> dict[str, int]:
    """The flags of `struct fpc_x`, by name without prefix, lowest first."""
    prefix = struct.removeprefix("struct ")
    try:
        values = ffi.typeof(f"enum {prefix}_flags").relements
    except ffi.error:
        return {}
    flags: dict[str, int] = {n.removeprefix(f"{prefix.upper()}_"): v for n, v in values.items()}
    return dict(sorted(flags.items(), key=lambda item: item[1]))


def flags_from(struct: str, value: int | Iterable[str]) -> int:
    """A flags field's number, from a number or names."""
    if isinstance(value, int):
        return value
    names = flag_names(struct)
    return sum(names[name] for name in set(value))


def flags_to(struct: str, value: int) -> int | list[str]:
    """Names; the number where not all of it has names."""
    names = flag_names(struct)
    if not names or value & ~sum(names.values()):
        return value
    return [name for name, bit in names.items() if value & bit]


def bytes_from(value: str | bytes | Iterable[int], size: int) -> bytes:
    """A byte array's content from a MAC address, an IP address, hex or bytes."""
    if isinstance(value, str):
        if value.count(":") == 5 and size == 6:
            data = bytes(int(part, 16) for part in value.split(":"))
        elif "." in value or ":" in value:
            data = ipaddress.ip_address(value).packed
        else:
            data = bytes.fromhex(value)
    else:
        data = bytes(value)
    if len(data) > size:
        raise ValueError(f"{value!r} takes more than {size} bytes")
    return data.ljust(size, b"\0")


def fill(struct: Struct, type_: Any, fields: Mapping[str, Any]) -> None:
    """Write Python values into a zeroed C struct. KeyError for a field it doesn't have."""
    known = dict(type_.fields)
    for name, value in fields.items():
        if name not in known:
            raise KeyError(f"{type_.cname} has no field '{name}'")
        kind = known[name].type
        if kind.kind == "array" and kind.item.kind == "struct":
            items = list(value)
            for i, item in enumerate(items):
                fill(getattr(struct, name)[i], kind.item, item)
            if f"n_{name}" in known and f"n_{name}" not in fields:
                setattr(struct, f"n_{name}", len(items))
        elif kind.kind == "struct":
            fill(getattr(struct, name), kind, value)
        elif kind.kind == "array" and kind.item.cname == "char":
            setattr(struct, name, value.encode() if isinstance(value, str) else value)
        elif kind.kind == "array" and kind.item.cname == "uint8_t":
            ffi.memmove(getattr(struct, name), bytes_from(value, kind.length), kind.length)
        elif name == "flags":
            struct.flags = flags_from(type_.cname, value)
        else:
            setattr(struct, name, value)


def new(which: str | int | Feature, /, **fields: Any) -> Struct:
    """The feature's C struct (`struct fpc_NAME *`), filled; what isn't given is 0."""
    f = feature(which)
    struct = ffi.new(f"{f.struct} *")
    fill(struct, ffi.typeof(f.struct), fields)
    return struct


def to_body(which: str | int | Feature, struct: Struct) -> bytes:
    """A filled struct as the body of a SET: without the zeros at its end."""
    f = feature(which)
    body = bytes(ffi.buffer(struct, f.size))
    return body.rstrip(b"\0").ljust(f.key_size, b"\0")


def encode(which: str | int | Feature, /, **fields: Any) -> bytes:
    """The body of a SET."""
    return to_body(which, new(which, **fields))


def encode_key(which: str | int | Feature, /, **fields: Any) -> bytes:
    """The body of a DEL, from the key's fields (others are ignored)."""
    f = feature(which)
    return bytes(ffi.buffer(new(f, **fields), f.key_size))


def show(struct: Struct, type_: Any, end: int) -> Fields:
    """A struct's fields below offset `end` as Python values."""
    known = dict(type_.fields)
    shown: Fields = {}
    for name, field in type_.fields:
        kind, value = field.type, getattr(struct, name)
        if name.startswith("pad") or field.offset >= end:
            continue
        if kind.kind == "struct":
            shown[name] = show(value, kind, ffi.sizeof(kind))
        elif kind.kind == "array" and kind.item.kind == "struct":
            count = getattr(struct, f"n_{name}") if f"n_{name}" in known else kind.length
            shown[name] = [
                show(value[i], kind.item, ffi.sizeof(kind.item))
                for i in range(min(count, kind.length))
            ]
        elif kind.kind == "array" and kind.item.cname == "char":
            shown[name] = ffi.string(value, kind.length).decode(errors="replace")
        elif kind.kind == "array" and kind.item.cname in ("uint8_t", "unsigned char"):
            shown[name] = bytes_to(bytes(ffi.buffer(value)), getattr(struct, "family", None))
        elif kind.kind == "array":
            shown[name] = list(value)
        elif kind.kind == "struct":
            shown[name] = show(value, kind, ffi.sizeof(kind))
        elif name == "flags":
            shown[name] = flags_to(type_.cname, value)
        elif name.startswith("n_") and name[2:] in known:
            continue
        else:
            shown[name] = int(value)
    return shown


def bytes_to(data: bytes, family: int | None) -> str:
    """A byte array as text."""
    if len(data) == 6:
        return data.hex(":")
    if len(data) == 16 and family is not None:
        size = ADDRESS_SIZE.get(family, 0)
        if size and not any(data[size:]):
            return str(ipaddress.ip_address(data[:size]))
        if not any(data):
            return ""
    return data.hex()


def decode(which: str | int | Feature, body: bytes) -> Fields:
    """An object's fields as Python values that JSON knows, from the body of a SET."""
    f = feature(which)
    struct = ffi.new(f"{f.struct} *")
    ffi.memmove(struct, body[: f.size], min(len(body), f.size))
    return show(struct, ffi.typeof(f.struct), f.size)


def decode_key(which: str | int | Feature, body: bytes) -> Fields:
    """Likewise the key's fields alone."""
    f = feature(which)
    struct = ffi.new(f"{f.struct} *")
    ffi.memmove(struct, body[: f.key_size], min(len(body), f.key_size))
    return show(struct, ffi.typeof(f.struct), f.key_size)
