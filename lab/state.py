"""What is up: one lock and one state file per lab, shared by all commands of this machine.

The lock is held by the process that builds or uses a lab. A state file whose lock is free is either
a lab that was left up on purpose (`kept`) or the rest of a crashed run, which the next run of that
lab or `cleanup` removes.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import netns, paths
from lab.errors import LabError

ENTER = "image/tools/enter python3 -m lab"


@dataclass(frozen=True, kw_only=True)
class State:
    name: str
    topology: str
    backend: str
    checkout: str
    pid: int
    kept: bool = False


def write(state: State) -> None:
    folder = paths.run_dir(state.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").write_text(json.dumps(asdict(state), indent=2))


def read(name: str) -> State | None:
    try:
        return State(**json.loads((paths.run_dir(name) / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def known() -> list[str]:
    """Names of all labs of which anything is left."""
    found = {path.parent.name for path in paths.RUN.glob("*/state.json")}
    found |= {
        name.removeprefix(netns.PREFIX).partition("-")[0]
        for name in netns.existing()
        if name.startswith(netns.PREFIX)
    }
    return sorted(found)


@contextmanager
def claimed(name: str) -> Iterator[None]:
    """Hold the lab's lock; a lab that somebody else holds is an error."""
    paths.RUN.mkdir(parents=True, exist_ok=True)
    with Path(paths.RUN / f"{name}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise LabError(
                f"the lab {name} is in use by process {lock.read().strip() or '?'}",
                hint="wait for it to end; one machine has each lab once",
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def kept_labs() -> list[State]:
    states = [read(name) for name in known()]
    return [state for state in states if state is not None and state.kept]


def remove(name: str) -> None:
    """End everything of a lab and remove its traces outside `build`. The caller holds its lock."""
    spaces = netns.of_lab(name)
    # The rack last: what runs there (QEMU) has its cables in the others.
    for space in sorted(spaces, key=len, reverse=True):
        netns.remove(space)
    instance = f"lab-{name}"
    for path in Path("/dev/shm").glob(f"sluice.{instance}*"):
        if path.name in (f"sluice.{instance}",) or path.name.startswith(f"sluice.{instance}."):
            path.unlink(missing_ok=True)
    shutil.rmtree(Path("/run/sluice") / instance, ignore_errors=True)
    shutil.rmtree(paths.run_dir(name), ignore_errors=True)


def cleanup() -> list[str]:
    """Remove all labs that no process is using, kept ones too; returns their names."""
    removed = []
    for name in known():
        try:
            with claimed(name):
                remove(name)
        except LabError:
            continue
        removed.append(name)
    return removed
