# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of frames before any protocol sees them, and what the interfaces count."""

import pytest
from _sluice import lib
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, LLC, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import Port, Refused, Router

pytestmark = pytest.mark.packet

HOST, LAN, WAN, PEER = (
    "02:00:00:00:aa:10",
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    "02:00:00:00:bb:10",
)


@pytest.fixture
def lan(router: Router) -> Port:
    port = router.port("lan")
    router.address("192.0.2.1/24", port)
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    port = router.port("wan")
    router.address("198.51.100.1/24", port)
    router.neighbour("198.51.100.10", port, PEER)
    return port


def udp(*, dst: str = LAN, ttl: int = 64, size: int = 64, layers: Packet | None = None) -> bytes:
    ether = Ether(src=HOST, dst=dst)
    packet = IP(src="192.0.2.10", dst="198.51.100.10", ttl=ttl) / UDP() / Raw(bytes(size - 28))
    return bytes(ether / layers / packet) if layers else bytes(ether / packet)


@pytest.mark.parametrize("length", [1, 6, 12, 13])
def test_a_frame_without_a_whole_header_is_dropped(lan: Port, wan: Port, length: int) -> None:
    bad = udp()[:length]
    assert lan.receives(bad) == lan.dropped("too_short", bad)


def test_a_frame_for_another_host_is_dropped(lan: Port, wan: Port) -> None:
    bad = udp(dst="02:00:00:00:00:99")
    assert lan.receives(bad) == lan.dropped("other_host", bad)


def test_a_frame_for_another_port_of_ours_is_dropped(lan: Port, wan: Port) -> None:
    bad = udp(dst=WAN)
    assert lan.receives(bad) == lan.dropped("other_host", bad)


@pytest.mark.parametrize(
    "dst", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "33:33:00:00:00:01", "01:80:c2:00:00:0e"]
)
def test_broadcast_and_multicast_go_to_linux(lan: Port, wan: Port, dst: str) -> None:
    bad = udp(dst=dst)
    assert lan.receives(bad) == lan.to_linux("multicast", bad)


def test_arp_goes_to_linux(lan: Port, wan: Port) -> None:
    reply = bytes(Ether(src=HOST, dst=LAN) / ARP(op=2, psrc="192.0.2.10", pdst="192.0.2.1"))
    assert lan.receives(reply) == lan.to_linux("ethertype", reply)


@pytest.mark.parametrize("ethertype", [0x0000, 0x0600, 0x0801, 0x8847, 0x888E, 0x88CC, 0xFFFF])
def test_an_ethertype_nobody_registered_goes_to_linux(lan: Port, wan: Port, ethertype: int) -> None:
    other = bytes(Ether(src=HOST, dst=LAN, type=ethertype) / Raw(bytes(50)))
    assert lan.receives(other) == lan.to_linux("ethertype", other)


def test_an_802_3_frame_goes_to_linux(lan: Port, wan: Port) -> None:
    llc = bytes(Dot3(src=HOST, dst=LAN) / LLC(dsap=0x42, ssap=0x42) / Raw(bytes(40)))
    assert lan.receives(llc) == lan.to_linux("ethertype", llc)


@pytest.mark.parametrize("tag", [Dot1Q(vlan=5), Dot1Q(vlan=0), Dot1AD(vlan=5) / Dot1Q(vlan=6)])
def test_a_vlan_tag_goes_to_linux(lan: Port, wan: Port, tag: Packet) -> None:
    tagged = udp(layers=tag)
    assert lan.receives(tagged) == lan.to_linux("iface_vlan", tagged)


def test_a_header_spread_over_buffers_goes_to_linux(lan: Port, wan: Port) -> None:
    whole = udp()
    verdict = lan.receives(whole, segments=[13, len(whole) - 13])
    assert verdict == lan.to_linux("iface_split_header", whole)
    verdict = lan.receives(whole, segments=[0, len(whole)])
    assert verdict == lan.to_linux("iface_split_header", whole)


def test_a_port_without_an_interface_gives_all_to_linux(
    router: Router, lan: Port, wan: Port
) -> None:
    lan.delete()
    for frame in (udp(), udp(dst=PEER), udp()[:5]):
        assert lan.receives(frame) == lan.to_linux("unknown_iface", frame)
    lan.change()
    assert lan.receives(udp()).kind == "sent"


def test_a_port_nobody_knows_gives_all_to_linux(router: Router, lan: Port, wan: Port) -> None:
    router.delete("port", router.port_object(lan))
    frame = udp()
    assert lan.receives(frame) == lan.to_linux("unknown_iface", frame)
    router.set("port", router.port_object(lan))
    assert lan.receives(frame).kind == "sent"


def test_port_and_interface_find_each_other_in_any_order(router: Router) -> None:
    frame = udp()
    port = Port(router, "lan", 10, 0, bytes.fromhex("020000000001"), 1500, lib.FPC_IFACE_UP, 0)
    router.ports[0] = port
    port.change()
    assert port.receives(frame).reason == "unknown_iface"
    router.set("port", router.port_object(port))
    assert port.receives(frame).reason == "ip_not_forwarding"
    router.delete("port", router.port_object(port))
    port.delete()
    router.set("port", router.port_object(port))
    assert port.receives(frame).reason == "unknown_iface"
    port.change()
    assert port.receives(frame).reason == "ip_not_forwarding"


def test_a_port_whose_tap_changes_follows_it(router: Router, lan: Port, wan: Port) -> None:
    other = router.link("lan2", ifindex=77, flags=lib.FPC_IFACE_UP, address=lan.mac)
    router.set("port", dict(router.port_object(lan), tap_ifindex=77))
    assert lan.receives(udp()).reason == "ip_not_forwarding"
    router.set("port", router.port_object(lan))
    assert lan.receives(udp()).kind == "sent"
    router.set("port", dict(router.port_object(lan), tap_ifindex=78))
    assert lan.receives(udp()).reason == "unknown_iface"
    assert other.ifindex == 77


def test_two_ports_never_stand_behind_one_tap(router: Router, lan: Port, wan: Port) -> None:
    with pytest.raises(Refused) as refused:
        router.set("port", dict(router.port_object(wan), port=5))
    assert refused.value.field == "tap_ifindex"
    assert lan.receives(udp()).kind == "sent"


def test_port_numbers_are_bounded(router: Router) -> None:
    with pytest.raises(Refused) as refused:
        router.set("port", {"port": 64, "tap_ifindex": 5})
    assert refused.value.field == "port"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (0, "iface_down"),
        (lib.FPC_IFACE_RUNNING, "iface_down"),
        (lib.FPC_IFACE_UP | lib.FPC_IFACE_SLAVE, "iface_slave"),
        (lib.FPC_IFACE_UP | lib.FPC_IFACE_FOREIGN, "iface_foreign"),
    ],
)
def test_an_interface_that_is_down_or_not_ours_gives_all_to_linux(
    lan: Port, wan: Port, flags: int, reason: str
) -> None:
    lan.change(flags=lan.flags & ~(lib.FPC_IFACE_UP | lib.FPC_IFACE_RUNNING) | flags)
    for frame in (udp(), udp(dst=PEER), udp()[:5]):
        assert lan.receives(frame) == lan.to_linux(reason, frame)


def test_a_changed_mac_is_the_one_we_listen_to_and_send_from(
    router: Router, lan: Port, wan: Port
) -> None:
    lan.change(mac=bytes.fromhex("02000000f001"))
    wan.change(mac=bytes.fromhex("02000000f002"))
    assert lan.receives(udp()) == lan.dropped("other_host", udp())
    verdict = lan.receives(udp(dst="02:00:00:00:f0:01"))
    assert verdict.kind == "sent"
    assert verdict.frame[:12] == bytes.fromhex("02000000bb10 02000000f002")


def test_an_interface_waits_for_its_vrf(router: Router, lan: Port, wan: Port) -> None:
    assert (
        router.set("iface", {"vrf": 7, "ifindex": 3, "name": b"far"})
        == "vrf: interface 3 waits for VRF 7"
    )
    assert router.iface_row(3, 7) == 0
    router.vrf(7)
    assert router.iface_row(3, 7) != 0


def test_interfaces_of_a_deleted_vrf_give_all_to_linux(
    router: Router, lan: Port, wan: Port
) -> None:
    router.delete("vrf", {"vrf": 0})
    assert lan.receives(udp()) == lan.to_linux("vrf_policy", udp())
    router.vrf(0)
    assert lan.receives(udp()).kind == "sent"


def test_vrf_numbers_are_bounded(router: Router) -> None:
    with pytest.raises(Refused) as refused:
        router.vrf(256)
    assert refused.value.field == "vrf"


def test_an_interface_number_of_zero_is_refused(router: Router) -> None:
    with pytest.raises(Refused) as refused:
        router.link("none", ifindex=0)
    assert refused.value.field == "ifindex"


def test_counters_tell_forwarded_dropped_and_given_to_linux_apart(
    router: Router, lan: Port, wan: Port
) -> None:
    before, out_before = router.interface_counters(lan), router.interface_counters(wan)
    frames = [udp(size=100)] * 3 + [udp(ttl=1)] * 2 + [udp(dst=PEER)]
    router.burst(lan.number, frames)
    after, out_after = router.interface_counters(lan), router.interface_counters(wan)
    moved = {name: after[name] - before[name] for name in after}
    out_moved = {name: out_after[name] - out_before[name] for name in after}
    zero = dict.fromkeys(after, 0)
    assert moved == zero | {
        "rx_packets": 4,
        "rx_bytes": 3 * 114 + len(udp()),
        "rx_dropped": 1,
        "exceptions": 2,
    }
    assert out_moved == zero | {"tx_packets": 3, "tx_bytes": 3 * 114}


def test_bytes_sent_don_t_count_what_was_cut_off(router: Router, lan: Port, wan: Port) -> None:
    before = router.interface_counters(wan)
    router.burst(lan.number, [udp(size=28) + bytes(18)])
    after = router.interface_counters(wan)
    assert after["tx_bytes"] - before["tx_bytes"] == 42


def test_exceptions_that_linux_has_no_room_for_are_dropped(
    router: Router, lan: Port, wan: Port
) -> None:
    router.linux_takes(1)
    frame = udp(ttl=1)
    assert lan.receives(frame) == lan.to_linux("ip_ttl", frame)
    # As it came in even now; only where it went differs.
    before = router.interface_counters(lan)
    assert lan.receives(frame) == lan.dropped("exception_ring", frame)
    assert router.interface_counters(lan)["rx_dropped"] == before["rx_dropped"] + 1


def test_what_a_full_port_doesn_t_take_is_dropped(router: Router, lan: Port, wan: Port) -> None:
    router.ports_take(2)
    before, counted = router.counters(), router.interface_counters(wan)
    out = router.burst(lan.number, [udp()] * 5)
    assert len(out) == 2
    assert router.counters() - before == {"tx_full": 3}
    assert router.interface_counters(wan)["tx_dropped"] == counted["tx_dropped"] + 3


def test_what_linux_sends_leaves_as_it_is(router: Router, lan: Port, wan: Port) -> None:
    before = router.interface_counters(lan), router.counters()
    frames = [
        udp(ttl=1),
        udp(dst="ff:ff:ff:ff:ff:ff"),
        bytes(Ether(dst=HOST, src=LAN) / ARP()),
        bytes(9),
    ]
    out = router.burst(lan.number, frames, from_linux=True)
    assert [(o.kind, o.port, o.frame) for o in out] == [("sent", 0, f) for f in frames]
    assert (router.interface_counters(lan), router.counters()) == before


def test_an_interface_table_that_is_full_refuses(router: Router) -> None:
    full = Router(settings=["FP_MAX_INTERFACES=16"])
    try:
        full.vrf(0)
        for i in range(1, 16):
            full.link(f"dummy{i}", ifindex=i)
        with pytest.raises(Refused) as refused:
            full.link("dummy16", ifindex=16)
        assert "FP_MAX_INTERFACES" in refused.value.text
        full.delete("iface", {"vrf": 0, "ifindex": 3})
        assert full.iface_row(16) != 0
    finally:
        full.close()
