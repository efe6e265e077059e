"""Traffic between the rig's hosts: through their own stacks, and raw frames that count themselves."""

import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Self

from lab.netns import entered
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, RIGHT, Rig

MAGIC = b"sluice-stream"


def sockets(namespace: str, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    """A socket that lives in a namespace."""
    with entered(namespace):
        made = socket.socket(family, kind)
    made.settimeout(20)
    return made


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp_transfer(rig: Rig, address: str, data: bytes) -> bytes:
    """Send from h1 to a TCP server at `address` on h2; returns what came back, which is what it
    got.
    """
    family = family_of(address)
    server = sockets(rig.h2.namespace, family, socket.SOCK_STREAM)
    client = sockets(rig.h1.namespace, family, socket.SOCK_STREAM)

    def echo() -> None:
        peer, _ = server.accept()
        with peer:
            peer.settimeout(20)
            while chunk := peer.recv(65536):
                peer.sendall(chunk)

    def send() -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    with server, client:
        server.bind((address, 0))
        server.listen(1)
        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        client.connect((address, server.getsockname()[1]))
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        back = bytearray()
        while chunk := client.recv(65536):
            back += chunk
        sender.join(20)
        thread.join(20)
    return bytes(back)


def udp_exchange(rig: Rig, address: str, count: int) -> int:
    """Datagrams from h1 to a UDP echo server at `address` on h2, one by one; returns how many came
    back.
    """
    family = family_of(address)
    server = sockets(rig.h2.namespace, family, socket.SOCK_DGRAM)
    client = sockets(rig.h1.namespace, family, socket.SOCK_DGRAM)
    got = 0
    with server, client:
        server.bind((address, 0))
        client.connect((address, server.getsockname()[1]))
        for number in range(count):
            payload = struct.pack("!I", number) * 50
            client.send(payload)
            data, peer = server.recvfrom(4096)
            server.sendto(data, peer)
            got += client.recv(4096) == payload
    return got


@dataclass
class Heard:
    """What came of a stream."""

    sent: int
    received: int
    twice: int
    reordered: int
    longest_gap: float  # seconds between two received, while sending

    @property
    def lost(self) -> int:
        return self.sent - self.received


class Stream:
    """UDP frames with numbers from h1 to h2 at a steady rate while something else happens. A
    context manager; `heard`     tells afterwards what arrived. Raw frames with known MAC addresses:
    hosts' neighbour tables don't matter.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        per_second: float = 500,
        source: str = LEFT.host4,
        destination: str = RIGHT.host4,
        port: int = 9,
    ) -> None:
        self.per_second = per_second
        self.source, self.destination, self.port = source, destination, port
        self.wire = Wire(rig.h1.namespace, "eth0")
        self.far = Wire(rig.h2.namespace, "eth0")
        self.ending = threading.Event()
        self.done = threading.Event()
        self.sent = 0
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.threads = [
            threading.Thread(target=self.send, daemon=True),
            threading.Thread(target=self.listen, daemon=True),
        ]

    def frame(self, number: int) -> bytes:
        return udp_frame(
            (LEFT.host_mac, self.source),
            (LEFT.port_mac, self.destination),
            MAGIC + struct.pack("!I", number),
            ports=(40000, self.port),
        )

    def send(self) -> None:
        start = time.monotonic()
        while not self.ending.is_set():
            due = int((time.monotonic() - start) * self.per_second) + 1
            while self.sent < due:
                self.wire.send([self.frame(self.sent)])
                self.sent += 1
            time.sleep(0.5 / self.per_second)

    def listen(self) -> None:
        while not self.done.is_set():
            for frame in self.far.hear(until=1, timeout=0.05):
                start = frame.find(MAGIC)
                # h2's own ICMP errors would come back, but they don't arrive here.
                if start > 0:
                    self.numbers.append(struct.unpack_from("!I", frame, start + len(MAGIC))[0])
                    self.times.append(time.monotonic())

    @property
    def received(self) -> int:
        return len(self.numbers)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.threads[0].join(5)
        # What's under way needs a moment, and on a busy machine more: until nothing more comes.
        end = time.monotonic() + 2
        while self.received < self.sent and time.monotonic() < end:
            count = self.received
            time.sleep(0.02)
            if self.received > count:
                end = time.monotonic() + 2
        self.done.set()
        self.threads[1].join(5)
        self.wire.socket.close()
        self.far.socket.close()

    @property
    def heard(self) -> Heard:
        gaps = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        order = sum(b < a for a, b in zip(self.numbers, self.numbers[1:], strict=False))
        return Heard(
            sent=self.sent,
            received=len(set(self.numbers)),
            twice=len(self.numbers) - len(set(self.numbers)),
            reordered=order,
            longest_gap=max(gaps, default=float("inf")),
        )
