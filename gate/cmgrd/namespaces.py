# SPDX-License-Identifier: BSD-3-Clause
"""The edge to network namespaces: which have a name, how they're numbered, how to open sockets in them.

A namespace's number is the id that the kernel keeps for it in cmgrd's own namespace (RTM_GETNSID), and one; where
it has none yet it's given one, as `ip netns set NAME auto` does. So numbers are the kernel's state, and outlive cmgrd.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _sluice import lib
from sluice.cmgrd import wire
from sluice.cmgrd.netlink import NetlinkError, answers

FOLDER = Path("/run/netns")
OWN = "/proc/thread-self/ns/net"
SO_NETNS_COOKIE = 71
RTM_NEWNSID, RTM_GETNSID = 88, 90
NETNSA_NSID, NETNSA_FD = 1, 3
NO_ID = -1
NLM_F_ACK = 0x4
NUMBERS: int = lib.FPC_VRF_MAX
ID = struct.Struct("=HHi")
HEAD = bytes(4)  # struct rtgenmsg


class NamespaceError(Exception):
    """A namespace can't be followed: one line."""


class Namespace:
    """A network namespace; kept alive until it's closed. `identity` tells it from others that live."""

    def __init__(self, name: str, path: Path | str) -> None:
        """OSError if there's none."""
        self.name = name
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.identity = identity(self.descriptor)
            self.home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(self.descriptor)
            raise

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self.home)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets opened meanwhile belong to it, and /proc/sys/net is its own. Nothing may be awaited in here: it's the
        thread that is there. OSError if that isn't allowed, or it's no network namespace.
        """
        os.setns(self.descriptor, os.CLONE_NEWNET)
        try:
            yield
        finally:
            try:
                os.setns(self.home, os.CLONE_NEWNET)
            except OSError:
                os.abort()  # whatever it did next would be about another namespace

    def cookie(self) -> int:
        """Unique since boot; 0: this kernel has none."""
        with self.entered(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
            try:
                value = any_socket.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
            except OSError:
                return 0
            return int.from_bytes(value, "little")

    def number(self) -> int:
        """Its VRF's; asked in cmgrd's own namespace. Raises NamespaceError, NetlinkError."""
        found = nsid(self.descriptor)
        if found == NO_ID:
            assign(self.descriptor)
            found = nsid(self.descriptor)
        if not 0 <= found < NUMBERS - 1:
            raise NamespaceError(
                f"its id is {found}, those of VRFs are 0 to {NUMBERS - 2} (`ip netns set` changes it)"
            )
        return found + 1


def identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def names() -> list[str]:
    """Of all namespaces that have one."""
    try:
        return sorted(path.name for path in FOLDER.iterdir())
    except FileNotFoundError:
        return []


def ask(kind: int, flags: int, attributes: bytes) -> list[tuple[int, bytes]]:
    """Ask the kernel about ids; (type, payload) of each answer. Raises NetlinkError."""
    what = "a namespace's id"
    length = wire.NLMSG.size + len(HEAD) + len(attributes)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as opened:
        try:
            opened.send(wire.NLMSG.pack(length, kind, flags, 1, 0) + HEAD + attributes)
            data = opened.recv(4096)
        except OSError as error:
            raise NetlinkError(error.errno or 0, what) from error
    return [(answer, data[at:end]) for answer, _, at, end, _ in answers(data, what)]


def nsid(descriptor: int) -> int:
    for kind, payload in ask(RTM_GETNSID, wire.NLM_F_REQUEST, ID.pack(8, NETNSA_FD, descriptor)):
        found = wire.attributes(payload, len(HEAD), len(payload))
        if kind == RTM_NEWNSID and NETNSA_NSID in found:
            return wire.signed(found[NETNSA_NSID])
    return NO_ID


def assign(descriptor: int) -> None:
    """Let the kernel choose an id; nothing if it has one by now."""
    wanted = ID.pack(8, NETNSA_NSID, NO_ID) + ID.pack(8, NETNSA_FD, descriptor)
    try:
        ask(RTM_NEWNSID, wire.NLM_F_REQUEST | NLM_F_ACK, wanted)
    except NetlinkError as error:
        if error.code != 17:  # EEXIST
            raise


def watch() -> int:
    """A descriptor that is readable when a name came or went. OSError."""
    descriptor: int = lib.folder_watch(str(FOLDER).encode())
    if descriptor == -2:  # ENOENT: nobody has made a namespace yet
        descriptor = lib.folder_watch(str(FOLDER.parent).encode())
    if descriptor < 0:
        raise OSError(-descriptor, os.strerror(-descriptor), str(FOLDER))
    return descriptor
