# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's own forwarding as a device under test.

It has no pcap port, so its harness is another one: testpmd sends the pcap's frames without end into a veth pair on one
CPU; the kernel receives them on the other end in a thread (threaded NAPI) that has the worker's CPU for itself, routes
them, and sends them into a second veth pair, whose far end a third thread empties. What is measured is the CPU time of
the middle thread alone: receive, routing, transmit, without the sender and the far end. It has no driver for hardware,
but an skb for each packet, as every driver there must make. The sender is no faster than the kernel here, so the
thread's waking up between its small bursts counts too: on a busy machine, where the sender gets less than its CPU, that
is most of it.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.duts import (
    CONTROL_CPU,
    MAC,
    PORT_MAC_TEXT,
    WORKER_CPU,
    UnavailableError,
    address_text,
    stop_process,
    wait_for,
)
from tests.bench.traffic import Case, prefixes

SENDER, ROUTER, SINK = "bench-sender", "bench-router", "bench-sink"
SIOCETHTOOL, ETHTOOL_STSO, ETHTOOL_SGRO = 0x8946, 0x1F, 0x2C


def ip(*words: str) -> None:
    """Run ip(8); raise UnavailableError with what it says."""
    done = subprocess.run(["ip", *words], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise UnavailableError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def write(namespace: str, path: str, text: str) -> None:
    """Write to a file of /proc/sys or /sys as seen in the namespace."""
    shell = f"echo {text} > {path}"
    done = subprocess.run(["ip", "netns", "exec", namespace, "sh", "-c", shell])
    if done.returncode:
        raise UnavailableError(f"{path} can't be set")


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Have this thread in the namespace meanwhile."""
    with Path("/proc/self/ns/net").open() as here, Path(f"/run/netns/{namespace}").open() as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here.fileno(), os.CLONE_NEWNET)


def ethtool(namespace: str, device: str, command: int, value: int) -> None:
    """What ethtool(8) does for `-K`; the tree has none."""
    words = (ctypes.c_uint32 * 2)(command, value)
    request = struct.pack("16sP", device.encode(), ctypes.addressof(words))
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, SIOCETHTOOL, request)


def napi_thread(namespace: str, device: str, cpu: int) -> int:
    """Give a veth device a NAPI thread on that CPU; return its number.

    A veth device uses NAPI with GRO, and for packets of a peer that does no TSO.
    """
    ethtool(namespace, device, ETHTOOL_SGRO, 1)
    write(namespace, f"/sys/class/net/{device}/threaded", "1")
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().startswith(f"napi/{device}-"):
                pid = int(comm.parent.name)
                os.sched_setaffinity(pid, {cpu})
                return pid
    raise UnavailableError(f"{device} has no NAPI thread")


class Linux:
    """The kernel between two veth pairs."""

    name = "linux"

    def __init__(self, folder: Path) -> None:
        self.log = folder / "sender.log"
        self.sender: subprocess.Popen[str] | None = None
        self.thread = 0
        self.insert_seconds = 0.0  # wall-clock of `ip -batch`
        self.insert_cpu_seconds = 0.0  # CPU time of it, the kernel's part included

    def start(self, case: Case, pcap: Path) -> None:
        """Make the namespaces, the routes and the sender."""
        self.stop()
        for namespace in (SENDER, ROUTER, SINK):
            ip("netns", "add", namespace)
        for near, far, there in (("bkin", "bkgen", SENDER), ("bkout", "bksink", SINK)):
            ip("-n", ROUTER, "link", "add", near, "type", "veth", "peer", far, "netns", there)
        ip("-n", ROUTER, "link", "set", "bkin", "address", PORT_MAC_TEXT)
        for namespace, device in (
            *((SENDER, "bkgen"), (SINK, "bksink")),
            *((ROUTER, "bkin"), (ROUTER, "bkout")),
        ):
            ip("-n", namespace, "link", "set", device, "up")
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            write(ROUTER, f"/proc/sys/net/{name}", "1")
        ip("-n", ROUTER, "address", "add", "192.0.2.1/24", "dev", "bkin")
        ip("-n", ROUTER, "address", "add", "203.0.113.1/24", "dev", "bkout")
        ip("-n", ROUTER, "address", "add", "2001:db9:1::1/64", "dev", "bkout", "nodad")
        gateway = "203.0.113.2" if case.family == 4 else "2001:db9:1::2"
        ip("-n", ROUTER, "neigh", "add", gateway, "lladdr", MAC, "dev", "bkout")
        self._routes(case, gateway)
        ethtool(SENDER, "bkgen", ETHTOOL_STSO, 0)
        ethtool(ROUTER, "bkout", ETHTOOL_STSO, 0)
        self.thread = napi_thread(ROUTER, "bkin", WORKER_CPU)
        napi_thread(SINK, "bksink", CONTROL_CPU)
        self._send(case, pcap)

    def _routes(self, case: Case, gateway: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".batch") as batch:
            batch.writelines(
                f"route add {address_text(case, address)}/{plen} via {gateway} dev bkout\n"
                for address, plen in prefixes(case)
            )
            batch.flush()
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            family = "-6" if case.family == 6 else "-4"
            ip("-n", ROUTER, family, "-batch", batch.name)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.insert_seconds = time.monotonic() - start
            self.insert_cpu_seconds = (
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            )

    def _send(self, case: Case, pcap: Path) -> None:
        command = ["ip", "netns", "exec", SENDER, "dpdk-testpmd", "--no-pci", "--in-memory"]
        command += [f"--lcores=0@{CONTROL_CPU},1@{CONTROL_CPU}"]
        command += [f"--vdev=net_pcap0,rx_pcap={pcap},infinite_rx=1"]
        command += ["--vdev=net_af_packet1,iface=bkgen,qdisc_bypass=1"]
        command += ["--", "--nb-cores=1", "--forward-mode=io", "--no-lsc-interrupt"]
        command += [f"--total-num-mbufs={16384 + 2 * case.destinations}", "--stats-period=60"]
        with self.log.open("w") as log:
            self.sender = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
            )
        wait_for("the first forwarded packet", self._forwards, 60)

    def _forwards(self) -> bool:
        if self.sender is None or self.sender.poll() is not None:
            raise UnavailableError(f"the sender ended: {self.log.read_text().splitlines()[-1:]}")
        return self.packets() > 10000

    def packets(self) -> int:
        """Return the packets sent to the far end."""
        shown = subprocess.run(
            ["ip", "-n", ROUTER, "-j", "-s", "link", "show", "bkout"],
            stdout=subprocess.PIPE,
            text=True,
        )
        return int(json.loads(shown.stdout)[0]["stats64"]["tx"]["packets"])

    def pids(self) -> list[int]:
        """Return the sender."""
        return [self.sender.pid] if self.sender else []

    def measured(self) -> list[int]:
        """Return the thread that forwards."""
        return [self.thread]

    def stop(self) -> None:
        """Take all away."""
        stop_process(self.sender)
        self.sender = None
        for namespace in (SENDER, ROUTER, SINK):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)
