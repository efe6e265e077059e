# SPDX-License-Identifier: BSD-3-Clause
"""Objects between Python, JSON and the C structs."""

import json

import pytest
from _sluice import ffi, lib
from hypothesis import given
from hypothesis import strategies as st
from sluice.fpc import FEATURES, Frame, Verb, decode, decode_key, encode, encode_key, new, to_body
from sluice.fpc.objects import flag_names
from sluice.fpc.record import from_json, to_json

OBJECTS = [name for name, feature in FEATURES.items() if feature.size]


def test_the_features_are_those_of_the_c_program() -> None:
    assert [n for n in FEATURES if n != "mss"][:5] == ["vrf", "port", "iface", "neigh", "route"]
    for f in FEATURES.values():
        assert lib.feature_find(f.id).msg_size == f.size
        if f.size:
            assert ffi.sizeof(f.struct) == f.size


def test_an_interface_as_bytes() -> None:
    body = encode(
        "iface",
        vrf=1,
        ifindex=7,
        flags=["UP", "RPF"],
        mtu=1500,
        mac="02:00:00:00:00:01",
        name="eth0",
    )
    assert body == (b"\1\0\0\0\7\0\0\0\x11\0\0\0\xdc\x05\0\0\2\0\0\0\0\1\0\0eth0")
    assert encode_key("iface", vrf=1, ifindex=7, mtu=9) == body[:8]


def test_a_key_of_zeros_is_sent_whole() -> None:
    assert encode("vrf") == bytes(4)
    assert encode("route", vrf=0) == bytes(FEATURES["route"].key_size)


def test_addresses_are_text() -> None:
    hops = [
        {"ifindex": 3, "family": 2, "flags": ["ONLINK"], "weight": 1, "gateway": "192.0.2.1"},
        {"ifindex": 4, "family": 10, "flags": [], "weight": 5, "gateway": "fe80::1"},
        {"ifindex": 5, "family": 0, "flags": [], "weight": 1, "gateway": ""},
    ]
    body = encode("route", family=2, dst="198.51.100.0", plen=24, nexthops=hops)
    shown = decode("route", body)
    assert (shown["dst"], shown["plen"], shown["nexthops"]) == ("198.51.100.0", 24, hops)
    assert decode_key("route", body) == {
        "vrf": 0, "table": 0, "metric": 0, "family": 2, "plen": 24, "tos": 0, "dst": "198.51.100.0",
    }  # fmt: skip
    assert decode("neigh", encode("neigh", family=10, addr="::"))["addr"] == "::"


def test_unknown_flags_are_shown_as_they_are() -> None:
    assert flag_names("struct fpc_iface")["UP"] == 1
    assert decode("iface", encode("iface", ifindex=1, flags=3))["flags"] == ["UP", "RUNNING"]
    assert decode("iface", encode("iface", ifindex=1, flags=1 << 30))["flags"] == 1 << 30
    with pytest.raises(KeyError):
        encode("iface", flags=["NO_SUCH"])


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"no_such": 1}, KeyError),
        ({"mac": "02:00:00:00:00:00:00"}, ValueError),
        ({"mac": b"1234567"}, ValueError),
        ({"mtu": 1 << 32}, OverflowError),
        ({"name": "a" * 17}, IndexError),
        ({"ifindex": "x"}, TypeError),
    ],
)
def test_wrong_fields_are_errors(fields: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode("iface", **fields)


def test_a_struct_filled_by_hand_is_the_same() -> None:
    struct = new("vrf", vrf=3)
    struct.flags = 1
    assert to_body("vrf", struct) == encode("vrf", vrf=3, flags=["POLICY4"])


@given(st.sampled_from(OBJECTS), st.binary(max_size=2000))
def test_any_bytes_can_be_shown(name: str, body: bytes) -> None:
    json.dumps(decode(name, body))
    json.dumps(decode_key(name, body))


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(
        st.fixed_dictionaries(
            {
                "ifindex": st.integers(1, 2**32 - 1),
                "family": st.just(10),
                "weight": st.integers(1, 256),
                "gateway": st.ip_addresses(v=6).map(str),
            }
        ),
        max_size=64,
    ),
    st.ip_addresses(v=6),
    st.integers(0, 128),
)
def test_json_gives_the_same_frame_again(
    vrf: int, metric: int, hops: list[dict[str, object]], dst: object, plen: int
) -> None:
    body = encode(
        "route", vrf=vrf, metric=metric, family=10, dst=str(dst), plen=plen, nexthops=hops, type=1
    )
    for frame in (
        Frame(Verb.SET, FEATURES["route"].id, 0, 0, body),
        Frame(Verb.DEL, FEATURES["route"].id, 1, 0, body[:32]),
        Frame(Verb.SYNC_BEGIN, 0, 1),
        Frame(Verb.DUMP, FEATURES["iface"].id),
    ):
        assert from_json(json.loads(json.dumps(to_json(frame)))) == frame
