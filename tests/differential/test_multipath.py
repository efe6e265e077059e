"""Routes with several next hops: with net.ipv4.fib_multipath_hash_seed set, the fast path gives each flow the one that
Linux gives it, frame by frame.
"""

import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from lab.netns import ip_batch
from lab.proc import wait_for
from tests.differential.fixtures import FAMILIES
from tests.differential.harness import DiffRig, asked_seed, summary
from tests.lib.generate import IPV4, Made
from tests.lib.rig import LEFT

pytestmark = pytest.mark.functional

SEED = Path("/proc/sys/net/ipv4/fib_multipath_hash_seed")
FLOWS = 250
# To the right: a multipath route (tests/differential/harness.py), next hop groups, and one that grew by and by.
TO4 = (
    ("203.0.113.{}", range(16, 30)),
    ("100.70.1.{}", range(1, 255)),
    ("100.71.1.{}", range(1, 255)),
)
TO6 = (
    ("2001:db8:5::{:x}", range(1, 999)),
    ("2001:db8:70::{:x}", range(1, 999)),
    ("2001:db8:71::{:x}", range(1, 999)),
)
ROUTES = (
    *(f"nexthop add id 4{n} via 198.51.100.{n} dev p2" for n in (10, 11, 12)),
    *(f"nexthop add id 6{n} via 2001:db8:2::{n:x} dev p2" for n in (10, 11, 12)),
    "nexthop add id 400 group 412,5/410,3/411,7",
    "nexthop add id 600 group 612,5/610,3/611,7",
    "route add 100.70.0.0/16 nhid 400",
    "route add 2001:db8:70::/48 nhid 600",
    # One flow's hash may lie between the 256ths that fast path looks at first.
    "route add 100.71.0.0/16"
    + "".join(
        f" nexthop via 198.51.100.{n} weight {w}" for n, w in ((11, 101), (10, 77), (12, 79))
    ),
    "route add 2001:db8:71::/48 via 2001:db8:2::c",
    "route append 2001:db8:71::/48 via 2001:db8:2::a",
    "route append 2001:db8:71::/48 nexthop via 2001:db8:2::b weight 4 nexthop via 2001:db8:2::2",
    "route del 2001:db8:71::/48 via 2001:db8:2::2",
)


@pytest.fixture(scope="module", autouse=True)
def routes(off: DiffRig, on: DiffRig) -> Iterator[None]:
    if not SEED.exists():
        pytest.skip("this kernel's hash has no seed that could be set (Linux 6.11)")
    for rig in (off, on):
        ip_batch(rig.rig.router.namespace, ROUTES)
    on.rig.wait_for_prefixes({"100.70.0.0/16", "2001:db8:70::/48", "100.71.0.0/16"})
    yield
    for rig in (off, on):
        hash_as(rig, 0, 0)
        for number in (400, 600, *range(410, 413), *range(610, 613)):
            rig.rig.router.ip(f"nexthop del id {number}")
        rig.rig.router.ip("route del 100.71.0.0/16")
        rig.rig.router.ip("-6 route del 2001:db8:71::/48")


def hash_as(rig: DiffRig, policy: int, seed: int) -> None:
    rig.rig.router.sysctl(
        {
            "net.ipv4.fib_multipath_hash_policy": str(policy),
            "net.ipv6.fib_multipath_hash_policy": str(policy),
            "net.ipv4.fib_multipath_hash_seed": str(seed),
        }
    )
    if not rig.rig.on:
        return
    os.kill(rig.rig.cmgrd.pid, signal.SIGHUP)  # nobody tells it of sysctls; it looks now and then
    wait_for(
        lambda: rig.rig.fast_path.multipath() == (policy, seed),
        "the hash's settings in the fast path",
        timeout=20,
        interval=0.05,
    )


def upper4(chance: random.Random, ip: Packet) -> Packet:
    sport, dport = chance.randrange(1, 65536), chance.randrange(1, 65536)
    other = IP(src=ip.dst, dst=ip.src) / UDP(sport=dport, dport=sport) / b"quoted"
    kind = chance.choice([UDP, UDP, TCP, ICMP, "raw", "fragment", "error", "short"])
    match kind:
        case "raw":  # ESP, AH, SCTP, UDP-Lite, GRE, IP in IP, something
            ip.proto = chance.choice([50, 51, 132, 136, 47, 4, 200])
            return ip / Raw(chance.randbytes(24))
        case "fragment":
            ip.proto, ip.frag, ip.flags = 17, *chance.choice([(0, "MF"), (3, "MF"), (3, 0)])
            return ip / Raw(chance.randbytes(32))
        case "error":
            return ip / ICMP(type=chance.choice([3, 11, 12]), code=1) / other
        case "short":
            ip.proto = 17
            return ip / Raw(chance.randbytes(chance.randrange(4)))
    layer = kind(id=sport) if kind is ICMP else kind(sport=sport, dport=dport)
    return ip / layer / Raw(chance.randbytes(8))


def upper6(chance: random.Random, ip: Packet) -> Packet:
    sport, dport = chance.randrange(1, 65536), chance.randrange(1, 65536)
    ip.fl = chance.choice([0, chance.randrange(1 << 20)])
    udp = UDP(sport=sport, dport=dport) / Raw(chance.randbytes(8))
    kind = chance.choice(["udp", "udp", "tcp", "echo", "raw", "options", "fragment", "error"])
    match kind:
        case "tcp":
            return ip / TCP(sport=sport, dport=dport)
        case "echo":
            return ip / ICMPv6EchoRequest(id=sport)
        case "raw":
            ip.nh = chance.choice([50, 51, 132, 136, 47, 200])
            return ip / Raw(chance.randbytes(24))
        case "options":
            return ip / IPv6ExtHdrDestOpt() / udp
        case "fragment":
            return ip / IPv6ExtHdrFragment(m=1, id=sport, offset=chance.choice([0, 3])) / udp
        case "error":
            return ip / ICMPv6TimeExceeded() / IPv6(src=ip.dst, dst=ip.src, fl=dport) / udp
    return ip / udp


def flows(chance: random.Random, family: int) -> list[tuple[str, Made]]:
    made = []
    for number in range(FLOWS):
        text, numbers = chance.choice(TO4 if family == IPV4 else TO6)
        target = text.format(chance.choice(numbers))
        near = LEFT.host4[:-1] if family == IPV4 else LEFT.host6[:-1]
        source = f"{near}{chance.randrange(2, 10)}"
        if family == IPV4:
            packet = upper4(chance, IP(src=source, dst=target, id=number, ttl=40))
        else:
            packet = upper6(chance, IPv6(src=source, dst=target, hlim=40))
        frame = bytes(Ether(src=LEFT.host_mac, dst=LEFT.port_mac) / packet)
        made.append(("left", Made(number, frame.ljust(60, b"\0"), "flow")))
    return made


@FAMILIES
@pytest.mark.parametrize("policy", [0, 1])
def test_each_flow_takes_the_next_hop_that_linux_gives_it(
    off: DiffRig, on: DiffRig, family: int, policy: int
) -> None:
    seed = asked_seed()
    print(f"seed {seed}: DIFF_SEED={seed} repeats this")
    chance = random.Random(seed)
    key = chance.randrange(1, 1 << 32)
    for rig in (off, on):
        hash_as(rig, policy, key)
    made = flows(chance, family)
    before = on.rig.fast_path.counters()
    linux, fast = (Counter(rig.outputs(made, patience=0)["right"]) for rig in (off, on))
    carried = on.rig.fast_path.counters() - before
    different = [
        f"{who}: {frame[:6].hex(':')} {summary(frame)}"
        for who, those in (("Linux", linux - fast), ("fast path", fast - linux))
        for frame in those
    ]
    assert not different, f"hash seed {key:#x}\n" + "\n".join(
        sorted(different, key=lambda d: d[::-1])
    )
    assert {frame[5] - 0xA0 for frame in linux} == {10, 11, 12}
    assert linux.total() >= FLOWS * 0.9
    assert carried.forwarded >= FLOWS * 0.75, carried


def test_another_seed_gives_other_next_hops(on: DiffRig) -> None:
    """Else a test of equal choices wouldn't say much."""
    chance = random.Random(1)
    made = flows(chance, socket.AF_INET)
    chosen = []
    for seed in (1, 2):
        hash_as(on, 0, seed)
        chosen.append(Counter(on.outputs(made, patience=0)["right"]))
    assert sum((chosen[0] - chosen[1]).values()) > FLOWS / 4
