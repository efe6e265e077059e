# SPDX-License-Identifier: BSD-3-Clause
"""Two networks and a router between them."""

import pytest

from tests.packet.fixtures import router, router_holder
from tests.packet.harness import Port, Router

__all__ = ["router", "router_holder"]


@pytest.fixture
def lan(router: Router) -> Port:
    """192.0.2.0/24 and 2001:db8:1::/64 with the router at 1."""
    port = router.port("lan")
    router.address("192.0.2.1/24", port)
    router.address("2001:db8:1::1/64", port)
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    """198.51.100.0/24 with the router at .1 and a host at .10; at .99 is nobody."""
    port = router.port("wan")
    router.address("198.51.100.1/24", port)
    router.neighbour("198.51.100.10", port, "02:00:00:00:bb:10")
    return port
