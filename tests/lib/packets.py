"""Packets for tests, made without scapy: quick, and nothing is filled in behind the test's back."""

import socket
import struct


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ether(source: str, destination: str, payload: bytes, *, kind: int) -> bytes:
    """An Ethernet frame, padded to the minimum."""
    frame = mac(destination) + mac(source) + struct.pack("!H", kind) + payload
    return frame.ljust(60, b"\0")


def ipv4(
    source: str,
    destination: str,
    payload: bytes,
    *,
    protocol: int = 17,
    ttl: int = 64,
    identification: int = 0,
    fragment: int = 0x4000,  # don't fragment
) -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45, 0, 20 + len(payload), identification, fragment, ttl, protocol, 0,
        socket.inet_aton(source), socket.inet_aton(destination),
    )  # fmt: skip
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(
    source: str, destination: str, payload: bytes, *, protocol: int = 17, hop_limit: int = 64
) -> bytes:
    return (
        struct.pack("!IHBB", 0x60000000, len(payload), protocol, hop_limit)
        + socket.inet_pton(socket.AF_INET6, source)
        + socket.inet_pton(socket.AF_INET6, destination)
        + payload
    )


def udp(source: str, destination: str, payload: bytes, *, ports: tuple[int, int]) -> bytes:
    """A UDP datagram with its checksum; the addresses tell the family."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", *ports, length, 0)
    if ":" in source:
        pseudo = socket.inet_pton(socket.AF_INET6, source)
        pseudo += socket.inet_pton(socket.AF_INET6, destination) + struct.pack("!II", length, 17)
    else:
        pseudo = socket.inet_aton(source) + socket.inet_aton(destination)
        pseudo += struct.pack("!HH", 17, length)
    total = checksum(pseudo + head + payload) or 0xFFFF
    return head[:6] + struct.pack("!H", total) + payload


def udp_frame(
    source: tuple[str, str],
    destination: tuple[str, str],
    payload: bytes,
    *,
    ports: tuple[int, int] = (40000, 9),
    ttl: int = 64,
) -> bytes:
    """A UDP frame between two (MAC, IP address)."""
    datagram = udp(source[1], destination[1], payload, ports=ports)
    if ":" in source[1]:
        packet = ipv6(source[1], destination[1], datagram, hop_limit=ttl)
        return ether(source[0], destination[0], packet, kind=0x86DD)
    return ether(
        source[0], destination[0], ipv4(source[1], destination[1], datagram, ttl=ttl), kind=0x0800
    )
