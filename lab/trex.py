"""Load from a TRex server: where it is, what a trial sent, and whether a trial can be believed.

TREX names the server: `host[:port]` of one that runs, whose first two ports are cabled to the
appliance's first two, or the directory of an unpacked TRex release. The directory's own client library
is used then, else the PyPI package lbr-trex-client, which the first use installs into the build
directory. Both run in a process of their own (lab/trex_agent.py): they bring an old scapy with them and
want an older Python than ours.

There is room for a generator of our own: anything with `Generator`'s methods can stand in.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from lab import paths
from lab.errors import LabError
from lab.proc import run

CLIENT = "lbr-trex-client==3.4.0"
RPC_PORT = 4501
AGENT = Path(__file__).with_name("trex_agent.py")
# TRex on a machine with too few cores sends slower than asked and doesn't say so; the same trial then
# takes longer, or sends less. Such a trial says nothing about the appliance.
LEAST_SENT = 0.99
MOST_TIME = 1.02
ABSENT = "TREX isn't set: no load generator (TREX=host[:port], or the directory of a TRex release)"


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where the server is, and its client library's folder if it brings one."""

    host: str
    port: int = RPC_PORT
    release: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one trial did. Packets are counted by the server; times are of the wall clock."""

    asked_pps: float
    asked_seconds: float
    wall_seconds: float
    sent: int
    received: int
    errors: int  # `ierrors`: what the generator itself failed to receive

    @property
    def sent_pps(self) -> float:
        return self.sent / self.wall_seconds

    @property
    def received_pps(self) -> float:
        return self.received / self.wall_seconds

    @property
    def loss(self) -> float:
        return 1 - self.received / self.sent if self.sent else 1.0

    @property
    def doubts(self) -> list[str]:
        """Why the trial can't be believed; empty if it can."""
        found = []
        asked = self.asked_pps * self.asked_seconds
        if self.sent < LEAST_SENT * asked:
            found.append(f"only {self.sent / asked:.1%} of what was asked was sent")
        if self.wall_seconds > MOST_TIME * self.asked_seconds:
            found.append(f"took {self.wall_seconds:.2f} s instead of {self.asked_seconds:g} s")
        if self.errors:
            found.append(f"the generator lost {self.errors} packets itself")
        return found


class Generator(Protocol):
    def trial(
        self, frames: Sequence[bytes], *, pps: float, seconds: float, sender: int, receiver: int
    ) -> Trial:
        """Send these frames in turn from one of the generator's ports, and count at another."""


def location(text: str) -> Location | None:
    """What TREX says; None if it's empty."""
    text = text.strip()
    if not text:
        return None
    if "/" in text or Path(text).is_dir():
        release = Path(text).resolve()
        if not (release / "t-rex-64").exists():
            raise LabError(
                f"TREX={text} is no TRex release", hint="the directory must hold t-rex-64"
            )
        return Location(host="127.0.0.1", release=release)
    host, colon, port = text.rpartition(":")
    if not colon or host.endswith(":"):
        return Location(host=text)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise LabError(f"TREX={text} has a bad port", hint="use TREX=host or TREX=host:4501")
    return Location(host=host.strip("[]"), port=int(port))


def from_environment() -> Location | None:
    return location(os.environ.get("TREX", ""))


def client_folder(where: Location) -> Path:
    """The folder to import the client from; installs the package at the first use."""
    if where.release is not None:
        folder = where.release / "automation/trex_control_plane/interactive"
        if not folder.is_dir():
            raise LabError(f"{where.release} has no client library at {folder}")
        return folder
    folder = paths.BUILD / "lab/trex-client"
    if not (folder / "lbr_trex_client").is_dir():
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        run([*words, "--target", str(folder), CLIENT], timeout=300)
    return folder


class TrexServer:
    """A generator: the TRex server, spoken to through the agent's process."""

    def __init__(self, where: Location) -> None:
        self.where = where
        words = [sys.executable, "-I", str(AGENT), str(client_folder(where))]
        self.agent = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.version = str(self.ask("connect", server=where.host, port=where.port)["version"])

    def ask(self, verb: str, **arguments: object) -> dict[str, Any]:
        """One request, one answer: a JSON line each."""
        assert self.agent.stdin is not None
        assert self.agent.stdout is not None
        try:
            self.agent.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
            self.agent.stdin.flush()
            line = self.agent.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LabError("the TRex client ended", hint=f"try it: python3 -I {AGENT} FOLDER")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(
                f"TRex: {answer['error']}",
                hint=f"is a server in interactive mode (t-rex-64 -i) at {self.where.host}?",
            )
        return answer

    def trial(
        self, frames: Sequence[bytes], *, pps: float, seconds: float, sender: int, receiver: int
    ) -> Trial:
        answer = self.ask(
            "trial",
            frames=[frame.hex() for frame in frames],
            pps=pps,
            seconds=seconds,
            sender=sender,
            receiver=receiver,
        )
        return Trial(asked_pps=pps, asked_seconds=seconds, **answer)

    def close(self) -> None:
        if self.agent.stdin is not None:
            self.agent.stdin.close()
        try:
            self.agent.wait(10)
        except subprocess.TimeoutExpired:
            self.agent.kill()
            self.agent.wait()


def report(trial: Trial) -> str:
    """A trial as a line for the log."""
    return json.dumps(asdict(trial) | {"sent_pps": trial.sent_pps, "loss": trial.loss})
