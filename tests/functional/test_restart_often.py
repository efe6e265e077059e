"""Promise 1, often: daemons die by SIGKILL at random moments, under traffic, while routes come and go.

h1 == UDP, numbered ==> p1  router  p2 ==> h2

SLUICE_KILLS sets how often (6). What was measured is printed (pytest -s).
"""

import os
import random
import threading
import time
from collections import Counter

import pytest

from lab.netns import ip_batch
from lab.proc import wait_for
from tests.functional.test_restart import dump, settled, steady, wait_for_dump
from tests.lib.rig import RIGHT, Rig, instance_files
from tests.lib.traffic import Stream

pytestmark = [pytest.mark.functional, pytest.mark.usefixtures("steady")]

KILLS = int(os.environ.get("SLUICE_KILLS", "6"))
ROUTES = 200
BACK = 20.0  # seconds that fp-rte may take on a machine that does other things too

__all__ = ["steady"]


class Churn:
    """Routes that come and go all the time; in the end they are as they were after the first round."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.stop = threading.Event()
        self.rounds = 0
        self.thread = threading.Thread(target=self.run)

    def lines(self, verb: str, step: int = 1) -> list[str]:
        via = "" if verb == "del" else f" via {RIGHT.host4}"
        return [f"route {verb} 10.{n >> 8}.{n & 255}.0/24{via}" for n in range(0, ROUTES, step)]

    def run(self) -> None:
        namespace = self.rig.router.namespace
        while not self.stop.is_set():
            ip_batch(namespace, self.lines("del", 3))
            ip_batch(namespace, self.lines("replace"))
            self.rounds += 1

    def __enter__(self) -> "Churn":
        ip_batch(self.rig.router.namespace, self.lines("replace"))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def flows(stream: Stream) -> None:
    """Until some more packets have arrived."""
    count = stream.received
    wait_for(lambda: stream.received >= count + 20, "traffic", timeout=BACK, interval=0.01)


def test_killed_at_random_moments_it_ends_as_a_fresh_start_does(rig: Rig) -> None:
    chance = random.Random(os.environ.get("SLUICE_SEED", "7"))
    lost: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    back: list[float] = []
    with Churn(rig) as churn:
        for number in range(KILLS):
            name = (
                ("cmgrd", "fpmd", "rte")[number % 3]
                if number < 3
                else chance.choice(["cmgrd", "fpmd", "rte"])
            )
            daemon = getattr(rig, name)
            kills[name] += 1
            with Stream(rig) as stream:
                flows(stream)
                time.sleep(chance.random() * 0.3)
                daemon.kill()
                time.sleep(chance.random() * 0.3)
                start = time.monotonic()
                daemon.start()
                if name == "rte":
                    rig.wait_for_ports()
                    flows(stream)
                    back.append(time.monotonic() - start)
                else:
                    time.sleep(chance.random() * 0.5)
                flows(stream)
            lost[name] += stream.heard.lost
            assert stream.heard.twice == 0, stream.heard
            assert all(d.alive for d in rig.daemons)
    print(f"kills {dict(kills)}, packets lost {dict(lost)}, {churn.rounds} rounds of routes")
    if back:
        print(
            f"fp-rte forwards again after {sorted(back)[len(back) // 2]:.2f} s (median), {max(back):.2f} s at most"
        )
    assert lost["cmgrd"] == 0
    assert lost["fpmd"] == 0
    wait_for(lambda: churned(rig) == ROUTES, "the routes as they stay", timeout=30, interval=0.2)
    memory, _ = settled(rig)
    # What a fresh start gives: all of them new, from nothing.
    for daemon in rig.daemons:
        daemon.kill()
    for path in instance_files(rig.instance):
        if path.is_file():
            path.unlink()
    for daemon in reversed(rig.daemons):
        daemon.start()
    rig.wait_for_ports()
    wait_for_dump(rig, memory)
    assert churned(rig) == ROUTES
    with rig.carried(packets=100, exceptions=20), Stream(rig) as stream:
        wait_for(lambda: stream.received >= 100, "traffic", timeout=20, interval=0.02)
    assert stream.heard.lost == 0, stream.heard


def churned(rig: Rig) -> int:
    """How many of the routes that come and go are there."""
    return sum('"prefix": "10.' in line for line in dump(rig).splitlines())
