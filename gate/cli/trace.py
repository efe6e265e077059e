# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli trace: what becomes of single packets, step by step.

Workers write the steps of the packets that a filter chooses into a ring in shared memory, as long
as this program's connection to fp-rte lives. Meanwhile packets go through the fast path one by one,
so it is slower; without a trace there's no cost.

Keys of `-j`, one JSON line a packet: worker, packet (the worker's number for it), summary, lost
(records overwritten before this one was read), steps: a list of objects with step, us (microseconds
since the first step) and, by step:
  received, from-linux, sent   port, length (bytes with the Ethernet header), data (hex, its first)
  interface                    interface
  group                        members: those that a route leads to, objects with via, interface and
                               share (of 256 parts of all flows); the route that follows was chosen
  route                        type, via, interface; type none: no route
  neighbour                    address, mac, interface; null where unknown
  stage                        stage, text
  to-linux, dropped            port, reason, text
"""

import argparse
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

from _sluice import ffi, lib
from sluice.cli.command import Command, Row, Value
from sluice.cli.error import CliError
from sluice.cli.pcap_filter import compiled
from sluice.cli.text import address_text, mac_text, text
from sluice.cli.view import Struct, View
from sluice.features.route.cli import group_parts

POLL_SECONDS = 0.02
FINAL = (lib.TRACE_SENT, lib.TRACE_TO_LINUX, lib.TRACE_DROPPED)
WITH_BYTES = {
    lib.TRACE_RECEIVED: "received",
    lib.TRACE_FROM_LINUX: "from-linux",
    lib.TRACE_SENT: "sent",
}
NEXTHOP_TYPES = (
    "none", "gateway", "connected", "local", "broadcast", "blackhole", "unreachable", "linux",
)  # fmt: skip


class Names:
    """What the numbers in records mean now."""

    def __init__(self, view: View) -> None:
        stats, config = view.stats, view.config
        self.reasons = stats.rows("reason", "struct reason_row")
        self.states = stats.rows("port_state", "struct port_state_row")
        self.ifaces = config.rows("iface", "struct iface_row")
        self.nexthops = config.rows("nexthop", "struct nexthop_row")
        self.groups = config.rows("nexthop_group", "struct nexthop_group_row")
        self.neighs = config.rows("neigh", "struct neigh_row")
        self.stages = stats.rows("stage", "struct stage_row")

    def port(self, number: int) -> str:
        """The port's name."""
        return text(self.states[number].name) or str(number)

    def iface(self, row: int) -> str | None:
        """The interface's name."""
        return text(self.ifaces[row].name) or None if row < len(self.ifaces) else None

    def nexthop(self, row: int) -> Row:
        """What the lookup found."""
        found = self.nexthops[row] if row < len(self.nexthops) else self.nexthops[0]
        kind = NEXTHOP_TYPES[found.type] if found.type < len(NEXTHOP_TYPES) else str(found.type)
        via = address_text(found.family, found.gateway) if found.family else None
        return {"type": kind, "via": via, "interface": self.iface(found.iface)}

    def group(self, row: int) -> Row:
        """Several next hops, of which one is chosen."""
        number = self.nexthops[row].group if row < len(self.nexthops) else 0
        members: list[Value] = []
        for member, share in group_parts(self.groups[number]) if number else ():
            hop = self.nexthop(member)
            members.append({"via": hop["via"], "interface": hop["interface"], "share": share})
        return {"members": members}

    def neigh(self, row: int) -> Row:
        """The neighbour that the packet goes to."""
        if not 0 < row < len(self.neighs) or not self.neighs[row].family:
            return {"address": None, "mac": None, "interface": None}
        found = self.neighs[row]
        return {
            "address": address_text(found.family, found.addr),
            "mac": mac_text(found.l2) if found.valid else None,
            "interface": self.iface(found.iface),
        }

    def step(self, record: Struct) -> Row:
        """A record in words, without its time."""
        if record.step in WITH_BYTES:
            return {
                "step": WITH_BYTES[record.step],
                "port": self.port(record.port),
                "length": record.len,
                "data": bytes(ffi.buffer(record.data))[: record.n_data].hex(),
            }
        if record.step == lib.TRACE_IFACE:
            return {"step": "interface", "interface": self.iface(record.row)}
        if record.step == lib.TRACE_NEXTHOP:
            return {"step": "route", **self.nexthop(record.row)}
        if record.step == lib.TRACE_GROUP:
            return {"step": "group", **self.group(record.row)}
        if record.step == lib.TRACE_NEIGH:
            return {"step": "neighbour", **self.neigh(record.row)}
        if record.step == lib.TRACE_STAGE:
            stage = self.stages[record.row % len(self.stages)]
            return {"step": "stage", "stage": text(stage.name), "text": text(stage.text)}
        return {
            "step": "to-linux" if record.step == lib.TRACE_TO_LINUX else "dropped",
            "port": self.port(record.port),
            "reason": text(self.reasons[record.reason].name),
            "text": text(self.reasons[record.reason].text),
        }


class Ring:
    """One worker's records, from where they are when it's made."""

    def __init__(self, rows: Struct, worker: int) -> None:
        self.rows = rows
        self.worker = worker
        size = lib.TRACE_ROWS
        self.next = 1 + max(rows[worker * size + i].serial for i in range(size))

    def read(self) -> Iterator[tuple[Struct | None, int]]:
        """New records, oldest first; (None, how many) where some were overwritten before."""
        while True:
            row = self.rows[self.worker * lib.TRACE_ROWS + self.next % lib.TRACE_ROWS]
            serial = row.serial
            if serial < self.next:
                return
            record = ffi.new("struct trace_row *")
            ffi.memmove(record, ffi.addressof(row), ffi.sizeof(record[0]))
            if serial > self.next or record.serial != serial or row.serial != serial:
                # The worker is at least a round ahead: on from the middle of what it has now.
                lost = lib.TRACE_ROWS // 2
                self.next += lost
                yield None, lost
                continue
            self.next += 1
            yield record, 0


@dataclass
class Packet:
    """A packet on its way."""

    worker: int
    number: int
    lost: int = 0
    started: int = 0
    data: bytes = b""
    steps: list[Row] = field(default_factory=list)
    ended: bool = False
    seen: bool = False  # ended at the last look already: nothing follows

    def row(self) -> Row:
        """For the user."""
        steps: list[Value] = list(self.steps)
        return {
            "worker": self.worker,
            "packet": self.number,
            "summary": summary(self.data),
            "lost": self.lost,
            "steps": steps,
        }


def summary(frame: bytes) -> str:
    """The packet in a few words."""
    kind = int.from_bytes(frame[12:14])
    if kind == 0x0800 and len(frame) >= 34:
        source, target = (str(ip_address(frame[at : at + 4])) for at in (26, 30))
        return words(source, target, frame[23], frame[14 + 4 * (frame[14] & 15) :])
    if kind == 0x86DD and len(frame) >= 54:
        source, target = (str(ip_address(frame[at : at + 16])) for at in (22, 38))
        return words(source, target, frame[20], frame[54:])
    return f"ethertype {kind:#06x}"


def words(source: str, target: str, protocol: int, payload: bytes) -> str:
    """Addresses, ports where there are such, protocol."""
    names = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}
    if protocol in (6, 17) and len(payload) >= 4:
        sport, dport = struct.unpack_from("!HH", payload)
        return f"{source} port {sport} > {target} port {dport} {names[protocol]}"
    return f"{source} > {target} {names.get(protocol, f'protocol {protocol}')}"


class Session:
    """An armed trace; it ends with the connection."""

    def __init__(self, view: View, port: int, filter_text: str, count: int) -> None:
        instructions = compiled(filter_text)
        if len(instructions) > lib.TRACE_FILTER_MAX:
            raise CliError(f"the filter takes more than {lib.TRACE_FILTER_MAX} instructions")
        request = struct.pack("=IIHHI", lib.TRACE_VERSION, count, port, len(instructions), 0)
        request += b"".join(struct.pack("=HBBI", *one) for one in instructions)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.socket.connect(str(view.run_dir / "rte.sock"))
            self.socket.send(request)
            answer = self.socket.recv(4096)
        except PermissionError:
            raise CliError(
                "fp-rte may not be asked", hint="run it as root, or as a member of the group sluice"
            ) from None
        except OSError as error:
            raise CliError(
                f"fp-rte of instance '{view.instance}' can't be asked: {error.strerror}",
                hint="is it running? See `fp-cli status`",
            ) from None
        reply = ffi.new("struct trace_reply *")
        if len(answer) != ffi.sizeof(reply[0]):
            raise CliError("fp-rte gives no answer", hint="it may be of another version")
        ffi.memmove(reply, answer, len(answer))
        if reply.error:
            raise CliError(f"fp-rte: {text(reply.text)}", hint="one trace at a time can be armed")
        self.number = int(reply.session)
        self.tsc_hz = int(reply.tsc_hz)
        self.socket.setblocking(False)

    def alive(self) -> bool:
        """Whether fp-rte still has it armed."""
        try:
            return bool(self.socket.recv(1))
        except BlockingIOError:
            return True
        except OSError:
            return False


class Collector:
    """Makes packets of records."""

    def __init__(self, names: Names, session: int, tsc_hz: int) -> None:
        self.names = names
        self.session = session
        self.tsc_hz = tsc_hz
        self.open: dict[int, Packet] = {}  # by worker
        self.lost = 0

    def add(self, worker: int, record: Struct) -> Iterator[Packet]:
        """Takes a record; gives the packet before it, which is complete then."""
        if record.session != self.session:
            return
        now = self.open.get(worker)
        if now is None or now.number != record.packet:
            if now:
                yield now
            now = self.open[worker] = Packet(worker, record.packet, self.lost, record.tsc)
            self.lost = 0
        if record.step in WITH_BYTES and not now.data:
            now.data = bytes(ffi.buffer(record.data))[: record.n_data]
        step = self.names.step(record)
        elapsed = round((record.tsc - now.started) * 1e6 / self.tsc_hz, 1)
        now.steps.append({"step": step.pop("step"), "us": elapsed, **step})
        now.ended = record.step in FINAL
        now.seen = False

    def ended(self) -> Iterator[Packet]:
        """Packets that had ended when this was last asked, and to which nothing was added since."""
        for worker, packet in list(self.open.items()):
            if packet.ended and packet.seen:
                del self.open[worker]
                yield packet
            packet.seen = packet.ended


def port_number(view: View, name: str | None) -> int:
    """The port's number."""
    if name is None:
        return int(lib.TRACE_ANY_PORT)
    states = view.stats.rows("port_state", "struct port_state_row")
    known = {text(state.name): number for number, state in enumerate(states) if text(state.name)}
    if name not in known:
        raise CliError(f"there's no port '{name}'", hint=f"there are: {', '.join(known)}")
    return known[name]


def trace(view: View, arguments: argparse.Namespace) -> Iterator[Row]:
    """Packets as they come, until there were as many as wanted."""
    count: int = arguments.count
    if not 1 <= count <= 1_000_000:
        raise CliError(f"can't follow {count} packets", hint="use 1 to 1000000")
    if arguments.seconds is not None and not 0 < arguments.seconds <= 86400:
        raise CliError(f"can't wait {arguments.seconds:g} s", hint="use up to 86400")
    port = port_number(view, arguments.port)
    names = Names(view)
    rows = view.stats.rows("trace", "struct trace_row")
    rings = [Ring(rows, worker.number) for worker in view.workers() if worker.running]
    session = Session(view, port, " ".join(arguments.filter), count)
    collector = Collector(names, session.number, session.tsc_hz)
    until = time.monotonic() + arguments.seconds if arguments.seconds else float("inf")
    with session.socket:
        while count > 0 and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            found: list[Packet] = []
            for ring in rings:
                for record, lost in ring.read():
                    collector.lost += lost
                    if record is not None:
                        found += collector.add(ring.worker, record)
            found += collector.ended()
            for packet in found:
                yield packet.row()
            count -= len(found)
            if not session.alive():
                raise CliError("fp-rte ended the trace", hint="see its log")


def shown(row: Row) -> str:
    """A packet for people."""
    steps = row["steps"]
    assert isinstance(steps, list)
    lines = [f"packet {row['packet']} of worker {row['worker']}: {row['summary']}"]
    if row["lost"]:
        lines.append(f"  {row['lost']} records before it were overwritten unread")
    for step in steps:
        what = step["step"]
        said = f"  {step['us']:8.1f} us  {what}"
        if what in WITH_BYTES.values():
            said += f" on {step['port']}, {step['length']} bytes"
            data = step["data"]
            for at in range(0, len(data), 64):
                said += f"\n{'':15}{data[at : at + 64]}"
        elif what == "interface":
            said += f" {step['interface'] or 'unknown'}"
        elif what == "route":
            via = f" via {step['via']}" if step["via"] else ""
            said += f" {step['type']}{via}" + (
                f" on {step['interface']}" if step["interface"] else ""
            )
        elif what == "group":
            said += f" of {len(step['members'])}:"
            for hop in step["members"]:
                via = f" via {hop['via']}" if hop["via"] else ""
                said += f"\n{'':15}{hop['share']}/256{via} on {hop['interface']}"
        elif what == "neighbour":
            said += f" {step['address'] or 'unknown'}"
            if step["address"]:
                said += f" is at {step['mac'] or '(unknown)'} on {step['interface']}"
        elif what == "stage":
            said += f" {step['stage']} ({step['text']})"
        else:
            said += f": {step['reason']} ({step['text']})"
        lines.append(said)
    return "\n".join(lines)


def trace_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `trace`."""
    parser.add_argument(
        "filter", nargs="*", metavar="FILTER", help="which packets, as for tcpdump (pcap-filter(7))"
    )
    parser.add_argument("--port", metavar="NAME", help="only packets that come in on this port")
    parser.add_argument(
        "--count", type=int, default=10, metavar="N", help="end after N packets (default 10)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="end after S seconds, however many there were"
    )


COMMANDS = (
    Command(
        name="trace",
        help="follow single packets through the fast path, step by step",
        follow=trace,
        show=shown,
        add_arguments=trace_arguments,
    ),
)
