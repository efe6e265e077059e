# SPDX-License-Identifier: BSD-3-Clause
"""Which VRFs there are: the namespace that cmgrd runs in, and those with a name in /run/netns that are to be VRFs.

One that comes while cmgrd runs is closed (its packets take Linux) until fpmd has been told all its objects, so that no
packet meets half of its routes. One that goes is told first that it's no more, then its objects are deleted.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from sluice.cmgrd.audit import Audit
from sluice.cmgrd.core import Core
from sluice.cmgrd.follower import Follower
from sluice.cmgrd.kernel import Vrf
from sluice.cmgrd.namespaces import (
    FOLDER,
    OWN,
    Namespace,
    NamespaceError,
    identity,
    names,
    watch,
)
from sluice.cmgrd.netlink import NetlinkError
from sluice.daemon import FatalError

log = logging.getLogger("cmgrd")

# `ip netns add` makes the name first and puts the namespace there a little later.
RETRY_FIRST, RETRY_MOST = 0.02, 1.0
TRIES = 12
TOLD_POLL = 0.01


class Followed:
    """A VRF that is followed."""

    def __init__(self, vrf: Vrf, core: Core, namespace: Namespace, buffer: int) -> None:
        self.vrf = vrf
        self.namespace = namespace
        self.follower = Follower(core, buffer=buffer, enter=namespace.entered)
        self.task: asyncio.Task[None] | None = None
        self.known = asyncio.Event()  # all of it, or it has failed
        self.audit = Audit(self.follower)

    async def audit_all(self) -> None:
        """Until that's done, or the VRF is gone."""
        if self.task and not self.task.done() and self.follower.ready.is_set():
            auditing = asyncio.create_task(self.audit.all())
            await asyncio.wait([auditing, self.task], return_when=asyncio.FIRST_COMPLETED)
            auditing.cancel()


class Vrfs:
    """Those beside cmgrd's own. `patterns`: which names in /run/netns are VRFs."""

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        make_core: Callable[[Vrf], Core],
        on_lost: Callable[[set[int]], None],
        buffer: int = 0,
    ) -> None:
        self.buffer = buffer
        self.patterns = patterns
        self.make_core = make_core
        self.on_lost = on_lost
        self.followed: dict[str, Followed] = {}
        self.troubles: dict[str, str] = {}  # of namespaces that aren't followed
        self.tries: dict[str, int] = {}
        self.ending = False  # the VRFs stay, cmgrd doesn't
        self.found = asyncio.Event()  # those that were there at the start

    def __len__(self) -> int:
        return len(self.followed)

    def __iter__(self) -> Iterator[Followed]:
        return iter(self.followed.values())

    async def run(self) -> None:
        """Until cancelled."""
        if not self.patterns:
            self.found.set()
            return
        own = Namespace("", OWN)
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        watched = -1

        def read() -> None:
            with suppress(BlockingIOError):
                os.read(watched, 1 << 16)
            changed.set()

        try:
            while True:
                changed.clear()
                if watched < 0 or not self.followed:
                    # The folder comes with the first namespace.
                    if watched >= 0:
                        loop.remove_reader(watched)
                        os.close(watched)
                    watched = watch()
                    loop.add_reader(watched, read)
                again = await self.look(own)
                self.found.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(again):
                        await changed.wait()
        finally:
            self.ending = True
            for one in list(self):
                await self.forget(one)
            if watched >= 0:
                loop.remove_reader(watched)
                os.close(watched)
            own.close()

    async def look(self, own: Namespace) -> float | None:
        """Follow what is there now and no longer what isn't; when to look again, None: when something changes."""
        now = wanted(self.patterns)
        for one in list(self):
            if one.namespace.name not in now or not still(one.namespace):
                await self.forget(one)
        for name in list(self.troubles):
            if name not in now:
                del self.troubles[name]
                self.tries.pop(name, None)
        for name in now:
            if name not in self.followed:
                self.try_to_follow(name, own)
        waiting = [self.tries[name] for name in self.troubles if self.tries[name] < TRIES]
        return min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(waiting)) if waiting else None

    def try_to_follow(self, name: str, own: Namespace) -> None:
        self.tries[name] = self.tries.get(name, -1) + 1
        if self.tries[name] >= TRIES:
            return
        try:
            namespace = Namespace(name, FOLDER / name)
            try:
                same = {own.identity} | {one.namespace.identity for one in self}
                if namespace.identity in same:
                    self.tries[name] = TRIES  # another name of a VRF that is followed
                    namespace.close()
                else:
                    self.follow(namespace)
                self.troubles.pop(name, None)
            except BaseException:
                namespace.close()
                raise
        except (OSError, NamespaceError, NetlinkError) as error:
            self.troubles[name] = str(error)
            if self.tries[name] == TRIES - 1:
                log.warning("namespace %s isn't followed, its packets take Linux: %s", name, error)

    def follow(self, namespace: Namespace) -> None:
        cookie = namespace.cookie()
        vrf = Vrf(namespace.number(), namespace.name, cookie)
        if any(one.vrf.number == vrf.number for one in self):
            raise NamespaceError(f"its id, {vrf.number - 1}, is that of another one")
        one = Followed(vrf, self.make_core(vrf), namespace, self.buffer)
        try:
            one.follower.open()
        except BaseException:
            one.follower.close()
            raise
        self.followed[namespace.name] = one
        one.task = asyncio.create_task(self.serve(one))
        log.info("namespace %s is VRF %d", namespace.name, vrf.number)

    async def serve(self, one: Followed) -> None:
        """Follow a VRF until it's forgotten. What goes wrong here is no trouble of the others."""
        core = one.follower.core
        running = asyncio.create_task(one.follower.run())
        auditing = asyncio.create_task(one.audit.run())
        one.follower.wake.set()
        try:
            await either(running, one.follower.ready)
            if not running.done():
                core.lost = set()
                one.known.set()
                await told(core, running)
                core.opened()
            while not running.done():
                one.follower.settled.clear()
                await either(running, one.follower.settled)
                if core.lost:
                    lost, core.lost = core.lost, set()
                    self.on_lost(lost)
            await running
        except (NetlinkError, FatalError, OSError) as error:
            log.error(
                "namespace %s isn't followed any more, its packets take Linux: %s",
                one.namespace.name,
                error,
            )
        except Exception:
            log.exception("namespace %s isn't followed any more", one.namespace.name)
        finally:
            running.cancel()
            auditing.cancel()
            await asyncio.gather(running, auditing, return_exceptions=True)
            self.drop(one)

    def drop(self, one: Followed) -> None:
        """No more of it; may be called again."""
        one.follower.close()
        if not self.ending:
            one.follower.core.forget()
        one.known.set()

    async def forget(self, one: Followed) -> None:
        """It's gone, or cmgrd ends. Its sockets would keep it alive."""
        del self.followed[one.namespace.name]
        self.tries.pop(one.namespace.name, None)
        if one.task:
            one.task.cancel()
            await asyncio.gather(one.task, return_exceptions=True)
        # A task that was cancelled before its first step has dropped nothing.
        self.drop(one)
        one.namespace.close()
        log.info(
            "namespace %s, VRF %d, isn't followed any more", one.namespace.name, one.vrf.number
        )


async def either(running: "asyncio.Task[None]", event: asyncio.Event) -> None:
    """Until the event or the task's end; leaves nothing behind when cancelled."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def told(core: Core, running: "asyncio.Task[None]") -> None:
    """Until fpmd has been sent all that's known by now. Nobody listens: it will get all at once."""
    objects, mark = core.objects, core.objects.pushed
    while objects.listening and objects.taken < mark and not running.done():  # noqa: ASYNC110
        await asyncio.sleep(TOLD_POLL)


def own_vrf(patterns: Sequence[str]) -> Vrf:
    """That of cmgrd's own namespace. Alone, it needn't be told apart."""
    if not patterns:
        return Vrf()
    namespace = Namespace("", OWN)
    try:
        return Vrf(netns=namespace.cookie())
    except OSError as error:
        raise FatalError(
            f"can't enter network namespaces: {error.strerror}",
            "--vrfs needs the capability CAP_SYS_ADMIN",
        ) from error
    finally:
        namespace.close()


def namespaces(patterns: Sequence[str]) -> Iterator[Namespace]:
    """Those that are VRFs now, each once; for a look, not to follow them."""
    own = Namespace("", OWN)
    seen = {own.identity}
    own.close()
    for name in wanted(patterns):
        try:
            namespace = Namespace(name, FOLDER / name)
        except OSError:
            continue
        if namespace.identity in seen:
            namespace.close()
            continue
        seen.add(namespace.identity)
        yield namespace


def wanted(patterns: Sequence[str]) -> list[str]:
    """Names of namespaces that are to be VRFs."""
    return [name for name in names() if any(fnmatchcase(name, one) for one in patterns)]


def still(namespace: Namespace) -> bool:
    """Whether the name still leads to that namespace."""
    try:
        found = (FOLDER / namespace.name).stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == identity(namespace.descriptor)
