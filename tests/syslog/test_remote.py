"""A real rsyslogd sends what programs log to receivers at the other end of the cable."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sluice.mgmt import kernel

from lab import netns
from tests.mgmt.machine import Machine, system

pytestmark = pytest.mark.functional
LOG = 'xmlns="urn:sluice:syslog"'
NEAR, FAR = "192.0.2.1", "192.0.2.2"
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'


def remote(*inner: str) -> str:
    return system(f"<syslog {LOG}><remote><host>{FAR}</host>{''.join(inner)}</remote></syslog>")


@contextmanager
def receiver(machine: Machine, kind: socket.SocketKind, port: int) -> Iterator[socket.socket]:
    netns.ip_batch(machine.main, [f"address replace {NEAR}/24 dev eth0"])
    netns.ip_batch(machine.far, [f"address replace {FAR}/24 dev far0"])
    with kernel.entered(machine.far), socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(30)
        sock.bind((FAR, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock


def test_by_udp_from_a_severity_on(machine: Machine) -> None:
    with receiver(machine, socket.SOCK_DGRAM, 514) as sock:
        machine.commit(remote("<severity>warning</severity><facility>daemon</facility>"))
        state = f'<system xmlns="urn:sluice:system"><syslog {LOG}><state/></syslog></system>'
        assert "<running>true</running>" in machine.get(state)
        machine.run("logger", "-p", "daemon.info", "-t", "test", "too light")
        machine.run("logger", "-p", "user.err", "-t", "test", "another facility")
        machine.run("logger", "-p", "daemon.err", "-t", "test", "grave enough")
        message = sock.recv(4096).decode()
        assert message.startswith("<27>1 "), message  # daemon.err, RFC 5424
        assert message.rstrip().endswith("grave enough")
        pid = machine.work / "run/services/syslog.pid"
        number = pid.read_text()
        machine.commit(system("<hostname>gw1</hostname>"))
        machine.stop()
        machine.start()
        assert pid.read_text() == number, (
            "neither a commit of others' nor yamsd's restart touches it"
        )
        machine.commit(remote("<severity>info</severity>"))
        assert pid.read_text() != number
        machine.run("logger", "-p", "daemon.info", "-t", "test", "light enough now")
        text = sock.recv(4096).decode()
        while "test" not in text:
            text = sock.recv(4096).decode()
        assert "light enough now" in text
    machine.commit(system(f"<syslog {LOG}{DELETE}/>"))
    assert not pid.exists()
    assert "<running>false</running>" in machine.get(state)


def test_by_tcp(machine: Machine) -> None:
    with receiver(machine, socket.SOCK_STREAM, 6514) as listener:
        machine.commit(remote("<port>6514</port><protocol>tcp</protocol>"))
        machine.run("logger", "-p", "daemon.err", "-t", "test", "over TCP")
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            text = ""
            while "over TCP" not in text:
                more = connection.recv(4096)
                assert more, text
                text += more.decode()
            length, _, rest = text.partition(" ")
            assert rest[: int(length)].startswith("<"), "octet counting"
