"""What `make run` shows: Linux is configured, traffic flows, and who carried it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lab import proc, traffic
from lab.appliance import Appliance
from lab.base import Lab
from lab.container import ContainerLab
from lab.errors import LabError
from lab.fastpath import Counters, counters, reasons_text
from lab.host import Host
from lab.progress import progress, step
from lab.state import ENTER
from lab.vm import VmLab

TOPOLOGY = "two_hosts"
SHARE = 0.99
MOST_LOSS = 0.01
UDP_RATE = 5e6  # far below what an emulated appliance forwards: loss means something


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of traffic: what the hosts saw, and who forwarded it."""

    name: str
    result: str
    loss: float | None
    counted: Counters


def demonstrate(*, keep: bool, container: bool, seconds: float) -> int:
    """Run the demonstration; returns the exit status."""
    lab: Lab = ContainerLab(TOPOLOGY) if container else VmLab(TOPOLOGY)
    with lab:
        show(lab, seconds=seconds)
        if keep:
            lab.keep()
            print_ways_in()
    return 0


def show(lab: Lab, *, seconds: float) -> None:
    appliance = lab.appliance
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    appliance.wait_for_ports(timeout=60)
    progress("configuring the appliance with iproute2, as any Linux:")
    for line in appliance.configure():
        progress(f"    ip {line}")
    print_picture(lab)
    with step("waiting until the fast path forwards between the hosts"):
        settle(appliance, h1, h2)
    rows = measure(appliance, h1, h2, seconds=seconds)
    print_rows(rows)
    judge(rows)


def settle(appliance: Appliance, h1: Host, h2: Host) -> None:
    """Ping until the fast path carries it: first Linux must learn the neighbours, then it."""
    counters(appliance)  # an error here if there is no fast path
    for family in (4, 6):
        traffic.wait_until_pings(h1, h2.address(family), timeout=60)

        def carried(family: int = family) -> bool:
            before = counters(appliance)
            traffic.ping(h1, h2.address(family), count=4)
            return (counters(appliance) - before).forwarded >= 8

        proc.wait_for(
            carried,
            f"the fast path to carry IPv{family} pings",
            timeout=60,
            hint=f"look inside: {ENTER} run --keep, then {ENTER} ssh fp-cli exceptions",
        )


def measure(appliance: Appliance, h1: Host, h2: Host, *, seconds: float) -> list[Row]:
    rows = []
    with traffic.iperf_server(h2):
        for family in (4, 6):
            there = h2.address(family)
            rows.append(row(appliance, f"ping IPv{family}", partial(show_ping, h1, there)))
            for protocol in ("TCP", "UDP"):
                for reverse in (False, True):
                    arrow = "h1 <- h2" if reverse else "h1 -> h2"
                    flow = partial(show_flow, h1, there, protocol, reverse=reverse, seconds=seconds)
                    rows.append(row(appliance, f"{protocol} IPv{family} {arrow}", flow))
    return rows


type Shown = tuple[str, float | None]


def row(appliance: Appliance, name: str, send: Callable[[], Shown]) -> Row:
    progress(f"sending {name}")
    before = counters(appliance)
    result, loss = send()
    return Row(name=name, result=result, loss=loss, counted=counters(appliance) - before)


def show_ping(host: Host, address: str) -> Shown:
    result = traffic.ping(host, address, count=20, interval=0.1)
    return f"{result.received} of {result.sent}", result.loss


def show_flow(host: Host, address: str, protocol: str, *, reverse: bool, seconds: float) -> Shown:
    result = traffic.iperf(
        host,
        address,
        protocol=protocol.lower(),
        seconds=seconds,
        bits_per_second=UDP_RATE if protocol == "UDP" else None,
        reverse=reverse,
    )
    rate = f"{result.bits_per_second / 1e6:.1f} Mb/s"
    return rate, (result.loss if protocol == "UDP" else None)


def print_picture(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    left, right = lab.topology.appliance.ports
    columns = [
        ["h1", *(plain(address) for address in h1.plan.addresses)],
        [f"--- {lab.appliance.device(left.name)}", *("    " + plain(a) for a in left.addresses)],
        ["[ the fast path forwards ]", "[ Linux is configured    ]", ""],
        [f"{lab.appliance.device(right.name)} ---", *(plain(a) for a in right.addresses)],
        ["h2", *(plain(address) for address in h2.plan.addresses)],
    ]
    widths = [max(len(word) for word in column) for column in columns]
    print()
    for line in zip(*columns, strict=True):
        cells = [word.ljust(width) for word, width in zip(line, widths, strict=True)]
        print(("  " + "  ".join(cells)).rstrip())
    print()


def plain(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]


def print_rows(rows: Sequence[Row]) -> None:
    table = [("traffic", "result", "loss", "fast path", "exceptions", "by Linux")]
    for entry in rows:
        loss = "" if entry.loss is None else f"{entry.loss:.1%}"
        counted = entry.counted
        table.append(
            (
                entry.name,
                entry.result,
                loss,
                str(counted.forwarded),
                str(counted.exceptions),
                str(counted.linux_forwarded),
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        first, *others = (word.rjust(width) for word, width in zip(line, widths, strict=True))
        print("  " + "   ".join([first.strip().ljust(widths[0]), *others]))
    print()


def judge(rows: Sequence[Row]) -> None:
    """Say what it means; a LabError if the appliance didn't do its work."""
    forwarded = sum(entry.counted.forwarded for entry in rows)
    by_linux = sum(entry.counted.linux_forwarded for entry in rows)
    exceptions = sum(entry.counted.exceptions for entry in rows)
    reasons: dict[str, int] = {}
    for entry in rows:
        for name, count in entry.counted.reasons.items():
            reasons[name] = reasons.get(name, 0) + count
    share = forwarded / (forwarded + by_linux) if forwarded + by_linux else 0.0
    print(f"The fast path forwarded {forwarded} packets, Linux {by_linux}: {share:.2%}.")
    print(f"It handed {exceptions} packets to Linux. Reasons: {reasons_text(reasons) or 'none'}.")
    lossy = [entry.name for entry in rows if entry.loss is not None and entry.loss > MOST_LOSS]
    if lossy:
        raise LabError(
            f"more than {MOST_LOSS:.0%} lost: {', '.join(lossy)}",
            hint="a machine busy with something else loses packets; else see `fp-cli drops`",
        )
    if share < SHARE:
        raise LabError(
            f"the fast path carried {share:.1%} of the packets, less than {SHARE:.0%}",
            hint="the reasons above say why packets went to Linux",
        )
    print("PASS: traffic flows both ways, IPv4 and IPv6, and the fast path carries it.", flush=True)


def print_ways_in() -> None:
    print(
        f"""
The lab is still up:
  SSH              {ENTER} ssh [COMMAND]
  fast path CLI    {ENTER} ssh fp-cli stats
  serial console   {ENTER} console
  a host           {ENTER} host h1 [COMMAND]
  end it           {ENTER} stop"""
    )
