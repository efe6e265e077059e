# SPDX-License-Identifier: BSD-3-Clause
"""Nobody has asked for IPsec in the fast path: all of it is Linux's, packets untouched."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.ipsec.ciphers import GCM
from tests.ipsec.tunnels import coming, from_lan, from_wan, plain, tunnel
from tests.packet.harness import Port, Router

pytestmark = pytest.mark.packet


@pytest.fixture
def router() -> Iterator[Router]:
    with closing(Router(settings=["FP_MAX_SAS=auto"])) as one:
        one.vrf(0)
        yield one


def test_what_a_policy_protects_is_linuxs(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    frame = from_lan(plain())
    got = lan.receives(frame)
    assert (got.kind, got.frame) == ("linux", frame)


def test_esp_is_linuxs(router: Router, lan: Port, wan: Port) -> None:
    tunnel(router)
    frame = from_wan(coming(GCM, plain(back=True)))
    got = wan.receives(frame)
    assert (got.kind, got.reason, got.frame) == ("linux", "ipsec_sa", frame)
