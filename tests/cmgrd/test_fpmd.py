"""cmgrd and fpmd together, without a fast path: whoever is killed, fpmd ends with what the kernel has."""

import asyncio
import random
import shutil
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sluice.cmgrd.compare import kernel
from sluice.fpc import FEATURES, Connection, FpcError, RefusedError, Role, State, Verb, decode
from sluice.shm import canonical_dump

from tests.cmgrd.kernel import fresh, in_namespace, ip
from tests.cmgrd.scenarios import SETUP
from tests.lib import product

pytestmark = pytest.mark.functional

Process = asyncio.subprocess.Process


class Pair:
    """fpmd and cmgrd of an instance of their own."""

    def __init__(self, log: Path) -> None:
        self.instance = f"t{uuid.uuid4().hex[:12]}"
        self.log = log
        self.running: dict[str, Process] = {}

    async def start(self, name: str, *options: str) -> Process:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *product.program(name), "--instance", self.instance, *options,
                env=product.environment(), stdout=log, stderr=log,
            )  # fmt: skip
        self.running[name] = process
        return process

    async def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        process.send_signal(number)
        await process.wait()

    async def clean(self) -> None:
        """End it and remove what it leaves."""
        for name in list(self.running):
            await self.kill(name)
        shutil.rmtree(f"/run/sluice/{self.instance}", ignore_errors=True)
        for path in Path("/dev/shm").glob(f"sluice.{self.instance}*"):
            path.unlink()

    def stored(self) -> dict[tuple[int, bytes], tuple[State, bytes]]:
        """What fpmd has, ports left out: they are fp-rte's."""
        path = f"/run/sluice/{self.instance}/fpc.sock"
        with Connection(path, Role.VIEWER, name="test") as fpmd:
            return {
                (item.feature, item.body.ljust(4096, b"\0")): (item.state, item.body)
                for item in fpmd.dump()
            }

    async def until_equal(self, *, seconds: float = 20) -> None:
        """Until fpmd has what a fresh look at the kernel gives."""
        lines: list[str] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    wanted = {
                        (feature, body.ljust(4096, b"\0")): body
                        for feature, objects in (await fresh()).items()
                        for body in objects.values()
                    }
                    try:
                        found = self.stored()
                    except FpcError as error:
                        lines = [str(error)]
                    else:
                        lines = [
                            f"only fpmd: {decode(f, b)}" for f, b in found.keys() - wanted.keys()
                        ]
                        lines += [
                            f"not in fpmd: {decode(f, b)}" for f, b in wanted.keys() - found.keys()
                        ]
                        if not lines:
                            return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError("\n".join([*lines, self.log.read_text()[-4000:]])) from None


@asynccontextmanager
async def pair(log: Path, *, buffer: int = 0, settings: str = "") -> AsyncIterator[Pair]:
    """`buffer`: of cmgrd's sockets; `settings`: lines of fast-path.env."""
    both = Pair(log)
    env = log.with_suffix(".env")
    env.write_text(settings)
    try:
        await both.start("fpmd", "--env", str(env))
        await both.start("cmgrd", "--buffer", str(buffer))
        yield both
    finally:
        await both.clean()


def test_whoever_is_killed_fpmd_ends_with_what_the_kernel_has(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        chance = random.Random(3)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            for victim in ("cmgrd", "fpmd", "cmgrd", "fpmd", "both"):
                churn = [
                    f"route {chance.choice(['replace', 'del'])} 203.0.113.{chance.randrange(256)}/32"
                    f" via 192.0.2.{chance.choice([2, 3])}"
                    for _ in range(300)
                ]
                ip(*churn[:150], check=False)
                for name in ("cmgrd", "fpmd") if victim == "both" else (victim,):
                    await both.kill(name)
                ip(*churn[150:], "link set p2 down", check=False)
                for name in ("fpmd", "cmgrd"):
                    if name not in both.running:
                        await both.start(name)
                ip("link set p2 up", "address replace 198.51.100.1/24 dev p2")
                await both.until_equal()
            assert "Traceback" not in both.log.read_text()

    in_namespace(run)


def test_everything_is_told_again_on_sighup(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            told = both.log.read_text().count("fpmd has all")
            both.running["cmgrd"].send_signal(signal.SIGHUP)
            async with asyncio.timeout(10):
                while both.log.read_text().count("fpmd has all") == told:
                    await asyncio.sleep(0.02)
            await both.until_equal()

    in_namespace(run)


def test_a_second_cmgrd_ends_and_the_first_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            second = await asyncio.create_subprocess_exec(
                *product.program("cmgrd"), "--instance", both.instance,
                env=product.environment(), stderr=subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(20):
                _, errors = await second.communicate()
            assert second.returncode == 1
            lines = errors.decode().splitlines()
            assert lines[-2].startswith("cmgrd: error: ")
            assert lines[-1] == "cmgrd: hint: stop it, or choose another --instance"
            ip("route add 203.0.113.0/24 via 192.0.2.2")
            await both.until_equal()

    in_namespace(run)


def test_an_older_cmgrds_shorter_structs_are_taken_and_the_new_ones_follow(tmp_path: Path) -> None:
    """Fpmd was upgraded first; then cmgrd is, and memory is as after a fresh start."""

    async def run() -> None:
        ip(*SETUP, "route add 203.0.113.0/24 via 192.0.2.2")
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            await both.kill("cmgrd")
            wanted = canonical_dump(both.instance)
            path = f"/run/sluice/{both.instance}/fpc.sock"
            with Connection(path, Role.SYNC, name="old cmgrd") as old:
                old.sync_begin()
                for feature, objects in (await fresh()).items():
                    for body in objects.values():
                        # Its struct fpc_iface ended before the names.
                        old.set(feature, body[:24] if feature == FEATURES["iface"].id else body)
                old.sync_end()
            assert canonical_dump(both.instance) != wanted
            states = {state for state, _ in both.stored().values()}
            assert states == {State.APPLIED}
            await both.start("cmgrd")
            await both.until_equal()
            assert canonical_dump(both.instance) == wanted

    in_namespace(run)


def test_what_a_full_table_refuses_is_named_and_comes_in_when_there_is_room(tmp_path: Path) -> None:
    """64 next hops fit; 100 routes want one each."""

    async def run() -> None:
        routes = [f"route add 203.0.{n}.0/24 via 192.0.2.{n + 2}" for n in range(100)]
        ip(*SETUP, *routes)
        async with pair(tmp_path / "log", settings="FP_MAX_NEXTHOPS=64\n") as both:
            await both.until_equal()
            refused = [body for state, body in both.stored().values() if state is State.REFUSED]
            assert len(refused) > 30
            assert "fpmd refused route 203.0." in both.log.read_text()
            ip(*(line.replace("add", "del") for line in routes[:60]))
            await both.until_equal()
            async with asyncio.timeout(20):
                while any(state is not State.APPLIED for state, _ in both.stored().values()):
                    await asyncio.sleep(0.05)
            assert "Traceback" not in both.log.read_text()

    in_namespace(run)


def test_fpmd_knows_whether_it_has_all_objects(tmp_path: Path) -> None:
    """AUDIT, after changes of every kind; and it names the feature that differs."""

    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            churn = [
                f"route replace 203.0.113.{n % 40}/32 via 192.0.2.{2 + n % 3}" for n in range(200)
            ]
            ip(
                *churn,
                *(f"route del 203.0.113.{n}/32" for n in range(0, 40, 3)),
                "link set p2 mtu 1400",
            )
            await both.until_equal()
            await both.kill("cmgrd")
            core = (await kernel()).objects
            path = f"/run/sluice/{both.instance}/fpc.sock"
            with Connection(path, Role.SYNC, name="test") as fpmd:
                for number in core.wanted:
                    fpmd.request(Verb.AUDIT, number, core.audit(number))
                number = FEATURES["route"].id
                key, body = next(iter(core.wanted[number].items()))
                fpmd.delete(number, key)
                with pytest.raises(RefusedError, match="the objects of route are others"):
                    fpmd.request(Verb.AUDIT, number, core.audit(number))
                fpmd.set(number, body)
                fpmd.request(Verb.AUDIT, number, core.audit(number))

    in_namespace(run)
