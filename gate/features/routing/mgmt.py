# SPDX-License-Identifier: BSD-3-Clause
"""Routing protocols: FRR's configuration is made what the entries say, and what FRR does is shown as state."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from sluice.features.routing import bfd, bgp, lines, ospf, policy, rip
from sluice.features.routing.frr import Instance, Refusal
from sluice.features.routing.lines import Line, Said
from sluice.features.routing.state import STATES
from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError, Fault
from sluice.mgmt.feature import Applier, Entry, Feature, Watch

log = logging.getLogger("yamsd")

VRF = "/sluice-vrf:vrf"
ROUTING = VRF + "/sluice-route:routing"
# The order they're configured in: what others refer to comes first.
DAEMONS = ("mgmtd", "bfdd", "ospfd", "ospf6d", "bgpd")
# How often to look for a daemon that's missing.
LOOK = 2.0
# How often to look, within that time, whether a daemon has done what it was told.
SETTLE = 10


@dataclass(frozen=True)
class Kind:
    """A part of the model: FRR's lines for it, what it needs, and what the model can't say."""

    render: Callable[[str, dict[str, Any]], list[Line]]  # of its key, and its value
    needs: tuple[str, ...] = ()
    check: Callable[[str, dict[str, Any]], None] = lambda path, value: None


KINDS = {
    f"{ROUTING}/sluice-policy:policy/ipv4-prefix-list": Kind(
        lambda key, value: policy.prefix_list(key, value, "ip")
    ),
    f"{ROUTING}/sluice-policy:policy/ipv6-prefix-list": Kind(
        lambda key, value: policy.prefix_list(key, value, "ipv6")
    ),
    f"{ROUTING}/sluice-policy:policy/route-map": Kind(policy.route_map),
    f"{ROUTING}/sluice-bfd:bfd": Kind(lambda _, value: bfd.render(value), ("bfdd",)),
    f"{ROUTING}/sluice-ospf:ospf": Kind(
        lambda _, value: ospf.render(value, ospf.V2),
        ("ospfd",),
        lambda path, value: ospf.check(path, value, ospf.V2),
    ),
    f"{ROUTING}/sluice-ospf:ospfv3": Kind(
        lambda _, value: ospf.render(value, ospf.V3),
        ("ospf6d",),
        lambda path, value: ospf.check(path, value, ospf.V3),
    ),
    f"{ROUTING}/sluice-bgp:bgp": Kind(lambda _, value: bgp.render(value), ("bgpd",), bgp.check),
    f"{ROUTING}/sluice-rip:rip": Kind(
        lambda _, value: rip.render(value, rip.V4),
        ("mgmtd", "ripd"),
        lambda path, value: rip.check(path, value, rip.V4),
    ),
    f"{ROUTING}/sluice-rip:ripng": Kind(
        lambda _, value: rip.render(value, rip.V6),
        ("mgmtd", "ripngd"),
        lambda path, value: rip.check(path, value, rip.V6),
    ),
}


@dataclass(frozen=True)
class Piece:
    """An entry's lines, and the daemons that must run for it."""

    path: str
    lines: tuple[Line, ...]
    needs: tuple[str, ...]
    policy: bool


@dataclass
class Step:
    """What changes in a VRF: pieces as they may be, and as they're to be, by path."""

    old: dict[str, Piece] = field(default_factory=dict)
    new: dict[str, Piece] = field(default_factory=dict)


def piece(entry: Entry, value: dict[str, Any]) -> Piece:
    kind = KINDS[entry.schema]
    found = placed(kind.render(entry.keys[-1], value), entry.path)
    return Piece(entry.path, tuple(found), kind.needs, "/sluice-policy:" in entry.schema)


def placed(some: Iterable[Line], path: str) -> Iterator[Line]:
    """Lines with whole paths."""
    for line in some:
        inner = None if line.inner is None else tuple(placed(line.inner, path))
        yield replace(line, at=path + line.at, inner=inner)


def steps(entries: Iterable[Entry]) -> dict[str, Step]:
    """What changes, by VRF."""
    found: dict[str, Step] = {}
    for entry in entries:
        step = found.setdefault(entry.keys[0], Step())
        if entry.old is not None:
            step.old[entry.path] = piece(entry, entry.old)
        if entry.new is not None:
            step.new[entry.path] = piece(entry, entry.new)
    return found


def flat(some: Iterable[Line]) -> Iterator[Said]:
    """Lines as they'd stand in a file."""
    for line in some:
        yield Said(line.text, line)
        if line.inner is not None:
            yield from flat(line.inner)
            yield Said(line.end)


class Routing(Applier):
    name: ClassVar[str] = "routing"
    order: ClassVar[int] = 70
    watches = (Watch(VRF, deep=False), *(Watch(path) for path in KINDS))

    def __init__(self) -> None:
        self.wanted: dict[str, dict[str, Piece]] = {}  # by VRF, by path
        # Policies that go are taken away last, when nothing refers to them any more: that's in `apply`, if one follows.
        self.coming: set[str] = set()
        self.held: list[Entry] = []
        self.locks: dict[str, asyncio.Lock] = {}
        self.followers: dict[str, asyncio.Task[None]] = {}

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.schema != VRF and entry.new is not None:
                KINDS[entry.schema].check(entry.path, entry.new)

    async def prepare(self, entries: list[Entry]) -> None:
        some = [entry for entry in entries if entry.schema != VRF]
        self.coming = {entry.keys[0] for entry in some if entry.new is not None}
        self.held = []
        for vrf, step in steps(some).items():
            said = [one for piece in step.new.values() for one in flat(piece.lines)]
            if not said:
                continue
            raise_if(await Instance(vrf).check(said), said)
            if Instance(vrf).runs("zebra"):
                needed(Instance(vrf), step.new.values())

    async def remove(self, entries: list[Entry]) -> None:
        some = [entry for entry in entries if entry.schema != VRF]
        later = [
            entry
            for entry in some
            if "/sluice-policy:" in entry.schema and entry.keys[0] in self.coming
        ]
        self.held += later
        for vrf, step in steps(entry for entry in some if entry not in later).items():
            known = self.wanted.get(vrf, {})
            before = bool(known)
            for path in step.old:
                known.pop(path, None)
            if before and not known and vrf not in self.coming and vrf != kernel.MAIN:
                await self.end(vrf)
            else:
                async with self.lock(vrf):
                    await self.change(vrf, step)
        for entry in entries:
            if entry.schema == VRF and entry.keys[0] != kernel.MAIN:
                # Nobody would find its namespace any more.
                self.wanted.pop(entry.keys[0], None)
                if Instance(entry.keys[0]).runs("watchfrr"):
                    await self.end(entry.keys[0])

    async def apply(self, entries: list[Entry]) -> None:
        held, self.held, self.coming = self.held, [], set()
        some = [entry for entry in entries if entry.schema != VRF]
        found = steps([*some, *held])
        for vrf, step in found.items():
            known = self.wanted.setdefault(vrf, {})
            for path in step.old.keys() - step.new.keys():
                known.pop(path, None)
            known.update(step.new)
        for vrf, step in found.items():
            if vrf not in self.followers and step.new:
                # Also if this fails: at yamsd's start nobody else would try again.
                self.followers[vrf] = asyncio.create_task(self.follow(vrf))
            if step.new and not Instance(vrf).runs("zebra"):
                await self.begin(vrf, step)
            async with self.lock(vrf):
                await self.change(vrf, step)

    async def rollback(self, entries: list[Entry]) -> None:
        self.held, self.coming = [], set()
        await super().rollback(entries)

    # An instance

    async def begin(self, vrf: str, step: Step) -> None:
        log.info("FRR is started in %s", vrf)
        try:
            await Instance(vrf).start()
            await Instance(vrf).until(
                *{daemon for piece in step.new.values() for daemon in piece.needs}
            )
        except ConfigError as error:
            path = next(iter(step.new))
            raise ConfigError(str(error), path=path) from error

    async def end(self, vrf: str) -> None:
        follower = self.followers.pop(vrf, None)
        if follower is not None:
            follower.cancel()
            with suppress(asyncio.CancelledError):
                await follower
        log.info("FRR is stopped in %s", vrf)
        await Instance(vrf).stop()

    async def change(self, vrf: str, step: Step) -> None:
        """Make FRR's configuration in a VRF what `new` says, where `old` and anything else may be. Holding its lock."""
        frr = Instance(vrf)
        needed(frr, step.new.values())
        for daemon in DAEMONS:
            if frr.runs(daemon):
                await configure(frr, daemon, step)

    def lock(self, vrf: str) -> asyncio.Lock:
        return self.locks.setdefault(vrf, asyncio.Lock())

    async def follow(self, vrf: str) -> None:
        """When a daemon has ended and is back, it's told its configuration again."""
        frr = Instance(vrf)
        loop = asyncio.get_running_loop()
        complete = False
        while True:
            sockets = {daemon: frr.connect(daemon) for daemon in DAEMONS}
            if not complete:
                complete = await self.repair(vrf)
            ended = asyncio.Event()
            for sock in sockets.values():
                if sock is not None:
                    loop.add_reader(sock, ended.set)
            try:
                missing = any(sock is None for sock in sockets.values())
                async with asyncio.timeout(LOOK if missing or not complete else None):
                    await ended.wait()
                log.warning("a daemon of FRR's has ended in %s", vrf)
                complete = False
                # Whatever restarts it has to do so first.
                await asyncio.sleep(LOOK / 10)
            except TimeoutError:
                complete = complete and all(
                    sock is not None or not frr.runs(daemon) for daemon, sock in sockets.items()
                )
            finally:
                for sock in sockets.values():
                    if sock is not None:
                        loop.remove_reader(sock)
                        sock.close()

    async def repair(self, vrf: str) -> bool:
        """Tell FRR all that's wanted; whether that went well."""
        try:
            async with self.lock(vrf):
                await self.change(vrf, Step({}, dict(self.wanted.get(vrf, {}))))
        except ConfigError as error:
            log.debug("FRR in %s doesn't have all of its configuration yet: %s", vrf, error)
            return False
        except Exception:
            log.exception("FRR in %s can't be told its configuration", vrf)
            return False
        log.info("FRR in %s has its configuration", vrf)
        return True


def needed(frr: Instance, pieces: Iterable[Piece]) -> None:
    """Raises if a daemon that has to run doesn't."""
    for piece in pieces:
        for daemon in piece.needs:
            if not frr.runs(daemon):
                raise ConfigError(
                    f"FRR's {daemon} doesn't run in {frr.vrf}: see `systemctl status {frr.unit}`, "
                    f"and whether {daemon}=yes stands in /etc/frr/daemons",
                    path=piece.path,
                )


async def configure(frr: Instance, daemon: str, step: Step) -> None:
    """Make a daemon's configuration what `new` says, in one transaction as far as it knows them. Raises ConfigError."""

    def some(pieces: Iterable[Piece], *, policy: bool) -> list[Line]:
        return lines.of(
            (line for piece in pieces if piece.policy == policy for line in piece.lines), daemon
        )

    # Policies come first and go last, so that what refers to them finds them all the time.
    gone = [piece for path, piece in step.old.items() if path not in step.new]
    changed = [piece for path, piece in step.old.items() if path in step.new]
    orders: tuple[tuple[list[Line], list[Line]], ...] = (
        (some(changed, policy=True), some(step.new.values(), policy=True)),
        (some(step.old.values(), policy=False), some(step.new.values(), policy=False)),
        (some(gone, policy=True), []),
    )
    if not any(old or new for old, new in orders):
        return
    actual = await frr.running(daemon)
    said: list[Said] = []
    for old, new in orders:
        said += lines.removals(old, new, actual, frozenset())
        said += lines.additions(new, actual)
    if not said:
        return
    words = await tell(frr, daemon, said)
    olds = [line for old, _ in orders for line in old]
    news = [line for _, new in orders for line in new]
    actual = await frr.running(daemon)
    # Taking something back may have taken more with it.
    again = lines.additions(news, actual)
    if again:
        words = await tell(frr, daemon, again) or words
        actual = await frr.running(daemon)
    for _ in range(SETTLE):
        if not any(lines.missing(news, actual)) and not any(lines.lingering(olds, news, actual)):
            return
        # A mgmtd that has just started was seen to take what it's told only a moment later.
        await asyncio.sleep(LOOK / SETTLE)
        actual = await frr.running(daemon)
    for line in lines.missing(news, actual):
        raise ConfigError(words or f"FRR doesn't take {shown(line)!r}", path=line.at)
    for line in lines.lingering(olds, news, actual):
        raise ConfigError(words or f"FRR doesn't give up {shown(line)!r}", path=line.at)


async def tell(frr: Instance, daemon: str, said: list[Said]) -> str:
    """Say lines to a daemon; its words, if it takes them."""
    log.info("FRR's %s in %s is told %d lines", daemon, frr.vrf, len(said))
    refused, words = await frr.say(daemon, said)
    raise_if(refused, said)
    return words


def raise_if(refused: list[Refusal], said: list[Said]) -> None:
    """What FRR refuses, as the client is to see it."""
    faults = []
    past = 0
    for one in refused:
        if one.index is not None and one.index < past:
            continue
        line = said[one.index].line if one.index is not None and one.index < len(said) else None
        if one.index is not None and line is not None and line.inner is not None:
            # What would have been in it isn't to blame.
            past = end_of(one.index, said)
        text = one.text.replace(line.text, shown(line)) if line else one.text
        faults.append(Fault("operation-failed", f"FRR refuses it: {text}", line.at if line else ""))
    if faults:
        raise ConfigError.of(faults)


def end_of(index: int, said: list[Said]) -> int:
    """Where the block ends that begins at `index`."""
    depth = 0
    for at in range(index, len(said)):
        line = said[at].line
        depth += 1 if line is not None and line.inner is not None else 0
        depth -= 1 if line is None else 0
        if depth == 0:
            return at + 1
    return len(said)


SECRETS = ("password", "authentication-key", "authentication string", "message-digest-key")


def shown(line: Line) -> str:
    """A line as it may be told."""
    for word in SECRETS:
        start, found, _ = line.text.partition(f" {word} ")
        if found:
            return f"{start}{found}..."
    return line.text


FEATURE = Feature(
    name="routing",
    models=tuple(
        Path(__file__).parent / f"sluice-{name}.yang"
        for name in ("policy", "bfd", "ospf", "bgp", "rip")
    ),
    appliers=(Routing(),),
    states=STATES,
)
