"""`sluice` as people and scripts run it, with a real yamsd in a namespace: see tests/mgmt/test_linux.py."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import netns
from lab.proc import run
from tests.mgmt.client import Client
from tests.mgmt.test_linux import Router
from tests.mgmt.test_ssh import ME, Sshd

pytestmark = pytest.mark.functional


class Cli:
    """Runs `sluice` against the router's yamsd."""

    def __init__(self, router: Router, home: Path) -> None:
        self.router = router
        self.env = os.environ | {
            "PYTHONPATH": ":".join(p for p in sys.path if p),
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
        }

    def run(
        self, *args: str, stdin: str | None = None, socket: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "sluice.shell.app"]
        return subprocess.run(
            [*words, "--socket", str(socket or self.router.socket), *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=self.env,
        )

    def ok(self, *args: str, stdin: str | None = None) -> str:
        done = self.run(*args, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def error(self, *args: str, stdin: str | None = None) -> str:
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 1, done
        assert done.stderr.startswith("sluice: error: "), done
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    work = tmp_path_factory.mktemp("shell")
    router = Router(work)
    try:
        router.start()
        netns.ip_batch(router.main, ["link add eth1 type veth peer name far1"])
        yield Cli(router, work)
    finally:
        router.close()


@pytest.fixture(autouse=True)
def _factory(cli: Cli) -> Iterator[None]:
    yield
    done = cli.run("-c", "commit cancel")
    assert done.returncode in (0, 1)
    cli.ok("-c", "rollback factory; commit")


ETH0 = "/ vrf main interface physical eth0 ipv4 address 192.0.2.1/24"


def test_a_new_user_sets_up_an_interface_and_a_route(cli: Cli) -> None:
    script = """\
# what a new user types
edit running
vrf main
interface physical eth0
mtu 1400
ipv4 address 192.0.2.1/24
..
physical eth1 ipv4 address 198.51.100.1/24
/ vrf main routing static
ipv4-route 10.0.0.0/8 next-hop 192.0.2.2
show config
diff
validate
commit comment "the first"
"""
    out = cli.ok(stdin=script)
    assert "ipv4-route 10.0.0.0/8 next-hop 192.0.2.2" not in out.splitlines()[0]
    assert "+ / vrf main interface physical eth1 ipv4 address 198.51.100.1/24" in out
    assert out.splitlines()[-2:] == ["valid", "committed"]
    assert cli.router.addresses("eth0") == {"192.0.2.1/24"}
    assert cli.router.addresses("eth1") == {"198.51.100.1/24"}
    assert cli.router.routes() == {("10.0.0.0/8", "192.0.2.2")}
    state = cli.ok("-c", "show state vrf main interface-state interface eth0")
    assert "address 192.0.2.1/24" in state
    assert "the first" in cli.ok("-c", "show state management revision | table")


def test_output_for_programs(cli: Cli) -> None:
    cli.ok("-c", f"edit running; {ETH0}; commit")
    value = json.loads(cli.ok("-j", "-c", "show state vrf main interface-state interface eth0"))
    (entry,) = value["sluice-vrf:vrf"][0]["sluice-iface:interface-state"]["interface"]
    assert (entry["name"], entry["address"]) == ("eth0", ["192.0.2.1/24"])
    assert json.loads(cli.ok("-c", "show config vrf | json")) == {
        "sluice-vrf:vrf": [
            {
                "name": "main",
                "sluice-iface:interface": {
                    "physical": [{"name": "eth0", "ipv4": {"address": [{"ip": "192.0.2.1/24"}]}}]
                },
            }
        ]
    }
    assert "<ip>192.0.2.1/24</ip>" in cli.ok("-c", "show config vrf main | xml")
    assert cli.ok("-c", "show config vrf | flat") == f"{ETH0}\n"
    assert cli.ok("-c", "show config | match 192.0.2 | count") == "1\n"
    assert cli.ok("-c", "show config vrf | watch 0.1 times 3 ").count("192.0.2.1") == 3
    rpc = cli.ok("-c", "show config vrf main | rpc")
    assert "<get-config>" in rpc
    assert "<rpc-reply" in rpc


def test_mistakes_point_at_the_word_and_change_nothing(cli: Cli) -> None:
    error = cli.error("-c", "edit running; / vrf main interface physical eth0 mtu 9; commit")
    line, marks = error.splitlines()[1:3]
    assert line[marks.index("^") :] == "9"
    assert "hint: mtu: a number, 68 to 65535 (bytes)" in error
    error = cli.error(stdin="edit running\n\nvrf main\n  descriptoin x\n")
    assert "standard input, line 4: " in error
    assert "did you mean description?" in error
    error = cli.error("-c", "edit running; vrf main; interface vlan v5 vlan-id 5; commit")
    assert "/ vrf main interface vlan v5: Mandatory" in error
    error = cli.error("-c", "edit running; / vrf main interface physical eth7; commit")
    assert "/ vrf main interface physical eth7: there's no interface eth7" in error
    error = cli.error("-c", "edit running; vrf main description x")
    assert "aren't committed: they're lost" in error
    error = cli.error("-f", "/nonexistent")
    assert "can't read /nonexistent: No such file" in error
    assert cli.ok("-c", "show config vrf") == "vrf main\n"


def test_files_come_back_as_they_were(cli: Cli, tmp_path: Path) -> None:
    cli.ok("-c", f"edit running; {ETH0}; / vrf main description 'two words'; commit")
    files = [tmp_path / name for name in ("a.txt", "a.json", "a.xml")]
    cli.ok("-c", ";".join(f"save {file}" for file in files))
    for file in files:
        assert file.stat().st_mode & 0o77 == 0
        cli.ok("-c", "edit running; del vrf main interface; del vrf main description; commit")
        assert cli.ok("-c", f"edit running; load replace {file}; commit; diff") == "committed\n"
        assert cli.ok("-c", "show config vrf | flat").splitlines() == [
            '/ vrf main description "two words"',
            ETH0,
        ]
    files[0].write_text("vrf main {\n  interface physical eth0 mtu 9\n}\n")
    error = cli.error("-c", f"edit running; load merge {files[0]}; commit")
    assert f"{files[0]}, line 2: mtu can't be '9'" in error


def test_names_change_with_what_refers_to_them(cli: Cli) -> None:
    blue, green = cli.router.blue, f"green{os.getpid()}"[:15]
    cli.ok(
        "-c",
        f"edit running; / vrf {blue} interface veth c1 peer-vrf main peer-interface c0;"
        f"/ vrf main interface veth c0 peer-vrf {blue} peer-interface c1; commit",
    )
    try:
        cli.ok("-c", f"edit running; rename vrf {blue} to {green}; commit")
        config = cli.ok("-c", "show config vrf | flat")
        assert f"/ vrf main interface veth c0 peer-vrf {green}" in config
        assert blue not in config
        assert {blue, green} & set(netns.existing()) == {green}
        error = cli.error("-c", f"edit running; copy vrf main to {green}; commit")
        assert f"/ vrf {green} is there already" in error
    finally:
        cli.ok("-c", "rollback factory; commit")
    assert green not in netns.existing()


def test_checkpoints_rollback_and_startup(cli: Cli) -> None:
    cli.ok("-c", f"edit running; {ETH0}; commit; checkpoint good comment 'all well'; save")
    cli.ok("-c", "edit running; del vrf main interface; commit")
    assert cli.ok("-c", "diff startup") == f"- {ETH0}\n"
    assert f"+ {ETH0}" in cli.ok("-c", "rollback checkpoint good; diff; exit discard")
    assert f"+ {ETH0}" in cli.ok("-c", "rollback 1; diff; exit discard")
    assert f"+ {ETH0}" in cli.ok("-c", "edit startup; diff; commit")
    cli.ok("-c", "cmd delete-checkpoint name good")
    assert "there's no checkpoint" in cli.error("-c", "rollback checkpoint good")


def test_a_confirmed_commit_outlives_the_session_but_not_its_time(cli: Cli) -> None:
    assert "undone in 600 seconds" in cli.ok("-c", f"edit running; {ETH0}; commit confirmed 10")
    assert cli.router.addresses("eth0") == {"192.0.2.1/24"}
    assert cli.ok("-c", "commit") == "confirmed\n"
    cli.ok("-c", "edit running; del vrf main interface; commit confirmed 1s")
    end = time.monotonic() + 60
    while "confirmed commit: timeout" not in cli.ok("-c", "show state management revision"):
        assert time.monotonic() < end
    assert cli.router.addresses("eth0") == {"192.0.2.1/24"}
    cli.ok("-c", "edit running; del vrf main interface; commit confirmed 5")
    assert cli.ok("-c", "commit cancel") == "undone\n"
    assert cli.router.addresses("eth0") == {"192.0.2.1/24"}


def test_a_lock_names_its_session(cli: Cli) -> None:
    with Client(cli.router.socket) as other:
        other.ok("<lock><target><running/></target></lock>")
        error = cli.error("-c", f"edit running; {ETH0}; commit")
        assert f"session {other.session} holds the lock of running (root" in error


def test_anothers_unconfirmed_commit_is_named(cli: Cli) -> None:
    with Client(cli.router.socket) as other:
        other.ok(
            '<edit-config><target><candidate/></target><config><vrf xmlns="urn:sluice:vrf">'
            "<name>main</name><description>x</description></vrf></config></edit-config>"
        )
        other.ok("<commit><confirmed/></commit>")
        error = cli.error("-c", f"edit running; {ETH0}; commit")
        assert f"a commit of root (session {other.session}) waits to be confirmed" in error
        other.ok("<cancel-commit/>")


def test_offline_says_what_is_not_reachable(cli: Cli, tmp_path: Path) -> None:
    done = cli.run("-c", "show config", socket=tmp_path / "none.sock")
    assert done.returncode == 1
    assert f"yamsd isn't reachable at {tmp_path}/none.sock: No such file" in done.stderr
    assert "hint: see `systemctl status yamsd`" in done.stderr
    done = cli.run("-c", "cmd shell echo $((6*7))", socket=tmp_path / "none.sock")
    assert (done.returncode, done.stdout) == (0, "42\n")


def test_over_ssh_it_is_the_same(cli: Cli, tmp_path: Path) -> None:
    sshd = Sshd(tmp_path, cli.router.socket)
    try:
        cli.env["SLUICE_SSH"] = (
            f"ssh -F none -i {sshd.key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
            "-o LogLevel=ERROR -o BatchMode=yes"
        )
        host = f"{ME}@127.0.0.1:{sshd.port}"
        assert cli.ok("-H", host, "-c", f"edit running; {ETH0}; commit") == "committed\n"
        assert cli.router.addresses("eth0") == {"192.0.2.1/24"}
        error = cli.error("-H", host, "-c", "cmd ping 127.0.0.1")
        assert "runs where `sluice` does, not on 127.0.0.1" in error
    finally:
        sshd.process.terminate()
        sshd.process.wait(30)
    done = cli.run("-H", host, "-c", "show config")
    assert done.returncode == 1
    assert f"no NETCONF session with 127.0.0.1, port {sshd.port}" in done.stderr
    assert "netconf-ssh" in done.stderr
    assert "isn't [USER@]HOST[:PORT]" in cli.run("-H", "@", "-c", "exit").stderr


def test_commands_of_linux(cli: Cli) -> None:
    assert "1 received" in cli.ok("-c", "cmd ping 127.0.0.1 count 1")
    assert cli.run("-c", "cmd shell exit 3").returncode == 1
    blue = cli.router.blue
    cli.ok("-c", f"edit running; vrf {blue}; commit")
    assert "isn't a VRF of this machine" in cli.error("-c", "cmd ping 127.0.0.1 vrf nonsense")
    done = cli.run("-c", f"cmd ping 192.0.2.99 count 1 vrf {blue}")
    assert done.returncode == 1
    assert "unreachable" in done.stdout, "that namespace has no routes"
    run(["ip", "-n", blue, "link", "set", "lo", "up"])
    assert "1 received" in cli.ok("-c", f"cmd ping 127.0.0.1 count 1 vrf {blue}")


def test_two_thousand_lines_are_one_edit(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "many"
    routes = [
        f"/ vrf main routing static ipv4-route 10.{n // 256}.{n % 256}.0/24" for n in range(2000)
    ]
    lines = [f"{route} next-hop blackhole" for route in routes]
    file.write_text("\n".join(["edit running", *lines, "commit"]))
    assert cli.ok("-f", str(file)) == "committed\n"
    assert len(cli.router.routes()) == 2000
