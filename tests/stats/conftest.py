# SPDX-License-Identifier: BSD-3-Clause
from tests.packet.fixtures import router, router_holder

__all__ = ["router", "router_holder"]
