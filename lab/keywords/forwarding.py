"""Keywords: what goes through the appliance, how it comes out, and who carried it."""

import re
import time
from collections.abc import Callable

from lab import frames, proc, traffic
from lab.fastpath import Counters, counters, reasons_text
from lab.host import Host
from lab.keywords.session import SESSION

__all__ = [
    "appliance_should_answer",
    "flow_should_be_carried",
    "frames_should_come_out_right",
    "lack_of_a_route_should_be_reported",
    "next_hop_can_change_under_traffic",
    "path_mtu_should_be_reported",
    "ping_should_be_carried",
    "port_mtu_is",
    "time_exceeded_should_be_reported",
    "trace_should_show_the_appliance",
]

SHARE = 0.99
MOST_LOSS = 0.01
UDP_RATE = 3e6
MSS = 1460
FAR = {4: "203.0.113.1", 6: "2001:db8:f::1"}
FAR_NETWORK = {4: "203.0.113.0/25", 6: "2001:db8:f::/64"}
NOWHERE = {4: "203.0.113.129", 6: "2001:db8:dead::1"}


def ping_should_be_carried(source: str, destination: str, family: int, count: int = 50) -> None:
    """All pings are answered, and the fast path carried requests and replies."""
    from_host, address = SESSION.host(source), SESSION.host(destination).address(family)

    def send() -> int:
        result = traffic.ping(from_host, address, count=count, interval=0.05)
        assert result.loss <= MOST_LOSS, f"{result.received} of {result.sent} pings answered"
        return 2 * result.received

    carried(send)


def flow_should_be_carried(
    protocol: str, source: str, destination: str, family: int, seconds: float = 4
) -> None:
    """A TCP or UDP flow gets through, and the fast path carried its packets."""
    sender, receiver = SESSION.host(source), SESSION.host(destination)
    address = receiver.address(family)

    def send() -> int:
        rate = UDP_RATE if protocol.lower() == "udp" else None
        result = traffic.iperf(
            sender, address, protocol=protocol.lower(), seconds=seconds, bits_per_second=rate
        )
        print(f"{result.bits_per_second / 1e6:.1f} Mb/s, {result.loss:.2%} lost")
        if rate:
            assert result.loss <= MOST_LOSS, f"{result.loss:.1%} of the packets lost"
            return result.packets - result.lost
        # So many packets at the least.
        return int(result.bits_per_second * result.seconds / 8 / MSS)

    with traffic.iperf_server(receiver):
        carried(send)


def carried(send: Callable[[], int]) -> Counters:
    """Send, and check that the fast path carried what was sent: `send` returns how many packets."""
    before = counters(SESSION.appliance)
    sent = send()
    delta = counters(SESSION.appliance) - before
    said = (
        f"{sent} packets sent: fast path {delta.forwarded}, Linux {delta.linux_forwarded}, "
        f"exceptions {delta.exceptions} ({reasons_text(delta.reasons) or 'none'})"
    )
    print(said)
    assert sent > 0, "nothing got through"
    assert delta.forwarded >= SHARE * sent, f"the fast path didn't carry it: {said}"
    assert delta.share >= SHARE, f"Linux forwarded too much: {said}"
    return delta


def trace_should_show_the_appliance(
    source: str, destination: str, family: int, probe: str = "UDP"
) -> None:
    """Traceroute shows the appliance's near address, then the destination."""
    lab = SESSION.current
    address = SESSION.host(destination).address(family)
    link = SESSION.host(source).plan.link
    port = next(port for port in lab.topology.appliance.ports if port.link == link)
    near = next(one.partition("/")[0] for one in port.addresses if (":" in one) == (family == 6))
    hops = traffic.trace(SESSION.host(source), address, udp=probe.upper() == "UDP")
    assert hops == [near, address], f"traceroute shows {hops}, not {[near, address]}"


def port_mtu_is(port: str, mtu: int) -> None:
    """Set the MTU of a port and of the hosts on its link, and forget what hosts learnt of it."""
    device = SESSION.appliance.device(port)
    SESSION.appliance.run(["ip", "link", "set", device, "mtu", str(mtu)])
    link = SESSION.current.topology.port(port).link
    for host in SESSION.current.hosts.values():
        if host.plan.link == link:
            host.run(["ip", "link", "set", host.interface, "mtu", str(mtu)])
        for family in ("-4", "-6"):
            host.run(["ip", family, "route", "flush", "cache"])


def path_mtu_should_be_reported(source: str, destination: str, family: int, mtu: int) -> None:
    """A packet too big for the way comes back as an error with the MTU; smaller ones pass."""
    host, address = SESSION.host(source), SESSION.host(destination).address(family)
    overhead = 28 if family == 4 else 48

    def told() -> str:
        words = ["ping", "-n", "-c", "1", "-W", "3", "-M", "do", "-s", str(1500 - overhead)]
        done = host.run([*words, address], check=False)
        said = done.stdout + done.stderr
        return said if "mtu" in said else ""

    # The fast path hears of a new MTU a moment after Linux.
    text = proc.wait_for(told, "an ICMP error that tells the MTU", timeout=20)
    assert re.search(rf"mtu ?= ?{mtu}\b", text), f"ping wasn't told the MTU {mtu}: {text}"
    fitting = traffic.ping(host, address, size=mtu - overhead, discovery="do")
    assert fitting.loss == 0, f"pings of {mtu} bytes: {fitting}"
    if family == 4:
        # Without what the host has just learnt, the appliance has to fragment.
        host.run(["ip", "route", "flush", "cache"])
        large = traffic.ping(host, address, size=1500 - overhead, discovery="dont")
        assert large.loss == 0, f"pings that may be fragmented: {large}"


def next_hop_can_change_under_traffic(family: int) -> None:
    """Traffic to a network moves to another next hop, and back, without a gap."""
    appliance, h1 = SESSION.appliance, SESSION.host("h1")
    traffic.wait_until_pings(h1, FAR[family])
    for name in ("h3", "h2"):
        ping = traffic.BackgroundPing(h1, FAR[family], interval=0.05)
        try:
            target = SESSION.host(name)
            before = echo_requests(target, family)
            gateway = target.address(family)
            appliance.run(["ip", "route", "replace", FAR_NETWORK[family], "via", gateway])
            wait_for_pings(target, family, before + 20)
        finally:
            result = ping.stop()
        # The first packets for a neighbour nobody knows wait in Linux's queue; a few may be lost.
        lost = result.sent - result.received
        print(f"to {name}: {result.received} of {result.sent} answered")
        assert lost <= 5, f"{lost} of {result.sent} pings lost when the next hop became {name}"
    h2, h3 = SESSION.host("h2"), SESSION.host("h3")
    before2, before3 = echo_requests(h2, family), echo_requests(h3, family)

    def send() -> int:
        return 2 * traffic.ping(h1, FAR[family], count=50, interval=0.05).received

    carried(send)
    assert echo_requests(h2, family) - before2 >= 50, "h2 isn't the next hop again"
    assert echo_requests(h3, family) == before3, "h3 still gets packets"


def wait_for_pings(host: Host, family: int, count: int) -> None:
    proc.wait_for(
        lambda: echo_requests(host, family) >= count,
        f"traffic at the next hop {host.name}",
        timeout=30,
    )


def echo_requests(host: Host, family: int) -> int:
    """Pings a host has received."""
    if family == 4:
        text = host.run(["cat", "/proc/net/snmp"]).stdout
        names, values = (line.split() for line in text.splitlines() if line.startswith("Icmp:"))
        return int(dict(zip(names, values, strict=True))["InEchos"])
    match = re.search(r"^Icmp6InEchos\s+(\d+)", host.run(["cat", "/proc/net/snmp6"]).stdout, re.M)
    return int(match[1]) if match else 0


def lack_of_a_route_should_be_reported(family: int) -> None:
    """Linux answers a packet for which there's no route with an ICMP error."""
    words = ["ping", "-n", "-c", "2", "-W", "3", NOWHERE[family]]
    said = SESSION.host("h1").run(words, check=False).stdout
    assert "nreachable" in said or "No route" in said, f"no ICMP error: {said}"


def appliance_should_answer(source: str, family: int) -> None:
    """The appliance's own addresses answer: Linux's packets come and go through the port."""
    host = SESSION.host(source)
    for port in SESSION.current.topology.appliance.ports:
        for address in port.addresses:
            if (":" in address) == (family == 6):
                result = traffic.ping(host, address.partition("/")[0], count=10)
                assert result.loss <= 0.1, f"{address}: {result}"


def time_exceeded_should_be_reported(family: int) -> None:
    """A packet whose hop limit ends here comes back as ICMP time exceeded, quoting it."""
    h1, h2 = SESSION.host("h1"), SESSION.host("h2")
    lab = SESSION.current
    with h1.packet_socket() as near:
        probe = frames.udp_frame(lab, h1, h2, family=family, hop_limit=1)
        near.send(probe.raw)
        answer = frames.receive(near, lambda raw: frames.is_time_exceeded(raw, probe), timeout=10)
    assert answer is not None, "no ICMP time exceeded within 10 s"


def frames_should_come_out_right(source: str, destination: str, family: int) -> None:
    """Frames of many kinds come out byte for byte as a router must send them."""
    lab = SESSION.current
    sender, receiver = SESSION.host(source), SESSION.host(destination)
    traffic.wait_until_pings(sender, receiver.address(family))

    def send() -> int:
        sent = 0
        with sender.packet_socket() as near, receiver.packet_socket() as far:
            for variant in frames.VARIANTS:
                probe = frames.udp_frame(lab, sender, receiver, family=family, **variant)
                near.send(probe.raw)
                got = frames.receive(far, frames.carries(probe), timeout=10)
                assert got is not None, f"{variant}: lost"
                wrong = frames.differences(lab, receiver, probe, got)
                assert not wrong, f"{variant}: {'; '.join(wrong)}"
                sent += 1
        return sent

    started = time.monotonic()
    carried(send)
    print(f"{len(frames.VARIANTS)} frames in {time.monotonic() - started:.1f} s")
