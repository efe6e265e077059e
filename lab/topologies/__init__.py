"""One module per topology, each with a picture at its top and a `TOPOLOGY`."""

import importlib
import pkgutil

from lab.errors import LabError
from lab.topology import Topology


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Topology:
    """The topology of that name."""
    if name not in names():
        raise LabError(f"no topology named {name}", hint=f"there are: {', '.join(names())}")
    topology = importlib.import_module(f"{__name__}.{name}").TOPOLOGY
    assert isinstance(topology, Topology)
    assert not topology.problems(), topology.problems()
    return topology
