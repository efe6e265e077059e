# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of packets that come in protected, or should have."""

from typing import Any

import pytest
from _sluice import lib
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from tests.ipsec.ciphers import BY_NAME, CBC_SHA256, GCM, Suite
from tests.ipsec.objects import policy, sa, selector, template
from tests.ipsec.tunnels import (
    FAR,
    FAR_NET,
    FWD,
    HERE,
    HOST,
    IN,
    IN_SPI,
    NEAR_NET,
    PEER,
    coming,
    from_wan,
    plain,
    sent,
    to_lan,
    tunnel,
    whole,
)  # fmt: skip
from tests.packet.harness import Port, Router, Verdict

pytestmark = pytest.mark.packet

SEQ_ERROR, PROTO_ERROR = "ipsec_in_state_seq_error", "ipsec_in_state_proto_error"
TMPL_MISMATCH, NO_POLS = "ipsec_in_tmpl_mismatch", "ipsec_in_no_pols"
INNER = plain(back=True)


def arrived(lan: Port, ttl: int = 63) -> Verdict:
    return lan.sent(to_lan(plain(back=True, ttl=ttl)))


def state(router: Router, spi: int = IN_SPI) -> Any:
    rows = router.rows("ipsec_sa", "ipsec_sa_row")
    row = next(
        i
        for i in range(1, 64)
        if rows[i].generation and rows[i].spi == int.from_bytes(spi.to_bytes(4), "little")
    )
    return router.rows("ipsec_sa_state", "ipsec_sa_state_row")[row]


class Sender:
    """The peer, seen from wan: sends sequence numbers."""

    def __init__(self, wan: Port, suite: Suite = GCM, *, esn: bool = False) -> None:
        self.wan, self.suite, self.esn = wan, suite, esn

    def __call__(self, *seqs: int) -> str:
        """What became of each: + went on, - was dropped as a replay."""
        found = ""
        for seq in seqs:
            verdict = self.wan.receives(from_wan(coming(self.suite, INNER, seq, esn=self.esn)))
            if verdict.kind == "sent":
                found += "+"
            else:
                assert (verdict.kind, verdict.reason) == ("dropped", SEQ_ERROR), verdict
                found += "-"
        return found


@pytest.mark.parametrize("suite", [GCM, CBC_SHA256], ids=lambda suite: suite.name)
def test_replays_are_dropped_and_counted(
    router: Router, lan: Port, wan: Port, suite: Suite
) -> None:
    tunnel(router, suite)
    send = Sender(wan, suite)
    assert send(1, 1, 3, 2, 2, 3, 4) == "+-++--+"
    assert (state(router).replay, state(router).replay_window, state(router).packets) == (3, 0, 4)


@pytest.mark.parametrize("window", [32, 33, 64, 128, 1000, 4096])
def test_the_window_ends_where_it_says(router: Router, lan: Port, wan: Port, window: int) -> None:
    tunnel(router, replay_window=window)
    send = Sender(wan)
    top = 3 * window + 7
    assert send(top, top - window, top - window + 1, top - window + 1, top - window + 2) == "+-+-+"
    assert state(router).replay_window == 1
    # A leap over the whole window, and over many.
    assert (
        send(top + window, top, top + 1, top + 100 * window, top + 99 * window, top + 2) == "+-++--"
    )


def test_zero_is_no_sequence_number_and_without_a_window_nothing_is_checked(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    assert Sender(wan)(0, 1) == "-+"
    tunnel(router, replay_window=0, add_time=9)
    assert Sender(wan)(5, 5, 1, 1) == "++++"


def test_what_linux_received_before_is_not_received_again(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router, seq=100)
    assert Sender(wan)(100, 99, 60, 101, 101) == "---+-"


def test_extended_sequence_numbers_wrap(router: Router, lan: Port, wan: Port) -> None:
    wrap = 1 << 32
    tunnel(router, flags=lib.FPC_IPSEC_ESN, seq=0xFFFFFFF0, replay_window=64)
    send = Sender(wan, esn=True)
    assert send(wrap - 3, wrap + 2, wrap - 2, wrap - 2, wrap + 2, wrap, wrap + 70) == "+++--++"
    assert state(router).received == wrap + 70
    # Below the window a number counts as one of the next subspace, whose ICV is another.
    verdict = wan.receives(from_wan(coming(GCM, INNER, wrap - 1, esn=True)))
    assert (verdict.kind, verdict.reason) == ("dropped", PROTO_ERROR)
    assert state(router).integrity_failed == 1


@pytest.mark.parametrize(
    "suite", ["aes128-gcm-16", "aes128-gcm-8", "aes128-cbc-sha1", "aes128-gmac", "null-sha256"]
)
def test_each_changed_bit_is_noticed(router: Router, lan: Port, wan: Port, suite: str) -> None:
    tunnel(router, BY_NAME[suite])
    right = from_wan(coming(BY_NAME[suite], INNER, 7))
    at = 14 + 20
    for offset in (
        at + 4,
        at + 7,
        at + 8,
        at + 20,
        len(right) - 20,
        len(right) - 8,
        len(right) - 1,
    ):
        wrong = bytearray(right)
        wrong[offset] ^= 1
        verdict = wan.receives(bytes(wrong))
        assert (verdict.kind, verdict.reason) == ("dropped", PROTO_ERROR), offset
    assert state(router).integrity_failed == 7
    assert wan.receives(right) == arrived(lan)
    assert state(router).packets == 1


def test_an_unknown_spi_is_linuxs(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    frame = from_wan(coming(GCM, INNER, spi=0x9999))
    assert wan.receives(frame) == wan.to_linux("ipsec_sa", frame)


def test_short_and_crooked_packets_are_linuxs(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    whole_esp = bytes(coming(GCM, INNER).payload)
    for length in (8, 12, 16, 31, 32, 33, 34, 35, 37, 38, 39):
        frame = from_wan(whole(IP(src=PEER[4], dst=HERE[4], proto=50) / Raw(whole_esp[:length])))
        verdict = wan.receives(frame)
        assert verdict.kind == "linux", length
        assert verdict.frame == frame
    # The shortest that can be is wrong by its ICV.
    frame = from_wan(whole(IP(src=PEER[4], dst=HERE[4], proto=50) / Raw(whole_esp[:36])))
    assert wan.receives(frame).reason == PROTO_ERROR


@pytest.mark.parametrize(
    ("text", "following"),
    [
        (bytes(14) + b"\x0d\x04", 4),  # padding over the front
        (bytes(14) + b"\xff\x04", 4),
        (bytes(14) + b"\x00\x3b", 59),  # dummy
        (bytes(14) + b"\x00\x04", 4),  # 14 bytes of IPv4
        (bytes(30) + b"\x00\x29", 41),
        (bytes(38) + b"\x00\x04", 4),  # version 0
        (bytes(38) + b"\x00\x11", 17),  # no tunnel's content
    ],
)
def test_what_makes_no_sense_within_is_dropped(
    router: Router, lan: Port, wan: Port, text: bytes, following: int
) -> None:
    tunnel(router)
    assert text[-1] == following
    esp = GCM.seal(IN_SPI, 1, bytes(8), text)
    verdict = wan.receives(from_wan(whole(IP(src=PEER[4], dst=HERE[4], proto=50) / Raw(esp))))
    assert (verdict.kind, verdict.reason) == ("dropped", PROTO_ERROR)


def test_ethernet_padding_and_long_esp_padding_are_cut_off(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    assert wan.receives(from_wan(coming(GCM, INNER)) + bytes(9)) == arrived(lan)
    text = bytes(INNER) + bytes(range(1, 203)) + bytes((202, 4))
    esp = GCM.seal(IN_SPI, 2, bytes(8), text)
    frame = from_wan(whole(IP(src=PEER[4], dst=HERE[4], proto=50) / Raw(esp)))
    assert wan.receives(frame) == arrived(lan)


# --- policies ---


def test_a_plain_packet_that_should_be_protected_is_dropped(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    verdict = wan.receives(from_wan(plain(back=True)))
    assert (verdict.kind, verdict.reason) == ("dropped", TMPL_MISMATCH)
    other = whole(IP(src="203.0.113.5", dst="192.0.2.10", proto=1) / Raw(bytes(8)))
    router.set("ipsec", policy(FWD, selector(FAR_NET[4], NEAR_NET[4], proto=1), number=2))
    verdict = wan.receives(from_wan(other))
    assert verdict.reason == TMPL_MISMATCH  # same priority, higher index
    router.set(
        "ipsec",
        policy(FWD, selector(FAR_NET[4], NEAR_NET[4]), template(PEER[4], HERE[4]), priority=10),
    )
    assert sent(wan.receives(from_wan(other)), "lan").proto == 1


def test_an_optional_template_lets_both_in(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.set(
        "ipsec",
        policy(FWD, selector(FAR_NET[4], NEAR_NET[4]), template(PEER[4], HERE[4], optional=1)),
    )
    assert wan.receives(from_wan(plain(back=True))) == arrived(lan)
    assert wan.receives(from_wan(coming(GCM, INNER))) == arrived(lan)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"reqid": 5}, TMPL_MISMATCH),
        ({"spi": 77}, TMPL_MISMATCH),
        ({"mode": lib.FPC_IPSEC_TRANSPORT}, TMPL_MISMATCH),
        ({"proto": 51}, TMPL_MISMATCH),
        ({"src": bytes((198, 51, 100, 9)) + bytes(12)}, TMPL_MISMATCH),
        ({"src": bytes(16)}, ""),
        ({"spi": int.from_bytes(IN_SPI.to_bytes(4), "little")}, ""),
    ],
)
def test_the_sa_must_be_one_that_the_policy_asks_for(
    router: Router, lan: Port, wan: Port, changed: dict[str, Any], reason: str
) -> None:
    tunnel(router)
    wanted = {**template(PEER[4], HERE[4]), **changed}
    router.set("ipsec", policy(FWD, selector(FAR_NET[4], NEAR_NET[4]), wanted))
    verdict = wan.receives(from_wan(coming(GCM, INNER)))
    assert verdict.reason == reason
    assert verdict.kind == ("dropped" if reason else "sent")


def test_a_decrypted_packet_needs_a_policy(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.delete("ipsec", policy(FWD, {}))
    assert wan.receives(from_wan(coming(GCM, INNER))).reason == NO_POLS
    router.set("ipsec", policy(FWD, selector(version=4)))
    assert wan.receives(from_wan(coming(GCM, INNER, 2))).reason == TMPL_MISMATCH
    router.set("ipsec", policy(FWD, selector(version=4), action=lib.FPC_IPSEC_BLOCK))
    assert wan.receives(from_wan(coming(GCM, INNER, 3))).reason == "ipsec_in_pol_block"
    assert wan.receives(from_wan(plain(back=True))).reason == "ipsec_in_pol_block"


def test_the_selector_of_the_sa_counts(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router, sel=selector(FAR_NET[4], "192.0.2.0/25"))
    assert wan.receives(from_wan(coming(GCM, INNER))) == arrived(lan)
    tunnel(router, sel=selector(FAR_NET[4], "192.0.2.128/25"))
    assert wan.receives(from_wan(coming(GCM, INNER, 2))).reason == "ipsec_in_state_mismatch"


def test_policies_only_linux_knows_leave_all_to_linux(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.set("ipsec", policy(IN, selector(version=4), number=9, flags=lib.FPC_IPSEC_LINUX))
    frame = from_wan(coming(GCM, INNER))
    assert wan.receives(frame) == wan.to_linux("ipsec_sa", frame)
    router.delete("ipsec", policy(IN, {}, number=9))
    assert wan.receives(frame) == arrived(lan)


# --- what the fast path can't go on with ---


def test_a_packet_whose_ports_cannot_be_found_is_dropped(
    router: Router, lan: Port, wan: Port
) -> None:
    """It can't be shown to the policies, and Linux would take it past them."""
    tunnel(router, inner=6)
    for seq, head in ((1, {"nh": 135}), (2, {"nh": 60, "plen": 3})):
        inner = IPv6(**{"src": FAR[6], "dst": HOST[6], **head}) / Raw(bytes(3))
        verdict = wan.receives(from_wan(coming(GCM, inner, seq)))
        assert (verdict.kind, verdict.reason) == ("dropped", "ipsec_no_special")


def test_a_packet_for_this_host_goes_to_linux_as_it_was_within(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    router.set("ipsec", policy(IN, selector(FAR_NET[4]), template(PEER[4], HERE[4])))
    inner = whole(IP(src=FAR[4], dst="192.0.2.1") / UDP(dport=53))
    verdict = wan.receives(from_wan(coming(GCM, inner)))
    assert (verdict.kind, verdict.reason) == ("special", "ip_local")
    assert bytes(inner) in verdict.frame
    # Not by the policy for forwarded packets.
    router.delete("ipsec", policy(IN, {}))
    assert wan.receives(from_wan(coming(GCM, inner, 2))).reason == NO_POLS


def test_a_packet_whose_time_is_over_goes_to_linux_as_it_was_within(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    verdict = wan.receives(from_wan(coming(GCM, plain(back=True, ttl=1))))
    assert (verdict.kind, verdict.reason) == ("special", "ip_ttl")


def test_nothing_is_decrypted_before_linux_can_get_it(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.fpn0(on=False)
    frame = from_wan(coming(GCM, INNER))
    assert wan.receives(frame) == wan.to_linux("ipsec_sa", frame)
    router.fpn0()
    assert wan.receives(frame) == arrived(lan)


def test_an_sa_within_another_one_is_more_than_a_policy_asks_for(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    router.set("ipsec", policy(IN, selector(version=4), template(PEER[4], HERE[4]), number=3))
    verdict = wan.receives(from_wan(coming(GCM, coming(GCM, INNER, 1), 2)))
    assert (verdict.kind, verdict.reason) == ("dropped", TMPL_MISMATCH)
    # Linux knows what to do with transport mode within a tunnel.
    router.set("ipsec", sa(PEER[4], HERE[4], 0x3000, **GCM.fields(), mode=lib.FPC_IPSEC_TRANSPORT))
    second = coming(GCM, INNER, 1, spi=0x3000)
    verdict = wan.receives(from_wan(coming(GCM, second, 3)))
    assert (verdict.kind, verdict.reason) == ("special", "ipsec_sa")
    assert bytes(second) in verdict.frame


def test_reverse_path_filters_ask_nobody_who_came_by_an_sa(
    router: Router, lan: Port, wan: Port
) -> None:
    tunnel(router)
    router.route("203.0.113.0/25", dev=lan)
    wan.change(flags=wan.flags | lib.FPC_IFACE_RPF)
    assert wan.receives(from_wan(coming(GCM, INNER))) == arrived(lan)


def test_an_sa_of_another_vrf_is_not_found(router: Router, lan: Port, wan: Port) -> None:
    router.vrf(1)
    router.set("ipsec", sa(PEER[4], HERE[4], IN_SPI, vrf=1, **GCM.fields()))
    frame = from_wan(coming(GCM, INNER))
    assert wan.receives(frame).kind == "linux"


@pytest.mark.parametrize(
    ("outer", "inner", "flags", "expected"),
    [
        (0x03, 0x02, 0, 0x03),  # congestion is told
        (0x03, 0x01, 0, 0x03),
        (0x03, 0x00, 0, 0x00),  # to who wants to know
        (0x02, 0x01, 0, 0x01),
        (0x03, 0x02, lib.FPC_IPSEC_NOECN, 0x02),
        (0xB8, 0x28, 0, 0x28),
        (0xB8, 0x2A, lib.FPC_IPSEC_DECAP_DSCP, 0xBA),
        (0xBB, 0x2A, lib.FPC_IPSEC_DECAP_DSCP, 0xBB),
    ],
)
def test_traffic_class_on_the_way_in(
    router: Router, lan: Port, wan: Port, outer: int, inner: int, flags: int, expected: int
) -> None:
    tunnel(router, flags=flags)
    frame = from_wan(coming(GCM, plain(back=True, tos=inner), tos=outer))
    assert wan.receives(frame) == lan.sent(to_lan(plain(back=True, ttl=63, tos=expected)))


# --- ESP in UDP ---


def in_udp(payload: bytes, sport: int = 4500, dport: int = 4500, **fields: Any) -> Packet:
    head = {"src": PEER[4], "dst": HERE[4], **fields}
    return whole(IP(**head) / UDP(sport=sport, dport=dport, chksum=0) / Raw(payload))


def nat_t(router: Router, **fields: Any) -> None:
    ports = {"encap": 2, "encap_sport": int.from_bytes(b"\x11\x94", "little")}
    tunnel(router, **{**ports, "encap_dport": ports["encap_sport"], **fields})


def test_esp_in_udp_is_decrypted(router: Router, lan: Port, wan: Port) -> None:
    nat_t(router)
    frame = from_wan(in_udp(bytes(coming(GCM, INNER).payload)))
    assert wan.receives(frame) == arrived(lan)
    assert HOST[4]


@pytest.mark.parametrize(
    "payload", [bytes(4) + bytes(range(100)), b"\xff", b"", bytes(3), bytes(8)]
)
def test_ike_and_keepalives_are_linuxs(
    router: Router, lan: Port, wan: Port, payload: bytes
) -> None:
    nat_t(router)
    frame = from_wan(in_udp(payload))
    assert wan.receives(frame) == wan.to_linux("ipsec_ike", frame)


@pytest.mark.parametrize("changed", [{"sport": 4501}, {"src": "198.51.100.77"}])
def test_a_peer_that_moved_is_linuxs(
    router: Router, lan: Port, wan: Port, changed: dict[str, Any]
) -> None:
    nat_t(router)
    frame = from_wan(in_udp(bytes(coming(GCM, INNER).payload), **changed))
    assert wan.receives(frame) == wan.to_linux("ipsec_mapping", frame)


def test_the_way_of_encapsulation_is_the_sas(router: Router, lan: Port, wan: Port) -> None:
    nat_t(router)
    frame = from_wan(coming(GCM, INNER))
    assert wan.receives(frame) == wan.to_linux("ipsec_sa", frame)
    tunnel(router, add_time=5)
    frame = from_wan(in_udp(bytes(frame[34:])))
    assert wan.receives(frame) == wan.to_linux("ipsec_sa", frame)


# --- transport mode, limits ---


@pytest.mark.parametrize("suite", [GCM, CBC_SHA256], ids=lambda suite: suite.name)
def test_transport_mode_for_this_host(router: Router, lan: Port, wan: Port, suite: Suite) -> None:
    tunnel(router, suite, mode=lib.FPC_IPSEC_TRANSPORT)
    router.set(
        "ipsec",
        policy(IN, selector(PEER[4] + "/32", HERE[4] + "/32"), template(PEER[4], HERE[4], mode=0)),
    )
    inner = whole(
        IP(src=PEER[4], dst=HERE[4], id=7, ttl=33) / UDP(sport=1, dport=2) / Raw(bytes(57))
    )
    esp = suite.wrap(IN_SPI, 1, bytes(inner.payload), 17)
    frame = from_wan(whole(IP(src=PEER[4], dst=HERE[4], id=7, ttl=33, proto=50) / Raw(esp)))
    verdict = wan.receives(frame)
    assert (verdict.kind, verdict.reason) == ("special", "ip_local")
    assert bytes(inner) in verdict.frame
    assert (state(router).packets, state(router).bytes) == (1, 8 + 57)


def test_beyond_its_hard_limit_an_sa_is_linuxs(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router, hard_packets=12, packets=10)
    send = Sender(wan)
    assert send(1, 2) == "++"
    frame = from_wan(coming(GCM, INNER, 3))
    assert wan.receives(frame) == wan.to_linux("ipsec_expired", frame)
    tunnel(router, hard_bytes=len(INNER) + 1, add_time=3)
    assert send(1, 2) == "++"
    assert wan.receives(frame) == wan.to_linux("ipsec_expired", frame)


def test_a_burst_of_several_sas_and_ciphers(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    router.set("ipsec", sa(PEER[4], HERE[4], 0x3000, **CBC_SHA256.fields()))
    frames = []
    for i in range(1, 33):
        suite, spi = ((GCM, IN_SPI), (CBC_SHA256, 0x3000))[i % 2]
        frames.append(from_wan(coming(suite, plain(back=True, size=8 * i), i, spi=spi)))
    out = router.burst(wan.number, frames)
    assert [o.kind for o in out] == ["sent"] * 32
    assert sorted(o.frame for o in out) == sorted(
        to_lan(plain(back=True, size=8 * i, ttl=63)) for i in range(1, 33)
    )
