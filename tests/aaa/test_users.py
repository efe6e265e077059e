"""Users: made, changed, taken over, removed, by shadow's own programs; and what their role lets them do."""

import os
import pwd
import sys
from pathlib import Path

import pytest
from sluice.shell import app

from lab.proc import run
from tests.mgmt.client import Client
from tests.mgmt.machine import Machine, system

pytestmark = pytest.mark.functional
AAA = 'xmlns="urn:sluice:aaa"'
# crypt(5) of "secret", and of another.
HASH = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
OTHER = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"


def user(name: str, *inner: str, attributes: str = "") -> str:
    return system(f"<aaa {AAA}><user{attributes}><name>{name}</name>{''.join(inner)}</user></aaa>")


def role(name: str) -> str:
    return f"<role>{name}</role>"


def key(folder: Path, name: str = "key") -> str:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@here", "-f", str(folder / name)])
    return (folder / f"{name}.pub").read_text().strip()


def entry(machine: Machine, name: str, file: str = "passwd") -> list[str]:
    """A user's line of /etc/passwd or /etc/shadow, or nothing."""
    for line in (machine.work / "etc" / file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split(":")
    return []


def groups(machine: Machine, name: str) -> set[str]:
    done = machine.run("id", "-nG", name, check=False)
    return set(done.stdout.split()) - {name, "systemd-journal"}


DELETE = ' xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"'


def test_a_user_with_key_and_hash(machine: Machine, tmp_path: Path) -> None:
    public = key(tmp_path)
    machine.commit(
        user(
            "alice",
            "<description>Alice A.</description>",
            role("admin"),
            f"<password-hash>{HASH}</password-hash><ssh-key>{public}</ssh-key>",
        )
    )
    name, _, uid, _, text, home, shell = entry(machine, "alice")
    assert (name, text, home, shell) == ("alice", "Alice A.", "/home/alice", "/bin/bash")
    assert int(uid) >= 1000
    assert entry(machine, "alice", "shadow")[1] == HASH
    assert groups(machine, "alice") == {"sluice-admin"}
    keys = machine.work / "run/services/keys/alice"
    assert keys.read_text() == public + "\n"
    assert (machine.work / "home/alice").stat().st_uid == int(uid)
    state = machine.get(f'<system xmlns="urn:sluice:system"><aaa {AAA}><state/></aaa></system>')
    assert "<name>alice</name>" in state
    assert "<role>admin</role>" in state
    assert HASH not in state
    # Another role, another password; then nothing but the role.
    machine.commit(user("alice", role("guest"), f"<password-hash>{OTHER}</password-hash>"))
    assert groups(machine, "alice") == {"sluice-guest"}
    assert entry(machine, "alice", "shadow")[1] == OTHER
    machine.commit(
        user("alice", f"<password-hash{DELETE}/>", f"<ssh-key{DELETE}>{public}</ssh-key>")
    )
    assert entry(machine, "alice", "shadow")[1] == "*", "no password, but not locked: keys work"
    assert not keys.exists()
    (machine.work / "home/alice/notes").write_text("mine")
    machine.run("sh", "-c", "runuser -u alice -- sleep 300 >/dev/null 2>&1 &")  # he's at work
    machine.commit(user("alice", attributes=DELETE))
    assert entry(machine, "alice") == []
    assert (machine.work / "home/alice/notes").exists(), "what he has made stays"
    # Others come meanwhile, and his files are his again.
    machine.commit(user("bob", role("operator")))
    machine.commit(user("alice", role("operator")))
    assert entry(machine, "alice")[2] == uid != entry(machine, "bob")[2]
    for secret in (HASH, OTHER):
        assert secret not in machine.log


def test_a_refused_commit_leaves_no_user_behind(machine: Machine) -> None:
    machine.edit(user("alice", role("admin"), f"<password-hash>{HASH}</password-hash>"))
    error = machine.refused(
        '<vrf xmlns="urn:sluice:vrf"><name>main</name><routing xmlns="urn:sluice:route"><static>'
        "<ipv4-route><prefix>10.0.0.0/8</prefix><next-hop><hop>192.0.2.9</hop></next-hop>"
        "</ipv4-route></static></routing></vrf>"
    )
    assert "10.0.0.0/8" in error["message"]
    assert entry(machine, "alice") == []
    assert "alice" not in (machine.work / "state/users.json").read_text()


def test_someone_who_was_there_is_as_he_was_afterwards(machine: Machine) -> None:
    machine.run("groupadd", "staff9")
    machine.run("useradd", "-m", "-s", "/bin/sh", "-c", "Cloud", "-G", "staff9", "cloud")
    before = entry(machine, "cloud"), entry(machine, "cloud", "shadow")[:2]
    machine.commit(user("cloud", role("operator"), f"<password-hash>{HASH}</password-hash>"))
    assert groups(machine, "cloud") == {"staff9", "sluice-operator"}
    assert entry(machine, "cloud", "shadow")[1] == HASH
    assert entry(machine, "cloud")[6] == "/bin/bash"
    machine.commit(user("cloud", attributes=DELETE))
    assert (entry(machine, "cloud"), entry(machine, "cloud", "shadow")[:2]) == before
    assert groups(machine, "cloud") == {"staff9"}


def test_who_was_not_saved_is_gone_after_a_boot(machine: Machine) -> None:
    machine.commit(user("alice", role("admin")))
    machine.save()
    machine.commit(user("bob", role("admin")))
    machine.boot()
    assert entry(machine, "alice")
    assert entry(machine, "bob") == []
    uid = entry(machine, "alice")[2]
    machine.run("usermod", "--groups", "", "alice")
    machine.stop()
    machine.start()
    assert groups(machine, "alice") == {"sluice-admin"}, "repaired"
    assert entry(machine, "alice")[2] == uid


@pytest.mark.parametrize(
    ("inner", "wrong"),
    [
        ("<password-hash>secret</password-hash>", "not a password"),
        ("<ssh-key>ssh-ed25519</ssh-key>", ".pub file"),
        ("<ssh-key>from=host ssh-ed25519 " + "A" * 68 + "</ssh-key>", ".pub file"),
    ],
)
def test_what_the_model_refuses_at_once(machine: Machine, inner: str, wrong: str) -> None:
    body = user("alice", role("admin"), inner)
    error = machine.client.error(
        f"<edit-config><target><candidate/></target><config>{body}</config></edit-config>"
    )
    assert error["tag"] == "invalid-value"
    assert wrong in error["message"]


def test_what_only_the_machine_knows(machine: Machine) -> None:
    error = machine.refused(user("daemon", role("admin")))
    assert error["message"] == "daemon is a system account"
    assert error["path"].endswith("[aaa:name='daemon']") or "daemon" in error["path"]
    damaged = "ssh-ed25519 " + "A" * 68
    error = machine.refused(user("alice", role("admin"), f"<ssh-key>{damaged}</ssh-key>"))
    assert "damaged" in error["message"]
    error = machine.refused(user("root", role("guest")))
    assert error["message"] == "root is a system account"


def test_roles_by_access_control(machine: Machine) -> None:
    """The same user in each role, as the kernel tells yamsd who connects."""
    get = f'<get><filter><system xmlns="urn:sluice:system"><aaa {AAA}><user/></aaa></system></filter></get>'
    for one in ("guest", "operator", "admin"):
        machine.commit(user(one[0] * 3, role(one), f"<password-hash>{HASH}</password-hash>"))
    seen: dict[str, tuple[bool, str]] = {}
    for one in ("guest", "operator", "admin"):
        uid = int(entry(machine, one[0] * 3)[2])
        assert uid not in {account.pw_uid for account in pwd.getpwall()}
        with Client(machine.socket, uid=uid) as client:
            read = client.data(get)
            assert "<name>aaa</name>" in read
            change = client.rpc(
                "<edit-config><target><candidate/></target><config>"
                + user("zoe", role("admin"))
                + "</config></edit-config>"
            )
            words = "".join(change.itertext())
            client.rpc("<discard-changes/>")
            seen[one] = (HASH in read, words)
    assert [seen[one][0] for one in seen] == [False, False, True], "who reads hashes"
    assert "may not" in seen["guest"][1]
    assert seen["admin"][1].strip() == ""
    assert "may not" in seen["operator"][1], "users are the admin's"
    machine.commit()
    assert entry(machine, "zoe") == []


def test_netconf_for_users_whose_shell_is_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """sshd has the login shell run its subsystems: `sluice -c /usr/bin/yams-netconf`."""
    ran: list[tuple[str, list[str]]] = []

    class EndedError(Exception):
        pass

    def execv(path: str, argv: list[str]) -> None:
        ran.append((path, argv))
        raise EndedError

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["sluice", "-c", "/usr/bin/yams-netconf"])
    with pytest.raises(EndedError):
        app.main()
    assert ran == [("/usr/bin/yams-netconf", ["/usr/bin/yams-netconf"])]
    unit = Path(__file__).resolve().parents[2] / "image/extra/etc/ssh/sshd_netconf_config"
    assert "ForceCommand /usr/bin/yams-netconf\n" in unit.read_text()
