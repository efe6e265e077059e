"""The program cmgrd: start, stop, bad input."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.lib import product

pytestmark = pytest.mark.functional


def cmgrd(*options: str) -> list[str]:
    return ["unshare", "--net", "--", *product.program("cmgrd"), *options]


def refused(*options: str) -> str:
    done = subprocess.run(
        cmgrd(*options), env=product.environment(), capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--instance", "no/name"), "'no/name' is no instance name"),
        (("--instance", ""), "'' is no instance name"),
        (("--buffer", "-1"), "a buffer of -1 bytes"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("--record", "/nowhere/at/all"), "/nowhere/at/all: No such file or directory"),
    ],
)
def test_bad_options_end_with_one_line(options: tuple[str, ...], error: str) -> None:
    lines = refused(*options).splitlines()
    assert lines[0] == f"cmgrd: error: {error}"
    assert all(line.startswith("cmgrd: hint: ") for line in lines[1:])


def test_without_the_right_to_it_it_says_so() -> None:
    instance = f"t{os.getpid()}-right"
    folder = Path("/run/sluice", instance)
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    try:
        done = subprocess.run(
            ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--reuid=65534", "--clear-groups",
             *product.program("cmgrd"), "--instance", instance],
            env=product.environment(), capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("cmgrd: error: ")
    assert error.endswith("Operation not permitted")
    assert hint == "cmgrd: hint: cmgrd needs the capability CAP_NET_ADMIN"


def test_it_tells_systemd_when_it_knows_the_kernel_and_ends_on_sigterm(tmp_path: Path) -> None:
    """Without fpmd: it waits for it."""
    path = tmp_path / "notify"
    record = tmp_path / "record"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(20)
        process = subprocess.Popen(
            cmgrd("--instance", f"t{uuid.uuid4().hex[:12]}", "--record", str(record)),
            env=product.environment() | {"NOTIFY_SOCKET": str(path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert systemd.recv(4096).decode().startswith("READY=1\n")
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "<6>the kernel's state is known" in errors
    steps = [json.loads(line)["do"] for line in record.read_text().splitlines()]
    assert {"begin", "message", "end"} <= set(steps)


def test_its_modules_are_few() -> None:
    """Under emulation each costs; pyroute2 and its kind would cost seconds."""
    code = "import sys, sluice.cmgrd.app; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ) | product.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not {"pyroute2", "multiprocessing", "email", "http", "urllib.request"} & loaded
