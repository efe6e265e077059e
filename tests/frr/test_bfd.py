"""BFD of an unpatched FRR, three times 100 ms, lives through a flood of exceptions.

h1 -- p1  router  p2 -- h2
   flood = p3  FRR      FRR
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.frr import Frr
from lab.proc import wait_for
from tests.functional.conftest import observed, rigs
from tests.lib.flood import P3, SILENT, endless, frame4, icmp, ports, restart
from tests.lib.frames import write_pcap
from tests.lib.rig import LEFT, RIGHT, Rig

pytestmark = pytest.mark.functional
__all__ = ["rigs"]

SECONDS = 10
TRIES = 3
UNDER_WAY = 10  # sent between the two looks at the beginning: a second
RATE = 2000
PEERS = {"h2": (RIGHT.port4, "eth0"), "router": (RIGHT.host4, "p2")}


@pytest.fixture
def rig(rigs: Callable[..., Rig], request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    rig = rigs("bfd", FP_PORTS=ports(SILENT), FP_EXCEPTION_RATE=str(RATE), FP_MBUFS="32768")
    rig.router.ip(f"link set p3 address {P3} up")
    yield from observed(rig, request, evidence)


def configuration(peer: str, interface: str) -> str:
    return f"""
bfd
 peer {peer} interface {interface}
  detect-multiplier 3
  receive-interval 100
  transmit-interval 100
 exit
exit
"""


def test_bfd_holds_while_exceptions_flood(rig: Rig, evidence: Path) -> None:
    path = evidence / "flood.pcap"
    write_pcap(path, [frame4(icmp(0, i), LEFT.port4, protocol=1) for i in range(8000)])
    restart(rig, endless(path))
    rig.wait_for_ports()
    with (
        Frr(rig.router.namespace, ("bfdd",), rig.work) as router,
        Frr(rig.h2.namespace, ("bfdd",), rig.work) as neighbour,
    ):
        router.configure(configuration(*PEERS["router"]))
        neighbour.configure(configuration(*PEERS["h2"]))
        wait_for(
            lambda: [peer["status"] for peer in router.show("bfd peers")] == ["up"],
            "the BFD session",
            timeout=30,
        )
        session = router.show("bfd peers")[0]
        assert (session["receive-interval"], session["detect-multiplier"]) == (100, 3)
        # None of its packets is lost, whenever they come. That they come in time is asserted of one try: other programs
        # on two cores can keep all of this, the neighbour too, standing for 300 ms; a flood that starves BFD does so
        # each time.
        for _ in range(TRIES):
            sent = neighbour.show("bfd peers counters")[0]["control-packet-output"]
            counters = router.show("bfd peers counters")[0]
            before = rig.fast_path.counters()
            time.sleep(SECONDS)
            delta = rig.fast_path.counters() - before
            sent = neighbour.show("bfd peers counters")[0]["control-packet-output"] - sent
            after = router.show("bfd peers counters")[0]
            lost = sent - (after["control-packet-input"] - counters["control-packet-input"])
            assert lost <= UNDER_WAY, (sent, counters, after, delta)
            if after["session-down"] == counters["session-down"]:
                break
        assert after["session-down"] == counters["session-down"], after
        assert router.show("bfd peers")[0]["status"] == "up"
    rig.rte.stop()  # and with it the flood
    # A flood it was, of which Linux got its budget.
    assert delta.reasons["exception_budget"] > 10 * RATE * SECONDS, delta
    assert after["control-packet-input"] - counters["control-packet-input"] >= 9 * SECONDS
