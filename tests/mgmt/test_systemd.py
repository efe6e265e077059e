"""yamsd as the image runs it: its unit with its sandbox, systemd below it, daemons as units of their own.

main: c0, DHCP client ------- veth ------- c1, DHCP and DNS server, SSH: VRF blue
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.proc import wait_for
from tests.mgmt.booted import Booted
from tests.mgmt.machine import system, vrf

pytestmark = pytest.mark.functional
AAA, DHCP, DNS = 'xmlns="urn:sluice:aaa"', 'xmlns="urn:sluice:dhcp"', 'xmlns="urn:sluice:dns"'
IF, LOG, SSH = 'xmlns="urn:sluice:iface"', 'xmlns="urn:sluice:syslog"', 'xmlns="urn:sluice:ssh"'
DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'
HASH = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    made = Booted(tmp_path_factory.mktemp("booted"))
    try:
        made.wait()
        yield made
    finally:
        made.close()


def cable(name: str, peer_vrf: str, peer: str, ipv4: str) -> str:
    return (
        f"<interface {IF}><veth><name>{name}</name><ipv4>{ipv4}</ipv4>"
        f"<peer-vrf>{peer_vrf}</peer-vrf><peer-interface>{peer}</peer-interface></veth></interface>"
    )


def ssh(booted: Booted, address: str, port: int, *command: str) -> str:
    done = booted.run(
        *("ssh", "-F", "none", "-i", "/root/key", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-p", str(port), f"oper@{address}", *command),
        check=False,
    )
    return f"{done.stdout}{done.stderr}"


def test_services_as_units(booted: Booted) -> None:
    booted.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/key")
    key = booted.run("cat", "/root/key.pub").stdout.strip()
    user = f"<role>operator</role><shell>bash</shell><password-hash>{HASH}</password-hash><ssh-key>{key}</ssh-key>"
    lan = "<prefix>192.0.2.0/24</prefix><interface>c1</interface>"
    lan += "<range><start>192.0.2.100</start><end>192.0.2.110</end></range>"
    booted.commit(
        system(
            f"<hostname>gw7</hostname><aaa {AAA}><user><name>oper</name>{user}</user></aaa>"
            f"<syslog {LOG}><remote><host>192.0.2.1</host></remote></syslog>"
        ),
        vrf("main", cable("c0", "blue", "c1", f"<dhcp {DHCP}/>")),
        vrf("main", f"<ssh-server {SSH}><port>2223</port></ssh-server>"),
        vrf(
            "blue",
            cable("c1", "main", "c0", "<address><ip>192.0.2.1/24</ip></address>")
            + f"<dhcp-server {DHCP}><subnet>{lan}</subnet></dhcp-server>"
            f"<dns-proxy {DNS}><interface>c1</interface></dns-proxy>"
            f"<ssh-server {SSH}><port>2222</port></ssh-server>",
        ),
    )
    units = booted.units()
    assert {
        "dhcp-client-main-c0",
        "dhcp-server-blue",
        "dns-proxy-blue",
        "ssh-blue",
        "syslog",
    } <= set(units)
    assert booted.run("hostname").stdout == "gw7\n"
    wait_for(
        lambda: "192.0.2.1" in booted.run("ip", "-4", "-br", "address", "show", "dev", "c0").stdout,
        "a lease for c0",
        timeout=60,
    )
    said = ssh(booted, "192.0.2.1", 2222, "id -nG; ip -br link")
    assert "sluice-operator" in said
    assert "c1@" in said and "c0@" not in said, "whoever logs in over a VRF is in it"
    assert "oper" in ssh(booted, "127.0.0.1", 2223, "id -un"), (
        "the image's own server, on another port"
    )
    # Neither yamsd's restart nor others' changes touch them.
    system_ssh = booted.pid("ssh.service")
    booted.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "yamsd")
    wait_for(
        lambda: booted.run("systemctl", "is-active", "yamsd", check=False).stdout == "active\n",
        "yamsd's restart",
        timeout=120,
        interval=0.5,
    )
    booted.again()
    booted.commit(system("<hostname>gw8</hostname>"))
    assert booted.units() == units
    assert booted.pid("ssh.service") == system_ssh
    assert HASH not in booted.journal()


def test_one_that_dies_is_started_again_and_one_that_cannot_start_is_refused(
    booted: Booted,
) -> None:
    before = booted.units()["dns-proxy-blue"]
    booted.run("kill", "-KILL", before)
    wait_for(
        lambda: booted.units().get("dns-proxy-blue", before) != before,
        "its restart",
        timeout=60,
        interval=0.5,
    )
    booted.client.ok(
        "<edit-config><target><candidate/></target><config>"
        + vrf(
            "blue", f"<ssh-server {SSH}><listen-address>198.51.100.77</listen-address></ssh-server>"
        )
        + "</config></edit-config>"
    )
    error = booted.client.error("<commit/>")
    booted.client.ok("<discard-changes/>")
    assert "SSH server of VRF blue doesn't start" in error["message"]
    assert "oper" in ssh(booted, "192.0.2.1", 2222, "id -un"), "the one before is back"


def test_all_goes_as_it_came(booted: Booted) -> None:
    booted.commit(
        system(f"<hostname{DELETE}/><aaa {AAA}{DELETE}/><syslog {LOG}{DELETE}/>"),
        vrf("blue", "", DELETE),
        vrf("main", f"<interface {IF}{DELETE}/><ssh-server {SSH}{DELETE}/>"),
    )
    assert set(booted.units()) <= {"ssh-key"}
    assert booted.run("getent", "passwd", "oper", check=False).stdout == ""
    left = booted.run(
        "ls", "/run/sluice-mgmt/services", "/run/netns", "/etc/ssh/sshd_config.d"
    ).stdout
    assert "blue" not in left
    assert "05-sluice" not in left
    assert ":22 " in booted.run("ss", "-lntH").stdout, "SSH is on its old port"
    assert booted.run("systemctl", "--failed", "--no-legend").stdout == ""


def test_what_was_not_saved_is_gone_after_a_boot(booted: Booted) -> None:
    booted.commit(
        system(f"<aaa {AAA}><user><name>oper</name><role>operator</role></user></aaa>"),
        vrf("main", f"<ssh-server {SSH}><port>2223</port></ssh-server>"),
    )
    assert Path(f"/proc/{booted.leader}/root/etc/ssh/sshd_config.d/05-sluice.conf").exists()
    booted.client.drop()
    booted.run("systemctl", "stop", "yamsd")
    booted.run("rm", "-rf", "/run/sluice-mgmt")
    booted.run("systemctl", "start", "yamsd")
    booted.again()
    assert booted.run("getent", "passwd", "oper", check=False).stdout == ""
    assert ":2223 " not in booted.run("ss", "-lntH").stdout
    assert ":22 " in booted.run("ss", "-lntH").stdout
