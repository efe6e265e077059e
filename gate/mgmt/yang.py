# SPDX-License-Identifier: BSD-3-Clause
"""libyang as the rest of the management plane sees it: a Schema, Trees of data, and errors with their parts.

Built on the C functions of the `libyang` package, not on its Python classes: a commit of many thousand entries can't
afford an object for each node. A *node* is a `struct lyd_node *`; it belongs to the Tree it was found in and must not
outlive it. A Tree is freed with its last reference. One thread only, as libyang's contexts want it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from _libyang import ffi, lib
from cffi import FFI

# What the binding lacks; called with the addresses of its objects.
_more = FFI()
_more.cdef("""
int lyd_diff_reverse_all(const void *src_diff, void **diff);
int lyd_find_sibling_val(const void *siblings, const void *schema, const char *value, size_t length, void **match);
int lyd_change_term(void *term, const char *value);
int lyd_compare_single(const void *one, const void *other, uint32_t options);
int lyd_dup_single(const void *node, void *parent, uint32_t options, void **dup);
int lyd_value_validate(const void *ctx, const void *schema, const char *value, size_t length, const void *tree_node,
                       const void **realtype, const char **canonical);
""")
_c: Any = _more.dlopen("libyang.so.3")
_void = "void *"

Node = Any  # struct lyd_node *
SNode = Any  # struct lysc_node *

CONTAINER: int = lib.LYS_CONTAINER
CHOICE: int = lib.LYS_CHOICE
CASE: int = lib.LYS_CASE
LEAF: int = lib.LYS_LEAF
LEAFLIST: int = lib.LYS_LEAFLIST
LIST: int = lib.LYS_LIST
ANY: int = lib.LYS_ANYDATA | lib.LYS_ANYXML
OPERATION: int = lib.LYS_RPC | lib.LYS_ACTION
NOTIFICATION: int = lib.LYS_NOTIF

INTEGERS = frozenset(
    {
        lib.LY_TYPE_INT8,
        lib.LY_TYPE_INT16,
        lib.LY_TYPE_INT32,
        lib.LY_TYPE_INT64,
        lib.LY_TYPE_UINT8,
        lib.LY_TYPE_UINT16,
        lib.LY_TYPE_UINT32,
        lib.LY_TYPE_UINT64,
    }
)

lib.ly_log_options(lib.LY_LOSTORE)


class Format(StrEnum):
    XML = "xml"
    JSON = "json"


class Defaults(StrEnum):
    """RFC 6243's modes."""

    REPORT_ALL = "report-all"
    REPORT_ALL_TAGGED = "report-all-tagged"
    TRIM = "trim"
    EXPLICIT = "explicit"


_FORMATS = {Format.XML: lib.LYD_XML, Format.JSON: lib.LYD_JSON}
_DEFAULTS = {
    Defaults.REPORT_ALL: lib.LYD_PRINT_WD_ALL,
    Defaults.REPORT_ALL_TAGGED: lib.LYD_PRINT_WD_ALL_TAG,
    Defaults.TRIM: lib.LYD_PRINT_WD_TRIM,
    Defaults.EXPLICIT: lib.LYD_PRINT_WD_EXPLICIT,
}


@dataclass(frozen=True)
class Problem:
    """One thing libyang complained about. `path` is libyang's: /module:a/b[key='x'], where known."""

    text: str
    path: str = ""
    app_tag: str = ""
    line: int = 0


class YangError(Exception):
    """What libyang refused; at least one problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.text} ({p.path})" if p.path else p.text for p in problems))
        self.problems = problems


def text_of(pointer: Any) -> str:
    """A C string's text; empty for NULL."""
    return "" if pointer == ffi.NULL else ffi.string(pointer).decode()


def take(pointer: Any) -> str:
    """The same for a string that's ours to free."""
    text = text_of(pointer)
    lib.free(pointer)
    return text


def address(pointer: Any) -> int:
    """A pointer's number: the same node has the same, as long as it lives."""
    return int(ffi.cast("uintptr_t", pointer))


def _foreign(pointer: Any) -> Any:
    return _more.cast(_void, address(pointer))


class Schema:
    """A set of YANG modules."""

    def __init__(self, folders: Iterable[Path]) -> None:
        out = ffi.new("struct ly_ctx **")
        # Never the working directory: a model must not come from where the daemon happens to be.
        if lib.ly_ctx_new(ffi.NULL, lib.LY_CTX_DISABLE_SEARCHDIR_CWD, out) != lib.LY_SUCCESS:
            raise MemoryError("libyang has no memory for a context")
        # Never destroyed: a daemon has one, and trees found in garbage together with it would be freed after it.
        self.ctx = out[0]
        self._kinds: dict[SNode, tuple[int, str, int]] = {}
        self._snodes: dict[tuple[int, str, str], SNode] = {}
        self._modules: dict[str, Any] = {}
        for folder in folders:
            self.add_folder(folder)

    def add_folder(self, folder: Path) -> None:
        lib.ly_ctx_set_searchdir(self.ctx, str(folder).encode())

    def load(self, name: str, features: Iterable[str] = ("*",)) -> None:
        """Add a module and what it imports. Raises YangError, and then nothing has changed."""
        words = [ffi.new("char[]", word.encode()) for word in features]
        array = ffi.new("const char *[]", [*words, ffi.NULL])
        found = lib.ly_ctx_load_module(self.ctx, name.encode(), ffi.NULL, array)
        self._snodes.clear()
        self._modules.clear()
        if found == ffi.NULL:
            self.fail()

    def fail(self) -> None:
        """Raise what libyang complained about last."""
        problems, seen = [], set()
        item = lib.ly_err_first(self.ctx)
        while item != ffi.NULL:
            if item.level == lib.LY_LLERR:
                problem = Problem(
                    text_of(item.msg),
                    text_of(item.data_path) or text_of(item.schema_path),
                    text_of(item.apptag),
                    item.line,
                )
                if problem not in seen:
                    seen.add(problem)
                    problems.append(problem)
            item = item.next
        lib.ly_err_clean(self.ctx, ffi.NULL)
        raise YangError(problems or [Problem("libyang refused it without saying why")])

    def check(self, code: int) -> None:
        if code != lib.LY_SUCCESS:
            self.fail()

    # Modules

    def modules(self) -> Iterator[Any]:
        """All modules, `struct lys_module *`, implemented or only imported."""
        index = ffi.new("uint32_t *")
        while (module := lib.ly_ctx_get_module_iter(self.ctx, index)) != ffi.NULL:
            yield module

    def implemented(self) -> Iterator[Any]:
        return (module for module in self.modules() if module.implemented)

    def module(self, name: str) -> Any:
        """The implemented module of this name, or None."""
        for module in self.implemented():
            if text_of(module.name) == name:
                return module
        return None

    def by_namespace(self, namespace: str) -> Any:
        """The implemented module with this namespace, or None."""
        if not self._modules:
            self._modules = {text_of(module.ns): module for module in self.implemented()}
        return self._modules.get(namespace)

    def source(self, name: str, revision: str | None, fmt: str) -> str | None:
        """A module's text, "yang" or "yin"; None if there's no such module or revision."""
        kinds = {"yang": lib.LYS_OUT_YANG, "yin": lib.LYS_OUT_YIN}
        for module in self.modules():
            if text_of(module.name) == name and revision in (None, "", text_of(module.revision)):
                out = ffi.new("char **")
                self.check(lib.lys_print_mem(out, module, kinds[fmt], 0))
                return take(out[0])
        return None

    # Schema nodes

    def child(self, parent: SNode | None, namespace: str, name: str) -> SNode | None:
        """The data node of that name below a schema node (None: at the top), through choices and cases."""
        key = (0 if parent is None else address(parent), namespace, name)
        if key not in self._snodes:
            module = self.by_namespace(namespace)
            found = None
            if module is not None:
                start = ffi.NULL if parent is None else parent
                found = lib.lys_find_child(start, module, name.encode(), 0, 0, 0)
            self._snodes[key] = None if found in (None, ffi.NULL) else found
        return self._snodes[key]

    def find(self, path: str) -> SNode | None:
        """The schema node of a path such as /sluice-vrf:vrf/name."""
        found = lib.lys_find_path(self.ctx, ffi.NULL, path.encode(), 0)
        if found == ffi.NULL:
            lib.ly_err_clean(self.ctx, ffi.NULL)
            return None
        return found

    def selects(self, xpath: str) -> list[SNode]:
        """The schema nodes that an XPath over the data can lead to."""
        out = ffi.new("struct ly_set **")
        self.check(lib.lys_find_xpath(self.ctx, ffi.NULL, xpath.encode(), 0, out))
        found = [out[0].snodes[index] for index in range(out[0].count)]
        lib.ly_set_free(out[0], ffi.NULL)
        return found

    def valid(self, snode: SNode, value: str) -> bool:
        """Whether a leaf may have this value, by its type alone."""
        data = value.encode()
        code = _c.lyd_value_validate(
            _foreign(self.ctx), _foreign(snode), data, len(data), _more.NULL, _more.NULL, _more.NULL
        )
        lib.ly_err_clean(self.ctx, ffi.NULL)
        return bool(code in (lib.LY_SUCCESS, lib.LY_EINCOMPLETE))

    def kind(self, snode: SNode) -> tuple[int, str, int]:
        """(node type, name, base type of a leaf), remembered."""
        found = self._kinds.get(snode)  # pointers are equal when their addresses are
        if found is None:
            base = 0
            if snode.nodetype == LEAF:
                base = self._base(ffi.cast("struct lysc_node_leaf *", snode).type)
            elif snode.nodetype == LEAFLIST:
                base = self._base(ffi.cast("struct lysc_node_leaflist *", snode).type)
            found = self._kinds[snode] = (snode.nodetype, text_of(snode.name), base)
        return found

    @staticmethod
    def _base(kind: Any) -> int:
        while kind.basetype == lib.LY_TYPE_LEAFREF:
            kind = ffi.cast("struct lysc_type_leafref *", kind).realtype
        return int(kind.basetype)

    # Data

    def empty(self) -> "Tree":
        return Tree(self, ffi.NULL)

    def parse(
        self,
        text: str | bytes,
        fmt: Format = Format.JSON,
        *,
        only: bool = True,
        state: bool = False,
        strict: bool = True,
    ) -> "Tree":
        """Read data. `only`: no validation and no defaults; else the data must be whole and valid.

        Unknown nodes are refused, or left out if not `strict`; state is refused unless `state`.
        """
        data = text.encode() if isinstance(text, str) else text
        options = lib.LYD_PARSE_STRICT if strict else 0
        check = 0
        if only:
            options |= lib.LYD_PARSE_ONLY
        elif not state:
            check = lib.LYD_VALIDATE_NO_STATE | lib.LYD_VALIDATE_MULTI_ERROR
        if not state:
            options |= lib.LYD_PARSE_NO_STATE
        out = ffi.new("struct lyd_node **")
        code = lib.lyd_parse_data_mem(self.ctx, data, _FORMATS[fmt], options, check, out)
        if code != lib.LY_SUCCESS:
            lib.lyd_free_all(out[0])
            self.fail()
        return Tree(self, out[0])

    def parse_below(self, parent: Node, text: bytes) -> Node:
        """Read XML of one child of a node and put it there, without looking what else is there; returns the child."""
        into = ffi.new("struct ly_in **")
        buffer = ffi.from_buffer(text + b"\0")  # libyang reads from it
        lib.ly_in_new_memory(buffer, into)
        before = {address(node) for node in siblings(lib.lyd_child(parent))}
        try:
            options = lib.LYD_PARSE_ONLY | lib.LYD_PARSE_STRICT | lib.LYD_PARSE_NO_STATE
            code = lib.lyd_parse_data(
                self.ctx, parent, into[0], lib.LYD_XML, options, 0, ffi.new("struct lyd_node **")
            )
        finally:
            lib.ly_in_free(into[0], 0)
        self.check(code)
        for node in siblings(lib.lyd_child(parent)):
            if address(node) not in before:
                return node
        raise YangError([Problem("nothing to read")])


def siblings(node: Node) -> Iterator[Node]:
    """A node and those after it. The one just yielded may be freed or moved."""
    while node != ffi.NULL:
        following = node.next
        yield node
        node = following


def children(node: Node) -> Iterator[Node]:
    return siblings(lib.lyd_child(node))


def child_of(node: Node, name: str) -> Node | None:
    """The child of this name, whatever its module."""
    for child in children(node):
        if child.schema != ffi.NULL and text_of(child.schema.name) == name:
            return child
    return None


def name_of(node: Node) -> str:
    return text_of(node.schema.name)


def value_of(node: Node) -> str:
    """A leaf's canonical value."""
    return text_of(lib.lyd_get_value(node))


def path_of(node: Node) -> str:
    """Libyang's path: /module:container/list[key='value']/leaf."""
    return take(lib.lyd_path(node, lib.LYD_PATH_STD, ffi.NULL, 0))


def schema_path(snode: SNode) -> str:
    """Data path without predicates: /module:container/list/leaf."""
    return take(lib.lysc_path(snode, lib.LYSC_PATH_DATA, ffi.NULL, 0))


def parent_of(node: Node) -> Node | None:
    return None if node.parent == ffi.NULL else ffi.cast("struct lyd_node *", node.parent)


def data_parent(snode: SNode) -> SNode | None:
    """The schema node of the data node above, without choices and cases."""
    snode = snode.parent
    while snode != ffi.NULL and snode.nodetype in (CHOICE, CASE):
        snode = snode.parent
    return None if snode == ffi.NULL else snode


def is_key(snode: SNode) -> bool:
    return snode.nodetype == LEAF and bool(snode.flags & lib.LYS_KEY)


def is_config(snode: SNode) -> bool:
    return bool(snode.flags & lib.LYS_CONFIG_W)


def is_user_ordered(snode: SNode) -> bool:
    return snode.nodetype in (LIST, LEAFLIST) and bool(snode.flags & lib.LYS_ORDBY_USER)


def is_default(node: Node) -> bool:
    """Whether nobody has said it: the value is the model's."""
    return bool(node.flags & lib.LYD_DEFAULT)


def default_of(snode: SNode) -> str | None:
    """A leaf's default value as the model says."""
    if snode.nodetype != LEAF:
        return None
    leaf = ffi.cast("struct lysc_node_leaf *", snode)
    if leaf.dflt == ffi.NULL:
        return None
    return text_of(lib.lyd_value_get_canonical(snode.module.ctx, leaf.dflt))


def is_presence(snode: SNode) -> bool:
    return snode.nodetype == CONTAINER and bool(snode.flags & lib.LYS_PRESENCE)


def meta_of(node: Node, name: str) -> str | None:
    """The value of a node's annotation, such as a diff's operation."""
    item = node.meta
    while item != ffi.NULL:
        if text_of(item.name) == name:
            context = node.schema.module.ctx
            return text_of(lib.lyd_value_get_canonical(context, ffi.addressof(item, "value")))
        item = item.next
    return None


def sibling(first: Node, snode: SNode, value: str | None = None) -> Node | None:
    """Among siblings, the instance of a schema node; of a list or leaf-list the one with these keys or this value."""
    out = _more.new("void **")
    data = b"" if value is None else value.encode()
    code = _c.lyd_find_sibling_val(
        _foreign(first),
        _foreign(snode),
        _more.NULL if value is None else data,
        len(data),
        out,
    )
    if code != lib.LY_SUCCESS or out[0] == _more.NULL:
        return None
    return ffi.cast("struct lyd_node *", int(_more.cast("uintptr_t", out[0])))


def change_value(node: Node, value: str) -> None:
    _c.lyd_change_term(_foreign(node), value.encode())


def duplicate(node: Node, *, parents: bool = False, deep: bool = True) -> Node:
    """A copy of a node, by itself or with copies of those above it (keys included); the caller frees it."""
    options = lib.LYD_DUP_WITH_FLAGS
    if deep:
        options |= lib.LYD_DUP_RECURSIVE
    if parents:
        options |= lib.LYD_DUP_WITH_PARENTS
    out = _more.new("void **")
    if _c.lyd_dup_single(_foreign(node), _more.NULL, options, out) != lib.LY_SUCCESS:
        raise MemoryError("libyang can't copy a node")
    return ffi.cast("struct lyd_node *", int(_more.cast("uintptr_t", out[0])))


def top_of(node: Node) -> Node:
    while node.parent != ffi.NULL:
        node = ffi.cast("struct lyd_node *", node.parent)
    return node


class Tree:
    """A forest of data: all top-level nodes of a datastore, a diff, an edit."""

    def __init__(self, schema: Schema, first: Node) -> None:
        self.schema = schema
        self._first = ffi.new("struct lyd_node **", first)

    def __del__(self) -> None:
        lib.lyd_free_all(self._first[0])

    def __bool__(self) -> bool:
        return bool(self._first[0] != ffi.NULL)

    @property
    def first(self) -> Node:
        """The first top-level node, or NULL."""
        return self._first[0]

    def roots(self) -> Iterator[Node]:
        return siblings(self._first[0])

    def copy(self) -> "Tree":
        out = ffi.new("struct lyd_node **")
        if self:
            options = lib.LYD_DUP_RECURSIVE | lib.LYD_DUP_WITH_FLAGS
            self.schema.check(lib.lyd_dup_siblings(self.first, ffi.NULL, options, out))
        return Tree(self.schema, out[0])

    def release(self) -> Node:
        """Give the nodes away; the tree is empty then."""
        node = self._first[0]
        self._first[0] = ffi.NULL
        return node

    def validate(self) -> None:
        """Check everything and bring defaults up to date; raises YangError with all problems found."""
        options = lib.LYD_VALIDATE_NO_STATE | lib.LYD_VALIDATE_MULTI_ERROR
        self.schema.check(lib.lyd_validate_all(self._first, self.schema.ctx, options, ffi.NULL))

    def add_defaults(self) -> None:
        """Add what the model says about what nobody has said, state excepted."""
        self.schema.check(
            lib.lyd_new_implicit_all(
                self._first, self.schema.ctx, lib.LYD_IMPLICIT_NO_STATE, ffi.NULL
            )
        )

    def diff(self, newer: "Tree", *, defaults: bool = False) -> "Tree":
        """What leads from here to `newer`. With `defaults` also values that only the model has changed."""
        out = ffi.new("struct lyd_node **")
        options = lib.LYD_DIFF_DEFAULTS if defaults else 0
        self.schema.check(lib.lyd_diff_siblings(self.first, newer.first, options, out))
        return Tree(self.schema, out[0])

    def reversed_diff(self) -> "Tree":
        """Of a diff: the one that leads back."""
        out = _more.new("void **")
        if self:
            self.schema.check(_c.lyd_diff_reverse_all(_foreign(self.first), out))
        return Tree(
            self.schema, ffi.cast("struct lyd_node *", int(_more.cast("uintptr_t", out[0])))
        )

    def apply(self, diff: "Tree") -> None:
        """Change this tree as a diff says. On YangError it may be half changed: apply to a copy."""
        if diff:
            self.schema.check(lib.lyd_diff_apply_all(self._first, diff.first))

    def merge(self, other: "Tree") -> None:
        """Add what's in the other tree and take its values; the other is empty afterwards."""
        self.merge_nodes(other.release(), whole=True)

    def merge_nodes(self, node: Node, *, whole: bool = False) -> None:
        """The same for one top-level node or, `whole`, it and its siblings. They're gone afterwards."""
        call = lib.lyd_merge_siblings if whole else lib.lyd_merge_tree
        if node != ffi.NULL:
            self.schema.check(call(self._first, node, lib.LYD_MERGE_DESTRUCT))
            self._first[0] = lib.lyd_first_sibling(self._first[0])

    def drop(self, node: Node) -> None:
        """Free a node of this tree with all below it."""
        if node.parent == ffi.NULL and node == self._first[0]:
            self._first[0] = node.next
        lib.lyd_free_tree(node)

    def insert(self, node: Node) -> None:
        """Add a top-level node that's in no tree."""
        self.schema.check(lib.lyd_insert_sibling(self._first[0], node, self._first))

    def insert_first(self, node: Node) -> None:
        """Tell the tree which of its nodes is the first now."""
        self._first[0] = node

    def new(self, path: str, value: str | None = None) -> Node:
        """Create a node and what's above it, or change its value; returns the topmost new one or NULL."""
        out = ffi.new("struct lyd_node **")
        data = ffi.NULL if value is None else value.encode()
        self.schema.check(
            lib.lyd_new_path(
                self.first, self.schema.ctx, path.encode(), data, lib.LYD_NEW_PATH_UPDATE, out
            )
        )
        if self._first[0] == ffi.NULL:
            self._first[0] = out[0]
        if out[0] != ffi.NULL and out[0].parent == ffi.NULL:
            self._first[0] = lib.lyd_first_sibling(out[0])
        return out[0]

    def find(self, xpath: str) -> list[Node]:
        """The nodes an XPath selects; prefixes are module names."""
        if not self:
            return []
        out = ffi.new("struct ly_set **")
        self.schema.check(lib.lyd_find_xpath(self.first, xpath.encode(), out))
        found = [out[0].dnodes[index] for index in range(out[0].count)]
        lib.ly_set_free(out[0], ffi.NULL)
        return found

    def at(self, path: str) -> Node | None:
        """The node of a path, or None."""
        if not self:
            return None
        out = ffi.new("struct lyd_node **")
        code = lib.lyd_find_path(self.first, path.encode(), 0, out)
        if code != lib.LY_SUCCESS:
            lib.ly_err_clean(self.schema.ctx, ffi.NULL)
            return None
        return out[0]

    def print(
        self,
        fmt: Format = Format.JSON,
        *,
        defaults: Defaults = Defaults.EXPLICIT,
        pretty: bool = False,
    ) -> str:
        return print_nodes(self.first, fmt, defaults=defaults, pretty=pretty, whole=True)

    def value(self) -> dict[str, Any]:
        """All as Python: {module:name: ...}."""
        result: dict[str, Any] = {}
        for node in self.roots():
            key = f"{text_of(node.schema.module.name)}:{name_of(node)}"
            put(self.schema, result, key, node)
        return result


def print_nodes(
    node: Node,
    fmt: Format,
    *,
    defaults: Defaults = Defaults.EXPLICIT,
    pretty: bool = False,
    whole: bool = False,
) -> str:
    """A node as text, or, `whole`, it and its siblings."""
    if node == ffi.NULL:
        return "{}" if fmt is Format.JSON else ""
    options = _DEFAULTS[defaults]
    if whole:
        options |= lib.LYD_PRINT_WITHSIBLINGS
    if not pretty:
        options |= lib.LYD_PRINT_SHRINK
    out = ffi.new("char **")
    if lib.lyd_print_mem(out, node, _FORMATS[fmt], options) != lib.LY_SUCCESS:
        raise MemoryError("libyang can't print")
    return take(out[0])


def put(schema: Schema, into: dict[str, Any], key: str, node: Node) -> None:
    """Add a node's Python value to a dict, in a list where the model has one."""
    if node.schema.nodetype in (LIST, LEAFLIST):
        into.setdefault(key, []).append(python_of(schema, node))
    else:
        into[key] = python_of(schema, node)


def python_of(schema: Schema, node: Node) -> Any:
    """A node as Python: containers and list entries are dicts, integers and booleans themselves, the rest text."""
    nodetype, _, base = schema.kind(node.schema)
    if nodetype & (LEAF | LEAFLIST):
        text = ffi.string(lib.lyd_get_value(node)).decode()
        if base in INTEGERS:
            return int(text)
        if base == lib.LY_TYPE_BOOL:
            return text == "true"
        return text
    if nodetype & ANY:
        out = ffi.new("char **")
        lib.lyd_any_value_str(node, out)
        return take(out[0])
    result: dict[str, Any] = {}
    child = lib.lyd_child(node)
    while child != ffi.NULL:
        kind = schema.kind(child.schema)
        if kind[0] == LEAF and kind[2] not in INTEGERS and kind[2] != lib.LY_TYPE_BOOL:
            result[kind[1]] = ffi.string(lib.lyd_get_value(child)).decode()  # most are
        elif kind[0] & (LIST | LEAFLIST):
            result.setdefault(kind[1], []).append(python_of(schema, child))
        else:
            result[kind[1]] = python_of(schema, child)
        child = child.next
    return result


_PREFIXED = re.compile(r"\"[^\"]*\"|'[^']*'|([A-Za-z_][\w.-]*):(?=[A-Za-z_*])(?!:)")


def module_prefixes(xpath: str, names: dict[str, str]) -> str:
    """An XPath with module names in place of its prefixes; literals are left alone. KeyError for an unknown prefix."""

    def replace(match: re.Match[str]) -> str:
        prefix = match[1]
        return match[0] if prefix is None else f"{names[prefix]}:"

    return _PREFIXED.sub(replace, re.sub(r"(\w)::", r"\1\0", xpath)).replace("\0", "::")


def quoted(value: str) -> str:
    """A value as an XPath literal. One with both kinds of quotes has none."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise YangError([Problem(f"{value!r} has both kinds of quotation marks")])
