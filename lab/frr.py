"""FRR as Debian packages it, in a namespace: the router's own, and its neighbour's."""

import json
import os
import pwd
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.netns import in_namespace
from lab.proc import run, stop, wait_for

PROGRAMS = Path("/usr/lib/frr")
SOCKETS = Path("/run/frr")
# The order of their own start script. mgmtd configures some of the others.
FIRST = ("zebra", "mgmtd", "staticd")


class Frr:
    """Some of FRR's daemons. A context manager; `work` gets their logs.

    A name of its own (FRR's "pathspace") keeps its sockets apart from those of other namespaces.
    """

    def __init__(self, namespace: str, daemons: tuple[str, ...], work: Path) -> None:
        self.namespace = namespace
        self.daemons = (*FIRST, *daemons)
        self.work = work
        self.sockets = SOCKETS / namespace
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.work.mkdir(parents=True, exist_ok=True)
        user = pwd.getpwnam("frr")
        for folder in (SOCKETS, self.sockets):
            folder.mkdir(exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        self.stack.callback(shutil.rmtree, self.sockets, ignore_errors=True)
        try:
            for daemon in self.daemons:
                self.start(daemon)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.close()

    def log(self, daemon: str) -> Path:
        return self.work / f"{self.namespace}-{daemon}.log"

    def start(self, daemon: str) -> None:
        words = [PROGRAMS / daemon, "-N", self.namespace, "-A", "127.0.0.1", "-P", "0"]
        words += ["--log", "stdout"]
        if daemon == "bfdd":
            # Its timers are to show what the router does, not who else is using this machine.
            words = ["chrt", "--rr", "1", *words]
        with self.log(daemon).open("ab") as out:
            process = subprocess.Popen(
                in_namespace(self.namespace, [str(word) for word in words]),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
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
