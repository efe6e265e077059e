"""`sluice` at a terminal: tmux types and reads the screen. yamsd is real, in a namespace."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.screen import Screen
from tests.mgmt.client import Client
from tests.mgmt.test_linux import Router

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    made = Router(tmp_path_factory.mktemp("terminal"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def screen(router: Router, tmp_path: Path) -> Iterator[Screen]:
    env = {
        "PYTHONPATH": ":".join(p for p in sys.path if p),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(router.work / "cache"),
        "LANG": "C.UTF-8",
    }
    words = [sys.executable, "-m", "sluice.shell.app", "--socket", str(router.socket)]
    with Screen(words, env=env) as made:
        made.until(">", last=True)
        yield made
    router.client.ok('<rollback xmlns="urn:sluice:mgmt"><factory/></rollback>')
    router.client.ok("<commit/>")


def test_a_first_session(router: Router, screen: Screen) -> None:
    screen.line("edit running")
    screen.until("running / #", last=True)
    screen.line("vrf main")
    screen.until("running / vrf main #", last=True)
    screen.line("interface physical eth0 ipv4 address 192.0.2.1/24")
    screen.until("running / vrf main * #", last=True)
    screen.line("show config")
    screen.until("interface physical eth0 ipv4 address 192.0.2.1/24")
    screen.line("commit comment 'first'")
    screen.until("committed")
    screen.until("running / vrf main #", last=True)
    assert router.addresses("eth0") == {"192.0.2.1/24"}
    screen.line("exit")
    screen.until(">", last=True)


def test_tab_completes_and_question_marks_help(screen: Screen) -> None:
    screen.line("edit running")
    screen.until("running / #", last=True)
    screen.type("vr")
    screen.key("Tab")
    screen.until("# vrf", last=True)
    screen.type("main inter")
    screen.key("Tab")
    screen.type("phy")
    screen.key("Tab")
    screen.until("vrf main interface physical", last=True)
    # Two interfaces, far and near end of a cable, and lo: what Linux has.
    screen.type("?")
    found = screen.until("A name as Linux takes it")
    assert "eth0" in found
    screen.type("eth0 mtu ")
    screen.type("?")
    screen.until("a number, 68 to 65535 (bytes)")
    screen.until("vrf main interface physical eth0 mtu", last=True)


def test_a_wrong_value_is_refused_while_typing(screen: Screen) -> None:
    screen.line("edit running")
    screen.until("running / #", last=True)
    screen.type("/ vrf main interface physical eth0 mtu 6")
    screen.until("mtu can't be '6'; mtu: a number, 68 to 65535 (bytes)")
    screen.key("Enter")
    screen.until("mtu can't be '6'")
    screen.type("80")
    screen.key("Enter")
    screen.until("running / * #", last=True)


def test_an_invalid_candidate_shows(screen: Screen) -> None:
    screen.line("edit running")
    screen.until("running / #", last=True)
    screen.line("/ vrf main interface vlan v5 vlan-id 5")
    screen.until("running / ! #")
    screen.until("not valid yet: / vrf main interface vlan v5: Mandatory")
    screen.line("exit")
    screen.until("there are changes that aren't committed")
    screen.line("rollback")
    screen.until("running / #")


def test_history_is_searched(screen: Screen) -> None:
    screen.line("show state system | match hostname")
    screen.until("hostname")
    screen.line("help edit")
    screen.until("running")
    screen.key("C-r")
    screen.type("match")
    screen.until("show state system | match hostname", last=True)


def test_what_others_do_is_told(router: Router, screen: Screen) -> None:
    with Client(router.socket) as other:
        other.ok(
            '<edit-config><target><candidate/></target><config><vrf xmlns="urn:sluice:vrf">'
            "<name>main</name><description>x</description></vrf></config></edit-config>"
        )
        other.ok("<commit><confirmed/><confirm-timeout>2</confirm-timeout></commit>")
        screen.until(f"root (session {other.session}) has changed the running configuration")
        screen.until("a commit wasn't confirmed in time: the configuration before it runs again")
    screen.until(">", last=True)


def test_a_daemon_that_went_away_is_named_and_found_again(router: Router, screen: Screen) -> None:
    screen.line("edit running")
    screen.until("running / #", last=True)
    screen.line("/ vrf main description x")
    screen.until("running / * #", last=True)
    router.stop()
    screen.line("show config vrf")
    screen.until("the session was lost, and with it the changes")
    screen.line("show config vrf")
    screen.until(f"yamsd isn't reachable at {router.socket}")
    screen.until("hint: see `systemctl status yamsd`")
    screen.line("cmd shell echo $((6*7))")
    screen.until("\n42\n")
    router.start()
    screen.line("show config vrf | flat")
    screen.until("/ vrf main")
    assert os.path.exists(router.socket)  # noqa: PTH110
