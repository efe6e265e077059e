# SPDX-License-Identifier: BSD-3-Clause
"""`fp-sync record` and `replay`: FPC on tape, in the form of `fpmd --record` (sluice.fpc.record reads it).

A recording begins with what fpmd has (as one sync), then come the changes that cmgrd tells, each with its `cause`.
"""

import json
import signal
import time
from pathlib import Path
from typing import Any, TextIO

from sluice.cli.error import CliError
from sluice.cli.view import View
from sluice.cmgrd.ask import Answers
from sluice.fpc import Connection, FpcError, Role, Verb
from sluice.fpc import record as recorded
from sluice.fpc.frame import HELLO, VERSION
from sluice.fpc.objects import BY_ID, FEATURES

NAME = "cmgrd"


class Stopped(Exception):  # noqa: N818
    """A signal ends the recording."""


class Writer:
    """A recording on its way to a file."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.seq = 0

    def write(self, verb: Verb, feature: int = 0, body: bytes = b"", cause: str = "") -> None:
        self.seq += 1
        item: dict[str, object] = {
            "time": round(time.monotonic(), 6),
            "conn": 1,
            "name": NAME,
            "dir": "in",
            "seq": self.seq,
            "verb": verb.name,
            "feature": BY_ID[feature].name if feature else 0,
            "flags": 0,
            "body": body.hex(),
        }
        self.out.write(json.dumps(item | ({"cause": cause} if cause else {})) + "\n")


def stop(number: int, frame: object) -> None:
    raise Stopped


def record(view: View, path: Path, *, seconds: float) -> dict[str, int]:
    """Record until a signal, or for some seconds. How many objects and changes. CliError."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    end = time.monotonic() + seconds if seconds else None
    counts = {"objects": 0, "changes": 0}
    try:
        with (
            Answers(view, "monitor", seconds=0.2 if end else None) as answers,
            path.open("w") as out,
        ):
            changes = iter(answers)
            next(changes)  # from now on no change is missed
            writer = Writer(out)
            counts["objects"] = all_objects(view, writer)
            follow(answers, writer, counts, end)
    except Stopped:
        pass
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}") from None
    except FpcError as error:
        raise CliError(str(error), hint="is fpmd running? See `fp-cli status`") from None
    return counts


def all_objects(view: View, writer: Writer) -> int:
    count = 0
    writer.write(Verb.HELLO, body=HELLO.pack(VERSION, Role.SYNC, NAME.encode()))
    writer.write(Verb.SYNC_BEGIN)
    with Connection(view.run_dir / "fpc.sock", Role.VIEWER, name="fp-sync", timeout=60) as fpmd:
        for item in fpmd.dump():
            if BY_ID[item.feature].owner == Role.SYNC:
                writer.write(Verb.SET, item.feature, item.body)
                count += 1
    writer.write(Verb.SYNC_END)
    writer.out.flush()
    return count


def follow(answers: Answers, writer: Writer, counts: dict[str, int], end: float | None) -> None:
    while end is None or time.monotonic() < end:
        try:
            change: dict[str, Any] = next(iter(answers))
        except TimeoutError:
            continue
        except StopIteration:
            raise CliError("cmgrd has ended; what was recorded until then is kept") from None
        if "lost" in change:
            raise CliError("changes came faster than they could be written", hint="record again")
        body = bytes.fromhex(change["body"])
        feature = FEATURES[change["feature"]].id
        writer.write(Verb[change["verb"]], feature, body, change["cause"])
        counts["changes"] += 1
        writer.out.flush()


def replay(view: View, path: Path) -> dict[str, int]:
    """Send a recording to the instance's fpmd. CliError."""
    try:
        with path.open() as lines:
            items = list(recorded.read(lines))
        refused = recorded.replay(items, view.run_dir / "fpc.sock")
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError) as error:
        raise CliError(f"{path}: {error}") from None
    except FpcError as error:
        raise CliError(
            str(error), hint="stop the instance's cmgrd first, or name another --instance"
        ) from None
    return {"frames": sum(item.direction == "in" for item in items), "refused": refused}
