# SPDX-License-Identifier: BSD-3-Clause
"""The fixture `router`, for the conftest.py of each folder with packet tests."""

from collections.abc import Iterator

import pytest

from tests.packet.harness import HarnessDiedError, Router


class Holder:
    """One harness process for all tests of a folder; a new one where a test has killed it."""

    def __init__(self) -> None:
        self.router: Router | None = None

    def get(self) -> Router:
        if self.router is None:
            self.router = Router()
        return self.router

    def close(self) -> None:
        router, self.router = self.router, None
        if router:
            router.close()


@pytest.fixture(scope="session")
def router_holder() -> Iterator[Holder]:
    holder = Holder()
    yield holder
    holder.close()


@pytest.fixture
def router(router_holder: Holder) -> Iterator[Router]:
    """A router without any state but VRF 0; what the test sets is taken back by a resync."""
    router = router_holder.get()
    router.vrf(0)
    yield router
    try:
        router.reset()
    except HarnessDiedError:
        router_holder.router = None
        raise
