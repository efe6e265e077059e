"""The engine without a network: edits, commits, rollback, restarts. Appliers write into a dict."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sluice.mgmt.edit import Editor
from sluice.mgmt.engine import Author, Candidate, Datastore, Engine, Event
from sluice.mgmt.error import ConfigError
from sluice.mgmt.store import Store
from sluice.mgmt.yang import Format, Schema, Tree

from tests.mgmt.rig import World, edit_xml, feature, schema

ME, OTHER = Author("me", 1), Author("other", 2)


class Rig:
    """An engine whose system is `world`, which outlives it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.world = World()
        self.events: list[Event] = []
        self.schema = schema()
        self.open()

    def open(self) -> None:
        """Start the daemon's engine anew."""
        store = Store(self.work / "state", self.work / "run")
        self.engine = Engine(self.schema, [feature(self.world)], store)
        self.engine.listeners.append(self.events.append)

    async def edit(self, xml: str, *, candidate: Candidate | None = None, **options: Any) -> None:
        default = options.pop("default", "merge")

        def change(tree: Tree) -> None:
            Editor(self.schema, tree, **options).run(etree.fromstring(edit_xml(xml)), default)

        self.engine.edit(candidate or self.engine.shared, change)

    async def commit(self, xml: str, author: Author = ME, **options: Any) -> None:
        await self.edit(xml)
        await self.engine.commit(self.engine.shared, author, **options)

    def json(self) -> dict[str, Any]:
        return self.engine.running.value()

    def xml(self, datastore: Datastore = Datastore.CANDIDATE) -> str:
        text = self.engine.tree(datastore).print(Format.XML)
        return text.replace(' xmlns="urn:example:config"', "")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


def driven(test: Callable[[Rig], Coroutine[Any, Any, None]]) -> Callable[[Rig], None]:
    """Runs a test in an event loop, with a started engine."""

    def inner(rig: Rig) -> None:
        async def whole() -> None:
            await rig.engine.start()
            await test(rig)

        run(whole())

    inner.__name__, inner.__doc__ = test.__name__, test.__doc__
    return inner


@driven
async def test_a_commit_reaches_appliers_with_old_and_new(rig: Rig) -> None:
    await rig.commit("<top><user><name>fred</name><type>admin</type></user></top>")
    assert rig.world.things["fred"]["type"] == "admin"
    assert rig.world.things["fred"]["shell"] == "sh"  # the model's default
    await rig.commit("<top><user><name>fred</name><shell>zsh</shell></user></top>")
    assert rig.world.things["fred"]["shell"] == "zsh"
    entry = rig.world.calls[-1][1][0]
    assert entry.old is not None
    assert entry.old["shell"] == "sh"
    assert entry.keys == ("fred",)
    await rig.commit('<top><user nc:operation="delete"><name>fred</name></user></top>')
    assert rig.world.things == {}


@driven
async def test_nothing_changed_calls_nobody(rig: Rig) -> None:
    await rig.commit("<top><user><name>fred</name></user></top>")
    rig.world.calls.clear()
    await rig.commit("<top><user><name>fred</name></user></top>")
    assert rig.world.calls == []


@pytest.mark.parametrize("phase", ["verify", "prepare", "apply", "remove"])
def test_a_refused_commit_leaves_all_as_it_was(rig: Rig, phase: str) -> None:
    async def test() -> None:
        await rig.engine.start()
        await rig.commit("<top><user><name>old</name></user></top>")
        before, things = rig.xml(Datastore.RUNNING), dict(rig.world.things)
        await rig.edit('<top><user nc:operation="delete"><name>old</name></user></top>')
        await rig.edit("<top><user><name>good</name></user><user><name>bad</name></user></top>")
        rig.world.fail = (phase, "old" if phase == "remove" else "bad")
        with pytest.raises(ConfigError) as caught:
            await rig.engine.commit(rig.engine.shared, ME)
        fault = caught.value.faults[0]
        assert fault.tag == "resource-denied"
        assert fault.path.startswith("/example:top/user[name=")
        assert rig.xml(Datastore.RUNNING) == before
        assert rig.world.things == things, "what was done is undone, the failing one included"
        assert "good" in rig.xml(), "the candidate still has the changes"
        rig.world.fail = None
        await rig.engine.commit(rig.engine.shared, ME)
        assert sorted(rig.world.things) == ["bad", "good"]

    run(test())


@driven
async def test_validation_errors_have_tag_path_and_text(rig: Rig) -> None:
    await rig.edit("<top><limit>11</limit><boss>nobody</boss></top>")
    with pytest.raises(ConfigError) as caught:
        await rig.engine.commit(rig.engine.shared, ME)
    faults = {fault.path: fault for fault in caught.value.faults}
    limit = faults["/example:top/limit"]
    assert (limit.tag, limit.app_tag) == ("operation-failed", "too-much")
    assert limit.text == "more than 10 only in mode fast"
    boss = faults["/example:top/boss"]
    assert (boss.tag, boss.app_tag) == ("data-missing", "instance-required")


@driven
async def test_rollback_checkpoints_and_comments(rig: Rig) -> None:
    for name in ("a", "b", "c"):
        await rig.commit(f"<top><name>{name}</name></top>", comment=f"now {name}")
    assert rig.engine.kept(1, None).value()["example:top"]["name"] == "b"
    rig.engine.keep("good", ME, "as it should be")
    await rig.commit("<top><name>d</name></top>")
    assert rig.engine.kept(None, "good").value()["example:top"]["name"] == "c"
    listed = rig.engine.store.listed(rig.engine.store.revisions)
    assert [meta["comment"] for meta in listed] == ["", "now c", "now b", "now a"]
    with pytest.raises(ConfigError, match="no checkpoint"):
        rig.engine.kept(None, "bad")
    with pytest.raises(ConfigError, match="can't be a checkpoint's name"):
        rig.engine.keep("../x", ME, "")


@driven
async def test_private_candidates_are_rebased(rig: Rig) -> None:
    mine, theirs = Candidate(), Candidate()
    await rig.edit("<top><name>mine</name></top>", candidate=mine)
    await rig.edit("<top><mtu>1400</mtu></top>", candidate=theirs)
    await rig.engine.commit(mine, ME)
    await rig.engine.commit(theirs, OTHER)
    assert rig.json()["example:top"]["name"] == "mine"
    assert rig.json()["example:top"]["mtu"] == 1400


@driven
async def test_an_unconfirmed_commit_goes_back(rig: Rig) -> None:
    await rig.commit("<top><name>old</name></top>")
    await rig.commit("<top><name>new</name></top>", confirmed=1)
    assert rig.json()["example:top"]["name"] == "new"
    async with asyncio.timeout(10):
        while rig.engine.pending:
            await asyncio.sleep(0.05)
    assert rig.json()["example:top"]["name"] == "old"
    assert [e.detail for e in rig.events if e.kind == "confirm"] == ["start", "timeout"]


@driven
async def test_confirming_extending_and_cancelling(rig: Rig) -> None:
    await rig.commit("<top><name>a</name></top>")
    await rig.commit("<top><name>b</name></top>", confirmed=600)
    with pytest.raises(ConfigError) as caught:
        await rig.engine.commit(rig.engine.shared, OTHER)
    assert caught.value.faults[0].tag == "in-use"
    await rig.commit("<top><name>c</name></top>", confirmed=600)
    await rig.engine.cancel(ME, None)
    assert rig.json()["example:top"]["name"] == "a"
    await rig.commit("<top><name>d</name></top>", confirmed=600, persist="p")
    with pytest.raises(ConfigError) as caught:
        await rig.engine.commit(rig.engine.shared, OTHER, persist_id="q")
    assert caught.value.faults[0].tag == "invalid-value"
    await rig.engine.commit(rig.engine.shared, OTHER, persist_id="p")
    assert rig.engine.pending is None
    assert rig.json()["example:top"]["name"] == "d"
    details = [e.detail for e in rig.events if e.kind == "confirm"]
    assert details == ["start", "extend", "cancel", "start", "complete"]


@driven
async def test_a_session_that_ends_takes_its_confirmed_commit_along(rig: Rig) -> None:
    await rig.commit("<top><name>a</name></top>")
    await rig.commit("<top><name>b</name></top>", confirmed=600)
    rig.engine.ended(ME.session)
    async with asyncio.timeout(10):
        while rig.engine.pending:
            await asyncio.sleep(0.01)
    assert rig.json()["example:top"]["name"] == "a"


@driven
async def test_running_and_a_confirmed_commit_survive_a_restart(rig: Rig) -> None:
    await rig.commit("<top><user><name>a</name></user></top>")
    await rig.commit("<top><user><name>b</name></user></top>", confirmed=2, persist="p")
    rig.open()
    await rig.engine.start()
    assert sorted(rig.world.things) == ["a", "b"]
    assert rig.engine.pending is not None
    async with asyncio.timeout(10):
        while rig.engine.pending:
            await asyncio.sleep(0.05)
    assert sorted(rig.world.things) == ["a"]


@driven
async def test_after_a_boot_startup_counts(rig: Rig) -> None:
    await rig.commit("<top><user><name>a</name></user></top>")
    rig.engine.set_startup(rig.engine.running, ME)
    await rig.commit("<top><user><name>b</name></user></top>")
    for path in (rig.work / "run").iterdir():
        path.unlink()
    rig.world.things.clear()
    rig.open()
    await rig.engine.start()
    assert sorted(rig.world.things) == ["a"]


@driven
async def test_what_somebody_else_removed_is_back_after_a_restart(rig: Rig) -> None:
    await rig.commit("<top><user><name>a</name></user></top>")
    rig.world.things.clear()
    rig.world.things["stranger"] = {"name": "stranger"}
    rig.open()
    await rig.engine.start()
    assert sorted(rig.world.things) == ["a", "stranger"]


@driven
async def test_a_broken_startup_is_left_alone_and_the_factory_runs(rig: Rig) -> None:
    rig.engine.store.startup.write_text('{"example:top": {"mtu": 7}}')
    (rig.work / "run" / "running.json").unlink()
    rig.open()
    await rig.engine.start()
    assert rig.json()["example:top"]["mtu"] == 1500
    assert rig.engine.store.startup.read_text() == '{"example:top": {"mtu": 7}}'


@driven
async def test_a_spoiled_running_is_left_out_and_startup_counts(rig: Rig) -> None:
    await rig.commit("<top><user><name>a</name></user></top>")
    rig.engine.set_startup(rig.engine.running, ME)
    for text in ("nonsense", '{}\n{"example:gone": 1}', "{}\n{"):
        (rig.work / "run/running.json").write_text(text)
        rig.open()
        await rig.engine.start()
        assert [user["name"] for user in rig.json()["example:top"]["user"]] == ["a"]


def test_a_model_that_does_not_load_is_named(tmp_path: Path) -> None:
    from sluice.mgmt.yang import YangError

    (tmp_path / "broken.yang").write_text("module broken { namespace x; }")
    made = Schema([tmp_path])
    with pytest.raises(YangError, match="prefix"):
        made.load("broken")
    assert made.module("broken") is None
