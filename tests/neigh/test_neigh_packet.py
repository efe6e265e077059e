# SPDX-License-Identifier: BSD-3-Clause
"""Neighbours: found by the packet's destination or named by a route, in every order of coming and going."""

import random
from ipaddress import ip_address
from typing import Any

import pytest
from _sluice import lib
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.packet.harness import Port, Refused, Router

pytestmark = pytest.mark.packet

HOST, LAN, WAN = "02:00:00:00:aa:10", "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture
def lan(router: Router) -> Port:
    port = router.port("lan")
    router.address("192.0.2.1/24", port)
    return port


@pytest.fixture
def wan(router: Router, lan: Port) -> Port:
    port = router.port("wan")
    router.address("198.51.100.1/24", port)
    return port


def udp(dst: str) -> bytes:
    return bytes(Ether(src=HOST, dst=LAN) / IP(src="192.0.2.10", dst=dst) / UDP())


def mac_of(lan: Port, dst: str) -> str:
    """Where a packet to `dst` is sent; else why not."""
    verdict = lan.receives(udp(dst))
    return verdict.frame[:6].hex(":") if verdict.kind == "sent" else verdict.reason


def test_a_new_mac_is_used_at_once(router: Router, lan: Port, wan: Port) -> None:
    for low in range(1, 5):
        router.neighbour("198.51.100.10", wan, f"02:00:00:00:bb:{low:02x}")
        assert mac_of(lan, "198.51.100.10") == f"02:00:00:00:bb:{low:02x}"


def test_a_deleted_neighbour_is_linux_s_to_resolve(router: Router, lan: Port, wan: Port) -> None:
    neighbour = router.neighbour("198.51.100.10", wan, "02:00:00:00:bb:10")
    router.route("203.0.113.0/24", via="198.51.100.10", dev=wan)
    assert mac_of(lan, "203.0.113.1") == "02:00:00:00:bb:10"
    router.delete("neigh", neighbour)
    assert mac_of(lan, "198.51.100.10") == "ip_neighbour"
    assert mac_of(lan, "203.0.113.1") == "ip_neighbour"
    router.set("neigh", neighbour)
    assert mac_of(lan, "198.51.100.10") == "02:00:00:00:bb:10"
    assert mac_of(lan, "203.0.113.1") == "02:00:00:00:bb:10"


def test_a_neighbour_s_row_goes_with_the_last_who_names_it(
    router: Router, lan: Port, wan: Port
) -> None:
    used = router.used("neigh")
    route = router.route("203.0.113.0/24", via="198.51.100.10", dev=wan)
    neighbour = router.neighbour("198.51.100.10", wan, "02:00:00:00:bb:10")
    assert router.used("neigh") == used + 1
    router.delete("neigh", neighbour)
    assert router.used("neigh") == used + 1
    router.delete("route", route)
    assert router.used("neigh") == used


def test_the_same_address_on_another_interface_is_another_neighbour(
    router: Router, lan: Port, wan: Port
) -> None:
    dmz = router.port("dmz")
    router.neighbour("198.51.100.10", dmz, "02:00:00:00:dd:10")
    assert mac_of(lan, "198.51.100.10") == "ip_neighbour"
    router.neighbour("198.51.100.10", wan, "02:00:00:00:bb:10")
    assert mac_of(lan, "198.51.100.10") == "02:00:00:00:bb:10"


def test_a_neighbour_without_a_mac_is_linux_s(router: Router, lan: Port, wan: Port) -> None:
    router.neighbour("198.51.100.10", wan, "00:00:00:00:00:00")
    assert mac_of(lan, "198.51.100.10") == "ip_neighbour"


def test_a_neighbour_waits_for_its_interface(router: Router, lan: Port, wan: Port) -> None:
    wan.delete()
    router.neighbour("198.51.100.10", wan, "02:00:00:00:bb:10")
    assert [flags for flags, _ in router.dump("neigh")] == [lib.FPC_F_PARKED]
    assert router.used("neigh") == 0
    wan.change()
    assert mac_of(lan, "198.51.100.10") == "02:00:00:00:bb:10"


def test_an_interface_that_comes_back_brings_all_back(router: Router, lan: Port, wan: Port) -> None:
    router.neighbour("198.51.100.10", wan, "02:00:00:00:bb:10")
    router.route("203.0.113.0/24", via="198.51.100.10", dev=wan)
    wan.delete()
    assert mac_of(lan, "198.51.100.10") == "ip_output_down"
    assert mac_of(lan, "203.0.113.1") == "ip_output_down"
    wan.change(mac=bytes.fromhex("02000000f002"))
    verdict = lan.receives(udp("203.0.113.1"))
    assert verdict.kind == "sent"
    assert verdict.frame[:12] == bytes.fromhex("02000000bb10 02000000f002")


def test_another_family_and_addresses_with_a_tail_are_refused(router: Router, wan: Port) -> None:
    good = {"vrf": 0, "ifindex": wan.ifindex, "family": 2, "addr": bytes(16), "mac": b"\2" * 6}
    for bad, name in (
        ({"family": 7}, "family"),
        ({"addr": bytes([198, 51, 100, 10]) + b"\0" * 11 + b"\1"}, "addr"),
    ):
        with pytest.raises(Refused) as refused:
            router.set("neigh", good | bad)
        assert refused.value.field == name


def test_a_full_table_refuses_and_its_packets_are_linux_s() -> None:
    router = Router(settings=["FP_MAX_NEIGHBOURS=64"])
    try:
        router.vrf(0)
        lan, wan = router.port("lan"), router.port("wan")
        router.address("192.0.2.1/24", lan)
        router.address("198.51.100.1/24", wan)
        for low in range(10, 73):
            router.neighbour(f"198.51.100.{low}", wan, "02:00:00:00:bb:10")
        with pytest.raises(Refused) as refused:
            router.neighbour("198.51.100.99", wan, "02:00:00:00:bb:99")
        assert "FP_MAX_NEIGHBOURS" in refused.value.text
        assert mac_of(lan, "198.51.100.99") == "ip_neighbour"
        with pytest.raises(Refused):
            router.route("203.0.113.0/24", via="198.51.100.200", dev=wan)
        assert mac_of(lan, "203.0.113.1") == "ip_linux_route"
    finally:
        router.close()


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_are_found_as_in_a_dictionary(
    router: Router, lan: Port, wan: Port, seed: int
) -> None:
    """Chains of the hash are made, cut in the middle and grown again."""
    rng = random.Random(seed)
    known: dict[str, dict[str, Any]] = {}
    for _ in range(300):
        name = str(ip_address("198.51.100.0") + rng.randrange(2, 255))
        if name in known and rng.random() < 0.5:
            router.delete("neigh", known.pop(name))
        else:
            known[name] = router.neighbour(name, wan, f"02:00:00:{rng.randrange(256):02x}:bb:01")
        if rng.random() < 0.3:
            asked = str(ip_address("198.51.100.0") + rng.randrange(2, 255))
            want = known[asked]["mac"].hex(":") if asked in known else "ip_neighbour"
            assert mac_of(lan, asked) == want
    assert router.used("neigh") == len(known)
