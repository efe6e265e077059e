# SPDX-License-Identifier: BSD-3-Clause
"""One user's session with the server: the connection, the candidate, where in the tree they are."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lxml import etree
from sluice.mgmt import yang
from sluice.mgmt.yang import Format, Schema, SNode, Tree, YangError
from sluice.shell import model, schemas
from sluice.shell.client import Client, Fault, Offline, RpcError, Target
from sluice.shell.place import NETCONF, Element, Place, Step, below, of_path, term
from sluice.shell.words import Option

MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
NOTIFICATION = "urn:ietf:params:xml:ns:netconf:notification:1.0"
SLUICE = "urn:sluice:mgmt"
# How long values that were offered once are taken for true, and how many are offered.
FRESH = 3.0
OFFERED = 500
# Confirmed commits of all command lines have this persist-id: who logs in again can confirm.
PERSIST = "sluice-cli"
DATASTORES = ("running", "candidate", "startup")


class ShellError(Exception):
    """Something a user asked for that can't be done, and what to do instead."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class World:
    """`batch`: nobody is typing, edits are sent together. `notices` gets lines about what others did."""

    def __init__(self, target: Target, *, batch: bool = False, cache: Path | None = None) -> None:
        self.target = target
        self.batch = batch
        self.cache = cache
        self.notices: Callable[[str], None] | None = None
        self.traced: Callable[[str, bytes], None] | None = None
        self.editing = False
        self.place = Place()
        self.blocks: list[Place] = []  # where open `{` have come from
        self.edited = False
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._client: Client | None = None
        self._schema: tuple[str, Schema] | None = None
        self._buffer: Tree | None = None
        self._values: dict[str, tuple[float, list[str]]] = {}

    # Connection

    @property
    def client(self) -> Client:
        """The session; a new one if there's none or it broke. Says so if edits are lost."""
        if self._client is not None and not self._client.alive:
            self._client.close()
            self._client = None
            if self.editing:
                lost = self.edited
                self.leave()
                if lost:
                    raise ShellError(
                        "the session was lost, and with it the changes that weren't committed",
                        "`edit running` begins anew",
                    )
        if self._client is None:
            made = Client(self.target)
            made.traced = self.trace
            self._client = made
            name = schemas.content_id(made)
            if self._schema is None or self._schema[0] != name or not name:
                schema, self.warnings = schemas.load(made, self.cache)
                self._schema = (name, schema)
                self.place = Place()
                self.blocks.clear()
            if not self.batch:
                self._subscribe(made)
        return self._client

    def trace(self, direction: str, data: bytes) -> None:
        if self.traced is not None:
            self.traced(direction, data)

    @property
    def schema(self) -> Schema:
        _ = self.client
        assert self._schema is not None
        return self._schema[1]

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.alive

    def reachable(self) -> bool:
        """Whether the server answers, or did a moment ago; it's tried."""
        with contextlib.suppress(Offline, ShellError):
            return self.client.alive
        return False

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def rpc(self, body: str | bytes) -> Element:
        return self.client.rpc(body)

    # Notices

    def _subscribe(self, client: Client) -> None:
        client.heard = self._heard
        # Who may not listen works without.
        with contextlib.suppress(RpcError):
            client.rpc(f'<create-subscription xmlns="{NOTIFICATION}"/>')

    def _heard(self, element: Element) -> None:
        if self.notices is None:
            return
        text = notice(element, self._client.session if self._client else 0)
        if text:
            self.notices(text)

    # Reading

    def tree(self, source: str, place: Place | None = None) -> Tree:
        """A datastore's content, or `state`: all that <get> tells, at and below a place."""
        if source == "candidate":
            self.flush()
        inner = self._filter(place or Place())
        if source == "state":
            body = b"<get>%b</get>" % inner
        else:
            body = b"<get-config><source><%b/></source>%b</get-config>" % (source.encode(), inner)
        return self._parsed(self.rpc(body))

    @staticmethod
    def _filter(place: Place) -> bytes:
        if not place.steps:
            return b""
        top, _ = place.element()
        return b"<filter>%b</filter>" % etree.tostring(top)

    def _parsed(self, reply: Element) -> Tree:
        data = reply.find(f"{{{NETCONF}}}data")
        text = b"" if data is None else b"".join(etree.tostring(child) for child in data)
        return self.schema.parse(text, Format.XML, state=True, strict=False)

    def exists(self, place: Place) -> bool:
        """Whether the candidate has this node."""
        return bool(self.tree("candidate", place).find(place.xpath()))

    def values(self, place: Place) -> list[str]:
        """What a node has for values in the configuration that's edited, or the state; of a list, its first keys."""
        assert place.snode is not None
        leaf = place
        if place.snode.nodetype == yang.LIST:
            leaf = Place((*place.steps, Step(model.keys_of(place.snode)[0])))
        key = f"{self.editing} {leaf.xpath()}"
        kept = self._values.get(key)
        if kept is not None and time.monotonic() - kept[0] < FRESH:
            return kept[1]
        source = "candidate" if self.editing else "running"
        if not yang.is_config(leaf.steps[-1].snode):
            source = "state"
        found: list[str] = []
        with contextlib.suppress(RpcError, Offline, YangError, ShellError):
            nodes = self.tree(source, leaf)
            found = list(dict.fromkeys(yang.value_of(n) for n in nodes.find(leaf.xpath())))
        self._values[key] = (time.monotonic(), found[:OFFERED])
        return found[:OFFERED]

    # Changing

    def edit(self, config: bytes) -> None:
        """Send an edit-config of the candidate."""
        if not self.editing:
            raise ShellError("nothing is being edited", "`edit running` begins")
        self.flush()
        self._send(config)

    def _send(self, config: bytes) -> None:
        self.rpc(
            b"<edit-config><target><candidate/></target>"
            b'<config xmlns:nc="%b">%b</config></edit-config>' % (NETCONF.encode(), config)
        )
        self.touched()

    def touched(self) -> None:
        self.edited = True
        self._values.clear()
        if not self.batch:
            self.check()

    def put(self, nodes: list[tuple[Place, str | None]]) -> None:
        """Create nodes and set values; in a batch only sent with what follows."""
        if not self.editing:
            raise ShellError("nothing is being edited", "`edit running` begins")
        tree = self._buffer if self.batch and self._buffer is not None else self.schema.empty()
        for place, value in nodes:
            tree.new(place.path(), value)
        self._values.clear()
        if self.batch:
            self._buffer = tree
            self.edited = True
        else:
            self._send(tree.print(Format.XML).encode())

    def flush(self) -> None:
        """Send what a batch has gathered."""
        tree, self._buffer = self._buffer, None
        if tree is not None:
            self._send(tree.print(Format.XML).encode())

    def delete(self, place: Place) -> None:
        """Delete a node, or all entries of a list. It has to be there."""
        assert place.snode is not None
        if place.snode.nodetype in (yang.LIST, yang.LEAFLIST) and not place.steps[-1].keys:
            self._delete_all(place)
            return
        top, last = place.element()
        last.set(f"{{{NETCONF}}}operation", "delete")
        self.edit(etree.tostring(top))

    def _delete_all(self, place: Place) -> None:
        top, last = place.element()
        parent = last.getparent()
        held = self.tree("candidate", place)  # nodes live as long as their tree
        entries = held.find(place.xpath())
        if not entries:
            raise ShellError(f"there's no {model.name_of(place.steps[-1].snode)}")
        for node in entries:
            made = term(node.schema, None)
            made.set(f"{{{NETCONF}}}operation", "delete")
            if node.schema.nodetype == yang.LEAFLIST:
                made.text = yang.value_of(node)
            for child in yang.children(node):
                if yang.is_key(child.schema):
                    made.append(term(child.schema, yang.value_of(child)))
            if parent is not None:
                parent.append(made)
        if parent is None:
            raise ShellError(
                "that would delete everything", "name one entry, or `rollback factory`"
            )
        parent.remove(last)
        self.edit(etree.tostring(top))

    def copy_entry(self, place: Place, keys: tuple[str, ...], *, rename: bool) -> int:
        """Copy a list entry to other keys. `rename`: the old one goes, references follow; returns how many."""
        snode = place.steps[-1].snode
        target = place.up.down(snode, keys)
        if self.exists(target):
            raise ShellError(f"{target} is there already", "delete it first, or choose another")
        held = self.tree("candidate", place)
        found = held.find(place.xpath())
        if not found:
            raise ShellError(f"there's no {place}")
        element = etree.fromstring(yang.print_nodes(found[0], Format.XML))
        names = [model.name_of(key) for key in model.keys_of(snode)]
        for child in list(element):
            if etree.QName(child).localname in names:
                element.remove(child)
        for key, value in reversed(list(zip(model.keys_of(snode), keys, strict=True))):
            element.insert(0, term(key, value))
        top, last = place.element()
        parent = last.getparent()
        holder = etree.Element("holder") if parent is None else parent
        holder.append(element)
        if rename:
            last.set(f"{{{NETCONF}}}operation", "delete")
            holder.append(last)
        else:
            if parent is not None:
                holder.remove(last)
        parts = [top] if parent is not None else list(holder)
        count = 0
        if rename and len(keys) == 1:
            moved = self._moved(model.keys_of(snode)[0], place, target)
            parts += moved
            count = len(moved)
        self.edit(b"".join(etree.tostring(part) for part in parts))
        return count

    def _moved(self, key: SNode, place: Place, target: Place) -> list[Element]:
        """Edits that lead references from one entry's key to another's."""
        old, new = place.steps[-1].keys[0], target.steps[-1].keys[0]
        edits = []
        inside = place.path()
        for leaf in model.referrers(self.schema, key):
            pattern = Place(tuple(Step(snode) for snode in _way(leaf)))
            held = self.tree("candidate", pattern)
            for node in held.find(pattern.xpath()):
                if yang.value_of(node) != old or yang.is_key(leaf):
                    continue
                path = yang.path_of(node)
                if path.startswith(inside + "/"):
                    path = target.path() + path[len(inside) :]
                found = of_path(self.schema, path)
                if found is not None and leaf.nodetype == yang.LEAF:
                    top, last = found.element()
                    last.text = new
                    edits.append(top)
        return edits

    def check(self) -> list[str]:
        """Validate the candidate; what's wrong, a line each."""
        self.problems = []
        try:
            self.rpc("<validate><source><candidate/></source></validate>")
        except RpcError as error:
            self.problems = list(self.explained(error))
        return self.problems

    def enter(self) -> None:
        """Begin to edit."""
        _ = self.client
        self.editing = True

    def leave(self) -> None:
        """Stop editing; forget what wasn't committed."""
        self.editing = self.edited = False
        self.problems = []
        self.place = Place()
        self.blocks.clear()
        self._buffer = None
        self._values.clear()
        if self.connected:
            self.rpc("<discard-changes/>")

    def discard(self) -> None:
        self._buffer = None
        self.rpc("<discard-changes/>")
        self.clean()

    def clean(self) -> None:
        """The candidate is what runs again."""
        self.edited = False
        self.problems = []
        self._values.clear()
        if self.place.steps and not all(
            self.exists(Place(self.place.steps[: n + 1]))
            for n, step in enumerate(self.place.steps)
            if step.is_entry
        ):
            self.place = Place()

    # Errors

    def explained(self, error: RpcError) -> Iterator[str]:
        """A line for each fault: where, as it's typed, and what."""
        for fault in error.faults:
            where = self.where(fault.path)
            yield f"{where}: {self._said(fault)}" if where else self._said(fault)

    def where(self, path: str) -> str:
        if not path or self._schema is None:
            return path
        place = of_path(self._schema[1], path)
        return str(place) if place is not None else path

    def _said(self, fault: Fault) -> str:
        text = fault.message or fault.tag
        number = fault.info.get("session-id", "")
        found = re.search(r"\bsession (\d+)\b", text)
        if found:
            number = found[1]
        if number.isdecimal() and int(number):
            return text + self._owner(number)
        return text

    def _owner(self, number: str) -> str:
        """Who a session is, as far as the server tells."""
        body = (
            f'<get><filter><netconf-state xmlns="{MONITORING}"><sessions><session>'
            f"<session-id>{number}</session-id></session></sessions></netconf-state></filter></get>"
        )
        with contextlib.suppress(RpcError, Offline):
            reply = self.rpc(body)
            user = reply.findtext(f".//{{{MONITORING}}}username")
            host = reply.findtext(f".//{{{MONITORING}}}source-host")
            since = reply.findtext(f".//{{{MONITORING}}}login-time")
            if user:
                return f" ({user}{f' from {host}' if host else ''}, since {since})"
        return ""

    # What to offer

    def offered(self, place: Place, snode: SNode) -> list[Option]:
        """Values for a leaf below a place: what its type lists, what it refers to, what its model suggests."""
        found = list(model.words(snode))
        seen = {option.word for option in found}

        def add(values: list[str], text: str) -> None:
            for value in values:
                if value not in seen:
                    seen.add(value)
                    found.append(Option(value, text))

        if yang.is_key(snode):
            add(self.values(place.up.down(place.steps[-1].snode)), "exists")
        for path in model.references(self.schema, snode):
            way = _way(self.schema.find(path))
            target = Place(tuple(Step(node) for node in way))
            add(self.values(target), f"a {model.name_of(way[-2])}" if len(way) > 1 else "")
        suggesting = [snode, place.steps[-1].snode] if yang.is_key(snode) else [snode]
        for path in [path for node in suggesting for path in model.suggestions(node)]:
            suggested = below(self.schema, place, path)
            if suggested is not None:
                add(self.values(suggested), "")
        return found


def _way(snode: SNode | None) -> list[SNode]:
    """The data nodes from the top to this one."""
    result: list[SNode] = []
    while snode is not None:
        result.insert(0, snode)
        snode = yang.data_parent(snode)
    return result


@contextmanager
def tracing(world: World) -> Iterator[list[str]]:
    """Gathers the XML of all RPCs meanwhile, each message as lines."""
    lines: list[str] = []
    before = world.traced

    def note(direction: str, data: bytes) -> None:
        lines.extend(pretty(direction, data))

    world.traced = note
    try:
        yield lines
    finally:
        world.traced = before


def pretty(direction: str, data: bytes) -> list[str]:
    mark = "-->" if direction == "out" else "<--"
    try:
        parser = etree.XMLParser(remove_blank_text=True, huge_tree=True, resolve_entities=False)
        text = etree.tostring(etree.fromstring(data, parser), pretty_print=True).decode()
    except etree.XMLSyntaxError:
        text = data.decode(errors="replace")
    return [f"<!-- {mark} -->", *text.rstrip().splitlines()]


def notice(element: Element, own: int) -> str:
    """What a notification tells a user; empty for nothing of interest."""
    for event in element:
        name = etree.QName(event).localname
        found = {
            etree.QName(part).localname: (part.text or "").strip()
            for part in event.iter()
            if isinstance(part.tag, str) and len(part) == 0
        }
        who = found.get("username", "")
        number = found.get("session-id", "")
        if number == str(own) and found.get("confirm-event") != "timeout":
            continue
        by = f"{who} (session {number})" if who else "the system"
        if name == "netconf-config-change" and found.get("datastore", "running") == "running":
            return f"{by} has changed the running configuration"
        if name == "netconf-confirmed-commit":
            return {
                "start": f"{by} has made a commit that must be confirmed in {found.get('timeout')} seconds",
                "extend": f"{by} has changed a commit that must be confirmed in {found.get('timeout')} seconds",
                "complete": f"{by} has confirmed the commit",
                "timeout": "a commit wasn't confirmed in time: the configuration before it runs again",
                "cancel": f"{by} has taken back an unconfirmed commit",
            }.get(found.get("confirm-event", ""), "")
    return ""
