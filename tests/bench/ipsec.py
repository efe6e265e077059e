#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cycles per packet of IPsec in the fast path, driver included, one worker (`make bench-ipsec`).

As tests/bench/forwarding.py: frames come from net_pcap without end and go to net_null; cycles are those of the worker's
CPU time. One tunnel, IPv4 in IPv4, 256 flows. `encrypt`: plain packets come in, ESP goes out; `decrypt`: the other way
round, with the policies that a gateway has. net_pcap sends the same frames again and again, so the SA that decrypts has
no replay window here.

Sizes: 64 and the mix (7:4:1 of 64, 570 and 1518) are those of the plain frames with their CRC, 1420 that of the plain
IP packet. Cycles per byte and Gb/s are about the bytes of plain IP packets.

Results: a table, and build/bench/ipsec.json.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sluice.fpc import Connection, Role, encode

from tests.bench.duts import MAC, UnavailableError, wait_for
from tests.bench.forwarding import RESULTS, TOP, huge_pages, one_round, progress, tsc_hz
from tests.bench.sluice import INSTANCE, NUD_PERMANENT, RTN_UNICAST, Sluice
from tests.bench.traffic import PEER_MAC, PORT_MAC, SEED, Case, write_pcap
from tests.ipsec.ciphers import BY_NAME, Suite
from tests.ipsec.objects import policy, sa, selector, template

HERE, PEER = "203.0.113.1", "203.0.113.2"
NEAR, FAR = "198.18.0.0/16", "198.19.0.0/16"
OUT_SPI, IN_SPI = 0x1000, 0x2000
PAGES = 1024
MIX = (64,) * 7 + (570,) * 4 + (1518,)
ETHER, CRC = 14, 4


@dataclass(frozen=True, kw_only=True)
class IpsecCase:
    """A cipher and the sizes of plain IP packets."""

    name: str
    suite: Suite
    sizes: Sequence[int]

    @property
    def mean(self) -> float:
        return sum(self.sizes) / len(self.sizes)


def of_frames(sizes: Sequence[int]) -> list[int]:
    """IP packets of frames with these lengths, CRC included."""
    return [size - ETHER - CRC for size in sizes]


GCM, CBC = BY_NAME["aes128-gcm-16"], BY_NAME["aes128-cbc-sha256"]
CASES = (
    IpsecCase(name="gcm128-imix", suite=GCM, sizes=of_frames(MIX)),
    IpsecCase(name="gcm128-64", suite=GCM, sizes=of_frames([64])),
    IpsecCase(name="gcm128-1420", suite=GCM, sizes=[1420]),
    IpsecCase(name="cbc128-sha256-imix", suite=CBC, sizes=of_frames(MIX)),
)
DIRECTIONS = ("encrypt", "decrypt")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case in one direction."""

    dut: str
    case: str
    direction: str
    cycles_per_packet: float
    cycles_per_byte: float
    gbps: float
    load: float


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def ip(src: str, dst: str, proto: int, payload: bytes) -> bytes:
    """An IPv4 packet."""
    ends = socket.inet_aton(src) + socket.inet_aton(dst)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, proto, 0) + ends
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def frames(case: IpsecCase, direction: str) -> list[bytes]:
    """What comes in, in no order."""
    rng = random.Random(SEED)
    found = []
    for i in range(1536):
        near, far = f"198.18.1.{i % 256}", f"198.19.1.{i % 256}"
        src, dst = (near, far) if direction == "encrypt" else (far, near)
        size = case.sizes[i % len(case.sizes)]
        udp = struct.pack(">HHHH", 1024, 9, size - 20, 0) + bytes(size - 28)
        packet = ip(src, dst, 17, udp)
        if direction != "encrypt":
            packet = ip(PEER, HERE, 50, case.suite.wrap(IN_SPI, i + 1, packet, 4))
        found.append(PORT_MAC + PEER_MAC + b"\x08\x00" + packet.ljust(46, b"\0"))
    rng.shuffle(found)
    return found


class Gateway(Sluice):
    """fp-rte with one tunnel, between net_pcap and net_null."""

    def __init__(self, build: Path, folder: Path, case: IpsecCase, direction: str) -> None:
        super().__init__(build, folder)
        self.case = case
        self.direction = direction

    def settings(self, case: Case, pcap: Path) -> str:
        return super().settings(case, pcap) + "FP_MTU=1700\nFP_MAX_SAS=1024\n"

    def _configure(self, case: Case) -> None:
        taps = {str(port["name"]): port["tap_ifindex"] for port in self._ports()}
        path = f"/run/sluice/{INSTANCE}/fpc.sock"
        with Connection(path, Role.SYNC, name="bench", timeout=120) as fpmd:
            fpmd.set("vrf", encode("vrf", vrf=0))
            for name, mac in self.links:
                flags = ["UP", "RUNNING", "FORWARD4", "FORWARD6"]
                link = encode(
                    "iface", vrf=0, ifindex=taps[name], flags=flags, mtu=1700, mac=mac, name=name
                )
                fpmd.set("iface", link)
            out, family = taps[self.links[-1][0]], socket.AF_INET
            common = {"vrf": 0, "ifindex": out, "family": family, "addr": PEER}
            fpmd.set("neigh", encode("neigh", mac=MAC, state=NUD_PERMANENT, **common))
            hop = {"ifindex": out, "family": family, "weight": 1, "gateway": PEER}
            for dst, plen, kind in (
                ("198.18.0.0", 15, RTN_UNICAST), (PEER, 32, RTN_UNICAST), (HERE, 32, 2),
            ):  # fmt: skip
                table = 255 if kind == 2 else 254
                fields: dict[str, Any] = {
                    "nexthops": [{**hop, "gateway": ""} if kind == 2 else hop]
                }
                fpmd.set(
                    "route",
                    encode(
                        "route",
                        vrf=0,
                        table=table,
                        family=family,
                        plen=plen,
                        dst=dst,
                        type=kind,
                        **fields,
                    ),
                )
            for entry in self.objects():
                fpmd.set("ipsec", encode("ipsec", **entry))
        if self.direction != "encrypt":
            # Nothing is decrypted before Linux could get what is within.
            wait_for("fpn0", Path("/sys/class/net/fpn0").exists, 20)

    def objects(self) -> list[dict[str, Any]]:
        fields = {**self.case.suite.fields(), "replay_window": 0}
        return [
            sa(HERE, PEER, OUT_SPI, **fields),
            sa(PEER, HERE, IN_SPI, **fields),
            policy(1, selector(NEAR, FAR), template(HERE, PEER)),
            policy(0, selector(FAR, NEAR), template(PEER, HERE)),
            policy(2, selector(FAR, NEAR), template(PEER, HERE)),
        ]


def measure(build: Path, case: IpsecCase, direction: str, rounds: int, hz: float) -> Row | None:
    """Some rounds of one case; None: it can't be measured here."""
    pcap = RESULTS / f"ipsec-{case.name}-{direction}.pcap"
    write_pcap(pcap, frames(case, direction))
    dut = Gateway(build, RESULTS, case, direction)
    shape = Case(name=case.name, family=4, destinations=256, routes=1)
    try:
        dut.start(shape, pcap)
        for pid in dut.pids():
            os.kill(pid, signal.SIGSTOP)
        rate = statistics.median(one_round(dut) for _ in range(rounds))
    except UnavailableError as why:
        progress(f"{case.name} {direction}: left out: {why}")
        return None
    finally:
        for pid in dut.pids():
            os.kill(pid, signal.SIGCONT)
        dut.stop()
    return Row(
        dut=dut.name,
        case=case.name,
        direction=direction,
        cycles_per_packet=hz / rate,
        cycles_per_byte=hz / rate / case.mean,
        gbps=rate * case.mean * 8 / 1e9,
        load=os.getloadavg()[0],
    )


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case", action="append", help="only this case; may stand often")
    parser.add_argument(
        "--direction", action="append", choices=DIRECTIONS, help="only this one; may stand often"
    )
    parser.add_argument("--build", type=Path, default=TOP / "build/release")
    args = parser.parse_args()

    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = []
    with huge_pages(PAGES):
        for case in CASES:
            for direction in DIRECTIONS:
                if args.case and case.name not in args.case:
                    continue
                if direction not in (args.direction or DIRECTIONS):
                    continue
                progress(f"{case.name} {direction}")
                row = measure(args.build, case, direction, args.rounds, tsc_hz())
                rows += [row] if row else []
    print(f"load {os.getloadavg()[0]:.1f}, one worker")
    print(f"{'case':<20} {'direction':<15} {'cycles':>7} {'/byte':>6} {'Gb/s':>6}")
    for row in rows:
        print(
            f"{row.case:<20} {row.direction:<15} {row.cycles_per_packet:>7.1f} {row.cycles_per_byte:>6.3f} "
            f"{row.gbps:>6.2f}"
        )
    (RESULTS / "ipsec.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
