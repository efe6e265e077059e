"""Real OpenSSH servers: a user of the configuration logs in with his key, over main or a VRF."""

from pathlib import Path

import pytest
from sluice.mgmt.service import started_at

from lab import netns
from lab.proc import Completed, run
from tests.mgmt.machine import Machine, system, vrf

pytestmark = pytest.mark.functional
SSH = 'xmlns="urn:sluice:ssh"'
AAA = 'xmlns="urn:sluice:aaa"'
IF = 'xmlns="urn:sluice:iface"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'


class Visitor:
    """Someone with a key, at the other end of the cable."""

    def __init__(self, machine: Machine, work: Path, namespace: str) -> None:
        self.machine, self.work, self.namespace = machine, work, namespace
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / "key")])
        public = (work / "key.pub").read_text().strip()
        inner = f"<name>alice</name><role>operator</role><ssh-key>{public}</ssh-key>"
        machine.edit(system(f"<aaa {AAA}><user>{inner}</user></aaa>"))

    def ssh(
        self, address: str, *command: str, port: int = 22, more: tuple[str, ...] = ()
    ) -> Completed:
        return run(
            [
                *(
                    "ip",
                    "netns",
                    "exec",
                    self.namespace,
                    "ssh",
                    "-F",
                    "none",
                    "-i",
                    str(self.work / "key"),
                ),
                *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
                *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", *more),
                *("-p", str(port), f"alice@{address}", *command),
            ],
            check=False,
        )


def server(*inner: str, name: str = "main") -> str:
    return vrf(name, f"<ssh-server {SSH}>{''.join(inner)}</ssh-server>")


@pytest.fixture
def visitor(machine: Machine, tmp_path: Path) -> Visitor:
    netns.ip_batch(machine.main, ["address add 192.0.2.1/24 dev eth0"])
    netns.ip_batch(machine.far, ["address add 192.0.2.2/24 dev far0"])
    return Visitor(machine, tmp_path, machine.far)


def test_a_configured_user_logs_in(machine: Machine, visitor: Visitor) -> None:
    assert visitor.ssh("192.0.2.1", "true").returncode == 255, "nobody listens yet"
    machine.commit(server("<port>2222</port>"))
    done = visitor.ssh("192.0.2.1", "id", "-un", port=2222)
    assert (done.stdout, done.returncode) == ("alice\n", 0), done.stderr
    state = f'<vrf xmlns="urn:sluice:vrf"><name>main</name><ssh-server-state {SSH}/></vrf>'
    assert "<running>true</running>" in machine.get(state)
    pid = machine.work / "run/services/ssh-main.pid"
    number = int(pid.read_text())
    machine.commit(system("<hostname>gw1</hostname>"))
    machine.stop()
    machine.start()
    assert int(pid.read_text()) == number, "neither others' commits nor yamsd's restart touch it"
    # The user goes: his key opens nothing any more.
    machine.commit(system(f"<aaa {AAA}><user{DELETE}><name>alice</name></user></aaa>"))
    assert visitor.ssh("192.0.2.1", "true", port=2222).returncode == 255
    machine.commit(server("<enabled>false</enabled>"))
    assert started_at(number) == ""
    assert "<running>false</running>" in machine.get(state)


def test_passwords_only_where_allowed(machine: Machine, visitor: Visitor) -> None:
    machine.commit(server())
    asked = ("-o", "PreferredAuthentications=password")
    assert "(publickey)" in visitor.ssh("192.0.2.1", "true", more=asked).stderr
    machine.commit(server("<password-authentication>true</password-authentication>"))
    assert "(publickey,password)" in visitor.ssh("192.0.2.1", "true", more=asked).stderr


def test_in_a_vrf_and_only_there(machine: Machine, tmp_path: Path) -> None:
    blue = machine.vrf("blue")

    def cable(name: str, peer_vrf: str, peer: str, ip: str) -> str:
        return (
            f"<interface {IF}><veth><name>{name}</name><ipv4><address><ip>{ip}/24</ip></address></ipv4>"
            f"<peer-vrf>{peer_vrf}</peer-vrf><peer-interface>{peer}</peer-interface></veth></interface>"
        )

    machine.edit(vrf("main", cable("cable0", blue, "cable1", "198.51.100.1")))
    machine.edit(vrf(blue, cable("cable1", "main", "cable0", "198.51.100.2")))
    visitor = Visitor(machine, tmp_path, machine.main)
    machine.commit(server("<listen-address>198.51.100.2</listen-address>", name=blue))
    done = visitor.ssh("198.51.100.2", "ip", "-br", "link", "show", "type", "veth")
    assert "cable1" in done.stdout and "cable0@" not in done.stdout.split()[0], done.stderr
    assert visitor.ssh("198.51.100.1", "true").returncode == 255


def test_a_port_that_is_taken(machine: Machine, visitor: Visitor) -> None:
    machine.commit(server())
    taken = machine.refused(
        vrf("main", f"<ssh-server {SSH}><listen-address>192.0.2.77</listen-address></ssh-server>")
    )
    assert "SSH server of VRF main doesn't start" in taken["message"]
    done = visitor.ssh("192.0.2.1", "id", "-un")
    assert done.stdout == "alice\n", "the one before is back"
