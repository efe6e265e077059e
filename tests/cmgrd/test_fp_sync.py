"""fp-sync beside a running cmgrd and fpmd: status, check, monitor, record, replay."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sluice.fpc import Connection, Role, Verb, encode_key

from tests.cmgrd.kernel import in_namespace, ip
from tests.cmgrd.scenarios import SETUP
from tests.cmgrd.test_fpmd import Pair, pair
from tests.lib import product

pytestmark = pytest.mark.functional


async def fp_sync(both: Pair, *words: str, status: int = 0) -> str:
    process = await start(both, *words)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == status, (out.decode(), err.decode())
    assert "Traceback" not in err.decode()
    return out.decode() + err.decode()


async def start(both: Pair, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *product.program("fp-sync"), "--instance", both.instance, *words, env=product.environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def metrics(both: Pair) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await fp_sync(both, "-j", "status"))
    return found


def meddle(both: Pair) -> None:
    """Take an object from fpmd behind cmgrd's back: a client with its role, which is free for a moment."""
    with Connection(f"/run/sluice/{both.instance}/fpc.sock", Role.SYNC, name="test") as fpmd:
        key = {
            "vrf": 0,
            "table": 254,
            "metric": 0,
            "family": 2,
            "plen": 24,
            "tos": 0,
            "dst": "203.0.113.0",
        }
        fpmd.request(Verb.DEL, "route", encode_key("route", **key))


def test_check_says_equal_and_names_what_differs(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP, "route add 203.0.113.0/24 via 192.0.2.2")
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            assert "equal: " in await fp_sync(both, "check")
            assert "equal: " in await fp_sync(both, "check", "--tables")
            assert json.loads(await fp_sync(both, "-j", "check")) == []
            await both.kill("cmgrd")
            ip("route add 203.0.114.0/24 via 192.0.2.2", "link set p1 mtu 1400")
            meddle(both)
            said = await fp_sync(both, "check", "--seconds", "0.1", status=1)
            assert "203.0.114.0/24 table 254 metric 0: Linux has it, the fast path doesn't" in said
            assert "203.0.113.0/24" in said
            assert "mtu 1400 in Linux, 1500 there" in said
            rows = json.loads(
                await fp_sync(both, "-j", "check", "--tables", "--seconds", "0.1", status=1)
            )
            assert {"missing", "different", "table"} <= {row["kind"] for row in rows}
            await both.start("cmgrd")
            await both.until_equal()
            assert "equal: " in await fp_sync(both, "check", "--tables")

    in_namespace(run)


def test_status_shows_what_cmgrd_does_and_how_long_changes_take(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            before = await metrics(both)
            assert before["ready"]
            assert before["synced"]
            assert before["objects"]["iface"] >= 3
            ip("route add 203.0.113.0/24 via 192.0.2.2")
            await both.until_equal()
            after = await metrics(both)
            assert after["changes"] == before["changes"] + 1
            assert after["messages"] > before["messages"]
            assert 0 < after["lag_most_seconds"] < 5
            assert after["waiting"] == 0
            assert "lag most seconds" in await fp_sync(both, "status")

    in_namespace(run)


def test_monitor_names_the_kernels_message_behind_each_change(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            watching = await start(both, "monitor", "--count", "2")
            await listened(both)
            ip("route add 203.0.113.0/24 via 192.0.2.2", "route del 203.0.113.0/24")
            async with asyncio.timeout(30):
                out, _ = await watching.communicate()
            first, second = out.decode().splitlines()
            assert first.startswith(
                "route 203.0.113.0/24 table 254 metric 0 type 1 protocol 3 via 192.0.2.2"
            )
            assert first.endswith("set: RTM_NEWROUTE")
            assert second == "route 203.0.113.0/24 table 254 metric 0 deleted: RTM_DELROUTE"
            assert watching.returncode == 0

    in_namespace(run)


async def listened(both: Pair) -> None:
    """Until cmgrd has a client that looks on; it says so in its socket's listing."""
    path = f"/run/sluice/{both.instance}/cmgrd.sock"
    async with asyncio.timeout(30):
        while Path("/proc/thread-self/net/unix").read_text().count(path) < 2:
            await asyncio.sleep(0.05)
    await metrics(both)  # whoever came before has been heard


def test_a_recording_gives_another_fpmd_the_same_objects(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        tape = tmp_path / "tape"
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            recording = await start(both, "-j", "record", str(tape))
            await listened(both)
            async with asyncio.timeout(30):
                while not tape.exists() or "SYNC_END" not in tape.read_text():
                    await asyncio.sleep(0.05)
            ip("route add 203.0.113.0/24 via 192.0.2.2", "link set p2 mtu 1400", "route add 203.0.114.0/24 dev p1",
               "route del 203.0.113.0/24")  # fmt: skip
            await both.until_equal()
            async with asyncio.timeout(30):
                while tape.read_text().partition("SYNC_END")[2].count("\n") < 5:
                    await asyncio.sleep(0.05)
            recording.terminate()
            out, _ = await recording.communicate()
            told = json.loads(out)
            assert told["objects"] > 5
            assert told["changes"] >= 4
            assert '"cause": "RTM_DELROUTE"' in tape.read_text()
            wanted = both.stored()
            said = await fp_sync(both, "replay", str(tape), status=1)
            assert "has the role 'sync' already" in said
        other = Pair(tmp_path / "log")
        try:
            await other.start("fpmd")
            async with asyncio.timeout(20):
                while not Path(f"/run/sluice/{other.instance}/fpc.sock").exists():
                    await asyncio.sleep(0.02)
            assert json.loads(await fp_sync(other, "-j", "replay", str(tape)))["refused"] == 0
            assert other.stored() == wanted
        finally:
            await other.clean()

    in_namespace(run)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        bad = tmp_path / "bad"
        bad.write_text("{}\n")
        async with pair(tmp_path / "log") as both:
            await both.until_equal()
            said = await fp_sync(both, "replay", str(bad), status=1)
            assert "line 1 is no recorded frame" in said
            said = await fp_sync(both, "record", "/nowhere/at/all", status=1)
            assert "fp-sync: error: /nowhere/at/all: No such file or directory" in said
            await both.kill("cmgrd")
            said = await fp_sync(both, "status", status=1)
            assert "fp-sync: error: can't ask cmgrd" in said
            assert "fp-sync: hint: is cmgrd running?" in said
            both.instance, kept = "nosuch", both.instance
            assert "there is no instance 'nosuch'" in await fp_sync(both, "check", status=1)
            both.instance = kept

    in_namespace(run)
