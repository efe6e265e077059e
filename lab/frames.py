"""Raw frames, made and judged with scapy: what a router must do to each byte."""

import importlib
import itertools
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.base import Lab
from lab.host import Host
from lab.topology import Port

TOKENS = itertools.count(1)
# Lengths around the smallest frame and odd ones, DSCP and ECN, low hop limits, IPv4 identification.
VARIANTS: tuple[dict[str, int], ...] = (
    {"length": 18},
    {"length": 19},
    {"length": 47},
    {"length": 1000},
    {"length": 1452},
    {"traffic_class": 0xB8},
    {"traffic_class": 0x03},
    {"hop_limit": 2},
    {"hop_limit": 255},
    {"identification": 0xFFFF},
    {"identification": 0},
)


def scapy() -> Any:
    """Scapy, loaded when first used because that takes a second; it has no types."""
    return importlib.import_module("scapy.all")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A frame that was sent: its bytes, and the bytes by which it is known again."""

    raw: bytes
    token: bytes
    family: int


def udp_frame(
    lab: Lab,
    sender: Host,
    receiver: Host,
    *,
    family: int,
    length: int = 100,
    hop_limit: int = 64,
    traffic_class: int = 0,
    identification: int = 1,
) -> Probe:
    """An Ethernet frame with UDP from host to host, by way of the appliance's port.

    `length` is the payload's; at least 18 bytes, so that a frame needs no padding.
    """
    s = scapy()
    token = f"sluice-lab-{next(TOKENS):06d}.".encode()
    payload = (token * (length // len(token) + 1))[:length]
    source, destination = sender.address(family), receiver.address(family)
    if family == 4:
        ip = s.IP(src=source, dst=destination, ttl=hop_limit, tos=traffic_class, id=identification)
    else:
        ip = s.IPv6(src=source, dst=destination, hlim=hop_limit, tc=traffic_class)
    ether = s.Ether(src=sender.plan.mac, dst=port_on(lab, sender).mac)
    frame = ether / ip / s.UDP(sport=40000, dport=40001) / s.Raw(payload)
    return Probe(raw=bytes(frame), token=token[:18], family=family)


def port_on(lab: Lab, host: Host) -> Port:
    """The appliance's port on the host's link."""
    return next(port for port in lab.topology.appliance.ports if port.link == host.plan.link)


def receive(
    sock: socket.socket, wanted: Callable[[bytes], bool], *, timeout: float
) -> bytes | None:
    """The first received frame that is wanted; None if none comes in time."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([sock], [], [], left)
        if not ready:
            continue
        raw, address = sock.recvfrom(65536)
        # Our own transmissions are seen here too.
        if address[2] != socket.PACKET_OUTGOING and wanted(raw):
            return raw
    return None


def carries(probe: Probe) -> Callable[[bytes], bool]:
    """Tell the frames that carry the probe's payload."""
    return lambda raw: probe.token in raw


def differences(lab: Lab, receiver: Host, probe: Probe, got: bytes) -> list[str]:
    """How a forwarded frame differs from what a router must send; empty if it doesn't."""
    s = scapy()
    expected = s.Ether(probe.raw)
    expected.src = port_on(lab, receiver).mac
    expected.dst = receiver.plan.mac
    if probe.family == 4:
        expected[s.IP].ttl -= 1
        del expected[s.IP].chksum
    else:
        expected[s.IPv6].hlim -= 1
    want = bytes(expected)
    if got == want:
        return []
    if len(got) != len(want):
        return [f"{len(got)} bytes instead of {len(want)}"]
    at = [index for index, (a, b) in enumerate(zip(got, want, strict=True)) if a != b]
    return [f"byte {index} is {got[index]:02x}, not {want[index]:02x}" for index in at[:8]]


def is_time_exceeded(raw: bytes, probe: Probe) -> bool:
    """Whether a frame is the ICMP time exceeded that quotes the probe."""
    s = scapy()
    frame = s.Ether(raw)
    # The quoted IP header comes after Ethernet, IP and 8 bytes of ICMP.
    if probe.family == 4:
        found = frame.haslayer(s.ICMP) and frame[s.ICMP].type == 11
        return bool(found) and probe.raw[26:34] in raw
    found = frame.haslayer(s.ICMPv6TimeExceeded)
    return bool(found) and probe.raw[22:54] in raw
