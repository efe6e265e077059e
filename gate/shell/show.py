# SPDX-License-Identifier: BSD-3-Clause
"""Data as people read it: blocks that can be typed in again, single lines, tables; and JSON and XML. Pure.

    vrf main {
        interface physical eth0 {
            mtu 1400
            ipv4 address 192.0.2.1/24
        }
    }

A node with only one below it shares its line.
"""

import itertools
import json
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from _libyang import ffi
from sluice.mgmt import yang
from sluice.mgmt.yang import Format, Node, Tree
from sluice.shell import model
from sluice.shell.place import Place
from sluice.shell.words import quote

INDENT = "    "


def visible(node: Node, *, config: bool, state: bool, defaults: bool) -> bool:
    """Whether a leaf or a leaf-list's value is to be shown: configuration, state or both."""
    snode = node.schema
    if yang.is_default(node) and not defaults:
        return False
    return config if yang.is_config(snode) else state


class View:
    """Which of a tree's nodes count, and how they're written."""

    def __init__(
        self,
        tree: Tree,
        place: Place,
        *,
        config: bool = True,
        state: bool = False,
        defaults: bool = False,
    ) -> None:
        self.tree = tree
        self.place = place
        self.config, self.state, self.defaults = config, state, defaults or state

    def nodes(self) -> list[Node]:
        """What's at the place: the node, all entries of a list, or everything."""
        if not self.place.steps:
            return list(self.tree.roots())
        return self.tree.find(self.place.xpath())

    def below(self, node: Node) -> list[Node]:
        """A node's children that are shown, in the model's order as libyang has them; its keys aside."""
        if not node.schema.nodetype & model.INNER:
            return []
        found = []
        for child in yang.children(node):
            if child.schema == ffi.NULL or yang.is_key(child.schema):
                continue
            if child.schema.nodetype == yang.CONTAINER and not yang.is_presence(child.schema):
                if self.below(child):
                    found.append(child)
            elif child.schema.nodetype & model.INNER:
                if self._shown(child):
                    found.append(child)
            elif visible(child, config=self.config, state=self.state, defaults=self.defaults):
                found.append(child)
        return found

    def _shown(self, node: Node) -> bool:
        """A list entry or presence container: of this kind itself, or with something of this kind in it."""
        own = self.config if yang.is_config(node.schema) else self.state
        return own or bool(self.below(node))

    def words(self, node: Node) -> list[str]:
        """A node as it's typed, without what's below."""
        name = yang.name_of(node)
        kind = node.schema.nodetype
        if kind == yang.LIST:
            keys = [
                quote(yang.value_of(child))
                for child in yang.children(node)
                if yang.is_key(child.schema)
            ]
            return [name, *keys]
        if kind & model.TERMS:
            return [name] if model.is_empty(node.schema) else [name, quote(yang.value_of(node))]
        return [name]

    # Blocks

    def text(self) -> Iterator[str]:
        found = self.nodes()
        if len(found) == 1 and self._is_holder(found[0]):
            for child in self.below(found[0]):
                yield from self._block(child, [], 0)
            return
        for node in found:
            if self._has(node):
                yield from self._block(node, [], 0)

    def _is_holder(self, node: Node) -> bool:
        """Of the one node that was asked for, only what's in it is told."""
        one = self.place.is_entry or node.schema.nodetype == yang.CONTAINER
        return bool(self.place.steps) and one

    def _has(self, node: Node) -> bool:
        if node.schema == ffi.NULL:
            return False
        if node.schema.nodetype & model.TERMS:
            return visible(node, config=self.config, state=self.state, defaults=self.defaults)
        if node.schema.nodetype == yang.CONTAINER and not yang.is_presence(node.schema):
            return bool(self.below(node))
        return self._shown(node)

    def _block(self, node: Node, before: list[str], depth: int) -> Iterator[str]:
        words = before + self.words(node)
        inner = self.below(node)
        if not inner:
            yield INDENT * depth + " ".join(words)
        elif len(inner) == 1 and not (depth == 0 and not before):
            yield from self._block(inner[0], words, depth)
        else:
            yield INDENT * depth + " ".join([*words, "{"])
            for child in inner:
                yield from self._block(child, [], depth + 1)
            yield INDENT * depth + "}"

    # Single lines

    def flat(self) -> Iterator[str]:
        """Each value, entry and presence as one line from the root."""
        up = self.place.up.words() if self.place.steps else []
        for node in self.nodes():
            if self._has(node):
                yield from self._lines(node, up)

    def _lines(self, node: Node, before: list[str]) -> Iterator[str]:
        words = before + self.words(node)
        inner = self.below(node)
        if not inner:
            yield " ".join(["/", *words])
        for child in inner:
            yield from self._lines(child, words)

    # Tables

    def rows(self) -> list[dict[str, str]]:
        """The entries of the list at the place, or of the first one below: values by name."""
        found = [node for node in self.nodes() if self._has(node)]
        while found and not all(node.schema.nodetype == yang.LIST for node in found):
            inner = [child for node in found for child in self.below(node)]
            lists = [child for child in inner if child.schema.nodetype == yang.LIST]
            if lists:
                found = [child for child in lists if child.schema == lists[0].schema]
            elif any(child.schema.nodetype == yang.CONTAINER for child in inner):
                found = [child for child in inner if child.schema.nodetype == yang.CONTAINER]
            else:
                break
        return [dict(self._cells(node, "")) for node in found]

    def _cells(self, node: Node, before: str) -> Iterator[tuple[str, str]]:
        if node.schema.nodetype == yang.LIST and not before:
            for child in yang.children(node):
                if yang.is_key(child.schema):
                    yield yang.name_of(child), yang.value_of(child)
        for name, group in itertools.groupby(self.below(node), yang.name_of):
            same = list(group)
            kind = same[0].schema.nodetype
            if kind & model.TERMS:
                yield before + name, " ".join(yang.value_of(child) or "yes" for child in same)
            elif kind == yang.LIST:
                keys = (" ".join(self.words(child)[1:]) for child in same)
                yield before + name, ", ".join(key or "-" for key in keys)
            else:
                yield from self._cells(same[0], f"{before}{name} ")

    # For programs

    def value(self) -> dict[str, Any]:
        """RFC 7951's JSON as Python, from the root, of what's shown."""
        found: dict[str, Any] = json.loads(self.pruned().print(Format.JSON))
        return found

    def xml(self) -> str:
        return self.pruned().print(Format.XML, pretty=True)

    def pruned(self) -> Tree:
        """A copy with only what's shown."""
        copy = self.tree.copy()
        view = View(copy, self.place, config=self.config, state=self.state, defaults=self.defaults)
        wanted = {yang.address(node) for node in view.nodes()}
        for root in list(copy.roots()):
            view._prune(root, wanted, inside=not self.place.steps)
        return copy

    def _prune(self, node: Node, wanted: set[int], *, inside: bool) -> bool:
        """Drop what isn't shown; returns whether something is left."""
        inside = inside or yang.address(node) in wanted
        if node.schema == ffi.NULL:
            keep = False
        elif node.schema.nodetype & model.TERMS:
            keep = inside and visible(
                node, config=self.config, state=self.state, defaults=self.defaults
            )
        elif not node.schema.nodetype & model.INNER:
            keep = inside
        else:
            left = [
                self._prune(child, wanted, inside=inside)
                for child in list(yang.children(node))
                if child.schema == ffi.NULL or not yang.is_key(child.schema)
            ]
            keep = any(left) or (inside and self._has(node))
        if not keep:
            self.tree.drop(node)
        return keep


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """Rows under their names, columns aligned."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    widths = [max(len(name), *(len(row.get(name, "")) for row in rows)) for name in names]
    if not names:
        return
    yield "  ".join(n.ljust(w) for n, w in zip(names, widths, strict=True)).rstrip()
    yield "  ".join("-" * w for w in widths)
    for row in rows:
        cells = (row.get(name, "").ljust(w) for name, w in zip(names, widths, strict=True))
        yield "  ".join(cells).rstrip()


def difference(old: list[str], new: list[str]) -> Iterator[str]:
    """What to take away (-) and to add (+), in the order of the trees; both hold single lines."""
    for sign, mine, others in (("-", old, sorted(new)), ("+", new, sorted(old))):
        for line in mine:
            at = bisect_left(others, line)
            # An entry that was or becomes empty has no line of its own when there's something in it.
            if at == len(others) or not (others[at] + " ").startswith(line + " "):
                yield f"{sign} {line}"
