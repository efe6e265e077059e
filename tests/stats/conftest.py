# SPDX-License-Identifier: BSD-3-Clause
from tests.differential.fixtures import no_limit, off, on
from tests.packet.fixtures import router, router_holder

__all__ = ["no_limit", "off", "on", "router", "router_holder"]
