"""Promise 2: for any packet, the fast path sends what Linux would have sent, or hands it to Linux.

DIFF_PACKETS=10000 for more packets per family, DIFF_SEED=n to repeat a run.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import EVIDENCE
from tests.differential.generate import IPV4, IPV6
from tests.differential.harness import (
    DiffRig,
    asked_count,
    asked_seed,
    batch,
    compare,
    run,
)
from tests.lib.limits import unlimited_errors
from tests.lib.rig import Driver

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module", autouse=True)
def no_limit() -> Iterator[None]:
    with unlimited_errors():
        yield


def diff_rig(driver: Driver) -> Iterator[DiffRig]:
    work = EVIDENCE / "rigs" / f"differential-{driver}-{os.getpid()}"
    try:
        with DiffRig(work, driver) as rig:
            yield rig
    finally:
        shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="module")
def off() -> Iterator[DiffRig]:
    yield from diff_rig(Driver.NONE)


@pytest.fixture(scope="module")
def on() -> Iterator[DiffRig]:
    yield from diff_rig(Driver.AF_XDP)


@pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])
def test_random_packets_leave_as_linux_would_have_sent_them(
    off: DiffRig, on: DiffRig, family: int, evidence: Path, request: pytest.FixtureRequest
) -> None:
    seed, count = asked_seed(), asked_count()
    print(f"seed {seed}: DIFF_SEED={seed} DIFF_PACKETS={count} repeats this")
    try:
        outcome = run(off, on, family, seed, count, evidence)
    except AssertionError:
        on.rig.collect(evidence)
        raise
    # More than half of the packets are good ones: without the fast path none would count here.
    assert outcome.counters.forwarded >= count * 0.4, outcome
    assert outcome.heard >= count * 0.5, outcome


@pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])
def test_plain_linux_agrees_with_itself(off: DiffRig, family: int) -> None:
    """What the harness calls equal is so without any fast path: else it'd blame chance."""
    made = batch(family, asked_seed(), 0, 300)
    difference = compare(off.outputs(made), off.outputs(made))
    assert not difference, str(difference)
