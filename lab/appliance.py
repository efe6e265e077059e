"""The appliance as a user sees it: a Linux to run commands on, and a fast path to ask."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.asker import Asker
from lab.errors import LabError
from lab.proc import Completed, wait_for
from lab.topology import Port, Topology

type Json = Any


class Appliance(ABC):
    """One running appliance, whatever it runs in."""

    def __init__(self, topology: Topology, asker: Asker) -> None:
        self.topology = topology
        self.asker = asker

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> Completed:
        """Run a command in the appliance, as root."""

    @abstractmethod
    def shell_command(self, argv: Sequence[str]) -> list[str]:
        """The command on this machine that runs `argv` in the appliance, for a terminal."""

    @abstractmethod
    def kill(self, daemon: str) -> None:
        """SIGKILL to a daemon of the product, which whoever supervises it starts again."""

    @abstractmethod
    def collect(self, folder: Path) -> None:
        """Keep what explains a failure: journals, tables of the fast path, state of Linux."""

    def sh(self, script: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell script in the appliance; returns its output without the last line's end."""
        return self.run(["sh", "-c", script], check=check, timeout=timeout).stdout.rstrip("\n")

    def json(self, argv: Sequence[str], *, timeout: float = 60) -> Json:
        said = self.run(argv, timeout=timeout).stdout
        try:
            return json.loads(said)
        except ValueError:
            raise LabError(f"`{' '.join(argv)}` didn't print JSON: {said[:100]!r}") from None

    def fp_cli(self, table: str) -> Json:
        """One table of `fp-cli -j`."""
        return self.asker.ask([table])[table]

    def device(self, port: str) -> str:
        """The Linux interface of a port, found by its MAC address: names depend on the machine."""
        mac = self.topology.port(port).mac
        name = self.find_device(mac)
        if name is None:
            raise LabError(
                f"no interface of the appliance has port {port}'s MAC address {mac}",
                hint="the fast path may not have started: look at `journalctl -u fp-rte`",
            )
        return name

    def find_device(self, mac: str) -> str | None:
        links = self.json(["ip", "-j", "link"])
        return next((link["ifname"] for link in links if link.get("address") == mac), None)

    def wait_for_ports(self, *, timeout: float) -> None:
        """Wait until Linux shows all ports of the topology."""
        for port in self.topology.appliance.ports:
            wait_for(
                lambda port=port: self.find_device(port.mac),  # type: ignore[misc]
                f"interface of port {port.name} in the appliance",
                timeout=timeout,
                interval=1,
            )

    def configure(self) -> list[str]:
        """Give the ports their addresses and routes with iproute2; returns its commands."""
        lines: list[str] = []
        for port in self.topology.appliance.ports:
            lines += self.configure_lines(port)
        lines += [
            f"route replace {route.destination} via {route.via}"
            for route in self.topology.appliance.routes
        ]
        self.run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")
        return lines

    def configure_lines(self, port: Port) -> list[str]:
        device = self.device(port.name)
        return [
            f"link set {device} up",
            *(
                f"address replace {address} dev {device}{' nodad' if ':' in address else ''}"
                for address in port.addresses
            ),
        ]
