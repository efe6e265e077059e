# SPDX-License-Identifier: BSD-3-Clause
"""The two networks of the IPv4 tests."""

from tests.ip.conftest import lan, router, router_holder, wan

__all__ = ["lan", "router", "router_holder", "wan"]
