# SPDX-License-Identifier: BSD-3-Clause
"""Daemons that the configuration runs, each in its VRF: by systemd, or as processes of our own where there's none
(containers without systemd, tests). And units of the system that a statement concerns.

A daemon that runs as it should is never touched: it's restarted only if its command or one of its files has changed.
It outlives yamsd.
"""

import asyncio
import hashlib
import json
import logging
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError, at
from sluice.mgmt.feature import Applier, Entry
from sluice.mgmt.host import host, read, remove, run, write

log = logging.getLogger("yamsd")

UNITS = Path("/run/systemd/system")
READY_WITHIN, STOP_WITHIN = 30.0, 5.0
POLL = 0.02


@dataclass(frozen=True)
class Service:
    """A daemon. Its command stays in the foreground and writes its process number into `pid_file` once it's ready:
    whoever starts it waits for that.
    """

    name: str  # sluice-<name>.service
    text: str  # what it is, for people
    command: tuple[str, ...]
    vrf: str = kernel.MAIN
    files: Mapping[str, str] = field(default_factory=dict)  # by name in host.files
    stamp: str = ""  # whatever else makes it another one
    sandbox: tuple[str, ...] = ()  # lines of systemd's [Service]

    @property
    def pid_file(self) -> Path:
        return pid_file(self.name)

    @property
    def digest(self) -> str:
        """Tells whether it's the same one."""
        parts = [self.command, self.vrf, sorted(self.files.items()), self.stamp, self.sandbox]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def pid_file(name: str) -> Path:
    return host.files / f"{name}.pid"


@dataclass(frozen=True)
class Status:
    """How a daemon is."""

    running: bool
    pid: int = 0


class Services(ABC):
    """Who runs daemons."""

    async def run(self, service: Service) -> None:
        """Make it run as it's said here. It's left alone if it does."""
        if not kernel.exists(service.vrf):
            raise ConfigError(f"the VRF {service.vrf} isn't there", tag="data-missing")
        stamp = host.files / f"{service.name}.stamp"
        if read(stamp) == service.digest and await self._alive(service.name):
            return
        await self.stop(service.name)
        for name, text in service.files.items():
            write(host.files / name, text)
        await self._start(service)
        try:
            await self._ready(service)
        except ConfigError:
            await self.stop(service.name)
            raise
        write(stamp, service.digest)
        log.info("%s runs", service.text)

    async def _ready(self, service: Service) -> None:
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            if not await self._alive(service.name):
                break
            if (read(service.pid_file) or "").strip().isdigit():
                return
            await asyncio.sleep(POLL)
        raise ConfigError(f"{service.text} doesn't start: {await self._last_words(service.name)}")

    async def stop(self, name: str) -> None:
        """End it; fine if it doesn't run. What it keeps elsewhere stays."""
        remove(host.files / f"{name}.stamp")
        await self._stop(name)
        for end in ("pid", "conf"):
            remove(host.files / f"{name}.{end}")

    @abstractmethod
    async def status(self, name: str) -> Status:
        """How a daemon is that `run` began."""

    @abstractmethod
    async def known(self, unit: str) -> bool:
        """Whether the system has a unit of this name, such as systemd-timesyncd.service."""

    @abstractmethod
    async def active(self, unit: str) -> bool:
        """Whether a unit of the system runs."""

    @abstractmethod
    async def again(self, unit: str) -> None:
        """Let a unit of the system take its changed files, if it runs: by reload where it can, else by a restart."""

    @abstractmethod
    async def _start(self, service: Service) -> None: ...

    @abstractmethod
    async def _stop(self, name: str) -> None: ...

    @abstractmethod
    async def _alive(self, name: str) -> bool: ...

    @abstractmethod
    async def _last_words(self, name: str) -> str: ...


class Systemd(Services):
    """Units in /run, which a boot forgets as it forgets the rest."""

    async def status(self, name: str) -> Status:
        shown = await self._show(f"sluice-{name}.service", "ActiveState", "MainPID")
        return Status(shown.get("ActiveState") == "active", int(shown.get("MainPID") or 0))

    async def known(self, unit: str) -> bool:
        return (await self._show(unit, "LoadState")).get("LoadState") == "loaded"

    async def active(self, unit: str) -> bool:
        return (await self._show(unit, "ActiveState")).get("ActiveState") == "active"

    async def again(self, unit: str) -> None:
        await run(["systemctl", "try-reload-or-restart", unit])

    @staticmethod
    async def _show(unit: str, *properties: str) -> dict[str, str]:
        out = await run(["systemctl", "show", f"--property={','.join(properties)}", unit])
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    async def _start(self, service: Service) -> None:
        unit = f"sluice-{service.name}.service"
        place = (
            []
            if service.vrf == kernel.MAIN
            else [f"NetworkNamespacePath={kernel.NAMESPACES / service.vrf}"]
        )
        text = "\n".join(
            [
                "# Made by yamsd from its configuration; a change here is lost.",
                "[Unit]",
                f"Description=Sluice: {service.text}",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                "Type=exec",
                f"ExecStart={' '.join(map(quoted, service.command))}",
                "Restart=on-failure",
                "RestartSec=1s",
                *place,
                *service.sandbox,
                "",
            ]
        )
        if write(UNITS / unit, text):
            await run(["systemctl", "daemon-reload"])
        await run(["systemctl", "start", unit])

    async def _stop(self, name: str) -> None:
        unit = f"sluice-{name}.service"
        if (UNITS / unit).exists():
            await run(["systemctl", "stop", unit])
            remove(UNITS / unit)
            await run(["systemctl", "daemon-reload"])

    async def _alive(self, name: str) -> bool:
        shown = await self._show(f"sluice-{name}.service", "ActiveState", "SubState")
        return shown.get("ActiveState") in ("active", "activating") and shown.get(
            "SubState"
        ) not in ("auto-restart", "auto-restart-queued")

    async def _last_words(self, name: str) -> str:
        out = await run(
            ["journalctl", "-q", "-n20", "-ocat", f"_SYSTEMD_UNIT=sluice-{name}.service"]
        )
        return (out.strip().splitlines() or ["it says nothing"])[-1]


def quoted(word: str) -> str:
    """A word of systemd's ExecStart."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if not word or any(c in word for c in " \t;'") else word


class Children(Services):
    """Processes of our own. Those that a yamsd before us began are known by their number and start time."""

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    async def status(self, name: str) -> Status:
        pid = self._pid(name)
        return Status(pid is not None, pid or 0)

    async def known(self, unit: str) -> bool:
        return False

    async def active(self, unit: str) -> bool:
        return False

    async def again(self, unit: str) -> None:
        return

    async def _start(self, service: Service) -> None:
        command = list(service.command)
        if service.vrf != kernel.MAIN:
            command = ["nsenter", f"--net={kernel.NAMESPACES / service.vrf}", *command]
        child = spawn(command, host.files / f"{service.name}.log")
        self._children[service.name] = child
        started = {"pid": child.pid, "since": started_at(child.pid)}
        write(host.files / f"{service.name}.process", json.dumps(started))

    async def _stop(self, name: str) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self._pid(name)
            if pid is None:
                break
            os.kill(pid, number)
            for _ in range(int(STOP_WITHIN / POLL)):
                if self._pid(name) is None:
                    break
                await asyncio.sleep(POLL)
        remove(host.files / f"{name}.process")
        self._children.pop(name, None)

    async def _alive(self, name: str) -> bool:
        return self._pid(name) is not None

    def _pid(self, name: str) -> int | None:
        child = self._children.get(name)
        if child is not None:
            return child.pid if child.poll() is None else None
        text = read(host.files / f"{name}.process")
        if text is None:
            return None
        known: dict[str, Any] = json.loads(text)
        return int(known["pid"]) if started_at(known["pid"]) == known["since"] else None

    async def _last_words(self, name: str) -> str:
        text = (read(host.files / f"{name}.log") or "").strip()
        return text.splitlines()[-1] if text else "it says nothing"


def spawn(command: list[str], log_file: Path) -> subprocess.Popen[bytes]:
    """Begin a process that outlives us."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    with log_file.open("wb") as out:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                umask=0o022,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigError(f"can't run {command[0]}: {error.strerror}") from error


def started_at(pid: int) -> str:
    """When a process began, as the kernel counts it; empty if it's gone."""
    text = read(Path(f"/proc/{pid}/stat"))
    if text is None:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


class DaemonApplier(Applier):
    """For configuration that is a daemon: an entry, a Service."""

    order: ClassVar[int] = 70
    # Their interfaces and VRFs may be others.
    again: ClassVar[tuple[str, ...]] = ("interface", "vrf")

    def service(self, entry: Entry, value: dict[str, Any]) -> Service:
        """The daemon of an entry."""
        raise NotImplementedError

    def service_name(self, entry: Entry) -> str:
        raise NotImplementedError

    async def remove(self, entries: list[Entry]) -> None:
        for entry in entries:
            await host.services.stop(self.service_name(entry))

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            try:
                await host.services.run(self.service(entry, entry.new or {}))
            except ConfigError as error:
                raise at(error, entry.path) from error
