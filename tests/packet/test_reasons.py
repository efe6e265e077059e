# SPDX-License-Identifier: BSD-3-Clause
"""Each reason of a feature that has packet tests stands in one of them."""

from pathlib import Path

import pytest

from tests.packet.harness import Router

pytestmark = pytest.mark.packet

TESTS = Path(__file__).resolve().parents[1]
# Those that need ports, rings or a lack of memory: tests/fastpath and the functional tests.
ELSEWHERE = {"no_mbuf", "tap_full", "port_down", "spread_full"}


def test_each_reason_is_met_by_a_packet_test(router: Router) -> None:
    text = "".join(
        path.read_text()
        for path in TESTS.glob("*/test_*_packet.py")
        if path.parent.joinpath("conftest.py").exists()
    )
    missing = [name for name in router.reasons if f'"{name}"' not in text and name not in ELSEWHERE]
    assert missing == []
