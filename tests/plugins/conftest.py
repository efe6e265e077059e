# SPDX-License-Identifier: BSD-3-Clause
"""The sample plugins, loaded into the packet harness's fast path."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.packet.harness import HARNESS, Router
from tests.stages.conftest import Net

PLUGINS = HARNESS.parents[2] / "gate/plugins"


@contextmanager
def loaded(*plugins: str) -> Iterator[Net]:
    """A router with plugins, each "name,arguments"; all packet buffers must be back in the end."""
    paths = []
    for plugin in plugins:
        name, comma, arguments = plugin.partition(",")
        paths.append(f"{PLUGINS / name}.so{comma}{arguments}")
    router = Router(settings=[f"FP_PLUGINS={' '.join(paths)}"])
    try:
        yield Net(router)
        router.reset()
    finally:
        router.close()
