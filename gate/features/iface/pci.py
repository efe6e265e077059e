# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces by PCI address: cards by what their driver says (ETHTOOL_GDRVINFO, in any namespace), ports of the fast
path by what it says.
"""

import array
import fcntl
import re
import socket
import struct
from dataclasses import dataclass

from sluice.mgmt import kernel
from sluice.mgmt.host import INSTANCE

SIOCETHTOOL, ETHTOOL_GDRVINFO = 0x8946, 3
# struct ethtool_drvinfo: cmd, driver, version, fw_version, bus_info, and more.
DRVINFO = struct.Struct("=I32s32s32s32s32s12s5I")
ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@dataclass(frozen=True)
class Found:
    """Where an interface is now. `port`: it's a TAP of the fast path's."""

    vrf: str
    name: str
    index: int
    port: bool = False


def find(vrf: str, name: str, address: str | None) -> Found | None:
    """A physical interface, in its VRF already or still in main."""
    for place in dict.fromkeys((vrf, kernel.MAIN)):
        if not kernel.exists(place):
            continue
        there = kernel.indexes(place)
        if address is None:
            if name in there:
                return Found(place, name, there[name])
            continue
        ports = fast_path_ports()
        for one, index in there.items():
            if bus_of(place, one) == address:
                return Found(place, one, index)
            if ports.get(one) == address:
                return Found(place, one, index, port=True)
    return None


def address_of(vrf: str, name: str, ports: dict[str, str]) -> str:
    """An interface's PCI address; empty if it has none. `ports` as fast_path_ports says."""
    bus = bus_of(vrf, name)
    return bus if ADDRESS.fullmatch(bus) else ports.get(name, "")


def bus_of(vrf: str, name: str) -> str:
    """What the driver says of its place."""
    data = array.array("B", DRVINFO.pack(ETHTOOL_GDRVINFO, *[b""] * 6, *[0] * 5))
    request = struct.pack("16sP", name.encode(), data.buffer_info()[0])
    with kernel.entered(vrf), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, request)
        except OSError:
            return ""
    bus: bytes = DRVINFO.unpack(data.tobytes())[4]
    return bus.rstrip(b"\0").decode(errors="replace")


def fast_path_ports() -> dict[str, str]:
    """PCI addresses of the fast path's ports, by their TAPs' names."""
    try:
        import argparse

        from sluice.cli.error import CliError
        from sluice.cli.view import View
        from sluice.features.port.cli import ports
    except ImportError:
        return {}
    try:
        rows = ports(View(INSTANCE), argparse.Namespace())
    except CliError:
        return {}
    return {
        str(row["name"]): str(row["device"])
        for row in rows
        if ADDRESS.fullmatch(str(row["device"]))
    }
