# SPDX-License-Identifier: BSD-3-Clause
"""The asyncio client against a real fpmd."""

import asyncio
import errno
import signal
from pathlib import Path

import pytest
from sluice.fpc import (
    Client,
    EventKind,
    LostError,
    RefusedError,
    Role,
    State,
    Verb,
    decode,
    encode,
    encode_key,
)

from tests.fpmd.conftest import Fpmd, router

pytestmark = pytest.mark.functional


def test_a_sync_and_a_dump(fpmd: Fpmd) -> None:
    async def run() -> None:
        async with await Client.connect(fpmd.socket, Role.SYNC, name="a") as client:
            await client.sync_begin()
            for feature, body in router():
                await client.set(feature, body)
            await client.sync_end()
            stored = await client.dump()
            assert [(s.feature, s.body) for s in stored] == [
                (s.feature, s.body) for s in fpmd.connect(Role.VIEWER).dump()
            ]
            assert {s.state for s in stored} == {State.APPLIED}
            await client.delete("iface", encode_key("iface", vrf=1, ifindex=3), ack=True)
            assert len(await client.dump("iface")) == 3

    asyncio.run(run())


def test_refusals_asked_for_are_raised_and_others_reported(fpmd: Fpmd) -> None:
    async def run() -> None:
        async with await Client.connect(fpmd.socket, Role.SYNC, name="a") as client:
            unasked: list[RefusedError] = []
            client.on_refused = unasked.append
            bad = encode("iface", vrf=999, ifindex=1)
            with pytest.raises(RefusedError, match="VRF numbers") as refused:
                await client.set("iface", bad, ack=True)
            assert (refused.value.errno, refused.value.field) == (errno.ERANGE, "vrf")
            seq = client.post(Verb.SET, "iface", bad)
            (stored,) = await client.dump("iface")
            assert [(e.seq, e.errno) for e in unasked] == [(seq, errno.ERANGE)]
            assert stored.state == State.REFUSED
            assert stored.error
            assert stored.error.field == "vrf"
            with pytest.raises(RefusedError) as busy:
                await Client.connect(fpmd.socket, Role.SYNC, name="b")
            assert busy.value.errno == errno.EBUSY

    asyncio.run(run())


def test_twenty_thousand_refusals_dont_jam_it(fpmd: Fpmd) -> None:
    """Both queues fill up if the client didn't read while it writes."""

    async def run() -> None:
        async with await Client.connect(fpmd.socket, Role.SYNC, name="a") as client:
            count = 0

            def refused(_: RefusedError) -> None:
                nonlocal count
                count += 1

            client.on_refused = refused
            for i in range(20_000):
                client.post(Verb.SET, "iface", encode_key("iface", vrf=999, ifindex=i % 50 + 1))
                if i % 100 == 0:
                    await client.drain()
            async with asyncio.timeout(60):
                assert len(await client.dump("iface")) == 50
            assert count == 20_000

    asyncio.run(run())


def test_events_come_while_others_work(fpmd: Fpmd) -> None:
    async def run() -> None:
        async with (
            await Client.connect(fpmd.socket, Role.SYNC, name="a"),
            await Client.connect(fpmd.socket, Role.RTE, name="b") as rte,
        ):
            await rte.set("port", encode("port", port=1, tap_ifindex=7), ack=True)
            async with asyncio.timeout(5):
                assert (await anext(rte.events())).kind == EventKind.PUBLISHED

    asyncio.run(run())


def test_everyone_who_waits_hears_of_the_end(fpmd: Fpmd) -> None:
    async def run() -> None:
        client = await Client.connect(fpmd.socket, Role.SYNC, name="a")
        assert fpmd.process
        # It answers no more once it's stopped, which takes a moment after the signal.
        fpmd.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{fpmd.process.pid}/stat")
        async with asyncio.timeout(5):
            while stat.read_text().rsplit(")", 1)[1].split()[0] != "T":
                await asyncio.sleep(0.001)
        waiting = [
            asyncio.ensure_future(client.dump()),
            asyncio.ensure_future(client.sync_begin()),
            asyncio.ensure_future(anext(client.events())),
        ]
        await asyncio.sleep(0)
        fpmd.process.kill()
        async with asyncio.timeout(5):
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [LostError] * 3
        assert client.lost.is_set()
        with pytest.raises(LostError):
            await client.set("vrf", encode("vrf", vrf=0))
        await client.close()
        fpmd.process.wait()  # until then its socket may still take connections
        with pytest.raises(LostError, match="can't reach fpmd"):
            await Client.connect(fpmd.socket, Role.SYNC, name="a")

    asyncio.run(run())


def test_decoding_a_dump_gives_what_was_encoded(fpmd: Fpmd) -> None:
    async def run() -> None:
        async with await Client.connect(fpmd.socket, Role.SYNC, name="a") as client:
            for feature, body in router():
                await client.set(feature, body, ack=True)
            shown = [decode(s.feature, s.body) for s in await client.dump("route")]
            assert [decode(*o) for o in router() if o[0] == "route"] == shown

    asyncio.run(run())
