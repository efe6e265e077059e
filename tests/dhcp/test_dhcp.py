"""DHCP as it's spoken: a real dnsmasq of one side's VRF and a real udhcpc of the other's, over a cable.

main: client on eth1 ------- veth ------- eth0, server: VRF blue
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sluice.features.dhcp.mgmt import check, configuration, parsed_leases
from sluice.mgmt.error import ConfigError

from tests.mgmt.machine import Machine, system, vrf

DHCP = 'xmlns="urn:sluice:dhcp"'
IF = 'xmlns="urn:sluice:iface"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'
CLIENT = f"<dhcp {DHCP}/>"


def until[T](get: Callable[[], T], good: Callable[[T], bool]) -> T:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        value = get()
        if good(value):
            return value
        time.sleep(0.1)
    raise AssertionError(f"still {get()}")


def cable(name: str, peer_vrf: str, peer: str, ipv4: str = "") -> str:
    return (
        f"<interface {IF}><veth><name>{name}</name><ipv4>{ipv4}</ipv4>"
        f"<peer-vrf>{peer_vrf}</peer-vrf><peer-interface>{peer}</peer-interface></veth></interface>"
    )


def server(*inner: str, prefix: str = "192.0.2.0/24") -> str:
    return (
        f"<dhcp-server {DHCP}><subnet><prefix>{prefix}</prefix><interface>eth0</interface>"
        f"{''.join(inner)}</subnet></dhcp-server>"
    )


RANGE = "<range><start>192.0.2.100</start><end>192.0.2.110</end></range>"
GATEWAY = "<gateway>192.0.2.1</gateway><dns-server>192.0.2.53</dns-server>"


class Lan:
    def __init__(self, machine: Machine) -> None:
        self.machine, self.blue = machine, machine.vrf("blue")
        own = "<address><ip>192.0.2.1/24</ip></address>"
        machine.edit(vrf("main", cable("eth1", self.blue, "eth0")))
        machine.edit(vrf(self.blue, cable("eth0", "main", "eth1", own)))

    def addresses(self) -> set[str]:
        shown = json.loads(
            self.machine.run("ip", "-j", "-4", "address", "show", "dev", "eth1").stdout
        )
        return {
            f"{a['local']}/{a['prefixlen']}" for link in shown for a in link.get("addr_info", [])
        }

    def routes(self) -> list[dict[str, Any]]:
        shown = self.machine.run("ip", "-j", "-4", "route", "show", "proto", "dhcp").stdout
        found: list[dict[str, Any]] = json.loads(shown)
        return found

    def client(self, inner: str = CLIENT) -> str:
        return vrf("main", cable("eth1", self.blue, "eth0", inner))

    def state(self, name: str, where: str) -> str:
        return self.machine.get(
            f'<vrf xmlns="urn:sluice:vrf"><name>{where}</name><{name} {DHCP}/></vrf>'
        )


@pytest.fixture
def lan(machine: Machine) -> Lan:
    return Lan(machine)


@pytest.mark.functional
def test_an_address_is_lent_and_given_back(lan: Lan) -> None:
    machine = lan.machine
    machine.edit(vrf(lan.blue, server(RANGE, GATEWAY)))
    machine.commit(lan.client())
    (address,) = until(lan.addresses, bool)
    assert address.startswith("192.0.2.1") and address.endswith("/24")
    (route,) = until(lan.routes, bool)
    assert (route["dst"], route["gateway"], route["metric"]) == ("default", "192.0.2.1", 4096)
    state = until(lambda: lan.state("dhcp-client-state", "main"), lambda text: address in text)
    assert "<server>192.0.2.1</server>" in state
    assert "<gateway>192.0.2.1</gateway><dns-server>192.0.2.53</dns-server>" in state
    assert "<lease-time>3600</lease-time>" in state
    lent = lan.state("dhcp-server-state", lan.blue)
    assert f"<address>{address.partition('/')[0]}</address>" in lent
    # What's configured besides stays; other commits don't disturb it.
    pid = machine.work / "run/services/dhcp-client-main-eth1.pid"
    number = pid.read_text()
    machine.commit(lan.client("<address><ip>203.0.113.7/32</ip></address>"))
    machine.stop()
    machine.start()
    assert pid.read_text() == number
    assert lan.addresses() == {address, "203.0.113.7/32"}
    machine.commit(lan.client(f"<dhcp {DHCP}{DELETE}/>"))
    until(lan.addresses, lambda there: there == {"203.0.113.7/32"})
    assert lan.routes() == []
    until(lambda: lan.state("dhcp-server-state", lan.blue), lambda text: "<lease>" not in text)


@pytest.mark.functional
def test_a_host_by_its_mac_and_the_leases_after_a_boot(lan: Lan) -> None:
    machine = lan.machine
    machine.commit()
    (link,) = json.loads(machine.run("ip", "-j", "link", "show", "dev", "eth1").stdout)
    host = f"<host><mac>{link['address']}</mac><address>192.0.2.7</address><name>me</name></host>"
    machine.edit(vrf(lan.blue, server(host)))
    machine.commit(lan.client())
    until(lan.addresses, lambda there: there == {"192.0.2.7/24"})
    until(lan.routes, lambda found: found == []), "no gateway is told"
    leases = machine.work / f"state/dhcp/{lan.blue}.leases"
    until(leases.read_text, lambda text: "192.0.2.7" in text)
    machine.save()
    machine.boot()
    assert "<address>192.0.2.7</address>" in lan.state("dhcp-server-state", lan.blue)


@pytest.mark.functional
@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("<range><start>198.51.100.1</start><end>192.0.2.9</end></range>", "198.51.100.1 isn't in"),
        ("<range><start>192.0.2.9</start><end>192.0.2.8</end></range>", "behind its end"),
        ("<gateway>198.51.100.1</gateway>", "the gateway 198.51.100.1"),
    ],
)
def test_addresses_outside_of_the_subnet_are_refused(lan: Lan, inner: str, words: str) -> None:
    error = lan.machine.refused(vrf(lan.blue, server(inner)))
    assert words in error["message"]
    assert "192.0.2.0/24" in error["path"]


@pytest.mark.functional
def test_a_client_of_an_interface_that_is_made_anew(lan: Lan) -> None:
    machine = lan.machine
    machine.edit(vrf(lan.blue, server(RANGE, GATEWAY)))
    machine.commit(lan.client())
    until(lan.addresses, bool)
    machine.stop()
    machine.run("ip", "link", "del", "eth1")
    machine.start()
    until(lan.addresses, bool)
    machine.commit(system("<hostname>gw1</hostname>"))


def test_what_dnsmasq_is_told() -> None:
    subnet = {
        "prefix": "192.0.2.0/24",
        "interface": "eth0",
        "lease-time": 600,
        "dns-server": ["192.0.2.53", "192.0.2.54"],
        "domain": "example.org",
        "host": [{"mac": "02:00:00:00:00:01", "address": "192.0.2.7"}],
    }
    text = configuration({"subnet": [subnet]}, Path("/leases")).splitlines()
    assert "dhcp-range=set:subnet0,192.0.2.0,static,255.255.255.0,600" in text
    assert "dhcp-option=tag:subnet0,option:router" in text, "none is told, not the server itself"
    assert "dhcp-option=tag:subnet0,option:dns-server,192.0.2.53,192.0.2.54" in text
    assert "dhcp-host=02:00:00:00:00:01,192.0.2.7" in text
    with pytest.raises(ConfigError, match=r"the host's address 198\.51\.100\.7"):
        check(subnet | {"host": [{"mac": "x", "address": "198.51.100.7"}]}, "/here")


def test_lease_files() -> None:
    text = (
        "1700000000 02:00:00:00:00:01 192.0.2.7 me 01:02\n"
        "0 02:00:00:00:00:02 192.0.2.8 * *\nduid 00:01\nrubbish\n"
    )
    assert parsed_leases(text) == [
        {
            "address": "192.0.2.7",
            "mac": "02:00:00:00:00:01",
            "name": "me",
            "expires": "2023-11-14T22:13:20Z",
        },
        {"address": "192.0.2.8", "mac": "02:00:00:00:00:02"},
    ]
