# SPDX-License-Identifier: BSD-3-Clause
"""Two networks and a router between them, for IPv6."""

import pytest

from tests.packet.fixtures import router, router_holder
from tests.packet.harness import Port, Router

__all__ = ["router", "router_holder"]


@pytest.fixture
def lan(router: Router) -> Port:
    """2001:db8:1::/64 with the router at ::1 and a host at ::10."""
    port = router.port("lan")
    router.address("2001:db8:1::1/64", port)
    router.neighbour("2001:db8:1::10", port, "02:00:00:00:aa:10")
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    """2001:db8:2::/64 with the router at ::1 and a host at ::10."""
    port = router.port("wan")
    router.address("2001:db8:2::1/64", port)
    router.neighbour("2001:db8:2::10", port, "02:00:00:00:bb:10")
    return port
