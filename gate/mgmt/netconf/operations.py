# SPDX-License-Identifier: BSD-3-Clause
"""What each RPC does. A handler gets its parameters and returns the reply's body; ConfigError becomes rpc-error."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from lxml import etree
from sluice.mgmt.edit import BASE, DEFAULTS, Editor, Element, elements, split
from sluice.mgmt.engine import Datastore, errors
from sluice.mgmt.error import ConfigError
from sluice.mgmt.netconf import rpc as generic
from sluice.mgmt.netconf.message import (
    MONITORING,
    NOTIFICATION,
    SLUICE,
    WITH_DEFAULTS,
    Parameters,
    bad_element,
    missing,
    prefixes,
)
from sluice.mgmt.select import Filter, Subtree, XPath, wants
from sluice.mgmt.yang import Defaults, Format, Schema, Tree

if TYPE_CHECKING:
    from sluice.mgmt.netconf.session import Session

OK = "<ok/>"
Handler = Callable[["Operations", Parameters], Awaitable[str]]
HANDLERS: dict[tuple[str, str], tuple[str, Handler]] = {}
CONFIRM_TIMEOUT = 600


def handles(namespace: str, name: str, module: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS[namespace, name] = (module, handler)
        return handler

    return register


class Operations:
    """The operations of one session."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.engine = session.server.engine
        self.schema: Schema = self.engine.schema

    async def run(self, operation: Element) -> str:
        """Returns the body of the reply."""
        namespace, name = split(operation)
        found = HANDLERS.get((namespace, name))
        if found is None:
            return await generic.call(self.session, operation)
        module, handler = found
        self.session.access().execute(module, name)
        parameters = Parameters(operation)
        return await handler(self, parameters)

    # Common parts

    def datastore(
        self, parameters: Parameters, role: str
    ) -> tuple[Datastore, None] | tuple[None, Element]:
        """What `source` or `target` says: a datastore or a configuration itself."""
        holder = parameters.need(role)
        given = list(elements(holder))
        if len(given) != 1:
            raise missing(role) if not given else bad_element(role, f"{role!r} names one datastore")
        namespace, name = split(given[0])
        if namespace not in (BASE, ""):
            raise bad_element(name, f"{name!r} isn't a datastore", "unknown-element")
        if name == "config" and role == "source":
            return None, given[0]
        if name == "url":
            raise ConfigError(
                "URLs aren't supported", tag="operation-not-supported", type="protocol"
            )
        if name not in (Datastore.RUNNING, Datastore.CANDIDATE, Datastore.STARTUP):
            raise bad_element(name, f"{name!r} isn't a datastore", "unknown-element")
        return Datastore(name), None

    def named(self, parameters: Parameters, role: str) -> Datastore:
        datastore, _ = self.datastore(parameters, role)
        if datastore is None:
            raise bad_element("config", "this needs a datastore")
        return datastore

    def content(self, datastore: Datastore) -> Tree:
        return self.engine.tree(datastore, self.session.candidate)

    def selection(self, parameters: Parameters, namespace: str = BASE) -> Filter | None:
        element = parameters.take("filter", namespace)
        return None if element is None else make_filter(self.schema, element)

    def defaults(self, parameters: Parameters) -> Defaults:
        text = parameters.choice("with-defaults", tuple(Defaults), Defaults.EXPLICIT, WITH_DEFAULTS)
        return Defaults(text)

    def shown(self, tree: Tree, selection: Filter | None, defaults: Defaults, *, own: bool) -> str:
        """A tree as the reply's data: what the filter selects and the user may read. `own`: the tree may be changed."""
        access = self.session.access()
        if selection is not None:
            tree = selection.apply(tree)
        elif not own and not access.all_permitted("read"):
            tree = tree.copy()
        tree = access.readable(tree)
        text = tree.print(Format.XML, defaults=defaults)
        if defaults is Defaults.REPORT_ALL_TAGGED:
            # libyang tags in the module's namespace, RFC 6243 section 6 in the attribute's own.
            text = text.replace(f'xmlns:ncwd="{WITH_DEFAULTS}"', f'xmlns:ncwd="{DEFAULTS}"')
        return f"<data>{text}</data>"

    def may_write(self, datastore: Datastore) -> None:
        if not (datastore is Datastore.CANDIDATE and self.session.private):
            self.engine.usable(datastore, self.session.id)

    def parsed(self, config: Element) -> Tree:
        """A <config> as a tree of its own."""
        tree = self.schema.empty()
        with errors():
            Editor(self.schema, tree).run(config)
            tree.add_defaults()
        return tree

    def put(self, tree: Tree) -> None:
        """Replace the candidate."""
        candidate = self.session.candidate
        self.session.access().change(self.content(Datastore.CANDIDATE), tree)
        candidate.base = candidate.base or self.engine.running
        candidate.tree = tree

    # RFC 6241

    @handles(BASE, "get-config", "ietf-netconf")
    async def get_config(self, parameters: Parameters) -> str:
        source = self.named(parameters, "source")
        selection, defaults = self.selection(parameters), self.defaults(parameters)
        parameters.done()
        return self.shown(self.content(source), selection, defaults, own=False)

    @handles(BASE, "get", "ietf-netconf")
    async def get(self, parameters: Parameters) -> str:
        selection, defaults = self.selection(parameters), self.defaults(parameters)
        parameters.done()
        states = await self.engine.read_states(wants(selection))
        running = self.engine.running
        if not states:
            return self.shown(running, selection, defaults, own=False)
        if isinstance(selection, Subtree):
            # Each by itself, so that a large configuration isn't copied for a little state.
            result = selection.apply(running)
            result.merge(selection.apply(states))
            return self.shown(result, None, defaults, own=True)
        whole = running.copy()
        whole.merge(states)
        return self.shown(whole, selection, defaults, own=True)

    @handles(BASE, "edit-config", "ietf-netconf")
    async def edit_config(self, parameters: Parameters) -> str:
        target = self.named(parameters, "target")
        default = parameters.choice("default-operation", ("merge", "replace", "none"), "merge")
        # RFC 7950 section 8.3.3: the constraints of a candidate are checked by validate and commit. So only who asks
        # for test-then-set gets it, and a candidate can be built in steps.
        test = parameters.choice("test-option", ("test-then-set", "set", "test-only"), "set")
        option = parameters.choice(
            "error-option",
            ("stop-on-error", "continue-on-error", "rollback-on-error"),
            "stop-on-error",
        )
        if parameters.take("url") is not None:
            raise ConfigError(
                "URLs aren't supported", tag="operation-not-supported", type="protocol"
            )
        config = parameters.need("config")
        parameters.done()
        if target is not Datastore.CANDIDATE:
            raise ConfigError(
                f"{target} isn't edited: edit candidate",
                tag="operation-not-supported" if target is Datastore.RUNNING else "invalid-value",
                type="protocol",
            )
        self.may_write(target)
        before = self.content(target)
        keep_going = option == "continue-on-error"
        failed: list[ConfigError] = []

        def change(tree: Tree) -> None:
            try:
                Editor(self.schema, tree, keep_going=keep_going).run(config, default)
            except ConfigError as error:
                if not keep_going:
                    raise
                failed.append(error)
            tree.add_defaults()
            self.session.access().change(before, tree)
            if test != "set":
                self.engine.validated(tree)

        if test == "test-only":
            copy = before.copy()
            with errors():
                change(copy)
        else:
            self.engine.edit(self.session.candidate, change)
        if failed:
            raise failed[0]
        return OK

    @handles(BASE, "copy-config", "ietf-netconf")
    async def copy_config(self, parameters: Parameters) -> str:
        target = self.named(parameters, "target")
        source, config = self.datastore(parameters, "source")
        defaults = self.defaults(parameters)
        parameters.done()
        if source is target:
            raise bad_element("target", "source and target are the same", "invalid-value")
        if target is Datastore.RUNNING:
            raise ConfigError(
                "running isn't written: copy to candidate and commit",
                tag="operation-not-supported",
                type="protocol",
            )
        self.may_write(target)
        access = self.session.access()
        if source is not None:
            tree = self.content(source).copy()
            access.readable(tree)
            if defaults is not Defaults.EXPLICIT:
                tree = self.schema.parse(tree.print(Format.XML, defaults=defaults), Format.XML)
        else:
            tree = self.parsed(config)
        if target is Datastore.CANDIDATE:
            self.put(tree)
        else:
            access.change(self.content(target), tree)
            self.engine.set_startup(tree, self.session.author)
        return OK

    @handles(BASE, "delete-config", "ietf-netconf")
    async def delete_config(self, parameters: Parameters) -> str:
        target = self.named(parameters, "target")
        parameters.done()
        if target is not Datastore.STARTUP:
            raise bad_element(target, f"{target} can't be deleted")
        self.may_write(target)
        if self.engine.startup is None:
            raise ConfigError("there's no startup configuration", tag="data-missing")
        self.session.access().change(self.engine.startup, self.schema.empty())
        self.engine.set_startup(None, self.session.author)
        return OK

    @handles(BASE, "lock", "ietf-netconf")
    async def lock(self, parameters: Parameters) -> str:
        target = self.named(parameters, "target")
        parameters.done()
        self.engine.lock(target, self.session.id)
        return OK

    @handles(BASE, "unlock", "ietf-netconf")
    async def unlock(self, parameters: Parameters) -> str:
        target = self.named(parameters, "target")
        parameters.done()
        self.engine.unlock(target, self.session.id)
        return OK

    @handles(BASE, "close-session", "ietf-netconf")
    async def close_session(self, parameters: Parameters) -> str:
        parameters.done()
        self.session.closing = "closed"
        return OK

    @handles(BASE, "kill-session", "ietf-netconf")
    async def kill_session(self, parameters: Parameters) -> str:
        parameters.need("session-id")
        number = parameters.number("session-id", 0)
        parameters.done()
        if number == self.session.id:
            raise bad_element("session-id", "that's this session: use close-session")
        other = self.session.server.sessions.get(number)
        if other is None:
            raise bad_element("session-id", f"there's no session {number}")
        other.kill(self.session)
        return OK

    @handles(BASE, "commit", "ietf-netconf")
    async def commit(self, parameters: Parameters) -> str:
        confirmed = parameters.take("confirmed") is not None
        timeout = parameters.number("confirm-timeout", CONFIRM_TIMEOUT)
        persist = parameters.text("persist")
        persist_id = parameters.text("persist-id")
        comment = parameters.text("comment", SLUICE) or ""
        parameters.done()
        if persist is not None and not confirmed:
            raise bad_element("persist", "persist goes with confirmed", "bad-element")
        if len(comment) > 1024:
            raise bad_element("comment", "a comment has at most 1024 characters")
        self.may_write(Datastore.RUNNING)
        self.may_write(Datastore.CANDIDATE)
        access = self.session.access()
        await self.engine.commit(
            self.session.candidate,
            self.session.author,
            comment=comment,
            confirmed=timeout if confirmed else None,
            persist=persist,
            persist_id=persist_id,
            check=access.change,
        )
        return OK

    @handles(BASE, "discard-changes", "ietf-netconf")
    async def discard_changes(self, parameters: Parameters) -> str:
        parameters.done()
        self.may_write(Datastore.CANDIDATE)
        self.engine.discard(self.session.candidate)
        return OK

    @handles(BASE, "cancel-commit", "ietf-netconf")
    async def cancel_commit(self, parameters: Parameters) -> str:
        persist_id = parameters.text("persist-id")
        parameters.done()
        await self.engine.cancel(self.session.author, persist_id)
        return OK

    @handles(BASE, "validate", "ietf-netconf")
    async def validate(self, parameters: Parameters) -> str:
        source, config = self.datastore(parameters, "source")
        parameters.done()
        self.engine.validated(self.content(source) if source is not None else self.parsed(config))
        return OK

    # RFC 6022, RFC 5277

    @handles(MONITORING, "get-schema", "ietf-netconf-monitoring")
    async def get_schema(self, parameters: Parameters) -> str:
        name = parameters.text("identifier", MONITORING)
        if not name:
            raise missing("identifier")
        version = parameters.text("version", MONITORING)
        form = (parameters.text("format", MONITORING) or "yang").rpartition(":")[2]
        parameters.done()
        text = self.schema.source(name, version, form) if form in ("yang", "yin") else None
        if text is None:
            raise ConfigError(
                f"there's no model {name!r} of this version and format", tag="invalid-value"
            )
        holder = etree.Element(f"{{{MONITORING}}}data", nsmap={None: MONITORING})
        holder.text = text
        return str(etree.tostring(holder, encoding="unicode"))

    @handles(NOTIFICATION, "create-subscription", "notifications")
    async def create_subscription(self, parameters: Parameters) -> str:
        stream = parameters.text("stream", NOTIFICATION) or "NETCONF"
        selection = self.selection(parameters, NOTIFICATION)
        start = parameters.text("startTime", NOTIFICATION)
        stop = parameters.text("stopTime", NOTIFICATION)
        parameters.done()
        self.session.server.hub.subscribe(self.session, stream, selection, start, stop)
        return OK

    # Our own

    @handles(SLUICE, "rollback", "sluice-mgmt")
    async def rollback(self, parameters: Parameters) -> str:
        given = generic.read(self.schema, parameters.operation)
        self.may_write(Datastore.CANDIDATE)
        if "startup" in given:
            tree = self.content(Datastore.STARTUP).copy()
        elif "factory" in given:
            tree = self.content(Datastore.FACTORY).copy()
        else:
            tree = self.engine.kept(given.get("commits"), given.get("checkpoint"))
        with errors():
            tree.add_defaults()
        self.put(tree)
        return OK

    @handles(SLUICE, "checkpoint", "sluice-mgmt")
    async def checkpoint(self, parameters: Parameters) -> str:
        given = generic.read(self.schema, parameters.operation)
        self.engine.keep(given["name"], self.session.author, given.get("comment", ""))
        return OK

    @handles(SLUICE, "delete-checkpoint", "sluice-mgmt")
    async def delete_checkpoint(self, parameters: Parameters) -> str:
        given = generic.read(self.schema, parameters.operation)
        with errors():
            self.engine.store.drop_checkpoint(given["name"])
        return OK


def make_filter(schema: Schema, element: Element) -> Filter:
    kind = element.get("type") or element.get(f"{{{BASE}}}type") or "subtree"
    if kind == "subtree":
        return Subtree(schema, element)
    if kind != "xpath":
        raise ConfigError(
            f"no filter type {kind!r}; there are subtree and xpath",
            tag="bad-attribute",
            type="protocol",
            info=(("bad-attribute", "type"), ("bad-element", "filter")),
        )
    select = element.get("select") or element.get(f"{{{BASE}}}select")
    if not select:
        raise ConfigError(
            "an XPath filter needs select",
            tag="missing-attribute",
            type="protocol",
            info=(("bad-attribute", "select"), ("bad-element", "filter")),
        )
    return XPath(schema, select, prefixes(schema, element))
