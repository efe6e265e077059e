"""A machine with systemd, for what yamsd does through it: the tools tree, booted by systemd-nspawn, a RAM disk on top,
the units and files of image/, and this checkout's programs. Its own network, nothing in it reaches this machine's.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.proc import Completed, run, wait_for
from tests.lib import product
from tests.mgmt.client import Client
from tests.stats.reading import library

TOP = Path(__file__).resolve().parents[2]
SETUP = r"""
set -eu
top=$1 ram=$2 name=$3 library=$4
mount -t tmpfs -o size=1G booted "$ram"
mkdir "$ram/up" "$ram/work" "$ram/root"
mount -t overlay -o "lowerdir=$SLUICE_TREE,upperdir=$ram/up,workdir=$ram/work" booted "$ram/root"
# nspawn wants it to be the machine's, and ours is part of the tree.
mount -t tmpfs run /run
root=$ram/root
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
for path in etc/ssh usr/lib/sluice usr/lib/sysusers.d usr/lib/tmpfiles.d usr/lib/systemd/system-preset; do
	mkdir -p "$root/$path"
	cp -r "$top/image/extra/$path/." "$root/$path/"
done
cp "$library" "$root/usr/lib/sluice/"
cp "$top"/image/units/{yamsd,sluice-ssh-key}.service "$root/usr/lib/systemd/system/"
cat >"$root/usr/bin/yamsd" <<END
#!/bin/sh
export PYTHONPATH=$5
exec $6 -m sluice.mgmt.app "\$@"
END
chmod 755 "$root/usr/bin/yamsd"
# Others' daemons only cost time.
for unit in frr libvirtd virtlogd virtlockd; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done
exec systemd-nspawn --quiet --directory="$root" --boot --keep-unit --register=no --private-network --link-journal=no \
	--machine="$name" --uuid=01234567-89ab-cdef-0123-456789abcdef --capability=all --system-call-filter=@mount \
	--bind-ro="$top" --console=pipe
"""


class Booted:
    def __init__(self, work: Path) -> None:
        self.work = work
        self.ram = Path(tempfile.mkdtemp(prefix="booted-"))
        self.name = f"booted{os.getpid()}"
        words = [
            "unshare",
            "--mount",
            "bash",
            "-c",
            SETUP,
            "setup",
            str(TOP),
            str(self.ram),
            self.name,
        ]
        words += [str(library().resolve()), str(product.python_path()), sys.executable]
        with (work / "console").open("wb") as log:
            self.nspawn = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.leader = 0

    def wait(self) -> None:
        wait_for(
            self.up, "systemd's boot in a container", timeout=400, interval=0.5, hint=self.console
        )
        self.run("systemctl", "start", "yamsd", timeout=180)
        self.connect()

    def connect(self) -> None:
        self.client = Client(Path(f"/proc/{self.leader}/root/run/sluice-mgmt/netconf.sock"))
        # A commit waits for the daemons it starts.
        self.client.sock.settimeout(240)

    @property
    def console(self) -> str:
        return (self.work / "console").read_text(errors="replace")[-1000:]

    def up(self) -> bool:
        assert self.nspawn.poll() is None, f"nspawn ended: {self.console}"
        children = (
            Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        )
        if not children:
            return False
        self.leader = int(children[0])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(self, *argv: str, check: bool = True, timeout: float = 120) -> Completed:
        enter = [
            "nsenter",
            f"--target={self.leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
        ]
        enter += [
            "--cgroup",
            "env",
            "-i",
            f"PATH={os.environ['PATH']}",
            "HOME=/root",
            "LANG=C.UTF-8",
        ]
        return run([*enter, *argv], check=check, timeout=timeout)

    def commit(self, *parts: str) -> None:
        for xml in parts:
            self.client.ok(
                f"<edit-config><target><candidate/></target><config>{xml}</config></edit-config>"
            )
        self.client.ok("<commit/>")

    def units(self) -> dict[str, str]:
        """Our units that run, and their processes."""
        shown = self.run(
            "systemctl", "show", "--property=Id,ActiveState,MainPID", "sluice-*.service"
        )
        found = {}
        for block in shown.stdout.strip().split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if values.get("ActiveState") == "active":
                found[values["Id"].removeprefix("sluice-").removesuffix(".service")] = values[
                    "MainPID"
                ]
        return found

    def pid(self, unit: str) -> str:
        return self.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()

    def again(self) -> None:
        """A session with a yamsd that was restarted."""
        self.client.drop()
        self.connect()

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat").stdout

    def close(self) -> None:
        if self.nspawn.poll() is None:
            # Nothing of it is kept: no need to wait for an orderly end.
            if self.leader:
                os.kill(self.leader, signal.SIGKILL)
            else:
                self.nspawn.terminate()
            self.nspawn.wait(60)
        self.ram.rmdir()
