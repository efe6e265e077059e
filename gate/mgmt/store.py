# SPDX-License-Identifier: BSD-3-Clause
"""The files: startup, the archive of revisions, checkpoints, and what must outlive the daemon but not the machine.

    STATE/startup.json            what a start of the machine begins with
    STATE/revisions/000042.json   a configuration that was running, and 000042.meta: when, who, comment
    STATE/checkpoints/NAME.json   named copies, and NAME.meta
    RUN/running.json              what is running since this boot
    RUN/journal.json              a commit that may have been applied in part
    RUN/confirm.json              a confirmed commit that waits: a line of whose and until when, the older configuration

A file appears whole or not at all: written beside, fsync, rename, fsync of the folder. RUN is a tmpfs, so after a boot
startup counts. A revision or checkpoint exists when its .meta does, which is written last.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
KEEP = 50


class StoreError(Exception):
    """A file can't be read or written; the text says which and why."""


class Disk:
    """The steps by which files change. Tests replace it to end the process between any two of them."""

    def step(self, what: str) -> None:
        """Called before each step that could be the last."""

    def write(self, path: Path, data: bytes) -> None:
        """Put a file in place as a whole."""
        beside = path.with_name(path.name + ".new")
        try:
            self.step(f"open {path.name}")
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:
                    self.step(f"write {path.name}")
                    view = view[os.write(fd, view[: 1 << 20]) :]
                self.step(f"fsync {path.name}")
                os.fsync(fd)
            finally:
                os.close(fd)
            self.step(f"rename {path.name}")
            beside.rename(path)
            self.sync(path.parent)
        except OSError as error:
            raise StoreError(f"can't write {path}: {error.strerror}") from error

    def remove(self, path: Path) -> None:
        """Remove a file, if it's there."""
        try:
            self.step(f"unlink {path.name}")
            path.unlink(missing_ok=True)
            self.sync(path.parent)
        except OSError as error:
            raise StoreError(f"can't remove {path}: {error.strerror}") from error

    def sync(self, folder: Path) -> None:
        self.step(f"fsync {folder.name}/")
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read(path: Path) -> str | None:
    """A file's text, None if there's none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"can't read {path}: {error}") from error


class Store:
    """All files of one daemon."""

    def __init__(self, state: Path, run: Path, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.startup = state / "startup.json"
        self.running = run / "running.json"
        self.journal = run / "journal.json"
        self.confirm = run / "confirm.json"
        self.revisions = state / "revisions"
        self.checkpoints = state / "checkpoints"
        for folder in (state, run, self.revisions, self.checkpoints):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"can't make {folder}: {error.strerror}") from error
        self.last = max((int(path.stem) for path in self.revisions.glob("*.meta")), default=0)

    def put(self, path: Path, text: str) -> None:
        self.disk.write(path, text.encode())

    def put_with(self, path: Path, head: dict[str, Any], text: str) -> None:
        """A line of our own before a configuration."""
        self.disk.write(path, json.dumps(head).encode() + b"\n" + text.encode())

    @staticmethod
    def get_with(path: Path) -> tuple[dict[str, Any], str] | None:
        text = read(path)
        if text is None:
            return None
        head, _, rest = text.partition("\n")
        try:
            found = json.loads(head)
        except ValueError as error:
            raise StoreError(f"{path} isn't what the daemon wrote: {error}") from error
        return found, rest

    def drop(self, path: Path) -> None:
        self.disk.remove(path)

    # Archives

    def archive(self, text: str, meta: dict[str, Any]) -> int:
        """Keep a configuration that is running now; returns its number. The oldest go."""
        number = self.last + 1
        self._keep(self.revisions, f"{number:06d}", text, {"id": number, **meta})
        self.last = number
        for old in sorted(self.revisions.glob("*.meta"))[:-KEEP]:
            self.disk.remove(old)
            self.disk.remove(old.with_suffix(".json"))
        return number

    def checkpoint(self, name: str, text: str, meta: dict[str, Any]) -> None:
        """Keep a configuration under a name; an older one of that name is replaced."""
        self._keep(self.checkpoints, self._named(name), text, {"name": name, **meta})

    def drop_checkpoint(self, name: str) -> None:
        if not (self.checkpoints / f"{self._named(name)}.meta").exists():
            raise StoreError(f"there's no checkpoint {name!r}")
        self.disk.remove(self.checkpoints / f"{name}.meta")
        self.disk.remove(self.checkpoints / f"{name}.json")

    @staticmethod
    def _named(name: str) -> str:
        if not NAME.fullmatch(name):
            raise StoreError(
                f"{name!r} can't be a checkpoint's name: letters, digits, '_', '-' and '.' only, 64 at most"
            )
        return name

    def _keep(self, folder: Path, name: str, text: str, meta: dict[str, Any]) -> None:
        self.put(folder / f"{name}.json", text)
        self.put(folder / f"{name}.meta", json.dumps(meta))

    def listed(self, folder: Path) -> list[dict[str, Any]]:
        """What's known of each kept configuration, newest first."""
        found = []
        for path in folder.glob("*.meta"):
            try:
                found.append(json.loads(path.read_text()))
            except (OSError, ValueError):
                continue
        return sorted(
            found, key=lambda meta: (meta.get("time", ""), meta.get("id", 0)), reverse=True
        )

    def kept(self, folder: Path, name: str) -> str | None:
        if not (folder / f"{name}.meta").exists():
            return None
        return read(folder / f"{name}.json")
