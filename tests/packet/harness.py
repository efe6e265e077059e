# SPDX-License-Identifier: BSD-3-Clause
"""The fast path in one thread, for tests: real FPC bytes set its state, one packet goes in, one verdict comes out.

    router = Router(...)                      # or the fixture `router`
    lan = router.port("lan", ...)
    router.route("198.51.100.0/24", via="192.0.2.2", dev=wan)
    assert lan.receives(frame) == wan.sent(expected)

A verdict is what became of the packet: sent on a port with these bytes, handed to Linux on the port it came in on, or
dropped; the last two with the reason whose counter moved. Any other counter that moved makes the verdict differ.
"""

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from _sluice import ffi, lib
from sluice.cli.pcap_filter import compiled

TOP = Path(__file__).resolve().parents[2]
HARNESS = (
    Path(
        os.environ.get("SLUICE_HARNESS_BUILD")
        or os.environ.get("SLUICE_BUILD")
        or TOP / "build/dev"
    )
    / "tests/packet/packet_harness"
)

RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 2, 3, 4, 5
RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 6, 7, 8, 9
MAIN, LOCAL = 254, 255
NUD_REACHABLE = 2
UNLIMITED = 0xFFFFFFFF
TUNNEL_PORT = 63
FAST = 100_000_000  # packets a second: faster than tests are
CLASSES = ("control", "local", "forwarded")
PEER_CMGRD, PEER_RTE, PEER_VIEWER = 0, 1, 2
KINDS = {b"S": "sent", b"L": "linux", b"F": "special", b"I": "received copy", b"O": "sent copy"}
FORWARDING = (
    lib.FPC_IFACE_UP | lib.FPC_IFACE_RUNNING | lib.FPC_IFACE_FORWARD4 | lib.FPC_IFACE_FORWARD6
)


def mac(text: str) -> bytes:
    """Six bytes from colon notation."""
    return bytes.fromhex(text.replace(":", ""))


def address16(address: IPv4Address | IPv6Address) -> bytes:
    """An address as FPC has it: 16 bytes, IPv4 in the first four."""
    return address.packed.ljust(16, b"\0")


def family_of(address: IPv4Address | IPv6Address) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


class HarnessDiedError(Exception):
    """The harness ended: its message, or a sanitizer's report."""


class Refused(Exception):  # noqa: N818
    """fpmd answered with an error."""

    def __init__(self, error: int, field_name: str, text: str) -> None:
        super().__init__(f"{os.strerror(error)}: {field_name}: {text}")
        self.error = error
        self.field = field_name
        self.text = text


@dataclass(frozen=True)
class Out:
    """One thing that came out for a burst."""

    kind: str  # "sent", "linux", "special" (on fpn0 of VRF `port`); "received copy", "sent copy": shown to a capture
    port: int
    frame: bytes


@dataclass(frozen=True)
class Verdict:
    """What became of one packet. `reason` is "" for a packet that was sent."""

    kind: str
    port: str
    reason: str
    frame: bytes = field(repr=False)

    def __repr__(self) -> str:
        reason = f" because of {self.reason}" if self.reason else ""
        return f"<{self.kind} on {self.port}{reason}: {self.frame.hex()}>"


class Process:
    """The harness process and its pipe."""

    def __init__(self, directory: Path, settings: Sequence[str] = ()) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [HARNESS, directory, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            # A sanitizer's finding ends the harness, so that it can't be missed.
            env=dict(os.environ, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"),
        )

    def ask(self, op: bytes, body: bytes = b"") -> bytes:
        """One request, one answer."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(struct.pack("=I", len(body)) + op + body)
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail()
        head = self.process.stdout.read(4)
        if len(head) < 4:
            self.fail()
        (length,) = struct.unpack("=I", head)
        return self.process.stdout.read(length)

    def fail(self) -> None:
        """Tell how the process ended."""
        status = self.process.wait(10)
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")
        raise HarnessDiedError(f"the harness ended with status {status}:\n{text}")

    def close(self) -> None:
        """End it as the end of its input does; a leak report or a crash at the end is an error."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.wait(30):
            self.fail()
        self.errors.close()


class Connection:
    """One FPC conversation with fpmd's dispatcher."""

    def __init__(self, process: Process, peer: int, role: int) -> None:
        self.process = process
        self.peer = peer
        self.seq = 0
        self.events: list[int] = []
        hello = ffi.new(
            "struct fpc_hello *", {"version": lib.FPC_VERSION, "role": role, "name": b"test"}
        )
        self.talk(lib.FPC_HELLO, 0, bytes(ffi.buffer(hello)), flags=0)

    def raw(self, data: bytes) -> bytes:
        """Bytes to fpmd, bytes from it."""
        return self.process.ask(b"F", bytes([self.peer]) + data)

    def talk(
        self, verb: int, feature: int, body: bytes = b"", flags: int | None = None
    ) -> list[tuple[int, int, int, bytes]]:
        """Send a frame; return the frames that came: (verb, feature, flags, body). An error raises Refused."""
        self.seq += 1
        if flags is None:
            flags = lib.FPC_F_ACK
        data = self.raw(
            struct.pack("=IHHHHI", 16 + len(body), 16, feature, verb, flags, self.seq) + body
        )
        frames = []
        while data:
            length, head, came, kind, came_flags, seq = struct.unpack_from("=IHHHHI", data)
            body, data = data[head:length], data[length:]
            if kind == lib.FPC_EVENT:
                self.events.append(struct.unpack_from("=I", body)[0])
                continue
            frames.append((kind, came, came_flags, body))
            if kind == lib.FPC_ACK and seq == self.seq and verb != lib.FPC_DUMP:
                error, name, text = ack(body)
                if error:
                    raise Refused(error, name, text)
        return frames


def ack(body: bytes) -> tuple[int, str, str]:
    """Errno, field and text of an ACK."""
    (error,) = struct.unpack_from("=i", body)
    return error, body[8:40].split(b"\0")[0].decode(), body[40:160].split(b"\0")[0].decode()


@dataclass
class Link:
    """An interface of Linux in one VRF."""

    router: "Router"
    name: str
    ifindex: int
    vrf: int
    mac: bytes
    mtu: int
    flags: int
    mtu6: int = field(default=0, kw_only=True)

    def change(self, **changes: Any) -> None:
        """Set the interface again with other fields."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.router.set("iface", self.object())

    def object(self) -> dict[str, Any]:
        """As struct fpc_iface has it."""
        return {
            "vrf": self.vrf,
            "ifindex": self.ifindex,
            "flags": self.flags,
            "mtu": self.mtu,
            "mac": self.mac,
            "name": self.name.encode(),
            "mtu6": self.mtu6,
        }

    def delete(self) -> None:
        """The interface goes."""
        self.router.delete("iface", self.object())


@dataclass
class Port(Link):
    """An interface with a fast path port behind it."""

    number: int = 0

    def receives(self, frame: bytes, segments: Sequence[int] | None = None) -> Verdict:
        """One frame comes in; what becomes of it. `segments`: lengths of the buffers it is spread over."""
        before = self.router.counters()
        out = self.router.burst(self.number, [frame], segments=segments)
        moved = self.router.counters() - before
        reason = " and ".join(sorted(f"{n}x {r}" if n > 1 else r for r, n in moved.items()))
        if not out:
            return Verdict("dropped", self.name, reason, frame)
        assert len(out) == 1, f"one packet in, {len(out)} out"
        if out[0].kind == "special":
            return Verdict("special", f"fpn0 of VRF {out[0].port}", reason, out[0].frame)
        return Verdict(out[0].kind, self.router.port_name(out[0].port), reason, out[0].frame)

    def sent(self, frame: bytes) -> Verdict:
        """The verdict of a packet that left here as `frame`."""
        return Verdict("sent", self.name, "", frame)

    def to_linux(self, reason: str, frame: bytes) -> Verdict:
        """The verdict of a packet that came in here and went to Linux as it was."""
        return Verdict("linux", self.name, reason, frame)

    def dropped(self, reason: str, frame: bytes) -> Verdict:
        """The verdict of a packet that came in here and was dropped."""
        return Verdict("dropped", self.name, reason, frame)


class Router:
    """A fast path, its fpmd, and the state they were given."""

    def __init__(self, *, settings: Sequence[str] = ()) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sluice.", dir="/dev/shm"))
        try:
            # IPsec is off where the number of SAs isn't set.
            self.process = Process(self.directory, ["FP_MAX_SAS=1024", *settings])
            self.cmgrd = Connection(self.process, PEER_CMGRD, lib.FPC_ROLE_SYNC)
            self.rte = Connection(self.process, PEER_RTE, lib.FPC_ROLE_RTE)
            self.stats = self.attach("stats")
            self.config = self.attach("config")
        finally:
            # Both sides have it mapped: nothing stays behind, however they end.
            shutil.rmtree(self.directory)
        self.reasons = self.read_reasons()
        self.ports: dict[int, Port] = {}
        self.traces = 0

    def close(self) -> None:
        """End it."""
        lib.shm_detach(self.stats)
        lib.shm_detach(self.config)
        self.process.close()

    def reset(self) -> None:
        """Take back all state, by the resync that finds nothing. Counters go on."""
        for connection, features in (
            (self.cmgrd, ("vrf", "mss", "iface", "neigh", "route", "rule", "ipsec")),
            (self.rte, ("port",)),
        ):
            for name in features:
                connection.talk(lib.FPC_SYNC_BEGIN, feature_id(name))
            for name in reversed(features):
                connection.talk(lib.FPC_SYNC_END, feature_id(name))
        self.ports = {}
        self.linux_takes(UNLIMITED)
        self.ports_take(UNLIMITED)
        self.limit_exceptions()
        self.overload(on=False)
        self.captures()
        self.trace(0)
        self.buffers()
        self.fpn0(on=False)
        assert self.buffers_in_use() == 0, "packet buffers leak"

    # --- tables ---

    def attach(self, name: str) -> Any:
        """The tables, read-only."""
        shm, err = ffi.new("struct shm *"), ffi.new("struct err *")
        if lib.shm_attach(shm, str(self.directory / name).encode(), False, ffi.NULL, 0, err):
            raise HarnessDiedError(ffi.string(err.text).decode())
        return shm

    def rows(self, table: str, kind: str) -> Any:
        """A table as an array of its rows."""
        for shm in (self.stats, self.config):
            rows = lib.shm_rows(shm, table.encode())
            if rows:
                return ffi.cast(f"struct {kind} *", rows)
        raise KeyError(table)

    def used(self, table: str) -> int:
        """How many rows of a table are in use."""
        found = lib.shm_find(self.config, table.encode())
        return int(found.used)

    def read_reasons(self) -> list[str]:
        """Names of the reasons, by number; those of plugins stand behind lib.N_REASONS."""
        rows = self.rows("reason", "reason_row")
        names = (ffi.string(rows[i].name).decode() for i in range(lib.REASONS_MAX))
        return list(takewhile(bool, names))

    def counters(self) -> Counter[str]:
        """The counter of each reason that was ever met."""
        row = self.rows("worker_reason", "worker_reason_row")[0]
        return Counter(
            {name: int(row.count[i]) for i, name in enumerate(self.reasons) if row.count[i]}
        )

    def iface_row(self, ifindex: int, vrf: int = 0) -> int:
        """The row of an interface; 0: none."""
        rows = self.rows("iface", "iface_row")
        capacity = lib.shm_find(self.config, b"iface").capacity
        for i in range(1, capacity):
            if rows[i].ifindex == ifindex and rows[i].vrf == vrf:
                return i
        return 0

    def interface_counters(self, link: Link) -> dict[str, int]:
        """The worker's counters of an interface."""
        row = self.rows("iface_stats", "iface_stats_row")[self.iface_row(link.ifindex, link.vrf)]
        names = (
            "rx_packets",
            "rx_bytes",
            "tx_packets",
            "tx_bytes",
            "rx_dropped",
            "tx_dropped",
            "exceptions",
        )
        return {name: int(getattr(row, name)) for name in names}

    # --- objects ---

    def connection(self, feature: str) -> Connection:
        """Who may set a feature's objects."""
        return self.rte if feature == "port" else self.cmgrd

    def set(self, feature: str, fields: dict[str, Any]) -> str:
        """SET; Refused if fpmd doesn't take it. Returns what it says all the same: what the object waits for."""
        frames = self.connection(feature).talk(
            lib.FPC_SET, feature_id(feature), encode(feature, fields)
        )
        _, name, text = ack(frames[-1][3])
        return f"{name}: {text}" if text else ""

    def delete(self, feature: str, fields: dict[str, Any]) -> None:
        """DEL."""
        key = encode(feature, fields)[: lib.feature_find(feature_id(feature)).key_size]
        self.connection(feature).talk(lib.FPC_DEL, feature_id(feature), key)

    def dump(self, feature: str) -> list[tuple[int, bytes]]:
        """All objects of a feature: (flags of the frame, body)."""
        frames = self.connection(feature).talk(lib.FPC_DUMP, feature_id(feature))
        return [(flags, body) for verb, _, flags, body in frames if verb == lib.FPC_SET]

    def vrf(self, number: int = 0, flags: int = 0, *, multipath_seed: int = 0) -> None:
        """A VRF."""
        self.set("vrf", {"vrf": number, "flags": flags, "multipath_seed": multipath_seed})

    def link(
        self,
        name: str,
        *,
        ifindex: int,
        vrf: int = 0,
        mtu: int = 1500,
        flags: int = FORWARDING,
        address: bytes = bytes(6),
    ) -> Link:
        """An interface that isn't a port."""
        link = Link(self, name, ifindex, vrf, address, mtu, flags)
        self.set("iface", link.object())
        return link

    def port(
        self,
        name: str,
        *,
        number: int | None = None,
        address: str = "",
        mtu: int = 1500,
        flags: int = FORWARDING,
    ) -> Port:
        """A port and its interface; ifindex is 10 and the port's number."""
        if number is None:
            number = len(self.ports)
        own = mac(address or f"02:00:00:00:00:{number + 1:02x}")
        port = Port(self, name, 10 + number, 0, own, mtu, flags, number)
        self.ports[number] = port
        self.set("port", self.port_object(port))
        self.set("iface", port.object())
        return port

    def port_object(self, port: Port) -> dict[str, Any]:
        """As struct fpc_port has it."""
        return {
            "port": port.number,
            "tap_ifindex": port.ifindex,
            "mac": port.mac,
            "name": port.name.encode(),
        }

    def port_name(self, number: int) -> str:
        """The name of a port."""
        return self.ports[number].name if number in self.ports else f"port {number}"

    def neighbour(self, address: str, link: Link, lladdr: str) -> dict[str, Any]:
        """A neighbour; returns the object."""
        ip = ip_address(address)
        fields = {
            "vrf": link.vrf,
            "ifindex": link.ifindex,
            "family": family_of(ip),
            "addr": address16(ip),
            "mac": mac(lladdr),
            "state": NUD_REACHABLE,
        }
        self.set("neigh", fields)
        return fields

    def route(self, prefix: str, **options: Any) -> dict[str, Any]:
        """A route; returns the object. Options as of route_object."""
        fields = route_object(prefix, **options)
        self.set("route", fields)
        return fields

    def address(self, text: str, link: Link) -> None:
        """An address of an interface, with the routes that Linux makes for it."""
        own, _, length = text.partition("/")
        network = ip_network(text, strict=False)
        full = network.max_prefixlen
        self.route(f"{own}/{full}", table=LOCAL, type=RTN_LOCAL, dev=link, metric=0)
        self.route(str(network), dev=link, metric=0 if full == 32 else 256)
        if full == 32 and int(length) < 31:
            self.route(
                f"{network.broadcast_address}/32",
                table=LOCAL,
                type=RTN_BROADCAST,
                dev=link,
                metric=0,
            )

    # --- packets ---

    def burst(
        self,
        port: int,
        frames: Iterable[bytes],
        *,
        segments: Sequence[int] | None = None,
        from_linux: bool = False,
    ) -> list[Out]:
        """A burst on a port, or from Linux; all that came out, in order."""
        frames = list(frames)
        body = struct.pack("=HH", port, len(frames))
        for frame in frames:
            lengths = list(segments) if segments else split(len(frame))
            assert sum(lengths) == len(frame)
            body += struct.pack(f"={1 + len(lengths)}H", len(lengths), *lengths) + frame
        return verdicts(self.process.ask(b"L" if from_linux else b"P", body))

    def linux_takes(self, n: int) -> None:
        """From now on Linux takes n packets, then its ring is full."""
        self.process.ask(b"B", struct.pack("=I", n))

    def limit_exceptions(
        self,
        *,
        rate: int = FAST,
        total: int = FAST,
        control: int = FAST,
        control_total: int = FAST,
        ports: int = 1,
    ) -> None:
        """From now on exceptions are limited as in fp-rte, packets a second; all buckets are full."""
        self.process.ask(b"E", struct.pack("=5I", rate, total, control, control_total, ports))

    def overload(self, *, on: bool) -> None:
        """From now on ports are overloaded, or not."""
        self.process.ask(b"O", bytes([on]))

    def queued(self, packets: Iterable[tuple[int, int, bytes]]) -> list[Out]:
        """Put (port, class, frame) into the queues for Linux; what the exception thread takes, in order."""
        packets = list(packets)
        body = struct.pack("=H", len(packets))
        for port, number, frame in packets:
            body += struct.pack("=HBHH", port, number, 1, len(frame)) + frame
        return verdicts(self.process.ask(b"Q", body))

    def classes(self) -> dict[str, Counter[str]]:
        """By class of exceptions: the counter of each reason, of exceptions and of drops in their stead."""
        row = self.rows("worker_exception", "worker_exception_row")[0]
        return {
            name: Counter(
                {
                    reason: int(row.count[number][i])
                    for i, reason in enumerate(self.reasons)
                    if row.count[number][i]
                }
            )
            for number, name in enumerate(CLASSES)
        }

    def ports_take(self, n: int) -> None:
        """From now on a port takes n packets of a burst."""
        self.process.ask(b"X", struct.pack("=I", n))

    def clock(self, seconds: int) -> None:
        """Set the worker's clock."""
        self.process.ask(b"N", struct.pack("=I", seconds))

    def captures(self, *ports: Port) -> None:
        """From now on these ports' packets are copied to captures."""
        self.process.ask(b"C", struct.pack("=Q", sum(1 << port.number for port in ports)))

    def trace(self, count: int, filter_text: str = "", port: Port | None = None) -> None:
        """Follow `count` packets (0: none) that a filter as tcpdump's chooses."""
        number = port.number if port else lib.TRACE_ANY_PORT
        insns = compiled(filter_text)
        self.traces += 1
        self.process.ask(
            b"T",
            struct.pack("=IIHHI", self.traces, count, number, len(insns), 0)
            + b"".join(struct.pack("=HBBI", *one) for one in insns),
        )

    def traced(self) -> list[list[Any]]:
        """What the last trace has recorded: the records of each packet."""
        rows = self.rows("trace", "trace_row")
        found = sorted(
            (rows[i] for i in range(lib.TRACE_ROWS) if rows[i].session == self.traces),
            key=lambda row: int(row.serial),
        )
        return [list(group) for _, group in groupby(found, key=lambda row: int(row.packet))]

    def stage(self, name: str) -> int:
        """A stage's number."""
        rows = self.rows("stage", "stage_row")
        return next(i for i in range(lib.STAGES_MAX) if ffi.string(rows[i].name).decode() == name)

    def enable_stage(self, name: str, link: Link | None = None, *, on: bool = True) -> None:
        """As a feature's apply would: for packets of an interface, or of VRF 0."""
        row = self.iface_row(link.ifindex) if link else 0
        assert row or not link
        self.process.ask(b"S", struct.pack("=IBB", row, self.stage(name), on))

    def make_tunnel(self, link: Link) -> None:
        """Packets that leave there come out on port TUNNEL_PORT, behind the row of their neighbour."""
        self.process.ask(b"Y", struct.pack("=I", self.iface_row(link.ifindex)))

    def poll(self) -> list[Out]:
        """One loop of the worker without packets; what came out."""
        return verdicts(self.process.ask(b"W"))

    def fpn0(self, vrf: int = 0, *, on: bool = True) -> None:
        """From now on fpn0 is there in a VRF, or isn't."""
        self.process.ask(b"V", struct.pack("=IB", vrf, on))

    def buffers(self, n: int = UNLIMITED) -> None:
        """From now on the fast path gets n packet buffers and no more, those of packets that come in not counted."""
        self.process.ask(b"M", struct.pack("=I", n))

    def buffers_in_use(self) -> int:
        """Packet buffers that nobody freed."""
        used: int = struct.unpack("=I", self.process.ask(b"U"))[0]
        return used


def verdicts(answer: bytes) -> list[Out]:
    """What the harness says came out."""
    (n,) = struct.unpack_from("=H", answer)
    at, out = 2, []
    for _ in range(n):
        kind, where, length = struct.unpack_from("=cHI", answer, at)
        at += 7
        out.append(Out(KINDS[kind], where, answer[at : at + length]))
        at += length
    return out


def split(length: int) -> list[int]:
    """The buffers a driver would use for a frame."""
    lengths = [2048] * (length // 2048)
    if length % 2048 or not lengths:
        lengths.append(length % 2048)
    return lengths


def feature_id(name: str) -> int:
    """The feature's number in FPC."""
    return int(getattr(lib, f"FEATURE_{name.upper()}"))


def encode(feature: str, fields: dict[str, Any]) -> bytes:
    """An object's bytes."""
    if feature == "route":
        hops = fields.get("nexthops", [])
        fields = dict(fields, nexthops=hops, n_nexthops=fields.get("n_nexthops", len(hops)))
    obj = ffi.new(f"struct fpc_{feature} *", fields)
    body = bytes(ffi.buffer(obj))
    if feature == "route":
        # As cmgrd does: short, with the next hops there are.
        body = body[
            : ffi.offsetof("struct fpc_route", "nexthops")
            + len(hops) * ffi.sizeof("struct fpc_nexthop")
        ]
    return body


def nexthop(
    link: Link | int | None, via: str | None = None, *, flags: int = 0, weight: int = 1
) -> dict[str, Any]:
    """One next hop of a route."""
    gateway = ip_address(via) if via else None
    return {
        "ifindex": link.ifindex if isinstance(link, Link) else link or 0,
        "family": family_of(gateway) if gateway else 0,
        "flags": flags,
        "weight": weight,
        "gateway": address16(gateway) if gateway else bytes(16),
    }


def route_object(
    prefix: str,
    *,
    dev: Link | int | None = None,
    via: str | None = None,
    table: int = MAIN,
    metric: int = 0,
    type: int = RTN_UNICAST,  # noqa: A002
    tos: int = 0,
    flags: int = 0,
    vrf: int | None = None,
    mtu: int = 0,
    nexthops: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """As struct fpc_route has it."""
    network = ip_network(prefix)
    if nexthops is None:
        nexthops = [nexthop(dev, via)] if dev is not None else []
    if vrf is None:
        vrf = dev.vrf if isinstance(dev, Link) else 0
    return {
        "vrf": vrf,
        "table": table,
        "metric": metric,
        "family": family_of(network.network_address),
        "plen": network.prefixlen,
        "tos": tos,
        "dst": address16(network.network_address),
        "flags": flags,
        "type": type,
        "mtu": mtu,
        "nexthops": nexthops,
    }
