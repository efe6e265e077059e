# SPDX-License-Identifier: BSD-3-Clause
"""The machine as appliers reach it beside the kernel: files, programs, daemons.

One object, `host`, which the daemon sets up at its start. Tests run it with folders of their own and without systemd.
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.mgmt.error import ConfigError

if TYPE_CHECKING:
    from sluice.mgmt.service import Services

log = logging.getLogger("yamsd")

TIMEOUT = 120.0
# Of the fast path, as for libfp-stats.so.
INSTANCE = os.environ.get("SLUICE_INSTANCE", "main")
SYSTEMD = Path("/run/systemd/system")


@dataclass
class Host:
    """`state` lasts, `run` is gone after a boot; both are yamsd's own."""

    state: Path = Path("/var/lib/sluice-mgmt")
    run: Path = Path("/run/sluice-mgmt")
    lib: Path = Path(os.environ.get("SLUICE_LIB", "/usr/lib/sluice"))  # our scripts
    _services: "Services | None" = field(default=None, repr=False)

    @property
    def services(self) -> "Services":
        """Who runs daemons: systemd where the machine was booted with it."""
        if self._services is None:
            from sluice.mgmt.service import Children, Systemd

            self._services = Systemd() if SYSTEMD.is_dir() else Children()
        return self._services

    @property
    def files(self) -> Path:
        """For what daemons and sshd read: others than root may look in."""
        return folder(self.run / "services")


host = Host()


async def run(
    argv: Sequence[str], *, text: str = "", path: str = "", within: float = TIMEOUT
) -> str:
    """Run a program, `text` on its standard input; its output. A failure is a ConfigError with its last line.

    Secrets belong into `text`: anybody can read arguments.
    """
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment | {"LC_ALL": "C.UTF-8"},
            umask=0o022,
        )
    except OSError as error:
        raise ConfigError(f"can't run {argv[0]}: {error.strerror}", path=path) from error
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ConfigError(f"{argv[0]} took longer than {within:.0f} s", path=path) from None
    if process.returncode:
        said = complaint((err or out).decode(errors="replace"))
        said = said or f"status {process.returncode}"
        raise ConfigError(f"{Path(argv[0]).name}: {said}", path=path)
    return out.decode(errors="replace")


def complaint(text: str) -> str:
    """What a program says is wrong: our own say `PROG: error: ...` and `PROG: hint: ...`, others in their last line."""
    said = [line for line in text.splitlines() if line]
    wrong = [line.partition(": error: ")[2] for line in said if ": error: " in line]
    hints = [line.partition(": hint: ")[2] for line in said if ": hint: " in line]
    if wrong:
        return wrong[0] + (f" ({hints[0]})" if hints else "")
    return said[-1] if said else ""


def read(path: Path) -> str | None:
    """A file's text; None if it isn't there or can't be read as text."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def folder(path: Path, mode: int = 0o755) -> Path:
    """A folder, made with this mode if it isn't there: the daemon's umask is for secrets."""
    if not path.is_dir():
        folder(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(mode)
    return path


def write(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Put a file in place as a whole; whether that changed anything."""
    if not path.is_symlink() and read(path) == text and path.stat().st_mode & 0o777 == mode:
        return False
    beside = path.with_name(f".{path.name}.new")
    try:
        folder(path.parent)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as out:
            out.write(text)
            out.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        beside.rename(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"can't write {path}: {error.strerror}") from error
    return True


def remove(path: Path) -> bool:
    """Remove a file; whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"can't remove {path}: {error.strerror}") from error
    return True


class Covered:
    """A file of the system's that a statement covers: what was there before comes back when the statement goes,
    also after a restart or a boot in between.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _kept(self) -> Path:
        return host.state / "covered" / (str(self.path).strip("/").replace("/", "!") + ".json")

    def _keep(self) -> None:
        if self._kept.exists():
            return
        kept: dict[str, str | int] = {}
        if self.path.is_symlink():
            kept = {"link": str(self.path.readlink())}
        elif (text := read(self.path)) is not None:
            kept = {"text": text, "mode": self.path.stat().st_mode & 0o777}
        write(self._kept, json.dumps(kept), mode=0o600)

    def put(self, text: str) -> bool:
        """Cover it with this text; whether that changed anything."""
        self._keep()
        return write(self.path, text)

    def link(self, target: str) -> bool:
        """Cover it with a symbolic link; whether that changed anything."""
        if self.path.is_symlink() and str(self.path.readlink()) == target:
            return False
        self._keep()
        link(self.path, target)
        return True

    def uncover(self) -> bool:
        """Bring back what was there; whether anything was covered."""
        text = read(self._kept)
        if text is None:
            return False
        kept = json.loads(text)
        if "link" in kept:
            link(self.path, kept["link"])
        elif "text" in kept:
            write(self.path, kept["text"], mode=kept["mode"])
        else:
            remove(self.path)
        remove(self._kept)
        return True


def link(path: Path, target: str) -> None:
    """Put a symbolic link in place."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.rename(path)
    except OSError as error:
        raise ConfigError(f"can't write {path}: {error.strerror}") from error


def lines(*parts: str | Iterable[str]) -> str:
    """A file's text from lines."""
    flat: list[str] = []
    for part in parts:
        if isinstance(part, str):
            flat.append(part)
        else:
            flat.extend(part)
    return "\n".join(flat) + "\n"
