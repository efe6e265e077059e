"""Linux can't be drowned: what a port hands over is bounded, and forwarding goes on.

h1 -- p1  router  p2 -- h2
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.proc import wait_for
from tests.functional.conftest import observed
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, RIGHT, Rig, ping
from tests.lib.traffic import Stream

pytestmark = pytest.mark.functional
RATE = 500


@pytest.fixture
def rig(rigs: Callable[..., Rig], request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    """A small budget, so that a test needn't send much to pass it."""
    rig = rigs("small-budget", FP_EXCEPTION_RATE=str(RATE))
    yield from observed(rig, request, evidence)


def flood_frames(port: int) -> list[bytes]:
    """Packets for the router itself: each one an exception."""
    frame = udp_frame(
        (LEFT.host_mac, LEFT.host4), (LEFT.port_mac, LEFT.port4), b"flood", ports=(1, port)
    )
    return [frame] * 200


def test_a_flood_of_exceptions_is_bounded_and_forwarding_goes_on(rig: Rig) -> None:
    before = rig.fast_path.counters()
    with Stream(rig, per_second=200) as stream, Wire(rig.h1.namespace, "eth0") as wire:
        start = time.monotonic()
        sent = 0
        while time.monotonic() - start < 3:
            sent += wire.send(flood_frames(7), per_second=5000)
        seconds = time.monotonic() - start
    delta = rig.fast_path.counters() - before
    # A bucket may be full at the start: one second's worth more.
    assert delta.exceptions <= RATE * (seconds + 1.5), delta
    # On a busy machine the wire itself loses some of a flood.
    assert delta.reasons.get("exception_budget", 0) >= sent / 2, delta
    assert delta.exceptions >= RATE * (seconds - 1) / 2, f"far below the budget: {delta}"
    assert stream.heard.lost <= stream.sent / 50, stream.heard
    assert delta.forwarded >= stream.heard.received


def test_the_budget_of_one_port_is_not_the_others(rig: Rig) -> None:
    with Wire(rig.h1.namespace, "eth0") as wire:
        wire.send(flood_frames(7) * 10)
        # p1's budget is spent; p2's hosts reach the router all the same.
        assert ping(rig.h2, RIGHT.port4, count=20) == 20
    wait_for(
        lambda: ping(rig.h1, LEFT.port4, count=1) == 1, "p1's budget again", timeout=5, interval=0.1
    )
