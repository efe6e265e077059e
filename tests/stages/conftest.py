# SPDX-License-Identifier: BSD-3-Clause
"""Two networks and a router between them, with the plugin `probe` in its fast path.

host .10 -- 192.0.2.0/24, 2001:db8:1::/64 -- lan [router] wan -- 198.51.100.0/24, 2001:db8:2::/64 -- host .10
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.packet.fixtures import router, router_holder
from tests.packet.harness import HARNESS, Port, Router

__all__ = ["router", "router_holder"]

PROBE = HARNESS.parents[1] / "stages/probe.so"


class Net:
    """The router and its ports."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.lan, self.wan = networks(router)


def networks(router: Router) -> tuple[Port, Port]:
    """The ports, with addresses and hosts."""
    router.vrf(0)
    lan, wan = router.port("lan"), router.port("wan")
    for port, number, net in ((lan, 1, "192.0.2"), (wan, 2, "198.51.100")):
        lladdr = f"02:00:00:00:{0x99 + 0x11 * number:02x}:10"
        router.address(f"{net}.1/24", port)
        router.neighbour(f"{net}.10", port, lladdr)
        router.address(f"2001:db8:{number}::1/64", port)
        router.neighbour(f"2001:db8:{number}::10", port, lladdr)
    return lan, wan


@contextmanager
def probed(*arguments: str) -> Iterator[Net]:
    """A router with the plugin; all packet buffers must be back in the end."""
    router = Router(settings=[f"FP_PLUGINS={','.join([str(PROBE), *arguments])}"])
    try:
        yield Net(router)
        router.reset()
    finally:
        router.close()


@pytest.fixture
def net(router: Router) -> Net:
    """Without any plugin."""
    return Net(router)
