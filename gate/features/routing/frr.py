# SPDX-License-Identifier: BSD-3-Clause
"""FRR as it runs: one instance in each VRF that has routing protocols, spoken to with vtysh.

An instance of another VRF than main has the VRF's name as its "pathspace": sockets in /run/frr/<name>, files in
/etc/frr/<name>, the unit frr@<name>. main's is the unit frr, with the files that people know.
"""

import asyncio
import json
import logging
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice.features.routing import instance, lines
from sluice.features.routing.instance import SOCKETS
from sluice.features.routing.lines import Actual, Said
from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError

log = logging.getLogger("yamsd")

VTYSH = "vtysh"
INIT = Path("/usr/lib/frr/frrinit.sh")
SYSTEMD = Path("/run/systemd/system")
# FRR's own start takes a second; a machine that emulates its processor is slower.
START = 150.0
ANSWER = 60.0
POLL = 0.1
ENVIRONMENT = {
    "PATH": "/usr/bin:/usr/sbin:/bin:/sbin",
    "LANG": "C.UTF-8",
    "VTYSH_PAGER": "cat",
}
# main's instance where several share one file system, as in tests: it's started like those of VRFs.
MAIN_PATHSPACE = os.environ.get("SLUICE_FRR_PATHSPACE", "")

# What vtysh says about itself rather than the configuration.
_OWN = re.compile(
    r"^(\[\d+\|\w+\] .*|Waiting for children .*|% Can't open configuration file .*|"
    r"Configuration file\[.*|)$"
)
_LINE = re.compile(r"^line (\d+): (.*)$")


@dataclass(frozen=True)
class Refusal:
    """What FRR doesn't take: the index of what was said to it, None if it doesn't say, and its words."""

    index: int | None
    text: str


class VtyshError(ConfigError):
    """vtysh didn't work at all."""


@dataclass(frozen=True)
class Instance:
    """FRR in a VRF."""

    vrf: str

    @property
    def pathspace(self) -> str:
        return MAIN_PATHSPACE if self.vrf == kernel.MAIN else self.vrf

    @property
    def unit(self) -> str:
        if not self.pathspace:
            return "frr.service"
        escaped = re.sub(r"[^A-Za-z0-9_.]", lambda found: f"\\x{ord(found[0]):02x}", self.pathspace)
        return f"frr@{escaped}.service"

    def vty(self, daemon: str) -> Path:
        return SOCKETS / self.pathspace / f"{daemon}.vty"

    def connect(self, daemon: str) -> socket.socket | None:
        """A connection to a daemon, or None if it doesn't run. It ends when the daemon does."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.connect(str(self.vty(daemon)))
        except OSError:
            sock.close()
            return None
        return sock

    def runs(self, daemon: str) -> bool:
        sock = self.connect(daemon)
        if sock is not None:
            sock.close()
        return sock is not None

    # Its life

    async def start(self) -> None:
        """Start it; that it runs already is fine. Returns when its daemons answer."""
        if self.pathspace:
            try:
                instance.prepare(self.pathspace, namespace=self.vrf != kernel.MAIN)
            except (OSError, KeyError) as error:
                raise ConfigError(f"FRR can't be started in {self.vrf}: {error}") from error
        if SYSTEMD.exists():
            code, text = await run(["systemctl", "start", self.unit], START)
            hint = f"see: journalctl -u {self.unit}"
        else:
            code, text = await run([str(INIT), "start", *self.words], START)
            hint = f"see: {INIT} start {self.pathspace}"
        if code:
            raise ConfigError(f"FRR doesn't start in {self.vrf}: {last(text)}; {hint}")
        # zebra answers last of all that every instance has.
        await self.until("mgmtd", "zebra")

    async def stop(self) -> None:
        """Stop it, and with it all that it has put into the kernel."""
        if SYSTEMD.exists():
            code, text = await run(["systemctl", "stop", self.unit], START)
        else:
            code, text = await run([str(INIT), "stop", *self.words], START)
        if code:
            log.error("FRR doesn't stop in %s: %s", self.vrf, last(text))

    async def until(self, *daemons: str) -> None:
        """Wait for daemons to answer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + START
        for daemon in daemons:
            while not self.runs(daemon):
                if loop.time() > end:
                    raise ConfigError(f"FRR's {daemon} doesn't answer in {self.vrf}")
                await asyncio.sleep(POLL)

    # Configuration

    @property
    def words(self) -> list[str]:
        return [self.pathspace] if self.pathspace else []

    def vtysh(self, *words: str) -> list[str]:
        return [VTYSH, *(["-N", self.pathspace] if self.pathspace else []), *words]

    async def running(self, daemon: str) -> Actual:
        """What a daemon's configuration is."""
        code, text = await run(self.vtysh("-d", daemon, "-c", "show running-config"), ANSWER)
        if code:
            raise VtyshError(f"FRR's {daemon} doesn't answer in {self.vrf}: {last(text)}")
        return lines.parse(text.partition("Current configuration:")[2])

    async def check(self, said: list[Said]) -> list[Refusal]:
        """What vtysh itself says to lines, without any daemon."""
        return (await self._read(said, "-C"))[0]

    async def say(self, daemon: str, said: list[Said]) -> tuple[list[Refusal], str]:
        """Configure a daemon; what it refuses, and its other words. The rest of the lines is done."""
        for _ in range(20):
            refused, text = await self._read(said, "-d", daemon)
            # watchfrr's vtysh configures a daemon that's just been started.
            if not any("lock" in one.text.lower() for one in refused):
                break
            await asyncio.sleep(POLL)
        return refused, text

    async def _read(self, said: list[Said], *words: str) -> tuple[list[Refusal], str]:
        # Passwords are in it: never a file that others could read, nor one that's left behind.
        number = os.memfd_create("frr", os.MFD_CLOEXEC)
        try:
            text = "".join(f"{one.text}\n" for one in said)
            if any(not 32 <= ord(c) < 127 for c in text.replace("\n", "")):
                raise ConfigError("FRR takes printable ASCII only", tag="invalid-value")
            os.write(number, text.encode())
            code, answer = await run(
                self.vtysh(*words, "-f", f"/proc/self/fd/{number}"), ANSWER, keep=(number,)
            )
        finally:
            os.close(number)
        refused, rest = refusals(answer)
        if code and not refused:
            refused.append(Refusal(None, rest or f"vtysh ends with {code}"))
        return refused, rest

    async def show_text(self, command: str) -> str:
        """What `show COMMAND` says."""
        return (await run(self.vtysh("-c", f"show {command}"), ANSWER))[1]

    async def show(self, command: str) -> Any:
        """What `show COMMAND json` says; None if it's nothing."""
        code, text = await run(self.vtysh("-c", f"show {command} json"), ANSWER)
        start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
        if code or start < 0:
            return None
        return json.loads(text[start:])


def refusals(text: str) -> tuple[list[Refusal], str]:
    """What vtysh says of a file: the refusals, and other words. A daemon's words come before the line they're about."""
    found: list[Refusal] = []
    before: list[str] = []
    for raw in text.splitlines():
        words = raw.strip()
        if _OWN.match(words):
            continue
        match = _LINE.match(words)
        if match is None:
            before.append(words.removeprefix("% "))
            continue
        if "early exit from config file" in match[2]:
            continue
        said = match[2].removeprefix("% ")
        if said.startswith(("Failure to communicate", "Warning")) and before:
            said = " ".join(before)
        before = []
        found.append(
            Refusal(int(match[1]) - 1, re.sub(r"^Unknown command\[\d+\]", "unknown", said))
        )
    return found, " ".join(before)


def last(text: str) -> str:
    """The last line of what a program said."""
    return next(
        (line.strip() for line in reversed(text.splitlines()) if line.strip()), "it says nothing"
    )


async def run(words: list[str], seconds: float, keep: Iterable[int] = ()) -> tuple[int, str]:
    """A program's exit status, and what it said."""
    # Not a pipe: daemons that it starts may hold its output, and we'd wait for their end.
    said = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=tuple(keep),
                env=ENVIRONMENT,
            )
        except OSError as error:
            raise ConfigError(f"{words[0]} can't be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ConfigError(f"{words[0]} hasn't ended after {seconds:.0f} s") from None
        text = os.pread(said, os.fstat(said).st_size, 0).decode(errors="replace")
        return process.returncode or 0, text
    finally:
        os.close(said)
