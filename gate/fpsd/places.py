# SPDX-License-Identifier: BSD-3-Clause
"""The edge to the kernel: Netlink sockets in the namespaces of the VRFs, for requests with one answer."""

import errno
import logging
import os
import socket
import struct

from _sluice import ffi
from sluice.cmgrd.namespaces import FOLDER, Namespace
from sluice.shm import File

log = logging.getLogger("fpsd")

NLMSG = struct.Struct("=IHHII")
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
ROOM = 1 << 16
TIMEOUT = 5.0  # the kernel answers at once


class Asking:
    """A socket of one Netlink protocol in one namespace."""

    def __init__(self, protocol: int) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self.socket.settimeout(TIMEOUT)
        self.socket.bind((0, 0))
        self.seq = 0

    def ask(self, kind: int, flags: int, payload: bytes) -> bytes:
        """The answer's payload; b"" if it's but an acknowledgement. OSError with the kernel's errno."""
        self.seq += 1
        head = NLMSG.pack(
            NLMSG.size + len(payload), kind, NLM_F_REQUEST | flags, self.seq & 0xFFFFFFFF, 0
        )
        self.socket.send(head + payload)
        while True:
            data = self.socket.recv(ROOM)
            size, answer, _, seq, _ = NLMSG.unpack_from(data)
            if seq != self.seq & 0xFFFFFFFF:
                continue  # of a request that was given up
            body = data[NLMSG.size : size]
            if answer != NLMSG_ERROR:
                return body
            (code,) = struct.unpack_from("=i", body)
            if code:
                raise OSError(-code, os.strerror(-code))
            return b""


class Places:
    """A socket in each VRF, opened when it's first needed and as long as the VRF is the same namespace."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.sockets: dict[int, tuple[int, Asking]] = {}  # by VRF: namespace's cookie, socket
        self.troubles: set[int] = set()

    def asking(self, vrf: int, config: File) -> Asking | None:
        """None: it can't be reached, which has been logged."""
        row = config.structs("vrf")[vrf]
        netns = int(row.netns) if vrf else 0
        known = self.sockets.get(vrf)
        if known and known[0] == netns:
            return known[1]
        if known:
            known[1].socket.close()
            del self.sockets[vrf]
        try:
            opened = self.open(vrf, netns, config)
        except OSError as error:
            if vrf not in self.troubles:
                log.warning("VRF %d can't be reached: %s", vrf, error.strerror or error)
            self.troubles.add(vrf)
            return None
        self.troubles.discard(vrf)
        self.sockets[vrf] = (netns, opened)
        return opened

    def open(self, vrf: int, netns: int, config: File) -> Asking:
        if not vrf:
            return Asking(self.protocol)
        name = bytes(ffi.buffer(config.structs("vrf")[vrf].name)).partition(b"\0")[0].decode()
        for path in FOLDER.iterdir() if FOLDER.exists() else ():
            # A name of more than 31 bytes is cut in the table: the cookie decides.
            if not path.name.startswith(name):
                continue
            namespace = Namespace(path.name, path)
            try:
                if namespace.cookie() == netns:
                    with namespace.entered():
                        return Asking(self.protocol)
            finally:
                namespace.close()
        raise OSError(errno.ENOENT, f"no namespace '{name}'")

    def close(self) -> None:
        """End it."""
        for _, opened in self.sockets.values():
            opened.socket.close()
        self.sockets = {}
