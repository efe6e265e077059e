"""A daemon of the product as a test runs it: in a namespace, with its log in a file, killed at
will.
"""

import os
import signal
import subprocess
from pathlib import Path

from lab.netns import in_namespace
from lab.proc import spawn, wait_for
from tests.lib import product

TICKS = os.sysconf("SC_CLK_TCK")


class Daemon:
    def __init__(self, name: str, options: list[str], *, namespace: str, log: Path) -> None:
        self.name = name
        self.options = options
        self.namespace = namespace
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """`ip netns exec` becomes the program, so that this is the daemon's own."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        assert not self.alive
        argv = in_namespace(self.namespace, [*product.program(self.name), *self.options])
        self.process = spawn(argv, log=self.log, env=product.environment())

    def kill(self) -> None:
        """SIGKILL, and wait until it's gone."""
        assert self.process is not None
        assert self.alive, f"{self.name} ended by itself"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, *, timeout: float = 10) -> int | None:
        """SIGTERM; its exit status, None if it never ran. One that doesn't obey is an error."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} didn't end on SIGTERM") from None
        return self.process.returncode

    def wait_for_log(self, text: str, *, timeout: float = 20) -> None:
        wait_for(
            lambda: text in self.log.read_text(errors="replace"),
            f"'{text}' in {self.log}",
            timeout=timeout,
            interval=0.05,
        )

    def cpu_seconds(self) -> float:
        """CPU time it has used so far, all threads, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
