"""Keywords: load, with a TRex server that the user names (TREX)."""

import importlib
from collections.abc import Sequence
from typing import Any

from lab import frames, trex
from lab.keywords.session import SESSION

__all__ = ["load_generator_is_there", "load_should_be_forwarded"]

SERVERS: list[trex.TrexServer] = []


def load_generator_is_there() -> None:
    """Connect to the TRex server; without one the test is skipped."""
    where = trex.from_environment()
    if where is None:
        api: Any = importlib.import_module("robot.api")
        raise api.SkipExecution(trex.ABSENT)
    if not SERVERS:
        SERVERS.append(trex.TrexServer(where))
    print(f"TRex {SERVERS[0].version} at {where.host}:{where.port}")


def load_should_be_forwarded(family: int, pps: float, seconds: float, flows: int) -> None:
    """The appliance forwards all of a load; trials that can't be believed are an error."""
    trial = SERVERS[0].trial(
        frames_of(family, flows), pps=pps, seconds=seconds, sender=0, receiver=1
    )
    print(trex.report(trial))
    assert not trial.doubts, f"the trial can't be believed: {'; '.join(trial.doubts)}"
    assert trial.loss <= 0.001, f"{trial.loss:.2%} lost at {trial.sent_pps:.0f} packets/s"


def frames_of(family: int, flows: int) -> Sequence[bytes]:
    """The smallest frames of some flows from h1 to h2."""
    lab, h1, h2 = SESSION.current, SESSION.host("h1"), SESSION.host("h2")
    probe = frames.udp_frame(lab, h1, h2, family=family, length=18)
    # The source port is the first thing in the UDP header; without a checksum nothing else changes.
    at = 34 if family == 4 else 54
    found = []
    for flow in range(flows):
        raw = bytearray(probe.raw)
        raw[at : at + 2] = (1024 + flow).to_bytes(2)
        if family == 4:
            raw[at + 6 : at + 8] = b"\0\0"
        found.append(bytes(raw))
    return found
