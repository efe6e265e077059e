# SPDX-License-Identifier: BSD-3-Clause
"""Two networks with a tunnel between them, of which the fast path is one end: its objects, its packets."""

from typing import Any

from _sluice import lib
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.ipsec.ciphers import GCM, Suite
from tests.ipsec.objects import policy, sa, selector, template
from tests.packet.harness import Router, Verdict

HERE = {4: "198.51.100.1", 6: "2001:db8:2::1"}
PEER = {4: "198.51.100.2", 6: "2001:db8:2::2"}
HOST = {4: "192.0.2.10", 6: "2001:db8:1::10"}
FAR = {4: "203.0.113.5", 6: "2001:db8:3::5"}
NEAR_NET = {4: "192.0.2.0/24", 6: "2001:db8:1::/64"}
FAR_NET = {4: "203.0.113.0/24", 6: "2001:db8:3::/64"}
OUT_SPI, IN_SPI = 0x1000, 0x2000
LAN_HOST, WAN_PEER = "02:00:00:00:aa:10", "02:00:00:00:bb:02"
LAN_MAC, WAN_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
IN, OUT, FWD = lib.FPC_IPSEC_IN, lib.FPC_IPSEC_OUT, lib.FPC_IPSEC_FWD


def whole(packet: Packet) -> Packet:
    """With lengths and checksums filled in."""
    return packet.__class__(bytes(packet))


def tunnel(
    router: Router, suite: Suite = GCM, *, inner: int = 4, outer: int = 4, **fields: Any
) -> None:
    """SAs and policies between the two networks."""
    here, peer = HERE[outer], PEER[outer]
    near, far = NEAR_NET[inner], FAR_NET[inner]
    fields = {**suite.fields(), **fields}
    router.set("ipsec", sa(here, peer, OUT_SPI, **fields))
    router.set("ipsec", sa(peer, here, IN_SPI, **fields))
    router.set("ipsec", policy(OUT, selector(near, far), template(here, peer)))
    for direction in (IN, FWD):
        router.set("ipsec", policy(direction, selector(far, near), template(peer, here)))


def plain(
    version: int = 4, size: int = 100, ttl: int = 64, back: bool = False, **ip: Any
) -> Packet:
    """A packet from network to network."""
    src, dst = (FAR, HOST) if back else (HOST, FAR)
    head = (
        IP(src=src[4], dst=dst[4], ttl=ttl, **ip)
        if version == 4
        else IPv6(src=src[6], dst=dst[6], hlim=ttl, **ip)
    )
    return whole(head / UDP(sport=1000, dport=2000) / Raw(bytes(i % 251 for i in range(size))))


def from_lan(packet: Packet) -> bytes:
    return bytes(Ether(src=LAN_HOST, dst=LAN_MAC) / packet)


def from_wan(packet: Packet) -> bytes:
    return bytes(Ether(src=WAN_PEER, dst=WAN_MAC) / packet)


def to_lan(packet: Packet) -> bytes:
    return bytes(Ether(src=LAN_MAC, dst=LAN_HOST) / packet)


def sent(verdict: Verdict, port: str) -> Packet:
    """The packet of a frame that must have been sent."""
    assert (verdict.kind, verdict.port) == ("sent", port), verdict
    return Ether(verdict.frame).payload


def coming(
    suite: Suite,
    packet: Packet,
    seq: int = 1,
    *,
    outer: int = 4,
    esn: bool = False,
    spi: int = IN_SPI,
    **ip: Any,
) -> Packet:
    """What the peer sends for a packet."""
    following = 4 if packet.version == 4 else 41
    esp = suite.wrap(spi, seq, bytes(packet), following, esn=esn)
    if outer == 4:
        return whole(IP(src=PEER[4], dst=HERE[4], proto=50, **ip) / Raw(esp))
    return whole(IPv6(src=PEER[6], dst=HERE[6], nh=50, **ip) / Raw(esp))


def opened(suite: Suite, got: Packet, *, esn: bool = False, high: int = 0) -> bytes:
    """What is in a packet of ours."""
    payload, following = suite.unwrap(bytes(got.payload), esn=esn, high=high)
    assert following == (4 if payload[0] >> 4 == 4 else 41)
    return payload


def seq_of(got: Packet) -> int:
    return int.from_bytes(bytes(got.payload)[4:8])
