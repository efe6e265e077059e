"""SIGKILL before every step of writing files, during commits and while startup is saved.

Afterwards startup is whole, running is the old or the new configuration, and the system is what running says.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.mgmt.client import Client, ClosedError
from tests.mgmt.conftest import Daemon

pytestmark = pytest.mark.functional
SAVE = "<copy-config><target><startup/></target><source><running/></source></copy-config>"
OLD, NEW = {"a", "b"}, {"b", "c"}


def users(text: str) -> set[str]:
    return {part.partition("</name>")[0] for part in text.split("<user><name>")[1:]}


def change(client: Client) -> None:
    """From OLD to NEW, for a while and then for good."""
    client.edit(
        '<top><user nc:operation="delete"><name>a</name></user><user><name>c</name></user></top>'
    )
    client.ok("<commit><confirmed/><persist>p</persist></commit>")
    client.ok("<commit><persist-id>p</persist-id></commit>")
    client.ok(SAVE)


def prepare(work: Path) -> None:
    """A daemon's files with OLD running and as startup."""
    daemon = Daemon(work)
    daemon.start()
    with Client(daemon.socket) as client:
        client.edit("<top><user><name>a</name></user><user><name>b</name></user></top>")
        client.ok("<commit/>")
        client.ok(SAVE)
    assert daemon.stop() == 0


def check(daemon: Daemon, where: str) -> None:
    """As the daemon finds things after a restart, and after a boot."""
    daemon.start()
    with Client(daemon.socket) as client:
        running = users(client.config("running"))
        assert running in (OLD, NEW), where
        assert users(client.config("startup")) in (OLD, NEW), where
        assert set(json.loads(daemon.things)) == running, where
        # And it can go on.
        client.rpc("<cancel-commit><persist-id>p</persist-id></cancel-commit>")
        client.edit("<top><name>after</name></top>")
        client.ok("<commit/>")
    assert daemon.stop() == 0, where
    startup = json.loads((daemon.work / "state/startup.json").read_text())
    assert {user["name"] for user in startup["example:top"]["user"]} in (OLD, NEW), where


def test_a_kill_at_any_step_leaves_old_or_new(tmp_path: Path) -> None:
    died = 0
    (tmp_path / "0").mkdir()
    prepare(tmp_path / "0")
    for step in range(1, 200):
        shutil.copytree(
            tmp_path / "0", tmp_path / str(step), ignore=shutil.ignore_patterns("*.sock")
        )
        daemon = Daemon(tmp_path / str(step))
        daemon.start("--kill-at", str(step), wait=False)
        assert daemon.process is not None
        try:
            Client.wait(daemon.socket, daemon.process)
            with Client(daemon.socket) as client:
                change(client)
        except (AssertionError, ClosedError, OSError):
            assert daemon.process.wait(30) == -9, (daemon.work / "log").read_text()
            died += 1
        else:
            assert daemon.stop() == 0
            break
        where = (daemon.work / "log").read_text().splitlines()[-1]
        check(daemon, f"step {step}: {where}")
    else:
        raise AssertionError("it never got to the end")
    assert died > 40, died
