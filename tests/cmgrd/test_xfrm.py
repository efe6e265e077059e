# SPDX-License-Identifier: BSD-3-Clause
"""NETLINK_XFRM: what iproute2 writes is read as it was meant, nonsense is a MalformedError at most, keys stay inside.

With a kernel: test_kernel.py, tests/ipsec.
"""

import io
import json
import logging
import socket
import struct
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sluice.cmgrd import wire, xfrm
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    Change,
    Family,
    Message,
    Policy,
    PolicyDefault,
    Sa,
    SaKey,
    SaMigration,
    Template,
)
from sluice.cmgrd.recording import RecordedCore
from sluice.cmgrd.wire import IgnoredError, MalformedError

from tests.cmgrd.oracle import attribute
from tests.cmgrd.xfrm_messages import CBC, CBC_KEY, DELETED, GCM, GCM_KEY, POLICY, SHA_KEY


def pad(address: str) -> bytes:
    family = AF_INET6 if ":" in address else AF_INET
    return socket.inet_pton(family, address).ljust(16, b"\0")


KEY = SaKey(AF_INET, 50, pad("198.51.100.1"), bytes.fromhex("12345678"), 0x10, 0xFF)


def decode(kind: int, payload: bytes) -> Message | None:
    return wire.decode(wire.NETLINK_XFRM, kind, 0, payload, 0, len(payload))


def sa(payload: bytes) -> Sa:
    found = decode(xfrm.NEWSA, payload)
    assert found
    assert (found.family, found.change) == (Family.SA, Change.NEW)
    assert isinstance(found.value, Sa)
    return found.value


def policy(kind: int, payload: bytes) -> Policy:
    found = decode(kind, payload)
    assert found
    assert found.family == Family.POLICY
    assert isinstance(found.value, Policy)
    return found.value


def test_a_tunnel_of_aes_gcm_is_read() -> None:
    found = sa(GCM)
    assert found.key == KEY
    assert found.src == pad("192.0.2.1")
    assert (found.mode, found.reqid, found.if_id, found.unknown) == (1, 7, 9, "")
    assert found.flags == 0x80
    assert found.extra_flags == 1
    assert found.limits == (1000, 2000, 30, 40)
    assert found.replay_window == 64
    assert found.aead
    assert (found.aead.name, found.aead.key, found.aead.icv_len) == (
        "rfc4106(gcm(aes))",
        GCM_KEY,
        16,
    )
    assert (found.set_mark, found.set_mark_mask) == (5, 0xFFFFFFFF)
    assert found.encap
    assert (found.encap.type, found.encap.sport, found.encap.dport) == (
        2,
        (4500).to_bytes(2),
        (4501).to_bytes(2),
    )
    sel = found.selector
    assert (sel.src, sel.src_plen, sel.dst, sel.dst_plen) == (
        pad("10.0.0.0"),
        8,
        pad("10.1.0.0"),
        16,
    )
    assert not found.crypt
    assert not found.auth


def test_aes_cbc_with_hmac_over_ipv6_is_read() -> None:
    found = sa(CBC)
    assert found.key == SaKey(AF_INET6, 50, pad("2001:db8::2"), bytes.fromhex("00000201"))
    assert (found.mode, found.replay_window, found.direction) == (0, 32, 0)
    assert found.limits == (2**64 - 1,) * 4
    assert found.crypt
    assert (found.crypt.name, found.crypt.key) == ("cbc(aes)", CBC_KEY)
    assert found.auth
    assert (found.auth.name, found.auth.key, found.auth.icv_len) == ("hmac(sha256)", SHA_KEY, 16)


def test_what_has_happened_to_an_sa_is_read() -> None:
    """What only the kernel says: struct xfrm_lifetime_cur behind the limits, and both forms of the replay state."""
    used = bytearray(CBC)
    struct.pack_into("=QQQQ", used, 160, 4321, 5, 1795374000, 0)
    found = sa(bytes(used) + attribute(10, struct.pack("=III", 77, 66, 0xF)))
    assert found.used == (4321, 5)
    assert found.added == 1795374000
    assert found.replay == (77, 0, 66, 0)
    esn = struct.pack("=IIIIII", 4, 77, 66, 1, 2, 128) + bytes(16)
    found = sa(bytes(used) + attribute(23, esn))
    assert found.replay == (77, 1, 66, 2)
    assert found.replay_window == 128


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (attribute(22, struct.pack("=I", 1000)), "padding"),
        (attribute(22, struct.pack("=I", 0)), ""),
        (attribute(8, bytes(8)), "attribute 8"),  # security context
        (attribute(14, bytes(16)), "attribute 14"),  # care-of address
        (attribute(35, struct.pack("=I", 1)), "attribute 35"),  # one CPU's
        (attribute(40, bytes(4)), "attribute 40"),
        (attribute(24, struct.pack("=I", 4)), "flags"),
        (attribute(28, bytes(8)), ""),  # offload to a device
        (attribute(15, bytes(8)), ""),  # last use
        (attribute(33, b"\2"), ""),
    ],
)
def test_what_an_sa_has_beyond_is_named(extra: bytes, why: str) -> None:
    assert sa(CBC + extra).unknown == why


def test_larval_sas_are_none() -> None:
    """ALLOCSPI and acquire leave states without algorithms in the kernel's tables."""
    assert decode(xfrm.NEWSA, CBC[:224]) is None


def test_deletion_names_the_sa() -> None:
    found = decode(xfrm.DELSA, DELETED)
    assert found
    assert (found.family, found.change, found.value) == (Family.SA, Change.DELETED, KEY)


def test_only_a_hard_limit_deletes() -> None:
    mark = attribute(21, struct.pack("=II", 0x10, 0xFF))
    found = decode(xfrm.EXPIRE, GCM[:224] + b"\1" + bytes(7) + mark)
    assert found
    assert (found.change, found.value) == (Change.DELETED, KEY)
    assert decode(xfrm.EXPIRE, GCM[:224] + b"\0" + bytes(7) + mark) is None
    found = decode(xfrm.POLEXPIRE, POLICY[:168] + b"\1" + bytes(7))
    assert found
    assert found.change is Change.DELETED
    assert isinstance(found.value, Policy)
    assert decode(xfrm.POLEXPIRE, POLICY[:168] + bytes(8)) is None


def test_a_policy_is_read() -> None:
    found = policy(xfrm.NEWPOLICY, POLICY)
    assert (found.family, found.direction, found.priority, found.action) == (AF_INET, 2, 99, 0)
    assert (found.mark, found.mark_mask, found.if_id, found.icmp) == (1, 3, 9, True)
    sel = found.selector
    assert (sel.proto, sel.sport, sel.sport_mask, sel.dport, sel.dport_mask) == (
        6,
        b"\0\5",
        b"\xff\xff",
        b"\0\x50",
        b"\xff\xff",
    )
    every = 0xFFFFFFFF
    assert found.templates == (
        Template(
            AF_INET, pad("198.51.100.1"), pad("192.0.2.1"), bytes(4), 50, 1, 7, True, every, every
        ),
        Template(AF_INET, bytes(16), bytes(16), bytes(4), 51, 0, 0, False, every, every),
    )
    assert not found.unknown
    assert policy(xfrm.NEWPOLICY, POLICY + attribute(16, b"\1" + bytes(5))).unknown == "type"
    assert policy(xfrm.NEWPOLICY, POLICY + attribute(8, bytes(8))).unknown == "attribute 8"


def test_a_deleted_policy_stands_in_an_attribute() -> None:
    indexed = bytearray(POLICY[:168])
    struct.pack_into("=I", indexed, 156, 42)
    found = decode(xfrm.DELPOLICY, bytes(64) + attribute(7, bytes(indexed)))
    assert found
    assert found.change is Change.DELETED
    assert isinstance(found.value, Policy)
    assert (found.value.index, found.value.direction) == (42, 2)
    # Without it only a dump tells.
    bare = decode(xfrm.DELPOLICY, bytes(64))
    assert bare
    assert bare.value is None


@pytest.mark.parametrize(
    ("policies", "blocks"),
    [(b"\2\2\2", False), (b"\1\2\2", False), (b"\2\1\2", True), (b"\2\2\1", True)],
)
def test_the_default_policy_counts_where_packets_are_forwarded(
    policies: bytes, blocks: bool
) -> None:
    found = decode(xfrm.GETDEFAULT, policies + b"\0")
    assert found
    assert found.value == PolicyDefault(blocks)


def test_what_only_a_dump_can_tell() -> None:
    for kind, family in (
        (xfrm.FLUSHSA, Family.SA),
        (xfrm.FLUSHPOLICY, Family.POLICY),
        (xfrm.SETDEFAULT, Family.POLICY),
    ):
        found = decode(kind, bytes(4))
        assert found
        assert (found.family, found.value) == (family, None)
    moved = decode(xfrm.MIGRATE, bytes(64))
    assert moved
    assert moved.value == SaMigration()


KINDS = (xfrm.NEWSA, xfrm.DELSA, xfrm.EXPIRE, xfrm.NEWPOLICY, xfrm.DELPOLICY, xfrm.POLEXPIRE)


@given(st.sampled_from((GCM, CBC, DELETED, POLICY)), st.sampled_from(KINDS), st.data())
def test_nonsense_is_malformed_and_no_more(good: bytes, kind: int, data: st.DataObject) -> None:
    found = bytearray(good[: data.draw(st.integers(0, len(good)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if found:
            found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedError, IgnoredError):
        decode(kind, bytes(found))
    xfrm.masked(kind, bytes(found))


@pytest.mark.parametrize("length", [1, 3, 4, 39, 223, 230, 300])
def test_a_message_that_is_cut_off_is_malformed(length: int) -> None:
    with pytest.raises(MalformedError):
        decode(xfrm.NEWSA, GCM[:length])


# --- keys

SECRETS = (GCM_KEY, CBC_KEY, SHA_KEY)


def secret_in(text: str | bytes) -> bool:
    """Any four bytes of a key, in whatever form."""
    data = text.encode() if isinstance(text, str) else text
    pieces = [key[i : i + 4] for key in SECRETS for i in range(len(key) - 3)]
    return any(
        piece in data or piece.hex().encode() in data or repr(piece)[2:-1].encode() in data
        for piece in pieces
    )


def test_the_check_for_keys_finds_them() -> None:
    assert secret_in(GCM)
    assert secret_in(CBC.hex())
    assert secret_in(repr(CBC_KEY))


@pytest.mark.parametrize("kind", [xfrm.NEWSA, xfrm.UPDSA])
@pytest.mark.parametrize("payload", [GCM, CBC])
def test_masked_messages_have_all_but_the_keys(kind: int, payload: bytes) -> None:
    shown = xfrm.masked(kind, payload)
    assert len(shown) == len(payload)
    assert not secret_in(shown)
    was, found = sa(payload), sa(shown)
    for name in ("crypt", "auth", "aead"):
        algorithm = getattr(was, name)
        if algorithm:
            was = replace(was, **{name: replace(algorithm, key=bytes(len(algorithm.key)))})
    assert found == was


def test_deletions_and_expirations_are_masked_too() -> None:
    """The kernel tells the whole of an SA that it deletes."""
    algorithms = CBC[224:]
    for kind, fixed in ((xfrm.DELSA, 24), (xfrm.EXPIRE, 232)):
        shown = xfrm.masked(kind, bytes(fixed) + attribute(6, bytes(224)) + algorithms)
        assert not secret_in(shown)
        assert len(shown) == fixed + 228 + len(algorithms)


@given(
    st.sampled_from((GCM, CBC)),
    st.lists(st.tuples(st.integers(224, 235), st.integers(0, 255)), max_size=4),
    st.integers(0, len(CBC)),
)
def test_a_malformed_message_shows_no_key(
    good: bytes, spoilt: list[tuple[int, int]], cut: int
) -> None:
    """Whatever the first attribute's head says, and wherever the message ends."""
    message = bytearray(good)
    for place, value in spoilt:
        message[place] = value
    assert not secret_in(xfrm.masked(xfrm.NEWSA, bytes(message[:cut])))


def test_recordings_logs_and_texts_have_no_keys(caplog: pytest.LogCaptureFixture) -> None:
    """As `cmgrd --record` and `-d` write them; the objects themselves have the keys."""
    out = io.StringIO()
    logger = logging.getLogger("cmgrd")
    logger.propagate = True
    caplog.set_level(logging.DEBUG, logger="cmgrd")
    core = RecordedCore(out)
    for payload in (GCM, CBC, CBC[:300]):
        core.message(wire.NETLINK_XFRM, xfrm.NEWSA, 0, payload, 0, len(payload), late=False)
    core.message(wire.NETLINK_XFRM, xfrm.DELSA, 0, DELETED, 0, len(DELETED), late=False)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["name"] for line in lines if line["do"] == "message"] == [
        "XFRM_MSG_NEWSA",
        "XFRM_MSG_NEWSA",
        "XFRM_MSG_NEWSA",
        "XFRM_MSG_DELSA",
    ]
    assert not secret_in(out.getvalue())
    assert not secret_in(caplog.text)
    assert "malformed" in caplog.text
    for payload in (GCM, CBC):
        assert not secret_in(repr(sa(payload)))
