"""Random edits, compared with a naive edit-config on Python dicts: every operation on leaves, lists, choices, and
leaf-lists that the user orders. The editor's two ways, in bulk and one by one, must agree with it and each other.
"""

import random
from typing import Any

import pytest
from lxml import etree
from sluice.mgmt.edit import Editor
from sluice.mgmt.error import ConfigError
from sluice.mgmt.yang import Tree

from tests.mgmt.rig import edit_xml, schema

OPERATIONS = ("merge", "merge", "replace", "create", "delete", "remove")
LEAVES = {"name": ("a", "b"), "type": ("x", "y"), "limit": ("1", "2")}
CASES = {"tcp-port": 0, "tcp-window": 0, "udp-port": 1}
USERS, STEPS = ("u1", "u2", "u3"), ("s1", "s2", "s3", "s4")


class RefusedError(Exception):
    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


class Edit:
    """One random edit: its XML, and what it does to a model."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.parts: list[tuple[Any, ...]] = []
        seen: set[Any] = set()
        for _ in range(rng.randint(1, 4)):
            part = self.part()
            if part[:2] not in seen and not (part[0] == "case" and self.has_case()):
                seen.add(part[:2])
                self.parts.append(part)

    def has_case(self) -> bool:
        return any(part[0] == "case" for part in self.parts)

    def operation(self) -> str | None:
        return self.rng.choice(OPERATIONS) if self.rng.random() < 0.6 else None

    def part(self) -> tuple[Any, ...]:
        rng = self.rng
        match rng.randint(0, 3):
            case 0:
                return ("leaf", "name", self.operation(), rng.choice(LEAVES["name"]))
            case 1:
                leaves = {
                    n: (self.operation(), rng.choice(LEAVES["type"]))
                    for n in ("type",)
                    if rng.random() < 0.7
                }
                return ("user", rng.choice(USERS), self.operation(), leaves)
            case 2:
                place = rng.choice((None, "first", "last", "before", "after"))
                return ("step", rng.choice(STEPS), self.operation(), place, rng.choice(STEPS))
            case _:
                return ("case", rng.choice(list(CASES)), self.operation(), str(rng.randint(1, 9)))

    def xml(self) -> str:
        def attribute(operation: str | None) -> str:
            return f' nc:operation="{operation}"' if operation else ""

        inner = ""
        for part in self.parts:
            match part:
                case ("leaf" | "case", name, operation, value):
                    inner += f"<{name}{attribute(operation)}>{value}</{name}>"
                case ("user", name, operation, leaves):
                    below = "".join(f"<{n}{attribute(o)}>{v}</{n}>" for n, (o, v) in leaves.items())
                    inner += f"<user{attribute(operation)}><name>{name}</name>{below}</user>"
                case ("step", name, operation, place, anchor):
                    more = f' yang:insert="{place}"' if place else ""
                    more += f' yang:value="{anchor}"' if place in ("before", "after") else ""
                    inner += f"<step{attribute(operation)}{more}>{name}</step>"
        return edit_xml(f"<top>{inner}</top>")

    def apply(self, model: dict[str, Any]) -> None:
        """The naive way; RefusedError for what must be refused."""
        for part in self.parts:
            match part:
                case ("leaf", name, operation, value):
                    self.leaf(model, name, operation or "merge", value)
                case ("case", name, operation, value):
                    if operation not in ("delete", "remove"):
                        if operation == "create" and name in model:
                            raise RefusedError("data-exists")
                        for other, case in CASES.items():
                            if case != CASES[name]:
                                model.pop(other, None)
                    self.leaf(model, name, operation or "merge", value)
                case ("user", name, operation, leaves):
                    self.user(model["user"], name, operation or "merge", leaves)
                case ("step", name, operation, place, anchor):
                    self.step(model["step"], name, operation or "merge", place, anchor)

    @staticmethod
    def exists(there: bool, operation: str) -> None:
        if operation == "create" and there:
            raise RefusedError("data-exists")
        if operation == "delete" and not there:
            raise RefusedError("data-missing")

    def leaf(self, model: dict[str, Any], name: str, operation: str, value: str) -> None:
        self.exists(name in model, operation)
        if operation in ("delete", "remove"):
            model.pop(name, None)
        else:
            model[name] = value

    def user(self, users: dict[str, Any], name: str, operation: str, leaves: Any) -> None:
        self.exists(name in users, operation)
        if operation in ("delete", "remove"):
            users.pop(name, None)
            return
        if operation == "replace" or name not in users:
            users[name] = {}
        for leaf, (own, value) in leaves.items():
            inherited = "create" if operation == "create" else "merge"
            self.leaf(users[name], leaf, own or inherited, value)

    def step(
        self, steps: list[str], name: str, operation: str, place: str | None, anchor: str
    ) -> None:
        self.exists(name in steps, operation)
        if operation in ("delete", "remove"):
            if name in steps:
                steps.remove(name)
            return
        there = name in steps
        if place in ("before", "after") and (anchor not in steps or anchor == name):
            raise RefusedError("bad-attribute")
        if not there:
            steps.append(name)
        if place is None:
            return
        steps.remove(name)
        at = {"first": 0, "last": len(steps)}.get(place)
        if at is None:
            at = steps.index(anchor) + (place == "after")
        steps.insert(at, name)


def seen(tree: Tree) -> dict[str, Any]:
    """A tree as the model has it."""
    top = tree.value().get("example:top", {})
    return {
        **{n: str(top[n]) for n in ("name", *CASES) if n in top},
        "user": {
            u.pop("name"): {k: v for k, v in u.items() if k == "type"} for u in top.get("user", [])
        },
        "step": top.get("step", []),
    }


@pytest.mark.parametrize("seed", range(8))
def test_random_edits_do_what_the_naive_way_does(seed: int) -> None:
    rng = random.Random(seed)
    made = schema()
    tree = made.empty()
    model: dict[str, Any] = {"user": {}, "step": []}
    refused = 0
    for number in range(700):
        edit = Edit(rng)
        xml = edit.xml()
        expected = {
            **model,
            "user": {n: dict(u) for n, u in model["user"].items()},
            "step": [*model["step"]],
        }
        error = ""
        try:
            edit.apply(expected)
        except RefusedError as caught:
            error = caught.tag
        for walked in (False, True):
            copy = tree.copy()
            config = etree.fromstring(xml)
            editor = Editor(made, copy)
            if walked:
                editor.marked.update(config.iterdescendants())
            tag = ""
            try:
                editor.run(config)
            except ConfigError as caught:
                tag = caught.faults[0].tag
            where = f"seed {seed}, edit {number}, walked {walked}: {xml} on {model}"
            assert tag == error, where
            if not error:
                copy.add_defaults()
                assert seen(copy) == expected, where
        if error:
            refused += 1
        else:
            tree, model = copy, expected
    assert 50 < refused < 600
