"""Which rules of nftables cmgrd understands, by what `nft` really makes of a text and the kernel shows of it."""

import asyncio
import struct
import subprocess
from collections.abc import Mapping

import pytest
from sluice.cmgrd.kernel import Clamp
from sluice.fpc import FEATURES, decode

from tests.cmgrd.kernel import equals_fresh, following, in_namespace

pytestmark = pytest.mark.functional

SYN = "tcp flags syn tcp option maxseg size set"
UNDERSTOOD = {
    f"{SYN} rt mtu": Clamp(2, 2, "", "", 0),
    f"{SYN} 1360": Clamp(2, 2, "", "", 1360),
    f"meta l4proto tcp {SYN} rt mtu": Clamp(2, 2, "", "", 0),
    f'oifname "p2" {SYN} rt mtu': Clamp(2, 2, "", "p2", 0),
    f'iifname "p1" oifname "wan15characters" {SYN} 1220': Clamp(2, 2, "p1", "wan15characters", 1220),
    "tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu": Clamp(6, 2, "", "", 0),
    "tcp flags & (syn|rst|ack) == syn|ack tcp option maxseg size set 1400": Clamp(22, 18, "", "", 1400),
    f'{SYN} 1460 comment "for people"': Clamp(2, 2, "", "", 1460),
}  # fmt: skip
OTHERS = [
    f"counter {SYN} rt mtu",
    f"{SYN} rt mtu counter",
    f"{SYN} rt mtu accept",
    f"ip saddr 192.0.2.1 {SYN} rt mtu",
    f'iifname "p*" {SYN} rt mtu',
    f'iifname != "p1" {SYN} rt mtu',
    f'oifname {{ "p1", "p2" }} {SYN} rt mtu',
    f"iif lo {SYN} rt mtu",
    "tcp option maxseg size set rt mtu",
    "tcp flags rst tcp option maxseg size set rt mtu",
    "tcp flags & (fin|syn|rst) != syn tcp option maxseg size set rt mtu",
    "tcp flags & (syn|rst) == 0 tcp option maxseg size set rt mtu",
    "tcp flags syn reset tcp option maxseg",
    "tcp dport 80 accept",
    "ip protocol tcp tcp flags syn tcp option maxseg size set rt mtu",
    "drop",
]
CHAIN = "add table inet t; add chain inet t c { type filter hook forward priority 0; }"
BOTH = ["POLICY4", "POLICY6"]
Wanted = Mapping[int, Mapping[bytes, bytes]]


def clamps(wanted: Wanted) -> set[tuple[int, Clamp]]:
    """The feature's objects: family, and the rule."""
    found = set()
    for body in wanted[FEATURES["mss"].id].values():
        _, family, mask, value, source, target, route, size = struct.unpack(
            "=IBBBx16s16sIHxx", body.ljust(48, b"\0")
        )
        come, go = (name.rstrip(b"\0").decode() for name in (source, target))
        assert bool(route) is not bool(size)
        found.add((family, Clamp(mask, value, come, go, size)))
    return found


def guards(wanted: Wanted) -> object:
    return decode("vrf", next(iter(wanted[FEATURES["vrf"].id].values())))["flags"]


async def until(wanted: Wanted, guard: list[str], rules: set[tuple[int, Clamp]]) -> None:
    """Until the fast path would have these clamps and flags."""
    try:
        async with asyncio.timeout(5):
            while (guards(wanted), clamps(wanted)) != (guard, rules):
                await asyncio.sleep(0.01)
    except TimeoutError:
        assert (guards(wanted), clamps(wanted)) == (guard, rules)


def nft(command: str) -> None:
    subprocess.run(["nft", command], check=True)


def test_clamps_are_followed_and_guard_nothing() -> None:
    async def run() -> None:
        async with following() as follower:
            wanted = follower.core.objects.wanted
            for text, rule in UNDERSTOOD.items():
                nft(f"{CHAIN}; add rule inet t c {text}")
                await until(wanted, [], {(2, rule), (10, rule)})
                nft("delete table inet t")
                await until(wanted, [], set())

    in_namespace(run)


def test_any_other_rule_in_the_chain_keeps_the_guard() -> None:
    async def run() -> None:
        async with following() as follower:
            wanted = follower.core.objects.wanted
            rule = UNDERSTOOD[f"{SYN} rt mtu"]
            nft(f"{CHAIN}; add rule inet t c {SYN} rt mtu")
            await until(wanted, [], {(2, rule), (10, rule)})
            for text in OTHERS:
                nft(f"add rule inet t c {text}")
                await until(wanted, BOTH, {(2, rule), (10, rule)})
                nft(f"flush chain inet t c; add rule inet t c {SYN} rt mtu")
                await until(wanted, [], {(2, rule), (10, rule)})

    in_namespace(run)


def test_other_chains_families_and_policies_count() -> None:
    async def run() -> None:
        async with following() as follower:
            wanted = follower.core.objects.wanted
            rule = UNDERSTOOD[f"{SYN} rt mtu"]
            for family, kept in (("ip", {(2, rule)}), ("ip6", {(10, rule)})):
                nft(CHAIN.replace("inet", family) + f"; add rule {family} t c {SYN} rt mtu")
                await until(wanted, [], kept)
                nft(f"delete table {family} t")
            nft(f"{CHAIN}; add rule inet t c {SYN} rt mtu; add chain inet t c {{ policy drop; }}")
            await until(wanted, BOTH, {(2, rule), (10, rule)})
            nft("add chain inet t c { policy accept; }")
            await until(wanted, [], {(2, rule), (10, rule)})
            nft("add chain inet t d { type filter hook postrouting priority 0; }")
            nft(f"add rule inet t d {SYN} rt mtu")
            await until(wanted, BOTH, {(2, rule), (10, rule)})
            nft("delete chain inet t d; add chain inet t e; add rule inet t e counter")
            await until(wanted, [], {(2, rule), (10, rule)})
            nft("add rule inet t c jump e")
            await until(wanted, BOTH, {(2, rule), (10, rule)})
            nft("delete table inet t")
            await until(wanted, [], set())
            await equals_fresh(follower)

    in_namespace(run)


def test_rules_for_the_same_packets_are_one_object_with_the_least_size() -> None:
    async def run() -> None:
        async with following() as follower:
            wanted = follower.core.objects.wanted
            nft(f"{CHAIN}; add rule inet t c {SYN} 1400; add rule inet t c {SYN} 1300")
            least = Clamp(2, 2, "", "", 1300)
            await until(wanted, [], {(2, least), (10, least)})
            nft(f"insert rule inet t c {SYN} 1350")
            await until(wanted, [], {(2, least), (10, least)})
            nft(f"flush chain inet t c; add rule inet t c {SYN} 1400")
            larger = Clamp(2, 2, "", "", 1400)
            await until(wanted, [], {(2, larger), (10, larger)})

    in_namespace(run)
