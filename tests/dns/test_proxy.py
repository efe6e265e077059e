"""A real dnsmasq answers a host at the other end of the cable, in main or in a VRF."""

import json
import socket
import struct

import pytest
from sluice.mgmt import kernel
from sluice.mgmt.service import started_at

from lab import netns
from tests.mgmt.machine import Machine, system, vrf

pytestmark = pytest.mark.functional
DNS = 'xmlns="urn:sluice:dns"'
IF = 'xmlns="urn:sluice:iface"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'
NEAR, FAR = "192.0.2.1", "192.0.2.2"


def ask(namespace: str, server: str, name: str) -> list[str] | int:
    """The A records of a name as a host in the namespace gets them, or the error code."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with kernel.entered(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.sendto(query, (server, 53))
        answer = sock.recv(4096)
    flags, _, count = struct.unpack(">3H", answer[2:8])
    if flags & 15:
        return flags & 15
    found, at = [], len(query)
    for _ in range(count):
        (length,) = struct.unpack(">H", answer[at + 10 : at + 12])
        found.append(socket.inet_ntoa(answer[at + 12 : at + 12 + length]))
        at += 12 + length
    return found


def proxy(*inner: str, name: str = "main") -> str:
    return vrf(name, f"<dns-proxy {DNS}><interface>eth0</interface>{''.join(inner)}</dns-proxy>")


def host(name: str, address: str) -> str:
    return f"<host><name>{name}</name><address>{address}</address></host>"


def address() -> str:
    inner = f"<name>eth0</name><ipv4><address><ip>{NEAR}/24</ip></address></ipv4>"
    return vrf("main", f"<interface {IF}><physical>{inner}</physical></interface>")


def test_it_answers_and_is_only_restarted_for_its_own_changes(machine: Machine) -> None:
    netns.ip_batch(machine.far, [f"address add {FAR}/24 dev far0"])
    machine.edit(address())
    machine.commit(proxy(host("gw.example.org", NEAR)))
    assert ask(machine.far, NEAR, "gw.example.org") == [NEAR]
    pid = machine.work / "run/services/dns-proxy-main.pid"
    number = pid.read_text()
    machine.commit(system("<hostname>gw1</hostname>"))
    machine.commit(
        vrf(
            "main",
            f"<interface {IF}><physical><name>eth0</name><mtu>1400</mtu></physical></interface>",
        )
    )
    machine.stop()
    machine.start()
    assert pid.read_text() == number
    state = f'<vrf xmlns="urn:sluice:vrf"><name>main</name><dns-proxy-state {DNS}/></vrf>'
    assert "<running>true</running>" in machine.get(state)
    machine.commit(proxy(host("b.example.org", "192.0.2.9")))
    assert pid.read_text() != number
    assert ask(machine.far, NEAR, "b.example.org") == ["192.0.2.9"]
    machine.commit(vrf("main", f"<dns-proxy {DNS}{DELETE}/>"))
    assert not pid.exists()
    assert started_at(int(number)) == ""
    assert "<running>false</running>" in machine.get(state)


def test_it_asks_others(machine: Machine) -> None:
    """main's proxy asks that of a VRF, over a cable between the two."""
    blue = machine.vrf("blue")

    def cable(name: str, peer_vrf: str, peer: str, ip: str) -> str:
        return (
            f"<interface {IF}><veth><name>{name}</name><ipv4><address><ip>{ip}/24</ip></address></ipv4>"
            f"<peer-vrf>{peer_vrf}</peer-vrf><peer-interface>{peer}</peer-interface></veth></interface>"
        )

    netns.ip_batch(machine.far, [f"address add {FAR}/24 dev far0"])
    machine.edit(address())
    machine.edit(vrf("main", cable("cable0", blue, "eth0", "198.51.100.1")))
    machine.edit(vrf(blue, cable("eth0", "main", "cable0", "198.51.100.2")))
    machine.edit(proxy(host("far.example.org", "203.0.113.5"), name=blue))
    machine.commit(proxy("<server>198.51.100.2</server>"))
    assert ask(machine.far, NEAR, "far.example.org") == ["203.0.113.5"]
    # The VRF goes, with what runs in it.
    pid = int((machine.work / f"run/services/dns-proxy-{blue}.pid").read_text())
    machine.edit(
        vrf("main", f"<interface {IF}><veth{DELETE}><name>cable0</name></veth></interface>")
    )
    machine.edit(vrf("main", f"<dns-proxy {DNS}{DELETE}/>"))
    machine.edit(vrf(blue, "", DELETE))
    machine.commit()
    assert started_at(pid) == ""
    assert blue not in netns.existing()


def test_one_that_cannot_start_fails_the_commit_with_its_words(machine: Machine) -> None:
    with kernel.entered(machine.main), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("0.0.0.0", 53))
        taken.listen()
        machine.edit(address())
        error = machine.refused(proxy(host("gw.example.org", NEAR)))
    assert "DNS proxy of VRF main doesn't start" in error["message"]
    assert "in use" in error["message"]
    (link,) = netns_addresses(machine)
    assert link == [], "and all of the commit is undone"


def netns_addresses(machine: Machine) -> list[list[str]]:
    shown = machine.run("ip", "-j", "-4", "address", "show", "dev", "eth0").stdout
    return [
        [a["local"] for a in link.get("addr_info", [])] for link in json.loads(shown or "[]")
    ] or [[]]
