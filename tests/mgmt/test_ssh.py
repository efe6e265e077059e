"""NETCONF over OpenSSH (RFC 6242) with other people's clients: ncclient, netconf-client, netconf-console2, yangcli."""

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.proc import run, wait_for
from tests.mgmt.conftest import Daemon

pytestmark = pytest.mark.functional
ME = pwd.getpwuid(os.getuid()).pw_name


class Sshd:
    def __init__(self, work: Path, netconf: Path) -> None:
        self.key = work / "key"
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        for name in ("host", "key"):
            run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", str(work / name)])
        relay = f"{sys.executable} -m sluice.mgmt.relay --socket {netconf}"
        path = ":".join(p for p in sys.path if p)
        (work / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {work}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {work}/key.pub\nStrictModes no\nPermitRootLogin yes\n"
            f"SetEnv PYTHONPATH={path}\nSubsystem netconf {relay}\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.log = work / "sshd.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", str(work / "sshd_config")], stderr=log
            )
        wait_for(self.answers, timeout=30, what="sshd")

    def answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="module")
def sshd(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    made = Sshd(tmp_path_factory.mktemp("sshd"), daemon.socket)
    yield made
    made.process.terminate()
    made.process.wait(10)


EDIT = (
    '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">'
    '<top xmlns="urn:example:config"><name>{}</name></top></config>'
)
FILTER = '<top xmlns="urn:example:config"/>'


def test_ncclient(sshd: Sshd) -> None:
    from ncclient import manager
    from ncclient.operations import RPCError

    with manager.connect(
        host="127.0.0.1",
        port=sshd.port,
        username=ME,
        key_filename=str(sshd.key),
        hostkey_verify=False,
        look_for_keys=False,
        allow_agent=False,
    ) as m:
        assert ":candidate" in m.server_capabilities
        with m.locked("candidate"):
            m.edit_config(EDIT.format("ncclient"), target="candidate")
            m.validate("candidate")
            m.commit()
        assert "<name>ncclient</name>" in m.get_config("running", ("subtree", FILTER)).data_xml
        assert "leaf-list step" in m.get_schema("example").data
        m.create_subscription()
        m.edit_config(EDIT.format("again"), target="candidate")
        m.commit(confirmed=True, timeout="600")
        m.cancel_commit()
        seen = [m.take_notification(timeout=20) for _ in range(4)]
        text = "".join(notice.notification_xml for notice in seen if notice)
        assert "<confirm-event>start</confirm-event>" in text
        assert "<confirm-event>cancel</confirm-event>" in text
        assert "netconf-config-change" in text
        with pytest.raises(RPCError) as caught:
            m.edit_config(EDIT.format("a" * 99), target="candidate")
        assert caught.value.tag == "invalid-value"


def test_netconf_client(sshd: Sshd) -> None:
    from netconf_client.connect import connect_ssh
    from netconf_client.ncclient import Manager

    session = connect_ssh(host="127.0.0.1", port=sshd.port, username=ME, key_filename=str(sshd.key))
    with Manager(session, timeout=30) as m:
        m.edit_config(EDIT.format("netconf-client"), target="candidate")
        m.commit()
        got = m.get_config(source="running", filter=f'<filter type="subtree">{FILTER}</filter>')
        assert "netconf-client" in got.data_xml.decode()


def test_netconf_console2(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host 127.0.0.1\n  User {ME}\n  IdentityFile {sshd.key}\n")
    done = run(
        [
            *("netconf-console2", "--host", "127.0.0.1", "--port", str(sshd.port)),
            *("--ssh-config", str(config), "--get-config", "-x", "/nacm:nacm/nacm:rule-list"),
            *("--ns", "nacm=urn:ietf:params:xml:ns:yang:ietf-netconf-acm"),
        ],
        check=False,
    )
    assert "<group>sluice-admin</group>" in done.stdout, done.stdout + done.stderr


def test_yangcli(sshd: Sshd, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".yuma").mkdir(parents=True)
    done = subprocess.run(
        [
            *("yangcli", "server=127.0.0.1", f"ncport={sshd.port}", f"user={ME}"),
            *(f"public-key={sshd.key}.pub", f"private-key={sshd.key}", "password=none"),
            *("batch-mode", "run-command=sget-config source=running /nacm", "autoload=false"),
            *("display-mode=xml", "log-level=info", "timeout=30"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"HOME": str(home)},
        timeout=120,
    )
    text = done.stdout.decode(errors="replace")
    assert "rpc-reply" in text or "<data" in text, text


def test_an_absent_daemon_is_told_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice.mgmt.relay", "--socket", str(tmp_path / "none")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)},
    )
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("yams-netconf: error: can't reach yamsd at ")
    assert lines[1].startswith("yams-netconf: hint: ")
    assert len(lines) == 2
