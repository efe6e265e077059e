from dataclasses import replace

import pytest

from lab import topologies
from lab.domain import Machine, domain_xml
from lab.topology import Host, Port


@pytest.mark.parametrize("name", topologies.names())
def test_a_topology_can_be_built(name):
    assert topologies.load(name).problems() == []


def test_mistakes_in_a_topology_are_named():
    good = topologies.load("two_hosts")
    stray = Host(name="h2", link="nowhere", mac=good.hosts[0].mac, addresses=())
    problems = replace(good, hosts=(*good.hosts, stray)).problems()
    assert "h2 is on link nowhere, which the topology doesn't have" in problems
    assert "h2 names more than one thing" in problems
    assert f"MAC address {good.hosts[0].mac} is there twice" in problems


def test_a_virtual_function_and_its_nic_have_different_mac_addresses():
    port = Port(name="p1", link="left", mac="02:00:00:00:01:01", vf=True)
    assert port.nic_mac != port.mac
    assert replace(port, vf=False).nic_mac == port.mac


def test_the_management_nic_is_the_first_of_the_domain(tmp_path):
    machine = Machine(
        name="x",
        type="qemu",
        disk=tmp_path / "disk",
        nvram=tmp_path / "nvram",
        console_socket=tmp_path / "socket",
        console_log=tmp_path / "log",
        credentials={"a.b": "secret"},
    )
    xml = domain_xml(topologies.load("two_hosts").appliance, machine)
    taps = [line.split('"')[1] for line in xml.splitlines() if '<target dev="' in line][:3]
    assert taps == ["management", "tap-p1", "tap-p2"]
    assert "io.systemd.credential.binary:a.b=c2VjcmV0" in xml
