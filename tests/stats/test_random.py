"""Random packets, right and malformed: Linux's counters say the same of them with the fast path and without.

The routers' own packets (neighbour discovery, group membership) have a life of their own, so what counts those isn't
compared: the exact test does that.
"""

from collections.abc import Collection

import pytest

from tests.differential.fixtures import FAMILIES
from tests.differential.harness import DiffRig, asked_seed, batch
from tests.lib.generate import IPV4
from tests.stats.reading import Numbers, Reader, moved

pytestmark = pytest.mark.functional

RECEIVED = (
    "InReceives", "InHdrErrors", "InTooBigErrors", "InNoRoutes", "InAddrErrors", "InUnknownProtos",
    "InTruncatedPkts", "InDiscards", "ForwDatagrams", "InOctets", "InNoECTPkts", "InECT1Pkts", "InECT0Pkts",
    "InCEPkts", "FragOKs", "FragFails", "FragCreates",
)  # fmt: skip
LINKS = ("rx_packets", "rx_bytes", "rx_errors", "rx_dropped", "tx_dropped", "tx_errors")


def counters(rig: DiffRig) -> dict[str, Numbers]:
    """What is about received packets, as any program reads it."""
    reader = Reader(rig.rig.router, rig.rig.instance if rig.rig.on else None)
    found = reader.all("p1", "p2")
    named = ("snmp", "netstat", "snmp6", "dev_snmp6 p1", "dev_snmp6 p2")
    return {
        source: {
            name: value
            for name, value in numbers.items()
            if (source in named and name.partition(":")[2].endswith(RECEIVED))
            or (source in named and name.startswith("Ip6") and name.endswith(RECEIVED))
            or (source.startswith("ip ") and name in LINKS)
        }
        for source, numbers in found.items()
    }


def differences(linux: dict[str, Numbers], fast: dict[str, Numbers]) -> list[str]:
    """One a line."""
    return [
        f"{source} {name}: Linux {linux[source].get(name, 0)}, fast path {fast[source].get(name, 0)}"
        for source in linux
        for name in sorted(linux[source].keys() | fast[source].keys())
        if linux[source].get(name, 0) != fast[source].get(name, 0)
    ]


CLAMP = "tcp flags syn tcp option maxseg size set rt mtu"


@FAMILIES
def test_random_packets_are_counted_as_linux_would(off: DiffRig, on: DiffRig, family: int) -> None:
    compared(off, on, family, 0, 300)


@FAMILIES
def test_so_they_are_on_their_way_through_an_mss_clamp(
    off: DiffRig, on: DiffRig, family: int
) -> None:
    try:
        for rig in (off, on):
            rig.clamp(CLAMP)
        before = on.rig.fast_path.counters()
        compared(off, on, family, 600)
        carried = on.rig.fast_path.counters() - before
        assert carried.reasons.get("vrf_policy", 0) == 0
        assert carried.forwarded > 100
    finally:
        for rig in (off, on):
            rig.clamp()


def test_so_are_packets_that_are_fragmented(off: DiffRig, on: DiffRig) -> None:
    linux = compared(off, on, IPV4, 900, only=("larger than the MTU",))
    assert linux["snmp"]["Ip:FragCreates"] >= 2 * linux["snmp"]["Ip:FragOKs"] > 100


def compared(
    off: DiffRig, on: DiffRig, family: int, *starts: int, only: Collection[str] = ()
) -> dict[str, Numbers]:
    """Batches from these numbers on; what the last one moved."""
    seed = asked_seed()
    print(f"seed {seed}: DIFF_SEED={seed} repeats this")
    linux: dict[str, Numbers] = {}
    for start in starts:
        made = batch(family, seed, start, 300, only=only)
        results = []
        for rig in (off, on):
            before = counters(rig)
            rig.outputs(made)
            results.append(moved(before, counters(rig)))
        assert sum(results[0]["ip p1"].values()) > 100
        linux, fast = results
        assert fast == linux, "\n".join(differences(linux, fast))
    return linux
