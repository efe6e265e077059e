"""Echo requests from a namespace. Unlike ping(8), which waits for two round trips only, it waits as
long as it's told: on a busy machine the fast path may be kept from its CPU for some hundred
milliseconds, and then nothing is lost.
"""

import os
import select
import socket
import struct
import time
from contextlib import suppress

from lab.netns import entered
from tests.lib.packets import checksum


def echo(
    namespace: str,
    address: str,
    *,
    count: int,
    interval: float = 0.01,
    wait: float = 3,
    size: int = 56,
) -> int:
    """Send `count` requests with `size` bytes of data; returns how many were answered at most
    `wait` seconds after.
    """
    v6 = ":" in address
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if v6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    with entered(namespace):
        raw = socket.socket(family, socket.SOCK_RAW, protocol)
    identification = int.from_bytes(os.urandom(2))
    answered: set[int] = set()
    with raw:
        raw.setblocking(False)
        sent, start = 0, time.monotonic()
        while len(answered) < count:
            now = time.monotonic()
            if sent < count and now >= start + sent * interval:
                # What can't even be sent (no route, neighbour known to be dead) isn't answered.
                with suppress(OSError):
                    raw.sendto(request(v6, identification, sent, size), (address, 0))
                sent += 1
                last = now
                continue
            until = start + sent * interval if sent < count else last + wait
            if until <= now:
                break
            if select.select([raw], [], [], until - now)[0]:
                number = answer(v6, raw.recv(65536), identification)
                if number is not None:
                    answered.add(number)
    return len(answered)


def request(v6: bool, identification: int, number: int, size: int) -> bytes:
    """An echo request; the kernel makes ICMPv6's checksum."""
    head = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, identification, number)
    data = bytes(index & 0xFF for index in range(size))
    return (
        head + data if v6 else head[:2] + struct.pack("!H", checksum(head + data)) + head[4:] + data
    )


def answer(v6: bool, packet: bytes, identification: int) -> int | None:
    """The number that an echo reply answers, None for anything else. IPv4 comes with its header."""
    message = packet if v6 else packet[(packet[0] & 15) * 4 :]
    if len(message) < 8 or message[0] != (129 if v6 else 0):
        return None
    _, _, _, theirs, number = struct.unpack_from("!BBHHH", message)
    return number if theirs == identification else None
