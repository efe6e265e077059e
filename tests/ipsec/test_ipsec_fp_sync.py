# SPDX-License-Identifier: BSD-3-Clause
"""cmgrd and fpmd beside a kernel with SAs and policies: what fp-sync says, and that no key is ever written down."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.cmgrd.kernel import in_namespace, ip
from tests.cmgrd.scenarios import SETUP
from tests.cmgrd.test_fp_sync import fp_sync, start
from tests.cmgrd.test_fpmd import Pair, pair

pytestmark = pytest.mark.functional

TUNNEL = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel"
KEY = "c0ffee01c0ffee02c0ffee03c0ffee04c0ffee05"
HASHED = "d00dfeed01d00dfeed02d00dfeed03d00dfeed04d00dfeed05d00dfeed060708"


def policy(third: int) -> str:
    return f"xfrm policy add src 10.0.0.0/8 dst 10.{third}.0.0/16 dir out {TUNNEL}"


async def objects(both: Pair) -> str:
    """What `fp-sync check` says when all is equal."""
    assert "equal: " in await fp_sync(both, "check", "--seconds", "20")
    said = await fp_sync(both, "check", "--tables")
    assert "equal: " in said
    return said


def test_policies_are_checked_and_outlive_the_daemons(tmp_path: Path) -> None:
    async def run() -> None:
        ip(*SETUP)
        async with pair(tmp_path / "log") as both:
            ip(policy(1), policy(2))
            await objects(both)
            for name in ("cmgrd", "fpmd"):
                await both.kill(name)
                ip(policy(3))
                if name == "cmgrd":
                    said = await fp_sync(both, "check", "--seconds", "0.1", status=1)
                    assert "policy out " in said
                    assert "Linux has it, the fast path doesn't" in said
                await both.start(name)
                await objects(both)
                ip("xfrm policy delete src 10.0.0.0/8 dst 10.3.0.0/16 dir out")
                await objects(both)

    in_namespace(run)


@pytest.mark.vm
def test_no_key_is_written_anywhere(tmp_path: Path) -> None:
    """Recordings, what lookers-on are told, the debug log. `check` sees the SAs equal, without their keys."""

    async def run() -> None:
        ip(*SETUP)
        written = [tmp_path / name for name in ("log", "cmgrd.jsonl", "fpmd.jsonl", "sync.jsonl")]
        async with pair(written[0]) as both:
            await both.until_equal()
            for name, record in (("cmgrd", written[1]), ("fpmd", written[2])):
                await both.kill(name)
                debug = ["-d"] if name == "cmgrd" else []
                await both.start(name, "--record", str(record), *debug)
            await objects(both)
            watching = await start(both, "-j", "monitor", "--count", "2")
            await asyncio.sleep(
                1
            )  # it hears of what comes from now on; what it missed, `--count` waits for in vain
            first = f"aead rfc4106(gcm(aes)) 0x{KEY} 128"
            second = f"enc cbc(aes) 0x{KEY[:32]} auth-trunc hmac(sha256) 0x{HASHED} 128"
            for spi, algorithms in enumerate((first, second), 0x101):
                words = (
                    f"xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi {spi} mode tunnel"
                )
                subprocess.run(["ip", *words.split(), *algorithms.split()], check=True)
            async with asyncio.timeout(60):
                out, _ = await watching.communicate()
            assert b"SA esp 192.0.2.2" in out
            said = await objects(both)
            await fp_sync(both, "record", str(written[3]), "--seconds", "1")
            texts = [out.decode(), said, *(path.read_text() for path in written)]
            assert all('"ipsec"' in text for text in texts[4:])
            for key in (KEY, HASHED):
                pieces = [key[i : i + 8] for i in range(len(key) - 8)]
                assert not any(piece in text for text in texts for piece in pieces)

    in_namespace(run)
