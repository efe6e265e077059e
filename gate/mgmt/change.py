# SPDX-License-Identifier: BSD-3-Clause
"""From trees to what appliers get: the entries that a diff touches, or that a whole configuration has."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from _libyang import ffi, lib
from sluice.mgmt import yang
from sluice.mgmt.feature import Applier, Entry, Watch
from sluice.mgmt.yang import Node, Schema, Tree

Found = dict[Applier, list[Entry]]


@dataclass
class _Spot:
    """What's of interest at a schema node."""

    watchers: list[tuple[Applier, Watch]] = field(default_factory=list)
    below: bool = False  # something further down is watched too


class Watchers:
    """Who watches which schema node."""

    def __init__(self, schema: Schema, appliers: Iterable[Applier]) -> None:
        self.schema = schema
        self.appliers = sorted(appliers, key=lambda applier: (applier.order, applier.name))
        self.spots: dict[Any, _Spot] = {}  # by schema node
        self.unknown: list[str] = []
        for applier in self.appliers:
            for watch in applier.watches:
                snode = schema.find(watch.path)
                if snode is None:
                    self.unknown.append(f"{applier.name}: no node {watch.path} in the models")
                    continue
                self._spot(snode).watchers.append((applier, watch))
                above = yang.data_parent(snode)
                while above is not None:
                    self._spot(above).below = True
                    above = yang.data_parent(above)

    def _spot(self, snode: Any) -> _Spot:
        return self.spots.setdefault(snode, _Spot())

    # Of a diff

    def changed(self, diff: Tree, old: Tree, new: Tree) -> Found:
        """The entries that a diff, made with defaults, touches."""
        found: Found = {applier: [] for applier in self.appliers}
        for node in diff.roots():
            self._changed(node, "none", (), old, new, found)
        return found

    def _changed(
        self, node: Node, above: str, keys: tuple[str, ...], old: Tree, new: Tree, found: Found
    ) -> None:
        spot = self.spots.get(node.schema)
        if spot is None:
            return
        operation = yang.meta_of(node, "operation") or above
        if node.schema.nodetype == yang.LIST:
            keys += key_values(node)
        for applier, watch in spot.watchers:
            if not watch.deep and operation in ("none", "replace") and not own_leaves(node):
                continue
            path = yang.path_of(node)
            before = after = None
            if operation == "create":
                after = value(self.schema, node, watch)
            elif operation == "delete":
                before = value(self.schema, node, watch)
            else:
                was, now = old.at(path), new.at(path)
                before = None if was is None else value(self.schema, was, watch)
                after = None if now is None else value(self.schema, now, watch)
            found[applier].append(Entry(path, watch.path, keys, before, after))
        if spot.below:
            for child in yang.children(node):
                self._changed(child, operation, keys, old, new, found)

    def repeat(self, found: Found, new: Tree) -> None:
        """Add the unchanged entries of appliers that depend on others that have something to do."""
        busy = {applier.name for applier, entries in found.items() if entries}
        repeated = {applier for applier in self.appliers if busy & set(applier.again)}
        if not repeated:
            return
        known = {entry.path for applier in repeated for entry in found[applier]}
        for applier, watch, path, keys, node in self._walk(new):
            if applier in repeated and path not in known:
                there = value(self.schema, node, watch)
                found[applier].append(Entry(path, watch.path, keys, there, there))

    # Of whole configurations

    def all(self, owned: list[Tree], wanted: Tree) -> Found:
        """Every entry of some configurations: wanted as `new`, what else may be there as `old`."""
        values: dict[tuple[Applier, str, str], tuple[tuple[str, ...], Any, Any]] = {}
        for tree in owned:
            for applier, watch, path, keys, node in self._walk(tree):
                values[applier, watch.path, path] = (keys, value(self.schema, node, watch), None)
        for applier, watch, path, keys, node in self._walk(wanted):
            old = values.get((applier, watch.path, path), (keys, None, None))[1]
            values[applier, watch.path, path] = (keys, old, value(self.schema, node, watch))
        found: Found = {applier: [] for applier in self.appliers}
        for (applier, schema, path), (keys, old, new) in values.items():
            found[applier].append(Entry(path, schema, keys, old, new))
        return found

    def _walk(self, tree: Tree) -> Iterator[tuple[Applier, Watch, str, tuple[str, ...], Node]]:
        waiting: list[tuple[Node, tuple[str, ...]]] = [(node, ()) for node in tree.roots()]
        while waiting:
            node, keys = waiting.pop(0) if len(waiting) < 64 else waiting.pop()
            spot = self.spots.get(node.schema)
            if spot is None:
                continue
            if node.schema.nodetype == yang.LIST:
                keys += key_values(node)
            for applier, watch in spot.watchers:
                yield applier, watch, yang.path_of(node), keys, node
            if spot.below:
                waiting += [(child, keys) for child in yang.children(node)]


def key_values(node: Node) -> tuple[str, ...]:
    values = []
    child = lib.lyd_child(node)
    while child != ffi.NULL and child.schema.flags & lib.LYS_KEY:
        values.append(ffi.string(lib.lyd_get_value(child)).decode())
        child = child.next
    return tuple(values)


def own_leaves(node: Node) -> bool:
    """Whether a diff changes a leaf of this node itself."""
    return any(
        child.schema.nodetype & (yang.LEAF | yang.LEAFLIST) and not yang.is_key(child.schema)
        for child in yang.children(node)
    )


def value(schema: Schema, node: Node, watch: Watch) -> dict[str, Any]:
    if watch.deep:
        result: dict[str, Any] = yang.python_of(schema, node)
        return result
    shallow: dict[str, Any] = {}
    for child in yang.children(node):
        if child.schema.nodetype & (yang.LEAF | yang.LEAFLIST):
            yang.put(schema, shallow, yang.name_of(child), child)
    return shallow
