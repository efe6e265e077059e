# SPDX-License-Identifier: BSD-3-Clause
"""Access control, RFC 8341. Rules come from running; what a user may do is decided here and nowhere else.

Writes are judged by what they'd change, not by how the request says it: the difference between before and after is
walked. root's sessions are the recovery sessions (section 3.2.3), which no rule holds.
"""

from dataclasses import dataclass
from typing import Any

from _libyang import ffi
from libyang.util import ly_array_iter
from sluice.mgmt import yang
from sluice.mgmt.error import ConfigError
from sluice.mgmt.yang import Node, Schema, SNode, Tree, YangError

NACM = "/ietf-netconf-acm:nacm"
MODULE = "ietf-netconf-acm"
# Whoever is connected may leave.
ALWAYS = {("ietf-netconf", "close-session")}
# Tagged so in RFC 8341's version of the base operations.
DENIED_OPERATIONS = {("ietf-netconf", "kill-session"), ("ietf-netconf", "delete-config")}


@dataclass(frozen=True)
class Rule:
    module: str
    rpc: str | None
    notification: str | None
    path: str | None
    operations: frozenset[str]
    permit: bool

    def about(self, module: str, operation: str) -> bool:
        return self.module in ("*", module) and bool({"*", operation} & self.operations)

    @property
    def plain(self) -> bool:
        """Whether it's about a whole module."""
        return self.rpc is None and self.notification is None and self.path is None


@dataclass
class Counts:
    """What was denied, for the state in nacm."""

    operations: int = 0
    writes: int = 0
    notifications: int = 0


class Access:
    """What one user may do now."""

    def __init__(
        self,
        schema: Schema,
        running: Tree,
        user: str,
        groups: frozenset[str],
        counts: Counts,
        *,
        recovery: bool = False,
    ) -> None:
        self.schema = schema
        self.counts = counts
        node = running.at(NACM)
        nacm: dict[str, Any] = yang.python_of(schema, node) if node is not None else {}
        self.free = recovery or not nacm.get("enable-nacm", True)
        self.defaults = {
            "read": nacm.get("read-default", "permit") == "permit",
            "write": nacm.get("write-default", "deny") == "permit",
            "exec": nacm.get("exec-default", "permit") == "permit",
        }
        mine = {
            group["name"]
            for group in nacm.get("groups", {}).get("group", [])
            if user in group.get("user-name", [])
        }
        if nacm.get("enable-external-groups", True):
            mine |= groups
        self.rules = [
            _rule(rule)
            for rules in nacm.get("rule-list", [])
            if mine & set(rules.get("group", [])) or "*" in rules.get("group", [])
            for rule in rules.get("rule", [])
        ]
        self._denying: dict[int, str] = {}

    # Operations and notifications

    def execute(self, module: str, name: str) -> None:
        """Raises access-denied unless the user may call an operation."""
        if self.free or (module, name) in ALWAYS:
            return
        for rule in self.rules:
            if not rule.about(module, "exec") or not (rule.plain or rule.rpc in ("*", name)):
                continue
            if rule.permit:
                return
            break
        else:
            snode = self.schema.find(f"/{module}:{name}")
            denied = (module, name) in DENIED_OPERATIONS or (
                snode is not None and self._extension(snode) == "all"
            )
            if self.defaults["exec"] and not denied:
                return
        self.counts.operations += 1
        raise ConfigError(f"you may not use {name}", tag="access-denied", type="protocol")

    def hears(self, module: str, name: str) -> bool:
        """Whether the user may get a notification."""
        if self.free or name in ("replayComplete", "notificationComplete"):
            return True
        for rule in self.rules:
            if rule.about(module, "read") and (rule.plain or rule.notification in ("*", name)):
                break
        else:
            if self.defaults["read"]:
                return True
            self.counts.notifications += 1
            return False
        if not rule.permit:
            self.counts.notifications += 1
        return rule.permit

    # Data

    def all_permitted(self, operation: str) -> bool:
        """Whether there's nothing to look at node by node."""
        if self.free:
            return True
        for rule in self.rules:
            if rule.plain and rule.module == "*" and rule.about("*", operation):
                return rule.permit
            if not rule.permit and not rule.rpc and not rule.notification:
                return False
        return False

    def readable(self, tree: Tree) -> Tree:
        """A tree without what the user may not read; the one given if that's nothing. Owned by the caller already."""
        if self.all_permitted("read") or not tree:
            return tree
        marks = self._marks(tree)
        for node in list(tree.roots()):
            self._prune(tree, node, frozenset(), marks)
        return tree

    def _prune(
        self, tree: Tree, node: Node, above: frozenset[int], marks: dict[int, set[int]]
    ) -> None:
        here = above | marks.get(yang.address(node), set())
        if not self._permits(node.schema, "read", here):
            if not yang.is_key(node.schema):
                tree.drop(node)
            return
        for child in list(yang.children(node)):
            self._prune(tree, child, here, marks)

    def change(self, old: Tree, new: Tree) -> None:
        """Raises access-denied unless the user may make `new` of `old`."""
        if all(self.all_permitted(operation) for operation in ("create", "update", "delete")):
            return
        diff = old.diff(new)
        marks = self._marks(diff)
        for node in diff.roots():
            self._check(node, "none", frozenset(), marks)

    def _check(
        self, node: Node, above: str, rules: frozenset[int], marks: dict[int, set[int]]
    ) -> None:
        operation = yang.meta_of(node, "operation") or above
        rules = rules | marks.get(yang.address(node), set())
        access = {"create": "create", "delete": "delete", "replace": "update"}.get(operation)
        if (
            access
            and not yang.is_key(node.schema)
            and (node.schema.nodetype != yang.CONTAINER or yang.is_presence(node.schema))
            and not self._permits(node.schema, access, rules)
        ):
            self.counts.writes += 1
            raise ConfigError(
                f"you may not {access} this",
                tag="access-denied",
                path=yang.path_of(node),
            )
        for child in yang.children(node):
            self._check(child, operation, rules, marks)

    def _marks(self, tree: Tree) -> dict[int, set[int]]:
        """By node, the rules whose path leads there."""
        marks: dict[int, set[int]] = {}
        for number, rule in enumerate(self.rules):
            if rule.path is None:
                continue
            try:
                found = tree.find(rule.path)
            except YangError:
                continue
            for node in found:
                marks.setdefault(yang.address(node), set()).add(number)
        return marks

    def _permits(self, snode: SNode, operation: str, paths: frozenset[int]) -> bool:
        module = yang.text_of(snode.module.name)
        for number, rule in enumerate(self.rules):
            if rule.about(module, operation) and (rule.plain or number in paths):
                return rule.permit
        denied = self._extension(snode)
        if denied == "all" or (denied == "write" and operation != "read"):
            return False
        return bool(self.defaults["read" if operation == "read" else "write"])

    def _extension(self, snode: SNode) -> str:
        """default-deny-all, default-deny-write (section 3.2.4)."""
        key = yang.address(snode)
        if key not in self._denying:
            found = ""
            if snode.exts != ffi.NULL:
                for extension in ly_array_iter(snode.exts):
                    name = yang.text_of(getattr(extension, "def").name)
                    if name in ("default-deny-all", "default-deny-write"):
                        found = name.rpartition("-")[2]
            self._denying[key] = found
        return self._denying[key]


def _rule(rule: dict[str, Any]) -> Rule:
    return Rule(
        module=rule.get("module-name", "*"),
        rpc=rule.get("rpc-name"),
        notification=rule.get("notification-name"),
        path=rule.get("path"),
        operations=frozenset(str(rule.get("access-operations", "*")).split()),
        permit=rule.get("action") == "permit",
    )


def default_configuration() -> dict[str, Any]:
    """The factory's groups: who is in the UNIX group sluice-NAME has the rights of NAME."""

    def rules(name: str, *rest: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": name,
            "group": [f"sluice-{name}"],
            "rule": [{"name": f"{name}-{number}", **rule} for number, rule in enumerate(rest, 1)],
        }

    def rule(operations: str, action: str, **what: str) -> dict[str, Any]:
        named = {key.replace("_", "-"): value for key, value in what.items()}
        return {
            "module-name": "*",
            "access-operations": operations,
            "action": action,
            **named,
        }

    looking = [
        rule("exec", "permit", rpc_name=name)
        for name in ("get", "get-config", "get-schema", "create-subscription")
    ]
    return {
        "ietf-netconf-acm:nacm": {
            "exec-default": "deny",
            "read-default": "deny",
            "rule-list": [
                rules("admin", rule("*", "permit")),
                rules(
                    "operator",
                    rule("*", "deny", path=NACM),
                    rule("exec", "deny", rpc_name="kill-session"),
                    rule("exec", "deny", rpc_name="delete-config"),
                    rule("*", "permit"),
                ),
                rules(
                    "guest",
                    rule("*", "deny", path=NACM),
                    *looking,
                    rule("read", "permit"),
                ),
            ],
        }
    }
