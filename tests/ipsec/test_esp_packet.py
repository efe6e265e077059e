# SPDX-License-Identifier: BSD-3-Clause
"""ESP in both directions: what the fast path encrypts must be decrypted elsewhere, and the other way round."""

import pytest
from _sluice import lib
from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP, SecurityAssociation

from tests.ipsec.ciphers import GCM, SUITES, Suite
from tests.ipsec.tunnels import (
    HERE,
    IN_SPI,
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
from tests.packet.harness import Port, Router

pytestmark = pytest.mark.packet

COMBINATIONS = [(4, 4), (6, 4), (4, 6), (6, 6)]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("esn", [False, True], ids=["", "esn"])
def test_each_cipher_in_both_directions(
    router: Router, lan: Port, wan: Port, suite: Suite, esn: bool
) -> None:
    high = 5 if esn else 0
    counts = {"oseq": 7, "oseq_hi": high, "seq": 7, "seq_hi": high}
    tunnel(router, suite, flags=lib.FPC_IPSEC_ESN if esn else 0, **counts)
    for i, size in enumerate((0, 1, 2, 3, 13, 100, 1000, 1300)):
        got = sent(lan.receives(from_lan(plain(size=size))), "wan")
        assert (got.src, got.dst, got.proto, seq_of(got)) == (HERE[4], PEER[4], 50, 8 + i)
        assert opened(suite, got, esn=esn, high=high) == bytes(plain(size=size, ttl=63))
        back = plain(size=size, back=True)
        got = sent(wan.receives(from_wan(coming(suite, back, high << 32 | 8 + i, esn=esn))), "lan")
        assert bytes(got) == bytes(plain(size=size, ttl=63, back=True))


@pytest.mark.parametrize(
    "suite", [suite for suite in SUITES if suite.scapy[0]], ids=lambda suite: suite.name
)
def test_scapy_understands_us_and_we_scapy(
    router: Router, lan: Port, wan: Port, suite: Suite
) -> None:
    tunnel(router, suite)
    ends = {
        spi: SecurityAssociation(
            ESP,
            spi=spi,
            crypt_algo=suite.scapy[0],
            crypt_key=suite.key or None,
            auth_algo=suite.scapy[1],
            auth_key=suite.auth_key or None,
            tunnel_header=IP(src=PEER[4], dst=HERE[4]),
        )
        for spi in (OUT_SPI, IN_SPI)
    }
    for seq, size in enumerate((0, 1, 2, 3, 13, 100, 1300), start=1):
        got = sent(lan.receives(from_lan(plain(size=size))), "wan")
        assert bytes(ends[OUT_SPI].decrypt(got)) == bytes(plain(size=size, ttl=63))
        back = whole(ends[IN_SPI].encrypt(plain(size=size, back=True), seq_num=seq))
        got = sent(wan.receives(from_wan(back)), "lan")
        assert bytes(got) == bytes(plain(size=size, ttl=63, back=True))


@pytest.mark.parametrize(("inner", "outer"), COMBINATIONS)
def test_both_families_within_each_other(
    router: Router, lan: Port, wan: Port, inner: int, outer: int
) -> None:
    tunnel(router, inner=inner, outer=outer)
    got = sent(lan.receives(from_lan(plain(inner))), "wan")
    assert (got.src, got.dst) == (HERE[outer], PEER[outer])
    assert opened(GCM, got) == bytes(plain(inner, ttl=63))
    got = sent(wan.receives(from_wan(coming(GCM, plain(inner, back=True), outer=outer))), "lan")
    assert bytes(got) == bytes(plain(inner, ttl=63, back=True))
