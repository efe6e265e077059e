# SPDX-License-Identifier: BSD-3-Clause
"""Which packets are protected on their way out, how, and what is Linux's."""

import socket
from typing import Any

import pytest
from _sluice import lib
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from tests.ipsec.ciphers import BY_NAME, CBC_SHA256, GCM, Suite
from tests.ipsec.objects import policy, sa, selector, template
from tests.ipsec.tunnels import (
    FAR,
    FAR_NET,
    HERE,
    HOST,
    NEAR_NET,
    OUT,
    OUT_SPI,
    PEER,
    coming,
    from_lan,
    from_wan,
    opened,
    plain,
    sent,
    seq_of,
    tunnel,
    whole,
)  # fmt: skip
from tests.packet.harness import RTN_BLACKHOLE, Port, Router

pytestmark = pytest.mark.packet

TUNNEL = template(HERE[4], PEER[4])


def state(router: Router, spi: int = OUT_SPI) -> Any:
    rows = router.rows("ipsec_sa", "ipsec_sa_row")
    row = next(i for i in range(1, 64) if rows[i].generation and rows[i].spi == socket.htonl(spi))
    return router.rows("ipsec_sa_state", "ipsec_sa_state_row")[row]


def protected(lan: Port, packet: Packet) -> bool:
    """Whether a packet leaves as ESP, else as it is."""
    got = sent(lan.receives(from_lan(packet)), "wan")
    return bool((got.proto if got.version == 4 else got.nh) == 50)


# --- policies ---


def test_what_no_policy_is_for_leaves_as_it_is(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.route("198.18.0.0/15", via=PEER[4], dev=wan)
    assert not protected(lan, whole(IP(src=HOST[4], dst="198.18.0.1") / UDP()))
    assert not protected(lan, plain(6))
    assert protected(lan, plain(4))


@pytest.mark.parametrize(
    ("sel", "matches"),
    [
        ({}, True),
        ({"proto": 17}, True),
        ({"proto": 6}, False),
        ({"proto": 17, "dport": 2000}, True),
        ({"proto": 17, "dport": 2001}, False),
        ({"proto": 17, "sport": 1000}, True),
        ({"proto": 17, "sport": 1000, "dport": 2001}, False),
        ({"src": "192.0.2.10/32", "dst": "203.0.113.5/32"}, True),
        ({"src": "192.0.2.11/32"}, False),
        ({"dst": "203.0.113.4/31"}, True),
        ({"dst": "203.0.113.6/31"}, False),
        ({"src": "0.0.0.0/0", "dst": "0.0.0.0/0"}, True),
        ({"src": "128.0.0.0/1", "dst": "192.0.0.0/3"}, True),
    ],
)
def test_selectors(
    router: Router, lan: Port, wan: Port, sel: dict[str, Any], matches: bool
) -> None:
    router.set("ipsec", sa(HERE[4], PEER[4], OUT_SPI))
    router.set(
        "ipsec", policy(OUT, selector(**{"src": NEAR_NET[4], "dst": FAR_NET[4], **sel}), TUNNEL)
    )
    assert protected(lan, plain()) is matches


def test_selectors_of_ipv6(router: Router, lan: Port, wan: Port) -> None:
    router.set("ipsec", sa(HERE[6], PEER[6], OUT_SPI))
    for number, (src, dst, matches) in enumerate(
        (
            ("2001:db8:1::10/128", "2001:db8:3::5/128", True),
            ("2001:db8:1::/48", "::/0", True),
            ("2001:db8:1::10/127", "2001:db8:3::4/126", True),
            ("2001:db8:1::/65", "2001:db8:3::8/125", False),
            ("::/0", "2001:db8:3:1::/64", False),
        )
    ):
        entry = policy(OUT, selector(src, dst), template(HERE[6], PEER[6]), number=number)
        router.set("ipsec", entry)
        assert protected(lan, plain(6)) is matches
        router.delete("ipsec", entry)


def test_the_lowest_priority_counts_whatever_the_prefixes(
    router: Router, lan: Port, wan: Port
) -> None:
    router.set("ipsec", sa(HERE[4], PEER[4], OUT_SPI))
    wide = policy(OUT, selector("192.0.0.0/8"), TUNNEL, number=1, priority=10)
    router.set("ipsec", wide)
    router.set(
        "ipsec", policy(OUT, selector(HOST[4] + "/32", FAR[4] + "/32"), number=2, priority=20)
    )
    assert protected(lan, plain())
    router.set("ipsec", policy(OUT, selector("192.0.0.0/8"), TUNNEL, number=1, priority=30))
    assert not protected(lan, plain())
    router.set("ipsec", policy(OUT, selector("192.0.0.0/8"), TUNNEL, number=1, priority=20))
    assert protected(lan, plain())  # the lower index
    router.set("ipsec", policy(OUT, selector("192.0.0.0/8"), number=0, priority=1, action=1))
    verdict = lan.receives(from_lan(plain()))
    assert (verdict.kind, verdict.reason) == ("dropped", "ipsec_out_pol_block")


def test_many_policies_each_with_its_sa(router: Router, lan: Port, wan: Port) -> None:
    for i in range(40):
        router.set("ipsec", sa(HERE[4], PEER[4], OUT_SPI + i, reqid=i + 1, **GCM.fields()))
        near, far = f"192.0.2.{i}/32", f"203.0.113.{i}/32"
        router.set(
            "ipsec",
            policy(OUT, selector(near, far), template(HERE[4], PEER[4], reqid=i + 1), number=i),
        )
    frames = [
        from_lan(whole(IP(src=f"192.0.2.{i}", dst=f"203.0.113.{i}") / UDP() / Raw(bytes((i,)))))
        for i in range(2, 40)
        for _ in range(1)
    ]
    out = router.burst(lan.number, frames)
    assert [o.kind for o in out] == ["sent"] * 38
    spis = [int.from_bytes(o.frame[34:38]) for o in out]
    assert spis == [OUT_SPI + i for i in range(2, 40)]
    for one in out:
        assert opened(GCM, IP(one.frame[14:]))[-1] == int.from_bytes(one.frame[34:38]) - OUT_SPI


def test_fragments_have_no_ports(router: Router, lan: Port, wan: Port) -> None:
    router.set("ipsec", sa(HERE[4], PEER[4], OUT_SPI))
    router.set(
        "ipsec", policy(OUT, selector(NEAR_NET[4], FAR_NET[4], proto=17, dport=2000), TUNNEL)
    )
    assert protected(lan, plain())
    assert not protected(lan, plain(flags="MF"))
    assert not protected(lan, plain(frag=3))


@pytest.mark.parametrize(
    "changed",
    [{"flags": lib.FPC_IPSEC_LINUX}, {"more": True}, {"proto": 47}],
)
def test_policies_of_linux(router: Router, lan: Port, wan: Port, changed: dict[str, Any]) -> None:
    router.set("ipsec", sa(HERE[4], PEER[4], OUT_SPI))
    templates = [TUNNEL, TUNNEL] if changed.pop("more", False) else [TUNNEL]
    sel = selector(NEAR_NET[4], FAR_NET[4])
    if changed.pop("proto", 0):
        sel = {**sel, "proto": 0, "dport_mask": 0xFFFF, "dport": socket.htons(2000)}
    router.set("ipsec", policy(OUT, sel, *templates, **changed))
    frame = from_lan(plain())
    assert lan.receives(frame) == lan.to_linux("ipsec_policy", frame)


def test_a_policy_without_an_sa_asks_linux(router: Router, lan: Port, wan: Port) -> None:
    router.set("ipsec", policy(OUT, selector(NEAR_NET[4], FAR_NET[4]), TUNNEL))
    frame = from_lan(plain())
    assert lan.receives(frame) == lan.to_linux("ipsec_acquire", frame)
    router.set("ipsec", sa(HERE[4], PEER[4], 1, sel=selector(NEAR_NET[4], "203.0.113.128/25")))
    assert lan.receives(frame) == lan.to_linux("ipsec_acquire", frame)
    router.set("ipsec", sa(HERE[4], PEER[4], 2, add_time=2))
    assert protected(lan, plain())
    for changed in ({"flags": lib.FPC_IPSEC_LINUX}, {"output_mark": 1}, {"mode": 4}):
        router.delete("ipsec", sa(HERE[4], PEER[4], 2))
        router.set("ipsec", sa(HERE[4], PEER[4], 2, add_time=2, **changed))
        assert lan.receives(frame) == lan.to_linux("ipsec_acquire", frame)


def test_a_newer_sa_takes_over_without_a_loss(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    assert opened(GCM, sent(lan.receives(from_lan(plain())), "wan"))
    router.set("ipsec", sa(HERE[4], PEER[4], OUT_SPI + 1, add_time=7, **CBC_SHA256.fields()))
    got = sent(lan.receives(from_lan(plain())), "wan")
    assert opened(CBC_SHA256, got) == bytes(plain(ttl=63))
    router.delete("ipsec", sa(HERE[4], PEER[4], OUT_SPI))
    assert protected(lan, plain())
    router.delete("ipsec", sa(HERE[4], PEER[4], OUT_SPI + 1))
    frame = from_lan(plain())
    assert lan.receives(frame) == lan.to_linux("ipsec_acquire", frame)


# --- the packet ---


def test_counters_and_sequence_numbers(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    for i in range(5):
        assert seq_of(sent(lan.receives(from_lan(plain(size=100))), "wan")) == i + 1
    out = router.burst(lan.number, [from_lan(plain(size=100))] * 5)
    assert [int.from_bytes(o.frame[38:42]) for o in out] == [6, 7, 8, 9, 10]
    assert (state(router).packets, state(router).bytes, state(router).sent) == (10, 10 * 128, 10)


def test_ivs_never_come_twice(router: Router, lan: Port, wan: Port) -> None:
    for suite, length in ((GCM, 8), (CBC_SHA256, 16), (BY_NAME["3des-cbc-sha1"], 8)):
        tunnel(router, suite, add_time=length)
        ivs = set()
        for _ in range(10):
            for one in router.burst(lan.number, [from_lan(plain())] * 64):
                ivs.add(one.frame[42 : 42 + length])
        assert len(ivs) == 640


@pytest.mark.parametrize(("esn", "first"), [(False, 0xFFFFFFFD), (True, 0xFFFFFFFD)])
def test_the_end_of_sequence_numbers(
    router: Router, lan: Port, wan: Port, esn: bool, first: int
) -> None:
    tunnel(router, oseq=first, flags=lib.FPC_IPSEC_ESN if esn else 0)
    for i in range(1, 5):
        verdict = lan.receives(from_lan(plain()))
        if first + i > 0xFFFFFFFF and not esn:
            assert (verdict.kind, verdict.reason) == ("dropped", "ipsec_out_state_seq_error")
            continue
        got = sent(verdict, "wan")
        assert seq_of(got) == first + i & 0xFFFFFFFF
        assert opened(GCM, got, esn=esn, high=first + i >> 32) == bytes(plain(ttl=63))


def test_sequence_numbers_go_on_behind_linuxs_and_never_back(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router, oseq=100)
    assert seq_of(sent(lan.receives(from_lan(plain())), "wan")) == 101
    tunnel(router, oseq=50)
    assert seq_of(sent(lan.receives(from_lan(plain())), "wan")) == 102
    tunnel(router, oseq=200)
    assert seq_of(sent(lan.receives(from_lan(plain())), "wan")) == 201


def test_beyond_its_hard_limit_an_sa_is_linuxs(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router, hard_bytes=128 * 2 + 1000, bytes=1000)
    assert protected(lan, plain(size=100))
    assert protected(lan, plain(size=100))
    frame = from_lan(plain(size=100))
    assert lan.receives(frame) == lan.to_linux("ipsec_expired", frame)


@pytest.mark.parametrize(
    ("inner", "flags", "outer"),
    [
        (0xB8, 0, 0xB8),
        (0xB9, 0, 0xB9),
        (0xBA, 0, 0xBA),
        (0xBB, 0, 0xBA),  # congestion within isn't congestion outside
        (0xBB, lib.FPC_IPSEC_NOECN, 0xB8),
        (0xB9, lib.FPC_IPSEC_DONT_ENCAP_DSCP, 0x01),
    ],
)
@pytest.mark.parametrize(("family", "around"), [(4, 4), (6, 4), (4, 6), (6, 6)])
def test_traffic_class_on_the_way_out(
    router: Router,
    lan: Port,
    wan: Port,
    inner: int,
    flags: int,
    outer: int,
    family: int,
    around: int,
) -> None:
    tunnel(router, inner=family, outer=around, flags=flags)
    field: dict[str, Any] = {"tos": inner} if family == 4 else {"tc": inner, "fl": 0x12345}
    got = sent(lan.receives(from_lan(plain(family, **field))), "wan")
    assert (got.tos if around == 4 else got.tc) == outer
    if around == 6:
        assert got.fl == (0x12345 if family == 6 else 0)
        assert got.hlim == 64
    assert opened(GCM, got) == bytes(plain(family, ttl=63, **field))


@pytest.mark.parametrize(("flags", "df"), [(0, True), (lib.FPC_IPSEC_NOPMTUDISC, False)])
def test_dont_fragment_is_copied(
    router: Router, lan: Port, wan: Port, flags: int, df: bool
) -> None:
    tunnel(router, flags=flags)
    got = sent(lan.receives(from_lan(plain(flags="DF"))), "wan")
    assert (got.flags.DF, got.ttl) == (df, 64)
    assert not sent(lan.receives(from_lan(plain())), "wan").flags.DF
    assert bytes(whole(IP(**{**got.fields, "chksum": None}) / got.payload)) == bytes(got)


def largest(suite: Suite, mtu: int = 1500, outer: int = 20) -> int:
    """As Linux computes it (esp_get_mtu)."""
    return (mtu - outer - 8 - suite.iv - suite.icv) // suite.align * suite.align - 2


@pytest.mark.parametrize(
    "suite", [GCM, CBC_SHA256, BY_NAME["null-sha256"]], ids=lambda suite: suite.name
)
def test_the_largest_packet_that_fits(router: Router, lan: Port, wan: Port, suite: Suite) -> None:
    tunnel(router, suite)
    size = largest(suite) - 28
    got = sent(lan.receives(from_lan(plain(size=size, flags="DF"))), "wan")
    assert 1500 - suite.align < got.len <= 1500
    frame = from_lan(plain(size=size + 1, flags="DF"))
    assert lan.receives(frame) == lan.to_linux("ipsec_mtu", frame)


def test_what_may_be_taken_apart_is_so_behind_the_cipher(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    packet = plain(size=1472)
    out = router.burst(lan.number, [from_lan(packet)])
    assert [o.kind for o in out] == ["sent", "sent"]
    first, second = (IP(o.frame[14:]) for o in out)
    assert (first.flags.MF, first.frag, second.flags.MF) == (True, 0, False)
    assert first.id == second.id
    joined = IP(src=first.src, dst=first.dst, proto=50) / Raw(
        bytes(first.payload) + bytes(second.payload)
    )
    assert opened(GCM, whole(joined)) == bytes(plain(size=1472, ttl=63))


def test_ipv6_that_is_too_large_is_linuxs(router: Router, lan: Port, wan: Port) -> None:
    for outer, header in ((4, 20), (6, 40)):
        tunnel(router, inner=6, outer=outer, add_time=outer)
        size = largest(GCM, outer=header) - 48
        assert protected(lan, plain(6, size=size)) is True
        frame = from_lan(plain(6, size=size + 1))
        assert lan.receives(frame) == lan.to_linux("ipsec_mtu", frame)


def test_the_mtu_of_the_route_to_the_peer_counts(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.route(PEER[4] + "/32", dev=wan, mtu=1000)
    size = largest(GCM, 1000) - 28
    assert protected(lan, plain(size=size, flags="DF"))
    assert lan.receives(from_lan(plain(size=size + 1, flags="DF"))).reason == "ipsec_mtu"


def test_without_a_way_or_a_neighbour_linux_gets_the_packet_as_it_came_in(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    frame = from_lan(plain())
    router.delete("neigh", router.neighbour(PEER[4], wan, "02:00:00:00:bb:02"))
    assert lan.receives(frame) == lan.to_linux("ipsec_neighbour", frame)
    router.neighbour(PEER[4], wan, "02:00:00:00:bb:02")
    router.route(PEER[4] + "/32", type=RTN_BLACKHOLE)
    assert lan.receives(frame) == lan.to_linux("ipsec_neighbour", frame)
    assert state(router).packets == 0


def test_esp_in_udp(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router, encap=2, encap_sport=socket.htons(4500), encap_dport=socket.htons(40123))
    got = sent(lan.receives(from_lan(plain())), "wan")
    assert (got.proto, got[UDP].sport, got[UDP].dport, got[UDP].chksum) == (17, 4500, 40123, 0)
    assert got[UDP].len == got.len - 20
    payload, following = GCM.unwrap(bytes(got)[28:])
    assert (payload, following) == (bytes(plain(ttl=63)), 4)


@pytest.mark.parametrize("suite", [GCM, CBC_SHA256], ids=lambda suite: suite.name)
@pytest.mark.parametrize("family", [4, 6])
def test_transport_mode(router: Router, lan: Port, wan: Port, suite: Suite, family: int) -> None:
    bits = 32 if family == 4 else 128
    mode = lib.FPC_IPSEC_TRANSPORT
    router.set("ipsec", sa(HOST[family], FAR[family], OUT_SPI, mode=mode, **suite.fields()))
    sel = selector(f"{HOST[family]}/{bits}", f"{FAR[family]}/{bits}")
    router.set("ipsec", policy(OUT, sel, template(HOST[family], FAR[family], mode=mode)))
    got = sent(lan.receives(from_lan(plain(family, size=61))), "wan")
    payload, following = suite.unwrap(bytes(got.payload))
    expected = plain(family, size=61, ttl=63)
    assert (payload, following) == (bytes(expected.payload), 17)
    if family == 4:
        assert (got.src, got.dst, got.ttl, got.proto) == (HOST[4], FAR[4], 63, 50)
        assert bytes(whole(IP(**{**got.fields, "chksum": None}) / got.payload)) == bytes(got)
    else:
        assert (got.src, got.dst, got.hlim, got.nh, got.plen) == (
            HOST[6],
            FAR[6],
            63,
            50,
            len(got.payload),
        )


def test_a_hub_sends_what_it_decrypted_on_to_another_spoke(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    router.route("198.18.1.0/24", via=PEER[4], dev=wan)
    router.set("ipsec", sa(HERE[4], PEER[4], 0x7000, reqid=9, **CBC_SHA256.fields()))
    spoke = selector(FAR_NET[4], "198.18.1.0/24")
    router.set("ipsec", policy(OUT, spoke, template(HERE[4], PEER[4], reqid=9), number=5))
    router.set("ipsec", policy(lib.FPC_IPSEC_FWD, spoke, template(PEER[4], HERE[4]), number=5))
    packet = whole(IP(src=FAR[4], dst="198.18.1.9") / TCP(dport=80) / Raw(bytes(100)))
    got = sent(wan.receives(from_wan(coming(GCM, packet))), "wan")
    packet.ttl, packet.chksum = 63, None
    assert opened(CBC_SHA256, got) == bytes(whole(packet))


def test_segments_and_ethernet_padding(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    frame = from_lan(plain(size=300))
    assert lan.receives(frame, segments=[100, len(frame) - 100]) == lan.to_linux(
        "ipsec_packet", frame
    )
    got = sent(lan.receives(from_lan(plain(size=0)) + bytes(18)), "wan")
    assert opened(GCM, got) == bytes(plain(size=0, ttl=63))


def test_packets_beside_those_that_are_protected_keep_their_way(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    router.route("198.18.0.0/15", via=PEER[4], dev=wan)
    other = whole(IP(src=HOST[4], dst="198.18.0.1") / UDP() / Raw(bytes(10)))
    out = router.burst(lan.number, [from_lan(plain()), from_lan(other)] * 20)
    protos = [o.frame[23] for o in out]
    assert (protos.count(50), protos.count(17)) == (20, 20)
    six = IPv6(src=HOST[6], dst=FAR[6]) / UDP()
    assert not protected(lan, whole(six))
