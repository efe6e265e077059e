# SPDX-License-Identifier: BSD-3-Clause
"""A gateway: hosts behind lan, peers of its tunnels behind wan, for both families."""

import pytest

from tests.packet.fixtures import router, router_holder
from tests.packet.harness import Port, Router

__all__ = ["router", "router_holder"]


@pytest.fixture
def lan(router: Router) -> Port:
    """192.0.2.0/24 and 2001:db8:1::/64 with a host at .10, ::10. Decrypted packets can go to Linux."""
    router.fpn0()
    port = router.port("lan", mtu=1500)
    router.address("192.0.2.1/24", port)
    router.address("2001:db8:1::1/64", port)
    for address in ("192.0.2.10", "2001:db8:1::10"):
        router.neighbour(address, port, "02:00:00:00:aa:10")
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    """198.51.100.0/24 and 2001:db8:2::/64; the peer at .2, ::2 has 203.0.113.0/24 and 2001:db8:3::/64 behind it."""
    port = router.port("wan", mtu=1500)
    router.address("198.51.100.1/24", port)
    router.address("2001:db8:2::1/64", port)
    for address in ("198.51.100.2", "2001:db8:2::2"):
        router.neighbour(address, port, "02:00:00:00:bb:02")
    router.route("203.0.113.0/24", via="198.51.100.2", dev=port)
    router.route("2001:db8:3::/64", via="2001:db8:2::2", dev=port)
    return port
