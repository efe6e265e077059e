# SPDX-License-Identifier: BSD-3-Clause
"""Random edits of the example's running configuration, ours beside sysrepo's: accepted or refused, and what comes out.

    python3 -m tests.mgmt.differential COUNT SEED WORKER...

WORKER is a command that applies edits to a sysrepo of its own: a line of JSON with the XML in, a line {"error", "data"}
out (sysrepo_worker.py). `make fuzz-mgmt` gets sysrepo and runs all this. Prints each difference with a name it's
explained by, or UNEXPLAINED; ends with status 1 if there's any of these.
"""

import json
import random
import re
import subprocess
import sys
from collections import Counter
from typing import Any

from lxml import etree
from sluice.mgmt import yang
from sluice.mgmt.edit import Editor
from sluice.mgmt.error import ConfigError, from_yang
from sluice.mgmt.yang import YangError

from tests.mgmt.rig import edit_xml, schema

OPERATIONS = ("merge", "merge", "replace", "create", "delete", "remove")


class Generator:
    """Edits of everything the example model has.

    Left out, because sysrepo and the RFCs differ: content of what is deleted (RFC 6241 section 7.2 says nothing of it,
    sysrepo wants it to exist), operations within what is replaced, create of a container without presence that exists
    (data-exists by RFC 7950 section 7.5.8, fine for sysrepo), and replace of a leaf by its default (said by somebody
    in RFC 6243's explicit mode, the model's again for sysrepo).
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def operation(self, rate: float = 0.45) -> str:
        if self.rng.random() > rate:
            return ""
        return f' nc:operation="{self.rng.choice(OPERATIONS)}"'

    def leaf(self, name: str, *values: str) -> str:
        operation, value = self.operation(), self.rng.choice(values)
        if "replace" in operation and value in ("1500", "sh"):
            value = values[1]
        return f"<{name}{operation}>{value}</{name}>"

    def placed(self, keyed: bool, values: tuple[str, ...]) -> str:
        """An insert attribute, perhaps."""
        if self.rng.random() > 0.5:
            return ""
        where = self.rng.choice(("first", "last", "before", "after"))
        if where in ("first", "last"):
            return f' yang:insert="{where}"'
        anchor = self.rng.choice(values)
        named = f"""yang:key="[ex:seq='{anchor}']\"""" if keyed else f'yang:value="{anchor}"'
        return f' yang:insert="{where}" {named}'

    def part(self) -> str:
        rng = self.rng
        steps, rules = ("a", "b", "c", "d"), ("1", "2", "3", "4")
        match rng.randint(0, 11):
            case 0:
                return self.leaf("name", "x", "y", "z")
            case 1:
                return self.leaf("mtu", "1500", "900", "70")
            case 2:
                return self.leaf("mode", "fast", "safe")
            case 3:
                return self.leaf("limit", "5", "11")
            case 4:
                return self.leaf("extra", "e")
            case 5:
                return self.leaf("boss", "u1", "u2")
            case 6:
                return self.leaf("tag", "t1", "t2", "t3")
            case 7:
                head = self.operation()
                if not self.goes(head):
                    head += self.placed(False, steps)
                return f"<step{head}>{rng.choice(steps)}</step>"
            case 8:
                return self.leaf(rng.choice(("tcp-port", "tcp-window", "udp-port")), "1", "2")
            case 9:
                operation = self.operation()
                inner = "".join(
                    part
                    for part in (
                        self.leaf("id", "1", "2", "3"),
                        self.leaf("type", "s", "t"),
                        self.leaf("shell", "sh", "zsh"),
                        f"<company>{self.leaf('dept', '1', '2')}</company>",
                    )
                    if rng.random() < 0.5
                )
                inner = self.within(operation, inner)
                return f"<user{operation}><name>u{rng.randint(1, 3)}</name>{inner}</user>"
            case 10:
                head = self.operation()
                if not self.goes(head):
                    head += self.placed(True, rules)
                action = f"<action>{rng.choice('xy')}</action>" if rng.random() < 0.9 else ""
                action = self.within(head, action)
                return f"<rule{head}><seq>{rng.choice(rules)}</seq>{action}</rule>"
            case _:
                why = "<why>so</why>" if rng.random() < 0.7 else ""
                operation = self.operation()
                return f"<strict{operation}>{self.within(operation, why)}</strict>"

    @staticmethod
    def goes(operation: str) -> bool:
        return "delete" in operation or "remove" in operation

    def within(self, operation: str, inner: str) -> str:
        """What may stand within an element with an operation."""
        if self.goes(operation):
            return ""
        if "replace" in operation:
            return re.sub(r' nc:operation="\w+"', "", inner)
        return inner

    def edit(self) -> str:
        """What goes into <config>, one part for each node at most."""
        parts: dict[str, str] = {}
        for _ in range(self.rng.randint(1, 4)):
            part = self.part()
            name = re.match(r"<([\w-]+)", part)
            assert name
            parts.setdefault("case" if name[1][:3] in ("tcp", "udp") else name[1], part)
        inner = "".join(parts.values())
        operation = ' nc:operation="replace"' if self.rng.random() < 0.03 else ""
        return f"<top{operation}>{self.within(operation, inner)}</top>"


def explained(ours: str, theirs: str, changed: bool) -> str:
    """Why a difference is no fault of ours; empty if nothing is known."""
    if ours and theirs and changed:
        return "sysrepo refuses, and has changed data all the same"
    if ours.startswith("When condition") and not theirs:
        return "sysrepo drops what a when doesn't allow any more, given anew or not"
    return ""


def main() -> int:
    count, seed, worker = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    made = schema()
    tree = made.empty()
    tree.validate()
    generator = Generator(seed)
    process = subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    seen: Counter[str] = Counter()

    def ask(xml: str) -> dict[str, Any]:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(xml) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    prefixes = (
        'xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" '
        'xmlns:yang="urn:ietf:params:xml:ns:yang:1" xmlns:ex="urn:example:config"'
    )
    names = f'{prefixes} xmlns="urn:example:config"'
    ask(f'<top {names} nc:operation="remove"/>')
    for number in range(count):
        inner = generator.edit()
        before = json.dumps(tree.value().get("example:top"), sort_keys=True)
        copy, error = tree.copy(), ""
        try:
            Editor(made, copy).run(etree.fromstring(edit_xml(inner)))
            copy.validate()
        except ConfigError as caught:
            error = str(caught)
        except YangError as caught:
            error = str(from_yang(caught))
        answer = ask(inner.replace("<top", f"<top {names}", 1))
        if not error:
            tree = copy
        mine = json.dumps(tree.value().get("example:top"), sort_keys=True)
        other = made.parse(answer["data"] or "{}")
        other.add_defaults()
        theirs = json.dumps(other.value().get("example:top"), sort_keys=True)
        if bool(error) != bool(answer["error"]) or mine != theirs:
            why = explained(error, answer["error"], theirs != before)
            seen[why or "UNEXPLAINED"] += 1
            print(f"edit {number}: {why or 'UNEXPLAINED'}\n  {inner}")
            print(f"  ours:   {error or 'ok'}\n    {mine}")
            print(f"  theirs: {answer['error'] or 'ok'}\n    {theirs}")
            # Both go on from ours.
            ours = tree.at("/example:top")
            assert ours is not None
            text = yang.print_nodes(ours, yang.Format.XML)
            # Not by replace: sysrepo forgets then whether somebody has said what is the default too.
            ask(f'<top {names} nc:operation="remove"/>')
            ask(text.replace("<top", f"<top {prefixes}", 1))
        else:
            seen["refused by both" if error else "accepted by both"] += 1
    process.stdin.close()
    process.wait(30)
    print(f"{count} edits: " + ", ".join(f"{n} {what}" for what, n in seen.items()))
    return 1 if seen["UNEXPLAINED"] else 0


if __name__ == "__main__":
    sys.exit(main())
