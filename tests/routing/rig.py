"""yamsd and FRR in a namespace, and a neighbour with an FRR of its own, which is configured by hand.

main (yamsd's namespace)      neighbour
   eth0 192.0.2.1/24 -------- eth0 192.0.2.2/24
   2001:db8::1/64             2001:db8::2/64
                              lo 10.9.N.1/24, 2001:db8:9:N::1/64
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sluice.features.routing.instance import CONFIGURATION, SOCKETS

from lab import netns
from lab.frr import PROGRAMS, Frr
from lab.proc import run, wait_for
from tests.mgmt.test_linux import VRF, Router

RT = 'xmlns="urn:sluice:route"'
DAEMONS = ("ospfd", "ospf6d", "bgpd", "ripd", "ripngd", "bfdd")
ANNOUNCED = range(1, 6)


class Routed(Router):
    """The router, whose FRR yamsd starts."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.neighbour = f"nb-{os.getpid()}"
        netns.create(self.neighbour)
        netns.ip_batch(
            self.main,
            [
                f"link set far0 netns {self.neighbour}",
                "link set eth0 up",
                "address add 192.0.2.1/24 dev eth0",
                "address add 2001:db8::1/64 dev eth0 nodad",
            ],
        )
        lines = ["link set lo up", "link set far0 name eth0", "link set eth0 up"]
        lines += ["address add 192.0.2.2/24 dev eth0", "address add 2001:db8::2/64 dev eth0 nodad"]
        for number in ANNOUNCED:
            lines.append(f"address add 10.9.{number}.1/24 dev lo")
            lines.append(f"address add 2001:db8:9:{number}::1/64 dev lo nodad")
        netns.ip_batch(self.neighbour, lines)
        self.frr = Frr(self.neighbour, DAEMONS, work)

    def start(self) -> None:
        super().start()
        # FRR's start takes its time on a busy machine.
        self.client.sock.settimeout(240)

    def close(self) -> None:
        self.stop()
        for name in (self.main, self.blue):
            end_frr(name)
        super().close()
        if self.neighbour in netns.existing():
            netns.remove(self.neighbour)

    def routing(self, xml: str, *, vrf: str = "main", call: str = "ok") -> Any:
        """Edit the candidate's routing; YANG modules' namespaces are put in."""
        for module, names in MODULES.items():
            for name in names:
                xml = xml.replace(f"<{name}>", f'<{name} xmlns="urn:sluice:{module}">')
                xml = xml.replace(f"<{name} nc:", f'<{name} xmlns="urn:sluice:{module}" nc:')
        return getattr(self.client, call)(
            "<edit-config><target><candidate/></target><config>"
            f"<vrf {VRF}><name>{vrf}</name><routing {RT}>{xml}</routing></vrf></config></edit-config>"
        )

    def running(self, vrf: str = "") -> str:
        """FRR's configuration."""
        done = run(["vtysh", "-N", vrf or self.main, "-c", "show running-config"])
        return done.stdout.partition("Current configuration:")[2]

    def wait_for_route(self, prefix: str, text: str, vrf: str = "") -> None:
        family = "-6" if ":" in prefix else "-4"
        wait_for(
            lambda: text
            in run(["ip", family, "-n", vrf or self.main, "route", "show", prefix]).stdout,
            f"a route to {prefix} with {text!r}",
            timeout=90,
            interval=0.2,
        )

    def daemons(self, name: str = "") -> set[str]:
        """FRR's daemons that run in a pathspace."""
        found = set()
        for path in (SOCKETS / (name or self.main)).glob("*.pid"):
            with suppress(OSError, ValueError):
                # Nobody may have asked for a dead one's status yet.
                if "\nState:\tZ" not in Path(f"/proc/{int(path.read_text())}/status").read_text():
                    found.add(path.stem)
        return found

    def kill(self, daemon: str) -> None:
        os.kill(int((SOCKETS / self.main / f"{daemon}.pid").read_text()), 9)


MODULES = {
    "policy": ("policy",),
    "bfd": ("bfd-at-the-top",),
    "ospf": ("ospf", "ospfv3", "ospf-state", "ospfv3-state"),
    "bgp": ("bgp", "bgp-state"),
    "rip": ("rip", "ripng", "rip-state", "ripng-state"),
}


def end_frr(name: str) -> None:
    """Whatever a test has left."""
    if (SOCKETS / name).exists():
        subprocess.run(
            [PROGRAMS / "frrinit.sh", "stop", name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    for folder in (CONFIGURATION, SOCKETS):
        shutil.rmtree(folder / name, ignore_errors=True)


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Routed]:
    made = Routed(tmp_path)
    monkeypatch.setenv("SLUICE_FRR_PATHSPACE", made.main)
    try:
        made.start()
        yield made
    finally:
        made.close()
