"""The same frames into the same router, once as plain Linux and once with the fast path; both must
send the same.

      h1                                router                              h2
    192.0.2.2-9/24      eth0 -- p1               p2 -- eth0         198.51.100.2-9/24
    2001:db8:1::2-9/64                                              2001:db8:2::2-9/64
                        side -- lin0 (no port of the fast path)
                                198.18.0.0/16, 2001:db8:18::/48

Hosts are silent (no addresses, no ARP): what's heard on their wires is the router's. Their
neighbour entries in the router are permanent; other addresses of the links have no neighbour, so
Linux asks for them and answers with ICMP errors.
"""

import collections
import os
import random
import struct
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.netns import ip_batch
from lab.proc import wait_for
from lab.stacked import Stacked
from tests.lib.fastpath import Counters
from tests.lib.frames import Wire, write_pcap
from tests.lib.generate import IPV4, IPV6, Made, World, frames, hexdump
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, NET4, NET6, RIGHT, SIDES, Driver, Rig, Side

BATCH = 300
MTU_RIGHT = 1400
MTU = {LEFT: 1500, RIGHT: MTU_RIGHT}
# Next hops of routes that have several; whom a packet takes may differ, so their MAC addresses end alike.
NEXT_HOPS = {10: 3, 11: 1, 12: 2}  # by host number: the weight
ODD4 = [
    "203.0.113.65",  # blackhole
    "203.0.113.129",  # unreachable
    "203.0.113.193",  # prohibit
    "203.0.113.225",  # throw: goes on to the default, which there isn't
    "100.64.1.1",  # back to where the left host is
    "198.18.0.5",  # through an interface that's no port
    "192.88.99.1",  # no route
    "192.0.2.1", "198.51.100.1",  # the router itself
    "192.0.2.255", "198.51.100.255", "255.255.255.255",  # broadcast
    "192.0.2.0", "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "240.0.0.1", "224.0.0.1", "224.0.0.5",
    "239.1.2.3", "169.254.1.1",
    "192.0.2.77", "198.51.100.77", "198.51.100.78",  # no neighbour
]  # fmt: skip
ODD6 = [
    "2001:db8:3:4000::1",  # blackhole
    "2001:db8:3:8000::1",  # unreachable
    "2001:db8:3:c000::1",  # prohibit
    "2001:db8:64::1",  # back to where the left host is
    "2001:db8:18::5",  # through an interface that's no port
    "2001:db8:ffff::1",  # no route
    "2001:db8:1::1", "2001:db8:2::1",  # the router itself
    "2001:db8:1::", "2001:db8:2::",  # its anycast address
    "::", "::1", "::ffff:198.51.100.2", "::198.51.100.2", "fe80::1", "fe80::2", "ff01::1", "ff02::1", "ff02::5",
    "ff05::2", "ff0e::1:2", "fec0::1",
    "2001:db8:1::77", "2001:db8:2::77", "2001:db8:2::78",  # no neighbour
]  # fmt: skip
MARTIANS4 = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "192.0.2.1",
    "198.51.100.1", "192.0.2.255", "198.51.100.255", "192.0.2.0",
]  # fmt: skip
STRAYS4 = [
    "192.0.2.9", "198.51.100.9", "192.0.2.88", "203.0.113.2", "203.0.113.20", "203.0.113.50", "203.0.113.70",
    "203.0.113.130", "203.0.113.200", "203.0.113.230", "100.64.3.3", "100.64.200.1", "198.18.3.3", "192.88.99.7",
    "100.65.1.1",
]  # fmt: skip
STRAYS6 = [
    "2001:db8:1::9", "2001:db8:2::9", "2001:db8:3::7", "2001:db8:3:4000::7", "2001:db8:3:8000::7", "2001:db8:64::7",
    "2001:db8:18::7", "2001:db8:ffff::7", "2001:db8:65::7",
]  # fmt: skip
MARTIANS6 = [
    "::", "::1", "ff02::1", "ff0e::1", "fe80::1", "::ffff:192.0.2.2", "2001:db8:1::1", "2001:db8:2::1", "::192.0.2.2",
]  # fmt: skip
NEIGHBOURS = range(2, 10)


def world(side: Side) -> World:
    """What a host can send, and to whom."""
    other = RIGHT if side is LEFT else LEFT
    near4, far4 = side.host4.rpartition(".")[0], other.host4.rpartition(".")[0]
    near6, far6 = side.host6.rpartition("::")[0], other.host6.rpartition("::")[0]
    good4 = [f"{far4}.{n}" for n in NEIGHBOURS]
    good6 = [f"{far6}::{n:x}" for n in NEIGHBOURS]
    if side is LEFT:
        # Behind a gateway, with an MTU of its own, behind one of several.
        good4 += ["203.0.113.1", "203.0.113.40", *(f"203.0.113.{n}" for n in range(16, 22))]
        good6 += ["2001:db8:3::1", "2001:db8:4::5", *(f"2001:db8:5::{n}" for n in range(6))]
    else:
        good4 += ["100.64.1.1", "100.64.255.254", *(f"100.65.1.{n}" for n in range(6))]
        good6 += ["2001:db8:64::1", "2001:db8:66::1", *(f"2001:db8:65::{n}" for n in range(6))]
    return World(
        host_mac=side.host_mac,
        port_mac=side.port_mac,
        sources={
            IPV4: [
                *(f"{near4}.{n}" for n in NEIGHBOURS),
                "100.64.9.9" if side is LEFT else "203.0.113.9",
            ],
            IPV6: [
                *(f"{near6}::{n:x}" for n in NEIGHBOURS),
                "2001:db8:64::9" if side is LEFT else "2001:db8:3::9",
            ],
        },
        good={IPV4: good4, IPV6: good6},
        odd={IPV4: ODD4, IPV6: ODD6},
        martians={IPV4: MARTIANS4, IPV6: MARTIANS6},
        strays={IPV4: STRAYS4, IPV6: STRAYS6},
        mtu=MTU[side],
        far_mtu=MTU[other],
    )


SPREAD = {
    LEFT: ("100.65.0.0/16", "2001:db8:65::/48"),
    RIGHT: ("203.0.113.16/28", "2001:db8:5::/48"),
}


def next_hop_mac(side: Side, number: int) -> str:
    """Of one of several next hops."""
    return f"{side.host_mac[:-2]}{0xA0 + number:x}"


class DiffRig(Stacked):
    """A rig with more routes, and an ear on each wire."""

    def __init__(self, work: Path, driver: Driver) -> None:
        super().__init__()
        self.rig = Rig(
            work, driver=driver, silent_hosts=True, settings={"FP_EXCEPTION_RATE": "1000000"}
        )

    def build(self) -> None:
        self.stack.enter_context(self.rig)
        self.configure()
        self.wires = {
            "left": self.stack.enter_context(Wire(self.rig.h1.namespace, "eth0")),
            "right": self.stack.enter_context(Wire(self.rig.h2.namespace, "eth0")),
            "side": self.stack.enter_context(Wire(self.rig.h1.namespace, "side")),
        }
        if self.rig.on:
            self.stir()
            self.rig.note_buffers()

    def stir(self) -> None:
        """A packet through each port."""
        for side, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            one = udp_frame((side.host_mac, side.host4), (side.port_mac, other.host4), b"stir")
            self.wires["left" if side is LEFT else "right"].send([one])

    def configure(self) -> None:
        rig = self.rig
        rig.router.ip(
            f"link add lin0 address 02:00:00:00:03:01 type veth peer name side netns {rig.h1.namespace}"
        )
        rig.h1.sysctl({"net.ipv6.conf.side.disable_ipv6": "1"})
        rig.h1.ip("link set side up arp off")
        rig.router.sysctl(
            {
                # One question to unknown neighbours, a second for the answer.
                **{
                    f"net.ipv{f}.neigh.{d}.mcast_solicit": "1" for f in (4, 6) for d in ("p1", "p2")
                },
                "net.ipv4.ipfrag_time": "1",
                "net.ipv6.ip6frag_time": "1",
                # Redirects are limited in time by state of their own.
                "net.ipv4.conf.all.send_redirects": "0",
                **{f"net.ipv4.conf.{d}.send_redirects": "0" for d in ("p1", "p2", "lin0")},
            }
        )
        lines = [
            "link set lin0 up",
            "address add 198.18.255.1/30 dev lin0",
            "route add 198.18.0.0/16 via 198.18.255.2",
            "neigh replace 198.18.255.2 lladdr 02:00:00:00:03:02 dev lin0 nud permanent",
            "address add 2001:db8:18:ffff::1/64 dev lin0 nodad",
            "route add 2001:db8:18::/64 via 2001:db8:18:ffff::2",
            "neigh replace 2001:db8:18:ffff::2 lladdr 02:00:00:00:03:02 dev lin0 nud permanent",
            "route add blackhole 203.0.113.64/26",
            "route add unreachable 203.0.113.128/26",
            "route add prohibit 203.0.113.192/27",
            "route add throw 203.0.113.224/27",
            f"route add 100.64.0.0/16 via {LEFT.host4}",
            "route add blackhole 2001:db8:3:4000::/50",
            "route add unreachable 2001:db8:3:8000::/50",
            "route add prohibit 2001:db8:3:c000::/50",
            f"route add 2001:db8:64::/48 via {LEFT.host6}",
            f"route add 203.0.113.32/27 via {RIGHT.host4} mtu 1000",
            f"route add 100.64.128.0/17 via {LEFT.host4} mtu 600",
            f"route add 2001:db8:4::/48 via {RIGHT.host6} mtu 1300",
            f"route add 2001:db8:66::/48 via {LEFT.host6} mtu 1290",
            f"link set p2 mtu {MTU_RIGHT}",
        ]
        for side in SIDES:
            four, six = side.host4.rpartition(".")[0], side.host6.rpartition("::")[0]
            for n in NEIGHBOURS:
                tail = f"lladdr {side.host_mac} dev {side.port} nud permanent"
                lines += [f"neigh replace {four}.{n} {tail}", f"neigh replace {six}::{n:x} {tail}"]
            hops4, hops6 = "", ""
            for n, weight in NEXT_HOPS.items():
                tail = f"lladdr {next_hop_mac(side, n)} dev {side.port} nud permanent"
                lines += [f"neigh replace {four}.{n} {tail}", f"neigh replace {six}::{n:x} {tail}"]
                hops4 += f" nexthop via {four}.{n} weight {weight}"
                hops6 += f" nexthop via {six}::{n:x} weight {weight}"
            prefix4, prefix6 = SPREAD[side]
            lines += [f"route add {prefix4}{hops4}", f"route add {prefix6}{hops6}"]
        ip_batch(rig.router.namespace, lines)
        if rig.on:
            rig.wait_for_prefixes(
                {
                    "203.0.113.64/26",
                    "100.64.0.0/16",
                    *(prefix for side in SIDES for prefix in SPREAD[side]),
                    "2001:db8:64::/48",
                    "198.18.0.0/16",
                    NET4,
                    NET6,
                }
            )
            rig.wait_for_neighbours(
                {f"{s.host4.rpartition('.')[0]}.{n}" for s in SIDES for n in NEIGHBOURS}
                | {f"{s.host6.rpartition('::')[0]}::{n:x}" for s in SIDES for n in NEIGHBOURS}
            )
            rig.wait_for_mtu("p2", MTU_RIGHT)

    def filter_sources(self, mode: int) -> None:
        """The reverse path filter of both ports: 0 off, 1 strict, 2 loose."""
        wanted = {0: set(), 1: {"rpf"}, 2: {"rpf_loose"}}[mode]
        self.rig.router.sysctl(
            {f"net.ipv4.conf.{side.port}.rp_filter": str(mode) for side in SIDES}
        )
        if self.rig.on:
            wait_for(
                lambda: all(
                    set(row["flags"]) & {"rpf", "rpf_loose"} == wanted
                    for row in self.rig.fast_path.table("interfaces")
                    if row["name"] in {side.port for side in SIDES}
                ),
                "the filter in the fast path",
                timeout=10,
                interval=0.05,
            )

    def clamp(self, *rules: str) -> None:
        """Have Linux lower TCP's maximum segment size by these nftables rules; without any, not any more."""
        text = "table inet clamp; delete table inet clamp; "
        if rules:
            text += "table inet clamp { chain c { type filter hook forward priority mangle; policy accept; "
            text += "; ".join(rules) + "; }; }"
        self.rig.router.run("nft", text)
        if self.rig.on:
            wait_for(
                lambda: self.rig.fast_path.used("mss") == 2 * len(rules)
                and not self.rig.fast_path.guarded(),
                "the MSS clamp in the fast path",
                timeout=10,
                interval=0.05,
            )

    def outputs(
        self, made: Sequence[tuple[str, Made]], *, patience: float = 1.7
    ) -> dict[str, list[bytes]]:
        """Send (wire, frame) in order; returns the frames heard on each wire, until unknown
        neighbours have failed.
        """
        for wire in self.wires.values():
            wire.forget()
        for name, one in made:
            self.wires[name].send([one.frame])
        time.sleep(patience)
        heard = {name: wire.hear(quiet=0.3) for name, wire in self.wires.items()}
        return {
            name: [frame for frame in got if not background(frame)] for name, got in heard.items()
        }


# --- comparing


def background(frame: bytes) -> bool:
    """Neighbour discovery and group membership: theirs is a life of their own."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == 0x0806:
        return True
    if kind == 0x0800 and len(frame) >= 34 and frame[23] == 2 and frame[30:34] >= b"\xe0\0\0\x02":
        return frame[6:12] in (bytes.fromhex("020000000101"), bytes.fromhex("020000000201"))
    if kind == 0x86DD and len(frame) >= 55:
        if frame[20] == 58 and 133 <= frame[54] <= 137:
            return True
        return (
            frame[20] == 0
            and len(frame) > 62
            and frame[54] == 58
            and frame[62] in (130, 131, 132, 143)
        )
    return False


def normal(frame: bytes) -> bytes:
    """A frame without what may differ: padding to the minimum, the ID Linux chooses for packets
    of its own, and which of several next hops it takes.
    """
    made = bytearray(frame.ljust(60, b"\0"))
    if made[5] >= 0xA0:
        made[5] = 0xA0
    if (
        made[12:14] == b"\x08\0"
        and made[14] >> 4 == 4
        and made[23] == 1
        and made[14 + (made[14] & 15) * 4] != 8
    ):
        # An ICMP error or answer: ID, and the header's checksum with it.
        made[18:20] = made[24:26] = b"\0\0"
    return bytes(made)


@dataclass
class Difference:
    """Frames that only one of them sent."""

    only_linux: list[tuple[str, bytes]] = field(default_factory=list)
    only_fast_path: list[tuple[str, bytes]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.only_linux or self.only_fast_path)

    def __str__(self) -> str:
        lines = []
        for title, found in (
            ("only Linux", self.only_linux),
            ("only the fast path", self.only_fast_path),
        ):
            for wire, frame in found[:5]:
                lines.append(f"{title} sent on {wire}: {summary(frame)}\n{hexdump(frame)}")
            if len(found) > 5:
                lines.append(f"... and {len(found) - 5} more that {title} sent")
        return "\n".join(lines)


def summary(frame: bytes) -> str:
    """What scapy calls it."""
    from scapy.layers.l2 import Ether

    return str(Ether(frame).summary())


def compare(linux: dict[str, list[bytes]], fast_path: dict[str, list[bytes]]) -> Difference:
    """As multisets: Linux's answers and the fast path's packets leave by different ways, so their
    order may differ.
    """
    difference = Difference()
    for wire in linux:
        off = collections.Counter(normal(frame) for frame in linux[wire])
        on = collections.Counter(normal(frame) for frame in fast_path[wire])
        difference.only_linux += [(wire, f) for f in (off - on).elements()]
        difference.only_fast_path += [(wire, f) for f in (on - off).elements()]
    return difference


# --- a run


@dataclass
class Outcome:
    packets: int
    counters: Counters
    heard: int


def run(
    off: DiffRig,
    on: DiffRig,
    family: int,
    seed: int,
    count: int,
    evidence: Path,
    *,
    only: Collection[str] = (),
) -> Outcome:
    """Compare `count` packets, half from each side. The first difference is narrowed down and
    raises AssertionError.
    """
    before = on.rig.fast_path.counters()
    heard = 0
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        made = batch(family, seed, start, size, only=only)
        linux, fast = off.outputs(made), on.outputs(made)
        heard += sum(map(len, linux.values()))
        difference = compare(linux, fast)
        if difference:
            keep(evidence, made, linux, fast)
            raise AssertionError(
                f"family {family}, seed {seed}, packets {start} to {start + size - 1}:\n{difference}\n"
                + narrowed(off, on, made)
            )
    counters = on.rig.fast_path.counters() - before
    on.rig.check_buffers(on.stir)
    return Outcome(count, counters, heard)


def spread(rig: DiffRig, family: int) -> dict[int, float]:
    """By number of the next hop: its share of the flows to the right that have several. Two packets
    of each flow must take the same.
    """
    chance = random.Random(family)
    near, far = (
        (LEFT.host4[:-1], "203.0.113.") if family == IPV4 else (LEFT.host6[:-1], "2001:db8:5::")
    )
    flows = [
        (f"{near}{chance.randrange(2, 10)}", f"{far}{chance.randrange(16, 30)}") for _ in range(300)
    ]
    made = []
    if family == IPV6:
        flows = [(a, f"{b}:{chance.getrandbits(16):x}") for a, b in flows]
    for number, (source, destination) in enumerate(flows):
        one = udp_frame((LEFT.host_mac, source), (LEFT.port_mac, destination), b"x")
        made += [("left", Made(number, one, "flow"))] * 2
    before = rig.rig.fast_path.counters()
    heard = rig.outputs(made, patience=0)["right"]
    assert (rig.rig.fast_path.counters() - before).forwarded >= len(made)
    at, size = (26, 8) if family == IPV4 else (22, 32)
    taken: dict[bytes, set[int]] = collections.defaultdict(set)
    for frame in heard:
        taken[frame[at : at + size]].add(frame[5] - 0xA0)
    assert all(len(numbers) == 1 for numbers in taken.values()), "a flow has two next hops"
    assert len(taken) == len(set(flows))
    counted = collections.Counter(next(iter(numbers)) for numbers in taken.values())
    return {number: count / len(taken) for number, count in counted.items()}


def batch(
    family: int, seed: int, start: int, size: int, *, only: Collection[str] = ()
) -> list[tuple[str, Made]]:
    """Even numbers come from the left host, odd ones from the right."""
    left = frames(world(LEFT), family, seed, size, start=start, only=only)
    right = frames(world(RIGHT), family, seed, size, start=start, only=only)
    return [("right", b) if b.number % 2 else ("left", a) for a, b in zip(left, right, strict=True)]


def narrowed(off: DiffRig, on: DiffRig, made: list[tuple[str, Made]]) -> str:
    """Halve the batch until one packet is left that differs by itself; what it is, and what the
    fast path counted.
    """
    while len(made) > 1:
        half = len(made) // 2
        for part in (made[:half], made[half:]):
            if compare(off.outputs(part), on.outputs(part)):
                made = part
                break
        else:
            return f"none of {len(made)} packets differs by itself: state or timing between them"
    wire, packet = made[0]
    before = on.rig.fast_path.counters()
    linux, fast = off.outputs(made), on.outputs(made)
    delta = on.rig.fast_path.counters() - before
    sent = [
        f"{title} sends {summary(frame)} on {name}\n{hexdump(frame)}"
        for title, outputs in (("Linux", linux), ("the fast path's router", fast))
        for name, got in outputs.items()
        for frame in got
    ]
    return "\n".join(
        [f"By itself, from {wire}: {packet}", summary(packet.frame), f"fast path: {delta}", *sent]
    )


def keep(
    evidence: Path,
    made: list[tuple[str, Made]],
    linux: dict[str, list[bytes]],
    fast: dict[str, list[bytes]],
) -> None:
    """pcaps of all that went in and came out."""
    write_pcap(evidence / "in.pcap", [one.frame for _, one in made])
    for name, outputs in (("linux", linux), ("fast-path", fast)):
        for wire, got in outputs.items():
            write_pcap(evidence / f"{name}-{wire}.pcap", got)


def asked_count() -> int:
    """DIFF_PACKETS, per family."""
    return int(os.environ.get("DIFF_PACKETS") or 300)


def asked_seed() -> int:
    """DIFF_SEED, else one that every run has new."""
    return int(os.environ.get("DIFF_SEED") or time.time())
