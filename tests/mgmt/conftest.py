"""A daemon with the example model, in a process of its own, and clients for it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mgmt.client import Client


class Daemon:
    """yamsd as tests/mgmt/daemon.py runs it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.socket = work / "run/netconf.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *args: str, wait: bool = True) -> None:
        self.socket.unlink(missing_ok=True)
        log = (self.work / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mgmt.daemon", str(self.work), *args],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)},
        )
        log.close()
        if wait:
            Client.wait(self.socket, self.process)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def things(self) -> str:
        path = self.work / "world.json"
        return path.read_text() if path.exists() else "{}"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    # Not pytest's folder: others than root come in too.
    work = Path(tempfile.mkdtemp(prefix="yamsd-"))
    work.chmod(0o755)
    made = Daemon(work)
    try:
        made.start()
        yield made
        assert made.stop() == 0, (work / "log").read_text()
    finally:
        made.stop(signal.SIGKILL)
        shutil.rmtree(work)


@pytest.fixture
def connect(daemon: Daemon) -> Iterator[Callable[..., Client]]:
    """Opens sessions; afterwards running is the factory's again."""
    opened: list[Client] = []

    def make(**options: object) -> Client:
        client = Client(daemon.socket, **options)  # type: ignore[arg-type]
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.drop()
    with Client(daemon.socket) as last:
        last.settle()
        last.ok("<discard-changes/>")
        last.ok('<rollback xmlns="urn:sluice:mgmt"><factory/></rollback>')
        last.ok("<commit/>")
        last.rpc("<delete-config><target><startup/></target></delete-config>")


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()
