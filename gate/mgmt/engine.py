# SPDX-License-Identifier: BSD-3-Clause
"""The datastores, and how a configuration becomes running: whole, or not at all."""

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sluice.mgmt import yang
from sluice.mgmt.change import Found, Watchers
from sluice.mgmt.error import ConfigError, at, from_yang
from sluice.mgmt.feature import Applier, Entry, Feature, State
from sluice.mgmt.store import Store, StoreError
from sluice.mgmt.yang import Format, Schema, Tree, YangError

log = logging.getLogger("yamsd")


class Datastore(StrEnum):
    RUNNING = "running"
    CANDIDATE = "candidate"
    STARTUP = "startup"
    FACTORY = "factory-default"


@dataclass(frozen=True)
class Author:
    """Who changes something. Session 0 is the daemon itself."""

    user: str
    session: int = 0
    host: str = ""


SERVER = Author("", 0)


@dataclass
class Candidate:
    """Changes that aren't running yet, and the configuration they began with. No tree: no changes."""

    tree: Tree | None = None
    base: Tree | None = None


@dataclass
class Pending:
    """A confirmed commit that waits to be confirmed."""

    old: Tree
    deadline: float  # of CLOCK_BOOTTIME
    persist: str | None
    author: Author
    timer: asyncio.TimerHandle | None = None

    def belongs(self, author: Author, persist_id: str | None) -> bool:
        if self.persist is not None:
            return persist_id == self.persist
        return author.session == self.author.session


@dataclass(frozen=True)
class Event:
    """Something that happened, for those who listen. `kind`: change, confirm."""

    kind: str
    author: Author
    datastore: Datastore = Datastore.RUNNING
    detail: str = ""  # confirm: start, extend, complete, timeout, cancel
    timeout: int = 0
    edits: tuple[tuple[str, str], ...] = ()  # change: (path, operation)


# More single edits than this are told by the top-level nodes they're in.
EDITS_TOLD = 64


def boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def errors(path: str = "") -> Iterator[None]:
    """Libyang's and the disk's complaints as ours."""
    try:
        yield
    except YangError as error:
        raise at(from_yang(error), path) from error
    except StoreError as error:
        raise ConfigError(str(error)) from error


class Engine:
    """The only writer. One at a time: `commit` and what else changes running wait for each other."""

    def __init__(self, schema: Schema, features: list[Feature], store: Store) -> None:
        self.schema = schema
        self.features = features
        self.store = store
        self.states: list[tuple[State, Any]] = []
        self.watchers = Watchers(schema, [a for feature in features for a in feature.appliers])
        for text in self.watchers.unknown:
            log.error("%s: it will see nothing", text)
        for feature in features:
            for state in feature.states:
                self.add_state(state)
        self.factory = self._factory()
        self.startup: Tree | None = None
        self.running = schema.empty()
        self.shared = Candidate()
        self.pending: Pending | None = None
        self.locks: dict[Datastore, int] = {}
        self.lock_times: dict[Datastore, str] = {}
        self.listeners: list[Callable[[Event], None]] = []
        self.counts = {"commits": 0, "failed": 0, "rolled-back": 0}
        self._busy = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def add_state(self, state: State) -> None:
        snode = self.schema.find(state.path)
        if snode is None:
            log.error("state: no node %s in the models", state.path)
        else:
            self.states.append((state, snode))

    def _factory(self) -> Tree:
        tree = self.schema.empty()
        for feature in self.features:
            if feature.factory:
                try:
                    tree.merge(self.schema.parse(json.dumps(feature.factory)))
                except YangError as error:
                    log.error("the factory configuration of %s is wrong: %s", feature.name, error)
        tree.validate()
        return tree

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    # Start

    async def start(self) -> None:
        """Find out what is to run, make the system so. After a crash that's the last whole commit's configuration."""
        running = self._written(self.store.running)
        journal = self._written(self.store.journal)
        self.startup = self._load_startup()
        owned = []
        if running is not None:
            wanted = running
            owned.append(running.copy())
        else:
            wanted = self._start_configuration()
        if journal is not None:
            log.warning("a commit was cut off; the system is made what the last whole one says")
            owned.append(journal)
        wanted.validate()
        old = self._written(self.store.confirm)
        if old is not None:
            wanted = self._resume(old, wanted)
        if running is None:
            self.store.put_with(self.store.journal, {}, wanted.print())
            for applier in self.watchers.appliers:
                try:
                    await applier.booted()
                except Exception as error:
                    log.error(
                        "%s: what was left before can't be taken back: %s", applier.name, error
                    )
        try:
            await self._reconcile(owned, wanted)
        except ConfigError as error:
            # Better to be reachable with a part of it than not at all.
            log.error("not all of the configuration could be applied: %s", error)
        self.running = wanted
        self.store.put_with(self.store.running, {}, wanted.print())
        self.store.drop(self.store.journal)

    def _written(self, path: Path) -> Tree | None:
        """A configuration that we wrote ourselves since this boot.

        One that other models don't fit any more, or that somebody has spoiled, is named and left out.
        """
        try:
            found = self.store.get_with(path)
            if found is None:
                return None
            tree = self.schema.parse(found[1])
            tree.validate()
        except (StoreError, YangError) as error:
            log.error("%s is left out: %s", path, error)
            return None
        return tree

    def _load_startup(self) -> Tree | None:
        try:
            text = self.store.startup.read_text()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.error("can't read %s: %s", self.store.startup, error.strerror)
            return None
        try:
            return self.schema.parse(text, only=False)
        except YangError as error:
            log.error("%s is refused: %s", self.store.startup, error)
            return None

    def _start_configuration(self) -> Tree:
        if self.startup is None:
            log.info("there's no startup configuration: starting with the factory's")
        return (self.startup or self.factory).copy()

    def _resume(self, old: Tree, wanted: Tree) -> Tree:
        """A confirmed commit was waiting when the daemon ended."""
        found = self.store.get_with(self.store.confirm)
        assert found is not None
        head = found[0]
        left = float(head["deadline"]) - boot_time()
        author = Author(str(head["user"]), int(head["session"]))
        if head["persist"] is None or left <= 0:
            log.warning("a confirmed commit wasn't confirmed: the older configuration is back")
            self.store.drop(self.store.confirm)
            return old
        self.pending = Pending(old, float(head["deadline"]), str(head["persist"]), author)
        self._arm(left)
        return wanted

    # Reading

    def tree(self, datastore: Datastore, candidate: Candidate | None = None) -> Tree:
        """A datastore's content; not to be changed."""
        match datastore:
            case Datastore.RUNNING:
                return self.running
            case Datastore.CANDIDATE:
                tree = (candidate or self.shared).tree
                return self.running if tree is None else tree
            case Datastore.STARTUP:
                return self.startup if self.startup is not None else self.schema.empty()
            case Datastore.FACTORY:
                return self.factory

    async def read_states(self, wanted: Callable[[State, Any], bool]) -> Tree:
        """What the state providers say that are wanted."""
        result = self.schema.empty()
        for state, snode in self.states:
            if not wanted(state, snode):
                continue
            try:
                value = state.read()
                if inspect.isawaitable(value):
                    value = await value
                if not isinstance(value, Tree):
                    value = self.schema.parse(json.dumps(value), state=True)
                result.merge(value)
            except Exception as error:
                log.error("the state below %s can't be read: %s", state.path, error)
        return result

    # Changing

    def edit(self, candidate: Candidate, change: Callable[[Tree], None]) -> None:
        """Change a candidate by a function that gets a copy; it stays as it was if that raises."""
        base = candidate.base or self.running
        copy = self.tree(Datastore.CANDIDATE, candidate).copy()
        with errors():
            change(copy)
            copy.add_defaults()
        candidate.tree, candidate.base = copy, base

    @staticmethod
    def discard(candidate: Candidate) -> None:
        candidate.tree = candidate.base = None

    def changed(self, candidate: Candidate) -> bool:
        return candidate.tree is not None and bool(self.running.diff(candidate.tree))

    def _rebased(self, candidate: Candidate) -> Tree:
        """What running becomes by a candidate: its changes on top of what others did meanwhile."""
        if candidate.tree is None:
            return self.running.copy()
        if candidate.base is None or candidate.base is self.running:
            return candidate.tree.copy()
        result = self.running.copy()
        try:
            result.apply(candidate.base.diff(candidate.tree, defaults=True))
        except YangError as error:
            raise ConfigError(
                f"running has changed since, and these changes don't fit any more: {error}",
                app_tag="conflict",
            ) from error
        return result

    def validated(self, tree: Tree) -> Tree:
        """A copy with defaults, if all constraints hold."""
        copy = tree.copy()
        with errors():
            copy.validate()
        return copy

    async def commit(
        self,
        candidate: Candidate,
        author: Author,
        *,
        comment: str = "",
        confirmed: int | None = None,
        persist: str | None = None,
        persist_id: str | None = None,
        check: Callable[[Tree, Tree], None] | None = None,
    ) -> None:
        """Make a candidate running. `confirmed`: only for that many seconds, unless confirmed till then.

        `check` gets running and what it would become, and may refuse. Raises ConfigError, and then running, the system
        and the candidate are as before.
        """
        async with self._busy:
            pending = self.pending
            if pending is not None and not pending.belongs(author, persist_id):
                if persist_id is not None:
                    raise ConfigError(
                        "no confirmed commit has this persist-id", tag="invalid-value"
                    )
                raise ConfigError(
                    f"a confirmed commit of {whose(pending.author)} waits to be confirmed",
                    tag="in-use",
                )
            if pending is None and persist_id is not None:
                raise ConfigError("no confirmed commit has this persist-id", tag="invalid-value")
            new = self._rebased(candidate)
            with errors():
                new.validate()
            if check is not None:
                check(self.running, new)
            old = pending.old if pending is not None else self.running
            if confirmed is not None:
                deadline = boot_time() + confirmed
                next_pending = Pending(old, deadline, persist, author)
                with errors():
                    self._write_confirm(next_pending)
            try:
                await self._become(new, author, comment)
            except BaseException:
                if confirmed is not None and pending is None:
                    self.store.drop(self.store.confirm)
                elif confirmed is not None and pending is not None:
                    self._write_confirm(pending)
                raise
            self.discard(candidate)
            if confirmed is not None:
                self._disarm()
                self.pending = next_pending
                self._arm(confirmed)
                detail = "start" if pending is None else "extend"
                self.tell(Event("confirm", author, detail=detail, timeout=confirmed))
            elif pending is not None:
                self._forget_pending()
                self.tell(Event("confirm", author, detail="complete"))

    async def cancel(self, author: Author, persist_id: str | None) -> None:
        """cancel-commit: back to what was before the confirmed commit."""
        if self.pending is None:
            raise ConfigError("no confirmed commit waits", tag="operation-failed")
        if not self.pending.belongs(author, persist_id):
            raise ConfigError("no confirmed commit has this persist-id", tag="invalid-value")
        await self._back("cancel", author)

    def ended(self, session: int) -> None:
        """A session is gone: its locks go, and its confirmed commit unless it persists."""
        for datastore in [name for name, owner in self.locks.items() if owner == session]:
            del self.locks[datastore]
            if datastore is Datastore.CANDIDATE:
                self.discard(self.shared)
        pending = self.pending
        if pending and pending.persist is None and pending.author.session == session:
            self._later(self._back("cancel", pending.author))

    def lock(self, datastore: Datastore, session: int) -> None:
        """RFC 6241 section 7.5."""
        owner = self.locks.get(datastore)
        if owner is None and datastore is Datastore.RUNNING and self.pending is not None:
            owner = self.pending.author.session
            if owner == session:
                owner = None
        if owner is not None:
            raise ConfigError(
                f"session {owner} holds the lock of {datastore}",
                tag="lock-denied",
                type="protocol",
                info=(("session-id", str(owner)),),
            )
        if datastore is Datastore.CANDIDATE and self.changed(self.shared):
            raise ConfigError(
                "candidate holds changes: commit or discard them first",
                tag="lock-denied",
                type="protocol",
                info=(("session-id", "0"),),
            )
        self.locks[datastore] = session
        self.lock_times[datastore] = (
            datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )

    def unlock(self, datastore: Datastore, session: int) -> None:
        if self.locks.get(datastore) != session:
            raise ConfigError(f"you don't hold the lock of {datastore}", type="protocol")
        del self.locks[datastore]
        if datastore is Datastore.CANDIDATE:
            self.discard(self.shared)

    def usable(self, datastore: Datastore, session: int) -> None:
        """Raises in-use if another session has locked it."""
        owner = self.locks.get(datastore)
        if owner is not None and owner != session:
            raise ConfigError(
                f"session {owner} holds the lock of {datastore}", tag="in-use", type="protocol"
            )

    def set_startup(self, tree: Tree | None, author: Author) -> None:
        """Replace or delete what the next start of the machine begins with."""
        with errors():
            if tree is None:
                self.store.drop(self.store.startup)
                self.startup = None
            else:
                checked = self.validated(tree)
                self.store.put(self.store.startup, checked.print(pretty=True) + "\n")
                self.startup = checked
        self.tell(Event("change", author, Datastore.STARTUP))

    def kept(self, back: int | None, checkpoint: str | None) -> Tree:
        """An archived configuration: `back` commits ago, or a checkpoint's."""
        with errors():
            if checkpoint is not None:
                text = self.store.kept(self.store.checkpoints, checkpoint)
                if text is None:
                    raise ConfigError(f"there's no checkpoint {checkpoint!r}", tag="invalid-value")
            else:
                number = self.store.last - (back or 0)
                text = self.store.kept(self.store.revisions, f"{number:06d}")
                if text is None:
                    raise ConfigError(
                        f"no configuration is kept of {back} commits ago", tag="invalid-value"
                    )
            return self.schema.parse(text)

    def keep(self, name: str, author: Author, comment: str) -> None:
        """Make a checkpoint of running."""
        with errors():
            self.store.checkpoint(name, self.running.print(), meta(author, comment))

    # How it becomes running

    async def _become(self, new: Tree, author: Author, comment: str) -> None:
        """Apply the difference and swap; `new` is valid."""
        diff = self.running.diff(new, defaults=True)
        if not diff:
            return
        entries = self.watchers.changed(diff, self.running, new)
        self.watchers.repeat(entries, new)
        for applier, found in entries.items():
            if found:
                await self._call(applier, applier.verify, found)
        for applier, found in entries.items():
            if found:
                await self._call(applier, applier.prepare, found)
        text = new.print()
        with errors():
            self.store.put_with(self.store.journal, {}, text)
        await self._apply(entries, text)
        self.running = new
        self.counts["commits"] += 1
        try:
            self.store.drop(self.store.journal)
            self.store.archive(text, meta(author, comment))
        except StoreError as error:
            log.error("the commit is running, but isn't in the archive: %s", error)
        self.tell(Event("change", author, edits=tuple(told(diff))))

    async def _apply(self, entries: Found, text: str) -> None:
        """Removals, then the rest, then the file that makes it last. What was done is undone if anything fails."""
        steps: list[tuple[Applier, list[Entry], bool]] = []
        for applier in reversed(self.watchers.appliers):
            gone = [entry for entry in entries[applier] if entry.new is None]
            if gone:
                steps.append((applier, gone, True))
        for applier in self.watchers.appliers:
            there = [entry for entry in entries[applier] if entry.new is not None]
            if there:
                steps.append((applier, there, False))
        done: list[tuple[Applier, list[Entry], bool]] = []
        try:
            for step in steps:
                applier, found, removal = step
                done.append(step)
                await self._call(applier, applier.remove if removal else applier.apply, found)
            with errors():
                self.store.put_with(self.store.running, {}, text)
        except BaseException:
            self.counts["failed"] += 1
            await self._undo(done)
            self.store.drop(self.store.journal)
            raise

    async def _undo(self, done: list[tuple[Applier, list[Entry], bool]]) -> None:
        """Roll back, the failing step first. One that can't is logged; the others go on."""
        # What depends on others (`again`) gets back only after them.
        late = {applier for applier, _, _ in done if applier.again}
        for applier, found, _ in reversed(done):
            await self._rollback(applier, found, quiet=applier in late)
        for applier, found, _ in done:
            if applier in late:
                await self._rollback(applier, found, quiet=False)

    async def _rollback(self, applier: Applier, found: list[Entry], *, quiet: bool) -> None:
        try:
            await applier.rollback(found)
            self.counts["rolled-back"] += 1
        except Exception as error:
            if quiet:
                log.debug("%s can't undo all yet: %s", applier.name, error)
            else:
                log.exception("%s can't undo what it did; running may not be what is", applier.name)

    async def _call(
        self,
        applier: Applier,
        method: Callable[[list[Entry]], Awaitable[None]],
        entries: list[Entry],
    ) -> None:
        try:
            await method(entries)
        except ConfigError:
            raise
        except Exception as error:
            log.exception("%s failed", applier.name)
            raise ConfigError(f"{applier.name}: {error or type(error).__name__}") from error

    async def _reconcile(self, owned: list[Tree], wanted: Tree) -> None:
        """Make the system what `wanted` says, where any of `owned` may be. One that fails doesn't stop others."""
        entries = self.watchers.all(owned, wanted)
        failed: list[ConfigError] = []
        for applier in reversed(self.watchers.appliers):
            gone = [entry for entry in entries[applier] if entry.new is None]
            if gone:
                await self._try(applier, applier.remove, gone, failed)
        for applier in self.watchers.appliers:
            there = [entry for entry in entries[applier] if entry.new is not None]
            if there:
                await self._try(applier, applier.apply, there, failed)
        if failed:
            raise ConfigError.of([fault for error in failed for fault in error.faults])

    async def _try(
        self,
        applier: Applier,
        method: Callable[[list[Entry]], Awaitable[None]],
        entries: list[Entry],
        failed: list[ConfigError],
    ) -> None:
        try:
            await self._call(applier, method, entries)
        except ConfigError:
            # The good ones by themselves.
            for entry in entries:
                try:
                    await self._call(applier, method, [entry])
                except ConfigError as error:
                    failed.append(at(error, entry.path))

    # Confirmed commits

    def _write_confirm(self, pending: Pending) -> None:
        head = {
            "deadline": pending.deadline,
            "persist": pending.persist,
            "user": pending.author.user,
            "session": pending.author.session,
        }
        self.store.put_with(self.store.confirm, head, pending.old.print())

    def _arm(self, seconds: float) -> None:
        assert self.pending is not None
        loop = asyncio.get_running_loop()
        self.pending.timer = loop.call_later(seconds, self._expired, self.pending)

    def _disarm(self) -> None:
        if self.pending is not None and self.pending.timer is not None:
            self.pending.timer.cancel()

    def _expired(self, pending: Pending) -> None:
        if self.pending is pending:
            self._later(self._back("timeout", SERVER))

    def _forget_pending(self) -> None:
        self._disarm()
        self.pending = None
        self.store.drop(self.store.confirm)

    async def _back(self, why: str, author: Author) -> None:
        """Undo a confirmed commit."""
        async with self._busy:
            pending = self.pending
            if pending is None:
                return
            log.warning("a confirmed commit of %s ends (%s)", whose(pending.author), why)
            try:
                await self._become(pending.old, author, f"confirmed commit: {why}")
            except ConfigError as error:
                log.error(
                    "the configuration before the confirmed commit can't be applied: %s", error
                )
                await self._reconcile([self.running], self.running)
                raise
            finally:
                self._forget_pending()
                self.tell(Event("confirm", author, detail=why))

    def _later(self, work: Any) -> None:
        async def run() -> None:
            try:
                await work
            except ConfigError as error:
                log.error("%s", error)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def whose(author: Author) -> str:
    return f"{author.user} (session {author.session})" if author.session else "the system"


def meta(author: Author, comment: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": now, "user": author.user, "comment": comment}


def told(diff: Tree) -> Iterator[tuple[str, str]]:
    """What a diff changes, (path, operation) as RFC 6470 says it."""
    found: list[tuple[str, str]] = []
    for root in diff.roots():
        if not _told(root, "none", found):
            break
    else:
        yield from found
        return
    for root in diff.roots():
        yield yang.path_of(root), "merge"


def _told(node: Any, above: str, found: list[tuple[str, str]]) -> bool:
    operation = yang.meta_of(node, "operation") or above
    if operation in ("create", "delete", "replace"):
        if not yang.is_default(node):
            found.append((yang.path_of(node), operation))
        return len(found) <= EDITS_TOLD
    return all(_told(child, operation, found) for child in yang.children(node))


def parse_json(schema: Schema, text: str) -> Tree:
    """A whole, valid configuration from its text."""
    with errors():
        return schema.parse(text, Format.JSON, only=False)
