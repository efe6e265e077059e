"""A whole small machine for yamsd, with the real models, appliers and programs: network namespaces, and /etc, /home and
/dev of its own, so that nothing here reaches the machine that runs the tests. There's no systemd: daemons are children.

main (yamsd's namespace)             one more for each VRF
   eth0 -- veth -- far0 in namespace `far`
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import netns
from lab.proc import Completed, run
from tests.mgmt.client import Client

LIB = Path(__file__).resolve().parents[2] / "image/extra/usr/lib/sluice"
serial = itertools.count(1)
SETUP = """
set -eu
work=$1; shift
mount --make-private /
for folder in etc home; do
	mkdir -p $work/$folder
	cp -a /$folder/. $work/$folder/
	mount --bind $work/$folder /$folder
done
mkdir -p $work/dev
mount -t tmpfs -o mode=755 dev $work/dev
for name in null zero full random urandom tty ptmx net pts shm; do
	[ -e /dev/$name ] || continue
	if [ -d /dev/$name ]; then mkdir $work/dev/$name; else : >$work/dev/$name; fi
	mount --bind /dev/$name $work/dev/$name
done
mount --rbind $work/dev /dev
mkdir -p /run/sshd
exec "$@"
"""


class Machine:
    def __init__(self, work: Path) -> None:
        number = f"{os.getpid()}-{next(serial)}"
        self.work = work
        self.main, self.far = f"mm{number}", f"mf{number}"
        self.socket = work / "run/netconf.sock"
        self.vrfs: set[str] = set()
        self.environment: dict[str, str] = {}  # more for yamsd
        for name in (self.main, self.far):
            netns.create(name)
            netns.ip_batch(name, ["link set lo up"])
        netns.ip_batch(
            self.main,
            [f"link add eth0 type veth peer name far0 netns {self.far}", "link set eth0 up"],
        )
        netns.ip_batch(self.far, ["link set far0 up"])
        self.holder: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def vrf(self, name: str) -> str:
        """A VRF's name that no other test has; the namespace goes with the machine."""
        unique = f"{name}{os.getpid() % 100000}"
        self.vrfs.add(unique)
        return unique

    def start(self) -> None:
        """Start yamsd; the second time in the same machine."""
        if self.holder is None:
            # Keeps the machine while yamsd doesn't run.
            self.holder = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.main}"),
                    *("unshare", "--uts", "--mount", "--propagation", "unchanged"),
                    *("bash", "-c", SETUP, "setup", str(self.work)),
                    *("sh", "-c", "echo; exec sleep infinity"),
                ],
                stdout=subprocess.PIPE,
            )
            assert self.holder.stdout is not None
            assert self.holder.stdout.readline() == b"\n", "the machine couldn't be made"
        self.socket.unlink(missing_ok=True)
        with (self.work / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.enter(),
                    *(sys.executable, "-m", "sluice.mgmt.app"),
                    *("--state", str(self.work / "state"), "--run", str(self.work / "run")),
                ],
                stdout=log,
                stderr=log,
                umask=0o077,  # the unit's
                env=os.environ
                | {"PYTHONPATH": ":".join(p for p in sys.path if p), "SLUICE_LIB": str(LIB)}
                | self.environment,
            )
        Client.wait(self.socket, self.process)
        self.client = Client(self.socket)

    def enter(self) -> list[str]:
        assert self.holder is not None
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--uts", "--mount"]

    def run(self, *argv: str, check: bool = True) -> Completed:
        """A program inside the machine."""
        return run([*self.enter(), *argv], check=check)

    def outside(self, *argv: str, check: bool = True) -> Completed:
        """A program at the other end of eth0."""
        return run(["ip", "netns", "exec", self.far, *argv], check=check)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.client.drop()
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def boot(self) -> None:
        """What a boot of the machine does to yamsd: daemons and what's in /run are gone."""
        self.stop(signal.SIGKILL)
        self.end_daemons()
        run(["rm", "-rf", str(self.work / "run")])
        self.start()

    def end_daemons(self) -> None:
        for path in (self.work / "run/services").glob("*.process"):
            try:
                os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        self.stop()
        self.end_daemons()
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait(30)
        for name in (*self.vrfs, self.main, self.far):
            if name in netns.existing():
                netns.remove(name)
        run(["umount", "--quiet", str(self.work / "dev")], check=False)

    # NETCONF

    def edit(self, xml: str, attributes: str = "") -> None:
        self.client.ok(
            "<edit-config><target><candidate/></target>"
            f"<config{attributes}>{xml}</config></edit-config>"
        )

    def commit(self, xml: str = "") -> None:
        if xml:
            self.edit(xml)
        self.client.ok("<commit/>")

    def refused(self, xml: str) -> dict[str, Any]:
        """The commit's error; the candidate is discarded."""
        self.edit(xml)
        error = self.client.error("<commit/>")
        self.client.ok("<discard-changes/>")
        return error

    def save(self) -> None:
        self.client.ok(
            "<copy-config><target><startup/></target><source><running/></source></copy-config>"
        )

    def get(self, filter_: str) -> str:
        return self.client.data(f"<get><filter>{filter_}</filter></get>")

    @property
    def log(self) -> str:
        return (self.work / "log").read_text()


def system(inner: str) -> str:
    """Statements about the machine."""
    return f'<system xmlns="urn:sluice:system">{inner}</system>'


def vrf(name: str, inner: str, attributes: str = "") -> str:
    """Statements about a VRF."""
    return f'<vrf xmlns="urn:sluice:vrf"{attributes}><name>{name}</name>{inner}</vrf>'
