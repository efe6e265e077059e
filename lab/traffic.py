"""Traffic between hosts: ping, iperf3, traceroute, and their output as numbers."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab import proc
from lab.errors import LabError
from lab.host import Host

IPERF_PORT = 5201


@dataclass(frozen=True, kw_only=True)
class PingResult:
    sent: int
    received: int

    @property
    def loss(self) -> float:
        """Lost packets, 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 1.0


@dataclass(frozen=True, kw_only=True)
class FlowResult:
    """One iperf3 run, as its receiver saw it."""

    protocol: str
    bits_per_second: float
    seconds: float
    packets: int = 0  # UDP only
    lost: int = 0  # UDP only
    retransmits: int = 0  # TCP only

    @property
    def loss(self) -> float:
        return self.lost / self.packets if self.packets else 0.0


def ping(
    host: Host,
    address: str,
    *,
    count: int = 5,
    interval: float = 0.2,
    size: int | None = None,
    discovery: str = "",
) -> PingResult:
    """Pings of `size` bytes of payload; `discovery` is ping's -M: do, dont or want."""
    argv = ["ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", "5"]
    argv += ["-s", str(size)] if size is not None else []
    argv += ["-M", discovery] if discovery else []
    done = host.run([*argv, address], check=False, timeout=60 + count * interval)
    return parse_ping(done.stdout + done.stderr)


def parse_ping(text: str) -> PingResult:
    match = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    if match is None:
        raise LabError(f"ping failed: {(text.strip() or 'it said nothing').splitlines()[-1]}")
    return PingResult(sent=int(match[1]), received=int(match[2]))


def wait_until_pings(host: Host, address: str, *, timeout: float = 30) -> None:
    """Wait for the first answer: neighbours must be resolved, and new configuration take hold."""
    proc.wait_for(
        lambda: ping(host, address, count=1).received,
        f"an answer from {address} to {host.name}",
        timeout=timeout,
    )


@contextmanager
def iperf_server(host: Host) -> Iterator[None]:
    """An iperf3 server on all addresses of the host."""
    server = host.spawn(["iperf3", "--server", "--port", str(IPERF_PORT)])
    try:
        listening = ["ss", "-Hltn", f"sport = :{IPERF_PORT}"]
        proc.wait_for(lambda: host.run(listening).stdout, "iperf3 server", timeout=20)
        yield
    finally:
        proc.stop(server)


def iperf(
    client: Host,
    address: str,
    *,
    protocol: str = "tcp",
    seconds: float = 5,
    bits_per_second: float | None = None,
    length: int | None = None,
    reverse: bool = False,
) -> FlowResult:
    """One flow to an iperf3 server (`reverse`: from it). UDP needs a rate."""
    argv = ["iperf3", "--client", address, "--port", str(IPERF_PORT), "--json"]
    # UDP is counted per packet; so it must be short of the path's MTU, in either family.
    argv += ["--udp", "--length", str(length or 1200)] if protocol == "udp" else []
    argv += ["--bitrate", f"{bits_per_second:.0f}"] if bits_per_second else []
    argv += ["--reverse"] if reverse else []
    argv += ["--time", f"{seconds:.0f}", "--connect-timeout", "10000"]
    done = client.run(argv, check=False, timeout=seconds + 60)
    return parse_iperf(done.stdout, protocol)


def parse_iperf(text: str, protocol: str) -> FlowResult:
    try:
        report = json.loads(text)
    except ValueError:
        raise LabError(f"iperf3 didn't print JSON: {text[:100]!r}") from None
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    received = report["end"]["sum_received"]
    sent = report["end"]["sum_sent"]
    return FlowResult(
        protocol=protocol,
        bits_per_second=received["bits_per_second"],
        seconds=received["seconds"],
        packets=received.get("packets", 0),
        lost=received.get("lost_packets", 0),
        retransmits=sent.get("retransmits", 0),
    )


def trace(host: Host, address: str, *, udp: bool = True) -> list[str]:
    """The routers on the way and the destination, `*` for those that don't answer."""
    argv = ["traceroute", "-n", "-q", "2", "-w", "3", "-m", "5", *([] if udp else ["-I"]), address]
    return parse_trace(host.run(argv, timeout=90).stdout)


def parse_trace(text: str) -> list[str]:
    hops = []
    for line in text.splitlines()[1:]:
        words = line.split()[1:]
        hops.append(next((word for word in words if re.match(r"[0-9a-f]+[.:]", word)), "*"))
    return hops


class BackgroundPing:
    """Ping while something else happens; what was lost shows how long traffic stood still."""

    def __init__(self, host: Host, address: str, *, interval: float = 0.1) -> None:
        self.interval = interval
        argv = ["ping", "-n", "-q", "-i", str(interval), "-W", "2", address]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", host.namespace, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started = time.monotonic()

    def stop(self) -> PingResult:
        # SIGINT makes ping print its summary. Packets under way count as lost otherwise.
        time_left = 0.5
        try:
            self.process.wait(time_left)
        except subprocess.TimeoutExpired:
            self.process.send_signal(2)
        text, _ = self.process.communicate(timeout=20)
        return parse_ping(text)
