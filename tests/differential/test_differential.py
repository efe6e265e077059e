"""Promise 2: for any packet, the fast path sends what Linux would have sent, or hands it to Linux.

`make test FEATURE=differential DIFF_PACKETS=2000` sends more packets per family, DIFF_SEED=n repeats a run.
"""

from collections.abc import Collection
from pathlib import Path

import pytest

from tests.differential.fixtures import FAMILIES
from tests.differential.harness import (
    NEXT_HOPS,
    DiffRig,
    Outcome,
    asked_count,
    asked_seed,
    batch,
    compare,
    run,
    spread,
)
from tests.lib.generate import IPV4

pytestmark = pytest.mark.functional


def compared(
    rigs: tuple[DiffRig, DiffRig],
    family: int,
    evidence: Path,
    *,
    part: int = 1,
    only: Collection[str] = (),
) -> Outcome:
    """A run over that part of the packets asked for, without a difference."""
    seed, count = asked_seed(), max(asked_count() // part, 100)
    print(f"seed {seed}: DIFF_SEED={seed} DIFF_PACKETS={count * part} repeats this")
    try:
        return run(*rigs, family, seed, count, evidence, only=only)
    except AssertionError:
        rigs[1].rig.collect(evidence)
        raise


@FAMILIES
def test_random_packets_leave_as_linux_would_have_sent_them(
    off: DiffRig, on: DiffRig, family: int, evidence: Path
) -> None:
    outcome = compared((off, on), family, evidence)
    # More than half of the packets are good ones: without the fast path none would count here.
    assert outcome.counters.forwarded >= outcome.packets * 0.4, outcome
    assert outcome.heard >= outcome.packets * 0.5, outcome


@pytest.mark.parametrize("mode", [1, 2], ids=["strict", "loose"])
def test_a_reverse_path_filter_stops_what_linux_stops(
    off: DiffRig, on: DiffRig, mode: int, evidence: Path
) -> None:
    kinds = ("good", "source from elsewhere", "martian source", "fragment")
    for rig in (off, on):
        rig.filter_sources(mode)
    try:
        outcome = compared((off, on), IPV4, evidence, only=kinds)
    finally:
        for rig in (off, on):
            rig.filter_sources(0)
    assert outcome.counters.forwarded >= outcome.packets * 0.4, outcome
    # A loose filter stops few: sources from elsewhere that nobody has a route to.
    assert outcome.counters.reasons.get("ip_rpf", 0) > 0, outcome


def test_packets_beyond_the_mtu_leave_in_the_same_fragments(
    off: DiffRig, on: DiffRig, evidence: Path
) -> None:
    outcome = compared((off, on), IPV4, evidence, part=3, only=("larger than the MTU",))
    # About half of them are for the smaller link or a route with an MTU of its own, and some mustn't be fragmented.
    taken = outcome.packets - outcome.counters.exceptions
    assert taken > outcome.packets * 0.6, outcome
    assert outcome.counters.forwarded >= taken * 1.2, outcome


@FAMILIES
@pytest.mark.parametrize(
    "rules",
    [
        ("tcp flags syn tcp option maxseg size set rt mtu",),
        (
            "tcp flags & (syn|rst) == syn tcp option maxseg size set 1300",
            'iifname "p1" oifname "p2" tcp flags syn tcp option maxseg size set rt mtu',
            'oifname "p1" tcp flags syn tcp option maxseg size set 1220',
        ),
    ],
    ids=["rt mtu", "several"],
)
def test_tcp_s_maximum_segment_size_is_lowered_as_linux_does(
    off: DiffRig, on: DiffRig, family: int, rules: tuple[str, ...], evidence: Path
) -> None:
    kinds = (
        "SYN",
        "good",
        "fragment",
        "extension headers",
        "cut off",
        "total length wrong",
        "source from elsewhere",
    )
    for rig in (off, on):
        rig.clamp(*rules)
    try:
        outcome = compared((off, on), family, evidence, part=3, only=kinds)
    finally:
        for rig in (off, on):
            rig.clamp()
    assert outcome.counters.forwarded >= outcome.packets * 0.4, outcome
    assert outcome.counters.reasons.get("vrf_policy", 0) == 0, outcome
    # Linux gets IPv6's extension headers and a way back that is one of several: hardly more.
    assert outcome.counters.reasons.get("mss_linux", 0) < outcome.packets * 0.2, outcome


@FAMILIES
def test_a_flow_keeps_its_next_hop_and_flows_are_spread_by_weight(on: DiffRig, family: int) -> None:
    """Which of several next hops a flow has, Linux decides anew with each boot: it's compared with
    what it must be.
    """
    found = spread(on, family)
    assert set(found) == {10, 11, 12}
    for number, share in found.items():
        assert abs(share - NEXT_HOPS[number] / sum(NEXT_HOPS.values())) < 0.12, found


@FAMILIES
def test_plain_linux_agrees_with_itself(off: DiffRig, family: int) -> None:
    """What the harness calls equal is so without any fast path: else it'd blame chance."""
    made = batch(family, asked_seed(), 0, 300)
    difference = compare(off.outputs(made), off.outputs(made))
    assert not difference, str(difference)
