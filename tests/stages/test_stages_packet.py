# SPDX-License-Identifier: BSD-3-Clause
"""Stages and hooks: what joins a packet's way gets the right packets, in the right order, and nothing is lost."""

import re
from pathlib import Path

import pytest
from _sluice import ffi, lib
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet.harness import TUNNEL_PORT, HarnessDiedError, Port, Router, Verdict
from tests.stages.conftest import PROBE, Net, probed

pytestmark = pytest.mark.packet

TABLE = Path(__file__).resolve().parents[2] / "gate/fastpath/stages.def"
HOST, LAN = "02:00:00:00:aa:10", "02:00:00:00:00:01"
PEER, WAN = "02:00:00:00:bb:10", "02:00:00:00:00:02"


def udp(*, size: int = 64, sport: int = 1024, dport: int = 2048, **fields: object) -> Packet:
    fields = {"src": "192.0.2.10", "dst": "198.51.100.10", **fields}
    return IP(**fields) / UDP(sport=sport, dport=dport) / Raw(b"x" * (size - 28))


def udp6(**fields: object) -> Packet:
    fields = {"src": "2001:db8:1::10", "dst": "2001:db8:2::10", **fields}
    return IPv6(**fields) / UDP(sport=1024, dport=2048) / Raw(b"x" * 16)


def frame(packet: Packet) -> bytes:
    return bytes(Ether(src=HOST, dst=LAN) / packet)


def forwarded(packet: Packet) -> bytes:
    packet = packet.copy()
    if IPv6 in packet:
        packet.hlim -= 1
    else:
        packet.ttl -= 1
    return bytes(Ether(src=WAN, dst=PEER) / packet)


def sent(port: Port, packet: Packet, counters: str) -> Verdict:
    """A forwarded packet, and what counted it on its way."""
    return Verdict("sent", port.name, counters, forwarded(packet))


def stages() -> list[str]:
    """All stages as the table says, in its order."""
    names = []
    for kind, name in re.findall(r"^(STAGE|IP_STAGE)\(\w+, (\w+),", TABLE.read_text(), re.M):
        names += (
            [name.lower()] if kind == "STAGE" else [f"ip_{name}".lower(), f"ip6_{name}".lower()]
        )
    return names


def passed(net: Net, packet: Packet) -> list[str]:
    """The stages that a packet passes, as a trace says."""
    net.router.trace(1)
    net.router.burst(net.lan.number, [frame(packet)])
    (records,) = net.router.traced()
    net.router.trace(0)
    rows = net.router.rows("stage", "stage_row")
    return [ffi.string(rows[r.row].name).decode() for r in records if r.step == lib.TRACE_STAGE]


def test_the_table_stands_in_shared_memory_in_order(router: Router) -> None:
    rows = router.rows("stage", "stage_row")
    found = [ffi.string(rows[i].name).decode() for i in range(lib.STAGES_MAX)]
    assert [name for name in found if name] == stages()
    assert all(ffi.string(rows[i].text) for i in range(len(stages())))


IP_WAY = [
    "ingress_qos", "l2_vlan", "l2_master",
    "ip_reassembly", "ip_filter", "ip_conditioning", "ip_nat", "ip_policy",
    "ip_ipsec_check", "ip_forward_filter", "ip_mss", "ip_out_filter", "ip_out_nat", "ip_ipsec",
    "egress_qos",
]  # fmt: skip


def test_a_packet_passes_its_stages_in_the_order_of_the_table(net: Net) -> None:
    """Eight at a time, the last first: registration doesn't decide."""
    for family, packet in (("ip_", udp()), ("ip6_", udp6())):
        way = [name.replace("ip_", family) if name.startswith("ip_") else name for name in IP_WAY]
        assert way == [n for n in stages() if n in way]
        for some in (way[:8], way[8:]):
            arguments = [f"at={name}:pass" for name in reversed(some)]
            with probed(*arguments) as other:
                counters = " and ".join(sorted(f"probe_at_{name}" for name in some))
                assert other.lan.receives(frame(packet)) == sent(other.wan, packet, counters)
                assert passed(other, packet) == some


def test_the_other_family_passes_by(net: Net) -> None:
    with probed("at=ip_filter:drop", "at=ip_out_nat:drop") as other:
        assert other.lan.receives(frame(udp6())) == sent(other.wan, udp6(), "")


@pytest.mark.parametrize("stage", ["ingress_qos", "ip_nat", "ip_out_nat", "egress_qos"])
def test_a_stage_may_drop_and_take(stage: str) -> None:
    with probed(f"at={stage}:drop") as net:
        verdict = net.lan.receives(frame(udp()))
        assert verdict.kind == "dropped"
        assert verdict.reason == f"probe_at_{stage} and probe_dropped"
    with probed(f"at={stage}:take") as net:
        assert net.lan.receives(frame(udp())).reason == f"probe_at_{stage}"


@pytest.mark.parametrize("stage", ["l2_master", "ip_filter", "ip_mss"])
def test_linux_gets_a_stages_packet_as_it_came_in(stage: str) -> None:
    packet = frame(udp())
    with probed(f"at={stage}:linux") as net:
        verdict = net.lan.receives(packet)
        assert verdict == net.lan.to_linux(f"probe_at_{stage} and probe_to_linux", packet)


@pytest.mark.parametrize("stage", [s for s in IP_WAY if s not in ("l2_vlan", "ip_ipsec_check")])
def test_what_a_stage_keeps_goes_on_behind_it_later(stage: str) -> None:
    """It doesn't meet the stage again; the interface counts it once."""
    with probed(f"at={stage}:hold") as net:
        packets = [udp(id=i) for i in range(3)]
        assert net.router.burst(net.lan.number, [frame(p) for p in packets]) == []
        out = net.router.poll()
        assert [o.frame for o in out] == [forwarded(p) for p in packets]
        assert net.router.counters()[f"probe_at_{stage}"] == 3
        assert net.router.poll() == []
        counters = net.router.interface_counters(net.lan)
        assert (counters["rx_packets"], counters["exceptions"], counters["rx_dropped"]) == (3, 0, 0)
        assert net.router.interface_counters(net.wan)["tx_packets"] == 3


def test_what_was_kept_and_then_went_to_linux_is_counted_as_that() -> None:
    with probed("at=ip_filter:hold") as net:
        unknown = frame(udp(dst="203.0.113.1"))
        assert net.router.burst(net.lan.number, [unknown]) == []
        (out,) = net.router.poll()
        assert (out.kind, out.frame) == ("linux", unknown)
        counters = net.router.interface_counters(net.lan)
        assert (counters["rx_packets"], counters["exceptions"]) == (0, 1)


def test_a_stage_is_switched_on_for_an_interface_or_a_vrf() -> None:
    with probed("at=ip_filter:pass?", "at=ip_mss:pass?", "at=egress_qos:pass?") as net:

        def met() -> str:
            return net.lan.receives(frame(udp())).reason

        assert met() == ""
        net.router.enable_stage("ip_filter", net.lan)
        assert met() == "probe_at_ip_filter"
        net.router.enable_stage("ip_filter", net.wan)
        net.router.enable_stage("ip_filter", net.lan, on=False)
        assert met() == ""
        # The legs OUT and TX go by the interface a packet leaves by.
        net.router.enable_stage("ip_mss", net.wan)
        assert met() == "probe_at_ip_mss"
        net.router.enable_stage("egress_qos", net.wan)
        assert met() == "probe_at_egress_qos and probe_at_ip_mss"
        net.router.enable_stage("ip_mss", net.wan, on=False)
        net.router.enable_stage("egress_qos", net.wan, on=False)
        assert met() == ""
        net.router.enable_stage("ip_mss")
        net.router.enable_stage("ip_filter")
        assert met() == "probe_at_ip_filter and probe_at_ip_mss"
        net.router.enable_stage("ip_mss", on=False)
        net.router.enable_stage("ip_filter", on=False)
        assert met() == ""


def test_an_interface_that_comes_again_has_no_stages() -> None:
    with probed("at=ip_mss:pass?") as net:
        net.router.enable_stage("ip_mss", net.wan)
        # Another flag leaves them.
        net.wan.change(mtu=1400)
        assert net.lan.receives(frame(udp())).reason == "probe_at_ip_mss"
        net.wan.delete()
        net.router.set("iface", net.wan.object())
        assert net.lan.receives(frame(udp())).reason == ""


def test_linux_gets_what_a_missing_stage_should_have_had(net: Net) -> None:
    """A filter that is configured and not there must not let packets pass."""
    for stage in ("ingress_qos", "ip_filter", "ip6_filter", "ip_out_filter", "ip6_out_nat"):
        link = net.wan if stage in ("ip_out_filter", "ip6_out_nat") else net.lan
        net.router.enable_stage(stage, link)
        packet = frame(udp6() if stage.startswith("ip6") else udp())
        assert net.lan.receives(packet) == net.lan.to_linux("no_stage", packet)
        net.router.enable_stage(stage, link, on=False)


def test_policy_may_choose_the_next_hop() -> None:
    with probed("at=ip_policy:steer", "at=ip_mss:steer?") as net:
        net.router.neighbour("198.51.100.20", net.wan, "02:00:00:00:bb:20")
        net.router.route("203.0.113.0/24", via="198.51.100.20", dev=net.wan)
        rows = net.router.rows("nexthop", "nexthop_row")
        row = next(i for i in range(1, 100) if bytes(rows[i].gateway)[:4] == b"\xc6\x33\x64\x14")
        packet = udp(sport=row)
        for _ in range(2):
            (out,) = net.router.burst(net.lan.number, [frame(packet)])
            assert out.frame[:6] == bytes.fromhex("02000000bb20")
            # And so may a stage of the way out.
            net.router.enable_stage("ip_mss", net.wan)


def test_without_a_next_hop_it_is_looked_up_again() -> None:
    with probed("at=ip_mss:hide") as net:
        assert net.lan.receives(frame(udp())) == sent(net.wan, udp(), "probe_at_ip_mss")


def test_packets_leave_by_the_output_function_of_the_interfaces_type(net: Net) -> None:
    """Such interfaces may need no neighbour: 0. The short way goes on beside it."""
    tunnel = net.router.link("tun0", ifindex=30, mtu=1400)
    net.router.route("203.0.113.0/24", dev=tunnel)
    net.router.route("2001:db8:3::/64", dev=tunnel)
    packets = [udp(dst="203.0.113.1", id=i) if i % 2 else udp(id=i) for i in range(10)]
    for packet in packets[1::2]:
        before = frame(packet)
        assert net.lan.receives(before) == net.lan.to_linux("ip_output_linux", before)
    net.router.make_tunnel(tunnel)
    out = net.router.burst(net.lan.number, [frame(p) for p in packets])
    assert [o.frame for o in out if o.port == net.wan.number] == [
        forwarded(p) for p in packets[::2]
    ]
    assert [o.frame for o in out if o.port == TUNNEL_PORT] == [
        bytes(4) + forwarded(p)[14:] for p in packets[1::2]
    ]
    (out6,) = net.router.burst(net.lan.number, [frame(udp6(dst="2001:db8:3::1"))])
    assert out6.frame == bytes(4) + forwarded(udp6(dst="2001:db8:3::1"))[14:]
    large = frame(udp(dst="203.0.113.1", size=1401, flags="DF"))
    assert net.lan.receives(large) == net.lan.to_linux("ip_mtu", large)


@pytest.mark.parametrize("stage", ["ip_nat", "ip_mss"])
def test_own_packets_keep_their_ttl_and_are_dropped_where_others_go_to_linux(stage: str) -> None:
    with probed(f"at={stage}:own") as net:
        verdict = net.lan.receives(frame(udp(ttl=9)))
        assert verdict.frame == forwarded(udp(ttl=10))
        net.router.route("203.0.113.0/24", via="198.51.100.99", dev=net.wan)
        verdict = net.lan.receives(frame(udp(dst="203.0.113.1")))
        assert verdict.kind == "dropped"
        assert set(verdict.reason.split(" and ")) == {"own", f"probe_at_{stage}"}


def test_only_what_is_too_large_meets_fragmentation() -> None:
    with probed("at=ip_fragmentation:drop?", "at=ip6_fragmentation:pass?") as net:
        net.wan.change(mtu=1400)
        assert net.lan.receives(frame(udp(size=1400))).reason == ""
        # The built-in one comes first and leaves what it mustn't fragment.
        verdict = net.lan.receives(frame(udp(size=1401, flags="DF")))
        assert verdict.reason == "probe_at_ip_fragmentation and probe_dropped"
        # What it leaves is Linux's.
        large = udp6()
        large[Raw].load = b"x" * 1400
        verdict = net.lan.receives(frame(large))
        assert verdict == net.lan.to_linux("ip6_mtu and probe_at_ip6_fragmentation", frame(large))
        # A neighbour that Linux must resolve comes first.
        unknown = frame(udp(size=1401, dst="198.51.100.77"))
        assert net.lan.receives(unknown) == net.lan.to_linux("ip_neighbour", unknown)


def test_a_protocol_or_port_of_this_host_is_taken() -> None:
    with probed("udp=4789:drop", "ip=47:pass", "ip=253:take") as net:
        to_us = udp(dst="192.0.2.1", dport=4789)
        assert net.lan.receives(frame(to_us)).reason == "probe_dropped and probe_udp_4789"
        to_us6 = IPv6(src="2001:db8:1::10", dst="2001:db8:1::1") / UDP(dport=4789) / Raw(b"x")
        assert net.lan.receives(frame(to_us6)).reason == "probe_dropped and probe_udp_4789"
        taken = frame(IP(src="192.0.2.10", dst="192.0.2.1", proto=253) / Raw(b"x" * 40))
        assert net.lan.receives(taken).reason == "probe_ip_253"
        # What's left is Linux's, as all others and all fragments.
        left = frame(IP(src="192.0.2.10", dst="192.0.2.1", proto=47) / Raw(b"x" * 40))
        assert net.lan.receives(left) == net.lan.to_linux("ip_local and probe_ip_47", left)
        for other in (
            udp(dst="192.0.2.1", dport=4788),
            udp(dst="192.0.2.1", dport=4789, flags="MF"),
            udp(dst="192.0.2.1", dport=4789, frag=1),
            IP(src="192.0.2.10", dst="192.0.2.1", proto=253) / Raw(b"x" * 7),
        ):
            assert net.lan.receives(frame(other)) == net.lan.to_linux("ip_local", frame(other))
        # In transit it's nobody's.
        assert net.lan.receives(frame(udp(dport=4789))) == sent(net.wan, udp(dport=4789), "")


def test_the_stages_for_this_host_see_only_what_somebody_takes() -> None:
    with probed("udp=4789:take", "at=ip_local_filter:linux") as net:
        to_us = frame(udp(dst="192.0.2.1", dport=4789))
        verdict = net.lan.receives(to_us)
        assert verdict == net.lan.to_linux("probe_at_ip_local_filter and probe_to_linux", to_us)


def tunnelled(packet: Packet, depth: int = 1) -> Packet:
    """In IPv4 headers for this host, protocol 4 each."""
    for _ in range(depth):
        packet = IP(src="192.0.2.10", dst="192.0.2.1", proto=4) / packet
    return packet


def test_a_decapsulated_packet_starts_again() -> None:
    with probed("ip=4:decap") as net:
        assert net.lan.receives(frame(tunnelled(udp()))) == sent(net.wan, udp(), "probe_ip_4")
        verdict = net.lan.receives(frame(tunnelled(udp(), 4)))
        assert verdict == sent(net.wan, udp(), "4x probe_ip_4")


def test_linux_gets_a_decapsulated_packet_as_it_came_in() -> None:
    with probed("ip=4:decap") as net:
        for depth in (1, 2, 4):
            packet = frame(tunnelled(udp(dst="203.0.113.1"), depth))
            verdict = net.lan.receives(packet)
            times = f"{depth}x " if depth > 1 else ""
            assert verdict == net.lan.to_linux(f"{times}probe_ip_4 and ip_no_route", packet) or (
                verdict == net.lan.to_linux(f"ip_no_route and {times}probe_ip_4", packet)
            )
        # More than there's room to remember: nothing more is taken off.
        packet = frame(tunnelled(udp(), 6))
        verdict = net.lan.receives(packet)
        assert (verdict.kind, verdict.frame) == ("linux", packet)
        assert "ip_local" in verdict.reason


def test_a_packet_that_leads_to_itself_comes_to_an_end() -> None:
    with probed("udp=7:send") as net:
        verdict = net.lan.receives(frame(udp(dst="192.0.2.1", dport=7)))
        assert verdict.kind == "dropped"
        assert set(verdict.reason.split(" and ")) == {"9x probe_udp_7", "too_deep"}


def test_each_hook_sees_its_packets_once_and_passes_them_on() -> None:
    with probed("hooks") as net:
        way = ["ether_input", "ether_output", "if_output"]
        v4 = " and ".join(sorted(f"probe_{h}" for h in [*way, "ip_input", "ip_inetif_send"]))
        v6 = " and ".join(sorted(f"probe_{h}" for h in [*way, "ip6_input", "ip6_inet6if_send"]))
        assert net.lan.receives(frame(udp())) == sent(net.wan, udp(), v4)
        assert net.lan.receives(frame(udp6())) == sent(net.wan, udp6(), v6)
        before = net.router.counters()
        out = net.router.burst(net.wan.number, [forwarded(udp())], from_linux=True)
        assert [(o.kind, o.port, o.frame) for o in out] == [("sent", 1, forwarded(udp()))]
        assert net.router.counters() - before == {"probe_process_linux_tx": 1}
        # Exceptions leave before the way out.
        packet = frame(udp(ttl=1))
        verdict = net.lan.receives(packet)
        assert verdict == net.lan.to_linux(
            "ip_ttl and probe_ether_input and probe_ip_input", packet
        )


def test_bursts_over_several_interfaces_keep_their_order() -> None:
    with probed("hooks", "at=ip_out_nat:pass") as net:
        dmz = net.router.port("dmz")
        net.router.address("203.0.113.1/24", dmz)
        net.router.neighbour("203.0.113.10", dmz, "02:00:00:00:cc:10")
        packets = [
            udp(id=i, dst="203.0.113.10" if i % 3 == 0 else "198.51.100.10") for i in range(32)
        ]
        out = net.router.burst(net.lan.number, [frame(p) for p in packets])
        for port in (net.wan, dmz):
            got = [IP(o.frame[14:]).id for o in out if o.port == port.number]
            assert got == [p.id for p in packets if (p.dst == "203.0.113.10") == (port is dmz)]
        assert net.router.interface_counters(dmz)["tx_packets"] == 11
        assert net.router.interface_counters(net.wan)["tx_packets"] == 21


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(HarnessDiedError, match="plugin probe: there's no such stage"):
        Router(settings=[f"FP_PLUGINS={PROBE},at=ip_nonsense:pass"])
