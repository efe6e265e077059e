"""A router between two hosts, each in a network namespace of this machine.

      h1                         router                          h2          behind h2
    192.0.2.2/24      eth0 -- p1        p2 -- eth0      198.51.100.2/24     203.0.113.1/24
    2001:db8:1::2/64        .1 ::1    .1 ::1            2001:db8:2::2/64    2001:db8:3::1/64

With the fast path on, fpmd, fp-rte and cmgrd run in the router's namespace: the router's ends of
the wires are called wire-p1 and wire-p2 and belong to fp-rte, and p1 and p2 are its TAPs. With it
off, the router's ends themselves are p1 and p2, and Linux alone forwards. All else is the same:
names, MAC addresses, configuration.
"""

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lab import netns
from lab.errors import LabError
from lab.proc import Completed, run, wait_for
from lab.stacked import Stacked
from tests.lib.daemon import Daemon
from tests.lib.fastpath import FastPath
from tests.lib.ping import echo

ROUTER_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
SYSCTLS = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    # Tests count ICMP errors: none may be held back.
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.icmp_msgs_per_sec": "1000000",
    "net.ipv4.icmp_msgs_burst": "1000000",
    "net.ipv6.icmp.ratelimit": "0",
}
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")
# Made unique by the process, so that two test runs on one machine don't meet.
serial = itertools.count(1)


class Driver(StrEnum):
    """How fp-rte takes its ends of the wires."""

    AF_XDP = "net_af_xdp"
    AF_PACKET = "net_af_packet"
    NONE = "none"  # no fast path


@dataclass(frozen=True)
class Side:
    """A host, and the router's port that it's connected to."""

    host: str
    port: str
    host_mac: str
    port_mac: str
    host4: str
    port4: str
    host6: str
    port6: str
    plen4: int = 24
    plen6: int = 64


LEFT = Side(
    host="h1",
    port="p1",
    host_mac="02:00:00:00:01:02",
    port_mac="02:00:00:00:01:01",
    host4="192.0.2.2",
    port4="192.0.2.1",
    host6="2001:db8:1::2",
    port6="2001:db8:1::1",
)
RIGHT = Side(
    host="h2",
    port="p2",
    host_mac="02:00:00:00:02:02",
    port_mac="02:00:00:00:02:01",
    host4="198.51.100.2",
    port4="198.51.100.1",
    host6="2001:db8:2::2",
    port6="2001:db8:2::1",
)
SIDES = (LEFT, RIGHT)
VHOST_RING = 1024  # queue_size of gate/fastpath/exception.c
BEHIND4, BEHIND6 = "203.0.113.1", "2001:db8:3::1"
NET4, NET6 = "203.0.113.0/24", "2001:db8:3::/64"


class Node:
    """A namespace to run commands in."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *argv: str, check: bool = True, timeout: float = 60) -> Completed:
        return run(netns.in_namespace(self.namespace, argv), check=check, timeout=timeout)

    def ip(self, command: str, *, check: bool = True) -> str:
        """Run `ip COMMAND` here; returns what it printed."""
        return run(["ip", "-n", self.namespace, *command.split()], check=check).stdout

    def sysctl(self, settings: dict[str, str]) -> None:
        netns.sysctl(self.namespace, settings)


class Rig(Stacked):
    """The three namespaces and the daemons; a context manager. `work` keeps logs."""

    def __init__(
        self,
        work: Path,
        *,
        driver: Driver = Driver.AF_XDP,
        settings: dict[str, str] | None = None,
        silent_hosts: bool = False,
        vrfs: bool = False,
    ) -> None:
        """`vrfs`: namespaces called as `vrf` says are VRFs."""
        super().__init__()
        self.driver = driver
        self.work = work
        self.settings = settings or {}
        # Silent hosts have no addresses: whatever is on their wires, a test has sent or the router.
        self.silent_hosts = silent_hosts
        self.name = f"t{os.getpid()}x{next(serial)}"
        self.router = Node(f"{self.name}-r")
        self.h1 = Node(f"{self.name}-h1")
        self.h2 = Node(f"{self.name}-h2")
        self.hosts = {LEFT.host: self.h1, RIGHT.host: self.h2}
        self.instance = self.name
        self.env_file = work / "fast-path.env"
        options = ["--instance", self.instance]
        with_env = [*options, "--env", str(self.env_file)]
        self.fpmd = self.daemon("fpmd", with_env)
        self.rte = self.daemon("fp-rte", with_env)
        cmgrd = [*options, "--vrfs", self.vrf("*")] if vrfs else options
        self.cmgrd = self.daemon("cmgrd", cmgrd)
        self.daemons = (self.fpmd, self.rte, self.cmgrd)
        self.fast_path = FastPath(self.instance)
        self.idle_buffers: int | None = None

    def daemon(self, name: str, options: list[str]) -> Daemon:
        return Daemon(name, options, namespace=self.router.namespace, log=self.work / f"{name}.log")

    def vrf(self, name: str) -> str:
        """The namespace of a VRF of this rig."""
        return f"{self.name}-vrf-{name}"

    @property
    def on(self) -> bool:
        return self.driver is not Driver.NONE

    def build(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        try:
            for node in (self.router, self.h1, self.h2):
                netns.create(node.namespace)
                self.stack.callback(netns.remove, node.namespace)
                node.sysctl(SYSCTLS)
            self.router.sysctl(ROUTER_SYSCTLS)
            for side in SIDES:
                self.connect(side)
            if self.on:
                self.write_settings()
                self.stack.callback(self.remove_instance)
                self.start_fast_path()
            self.configure()
            if self.on:
                self.wait_for_configuration()
        except Exception:
            with suppress(Exception):
                self.collect(self.work)
            raise

    # --- wires

    def connect(self, side: Side) -> None:
        host, router = self.hosts[side.host], self.router
        end = f"wire-{side.port}" if self.on else side.port
        mac = side.port_mac
        if self.driver is Driver.AF_PACKET:
            # fp-rte gives the port another address than the device below it, with this bit changed.
            mac = f"{int(mac[:2], 16) ^ 0x04:02x}{mac[2:]}"
        netns.ip_batch(
            router.namespace,
            [
                f"link add {end} address {mac} type veth"
                f" peer name eth0 address {side.host_mac} netns {host.namespace}"
            ],
        )
        for node, device in ((router, end), (host, "eth0")):
            words = [word for offload in OFFLOADS for word in (offload, "off")]
            node.run("ethtool", "--offload", device, *words, check=False)
        if self.on:
            # Or Linux would speak IPv6 of its own on the wire.
            router.sysctl({f"net.ipv6.conf.{end}.disable_ipv6": "1"})
        if self.silent_hosts:
            host.sysctl({"net.ipv6.conf.eth0.disable_ipv6": "1"})
            host.ip("link set eth0 arp off")
        router.ip(f"link set {end} up")
        host.ip("link set lo up")
        host.ip("link set eth0 up")

    # --- the fast path

    def write_settings(self) -> None:
        ports = [
            f"{side.port}={self.driver}{index},iface=wire-{side.port}"
            for index, side in enumerate(SIDES)
        ]
        settings = {
            "FP_PORTS": " ".join(ports),
            "FP_HUGEPAGES": "no",
            "FP_MBUFS": "16384",
            **self.settings,
        }
        text = "".join(f'{key}="{value}"\n' for key, value in settings.items())
        self.env_file.write_text(text)

    def start_fast_path(self) -> None:
        for daemon in self.daemons:
            self.stack.callback(daemon.stop)
            daemon.start()
        self.wait_for_ports()

    def wait_for_ports(self) -> None:
        """Until Linux has p1 and p2, with carrier if they are up."""
        for side in SIDES:
            wait_for(
                lambda side=side: self.link(side.port),  # type: ignore[misc]
                f"TAP {side.port} of fp-rte",
                timeout=40,
                interval=0.05,
                hint=f"see {self.rte.log}",
            )

    def link(self, name: str) -> bool:
        assert self.rte.alive, f"fp-rte ended: {self.rte.log.read_text()[-1000:]}"
        shown = self.router.run("ip", "link", "show", name, check=False)
        # A TAP outlives its fp-rte; it has carrier when packets flow.
        up, carrier = ",UP" in shown.stdout, "LOWER_UP" in shown.stdout
        return shown.returncode == 0 and (carrier or not up)

    def remove_instance(self) -> None:
        for path in instance_files(self.instance):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # --- Linux's configuration

    def configure(self) -> None:
        """Addresses and routes on the router, and on hosts that aren't silent."""
        self.configure_router()
        if self.silent_hosts:
            return
        for side in SIDES:
            netns.ip_batch(
                self.hosts[side.host].namespace,
                [
                    f"address add {side.host4}/{side.plen4} dev eth0",
                    f"address add {side.host6}/{side.plen6} dev eth0 nodad",
                    f"route add default via {side.port4}",
                    f"route add default via {side.port6}",
                ],
            )
        self.h2.ip(f"address add {BEHIND4}/24 dev lo")
        self.h2.ip(f"address add {BEHIND6}/64 dev lo nodad")

    def configure_router(self) -> None:
        """May be called again to have it as it was."""
        lines = ["link set lo up"]
        for side in SIDES:
            lines += [
                f"link set {side.port} up",
                f"address replace {side.port4}/{side.plen4} dev {side.port}",
                f"address replace {side.port6}/{side.plen6} dev {side.port} nodad",
            ]
        lines += [
            f"route replace {NET4} via {RIGHT.host4}",
            f"route replace {NET6} via {RIGHT.host6}",
        ]
        if self.silent_hosts:
            lines += [
                f"neigh replace {address} lladdr {side.host_mac} dev {side.port} nud permanent"
                for side in SIDES
                for address in (side.host4, side.host6)
            ]
        netns.ip_batch(self.router.namespace, lines)

    def wait_for_configuration(self) -> None:
        """Until the fast path has all of `configure`."""
        self.wait_for_prefixes(
            {
                NET4,
                NET6,
                "192.0.2.0/24",
                "198.51.100.0/24",
                "2001:db8:1::/64",
                "2001:db8:2::/64",
            }
        )
        if self.silent_hosts:
            self.wait_for_neighbours({a for side in SIDES for a in (side.host4, side.host6)})

    def wait_for_prefixes(self, prefixes: set[str]) -> None:
        wait_for(
            lambda: prefixes <= {route["prefix"] for route in self.fast_path.table("routes")},
            "the router's routes in the fast path",
            timeout=20,
            interval=0.05,
            hint=f"see {self.work}",
        )

    def wait_for_mtu(self, interface: str, mtu: int) -> None:
        wait_for(
            lambda: any(
                row["name"] == interface and row["mtu"] == mtu
                for row in self.fast_path.table("interfaces")
            ),
            f"MTU {mtu} of {interface} in the fast path",
            timeout=5,
            interval=0.05,
        )

    def wait_for_neighbours(self, addresses: set[str]) -> None:
        wait_for(
            lambda: addresses <= self.neighbours(),
            f"neighbours {', '.join(sorted(addresses))} in the fast path",
            timeout=20,
            interval=0.05,
        )

    def neighbours(self) -> set[str]:
        """Addresses of neighbours whose MAC the fast path knows."""
        return {row["address"] for row in self.fast_path.table("neighbours") if row["mac"]}

    def resolve(self) -> None:
        """Make hosts and router know each other's MAC, in Linux and in the fast path."""
        for target in (RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6):
            wait_for(
                lambda target=target: ping(self.h1, target, count=1, wait=1) == 1,  # type: ignore[misc]
                f"an answer from {target}",
                timeout=20,
                interval=0.1,
                hint=f"see {self.work}",
            )
        if self.on:
            self.wait_for_neighbours({a for side in SIDES for a in (side.host4, side.host6)})
            self.note_buffers()

    # --- what the fast path did

    @contextmanager
    def carried(self, *, packets: int, exceptions: int = 0, drops: int = 0) -> Iterator[None]:
        """Assert that meanwhile the fast path forwarded at least `packets`, handed at most
        `exceptions` to Linux and dropped at most `drops`. With the fast path off this
        fails, as every functional test must.
        """
        before = self.fast_path.counters()
        yield
        delta = wait_for_counters(
            lambda: self.fast_path.counters() - before, lambda d: d.forwarded >= packets
        )
        assert delta.forwarded >= packets, f"the fast path carried {delta}, wanted {packets}"
        assert delta.exceptions <= exceptions, f"more than {exceptions} exceptions: {delta}"
        assert delta.drops <= drops, f"more than {drops} drops: {delta}"

    def buffers(self) -> int:
        """Packet buffers in use, as fp-rte has counted them within the last tenth of a second."""
        rings = self.fast_path.table("rings")
        return sum(int(row["used"]) for row in rings if row["kind"] == "memory")

    def note_buffers(self) -> None:
        """Without traffic: what ports keep to receive into."""
        readings = []
        for _ in range(5):
            time.sleep(0.11)
            readings.append(self.buffers())
        self.idle_buffers = min(readings)

    def check_buffers(
        self, stir: Callable[[], object] | None = None, *, timeout: float = 10
    ) -> None:
        """All packet buffers have come back since note_buffers, soon after the traffic stopped. A
        port keeps what it has sent until it sends again, so `stir` has it send a little.
        """
        # Drivers of PCI devices keep as many as their rings hold.
        if self.idle_buffers is None or self.driver not in (Driver.AF_XDP, Driver.AF_PACKET):
            return
        most = self.idle_buffers + self.kept_buffers()

        def back() -> bool:
            (stir or self.stir)()
            return self.buffers() <= most

        wait_for(
            back,
            f"packet buffers: {self.idle_buffers} were in use when idle",
            timeout=timeout,
            interval=0.12,
            hint="fp-cli rings: more are in use, so packets leak",
        )

    def kept_buffers(self) -> int:
        """How many buffers may rightly stay in use: two of each port's last packet; a TAP over vhost
        keeps what it has sent until its ring needs the room.
        """
        ports = self.fast_path.table("ports")
        return sum(VHOST_RING if row["backend"] == "vhost" else 2 for row in ports)

    def stir(self) -> None:
        for side in SIDES:
            echo(self.hosts[side.host].namespace, side.port4, count=2, wait=0.1)

    def collect(self, folder: Path) -> None:
        """Keep what explains a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        commands = (
            "ip -d link", "ip address", "ip route show table all", "ip -6 route show table all",
            "ip neigh", "ip -6 neigh", "ip -s link", "nstat -az", "ss -anp",
        )  # fmt: skip
        parts = []
        for node in (self.router, self.h1, self.h2):
            for command in commands:
                done = node.run(*command.split(), check=False)
                parts.append(f"### {node.namespace}: {command}\n{done.stdout}{done.stderr}")
        (folder / "linux.txt").write_text("\n".join(parts))
        if self.on:
            (folder / "fast-path.txt").write_text(self.fast_path.everything())
            for daemon in self.daemons:
                if daemon.log.exists() and daemon.log.parent != folder:
                    shutil.copy(daemon.log, folder)


def instance_files(instance: str) -> list[Path]:
    """All that an instance has in the file system, also half-made."""
    return [
        *Path("/dev/shm").glob(f"sluice.{instance}"),
        *Path("/dev/shm").glob(f"sluice.{instance}.*"),
        *Path("/run/sluice").glob(instance),
    ]


def wait_for_counters[T](read: Callable[[], T], enough: Callable[[T], bool]) -> T:
    """Counters of ports are refreshed ten times a second: poll for up to two seconds; returns the
    last reading.
    """
    last: list[T] = []

    def probe() -> bool:
        last[:] = [read()]
        return enough(last[0])

    # The caller's assertion says better what is missing.
    with suppress(LabError):
        wait_for(probe, "counters", timeout=2, interval=0.05)
    return last[0]


def ping(node: Node, address: str, *, count: int = 5, wait: float = 3, size: int = 56) -> int:
    """Echo requests from a node; returns how many were answered."""
    return echo(node.namespace, address, count=count, wait=wait, size=size)
