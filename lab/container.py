"""The lab with the appliance's processes in a network namespace: the container form.

Each port is one end of a veth pair that the fast path takes with AF_XDP; the TAP it makes has the
port's name. With `fast_path=False` the veth ends themselves have the ports' names and Linux alone
forwards: the reference for comparisons.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import netns, paths, wire
from lab.appliance import Appliance
from lab.asker import PROGRAM, Asker
from lab.base import Lab
from lab.errors import LabError
from lab.netns import in_namespace, namespace, sysctl
from lab.proc import Completed, run, spawn, wait_for
from lab.progress import step
from lab.topology import Topology

MEMBER = "app"
# What image/ sets in the appliance.
ROUTER_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
# The Python programs, and the modules that they start from.
PYTHON_PROGRAMS = {"cmgrd": "sluice.cmgrd"}
# Supervision as systemd does it in the appliance: whatever ends is started again.
SUPERVISE = 'while :; do "$@"; echo "# $1 ended: $?"; sleep 0.2; done'


class ContainerAppliance(Appliance):
    def __init__(self, topology: Topology, lab: str, work: Path) -> None:
        self.namespace = namespace(lab, MEMBER)
        self.instance = f"lab-{lab}"
        words = ["env", f"PYTHONPATH={build_dir() / 'python'}", sys.executable, "-c", PROGRAM]
        super().__init__(topology, Asker(words, instance=self.instance))
        self.work = work

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> Completed:
        return run(in_namespace(self.namespace, argv), check=check, timeout=timeout, stdin=stdin)

    def shell_command(self, argv: Sequence[str]) -> list[str]:
        return [str(word) for word in in_namespace(self.namespace, argv or ["bash"])]

    def device(self, port: str) -> str:
        # The veth end has the port's MAC address too, but the TAP has its name.
        return port

    def find_device(self, mac: str) -> str | None:
        port = next(port for port in self.topology.appliance.ports if port.mac == mac)
        there = self.run(["ip", "link", "show", port.name], check=False).returncode == 0
        return port.name if there else None

    def pids(self, daemon: str) -> list[int]:
        """Processes of a daemon in this lab. Python ones are known by their second word."""
        found = []
        for pid in netns.processes(self.namespace):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            module = PYTHON_PROGRAMS.get(daemon, "").encode()
            if Path(os.fsdecode(words[0])).name == daemon or (module and module in words[:4]):
                found.append(pid)
        return found

    def kill(self, daemon: str) -> None:
        pids = self.pids(daemon)
        if not pids:
            raise LabError(f"{daemon} isn't running")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def collect(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        parts = []
        for words in (["ip", "address"], ["ip", "route", "show", "table", "all"], ["ip", "neigh"]):
            parts.append(f"# {' '.join(words)}\n{self.run(words, check=False).stdout}")
        for table in (
            "ports",
            "interfaces",
            "routes",
            "neighbours",
            "stats",
            "drops",
            "exceptions",
        ):
            try:
                parts.append(f"# fp-cli {table}\n{self.fp_cli(table)}\n")
            except LabError as error:
                parts.append(f"# fp-cli {table}: {error.message}\n")
        for log in self.work.glob("*.log"):
            parts.append(f"# {log.name}\n{log.read_text(errors='replace')}")
        (folder / "appliance.txt").write_text("\n".join(parts))


class ContainerLab(Lab):
    backend = "container"

    def __init__(self, topology: Topology | str, *, name: str = "", fast_path: bool = True) -> None:
        super().__init__(topology, name=name)
        self.fast_path = fast_path
        self.app = ContainerAppliance(self.topology, self.name, self.work)
        self.appliance = self.app

    def start(self) -> None:
        home = namespace(self.name, MEMBER)
        netns.create(home)
        sysctl(home, ROUTER_SYSCTLS | wire.HOST_SYSCTLS)
        netns.ip_batch(home, ["link set lo up"])
        for port in self.topology.appliance.ports:
            interface = veth_of(port.name) if self.fast_path else port.name
            wire.plug_veth(
                self.name, member=MEMBER, interface=interface, link=port.link, mac=port.mac
            )
            if self.fast_path:
                # Linux must not speak on the wire beside the fast path.
                sysctl(home, {f"net.ipv6.conf.{interface}.disable_ipv6": "1"})
            netns.ip_batch(home, [f"link set {interface} up"])
        if self.fast_path:
            self.start_fast_path()

    def start_fast_path(self) -> None:
        self.stack.callback(self.app.asker.close)
        env = self.work / "fast-path.env"
        env.write_text(fast_path_env(self.topology))
        options = ["--instance", self.app.instance]
        with step("starting fpmd, fp-rte and cmgrd"):
            for daemon in ("fpmd", "fp-rte", "cmgrd"):
                words = [*program(daemon), *options]
                words += ["--env", str(env)] if daemon != "cmgrd" else []
                log = self.work / f"{daemon}.log"
                log.unlink(missing_ok=True)
                spawn(
                    in_namespace(self.app.namespace, ["sh", "-c", SUPERVISE, "supervise", *words]),
                    log=log,
                )
            for port in self.topology.appliance.ports:
                wait_for(
                    lambda mac=port.mac: self.app.find_device(mac),  # type: ignore[misc]
                    f"port {port.name} of the fast path",
                    timeout=60,
                    hint=f"see {self.work}/fp-rte.log",
                )


def veth_of(port: str) -> str:
    return f"wire-{port}"


def fast_path_env(topology: Topology) -> str:
    """The settings for ports on veth, without huge pages."""
    ports = [
        f"{port.name}=net_af_xdp{index},iface={veth_of(port.name)}"
        for index, port in enumerate(topology.appliance.ports)
    ]
    return f'FP_PORTS="{" ".join(ports)}"\nFP_HUGEPAGES=no\n'


def build_dir() -> Path:
    """The build whose programs run: $SLUICE_BUILD, else build/dev."""
    return Path(os.environ.get("SLUICE_BUILD") or paths.BUILD / "dev").resolve()


def program(name: str) -> list[str]:
    """The command that starts a program of the product."""
    if name in PYTHON_PROGRAMS:
        python_path = f"PYTHONPATH={build_dir() / 'python'}"
        return ["env", python_path, sys.executable, "-m", PYTHON_PROGRAMS[name]]
    found = build_dir() / "gate" / name
    if not found.exists():
        raise LabError(f"{found} isn't built", hint="run `make build`, or set SLUICE_BUILD")
    return [str(found)]
