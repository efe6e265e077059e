"""Ports that only the appliance has: PCI devices with vfio-pci and uio_pci_generic, huge pages,
TAPs over vhost-net.

    h1: NIC p2 of the seat == cable == NIC p1 of the seat: port p1  router  p2 -- veth -- h2
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.netns import ip_batch
from lab.proc import run, wait_for
from tests.conftest import EVIDENCE
from tests.functional.conftest import observed
from tests.lib import pci, product
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import BEHIND4, BEHIND6, LEFT, RIGHT, SIDES, Rig, Side, ping
from tests.lib.traffic import tcp_transfer

pytestmark = pytest.mark.vm
BACKGROUND = 40


class PciRig(Rig):
    """The rig whose left wire is a cable between two network cards."""

    def __init__(self, work: Path, pci_driver: str, **settings: str) -> None:
        super().__init__(work, settings={"FP_HUGEPAGES": "yes", **settings})
        self.pci_driver = pci_driver

    def connect(self, side: Side) -> None:
        if side is not LEFT:
            super().connect(side)
            return
        cards = pci.all_to_the_kernel()
        self.address = cards[LEFT.port_mac]
        far = pci.interface_of(cards[LEFT.host_mac])
        run(["ip", "link", "set", str(far), "down"])
        run(["ip", "link", "set", str(far), "netns", self.h1.namespace, "name", "eth0"])
        self.stack.callback(self.cable_back)
        ip_batch(self.h1.namespace, ["link set lo up", "link set eth0 up"])
        if self.pci_driver != "vfio-pci":
            # Left to itself fp-rte takes vfio-pci where there's an IOMMU; what's bound stays.
            pci.bind(self.address, self.pci_driver)

    def cable_back(self) -> None:
        """A namespace's end takes its network card along only for a moment: don't wait for it."""
        self.h1.ip("link set eth0 netns 1", check=False)

    def note_buffers(self) -> None:
        """Not counted: the rings of virtio and vhost keep what they have sent until they need the room."""

    def write_settings(self) -> None:
        super().write_settings()
        text = self.env_file.read_text()
        old = f"p1={self.driver}0,iface=wire-p1"
        assert old in text
        self.env_file.write_text(text.replace(old, f"p1={self.address}"))

    def start_fast_path(self) -> None:
        options = ["--instance", self.instance, "--env", str(self.env_file)]
        bound = self.router.run(*product.program("fp-rte"), *options, "--bind")
        (self.work / "bind.log").write_text(bound.stdout + bound.stderr)
        super().start_fast_path()


@pytest.fixture(scope="module", params=["vfio-pci", "uio_pci_generic"])
def pci_rig(request: pytest.FixtureRequest) -> Iterator[PciRig]:
    work = EVIDENCE / "rigs" / f"{request.param}-{os.getpid()}"
    with PciRig(work, request.param) as rig:
        rig.resolve()
        yield rig
    shutil.rmtree(work, ignore_errors=True)


@pytest.fixture
def rig(pci_rig: PciRig, request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    yield from observed(pci_rig, request, evidence)


def port(rig: Rig, name: str) -> dict[str, object]:
    return next(row for row in rig.fast_path.table("ports") if row["name"] == name)


def test_the_card_is_a_port_with_the_driver_asked_for(rig: PciRig) -> None:
    assert pci.driver_of(rig.address) == rig.pci_driver
    shown = port(rig, "p1")
    assert shown["device"] == rig.address
    assert shown["driver"] == "net_virtio"
    assert shown["mac"] == LEFT.port_mac
    assert shown["link"] is True
    used = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
    total = int((used / "nr_hugepages").read_text())
    assert total > int((used / "free_hugepages").read_text()), "no huge page is in use"


def test_its_tap_goes_over_vhost_net(rig: Rig) -> None:
    assert {row["backend"] for row in rig.fast_path.table("ports")} == {"vhost"}
    # Since Linux 6.4 vhost's workers are threads of the process whose device they serve.
    names = [path.read_text() for path in Path(f"/proc/{rig.rte.pid}/task").glob("*/comm")]
    assert any(name.startswith("vhost-") for name in names), f"no vhost thread: {names}"


def test_the_images_own_fp_cli_shows_the_ports(rig: Rig) -> None:
    shown = json.loads(rig.fast_path.cli("-j", "ports").stdout)
    assert [row["name"] for row in shown] == ["p1", "p2"]


@pytest.mark.parametrize("address", [RIGHT.host4, RIGHT.host6, BEHIND4, BEHIND6])
def test_pings_pass_and_the_fast_path_carries_them(rig: Rig, address: str) -> None:
    with rig.carried(packets=40, exceptions=BACKGROUND):
        assert ping(rig.h1, address, count=20) == 20


@pytest.mark.parametrize("address", [BEHIND4, BEHIND6])
def test_tcp_carries_data_unchanged(rig: Rig, address: str) -> None:
    data = os.urandom(200_000)
    with rig.carried(packets=2 * len(data) // 1460, exceptions=BACKGROUND):
        assert tcp_transfer(rig, address, data) == data


@pytest.mark.parametrize("address", [LEFT.port4, LEFT.port6, RIGHT.port4])
def test_linux_gets_what_is_for_it_and_its_answers_leave(rig: Rig, address: str) -> None:
    before = rig.fast_path.counters().exceptions
    assert ping(rig.h1, address, count=10) == 10
    assert rig.fast_path.counters().exceptions - before >= 10


def test_frames_of_all_lengths_cross_the_tap_unchanged(rig: Rig) -> None:
    """To a port of the router that nobody listens on: each comes back quoted in an ICMP error of
    Linux.
    """
    sent = [
        udp_frame((LEFT.host_mac, LEFT.host4), (LEFT.port_mac, LEFT.port4), b"length" + bytes(size))
        for size in (12, 13, 64, 500, 514)
    ]
    with Wire(rig.h1.namespace, "eth0") as near:
        near.send(sent, per_second=50)
        answers = near.hear(until=len(sent), timeout=10, wanted=lambda f: b"length" in f)
    assert [
        answer[42 : 42 + len(frame) - 14] for answer, frame in zip(answers, sent, strict=True)
    ] == [frame[14:] for frame in sent]


def test_a_killed_fast_path_takes_its_card_again(rig: PciRig) -> None:
    rig.rte.kill()
    rig.rte.start()
    rig.wait_for_ports()
    wait_for(lambda: ping(rig.h1, BEHIND4, count=1, wait=1), "an answer", timeout=60)
    with rig.carried(packets=20, exceptions=BACKGROUND):
        assert ping(rig.h1, BEHIND4, count=10) == 10


# --- the rig of the host's tests, here with a TAP over vhost-net


@pytest.fixture(params=["vhost", "queue"])
def veth_rig(
    rigs: Callable[..., Rig], request: pytest.FixtureRequest, evidence: Path
) -> Iterator[Rig]:
    yield from observed(rigs(f"tap-{request.param}", FP_TAP=request.param), request, evidence)


def test_both_kinds_of_tap_carry_exceptions_both_ways(veth_rig: Rig) -> None:
    backends = {row["backend"] for row in veth_rig.fast_path.table("ports")}
    assert len(backends) == 1
    for side in SIDES:
        for address in (side.port4, side.port6):
            assert ping(veth_rig.hosts[side.host], address, count=20) == 20
            assert ping(veth_rig.router, side.host4, count=5) == 5
    with veth_rig.carried(packets=40, exceptions=BACKGROUND):
        assert ping(veth_rig.h1, BEHIND4, count=20) == 20


def test_a_tap_of_the_asked_kind_is_made(veth_rig: Rig, request: pytest.FixtureRequest) -> None:
    wanted = request.node.callspec.params["veth_rig"]
    assert {row["backend"] for row in veth_rig.fast_path.table("ports")} == {wanted}
