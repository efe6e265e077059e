# SPDX-License-Identifier: BSD-3-Clause
"""edit-config's algorithm (RFC 6241 section 7.2, RFC 7950 sections 7.5.8 to 7.8.6) on a tree of libyang's.

The edit stays XML: deletions needn't hold valid values, and attributes are easy to see there. Elements without an
operation attribute in or below them, most of a large edit, are read and merged by libyang in one go (*bulk*); the
others are walked one by one. Nothing is validated beyond what reading needs (RFC 7950 section 8.3.3).
"""

from collections.abc import Iterable
from typing import Any

from _libyang import ffi, lib
from lxml import etree
from sluice.mgmt import yang
from sluice.mgmt.error import ConfigError, Fault, from_yang
from sluice.mgmt.yang import Format, Node, Schema, SNode, Tree, YangError

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
YANG = "urn:ietf:params:xml:ns:yang:1"
OPERATION = f"{{{BASE}}}operation"
INSERT, KEY, VALUE = f"{{{YANG}}}insert", f"{{{YANG}}}key", f"{{{YANG}}}value"
OPERATIONS = ("merge", "replace", "create", "delete", "remove", "none")
Element = Any  # lxml.etree._Element

# RFC 6243 section 6: the namespace of the attribute `default`.
DEFAULTS = "urn:ietf:params:xml:ns:netconf:default:1.0"
DEFAULT = f"{{{DEFAULTS}}}default"
_TAGGED = etree.XPath(".//*[@wd:default]", namespaces={"wd": DEFAULTS})
_MARKED = etree.XPath(
    ".//*[@nc:operation or @y:insert or @y:key or @y:value]", namespaces={"nc": BASE, "y": YANG}
)


def split(element: Element) -> tuple[str, str]:
    """An element's namespace and name."""
    tag: str = element.tag
    if tag.startswith("{"):
        namespace, _, name = tag[1:].partition("}")
        return namespace, name
    return "", tag


def elements(parent: Element) -> Iterable[Element]:
    """Child elements, without comments."""
    return (child for child in parent if isinstance(child.tag, str))


def serialized(element: Element) -> bytes:
    text: bytes = etree.tostring(element, with_tail=False)
    return text


def _bad(tag: str, text: str, path: str, *info: tuple[str, str]) -> ConfigError:
    return ConfigError(text, tag=tag, path=path, info=info)


class Editor:
    """Applies one <config> to a tree, in place: hand over a copy. With `keep_going` errors are collected and what
    can be done is done (continue-on-error).
    """

    def __init__(self, schema: Schema, tree: Tree, *, keep_going: bool = False) -> None:
        self.schema = schema
        self.tree = tree
        self.keep_going = keep_going
        self.faults: list[Fault] = []
        self.marked: set[Element] = set()
        self._choices: dict[int, bool] = {}

    def run(self, config: Element, default_operation: str = "merge") -> None:
        """Raises ConfigError; with keep_going only after all that could be done."""
        for element in _TAGGED(config):
            self.untag(element)
        for element in _MARKED(config):
            operation = element.get(OPERATION)
            if operation is not None and operation not in OPERATIONS[:5]:
                raise ConfigError(
                    f"no operation {operation!r}; there are {', '.join(OPERATIONS[:5])}",
                    tag="bad-attribute",
                    info=(("bad-attribute", "operation"), ("bad-element", split(element)[1])),
                )
            while element is not None and element is not config and element not in self.marked:
                self.marked.add(element)
                element = element.getparent()
        if default_operation == "replace":
            # The whole configuration is replaced by what's given (section 7.2).
            lib.lyd_free_all(self.tree.release())
            default_operation = "merge"
        self.level(config, None, None, default_operation)
        if self.faults:
            raise ConfigError.of(self.faults)

    def untag(self, element: Element) -> None:
        """A leaf tagged as default is what the model says (RFC 6243 section 4.5.2): nobody says it then."""
        tagged = element.attrib.pop(DEFAULT) in ("true", "1")
        if not tagged or element.get(OPERATION) in ("delete", "remove"):
            return
        line = [element, *element.iterancestors()]
        snode: SNode | None = None
        for step in reversed(
            line[: next(n for n, e in enumerate(line) if split(e)[1] == "config")]
        ):
            snode = self.schema.child(snode, *split(step))
            if snode is None:
                return  # told when it's walked
        value = (element.text or "").strip()
        if snode is None or yang.default_of(snode) != value:
            raise ConfigError(
                f"{value!r} is tagged as default, and isn't",
                tag="invalid-value",
                info=(("bad-element", split(element)[1]),),
            )
        element.set(OPERATION, "remove")

    def level(
        self, holder: Element, sparent: SNode | None, parent: Node | None, operation: str
    ) -> None:
        """Apply the child elements of one element; `parent` is its node in the tree."""
        bulk: list[Element] = []
        cases: dict[int, int] = {}
        for element in elements(holder):
            try:
                snode = self.schema_of(element, sparent, parent)
                if yang.is_key(snode):
                    continue
                mine = element.get(OPERATION, operation)
                if mine not in ("delete", "remove", "none"):
                    self.one_case(snode, cases, parent)
                if mine == "merge" and element not in self.marked:
                    bulk.append(element)
                    continue
                # In the order of the document, as far as anybody could tell the difference.
                self.flush(bulk, sparent, parent)
                self.one(element, snode, parent, mine)
            except ConfigError as error:
                self.failed(error)
            except YangError as error:
                self.failed(from_yang(error))
        try:
            self.flush(bulk, sparent, parent)
        except YangError as error:
            self.failed(from_yang(error))

    def failed(self, error: ConfigError) -> None:
        if not self.keep_going:
            raise error
        self.faults += error.faults

    def schema_of(self, element: Element, sparent: SNode | None, parent: Node | None) -> SNode:
        namespace, name = split(element)
        snode = self.schema.child(sparent, namespace, name)
        path = "" if parent is None else yang.path_of(parent)
        if snode is None and self.schema.by_namespace(namespace) is None:
            raise _bad(
                "unknown-namespace",
                f"no model has the namespace {namespace!r}",
                path,
                ("bad-element", name),
                ("bad-namespace", namespace),
            )
        if snode is None or snode.nodetype & (yang.OPERATION | yang.NOTIFICATION):
            raise _bad("unknown-element", f"no {name!r} here", path, ("bad-element", name))
        if not yang.is_config(snode):
            raise _bad(
                "unknown-element",
                f"{name!r} is state, not configuration",
                path,
                ("bad-element", name),
            )
        return snode

    def one_case(self, snode: SNode, cases: dict[int, int], parent: Node | None) -> None:
        """An edit mustn't hold data of two cases of a choice (RFC 7950 section 8.3.1)."""
        above = snode.parent
        while above != ffi.NULL and above.nodetype == yang.CASE:
            choice = above.parent
            if cases.setdefault(yang.address(choice), yang.address(above)) != yang.address(above):
                raise _bad(
                    "bad-element",
                    f"data for more than one case of {yang.text_of(choice.name)!r}",
                    "" if parent is None else yang.path_of(parent),
                    ("bad-element", yang.text_of(snode.name)),
                )
            above = choice.parent

    # In bulk

    def flush(self, bulk: list[Element], sparent: SNode | None, parent: Node | None) -> None:
        """Merge elements that libyang can read by itself."""
        waiting = bulk[:]
        bulk.clear()
        if not waiting:
            return
        try:
            self.merge(waiting, sparent, parent)
        except YangError:
            if not self.keep_going:
                raise
            for element in waiting:
                try:
                    self.finer(element, sparent, parent)
                except YangError as error:
                    self.failed(from_yang(error))
                except ConfigError as error:
                    self.failed(error)

    def finer(self, element: Element, sparent: SNode | None, parent: Node | None) -> None:
        """Merge what's good of an element that isn't good as a whole."""
        snode = self.schema_of(element, sparent, parent)
        if not snode.nodetype & (yang.CONTAINER | yang.LIST):
            self.merge([element], sparent, parent)
            return
        if self.instance(element, snode, parent) is None:
            self.merge([self.skeleton(element, snode)], None, parent)
        self.level(element, snode, self.instance(element, snode, parent), "merge")

    def merge(self, found: list[Element], sparent: SNode | None, parent: Node | None) -> None:
        text = b"".join(serialized(element) for element in found)
        if parent is None:
            edit = self.schema.parse(text, Format.XML)
            self.make_room(edit.first, None)
            self.tree.merge(edit)
            return
        copy = yang.duplicate(parent, parents=True, deep=False)
        top = yang.top_of(copy)
        try:
            self.schema.parse_below(copy, text)
        except YangError:
            lib.lyd_free_all(top)
            raise
        self.make_room(lib.lyd_child(copy), parent)
        self.tree.merge_nodes(top)

    def make_room(self, edit: Node, parent: Node | None) -> None:
        """Drop what's in other cases of the choices that an edit's siblings decide, and so on below them.

        `parent` is the tree's node that they're going to be below.
        """
        cases: dict[int, int] = {}
        for node in yang.siblings(edit):
            if not self.has_choice(node.schema):
                continue
            self.one_case(node.schema, cases, parent)
            self.drop_other_cases(node.schema, parent)
            first = self.first(parent)
            if first == ffi.NULL or not node.schema.nodetype & (yang.CONTAINER | yang.LIST):
                continue
            keys = "".join(
                f"[{yang.name_of(key)}={yang.quoted(yang.value_of(key))}]"
                for key in yang.children(node)
                if yang.is_key(key.schema)
            )
            match = yang.sibling(first, node.schema, keys or None)
            if match is not None:
                self.make_room(lib.lyd_child(node), match)

    def has_choice(self, snode: SNode) -> bool:
        """Whether a node is in a choice or has one below it."""
        key = yang.address(snode)
        if key not in self._choices:
            self._choices[key] = snode.parent != ffi.NULL and snode.parent.nodetype == yang.CASE
            if not self._choices[key]:
                child = lib.lysc_node_child(snode)
                while child != ffi.NULL and not self._choices[key]:
                    self._choices[key] = child.nodetype == yang.CHOICE or self.has_choice(child)
                    child = child.next
        return self._choices[key]

    def drop_other_cases(self, snode: SNode, parent: Node | None) -> None:
        above = snode.parent
        while above != ffi.NULL and above.nodetype == yang.CASE:
            choice = above.parent
            for node in list(yang.siblings(self.first(parent))):
                step = node.schema.parent
                while step != ffi.NULL and step.nodetype in (yang.CASE, yang.CHOICE):
                    if step.parent == choice and step != above:
                        self.tree.drop(node)
                        break
                    step = step.parent
            above = choice.parent

    # One by one

    def first(self, parent: Node | None) -> Node:
        return self.tree.first if parent is None else lib.lyd_child(parent)

    def one(self, element: Element, snode: SNode, parent: Node | None, operation: str) -> None:
        name = yang.text_of(snode.name)
        if element.get(INSERT) is not None and not yang.is_user_ordered(snode):
            raise _bad(
                "unknown-attribute",
                f"insert: the user doesn't order {name!r}",
                "" if parent is None else yang.path_of(parent),
                ("bad-attribute", "insert"),
                ("bad-element", name),
            )
        old = self.instance(element, snode, parent)
        there = old is not None and not self.implicit(old)
        if operation in ("delete", "none") and not there and not self.virtual(snode, operation):
            raise _bad(
                "data-missing",
                f"there's no {self.label(element, snode)}",
                self.path(element, snode, parent),
            )
        if operation in ("delete", "remove"):
            if old is not None and there:
                self.tree.drop(old)
            return
        if operation == "create" and there:
            raise _bad(
                "data-exists",
                f"{self.label(element, snode)} exists already",
                self.path(element, snode, parent),
            )
        where = element.get(INSERT)
        if where is not None:
            self.place(element, snode, parent, where, old)
        if operation == "replace" and old is not None:
            self.clear(old)
            operation = "merge"
        if snode.nodetype & (yang.LEAF | yang.LEAFLIST | yang.ANY):
            if operation != "none":
                self.merge([self.bare(element)], None, parent)
        elif operation in ("merge", "create", "replace") and self.plain(element):
            self.merge([self.bare(element)], None, parent)
        else:
            if old is None:
                self.merge([self.skeleton(element, snode)], None, parent)
                old = self.instance(element, snode, parent)
            self.level(element, snode, old, "merge" if operation == "replace" else operation)
        if where is not None:
            self.move(element, snode, parent, where)

    def plain(self, element: Element) -> bool:
        """Whether no element below has an attribute of ours."""
        return not any(child in self.marked for child in elements(element))

    @staticmethod
    def bare(element: Element) -> Element:
        """A copy without our attributes, in the same namespaces."""
        if not element.attrib:
            return element
        copy = etree.fromstring(serialized(element))
        for attribute in (OPERATION, INSERT, KEY, VALUE):
            copy.attrib.pop(attribute, None)
        return copy

    def skeleton(self, element: Element, snode: SNode) -> Element:
        """An element with nothing but a list's keys."""
        copy = etree.Element(element.tag, nsmap=element.nsmap)
        for child in elements(element):
            found = self.schema.child(snode, *split(child))
            if found is not None and yang.is_key(found):
                etree.SubElement(copy, child.tag, nsmap=child.nsmap).text = child.text
        return copy

    def implicit(self, node: Node) -> bool:
        """Whether a node is only there because the model says so."""
        return yang.is_default(node)

    @staticmethod
    def virtual(snode: SNode, operation: str) -> bool:
        """A container without presence is always there to be walked through."""
        return operation == "none" and bool(
            snode.nodetype == yang.CONTAINER and not yang.is_presence(snode)
        )

    def clear(self, node: Node) -> None:
        """Drop what's in a container or a list entry; it keeps its place among others."""
        if node.schema.nodetype & (yang.CONTAINER | yang.LIST):
            for child in list(yang.children(node)):
                if not yang.is_key(child.schema):
                    self.tree.drop(child)

    def instance(self, element: Element, snode: SNode, parent: Node | None) -> Node | None:
        """The node of the tree that an element means, or None."""
        first = self.first(parent)
        if first == ffi.NULL:
            return None
        if snode.nodetype == yang.LIST:
            return yang.sibling(first, snode, self.keys(element, snode, parent))
        if snode.nodetype == yang.LEAFLIST:
            found = yang.sibling(first, snode, self.text(element, snode))
            lib.ly_err_clean(self.schema.ctx, ffi.NULL)
            return found
        return yang.sibling(first, snode)

    def text(self, element: Element, snode: SNode) -> str:
        """An element's value; an identity's prefix becomes its module."""
        value = (element.text or "").strip() if len(element) == 0 else ""
        if ":" in value and self.schema.kind(snode)[2] == lib.LY_TYPE_IDENT:
            prefix, _, name = value.partition(":")
            module = self.schema.by_namespace(element.nsmap.get(prefix, ""))
            if module is not None:
                return f"{yang.text_of(module.name)}:{name}"
        return value

    def keys(self, element: Element, snode: SNode, parent: Node | None) -> str:
        """A list entry's keys as a predicate, in the model's order."""
        given = {split(child)[1]: child for child in elements(element)}
        result = ""
        key = lib.lysc_node_child(snode)
        while key != ffi.NULL and yang.is_key(key):
            name = yang.text_of(key.name)
            if name not in given:
                raise _bad(
                    "missing-element",
                    f"the key {name!r} is missing",
                    ("" if parent is None else yang.path_of(parent)) + self.step(snode, parent),
                    ("bad-element", name),
                )
            result += f"[{name}={yang.quoted(self.text(given[name], key))}]"
            key = key.next
        return result

    @staticmethod
    def step(snode: SNode, parent: Node | None) -> str:
        name = yang.text_of(snode.name)
        module = yang.text_of(snode.module.name)
        if parent is not None and yang.text_of(parent.schema.module.name) == module:
            return f"/{name}"
        return f"/{module}:{name}"

    def path(self, element: Element, snode: SNode, parent: Node | None) -> str:
        above = "" if parent is None else yang.path_of(parent)
        path = above + self.step(snode, parent)
        if snode.nodetype == yang.LIST:
            return path + self.keys(element, snode, parent)
        if snode.nodetype == yang.LEAFLIST:
            return f"{path}[.={yang.quoted(self.text(element, snode))}]"
        return path

    def label(self, element: Element, snode: SNode) -> str:
        name = yang.text_of(snode.name)
        if snode.nodetype == yang.LIST:
            return f"{name}{self.keys(element, snode, None)}"
        if snode.nodetype == yang.LEAFLIST:
            return f"{name} {self.text(element, snode)!r}"
        return name

    def move(self, element: Element, snode: SNode, parent: Node | None, where: str) -> None:
        """The insert attribute of lists and leaf-lists that the user orders (RFC 7950 sections 7.7.9, 7.8.6)."""
        node = self.instance(element, snode, parent)
        if node is None:
            return
        others = [
            other
            for other in yang.siblings(lib.lyd_first_sibling(node))
            if other.schema == snode and other != node
        ]
        if where in ("before", "after"):
            anchor = self.anchor(element, snode, parent, self.path(element, snode, parent))
        elif others:
            anchor = others[0] if where == "first" else others[-1]
        else:
            return
        before = where in ("first", "before")
        if parent is None and before and anchor == self.tree.first:
            self.tree.release()
            self.schema.check(lib.lyd_insert_before(anchor, node))
            self.tree.insert_first(node)
            return
        call = lib.lyd_insert_before if before else lib.lyd_insert_after
        if parent is None and node == self.tree.first:
            self.tree.insert_first(others[0])
        self.schema.check(call(anchor, node))

    def place(
        self, element: Element, snode: SNode, parent: Node | None, where: str, old: Node | None
    ) -> None:
        """Refuse an insert attribute that says no place, before anything is changed."""
        path = self.path(element, snode, parent)
        info = (("bad-attribute", "insert"), ("bad-element", yang.text_of(snode.name)))
        if where not in ("first", "last", "before", "after"):
            raise _bad(
                "bad-attribute",
                f"no place {where!r} to insert; there are first, last, before, after",
                path,
                *info,
            )
        if where in ("before", "after") and self.anchor(element, snode, parent, path) == old:
            raise _bad("bad-attribute", "nothing can be inserted beside itself", path, *info)

    def anchor(self, element: Element, snode: SNode, parent: Node | None, path: str) -> Node:
        attribute = KEY if snode.nodetype == yang.LIST else VALUE
        short = "key" if attribute == KEY else "value"
        text = element.get(attribute)
        info = (("bad-attribute", short), ("bad-element", yang.text_of(snode.name)))
        if text is None:
            raise _bad("missing-attribute", f"insert needs {short} to say where", path, *info)
        if attribute == KEY:
            names = {
                prefix or "": yang.text_of(module.name)
                for prefix, namespace in element.nsmap.items()
                if (module := self.schema.by_namespace(namespace)) is not None
            }
            try:
                text = yang.module_prefixes(text, names).replace(
                    f"{yang.text_of(snode.module.name)}:", ""
                )
            except KeyError:
                raise _bad(
                    "bad-attribute", f"{text!r} has an unknown prefix", path, *info
                ) from None
        found = yang.sibling(self.first(parent), snode, text)
        lib.ly_err_clean(self.schema.ctx, ffi.NULL)
        if found is None:
            raise ConfigError(
                f"there's no {text} to insert beside",
                tag="bad-attribute",
                app_tag="missing-instance",
                path=path,
                info=info,
            )
        return found
