"""What the tests of the management plane share: the example model with an applier, and XML."""

from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt.app import load_models
from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch
from sluice.mgmt.yang import Schema

YANG = Path(__file__).parent / "yang"


class World:
    """The system that the example's applier configures."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, list[Entry]]] = []
        self.fail: tuple[str, str] | None = None
        self.reads: list[str] = []

    def save(self) -> None:
        """After each change."""


class Users(Applier):
    name: ClassVar[str] = "users"
    watches = (Watch("/example:top/user"),)

    def __init__(self, world: World) -> None:
        self.world = world

    def note(self, phase: str, entries: list[Entry]) -> None:
        self.world.calls.append((phase, entries))

    def trouble(self, phase: str, entry: Entry) -> None:
        if self.world.fail == (phase, entry.keys[-1]):
            raise ConfigError("no room", tag="resource-denied", path=entry.path)

    async def verify(self, entries: list[Entry]) -> None:
        self.note("verify", entries)
        for entry in entries:
            self.trouble("verify", entry)

    async def prepare(self, entries: list[Entry]) -> None:
        self.note("prepare", entries)
        for entry in entries:
            self.trouble("prepare", entry)

    async def remove(self, entries: list[Entry]) -> None:
        self.note("remove", entries)
        for entry in entries:
            self.world.things.pop(entry.keys[-1], None)
            self.world.save()
            self.trouble("remove", entry)

    async def apply(self, entries: list[Entry]) -> None:
        self.note("apply", entries)
        for entry in entries:
            assert entry.new is not None
            self.world.things[entry.keys[-1]] = entry.new
            self.world.save()
            self.trouble("apply", entry)


def feature(world: World) -> Feature:
    def counters() -> dict[str, Any]:
        world.reads.append("counters")
        return {"example:top": {"counters": {"packets": "42", "errors": "0"}}}

    return Feature(
        name="example",
        models=tuple(YANG / f"{name}.yang" for name in ("example", "rfc6241", "rfc6243")),
        appliers=(Users(world),),
        states=(State("/example:top/counters", counters),),
        operations={"example:greet": lambda given: {"text": f"hello {given['name']}"}},
    )


@cache
def schema() -> Schema:
    return load_models([feature(World())])


def edit_xml(inner: str) -> str:
    """A <config> with elements of the example's namespace."""
    return (
        '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" '
        'xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" '
        'xmlns:yang="urn:ietf:params:xml:ns:yang:1" xmlns:ex="urn:example:config">'
        + inner.replace("<top", '<top xmlns="urn:example:config"').replace(
            "<routes", '<routes xmlns="urn:example:config"'
        )
        + "</config>"
    )
