"""Promise 6: what is wrong is refused with one line that names it and a hint, exit status 1, and
nothing half-made stays.
"""

import itertools
import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import netns
from lab.proc import wait_for
from tests.lib import product
from tests.lib.daemon import Daemon
from tests.lib.rig import instance_files

pytestmark = pytest.mark.functional
serial = itertools.count(1)
GOOD = {
    "FP_PORTS": "p1=net_af_packet0,iface=wire",
    "FP_HUGEPAGES": "no",
    "FP_MBUFS": "4096",
}


@dataclass
class Place:
    """A namespace with one wire, and a fast path's files."""

    namespace: str
    instance: str
    work: Path

    def settings(self, **changes: str) -> list[str]:
        """Options of a daemon with these settings."""
        path = self.work / "fast-path.env"
        path.write_text("".join(f'{k}="{v}"\n' for k, v in (GOOD | changes).items()))
        return ["--instance", self.instance, "--env", str(path)]

    def run(
        self, program: str, options: Sequence[str], *, before: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; `before` are shell commands in a mount namespace of its own."""
        words = [*product.program(program), *options]
        if before:
            words = ["unshare", "--mount", "sh", "-c", f'{before} && exec "$@"', "sh", *words]
        return subprocess.run(
            [str(word) for word in netns.in_namespace(self.namespace, words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=product.environment(),
            check=False,
        )

    def links(self) -> set[str]:
        names = re.findall(r"^\d+: ([^:@]+)", self.ip("link"), re.MULTILINE)
        return set(names)

    def ip(self, command: str) -> str:
        done = subprocess.run(
            ["ip", "-n", self.namespace, *command.split()],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def refused(
        self, program: str, options: Sequence[str], *, error: str, hint: str = ".", before: str = ""
    ) -> None:
        """Assert the one line, the hint, the status; and that all is as it was."""
        links, files = self.links(), self.files()
        done = self.run(program, options, before=before)
        said = done.stderr.splitlines()
        assert done.returncode == 1, done
        errors = [line for line in said if line.startswith(f"{program}: error: ")]
        hints = [line for line in said if line.startswith(f"{program}: hint: ")]
        assert (len(errors), len(hints)) == (1, 1), done.stderr
        assert re.search(error, errors[0]), errors[0]
        assert re.search(hint, hints[0]), hints[0]
        assert said[-2:] == errors + hints, done.stderr
        assert "Traceback" not in done.stderr
        assert self.links() == links, "a network device was left behind"
        assert self.files() == files, "a file was left behind"

    def files(self) -> set[str]:
        """Files of shared memory and sockets; locks may stay, they're no state."""
        found = set()
        for path in instance_files(self.instance):
            for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
                if not one.is_dir() and one.suffix != ".lock":
                    found.add(str(one))
        return found


@pytest.fixture
def place(evidence: Path) -> Iterator[Place]:
    name = f"t{os.getpid()}b{next(serial)}"
    netns.create(name)
    try:
        place = Place(name, name, evidence)
        place.ip("link add wire type veth peer name far")
        place.ip("link set wire up")
        place.ip("link set far up")
        yield place
    finally:
        netns.remove(name)
        for path in instance_files(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("program", ["fp-rte", "fpmd"])
@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("FP_MTU", "banana", r"fast-path\.env:\d+.*FP_MTU"),
        ("FP_MTU", "99999", r"fast-path\.env:\d+.*FP_MTU"),
        ("FP_HUGEPAGES", "maybe", r"fast-path\.env:\d+.*FP_HUGEPAGES"),
        ("FP_NO_SUCH", "1", r"fast-path\.env:\d+.*FP_NO_SUCH"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(
    place: Place, program: str, setting: str, value: str, error: str
) -> None:
    place.refused(program, place.settings(**{setting: value}), error=error)


@pytest.mark.parametrize("program", ["fp-rte", "fpmd"])
def test_a_missing_settings_file_is_named(place: Place, program: str) -> None:
    options = ["--instance", place.instance, "--env", "/nonexistent/fast-path.env"]
    place.refused(program, options, error="/nonexistent/fast-path.env")


@pytest.mark.parametrize("program", ["fp-rte", "fpmd", "cmgrd", "fp-cli"])
def test_a_wrong_instance_name_is_refused(place: Place, program: str) -> None:
    words = ["status"] if program == "fp-cli" else []
    place.refused(program, ["--instance", "../etc", *words], error=r"'\.\./etc'")


@pytest.mark.parametrize(
    "program", ["fp-rte", "fpmd", "cmgrd", "fp-cli", "fp-cpu-usage", "fp-sync"]
)
def test_an_unknown_option_is_refused(place: Place, program: str) -> None:
    place.refused(program, ["--no-such-option"], error="no-such-option", hint="--help")


def test_an_unknown_pci_address_is_refused(place: Place) -> None:
    options = place.settings(FP_PORTS="p1=0000:ff:1f.7", FP_HUGEPAGES="no")
    place.refused("fp-rte", options, error="0000:ff:1f.7")


def test_a_port_on_an_interface_that_is_not_there_is_refused(place: Place) -> None:
    options = place.settings(FP_PORTS="p1=net_af_packet0,iface=nosuch")
    place.refused("fp-rte", options, error="nosuch|p1")


def test_too_few_huge_pages_are_refused(place: Place) -> None:
    # Far more than any machine that runs tests has reserved.
    options = place.settings(FP_HUGEPAGES="yes", FP_MEMORY="1000000")
    place.refused("fp-rte", options, error="[Hh]uge ?page|huge page|hugepage")


def test_without_dev_net_tun_the_fast_path_does_not_start(place: Place) -> None:
    place.refused(
        "fp-rte", place.settings(), error="/dev/net/tun", before="mount -t tmpfs none /dev/net"
    )


def test_a_cpu_that_is_not_there_is_refused(place: Place) -> None:
    place.refused("fp-rte", place.settings(FP_CORES="1000"), error="1000")


# --- shared memory


@pytest.fixture
def left_behind(place: Place) -> Iterator[Path]:
    """The configuration file of an fpmd that was killed."""
    fpmd = Daemon("fpmd", place.settings(), namespace=place.namespace, log=place.work / "fpmd.log")
    fpmd.start()
    path = Path(f"/dev/shm/sluice.{place.instance}")
    try:
        wait_for(lambda: path.exists() or not fpmd.alive, "fpmd's file", timeout=20, interval=0.05)
        fpmd.kill()
        yield path
    finally:
        fpmd.stop()


@pytest.fixture
def other_version(left_behind: Path) -> Path:
    """Its table `iface` has another layout."""
    set_table_version(left_behind, b"iface", 99)
    return left_behind


def set_table_version(path: Path, table: bytes, version: int) -> None:
    """Change a version in a file's directory: entries are 56 bytes, the name first, then the
    version.
    """
    with path.open("r+b") as file:
        head = file.read(8192)
        at = head.index(table.ljust(24, b"\0"))
        file.seek(at + 24)
        file.write(struct.pack("<I", version))


@pytest.mark.parametrize("command", ["interfaces", "routes", "tables"])
def test_shared_memory_of_another_version_is_refused_by_the_cli(
    place: Place, other_version: Path, command: str
) -> None:
    options = ["--instance", place.instance, command]
    place.refused("fp-cli", options, error=r"'iface' is version 99", hint="restart")


def test_shared_memory_of_another_version_is_refused_by_the_fast_path(
    place: Place, other_version: Path
) -> None:
    place.refused("fp-rte", place.settings(), error=r"'iface' is version 99", hint="restart")


def test_a_file_that_is_no_shared_memory_is_refused_by_the_cli(place: Place) -> None:
    path = Path(f"/dev/shm/sluice.{place.instance}")
    path.write_bytes(b"junk" * 4096)
    place.refused(
        "fp-cli", ["--instance", place.instance, "interfaces"], error=re.escape(str(path))
    )


def test_an_instance_that_is_not_there_is_named(place: Place) -> None:
    for command in ("stats", "interfaces", "status", "refused"):
        place.refused("fp-cli", ["--instance", "nosuch", command], error="no instance 'nosuch'")
    place.refused("fp-cpu-usage", ["--instance", "nosuch"], error="no instance 'nosuch'")


@pytest.mark.parametrize(
    "word", ["192.0.2.300", "192.0.2.0/33", "2001:db8::/129", "x", "1.2.3.4/-1"]
)
@pytest.mark.usefixtures("left_behind")
def test_a_prefix_that_is_none_is_named(place: Place, word: str) -> None:
    place.refused(
        "fp-cli", ["--instance", place.instance, "routes", "--", word], error=re.escape(f"'{word}'")
    )


# --- FPC


@pytest.fixture
def fpmd(place: Place) -> Iterator[Daemon]:
    daemon = Daemon(
        "fpmd", place.settings(), namespace=place.namespace, log=place.work / "fpmd.log"
    )
    daemon.start()
    try:
        wait_for(
            lambda: Path(f"/run/sluice/{place.instance}/fpc.sock").exists(),
            "fpmd's socket",
            timeout=20,
            interval=0.05,
        )
        yield daemon
    finally:
        daemon.stop()


def connect(place: Place) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(10)
    wait_for(
        lambda: peer.connect_ex(f"/run/sluice/{place.instance}/fpc.sock") == 0,
        "fpmd to listen",
        timeout=10,
        interval=0.05,
    )
    return peer


HELLO, SET, ACK = 1, 2, 8
VRF = 1


def frame(verb: int, body: bytes, *, feature: int = 0, length: int | None = None) -> bytes:
    length = 16 + len(body) if length is None else length
    return struct.pack("<IHHHHI", length, 16, feature, verb, 1, 7) + body


def hello(role: int = 1) -> bytes:
    return frame(HELLO, struct.pack("<II32s", 1, role, b"test"))


def answers(peer: socket.socket) -> list[tuple[int, bytes]]:
    """Verb and body of each frame until the peer is silent for a moment or hangs up."""
    data = b""
    peer.settimeout(0.5)
    try:
        while chunk := peer.recv(65536):
            data += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    found = []
    while data:
        length, head, _, verb = struct.unpack_from("<IHHH", data)
        found.append((verb, data[head:length]))
        data = data[length:]
    return found


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (frame(SET, b"\0\0", feature=VRF), "short|truncated|bytes"),
        (frame(SET, struct.pack("<II", 1 << 20, 0), feature=VRF), "vrf|VRF|range|0 to 255|below"),
        (frame(SET, struct.pack("<II", 0, 0x80), feature=VRF), "flag"),
        (frame(SET, bytes(200) + b"x", feature=VRF), "byte|long|zero"),
        (frame(SET, bytes(8), feature=999), "feature|999"),
        (frame(99, b""), "verb|99"),
    ],
    ids=[
        "truncated",
        "key out of range",
        "unknown flag",
        "trailing bytes",
        "unknown feature",
        "unknown verb",
    ],
)
def test_a_bad_fpc_message_is_refused_with_a_reason_and_fpmd_goes_on(
    place: Place, fpmd: Daemon, bad: bytes, text: str
) -> None:
    with connect(place) as peer:
        peer.sendall(hello() + bad)
        refusals = []
        for verb, body in answers(peer):
            if verb == ACK and body:
                error, _, _, field, why = struct.unpack("<iHH32s120s", body.ljust(160, b"\0"))
                if error:
                    refusals.append((field + b" " + why).replace(b"\0", b"").decode())
        assert len(refusals) == 1, refusals
        assert re.search(text, refusals[0]), refusals[0]
    assert fpmd.alive
    # The next one is served.
    with connect(place) as peer:
        peer.sendall(hello())
        assert [verb for verb, _ in answers(peer)][:1] == [HELLO]


@pytest.mark.parametrize(
    "cut",
    [
        hello()[:7],
        hello() + frame(SET, bytes(8), feature=VRF)[:20],
        frame(HELLO, b"", length=4),
        b"\xff" * 64,
    ],
    ids=["in the head", "in the body", "length below the head's", "noise"],
)
def test_a_stream_that_breaks_off_harms_nobody_else(place: Place, fpmd: Daemon, cut: bytes) -> None:
    with connect(place) as other:
        other.sendall(hello(role=3))
        with connect(place) as peer:
            peer.sendall(cut)
            peer.shutdown(socket.SHUT_WR)
            answers(peer)
        assert fpmd.alive
        assert [verb for verb, _ in answers(other)][:1] == [HELLO]
    with connect(place) as peer:
        peer.sendall(hello())
        assert [verb for verb, _ in answers(peer)][:1] == [HELLO]


def test_a_second_fpmd_of_an_instance_is_refused(place: Place, fpmd: Daemon) -> None:
    error = f"another fpmd runs for instance '{place.instance}', process {fpmd.pid}"
    place.refused("fpmd", place.settings(), error=error)
    assert fpmd.alive


def test_a_second_cmgrd_of_an_instance_is_refused(place: Place, fpmd: Daemon) -> None:
    options = ["--instance", place.instance]
    log = place.work / "cmgrd.log"
    cmgrd = Daemon("cmgrd", options, namespace=place.namespace, log=log)
    cmgrd.start()
    try:
        cmgrd.wait_for_log("objects")
        error = f"another cmgrd runs for instance '{place.instance}', process {cmgrd.pid}"
        place.refused("cmgrd", options, error=error)
        assert cmgrd.alive
    finally:
        cmgrd.stop()
