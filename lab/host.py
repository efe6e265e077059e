"""A Linux host of the lab: a network namespace to run commands in and to send raw frames from."""

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import topology
from lab.netns import entered, in_namespace, namespace
from lab.proc import Completed, run, spawn

ETH_P_ALL = 3


class Host:
    def __init__(self, lab: str, plan: topology.Host) -> None:
        self.plan = plan
        self.name = plan.name
        self.interface = plan.link
        self.namespace = namespace(lab, plan.name)

    def address(self, family: int) -> str:
        """Its first address of the family (4 or 6), without the prefix length."""
        return next(
            address.partition("/")[0]
            for address in self.plan.addresses
            if (":" in address) == (family == 6)
        )

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> Completed:
        return run(in_namespace(self.namespace, argv), check=check, timeout=timeout, stdin=stdin)

    def spawn(
        self, argv: Sequence[str | Path], *, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        return spawn(in_namespace(self.namespace, argv), log=log)

    def packet_socket(self) -> socket.socket:
        """A raw socket that hears and speaks whole frames on the host's interface."""
        with entered(self.namespace):
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            raw.bind((self.interface, ETH_P_ALL))
        return raw
