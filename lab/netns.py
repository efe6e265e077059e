"""Network namespaces: made, entered, emptied.

All namespaces of a lab begin with `lab-<name>`; whatever runs for a lab runs in one of them. So a
lab's processes and devices are found (and ended) through its namespaces alone, also after a crash
that left no other trace.
"""

import ctypes
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import LabError
from lab.proc import Completed, run, wait_for

PREFIX = "lab-"
CLONE_NEWNET = 0x40000000


def namespace(lab: str, member: str = "") -> str:
    """`lab-<lab>-<member>`; without a member the rack, in which links, libvirtd and QEMU live."""
    return f"{PREFIX}{lab}-{member}" if member else f"{PREFIX}{lab}"


def existing() -> list[str]:
    """All network namespaces with names."""
    return sorted(path.name for path in Path("/run/netns").glob("*"))


def of_lab(lab: str) -> list[str]:
    """The namespaces of one lab; its name holds no dash, so those of `ab` aren't of `a`."""
    pattern = re.compile(rf"{PREFIX}{re.escape(lab)}(-[a-z0-9]+)?")
    return [name for name in existing() if pattern.fullmatch(name)]


def create(name: str) -> None:
    run(["ip", "netns", "add", name])


def remove(name: str) -> None:
    """End what runs in the namespace and remove it with its devices."""
    kill_processes(name)
    run(["ip", "netns", "del", name], check=False)


def processes(name: str) -> list[int]:
    return [int(word) for word in run(["ip", "netns", "pids", name], check=False).stdout.split()]


def kill_processes(name: str) -> None:
    own = os.getpid()
    for sig in (signal.SIGTERM, signal.SIGKILL):
        # Who is there in each of some looks: cmgrd, which isn't to be killed, enters a VRF for moments.
        pids = set.intersection(*(set(processes(name)) for _ in range(4))) - {own}
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, sig)
        try:
            wait_for(
                lambda: not [pid for pid in processes(name) if pid != own],
                f"end of the processes in {name}",
                timeout=5,
            )
        except LabError:
            if sig == signal.SIGKILL:
                raise


def in_namespace(name: str, argv: Sequence[str | Path]) -> list[str | Path]:
    """The command that runs `argv` in the namespace."""
    return ["ip", "netns", "exec", name, *argv]


def ip_batch(name: str, lines: Sequence[str]) -> Completed:
    """Run many `ip` commands in a namespace with one process."""
    return run(["ip", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n")


def sysctl(name: str, settings: dict[str, str]) -> None:
    """Set sysctls in a namespace; those this kernel doesn't have are left out."""
    words = [f"{key}={value}" for key, value in settings.items()]
    run(in_namespace(name, ["sysctl", "--quiet", "--ignore", "--write", *words]), check=False)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Be in the namespace with this thread: sockets opened meanwhile stay there for good."""
    libc = ctypes.CDLL(None, use_errno=True)

    def setns(descriptor: int) -> None:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise LabError(f"can't enter namespace {name}: {os.strerror(ctypes.get_errno())}")

    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"/run/netns/{name}", os.O_RDONLY)
        try:
            setns(there)
            try:
                yield
            finally:
                setns(home)
        finally:
            os.close(there)
    finally:
        os.close(home)
