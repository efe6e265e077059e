"""What a running lab is, whichever way it was built."""

import os
from abc import abstractmethod

from lab import paths, state, topologies, wire
from lab.appliance import Appliance
from lab.errors import LabError
from lab.host import Host
from lab.stacked import Stacked
from lab.topology import Topology


class Lab(Stacked):
    """A context manager: entering builds the lab, leaving removes it (unless `keep` was called)."""

    backend: str
    appliance: Appliance

    def __init__(self, topology: Topology | str, *, name: str = "") -> None:
        super().__init__()
        self.topology = topologies.load(topology) if isinstance(topology, str) else topology
        self.name = name or self.topology.name
        if "-" in self.name:
            raise LabError(f"a lab's name has no dash: {self.name}")
        self.work = paths.work_dir(self.name)
        self.hosts = {plan.name: Host(self.name, plan) for plan in self.topology.hosts}
        self.kept = False

    def build(self) -> None:
        self.stack.enter_context(state.claimed(self.name))
        before = state.read(self.name)
        if before is not None and before.kept:
            raise LabError(
                f"the lab {self.name} is still up from an earlier command",
                hint=f"end it with: {state.ENTER} stop",
            )
        # What a crashed run may have left.
        state.remove(self.name)
        self.stack.callback(self.clean)
        self.write_state()
        wire.set_up_rack(self.name, self.topology)
        for host in self.topology.hosts:
            wire.set_up_host(self.name, host)
        self.start()

    @abstractmethod
    def start(self) -> None:
        """Bring the appliance up, on links that are there already."""

    def write_state(self) -> None:
        state.write(
            state.State(
                name=self.name,
                topology=self.topology.name,
                backend=self.backend,
                checkout=str(paths.TOP),
                pid=os.getpid(),
                kept=self.kept,
            )
        )

    def keep(self) -> None:
        """Leave the lab up when this process ends."""
        self.kept = True
        self.write_state()

    def clean(self) -> None:
        if not self.kept:
            state.remove(self.name)
