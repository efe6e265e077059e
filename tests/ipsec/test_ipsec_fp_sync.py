# SPDX-License-Identifier: BSD-3-Clause
"""cmgrd and fpmd beside a kernel with policies: what fp-sync says."""

from pathlib import Path

import pytest

from tests.cmgrd.kernel import in_namespace, ip
from tests.cmgrd.scenarios import SETUP
from tests.cmgrd.test_fp_sync import fp_sync
from tests.cmgrd.test_fpmd import Pair, pair

pytestmark = pytest.mark.functional

TUNNEL = "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel"


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
