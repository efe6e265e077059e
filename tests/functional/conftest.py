"""The router between two hosts, with the fast path on."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.proc import stop
from tests.conftest import EVIDENCE, FAILED
from tests.lib.rig import Driver, Node, Rig


@pytest.fixture(scope="module")
def rigs() -> Iterator[Callable[..., Rig]]:
    """Makes rigs that live as long as the module; the same arguments give the same one."""
    with ExitStack() as stack:
        made: dict[str, Rig] = {}

        def make(name: str, driver: Driver = Driver.AF_XDP, **settings: str) -> Rig:
            key = f"{name}-{driver}"
            if key not in made:
                # Of this process alone: another run's rig may be up.
                work = EVIDENCE / "rigs" / f"{key}-{os.getpid()}"
                rig = stack.enter_context(Rig(work, driver=driver, settings=settings))
                # Logs of a failed test are copied; those of a rig that didn't come up stay.
                stack.callback(shutil.rmtree, work, ignore_errors=True)
                rig.resolve()
                made[key] = rig
            return made[key]

        yield make


@pytest.fixture
def rig(rigs: Callable[..., Rig], request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    """The module's rig. Parametrize `rig` indirectly with a Driver to choose the ports' kind."""
    driver = getattr(request, "param", Driver.AF_XDP)
    yield from observed(rigs(request.module.__name__, driver), request, evidence)


def observed(rig: Rig, request: pytest.FixtureRequest, evidence: Path) -> Iterator[Rig]:
    """Record both hosts' wires meanwhile; when the test fails keep them and what the rig says.
    Afterwards no packet buffer may be left in use.
    """
    captures = [capture(node, evidence / f"{name}.pcap") for name, node in rig.hosts.items()]
    try:
        yield rig
    finally:
        for process in captures:
            stop(process)
        failed = request.node.stash.get(FAILED, False)
        try:
            if not failed and rig.on and rig.rte.alive:
                rig.check_buffers()
        except LabError:
            failed = True
            raise
        finally:
            if failed:
                rig.collect(evidence)


def capture(node: Node, path: Path) -> subprocess.Popen[bytes]:
    """tcpdump of a host's wire, cut to what headers need."""
    argv = ["tcpdump", "-n", "-U", "-s", "256", "-c", "20000", "-i", "eth0", "-w", str(path)]
    return subprocess.Popen(
        ["ip", "netns", "exec", node.namespace, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
