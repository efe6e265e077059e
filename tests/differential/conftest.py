# SPDX-License-Identifier: BSD-3-Clause
from tests.differential.fixtures import no_limit, off, on

__all__ = ["no_limit", "off", "on"]
