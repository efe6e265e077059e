# SPDX-License-Identifier: BSD-3-Clause
"""The kernel as appliers reach it: network namespaces, which are the VRFs, and Netlink in them."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from sluice.mgmt.error import ConfigError

MAIN = "main"
NAMESPACES = Path("/run/netns")
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ACK_TLVS = 1, 4, 0x200
NLMSGERR_ATTR_MSG = 1
HEADER = struct.Struct("=IHHII")
# Messages sent at once: the kernel answers while it's sent to, and the answers must fit the socket's buffer.
BATCH = 128

# The VRFs that the configuration has made or taken, for those who read state.
vrfs: set[str] = {MAIN}


@contextmanager
def entered(vrf: str) -> Iterator[None]:
    """Run in a VRF's namespace: sockets made there stay there. Nothing else may run meanwhile, so no await."""
    if vrf == MAIN:
        yield
        return
    try:
        there = os.open(NAMESPACES / vrf, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"the VRF {vrf} isn't there: {error.strerror}") from error
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.setns(there, os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here, os.CLONE_NEWNET)
    finally:
        os.close(here)
        os.close(there)


@contextmanager
def namespace(vrf: str) -> Iterator[int]:
    """A descriptor of a VRF's namespace, main's included."""
    with entered(vrf):
        there = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield there
    finally:
        os.close(there)


def exists(vrf: str) -> bool:
    return vrf == MAIN or (NAMESPACES / vrf).exists()


@contextmanager
def iproute(vrf: str) -> Iterator[IPRoute]:
    """pyroute2's socket in a VRF; the kernel's refusals become ConfigError."""
    with entered(vrf):
        ipr = IPRoute()
    try:
        yield ipr
    except NetlinkError as error:
        text = error.args[1] if len(error.args) > 1 else os.strerror(error.code)
        raise ConfigError(f"Linux refuses: {text}") from error
    finally:
        ipr.close()


def indexes(vrf: str) -> dict[str, int]:
    """Numbers of a VRF's interfaces by name."""
    with entered(vrf):
        return {name: number for number, name in socket.if_nameindex()}


class Batch:
    """Many Netlink requests in few system calls. The kernel says nothing of those that succeed."""

    def __init__(self, vrf: str) -> None:
        with entered(vrf):
            self.socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
            self.socket.bind((0, 0))
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        self.socket.settimeout(10)

    def close(self) -> None:
        self.socket.close()

    def run(self, requests: list[tuple[int, int, bytes]]) -> dict[int, tuple[int, str]]:
        """Send (type, flags, body) requests in order; returns (errno, text) by the index of each that failed."""
        failed: dict[int, tuple[int, str]] = {}
        for start in range(0, len(requests), BATCH):
            some = requests[start : start + BATCH]
            data = bytearray()
            last = start + len(some) - 1
            for index, (kind, flags, body) in enumerate(some, start):
                flags |= NLM_F_REQUEST | (NLM_F_ACK if index == last else 0)
                data += HEADER.pack(HEADER.size + len(body), kind, flags, index, 0)
                data += body + b"\0" * (-len(body) % 4)
            self.socket.send(data)
            self._answers(last, failed)
        return failed

    def _answers(self, last: int, failed: dict[int, tuple[int, str]]) -> None:
        while True:
            data = self.socket.recv(1 << 18)
            at = 0
            while at + HEADER.size <= len(data):
                length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
                if kind == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data, at + HEADER.size)
                    if code:
                        text = message_of(data[at : at + length], flags)
                        failed[sequence] = (-code, text or os.strerror(-code))
                    if sequence == last:
                        return
                at += (length + 3) & ~3


def message_of(data: bytes, flags: int) -> str:
    """The kernel's own words in an error (NETLINK_EXT_ACK)."""
    if not flags & NLM_F_ACK_TLVS:
        return ""
    at = HEADER.size + 4 + HEADER.size
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        if kind & 0x3FFF == NLMSGERR_ATTR_MSG:
            return data[at + 4 : at + length].rstrip(b"\0").decode(errors="replace")
        at += (length + 3) & ~3
    return ""


def attribute(kind: int, value: bytes) -> bytes:
    """A Netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


GONE = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}
