# SPDX-License-Identifier: BSD-3-Clause
"""What a request's filter selects: subtree filters (RFC 6241 section 6) and XPath."""

from collections.abc import Callable
from typing import Any

from _libyang import ffi, lib
from sluice.mgmt import yang
from sluice.mgmt.edit import Element, elements, split
from sluice.mgmt.error import ConfigError
from sluice.mgmt.yang import Node, Schema, SNode, Tree, YangError


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _matches_name(element: Element, snode: SNode) -> bool:
    """An element without a namespace matches any (section 6.2.1)."""
    namespace, name = split(element)
    if yang.text_of(snode.name) != name:
        return False
    return namespace in ("", yang.text_of(snode.module.ns))


class Subtree:
    """A subtree filter. Its selection nodes are empty, its content match nodes have text, the others hold more."""

    def __init__(self, schema: Schema, holder: Element) -> None:
        self.schema = schema
        self.top = list(elements(holder))

    def apply(self, tree: Tree) -> Tree:
        """A copy of what's selected; keys of list entries come along (RFC 7950 section 7.8.5)."""
        result = self.schema.empty()
        for node in self._picked(self.top, tree.first):
            result.merge_nodes(node)
        return result

    def _picked(self, wanted: list[Element], first: Node) -> list[Node]:
        """Copies of the nodes among siblings that a sibling set of the filter selects."""
        found: list[Node] = []
        direct = self._direct(wanted, first)
        for node in direct if direct is not None else yang.siblings(first):
            if node.schema == ffi.NULL:
                continue
            copy: Node | None = None
            for element in wanted:
                if not _matches_name(element, node.schema):
                    continue
                more = self._one(element, node)
                if more is None:
                    continue
                if copy is None:
                    copy = more
                else:
                    both = Tree(self.schema, copy)
                    both.merge_nodes(more)
                    copy = both.release()
            if copy is not None:
                found.append(copy)
        return found

    def _direct(self, wanted: list[Element], first: Node) -> list[Node] | None:
        """If a filter gives all keys of a list: the entry, found without looking at the others."""
        if len(wanted) != 1 or first == ffi.NULL or first.parent == ffi.NULL:
            return None
        given = {split(child)[1]: _text(child) for child in elements(wanted[0]) if _text(child)}
        if not given:
            return None
        parent = yang.parent_of(first)
        snode = None
        if parent is not None:
            namespace, name = split(wanted[0])
            module = namespace or yang.text_of(parent.schema.module.ns)
            snode = self.schema.child(parent.schema, module, name)
        if snode is None or snode.nodetype != yang.LIST:
            return None
        predicate = ""
        key = lib.lysc_node_child(snode)
        while key != ffi.NULL and yang.is_key(key):
            value = given.get(yang.text_of(key.name))
            if value is None or ("'" in value and '"' in value):
                return None
            predicate += f"[{yang.text_of(key.name)}={yang.quoted(value)}]"
            key = key.next
        if not predicate:
            return None
        entry = yang.sibling(first, snode, predicate)
        lib.ly_err_clean(self.schema.ctx, ffi.NULL)
        return [] if entry is None else [entry]

    def _one(self, element: Element, node: Node) -> Node | None:
        """What one filter element selects of a node it matches by name."""
        below = list(elements(element))
        if not below:
            wanted = _text(element)
            if wanted and yang.value_of(node) != wanted:
                return None
            return yang.duplicate(node)
        if not node.schema.nodetype & (yang.CONTAINER | yang.LIST):
            return None
        content = [child for child in below if not len(child) and _text(child)]
        for child in content:
            if not any(
                _matches_name(child, leaf.schema) and self._equal(leaf, child)
                for leaf in yang.children(node)
            ):
                return None
        if len(content) == len(below):
            return yang.duplicate(node)
        rest = self._picked([child for child in below if child not in content], lib.lyd_child(node))
        if not rest and not content:
            return None
        copy = yang.duplicate(node, deep=False)
        if content:
            rest = [
                *(
                    yang.duplicate(leaf)
                    for leaf in yang.children(node)
                    if any(_matches_name(c, leaf.schema) and self._equal(leaf, c) for c in content)
                ),
                *rest,
            ]
        for child in rest:
            if yang.is_key(child.schema):
                lib.lyd_free_tree(child)
            else:
                self.schema.check(lib.lyd_insert_child(copy, child))
        return copy

    @staticmethod
    def _equal(leaf: Node, element: Element) -> bool:
        wanted = _text(element)
        value = yang.value_of(leaf)
        return value == wanted or (
            ":" in wanted and value.rpartition(":")[2] == wanted.rpartition(":")[2]
        )

    def selects(self, snode: SNode) -> bool:
        """Whether it can select something at, below or above a schema node."""
        steps: list[SNode] = []
        here: SNode | None = snode
        while here is not None:
            steps.insert(0, here)
            here = yang.data_parent(here)
        return self._selects(self.top, steps)

    def _selects(self, wanted: list[Element], steps: list[SNode]) -> bool:
        if not steps:
            return True
        for element in wanted:
            if not _matches_name(element, steps[0]):
                continue
            below = [child for child in elements(element) if len(child) or not _text(child)]
            if not below or self._selects(below, steps[1:]):
                return True
        return False


class XPath:
    """An XPath filter; `names` gives the module of each prefix."""

    def __init__(self, schema: Schema, expression: str, names: dict[str, str]) -> None:
        self.schema = schema
        try:
            self.xpath = yang.module_prefixes(expression, names)
            self.targets = schema.selects(self.xpath)
        except KeyError as error:
            raise ConfigError(
                f"the XPath's prefix {error.args[0]!r} isn't declared",
                tag="bad-attribute",
                type="protocol",
                info=(("bad-attribute", "select"), ("bad-element", "filter")),
            ) from None
        except YangError as error:
            raise ConfigError(
                f"the XPath is wrong: {error.problems[0].text}",
                tag="bad-attribute",
                type="protocol",
                info=(("bad-attribute", "select"), ("bad-element", "filter")),
            ) from None

    def apply(self, tree: Tree) -> Tree:
        result = self.schema.empty()
        try:
            found = tree.find(self.xpath)
        except YangError as error:
            raise ConfigError(
                f"the XPath gives no nodes: {error.problems[0].text}",
                tag="bad-attribute",
                type="protocol",
                info=(("bad-attribute", "select"), ("bad-element", "filter")),
            ) from None
        for node in found:
            result.merge_nodes(yang.top_of(yang.duplicate(node, parents=True)))
        return result

    def selects(self, snode: SNode) -> bool:
        mine = _line(snode)
        return any(
            yang.address(target) in mine or yang.address(snode) in _line(target)
            for target in self.targets
        )


def _line(snode: SNode) -> set[int]:
    """A schema node and those above it."""
    found = set()
    here: SNode | None = snode
    while here is not None and here != ffi.NULL:
        found.add(yang.address(here))
        here = yang.data_parent(here)
    return found


Filter = Subtree | XPath


def wants(selection: Filter | None) -> Callable[[Any, Any], bool]:
    """For Engine.read_states: which providers a filter needs."""
    return lambda _state, snode: selection is None or selection.selects(snode)
