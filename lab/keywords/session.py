"""The lab that the suites of one run share: booted once, restored for each suite."""

import atexit
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from lab import proc
from lab.appliance import Appliance
from lab.errors import LabError
from lab.host import Host
from lab.suites import RESULTS
from lab.vm import VmLab

# What a failure needs is seldom in the bulk flows, and writing these costs the appliance's time.
CAPTURE_FILTER = "not port 5201"
CAPTURE_MEGABYTES = "20"


@dataclass
class Session:
    lab: VmLab | None = None
    saved: bool = False
    configured: bool = False
    captures: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def boot(self, topology: str, *, bios: bool = False) -> VmLab:
        """A newly booted lab; the one before it is gone."""
        self.close()
        lab = VmLab(topology, bios=bios)
        lab.__enter__()
        self.lab = lab
        self.saved = False
        return lab

    def bring_up(self, topology: str) -> VmLab:
        """The lab as it was after its boot: restored if it has been up, else booted."""
        lab = self.lab
        if lab is None or lab.topology.name != topology:
            return self.boot(topology)
        if self.saved:
            lab.restore()
        return lab

    def save(self) -> None:
        """Keep the lab as it is, stopped, for `bring_up` to go back to."""
        self.current.save()
        self.saved = True

    def close(self) -> None:
        self.stop_captures()
        lab, self.lab = self.lab, None
        if lab is not None:
            lab.__exit__(None, None, None)

    @property
    def current(self) -> VmLab:
        if self.lab is None:
            raise LabError("no lab is up", hint="the suite's set-up has failed")
        return self.lab

    @property
    def appliance(self) -> Appliance:
        return self.current.appliance

    def host(self, name: str) -> Host:
        hosts = self.current.hosts
        if name not in hosts:
            raise LabError(f"the lab has no host {name}", hint=f"it has: {', '.join(hosts)}")
        return hosts[name]

    def start_captures(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for host in self.current.hosts.values():
            words = ["tcpdump", "-n", "-U", "-s", "160", "-C", CAPTURE_MEGABYTES, "-W", "1"]
            words += ["-Z", "root", "-i", host.interface, "-w", str(folder / f"{host.name}.pcap")]
            self.captures.append(host.spawn([*words, CAPTURE_FILTER]))

    def stop_captures(self) -> None:
        for capture in self.captures:
            proc.stop(capture)
        self.captures.clear()


def suite_folder(source: str) -> Path:
    """Where a suite's file keeps what explains its failures."""
    return RESULTS / Path(source).stem


SESSION = Session()
atexit.register(SESSION.close)
