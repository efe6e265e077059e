"""cmgrd against the appliance's own kernel: the kinds of links and policies that a build machine's kernel lacks."""

import asyncio
import socket
import subprocess
from typing import Any

import pytest
from _sluice import lib
from sluice.cmgrd.follower import Follower
from sluice.fpc import FEATURES, decode

from tests.cmgrd.kernel import equals_fresh, following, in_namespace, ip
from tests.cmgrd.scenarios import SETUP

pytestmark = pytest.mark.vm


def flags(follower: Follower, name: str) -> set[str]:
    found = follower.core.objects.wanted[FEATURES["iface"].id].values()
    return {f for body in found if (o := decode("iface", body))["name"] == name for f in o["flags"]}


def table(follower: Follower, name: str) -> int:
    """That of the VRF device it's a port of."""
    found = follower.core.objects.wanted[FEATURES["iface"].id].values()
    (number,) = (o["table"] for body in found if (o := decode("iface", body))["name"] == name)
    return int(number)


def policy(follower: Follower) -> set[str]:
    (body,) = follower.core.objects.wanted[FEATURES["vrf"].id].values()
    return set(decode("vrf", body)["flags"])


def routes(follower: Follower) -> set[str]:
    found = follower.core.objects.wanted[FEATURES["route"].id].values()
    shown = [decode("route", body) for body in found]
    return {f"{route['dst']}/{route['plen']}" for route in shown if route["table"] == 254}


async def until_true(what: str, condition: object) -> None:
    assert callable(condition)
    try:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(what) from None


def test_a_vrf_device_takes_its_links_and_their_routes() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            assert "192.0.2.0/24" in routes(follower)
            ip("link add red type vrf table 10", "link set red up", "link set p1 master red")
            await until_true("p1 isn't its port", lambda: table(follower, "p1") == 10)
            await until_true("still in main", lambda: "192.0.2.0/24" not in routes(follower))
            assert table(follower, "p2") == 0
            assert "SLAVE" not in flags(follower, "p1")
            # The rule that the kernel adds for it concerns its links alone.
            assert not policy(follower)
            await equals_fresh(follower, timeout=30)
            ip("link del red")
            await until_true("not back in main", lambda: "192.0.2.0/24" in routes(follower))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def test_a_bond_takes_its_links() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            ip(
                "link add bond7 type bond mode active-backup",
                "link set p1 down",
                "link set p1 master bond7",
            )
            await until_true("p1 isn't a slave", lambda: "SLAVE" in flags(follower, "p1"))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def test_a_macvlan_makes_the_device_below_foreign() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            ip("link add above link p1 type macvlan", "link add v7 link p2 type vlan id 7")
            await until_true("p1 isn't foreign", lambda: "FOREIGN" in flags(follower, "p1"))
            assert "FOREIGN" not in flags(follower, "p2")
            ip("link del above")
            await until_true("p1 stays foreign", lambda: "FOREIGN" not in flags(follower, "p1"))
            await equals_fresh(follower, timeout=30)

    in_namespace(run)


def sas(follower: Follower) -> dict[str, dict[str, Any]]:
    """By SPI in hex."""
    found = follower.core.objects.wanted[FEATURES["ipsec"].id].values()
    shown = [decode("ipsec", body) for body in found]
    return {f"{socket.ntohl(one['spi']):#x}": one for one in shown if one["kind"] == 1}


GCM = "aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
CBC = "enc cbc(aes) 0xa0a1a2a3a4a5a6a7a8a9aaabacadaeaf auth-trunc hmac(sha256) 0xb0b1b2b3b4b5b6b7b8b9babbbcbdbebf 128"
ENDS = "src 192.0.2.1 dst 192.0.2.2 proto esp"


def xfrm(words: str) -> None:
    subprocess.run(["ip", "xfrm", *words.split()], check=True, stdout=subprocess.DEVNULL)


def test_sas_are_followed() -> None:
    """Added, reserved and filled, updated, expired, deleted, flushed; of some the contract knows nothing."""

    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            xfrm(f"state add {ENDS} spi 0x101 reqid 7 mode tunnel replay-window 64 flag esn {GCM}")
            await until_true("no SA", lambda: set(sas(follower)) == {"0x101"})
            one = sas(follower)["0x101"]["sa"]
            assert (one["cipher"], one["icv_len"], one["reqid"]) == (lib.FPC_IPSEC_AES_GCM, 16, 7)
            assert (one["replay_window"], one["key_len"], one["mode"]) == (64, 20, 1)
            xfrm(f"state allocspi {ENDS} mode tunnel min 0x102 max 0x102")
            xfrm(f"state update {ENDS} spi 0x102 mode tunnel {CBC}")
            await until_true("not filled", lambda: set(sas(follower)) == {"0x101", "0x102"})
            # An update of one that is there changes its limits only.
            xfrm(f"state update {ENDS} spi 0x102 mode tunnel {CBC} limit byte-soft 12345")
            await until_true("limits", lambda: sas(follower)["0x102"]["sa"]["soft_bytes"] == 12345)
            xfrm(f"state add {ENDS} spi 0x103 mode tunnel {GCM} limit time-hard 2")
            xfrm(f"state add {ENDS} spi 0x104 mode tunnel aead rfc4309(ccm(aes)) 0x{'11' * 19} 128")
            await until_true("no CCM", lambda: "0x104" in sas(follower))
            assert sas(follower)["0x104"]["flags"] == ["LINUX"]
            assert sas(follower)["0x104"]["sa"]["key_len"] == 0
            await until_true("it doesn't expire", lambda: "0x103" not in sas(follower))
            await equals_fresh(follower, timeout=30)
            xfrm(f"state delete {ENDS} spi 0x101")
            await until_true("not gone", lambda: set(sas(follower)) == {"0x102", "0x104"})
            xfrm("state flush")
            await until_true("not flushed", lambda: not sas(follower))
            await equals_fresh(follower, timeout=30)
            assert not follower.core.counts["malformed"]

    in_namespace(run)


def test_200_tunnels_survive_lost_messages_and_rekeys() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following(buffer=1) as follower:
            for spi in range(0x1000, 0x10C8):
                xfrm(f"state add {ENDS} spi {spi:#x} reqid {spi} mode tunnel {GCM}")
            await until_true("SAs lack", lambda: len(sas(follower)) == 200)
            await equals_fresh(follower, timeout=60)
            before = follower.core.objects.changes
            for spi in range(0x1000, 0x1014):
                xfrm(f"state add {ENDS} spi {spi + 0x1000:#x} reqid {spi} mode tunnel {GCM}")
                xfrm(f"state delete {ENDS} spi {spi:#x}")
            await until_true("no rekey", lambda: follower.core.objects.changes >= before + 40)
            await equals_fresh(follower, timeout=60)
            assert len(sas(follower)) == 200

    in_namespace(run)


def test_neighbours_of_a_device_without_arp_are_left_out() -> None:
    async def run() -> None:
        ip(
            *SETUP,
            "link add quiet type dummy",
            "link set quiet up",
            "address add 203.0.113.1/24 dev quiet",
        )
        async with following() as follower:
            subprocess.run(
                ["ping", "-c", "1", "-W", "1", "203.0.113.9"], capture_output=True, check=False
            )
            shown = subprocess.run(
                ["ip", "neigh", "show", "nud", "noarp"], capture_output=True, text=True, check=True
            )
            assert "203.0.113.9" in shown.stdout
            await equals_fresh(follower, timeout=30)
            found = follower.core.objects.wanted[FEATURES["neigh"].id].values()
            assert "203.0.113.9" not in {decode("neigh", body)["addr"] for body in found}

    in_namespace(run)


def test_an_mpls_encapsulated_route_is_left_to_linux() -> None:
    async def run() -> None:
        ip(*SETUP)
        subprocess.run(["modprobe", "mpls_iptunnel"], check=False)
        async with following() as follower:
            subprocess.run(
                ["ip", "route", "add", "203.0.113.0/24", "encap", "mpls", "77", "via", "192.0.2.2"],
                check=True,
            )
            await until_true("no route", lambda: "203.0.113.0/24" in routes(follower))
            found = follower.core.objects.wanted[FEATURES["route"].id].values()
            shown = [decode("route", body) for body in found]
            (route,) = [r for r in shown if r["dst"] == "203.0.113.0"]
            assert route["flags"] == ["UNSUPPORTED"]
            await equals_fresh(follower, timeout=30)

    in_namespace(run)
