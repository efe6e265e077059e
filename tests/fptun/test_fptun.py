# SPDX-License-Identifier: BSD-3-Clause
"""Special exceptions in Linux: past the inbound policies, for what was protected and for nothing else.

h1 -- p1 router p2 -- h2. The plugin `probe` stands for IPsec: it takes packets of protocol 253 for encrypted ones.
Linux has XFRM policies that want all packets protected; cmgrd, which would close the fast path, is stopped before.
"""

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.netns import create, entered, remove
from lab.proc import wait_for
from tests.conftest import EVIDENCE
from tests.fptun.trailer import MARK, MARK_MASK, PROTECTED, UNPROTECTED, trailer
from tests.functional.conftest import observed
from tests.lib import product
from tests.lib.frames import Wire
from tests.lib.packets import checksum, ether, ipv4, ipv6
from tests.lib.rig import LEFT, RIGHT, Node, Rig, ping

pytestmark = pytest.mark.functional

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
ICMP, ICMP6 = 1, 58
UNKNOWN4, UNKNOWN6 = "198.51.100.77", "2001:db8:2::77"


@pytest.fixture(scope="module")
def probed_rig() -> Iterator[Rig]:
    probe = product.build_dir() / "tests/stages/probe.so"
    settings = {"FP_PLUGINS": f"{probe},ip={PROTECTED}:open,ip={UNPROTECTED}:open"}
    work = EVIDENCE / "rigs" / f"fptun-{os.getpid()}"
    with Rig(work, settings=settings, vrfs=True) as rig:
        rig.resolve()
        yield rig


@pytest.fixture
def rig(probed_rig: Rig, request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    yield from observed(probed_rig, request, evidence)


@pytest.fixture(scope="class")
def guarded(probed_rig: Rig) -> Iterator[Rig]:
    """Linux wants all it receives to be protected, but for neighbour discovery."""
    rig = probed_rig
    wait_for_fpn0(rig.router)
    rig.cmgrd.stop()
    for command in policies("add"):
        rig.router.ip(command)
    yield rig
    for command in policies("delete"):
        rig.router.ip(command)
    rig.cmgrd.start()


def policies(verb: str) -> list[str]:
    tunnel = f"tmpl src {LEFT.host4} dst {LEFT.port4} proto esp mode tunnel reqid 7"
    discovery = [
        f"xfrm policy {verb} src ::/0 dst ::/0 proto ipv6-icmp type {kind} code 0 dir in"
        + (" priority 10" if verb == "add" else "")
        for kind in (135, 136)
    ]
    return discovery + [
        f"xfrm policy {verb} src {every} dst {every} dir {way}"
        + (f" priority 1000 {tunnel}" if verb == "add" else "")
        for every in ("0.0.0.0/0", "::/0")
        for way in ("in", "fwd")
    ]


def wait_for_fpn0(node: Node) -> None:
    wait_for(
        lambda: "LOWER_UP" in node.run("ip", "link", "show", "fpn0", check=False).stdout,
        "fpn0",
        timeout=20,
        interval=0.05,
    )


def refused(rig: Rig) -> int:
    """Packets that a policy of Linux wanted protected."""
    text = rig.router.run("cat", "/proc/net/xfrm_stat").stdout
    return int(re.findall(r"XfrmInTmplMismatch\s+(\d+)", text)[0])


def echo4(destination: str, *, ttl: int = 64, number: int = 1) -> bytes:
    body = struct.pack("!BBHHH", 8, 0, 0, 77, number) + b"fptun"
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    return ipv4(LEFT.host4, destination, body, protocol=ICMP, ttl=ttl)


def echo6(destination: str, *, hops: int = 64, number: int = 1) -> bytes:
    body = struct.pack("!BBHHH", 128, 0, 0, 77, number) + b"fptun"
    bare = ipv6(LEFT.host6, destination, body, protocol=ICMP6, hop_limit=hops)
    pseudo = bare[8:40] + struct.pack("!II", len(body), ICMP6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return bare[:40] + body


def plain(packet: bytes) -> bytes:
    return ether(
        LEFT.host_mac, LEFT.port_mac, packet, kind=0x0800 if packet[0] >> 4 == 4 else 0x86DD
    )


def protected(packet: bytes, *, protocol: int = PROTECTED) -> bytes:
    outer = ipv4(LEFT.host4, LEFT.port4, packet + b"\xee" * 24, protocol=protocol)
    return ether(LEFT.host_mac, LEFT.port_mac, outer, kind=0x0800)


def icmp_type(frame: bytes) -> tuple[int, int]:
    """IP version and ICMP type."""
    if frame[12:14] == b"\x08\x00" and frame[23] == ICMP:
        return 4, frame[34]
    if frame[12:14] == b"\x86\xdd" and frame[20] == ICMP6:
        return 6, frame[54]
    return 0, 0


def heard(
    rig: Rig, frame: bytes, kind: tuple[int, int], *, at: str = "h1", within: float = 5
) -> bool:
    """Whether such an ICMP packet came to a host after a frame from h1."""
    with (
        Wire(rig.h1.namespace, "eth0") as wire,
        Wire(rig.hosts[at].namespace, "eth0") as ear,
    ):
        wire.send([frame])
        return bool(ear.hear(until=1, timeout=within, wanted=lambda f: icmp_type(f) == kind))


CASES = [
    pytest.param(echo4(LEFT.port4), (4, 0), "h1", "ip_local", id="local4"),
    pytest.param(echo4(RIGHT.port4), (4, 0), "h1", "ip_local", id="local4-other"),
    pytest.param(echo6(LEFT.port6), (6, 129), "h1", "ip6_local", id="local6"),
    pytest.param(echo4(RIGHT.host4, ttl=1), (4, 11), "h1", "ip_ttl", id="ttl4"),
    pytest.param(echo6(RIGHT.host6, hops=1), (6, 3), "h1", "ip6_hop_limit", id="ttl6"),
    pytest.param(echo4(UNKNOWN4), (4, 8), "h2", "ip_neighbour", id="neighbour4"),
    pytest.param(echo6(UNKNOWN6), (6, 128), "h2", "ip6_neighbour", id="neighbour6"),
]


class TestPolicies:
    @pytest.mark.parametrize(("packet", "kind", "at", "reason"), CASES)
    def test_what_was_protected_passes_and_nothing_else(
        self, guarded: Rig, packet: bytes, kind: tuple[int, int], at: str, reason: str
    ) -> None:
        for address in (UNKNOWN4, UNKNOWN6):
            guarded.h2.ip(f"address replace {address} dev eth0")
        before, counters = refused(guarded), guarded.fast_path.counters()
        # Bytes of a trailer behind a packet on the wire are just that.
        ifindex = int(guarded.router.run("cat", "/sys/class/net/p1/ifindex").stdout)
        forged = plain(packet) + trailer(ifindex=ifindex)
        for frame in (plain(packet), forged, protected(packet, protocol=UNPROTECTED)):
            assert not heard(guarded, frame, kind, at=at, within=0.5)
        # And what hosts say to each other unasked.
        assert refused(guarded) - before >= 3
        assert heard(guarded, protected(packet), kind, at=at)
        moved = (guarded.fast_path.counters() - counters).reasons
        assert moved[reason] == 4

    def test_what_can_be_forwarded_doesnt_come_to_linux(self, guarded: Rig) -> None:
        before = guarded.fast_path.counters()
        for packet, kind in ((echo4(RIGHT.host4), (4, 8)), (echo6(RIGHT.host6), (6, 128))):
            assert heard(guarded, protected(packet), kind, at="h2")
        assert (guarded.fast_path.counters() - before).forwarded >= 2

    def test_linux_sees_it_on_its_port(self, guarded: Rig) -> None:
        """An address that only counts on p1's side: the reverse path filter knows the interface."""
        guarded.router.sysctl({"net.ipv4.conf.p1.rp_filter": "1"})
        try:
            assert heard(guarded, protected(echo4(LEFT.port4)), (4, 0))
            wrong = echo4(LEFT.port4).replace(
                bytes(map(int, LEFT.host4.split("."))), bytes(map(int, RIGHT.host4.split(".")))
            )
            assert not heard(guarded, protected(wrong), (4, 0), at="h2", within=0.5)
        finally:
            guarded.router.sysctl({"net.ipv4.conf.p1.rp_filter": "0"})


def test_nobody_else_can_write_to_fpn0(rig: Rig) -> None:
    wait_for_fpn0(rig.router)
    with entered(rig.router.namespace):
        fd = os.open("/dev/net/tun", os.O_RDWR)
        try:
            with pytest.raises(OSError, match="busy") as raised:
                fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"fpn0", IFF_TAP | IFF_NO_PI))
        finally:
            os.close(fd)
    assert raised.value.errno == errno.EBUSY
    shown = rig.router.run("ip", "address", "show", "dev", "fpn0").stdout
    assert "NOARP" in shown
    assert "inet" not in shown


def own_policies(node: Node) -> int:
    shown = node.ip("xfrm policy")
    return shown.count(f"mark {MARK:#x}/{MARK_MASK:#x}")


def test_its_policies_close_no_vrf_and_come_back(rig: Rig) -> None:
    wait_for_fpn0(rig.router)
    assert own_policies(rig.router) == 4
    with rig.carried(packets=10, exceptions=40):
        assert ping(rig.h1, RIGHT.host4, count=10) == 10
    rig.router.ip("xfrm policy flush")
    wait_for(lambda: own_policies(rig.router) == 4, "the policies again", timeout=10, interval=0.1)


def test_it_goes_with_fp_rte_and_comes_with_the_next_one(rig: Rig) -> None:
    wait_for_fpn0(rig.router)
    rig.rte.kill()
    assert rig.router.run("ip", "link", "show", "fpn0", check=False).returncode
    rig.rte.start()
    rig.wait_for_ports()
    wait_for_fpn0(rig.router)
    wait_for(lambda: ping(rig.h1, RIGHT.host4, count=1, wait=1), "fp-rte to forward", timeout=30)
    assert heard(rig, protected(echo4(LEFT.port4)), (4, 0))
    rig.note_buffers()


def test_each_vrf_has_its_own(rig: Rig) -> None:
    node = Node(rig.vrf("a"))
    create(node.namespace)
    try:
        wait_for_fpn0(node)
        assert own_policies(node) == 4
    finally:
        remove(node.namespace)
    wait_for(
        lambda: re.search(r"VRF [1-9]\d*: fpn0 removed", rig.rte.log.read_text()),
        "fp-rte to notice its end",
        timeout=20,
    )
    assert ping(rig.h1, RIGHT.host4, count=3) == 3
