# SPDX-License-Identifier: BSD-3-Clause
"""Captures and traces, packet by packet: who looks on sees what happens, and changes nothing."""

from typing import Any

import pytest
from _sluice import ffi, lib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.packet.harness import RTN_BLACKHOLE, Port, Router

pytestmark = pytest.mark.packet


def packet(lan: Port, dst: str = "198.51.100.10", *, ttl: int = 64, sport: int = 1000) -> bytes:
    """A host of the lan sends to `dst`."""
    ether = Ether(src="02:00:00:00:aa:10", dst=lan.mac.hex(":"))
    return bytes(ether / IP(src="192.0.2.10", dst=dst, ttl=ttl) / UDP(sport=sport, dport=53))


def forwarded(wan: Port, frame: bytes) -> bytes:
    """As it leaves to 198.51.100.10."""
    parsed = Ether(frame)
    parsed.src, parsed.dst = wan.mac.hex(":"), "02:00:00:00:bb:10"
    parsed[IP].ttl -= 1
    del parsed[IP].chksum
    return bytes(parsed)


def kinds(router: Router, port: Port, *frames: bytes, from_linux: bool = False) -> list[str]:
    return [out.kind for out in router.burst(port.number, frames, from_linux=from_linux)]


# --- captures


def test_a_capture_sees_received_packets_as_they_came_in(
    router: Router, lan: Port, wan: Port
) -> None:
    router.captures(lan)
    frame = packet(lan)
    out = router.burst(lan.number, [frame])
    assert [(o.kind, o.port) for o in out] == [("received copy", lan.number), ("sent", wan.number)]
    assert out[0].frame == frame
    assert out[1].frame == forwarded(wan, frame)


def test_a_capture_sees_sent_packets_as_they_leave(router: Router, lan: Port, wan: Port) -> None:
    router.captures(wan)
    frame = packet(lan)
    out = router.burst(lan.number, [frame])
    assert [(o.kind, o.port) for o in out] == [("sent copy", wan.number), ("sent", wan.number)]
    assert out[0].frame == out[1].frame == forwarded(wan, frame)


def test_exceptions_are_not_copied_for_linux_sees_them_anyhow(
    router: Router, lan: Port, wan: Port
) -> None:
    router.captures(lan, wan)
    assert kinds(router, lan, packet(lan, ttl=1)) == ["linux"]
    arp = bytes(Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="192.0.2.1"))
    assert kinds(router, lan, arp) == ["linux"]


def test_packets_that_the_fast_path_drops_are_seen_as_received(
    router: Router, lan: Port, wan: Port
) -> None:
    router.route("203.0.113.0/24", type=RTN_BLACKHOLE)
    router.captures(lan)
    assert kinds(router, lan, packet(lan, "203.0.113.1")) == ["received copy"]
    # An exception that Linux has no room for is seen by nobody else.
    router.linux_takes(0)
    assert kinds(router, lan, packet(lan, ttl=1)) == ["received copy"]


def test_packets_of_linux_are_not_shown_to_it_again(router: Router, lan: Port, wan: Port) -> None:
    router.captures(lan, wan)
    frame = packet(lan)
    assert kinds(router, wan, frame, from_linux=True) == ["sent"]
    assert kinds(router, lan, packet(lan)) == ["received copy", "sent copy", "sent"]


def test_other_ports_are_not_copied(router: Router, lan: Port, wan: Port) -> None:
    other = router.port("other")
    router.captures(other)
    assert kinds(router, lan, packet(lan), packet(lan)) == ["sent", "sent"]


def test_long_packets_in_many_buffers_are_copied_whole(
    router: Router, lan: Port, wan: Port
) -> None:
    lan.change(mtu=9000)
    wan.change(mtu=9000)
    parsed = Ether(packet(lan)) / (bytes(range(256)) * 20)
    del parsed[IP].len, parsed[IP].chksum, parsed[UDP].len, parsed[UDP].chksum
    frame = bytes(parsed)
    router.captures(lan, wan)
    out = router.burst(lan.number, [frame])
    assert [o.kind for o in out] == ["received copy", "sent copy", "sent"]
    assert out[0].frame == frame
    assert out[1].frame == out[2].frame == forwarded(wan, frame)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    choice=st.lists(
        st.sampled_from(["forward", "ttl", "blackhole", "other"]), min_size=1, max_size=64
    )
)
def test_nobody_changes_what_becomes_of_packets_by_looking_on(
    router: Router, lan: Port, wan: Port, choice: list[str]
) -> None:
    router.route("203.0.113.0/24", type=RTN_BLACKHOLE)
    make = {
        "forward": lambda: packet(lan),
        "ttl": lambda: packet(lan, ttl=1),
        "blackhole": lambda: packet(lan, "203.0.113.7"),
        "other": lambda: b"\x02\0\0\0\0\x77" + packet(lan)[6:],
    }
    frames = [make[one]() for one in choice]

    def observed() -> tuple[Any, ...]:
        reasons, ifaces = router.counters(), [router.interface_counters(p) for p in (lan, wan)]
        out = [o for o in router.burst(lan.number, frames) if "copy" not in o.kind]
        after = [router.interface_counters(p) for p in (lan, wan)]
        moved = [
            {key: now[key] - then[key] for key in now}
            for then, now in zip(ifaces, after, strict=True)
        ]
        # What goes to Linux and what is sent are two queues: the order in each is promised.
        return (
            [o for o in out if o.kind == "sent"],
            [o for o in out if o.kind == "linux"],
            router.counters() - reasons,
            moved,
        )

    router.captures()
    router.trace(0)
    alone = observed()
    router.captures(lan, wan)
    router.trace(100)
    assert observed() == alone
    router.captures()
    router.trace(0)


# --- traces


def steps(records: list[Any]) -> list[int]:
    return [int(record.step) for record in records]


def test_a_trace_tells_each_step_of_a_forwarded_packet(
    router: Router, lan: Port, wan: Port
) -> None:
    router.trace(1)
    frame = packet(lan)
    router.burst(lan.number, [frame])
    (records,) = router.traced()
    assert steps(records) == [
        lib.TRACE_RECEIVED,
        lib.TRACE_IFACE,
        lib.TRACE_NEXTHOP,
        lib.TRACE_NEIGH,
        lib.TRACE_SENT,
    ]
    received, iface, nexthop, neigh, sent = records
    assert received.port == lan.number
    assert (received.len, received.n_data) == (len(frame), len(frame))
    assert bytes(ffi.buffer(received.data))[: received.n_data] == frame
    assert iface.row == router.iface_row(lan.ifindex)
    assert router.rows("nexthop", "nexthop_row")[nexthop.row].type == lib.NEXTHOP_CONNECTED
    assert bytes(router.rows("neigh", "neigh_row")[neigh.row].l2)[:6] == bytes.fromhex(
        "02000000bb10"
    )
    assert sent.port == wan.number
    assert bytes(ffi.buffer(sent.data))[: sent.n_data] == forwarded(wan, frame)
    assert [r.tsc for r in records] == sorted(r.tsc for r in records)


def test_a_trace_tells_why_a_packet_went_to_linux_or_was_dropped(
    router: Router, lan: Port, wan: Port
) -> None:
    router.route("203.0.113.0/24", type=RTN_BLACKHOLE)
    router.trace(4)
    router.burst(lan.number, [packet(lan, ttl=1), packet(lan, "203.0.113.1")])
    router.linux_takes(0)
    router.burst(lan.number, [packet(lan, ttl=1)])
    router.ports_take(0)
    router.burst(lan.number, [packet(lan)])
    ttl, blackhole, ring, full = router.traced()
    names = router.reasons

    def ends(records: list[Any]) -> list[tuple[int, str]]:
        return [
            (int(r.step), names[r.reason])
            for r in records
            if r.step in (lib.TRACE_TO_LINUX, lib.TRACE_DROPPED)
        ]

    assert ends(ttl) == [(lib.TRACE_TO_LINUX, "ip_ttl")]
    assert ends(blackhole) == [(lib.TRACE_DROPPED, "ip_blackhole")]
    assert ends(ring) == [
        (lib.TRACE_TO_LINUX, "ip_ttl"),
        (lib.TRACE_DROPPED, "exception_ring"),
    ]
    assert ends(full) == [(lib.TRACE_DROPPED, "tx_full")]
    assert lib.TRACE_SENT in steps(full)


def test_a_trace_follows_only_what_its_filter_and_port_choose(
    router: Router, lan: Port, wan: Port
) -> None:
    tcp = bytes(
        Ether(src="02:00:00:00:aa:10", dst=lan.mac.hex(":"))
        / IP(src="192.0.2.10", dst="198.51.100.10")
        / TCP(sport=1000, dport=80)
    )
    mixed = [packet(lan, sport=port) for port in (7, 8, 9)] + [tcp]

    def followed(text: str, port: Port | None = None) -> int:
        router.trace(100, text, port)
        router.burst(lan.number, mixed)
        return len(router.traced())

    assert followed("") == 4
    assert followed("udp src port 8") == 1
    assert followed("tcp and dst host 198.51.100.10") == 1
    assert followed("src net 192.0.2.0/24 and not tcp") == 3
    assert followed("dst host 198.51.100.11") == 0
    assert followed("ip6") == 0
    assert followed("", lan) == 4
    assert followed("", wan) == 0


def test_a_trace_ends_after_as_many_packets_as_wanted(router: Router, lan: Port, wan: Port) -> None:
    router.trace(3)
    router.burst(lan.number, [packet(lan) for _ in range(10)])
    assert len(router.traced()) == 3


def test_packets_that_linux_sends_are_traced_too(router: Router, lan: Port, wan: Port) -> None:
    router.trace(1)
    frame = packet(lan)
    assert kinds(router, wan, frame, from_linux=True) == ["sent"]
    (records,) = router.traced()
    assert steps(records) == [lib.TRACE_FROM_LINUX, lib.TRACE_SENT]


def test_the_ring_is_written_round_and_round(router: Router, lan: Port, wan: Port) -> None:
    router.trace(1000)
    for _ in range(16):
        router.burst(lan.number, [packet(lan) for _ in range(64)])
    records = [record for group in router.traced() for record in group]
    serials = [int(r.serial) for r in records]
    assert len(serials) == lib.TRACE_ROWS, "the last rows, without a gap"
    assert serials == list(range(serials[0], serials[0] + lib.TRACE_ROWS))
