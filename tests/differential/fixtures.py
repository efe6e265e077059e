"""Two routers that are alike, for tests that compare them: `off` is Linux alone, `on` has the fast path."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import EVIDENCE
from tests.differential.harness import DiffRig
from tests.lib.generate import IPV4, IPV6
from tests.lib.limits import unlimited_errors
from tests.lib.rig import Driver

FAMILIES = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def no_limit() -> Iterator[None]:
    """Of ICMP errors, which are answers to compare."""
    with unlimited_errors():
        yield


def made(driver: Driver) -> Iterator[DiffRig]:
    work = EVIDENCE / "rigs" / f"differential-{driver}-{os.getpid()}"
    try:
        with DiffRig(work, driver) as rig:
            yield rig
    finally:
        shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="module")
def off(no_limit: None) -> Iterator[DiffRig]:
    yield from made(Driver.NONE)


@pytest.fixture(scope="module")
def on(no_limit: None) -> Iterator[DiffRig]:
    yield from made(Driver.AF_XDP)
