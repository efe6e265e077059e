# SPDX-License-Identifier: BSD-3-Clause
"""What fpmd makes of SAs and policies."""

from typing import Any

import pytest
from _sluice import lib

from tests.ipsec.objects import policy, sa, selector, shown, template
from tests.packet.harness import Refused, Router

pytestmark = pytest.mark.packet

HERE, PEER = "198.51.100.1", "198.51.100.2"
OUT, FWD = lib.FPC_IPSEC_OUT, lib.FPC_IPSEC_FWD
SELECTED = selector("192.0.2.0/24", "203.0.113.0/24")


def out_policy(number: int = 1, sel: dict[str, Any] = SELECTED, **fields: Any) -> dict[str, Any]:
    return policy(OUT, sel, template(HERE, PEER, **fields), number=number)


def serving(router: Router) -> list[int]:
    """For each policy the SPI of its SA, 0: none."""
    rows = router.rows("ipsec_sa", "ipsec_sa_row")
    found = (p.sa for p in shown(router, "ipsec_policy"))
    return [
        int.from_bytes(int(rows[at].spi).to_bytes(4, "little"), "big") if at else 0 for at in found
    ]


def spd(router: Router, direction: int, six: int = 0) -> Any:
    return router.rows("ipsec_spd", "ipsec_spd_row")[direction * 2 + six]


def test_keys_of_an_sa_never_come_back(router: Router) -> None:
    key = bytes(range(100, 120))
    router.set("ipsec", sa(HERE, PEER, 0x1234, key=key, auth_key=b""))
    ((_, body),) = router.dump("ipsec")
    assert key[:4] not in body
    assert b"\x00\x00\x12\x34" in body


def test_a_key_of_zeros_is_none(router: Router) -> None:
    """What is dumped or recorded can be sent again, but encrypts nothing."""
    keys = {"key": bytes(20)}, {"auth_key": bytes(32), "auth": lib.FPC_IPSEC_HMAC_SHA256}
    before = router.used("ipsec_sa")
    for one in keys:
        with pytest.raises(Refused, match="key of zeros"):
            router.set("ipsec", sa(HERE, PEER, 0x1234, **one))
    assert router.used("ipsec_sa") == before


def test_a_policy_is_served_by_the_sa_that_linux_would_take(router: Router) -> None:
    router.set("ipsec", out_policy(reqid=7))
    assert serving(router) == [0]
    router.set("ipsec", sa(HERE, PEER, 1, reqid=8))
    router.set("ipsec", sa(PEER, HERE, 2, reqid=7))
    router.set("ipsec", sa(HERE, PEER, 3, reqid=7, mode=lib.FPC_IPSEC_TRANSPORT))
    router.set("ipsec", sa(HERE, PEER, 4, reqid=7, direction=1))
    router.set("ipsec", sa(HERE, PEER, 5, reqid=7, if_id=3))
    assert serving(router) == [0]
    router.set("ipsec", sa(HERE, PEER, 6, reqid=7, add_time=100))
    assert serving(router) == [6]
    router.set("ipsec", sa(HERE, PEER, 7, reqid=7, add_time=99))
    assert serving(router) == [6]
    router.set("ipsec", sa(HERE, PEER, 8, reqid=7, add_time=101))
    assert serving(router) == [8]
    router.delete("ipsec", sa(HERE, PEER, 8))
    assert serving(router) == [6]
    router.delete("ipsec", sa(HERE, PEER, 6))
    assert serving(router) == [7]
    router.delete("ipsec", sa(HERE, PEER, 7))
    assert serving(router) == [0]


def test_an_sa_that_is_there_before_its_policy_serves_it(router: Router) -> None:
    router.set("ipsec", sa(HERE, PEER, 6))
    router.set("ipsec", out_policy())
    assert serving(router) == [6]


def test_new_lifetimes_and_ports_stay_in_the_row_and_a_new_key_does_not(router: Router) -> None:
    router.set("ipsec", sa(HERE, PEER, 6, encap=2, encap_sport=1))
    (before,) = (int(row.generation) for row in shown(router, "ipsec_sa"))
    router.set("ipsec", sa(HERE, PEER, 6, encap=2, encap_sport=2, soft_bytes=1000, oseq=5))
    (row,) = shown(router, "ipsec_sa")
    assert (int(row.generation), row.soft_bytes, row.encap_sport) == (before, 1000, 2)
    router.set("ipsec", sa(HERE, PEER, 6, encap=2, key=bytes(range(20, 40))))
    (row,) = shown(router, "ipsec_sa")
    assert int(row.generation) > before


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": bytes(10)},
        {"cipher": 99},
        {"auth": 99},
        {"proto": 108},
        {"replay_window": 4097},
        {"cipher": lib.FPC_IPSEC_AES_CBC, "key": bytes(33)},
        {"cipher": 0},
    ],
)
def test_an_sa_that_makes_no_sense_is_refused(router: Router, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        router.set("ipsec", sa(HERE, PEER, 6, **wrong))
    assert shown(router, "ipsec_sa") == []


@pytest.mark.parametrize("direction", [OUT, FWD])
def test_a_policy_that_is_refused_makes_its_packets_linuxs(router: Router, direction: int) -> None:
    bad = policy(direction, selector("192.0.2.0/24"), action=2)
    with pytest.raises(Refused):
        router.set("ipsec", bad)
    assert (spd(router, direction).left_out, spd(router, direction, 1).left_out) == (1, 0)
    router.set("ipsec", {**bad, "policy": {**bad["policy"], "action": 1}})
    assert spd(router, direction).left_out == 0
    with pytest.raises(Refused):
        router.set("ipsec", {**bad, "policy": {**bad["policy"], "sel": {}}})
    assert (spd(router, direction).left_out, spd(router, direction, 1).left_out) == (1, 1)
    router.delete("ipsec", bad)
    assert (spd(router, direction).left_out, spd(router, direction, 1).left_out) == (0, 0)
    assert shown(router, "ipsec_policy") == []


def test_pairs_of_prefix_lengths_come_and_go_with_their_policies(router: Router) -> None:
    for i in range(1, 15):
        router.set("ipsec", policy(OUT, selector(f"10.0.0.0/{8 + i}"), number=i, priority=i))
    with pytest.raises(Refused):
        router.set("ipsec", policy(OUT, selector("10.0.0.0/8"), number=16))
    assert spd(router, OUT).left_out == 1
    router.set("ipsec", policy(OUT, selector("10.128.0.0/9"), number=17, priority=0))
    router.delete("ipsec", policy(OUT, selector("10.0.0.0/9"), number=1))
    assert spd(router, OUT).n_policies == 14
    router.delete("ipsec", policy(OUT, selector("10.128.0.0/9"), number=17))
    # Room again: what was refused is taken when it's set again.
    router.set("ipsec", policy(OUT, selector("10.0.0.0/8"), number=16))
    assert (spd(router, OUT).left_out, spd(router, OUT).n_policies) == (0, 14)


def test_a_policy_of_another_mark_or_interface_is_for_no_packet(router: Router) -> None:
    router.set("ipsec", policy(OUT, SELECTED, mark=1, mark_mask=255))
    router.set("ipsec", policy(OUT, SELECTED, number=2, if_id=4))
    assert len(shown(router, "ipsec_policy")) == 2
    assert spd(router, OUT).n_policies == 0
