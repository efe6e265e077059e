"""The machine's name and time zone."""

import os
import signal
from pathlib import Path

import pytest

from tests.mgmt.machine import Machine, system

pytestmark = pytest.mark.functional
STATE = '<system xmlns="urn:sluice:system"><state/></system>'


def localtime(machine: Machine) -> str:
    return machine.run("readlink", "/etc/localtime").stdout.strip()


def test_the_time_zone_comes_and_goes(machine: Machine) -> None:
    machine.run("ln", "-sf", "../usr/share/zoneinfo/Asia/Tokyo", "/etc/localtime")
    machine.commit(system("<timezone>Europe/Paris</timezone>"))
    assert localtime(machine).endswith("/Europe/Paris")
    assert "<timezone>Europe/Paris</timezone>" in machine.get(STATE)
    machine.commit(system("<timezone>Asia/Kolkata</timezone>"))
    assert machine.run("date", "+%z").stdout.strip() == "+0530"
    # Killed and forgotten by a boot: what it covered is still known.
    machine.boot()
    assert localtime(machine) == "../usr/share/zoneinfo/Asia/Tokyo"


def test_a_time_zone_that_is_none(machine: Machine) -> None:
    before = localtime(machine)
    error = machine.refused(system("<timezone>Europe/Atlantis</timezone>"))
    assert error["tag"] == "invalid-value"
    assert error["path"].endswith("timezone")
    assert "Europe/Atlantis" in error["message"]
    machine.edit(system("<hostname>gw1</hostname>"))
    error = machine.client.error(
        "<edit-config><target><candidate/></target><config>"
        + system("<timezone>../../passwd</timezone>")
        + "</config></edit-config>"
    )
    assert error["tag"] == "invalid-value"
    assert localtime(machine) == before


def test_nothing_is_touched_without_a_statement(machine: Machine) -> None:
    watched = [
        machine.work / "etc" / name
        for name in ("passwd", "shadow", "group", "localtime", "resolv.conf")
    ]

    def seen() -> list[tuple[int, int]]:
        return [(s.st_mtime_ns, s.st_ino) for s in (os.lstat(path) for path in watched)]

    before = seen()
    machine.commit(system("<hostname>gw1</hostname>"))
    machine.stop(signal.SIGKILL)
    machine.start()
    machine.commit(
        system(
            '<hostname xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>'
        )
    )
    assert seen() == before
    assert Path("/etc/hostname").exists() or machine.run("hostname").stdout
