"""Interfaces by configuration, beyond tests/mgmt/test_linux.py: into VRFs and back, by PCI address, counters."""

import json
import re
import signal
from typing import Any

import pytest
from sluice.features.iface import pci
from sluice.mgmt import kernel

from lab import netns
from lab.proc import run
from tests.mgmt.fixtures import machine
from tests.mgmt.machine import Machine, vrf

__all__ = ["machine"]
pytestmark = pytest.mark.functional
IF = 'xmlns="urn:sluice:iface"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'


def physical(
    name: str, *addresses: str, where: str = "main", more: str = "", attributes: str = ""
) -> str:
    listed = "".join(f"<address><ip>{ip}</ip></address>" for ip in addresses)
    inner = f"<physical{attributes}><name>{name}</name>{more}<ipv4>{listed}</ipv4></physical>"
    return vrf(where, f"<interface {IF}>{inner}</interface>")


def addresses(namespace: str, name: str) -> set[str] | None:
    """An interface's global addresses, or None if it isn't there."""
    links: list[dict[str, Any]] = json.loads(run(["ip", "-j", "-n", namespace, "address"]).stdout)
    for link in links:
        if link["ifname"] == name:
            assert "UP" in link["flags"]
            return {
                f"{a['local']}/{a['prefixlen']}"
                for a in link["addr_info"]
                if a["scope"] == "global"
            }
    return None


def test_into_a_vrf_and_another_and_back(machine: Machine) -> None:
    blue, red = machine.vrf("blue"), machine.vrf("red")
    machine.edit(vrf(red, ""))
    machine.commit(physical("eth0", "192.0.2.1/24", where=blue))
    assert addresses(blue, "eth0") == {"192.0.2.1/24"}
    assert addresses(machine.main, "eth0") is None
    # From one VRF to another in one commit; a killed daemon finds it there.
    machine.edit(physical("eth0", where=blue, attributes=DELETE))
    machine.commit(physical("eth0", "198.51.100.1/24", where=red))
    assert addresses(red, "eth0") == {"198.51.100.1/24"}
    machine.stop(signal.SIGKILL)
    machine.start()
    assert addresses(red, "eth0") == {"198.51.100.1/24"}
    # A commit that fails later puts it back.
    machine.edit(physical("eth0", where=red, attributes=DELETE))
    machine.edit(physical("eth0", "192.0.2.1/24"))
    static = (
        '<routing xmlns="urn:sluice:route"><static><ipv4-route><prefix>10.0.0.0/8</prefix>'
        "<next-hop><hop>203.0.113.9</hop></next-hop></ipv4-route></static></routing>"
    )
    error = machine.refused(vrf("main", static))
    assert "10.0.0.0/8" in error["message"]
    assert addresses(red, "eth0") == {"198.51.100.1/24"}
    # With its VRF's end it's main's again, not gone.
    machine.edit(vrf(blue, "", DELETE))
    machine.commit(vrf(red, "", DELETE))
    links = json.loads(run(["ip", "-j", "-n", machine.main, "link"]).stdout)
    assert "eth0" in {link["ifname"] for link in links}
    assert red not in netns.existing()


def test_one_that_is_nowhere(machine: Machine) -> None:
    blue = machine.vrf("blue")
    error = machine.refused(physical("eth7", where=blue))
    assert (error["tag"], error["message"]) == ("data-missing", "there's no interface eth7")
    address = "<pci-address>0000:ff:1f.7</pci-address>"
    error = machine.refused(physical("wan", more=address))
    assert error["message"] == "there's no interface at PCI address 0000:ff:1f.7"
    error = machine.client.error(
        "<edit-config><target><candidate/></target><config>"
        + physical("wan", more="<pci-address>3:0</pci-address>")
        + "</config></edit-config>"
    )
    assert error["tag"] == "invalid-value"
    assert "0000:03:00.0" in error["message"]


def test_by_pci_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who's found where, with a bus that isn't there."""
    there = {"main": {"ens1": 2, "tap1": 3}, "blue": {"wan": 2}}
    buses = {
        ("main", "ens1"): "0000:01:00.0",
        ("main", "tap1"): "tap",
        ("blue", "wan"): "0000:02:00.0",
    }
    monkeypatch.setattr(kernel, "indexes", lambda vrf: there[vrf])
    monkeypatch.setattr(kernel, "exists", lambda vrf: vrf in there)
    monkeypatch.setattr(pci, "bus_of", lambda vrf, name: buses[vrf, name])
    monkeypatch.setattr(pci, "fast_path_ports", lambda: {"tap1": "0000:03:00.0"})
    assert pci.find("blue", "x", "0000:01:00.0") == pci.Found("main", "ens1", 2)
    assert pci.find("blue", "x", "0000:02:00.0") == pci.Found("blue", "wan", 2)
    assert pci.find("main", "x", "0000:02:00.0") is None, "not taken from another VRF"
    assert pci.find("main", "x", "0000:03:00.0") == pci.Found("main", "tap1", 3, port=True)
    assert pci.find("green", "ens1", None) == pci.Found("main", "ens1", 2)


def test_state_shows_whole_addresses(machine: Machine) -> None:
    machine.commit(physical("eth0", "192.0.2.1/24"))
    state = machine.get(
        f'<vrf xmlns="urn:sluice:vrf"><name>main</name><interface-state {IF}><interface><name>eth0</name>'
        "<address/></interface></interface-state></vrf>"
    )
    found = re.findall("<address>([^<]*)", state)
    assert "192.0.2.1/24" in found
    assert any(text.startswith("fe80::") and not text.startswith("fe80::/") for text in found)
