"""Exceptions as fast as the fast path can receive: the rig's router has a third port, p3, without a
wire, which reads a file over and over.
"""

import struct
from pathlib import Path
from typing import Any

from tests.lib.packets import checksum, ether, ipv4
from tests.lib.rig import LEFT, Driver, Rig

P3 = "02:00:00:00:03:01"
PEER = "02:00:00:00:03:02"
SILENT = "net_null0,no-rx=1"


def endless(path: Path) -> str:
    """The device that floods."""
    return f"net_pcap0,rx_pcap={path},infinite_rx=1"


def ports(third: str) -> str:
    """FP_PORTS with that device for p3."""
    return f"p1={Driver.AF_XDP}0,iface=wire-p1 p2={Driver.AF_XDP}1,iface=wire-p2 p3={third}"


def restart(rig: Rig, third: str) -> None:
    """fp-rte anew, with another device below p3; the TAP stays."""
    rig.rte.stop()
    rig.settings["FP_PORTS"] = ports(third)
    rig.write_settings()
    rig.rte.start()


def icmp(kind: int, number: int) -> bytes:
    """An ICMP message that Linux never answers: echo reply, unreachable."""
    message = struct.pack("!BBHI", kind, 0, 0, number) + bytes(20)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def frame4(payload: bytes, destination: str, **fields: Any) -> bytes:
    return ether(PEER, P3, ipv4(LEFT.host4, destination, payload, **fields), kind=0x0800)
