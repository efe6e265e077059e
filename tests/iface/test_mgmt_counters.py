"""The state's counters are Linux's and the fast path's together: what a generator sent, to the packet.

h1 -- p1  router with fast path and yamsd  p2 -- h2
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.proc import wait_for
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, RIGHT, Driver, Rig
from tests.mgmt.client import Client
from tests.stats.reading import Reader, library

pytestmark = pytest.mark.functional
IF = 'xmlns="urn:sluice:iface"'
FP = 'xmlns="urn:sluice:fastpath"'


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path / "rig", driver=Driver.AF_PACKET, silent_hosts=True) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig, tmp_path: Path) -> Iterator[Client]:
    work = tmp_path / "yamsd"
    work.mkdir()
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("ip", "netns", "exec", rig.router.namespace, "env"),
                *(f"LD_PRELOAD={library()}", f"SLUICE_INSTANCE={rig.instance}"),
                *(sys.executable, "-m", "sluice.mgmt.app"),
                *("--state", str(work / "state"), "--run", str(work / "run")),
            ],
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)},
        )
    try:
        Client.wait(work / "run/netconf.sock", process)
        with Client(work / "run/netconf.sock") as made:
            yield made
    finally:
        process.terminate()
        process.wait(30)


def numbers(xml: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"<([\w-]+)>(\d+)</", xml)}


def statistics(client: Client, name: str) -> dict[str, int]:
    return numbers(
        client.data(
            f'<get><filter><vrf xmlns="urn:sluice:vrf"><name>main</name><interface-state {IF}><interface>'
            f"<name>{name}</name><statistics/></interface></interface-state></vrf></filter></get>"
        )
    )


def test_to_the_packet(rig: Rig, client: Client) -> None:
    frame = udp_frame((LEFT.host_mac, LEFT.host4), (LEFT.port_mac, RIGHT.host4), b"through")
    before, carried = statistics(client, "p1"), rig.fast_path.counters()
    with Wire(rig.h1.namespace, "eth0") as wire:
        sent = wire.send([frame] * 500, per_second=2000)
    reader = Reader(rig.router, rig.instance)
    wait_for(
        lambda: statistics(client, "p1")["in-pkts"] >= before["in-pkts"] + sent,
        "all packets",
        timeout=20,
        interval=0.1,
    )
    after, delta = statistics(client, "p1"), rig.fast_path.counters() - carried
    assert after["in-pkts"] - before["in-pkts"] == sent
    assert after["in-octets"] - before["in-octets"] == sent * len(frame)
    assert delta.forwarded == sent, "by the fast path"
    shown = reader.links("p2")["p2"]
    assert statistics(client, "p2")["out-pkts"] == shown["tx_packets"] >= sent
    wait_for(
        lambda: numbers(port(client))["rx-packets"] >= sent,
        "the port's own counters, which are refreshed ten times a second",
        timeout=10,
        interval=0.1,
    )
    state = fast_path(client)
    assert "<name>fp-rte</name><running>true</running>" in state
    assert re.search(r"<table><name>iface</name><used>\d+</used>", state)


def fast_path(client: Client) -> str:
    return client.data(
        '<get><filter><system xmlns="urn:sluice:system">'
        f"<fast-path {FP}><state/></fast-path></system></filter></get>"
    )


def port(client: Client) -> str:
    (found,) = re.findall(r"<port><name>p1</name>.*?</port>", fast_path(client))
    return str(found)
