# SPDX-License-Identifier: BSD-3-Clause
"""From messages of NETLINK_XFRM to the objects that fpmd is told, and in which order they may come."""

import logging
import random
import socket
import struct
from dataclasses import replace
from typing import Any

import pytest
from _sluice import ffi, lib
from sluice.cmgrd import wire, xfrm
from sluice.cmgrd.core import Core
from sluice.cmgrd.kernel import (
    AF_INET,
    Algorithm,
    Change,
    Encap,
    Family,
    Message,
    Policy,
    Sa,
    SaKey,
    Selector,
    Template,
)
from sluice.features.ipsec import cmgr
from sluice.fpc import FEATURES, decode

from tests.cmgrd.oracle import attribute
from tests.cmgrd.xfrm_messages import CBC, CBC_KEY, DELETED, GCM, GCM_KEY, POLICY, SHA_KEY

NUMBER = FEATURES["ipsec"].id


def give(core: Core, kind: int, payload: bytes, *, late: bool = False) -> None:
    core.message(wire.NETLINK_XFRM, kind, 0, payload, 0, len(payload), late=late)


def known() -> Core:
    """One that has dumped, and found nothing."""
    core = Core()
    for family in list(core.due):
        core.begin(family)
        core.end(complete=True)
    return core


def wanted(core: Core) -> list[bytes]:
    return list(core.objects.wanted[NUMBER].values())


def only(core: Core) -> dict[str, Any]:
    (body,) = wanted(core)
    return decode("ipsec", body)


def struct_of(body: bytes) -> Any:
    made = ffi.new("struct fpc_ipsec *")
    ffi.memmove(made, body, len(body))
    return made


def used(payload: bytes, n_bytes: int, n_packets: int, oseq: int) -> bytes:
    """The SA after some packets."""
    found = bytearray(payload)
    struct.pack_into("=QQ", found, 160, n_bytes, n_packets)
    return bytes(found) + attribute(10, struct.pack("=III", oseq, 0, 0))


def test_an_sa_is_told_with_all_that_decides_about_packets() -> None:
    core = known()
    give(core, xfrm.NEWSA, GCM)
    found = only(core)
    assert found["flags"] == ["ESN", "DONT_ENCAP_DSCP"]
    (body,) = wanted(core)
    made = struct_of(body)
    assert (made.vrf, made.kind, made.family, made.proto) == (0, lib.FPC_IPSEC_SA, AF_INET, 50)
    assert socket.ntohl(made.spi) == 0x12345678
    assert bytes(made.dst)[:4] == socket.inet_aton("198.51.100.1")
    assert (made.mark, made.mark_mask) == (0x10, 0xFF)
    sa = made.sa
    assert bytes(sa.src)[:4] == socket.inet_aton("192.0.2.1")
    assert (sa.mode, sa.cipher, sa.auth, sa.icv_len) == (1, lib.FPC_IPSEC_AES_GCM, 0, 16)
    assert (sa.reqid, sa.if_id, sa.output_mark, sa.output_mask) == (7, 9, 5, 0xFFFFFFFF)
    assert (sa.soft_bytes, sa.hard_bytes, sa.soft_packets, sa.hard_packets) == (1000, 2000, 30, 40)
    assert (sa.encap, socket.ntohs(sa.encap_sport), socket.ntohs(sa.encap_dport)) == (2, 4500, 4501)
    assert sa.replay_window == 64
    assert (sa.sel.src_plen, sa.sel.dst_plen, sa.sel.family) == (8, 16, AF_INET)
    assert bytes(made.key)[: sa.key_len] == GCM_KEY
    assert sa.auth_key_len == 0
    give(core, xfrm.DELSA, DELETED)
    assert not wanted(core)


def test_cipher_and_authentication_have_their_keys() -> None:
    core = known()
    give(core, xfrm.UPDSA, CBC)  # as strongSwan fills the number that it has reserved
    made = struct_of(wanted(core)[0])
    assert (made.sa.cipher, made.sa.auth) == (lib.FPC_IPSEC_AES_CBC, lib.FPC_IPSEC_HMAC_SHA256)
    assert (made.sa.icv_len, made.sa.mode, made.flags) == (16, lib.FPC_IPSEC_TRANSPORT, 0)
    assert bytes(made.key)[: made.sa.key_len] == CBC_KEY
    assert bytes(made.auth_key)[: made.sa.auth_key_len] == SHA_KEY


def test_a_policy_is_told() -> None:
    core = known()
    give(core, xfrm.NEWPOLICY, POLICY)
    made = struct_of(wanted(core)[0])
    policy = made.policy
    assert made.kind == lib.FPC_IPSEC_POLICY
    assert made.flags == lib.FPC_IPSEC_ICMP
    assert (policy.priority, policy.mark, policy.mark_mask, policy.if_id) == (99, 1, 3, 9)
    assert (policy.action, policy.n_tmpls, policy.sel.proto) == (lib.FPC_IPSEC_ALLOW, 2, 6)
    assert (socket.ntohs(policy.sel.sport), socket.ntohs(policy.sel.dport)) == (5, 80)
    first, second = policy.tmpl[0], policy.tmpl[1]
    assert bytes(first.dst)[:4] == socket.inet_aton("198.51.100.1")
    assert (first.proto, first.mode, first.reqid, first.optional) == (50, 1, 7, 1)
    assert (second.proto, second.mode, second.optional) == (51, 0, 0)
    assert not decode("vrf", next(iter(core.objects.wanted[FEATURES["vrf"].id].values())))["flags"]


SA = Sa(
    SaKey(AF_INET, 50, bytes([192, 0, 2, 2]) + bytes(12), b"\0\0\1\0"),
    bytes([192, 0, 2, 1]) + bytes(12),
    1,
    0,
    0,
    7,
    Selector(),
    32,
    (0, 0, 0, 0),
    (0, 0),
    1,
    aead=Algorithm("rfc4106(gcm(aes))", b"k" * 20, 16),
)


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": "padding"},
        {"mode": 2},
        {"mode": 5},
        {"replay_window": 4097},
        {"encap": Encap(7, b"\x11\x94", b"\x11\x94")},
        {"aead": Algorithm("rfc4309(ccm(aes))", b"k" * 19, 16)},
        {"aead": Algorithm("rfc4106(gcm(aes))", bytes(20), 16)},
        {"aead": None, "crypt": Algorithm("cbc(camellia)", b"k" * 16)},
        {"aead": None, "crypt": Algorithm("cbc(aes)", b"k" * 64)},
        {
            "aead": None,
            "crypt": Algorithm("cbc(aes)", b"k" * 16),
            "auth": Algorithm("hmac(rmd160)", b"k" * 20, 12),
        },
    ],
)
def test_what_the_contract_lacks_is_linuxs_and_told_without_keys(change: dict[str, Any]) -> None:
    assert not cmgr.of_sa(0, SA).flags & lib.FPC_IPSEC_LINUX
    made = cmgr.of_sa(0, replace(SA, **change))
    assert made.flags & lib.FPC_IPSEC_LINUX
    assert not any(bytes(made.key))
    assert not any(bytes(made.auth_key))
    assert (made.sa.cipher, made.sa.key_len, made.sa.auth_key_len) == (0, 0, 0)


def test_what_a_policy_has_beyond_the_contract_is_linuxs() -> None:
    plain = Policy(AF_INET, 9, 1)
    assert not cmgr.of_policy(0, plain).flags & lib.FPC_IPSEC_LINUX
    template = Template(AF_INET, bytes(16), bytes(16), bytes(4), 108, 1, 0, True, 0, 0)
    for change in (
        {"unknown": "type"},
        {"templates": (template,)},
        {"templates": (replace(template, proto=50, mode=3),)},
    ):
        made = cmgr.of_policy(0, replace(plain, **change))
        assert made.flags & lib.FPC_IPSEC_LINUX


def test_policies_of_sockets_and_other_protocols_are_left_out() -> None:
    core = known()
    for_socket = bytearray(POLICY)
    for_socket[160] = 3
    give(core, xfrm.NEWPOLICY, bytes(for_socket))
    # fp-rte's own, for what it decrypted.
    give(
        core,
        xfrm.NEWPOLICY,
        POLICY[:168] + attribute(21, struct.pack("=II", 0xFB << 24, 0xFF << 24)),
    )
    compressed = bytearray(CBC)
    compressed[76] = 108
    give(core, xfrm.NEWSA, bytes(compressed))
    assert not wanted(core)


def test_counters_that_move_are_no_change() -> None:
    """An audit's dump isn't told again, however many packets went by; `fp-sync check` doesn't see them."""
    core = known()
    give(core, xfrm.NEWSA, used(CBC, 0, 0, 0))
    before, changes = wanted(core)[0], core.objects.changes
    core.begin(Family.SA)
    give(core, xfrm.NEWSA, used(CBC, 5000, 5, 5))
    core.end(complete=True)
    assert core.objects.changes == changes
    assert wanted(core) == [before]
    fresh = known()
    give(fresh, xfrm.NEWSA, used(CBC, 5000, 5, 5))
    feature = core.by_number[NUMBER]
    assert wanted(fresh)[0] != before
    assert feature.shown(wanted(fresh)[0]) == feature.shown(before)


def test_what_is_shown_has_no_keys() -> None:
    core = known()
    give(core, xfrm.NEWSA, CBC)
    feature, body = core.by_number[NUMBER], wanted(core)[0]
    for shown in (feature.shown(body), feature.describe(body[:40], body).encode()):
        assert CBC_KEY not in shown
        assert SHA_KEY not in shown
    assert feature.describe(body[:40], body) == "SA esp 2001:db8::2 spi 0x201 reqid 0 mode 0"


def test_watchers_see_changes_without_keys() -> None:
    core = known()
    seen: list[Any] = []
    core.watch(seen.append)
    give(core, xfrm.NEWSA, CBC)
    (one,) = seen
    assert one.body
    assert one.text.startswith("SA esp 2001:db8::2 spi 0x201")
    assert CBC_KEY not in one.body
    assert SHA_KEY not in one.body


def test_an_update_of_an_sa_that_is_there_is_looked_at_anew() -> None:
    """The kernel takes over its limits, ports and selector, but tells the whole of what it was asked for, with another
    key if it's so.
    """
    core = known()
    give(core, xfrm.NEWSA, CBC)
    before = wanted(core)
    other = CBC.replace(CBC_KEY, b"x" * 16)
    give(core, xfrm.UPDSA, other)
    assert wanted(core) == before
    assert Family.SA in core.due


def test_messages_of_the_time_of_a_dump_take_nothing_away() -> None:
    """A deletion may be of a former SA with the same number."""
    core = known()
    core.begin(Family.SA)
    give(core, xfrm.NEWSA, GCM)
    core.end(complete=True)
    give(core, xfrm.DELSA, DELETED, late=True)
    assert len(wanted(core)) == 1
    assert Family.SA in core.due
    core.begin(Family.SA)
    core.end(complete=True)
    assert not wanted(core)


def test_flushes_and_migrations_lead_to_dumps() -> None:
    core = known()
    give(core, xfrm.NEWSA, GCM)
    give(core, xfrm.NEWPOLICY, POLICY)
    assert not core.due
    give(core, xfrm.FLUSHSA, bytes(4))
    assert set(core.due) == {Family.SA}
    give(core, xfrm.MIGRATE, bytes(64))
    assert set(core.due) == {Family.SA, Family.POLICY}
    # What's gone from the dump is gone; the other family is untouched.
    core.begin(Family.SA)
    core.end(complete=True)
    assert len(wanted(core)) == 1


def test_lost_messages_have_both_told_as_a_whole() -> None:
    core = known()
    core.lose((Family.SA, Family.POLICY), "lost messages")
    assert set(core.due) == {Family.SA, Family.POLICY}
    assert core.lost >= {NUMBER}
    # An interrupted dump sweeps nothing.
    give(core, xfrm.NEWSA, GCM)
    core.begin(Family.SA)
    core.end(complete=False)
    assert len(wanted(core)) == 1


def test_expirations_delete() -> None:
    core = known()
    give(core, xfrm.NEWSA, GCM)
    mark = attribute(21, struct.pack("=II", 0x10, 0xFF))
    give(core, xfrm.EXPIRE, GCM[:224] + bytes(8) + mark)
    assert wanted(core)
    give(core, xfrm.EXPIRE, GCM[:224] + b"\1" + bytes(7) + mark)
    assert not wanted(core)


def test_random_changes_end_as_a_dump_says(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever of the events is lost, cut or late: after the dumps that this leads to, all is as in Linux."""
    caplog.set_level(logging.CRITICAL)
    chance = random.Random(6)
    core = known()
    there: dict[int, bytes] = {}
    for step in range(2000):
        spi = chance.randrange(1, 20)
        payload = bytearray(CBC)
        struct.pack_into(">I", payload, 72, spi)
        struct.pack_into("=Q", payload, 176, step)  # when it was added
        gone = struct.pack(
            "=16s4sHBx", bytes(payload[56:72]), bytes(payload[72:76]), socket.AF_INET6, 50
        )
        late = chance.random() < 0.1
        if spi in there and chance.random() < 0.6:
            del there[spi]
            kind, message = xfrm.DELSA, gone
        elif spi not in there:
            there[spi] = bytes(payload)
            kind, message = xfrm.NEWSA, bytes(payload)
        else:
            continue
        match chance.randrange(12):
            case 0:
                core.lose((Family.SA, Family.POLICY), "lost messages")
            case 1:
                give(core, kind, message[:30])
            case _:
                give(core, kind, message, late=late)
        if Family.SA in core.due and chance.random() < 0.5:
            core.begin(Family.SA)
            for one in there.values():
                give(core, xfrm.NEWSA, one)
            core.end(complete=True)
            assert len(wanted(core)) == len(there)
    core.begin(Family.SA)
    for one in there.values():
        give(core, xfrm.NEWSA, one)
    core.end(complete=True)
    fresh = known()
    for one in there.values():
        give(fresh, xfrm.NEWSA, one)
    assert sorted(wanted(core)) == sorted(wanted(fresh))


def test_a_change_message_is_one_object() -> None:
    """200 rekeys a second are nothing: a message costs well below a millisecond."""
    core = known()
    message = Message(Family.SA, Change.NEW, "XFRM_MSG_NEWSA", 0, SA)
    core.by_number[NUMBER].handle(message, dumped=False, late=False)
    assert len(wanted(core)) == 1
