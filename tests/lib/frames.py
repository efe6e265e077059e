"""Whole Ethernet frames on an interface: sent, heard, written down as pcap.

A socket is opened inside its namespace and stays there, so one process speaks and listens on all
sides.
"""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from lab.netns import entered

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
SO_SNDBUFFORCE = 32


class Wire:
    """One interface's raw end. Hears what arrives from the moment it's made, not what it or the
    kernel sends. On a port's TAP name a protocol: hearing all is a capture, which gets copies too.
    """

    def __init__(self, namespace: str, interface: str, protocol: int = ETH_P_ALL) -> None:
        with entered(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.socket.bind((interface, protocol))
        self.socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, frames: Iterable[bytes], *, per_second: float | None = None) -> int:
        """Send frames, evenly at a rate or as fast as the interface takes them; returns how many."""
        count = 0
        start = time.monotonic()
        for frame in frames:
            if per_second:
                ahead = count / per_second - (time.monotonic() - start)
                if ahead > 0.001:
                    time.sleep(ahead)
            while True:
                try:
                    self.socket.send(frame)
                    break
                except BlockingIOError:
                    select.select([], [self.socket], [], 1)
                except OSError as error:
                    if error.errno != 105:  # ENOBUFS: the device's queue is full
                        raise
                    time.sleep(0.0005)
            count += 1
        return count

    def hear(
        self,
        *,
        quiet: float = 0.2,
        timeout: float = 10,
        until: int | None = None,
        wanted: Callable[[bytes], bool] = lambda frame: True,
    ) -> list[bytes]:
        """The wanted frames heard since the last call: until none came for `quiet` seconds, or
        `until` of them did.
        """
        frames: list[bytes] = []
        end = time.monotonic() + timeout
        while until is None or len(frames) < until:
            left = min(quiet if until is None else timeout, end - time.monotonic())
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                break
            frame = self.socket.recv(65536)
            if wanted(frame):
                frames.append(frame)
        return frames

    def forget(self) -> None:
        """Drop what was heard so far."""
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(65536)


def write_pcap(path: Path, frames: Iterable[bytes]) -> None:
    """Write frames as a pcap file, one microsecond apart."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for index, frame in enumerate(frames):
            head = struct.pack("<IIII", index // 1000000, index % 1000000, len(frame), len(frame))
            file.write(head + frame)
