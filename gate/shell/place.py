# SPDX-License-Identifier: BSD-3-Clause
"""Places in the tree: how they're written in libyang's paths, in XML and on the command line. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from _libyang import ffi, lib
from lxml import etree
from sluice.mgmt import yang
from sluice.mgmt.yang import Schema, SNode, text_of
from sluice.shell import model
from sluice.shell.words import quote

Element = Any  # lxml's

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
_STEP = re.compile(r"/(?:([\w.-]+):)?([\w.-]+)|\[((?:'[^']*'|\"[^\"]*\"|[^\]'\"])*)\]")
_PREDICATE = re.compile(r"\s*(?:([\w.-]+):)?([\w.-]+|\.)\s*=\s*('[^']*'|\"[^\"]*\")\s*")


@dataclass(frozen=True)
class Step:
    """A node on the way down. A list's keys are those of one entry, or none: all of them. A leaf-list's is a value."""

    snode: SNode
    keys: tuple[str, ...] = ()

    @property
    def is_entry(self) -> bool:
        return self.snode.nodetype == yang.LIST and bool(self.keys)


@dataclass(frozen=True)
class Place:
    """A node of the tree, or the root."""

    steps: tuple[Step, ...] = ()

    @property
    def snode(self) -> SNode | None:
        return self.steps[-1].snode if self.steps else None

    @property
    def up(self) -> "Place":
        return Place(self.steps[:-1])

    @property
    def is_entry(self) -> bool:
        return bool(self.steps) and self.steps[-1].is_entry

    def down(self, snode: SNode, keys: Iterable[str] = ()) -> "Place":
        return Place((*self.steps, Step(snode, tuple(keys))))

    def path(self) -> str:
        """Libyang's path: /module:a/b[key='x']."""
        result, module = "", ""
        for step in self.steps:
            own = model.module_of(step.snode)
            result += f"/{own}:" if own != module else "/"
            result += model.name_of(step.snode)
            module = own
            if step.snode.nodetype == yang.LEAFLIST and step.keys:
                result += f"[.={yang.quoted(step.keys[0])}]"
            elif step.keys:
                names = (model.name_of(key) for key in model.keys_of(step.snode))
                pairs = zip(names, step.keys, strict=True)
                result += "".join(f"[{name}={yang.quoted(value)}]" for name, value in pairs)
        return result or "/"

    def xpath(self) -> str:
        """The same with a module's name on every name, as XPath 1.0 over XML wants it."""
        result = ""
        for step in self.steps:
            module = model.module_of(step.snode)
            result += f"/{module}:{model.name_of(step.snode)}"
            if step.snode.nodetype == yang.LIST and step.keys:
                for key, value in zip(model.keys_of(step.snode), step.keys, strict=True):
                    result += f"[{module}:{model.name_of(key)}={yang.quoted(value)}]"
        return result

    def words(self) -> list[str]:
        """As it's typed from the root."""
        result = []
        for step in self.steps:
            result += [model.name_of(step.snode), *(quote(key) for key in step.keys)]
        return result

    def __str__(self) -> str:
        return " ".join(["/", *self.words()])

    def element(self) -> tuple[Element, Element]:
        """XML from the top down to this node, as edits and subtree filters want it: the first and the last element."""
        top: Element | None = None
        last: Element | None = None
        for step in self.steps:
            made = term(step.snode, step.keys[0] if self._is_value(step) else None)
            if last is None:
                top = made
            else:
                last.append(made)
            last = made
            if step.is_entry:
                for key, value in zip(model.keys_of(step.snode), step.keys, strict=True):
                    made.append(term(key, value))
        return top, last

    @staticmethod
    def _is_value(step: Step) -> bool:
        return bool(step.snode.nodetype & model.TERMS) and bool(step.keys)


def term(snode: SNode, value: str | None) -> Element:
    """A node's element; a value's prefix, if it's a module's name, gets its namespace."""
    namespace = text_of(snode.module.ns)
    nsmap: dict[str | None, str] = {None: namespace}
    prefix, colon, _ = (value or "").partition(":")
    if colon and snode.nodetype & model.TERMS:
        schema_module = _module(snode, prefix)
        if schema_module is not None:
            nsmap[prefix] = text_of(schema_module.ns)
    made = etree.Element(f"{{{namespace}}}{model.name_of(snode)}", nsmap=nsmap)
    made.text = value
    return made


def _module(snode: SNode, name: str) -> Any:
    """The module of an identity's prefix; None if the leaf takes no identities."""
    if not any(option.word.startswith(f"{name}:") for option in model.words(snode)):
        return None
    found = lib.ly_ctx_get_module_implemented(snode.module.ctx, name.encode())
    return None if found == ffi.NULL else found


def of_path(schema: Schema, path: str) -> Place | None:
    """The place that an error names: instance paths with or without prefixes on every name. None if there's no such."""
    place = Place()
    namespace = ""
    keys: dict[str, str] = {}
    for match in _STEP.finditer(path):
        if match[3] is not None:
            found = _PREDICATE.fullmatch(match[3])
            if found is None or not place.steps:
                return None
            keys[found[2]] = found[3][1:-1]
            step = place.steps[-1]
            names = [model.name_of(key) for key in model.keys_of(step.snode)]
            if step.snode.nodetype == yang.LEAFLIST:
                place = place.up.down(step.snode, (keys["."],)) if "." in keys else place
            elif all(name in keys for name in names):
                place = place.up.down(step.snode, (keys[name] for name in names))
            continue
        keys = {}
        if match[1]:
            module = schema.module(match[1])
            if module is None:
                return None
            namespace = text_of(module.ns)
        snode = schema.child(place.snode, namespace, match[2])
        if snode is None:
            return None
        place = place.down(snode)
    return place if place.steps else None


def below(schema: Schema, place: Place, target: str) -> Place | None:
    """The node of a schema path; lists that it shares with `place` have its keys."""
    snode = schema.find(target)
    if snode is None:
        return None
    way: list[SNode] = []
    node: SNode | None = snode
    while node is not None:
        way.insert(0, node)
        node = yang.data_parent(node)
    steps: list[Step] = []
    shared = True
    for index, node in enumerate(way):
        mine = place.steps[index] if shared and index < len(place.steps) else None
        shared = mine is not None and mine.snode == node
        steps.append(Step(node, mine.keys if mine is not None and shared else ()))
    return Place(tuple(steps))
