"""FRR as Debian packages it, in a namespace: the router's own, and its neighbour's."""

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from lab.netns import in_namespace
from lab.proc import run, spawn, stop, wait_for
from lab.stacked import Stacked

PROGRAMS = Path("/usr/lib/frr")
SOCKETS = Path("/run/frr")
# The order of their own start script. mgmtd configures some of the others.
FIRST = ("zebra", "mgmtd", "staticd")


class Frr(Stacked):
    """Some of FRR's daemons. A context manager; `work` gets their logs; `zebra` are options of its own.

    A name of its own (FRR's "pathspace") keeps its sockets apart from those of other namespaces.
    """

    def __init__(
        self, namespace: str, daemons: tuple[str, ...], work: Path, *, zebra: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.namespace = namespace
        self.daemons = (*FIRST, *daemons)
        self.work = work
        self.zebra = zebra
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sockets = SOCKETS / namespace

    def build(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        user = pwd.getpwnam("frr")
        for folder in (SOCKETS, self.sockets):
            folder.mkdir(exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        self.stack.callback(shutil.rmtree, self.sockets, ignore_errors=True)
        for daemon in self.daemons:
            self.start(daemon)

    def log(self, daemon: str) -> Path:
        return self.work / f"{self.namespace}-{daemon}.log"

    def start(self, daemon: str) -> None:
        words: list[str | Path] = [PROGRAMS / daemon, "-N", self.namespace, "--log", "stdout"]
        words += ["-A", "127.0.0.1", "-P", "0"]
        if daemon == "bfdd":
            # Its timers are to show what the router does, not who else is using this machine.
            words = ["chrt", "--rr", "1", *words]
        if daemon == "zebra":
            words += self.zebra
        process = spawn(in_namespace(self.namespace, words), log=self.log(daemon))
        self.processes[daemon] = process
        self.stack.callback(stop, process)
        wait_for(
            (self.sockets / f"{daemon}.vty").exists,
            f"FRR's {daemon} in {self.namespace}",
            timeout=20,
            interval=0.05,
            hint=f"see {self.log(daemon)}",
        )

    def configure(self, text: str) -> None:
        """Apply lines as they stand in frr.conf."""
        path = self.work / f"{self.namespace}-frr.conf"
        path.write_text(text)
        run(["vtysh", "-N", self.namespace, "-f", path])

    def show(self, command: str) -> Any:
        """What `show COMMAND json` says."""
        words = ["vtysh", "-N", self.namespace, "-c", f"show {command} json"]
        return json.loads(run(words).stdout)
