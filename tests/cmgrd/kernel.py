"""A kernel to follow: a network namespace of one thread, and the follower that watches it.

`in_namespace(coroutine function)` runs it in a thread of its own with a new network namespace, which is gone with the
thread; commands that it starts are in there too.
"""

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sluice.cmgrd.core import Core
from sluice.cmgrd.follower import Follower
from sluice.fpc import decode

QUIET = {
    # Nothing that happens by itself, later.
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/dad_transmits": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}

Wanted = Mapping[int, Mapping[bytes, bytes]]


def in_namespace(run: Callable[[], Awaitable[None]]) -> None:
    failures: list[BaseException] = []

    def body() -> None:
        try:
            os.unshare(os.CLONE_NEWNET)
            for key, value in QUIET.items():
                sysctl(key, value)
            asyncio.run(as_coroutine(run))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


async def as_coroutine(run: Callable[[], Awaitable[None]]) -> None:
    await run()


def sysctl(key: str, value: str) -> None:
    (Path("/proc/thread-self/root/proc/sys") / key).write_text(value)


def ip(*lines: str, check: bool = True) -> str:
    """Run `ip` commands, each a line; the loop stands still meanwhile."""
    words = ["-batch", "-"] if check else ["-force", "-batch", "-"]
    done = subprocess.run(
        ["ip", *words], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{lines}: {done.stderr}"
    return done.stdout


@asynccontextmanager
async def following(core: Core | None = None, *, buffer: int = 0) -> AsyncIterator[Follower]:
    """A follower at work that has read all of the kernel's state once."""
    follower = Follower(core or Core(), buffer=buffer)
    follower.open()
    task = asyncio.create_task(follower.run())
    follower.wake.set()
    try:
        async with asyncio.timeout(20):
            waiting = asyncio.create_task(follower.ready.wait())
            await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            await waiting
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        follower.close()


async def fresh() -> Wanted:
    """What a follower that starts now knows."""
    async with following() as follower:
        return follower.core.objects.wanted


def differences(left: Wanted, right: Wanted) -> list[str]:
    """Objects that only one side has, or that differ; for people."""
    lines = []
    for number in sorted(left.keys() | right.keys()):
        ours, theirs = left.get(number, {}), right.get(number, {})
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                a = decode(number, ours[key]) if key in ours else None
                b = decode(number, theirs[key]) if key in theirs else None
                lines.append(f"{a}\n   fresh: {b}")
    return lines


async def equals_fresh(follower: Follower, *, timeout: float = 10) -> None:
    """Until the follower knows what a fresh one does; fails with the differences."""
    found: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = differences(follower.core.objects.wanted, await fresh())
                if not found:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError("after events:\n" + "\n".join(found)) from None


async def settled_with(
    follower: Follower, condition: Callable[[], bool], *, timeout: float = 10
) -> None:
    """Until that holds; what the follower knows otherwise is told by the caller's next assertion."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"after {timeout} s: {follower.core.due}") from None
