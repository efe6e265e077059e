# SPDX-License-Identifier: BSD-3-Clause
"""What a feature brings to the management plane: models, appliers and state.

`gate/features/<name>/mgmt.py` has a `FEATURE`; so has a third party's module, which its package names as an entry point
in the group `sluice.mgmt`. The engine knows features only by this. README.md says how a commit uses an applier.
"""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

log = logging.getLogger("yamsd")

GROUP = "sluice.mgmt"


@dataclass(frozen=True)
class Entry:
    """A piece of configuration that an applier watches: before and after. Values are Python as yang.python_of makes it,
    defaults included; None where it isn't there. `keys` are those of all lists on the way, from the top.
    """

    path: str
    schema: str
    keys: tuple[str, ...]
    old: dict[str, Any] | None
    new: dict[str, Any] | None

    def reversed(self) -> "Entry":
        return Entry(self.path, self.schema, self.keys, self.new, self.old)


@dataclass(frozen=True)
class Watch:
    """A list or container an applier takes entry by entry. Not `deep`: with its own leaves only, without what's in
    containers and lists below.
    """

    path: str
    deep: bool = True


class Applier:
    """Makes the system what the configuration says, for the entries it watches.

    Entries that go are removed first, by appliers in falling order; then the others are applied, in rising order.
    All methods may be called again with the same entries, and `apply` finds things already there and `remove` finds
    them gone: after a crash nobody knows how far it got. What no entry speaks of is left alone.
    Problems are raised as ConfigError, with the entry's path.
    """

    name: ClassVar[str]
    order: ClassVar[int] = 50
    watches: ClassVar[tuple[Watch, ...]] = ()
    # Appliers by name whose changes take away what this one has made, such as routes of an interface that goes down:
    # after a change of theirs all of this one's entries are applied again.
    again: ClassVar[tuple[str, ...]] = ()

    async def booted(self) -> None:
        """The machine has started: take back what earlier boots have left in lasting files. `apply` follows."""

    async def verify(self, entries: list[Entry]) -> None:
        """Say what the model can't: refuse what can never work. Changes nothing."""

    async def prepare(self, entries: list[Entry]) -> None:
        """Refuse what can't work now; get what `apply` needs. Changes nothing that anybody sees."""

    async def remove(self, entries: list[Entry]) -> None:
        """Take away what the entries' `old` says."""

    async def apply(self, entries: list[Entry]) -> None:
        """Make the system what the entries' `new` says; `old` is what it may be now."""

    async def rollback(self, entries: list[Entry]) -> None:
        """Undo `apply` or `remove` of these entries, which may have got anywhere."""
        gone = [entry.reversed() for entry in reversed(entries) if entry.old is None]
        back = [entry.reversed() for entry in entries if entry.old is not None]
        if gone:
            await self.remove(gone)
        if back:
            await self.apply(back)


@dataclass(frozen=True)
class State:
    """State below a schema path: `read` gives it as RFC 7951's JSON in Python, from the top ({"module:name": ...}).
    Called only if a request's filter selects something at or below the path, or above it.
    """

    path: str
    read: Callable[[], Any]  # may be a coroutine function


@dataclass(frozen=True)
class Feature:
    """`models` are files; each is loaded with all that its folder holds for imports. `factory` is added to the
    factory configuration, as RFC 7951's JSON in Python. `operations` answer RPCs by "module:name".
    """

    name: str
    models: tuple[Path, ...] = ()
    appliers: tuple[Applier, ...] = ()
    states: tuple[State, ...] = ()
    factory: dict[str, Any] = field(default_factory=dict)
    operations: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)


def discover() -> list[Feature]:
    """All features that are installed. One that can't be imported is named in the log, and the others go on."""
    found = []
    folder = Path(__file__).parent.parent / "features"
    package = __name__.rpartition(".mgmt.")[0]
    names = sorted(path.parent.name for path in folder.glob("*/mgmt.py"))

    def ours(name: str) -> Callable[[], Any]:
        return lambda: importlib.import_module(f"{package}.features.{name}.mgmt").FEATURE

    loads: list[tuple[str, Callable[[], Any]]] = [(name, ours(name)) for name in names]
    loads += [(point.name, point.load) for point in entry_points(group=GROUP)]
    for name, load in loads:
        try:
            feature = load()
            if not isinstance(feature, Feature):
                raise TypeError(f"it's {type(feature).__name__}, not sluice.mgmt.feature.Feature")
        except Exception as error:
            log.error("the feature %s can't be loaded and is left out: %s", name, error)
            continue
        found.append(feature)
    return found
