"""A third party's package is found by its entry point; one that's broken is named, and the rest starts."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.proc import run
from tests.mgmt.client import Client

pytestmark = pytest.mark.functional
HERE = Path(__file__).parent / "extension"
NS = 'xmlns="urn:acme:banner"'


def install(source: Path, target: Path) -> None:
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--root-user-action", "ignore"),
            *("--target", str(target), str(source)),
        ]
    )


def test_an_installed_package_is_part_of_it_all(tmp_path: Path) -> None:
    packages, source = tmp_path / "packages", tmp_path / "source"
    shutil.copytree(HERE, source)
    install(source, packages)
    # Another one, whose model isn't YANG.
    broken = tmp_path / "broken"
    shutil.copytree(HERE, broken)
    (broken / "sluice_banner").rename(broken / "sluice_broken")
    project = (broken / "pyproject.toml").read_text().replace("banner", "broken")
    (broken / "pyproject.toml").write_text(project)
    model = broken / "sluice_broken/acme-banner.yang"
    model.rename(model.with_name("acme-broken.yang")).write_text("module acme-broken {")
    code = (broken / "sluice_broken/mgmt.py").read_text()
    (broken / "sluice_broken/mgmt.py").write_text(code.replace("acme-banner", "acme-broken"))
    install(broken, packages)

    log, banner = tmp_path / "log", tmp_path / "motd"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [
                *(sys.executable, "-m", "sluice.mgmt.app"),
                *("--state", str(tmp_path / "state"), "--run", str(tmp_path / "run")),
            ],
            stderr=out,
            env=os.environ
            | {
                "PYTHONPATH": ":".join([str(packages), *filter(None, sys.path)]),
                "BANNER_FILE": str(banner),
            },
        )
    try:
        Client.wait(tmp_path / "run/netconf.sock", daemon)
        with Client(tmp_path / "run/netconf.sock") as client:
            edit = (
                "<edit-config><target><candidate/></target><config>"
                "<banner {}><text>{}</text></banner></config></edit-config>"
            )
            client.ok(edit.format(NS, "Welcome"))
            client.ok("<commit/>")
            assert banner.read_text() == "Welcome\n"
            state = client.data(f"<get><filter><banner {NS}/></filter></get>")
            assert state == "<banner><text>Welcome</text><shown>Welcome</shown></banner>"
            client.ok(edit.format(NS, "the password is x"))
            error = client.error("<commit/>")
            assert error["message"] == "no passwords in banners"
            assert error["path"] == "/acme-banner:banner"
            answer = client.rpc(f"<shout {NS}><text>hey</text></shout>")
            assert answer.findtext("{urn:acme:banner}text") == "HEY"
            client.ok("<discard-changes/>")
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    text = log.read_text()
    assert "the model acme-broken.yang can't be loaded and is left out" in text
    assert "Traceback" not in text
