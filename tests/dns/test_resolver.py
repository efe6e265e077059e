"""Name servers of the machine itself, where there's no systemd-resolved: /etc/resolv.conf."""

import pytest

from tests.mgmt.machine import Machine, system

pytestmark = pytest.mark.functional
DNS = 'xmlns="urn:sluice:dns"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'


def test_servers_come_and_go(machine: Machine) -> None:
    file = machine.work / "etc/resolv.conf"
    before = file.read_text()
    machine.commit(
        system(
            f"<dns {DNS}><server>192.0.2.53</server><server>2001:db8::53</server>"
            "<search>example.org</search></dns>"
        )
    )
    assert file.read_text().splitlines()[1:] == [
        "nameserver 192.0.2.53",
        "nameserver 2001:db8::53",
        "search example.org",
    ]
    assert file.stat().st_mode & 0o777 == 0o644, "all programs read it"
    state = machine.get(f'<system xmlns="urn:sluice:system"><dns {DNS}><state/></dns></system>')
    assert "<server>192.0.2.53</server><server>2001:db8::53</server>" in state
    machine.boot()
    assert file.read_text() == before, "not saved, so it's as it was"
    machine.commit(system(f"<dns {DNS}><server>192.0.2.54</server></dns>"))
    machine.commit(system(f"<dns {DNS}{DELETE}/>"))
    assert file.read_text() == before


def test_search_domains_need_a_server(machine: Machine) -> None:
    error = machine.refused(system(f"<dns {DNS}><search>example.org</search></dns>"))
    assert error["message"] == "search domains need a server"
