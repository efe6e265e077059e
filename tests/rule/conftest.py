# SPDX-License-Identifier: BSD-3-Clause
"""Three networks and a router between them; the third one is where rules lead to."""

import pytest

from tests.packet.fixtures import router, router_holder
from tests.packet.harness import Port, Router

__all__ = ["router", "router_holder"]


def attach(router: Router, name: str, net: int) -> Port:
    """192.0.NET.0/24 and 2001:db8:NET::/64 with the router at .1 and a host at .10."""
    port = router.port(name)
    for own, host in (
        (f"192.0.{net}.1/24", f"192.0.{net}.10"),
        (f"2001:db8:{net}::1/64", f"2001:db8:{net}::10"),
    ):
        router.address(own, port)
        router.neighbour(host, port, f"02:00:00:00:bb:{net:02x}")
    return port


@pytest.fixture
def lan(router: Router) -> Port:
    return attach(router, "lan", 1)


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    """Where all that isn't known goes by table main."""
    port = attach(router, "wan", 2)
    router.route("0.0.0.0/0", via="192.0.2.10", dev=port)
    router.route("::/0", via="2001:db8:2::10", dev=port)
    return port


@pytest.fixture
def alt(router: Router, wan: Port) -> Port:
    """Where it goes by table 100."""
    port = attach(router, "alt", 3)
    router.route("0.0.0.0/0", via="192.0.3.10", dev=port, table=100)
    router.route("::/0", via="2001:db8:3::10", dev=port, table=100)
    return port
