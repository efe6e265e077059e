# SPDX-License-Identifier: BSD-3-Clause
"""RPCs whose input and output are checked by their model: those that features bring."""

import inspect
import json
from typing import TYPE_CHECKING, Any

from _libyang import ffi, lib
from sluice.mgmt import yang
from sluice.mgmt.edit import Element, serialized, split
from sluice.mgmt.engine import errors
from sluice.mgmt.error import ConfigError
from sluice.mgmt.yang import Format, Schema, Tree

if TYPE_CHECKING:
    from sluice.mgmt.netconf.session import Session


def _operation(schema: Schema, data: bytes, fmt: int, kind: int, parent: Any = None) -> Any:
    """Read an operation's input or output; returns the operation's node, which the caller frees."""
    into = ffi.new("struct ly_in **")
    text = ffi.from_buffer(data + b"\0")
    lib.ly_in_new_memory(text, into)
    tree, operation = ffi.new("struct lyd_node **"), ffi.new("struct lyd_node **")
    try:
        code = lib.lyd_parse_op(schema.ctx, ffi.NULL, into[0], fmt, kind, tree, operation)
    finally:
        lib.ly_in_free(into[0], 0)
    if code != lib.LY_SUCCESS:
        lib.lyd_free_all(tree[0])
        schema.fail()
    return operation[0]


def read(schema: Schema, element: Element) -> dict[str, Any]:
    """An RPC's input as Python; ConfigError if the model doesn't allow it."""
    with errors():
        node = _operation(schema, serialized(element), lib.LYD_XML, lib.LYD_TYPE_RPC_YANG)
        tree = Tree(schema, node)
        schema.check(lib.lyd_validate_op(node, ffi.NULL, lib.LYD_TYPE_RPC_YANG, ffi.NULL))
        found: dict[str, Any] = yang.python_of(schema, tree.first)
    return found


def output(schema: Schema, module: str, name: str, value: dict[str, Any]) -> str:
    """An RPC's output as XML."""
    data = json.dumps({f"{module}:{name}": value}).encode()
    with errors():
        node = _operation(schema, data, lib.LYD_JSON, lib.LYD_TYPE_REPLY_YANG)
        tree = Tree(schema, node)
        first = lib.lyd_child(tree.first)
        return yang.print_nodes(first, Format.XML, whole=True)


def notification(schema: Schema, value: dict[str, Any]) -> Tree:
    """A notification from RFC 7951's JSON in Python."""
    data = json.dumps(value).encode()
    return Tree(schema, _operation(schema, data, lib.LYD_JSON, lib.LYD_TYPE_NOTIF_YANG))


async def call(session: "Session", element: Element) -> str:
    """An RPC that a feature answers."""
    engine = session.server.engine
    namespace, name = split(element)
    module = engine.schema.by_namespace(namespace)
    if module is None:
        raise ConfigError(
            f"no model has the namespace {namespace!r}",
            tag="unknown-namespace",
            type="protocol",
            info=(("bad-element", name), ("bad-namespace", namespace)),
        )
    owner = yang.text_of(module.name)
    handler = session.server.operations.get(f"{owner}:{name}")
    if handler is None:
        raise ConfigError(
            f"no operation {name!r}",
            tag="operation-not-supported",
            type="protocol",
            info=(("bad-element", name),),
        )
    session.access().execute(owner, name)
    result = handler(read(engine.schema, element))
    if inspect.isawaitable(result):
        result = await result
    return output(engine.schema, owner, name, result) if result else "<ok/>"
