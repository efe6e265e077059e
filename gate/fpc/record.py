# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of FPC (`fpmd --record FILE`, format: record.h), the form of frames in golden tests,
and replay.

python3 -m sluice.fpc.record show FILE               frames with their fields in words, one JSON
line each python3 -m sluice.fpc.record replay FILE SOCKET      send what clients sent, on
connections of the same roles
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sluice.fpc.connection import Connection
from sluice.fpc.error import FpcError
from sluice.fpc.frame import HELLO, Ack, Event, Flag, Frame, Role, Verb, filled
from sluice.fpc.objects import BY_ID, FEATURES, decode, decode_key, encode, encode_key


class Recorded(NamedTuple):
    """A line of a recording. direction: "in" (to fpmd) or "out"."""

    time: float
    conn: int
    name: str
    direction: str
    frame: Frame


def read(lines: Iterable[str]) -> Iterator[Recorded]:
    """The frames of a recording. ValueError names the line that is wrong."""
    for count, line in enumerate(lines, 1):
        try:
            item = json.loads(line)
            verb, feature = item["verb"], item["feature"]
            frame = Frame(
                Verb[verb] if isinstance(verb, str) else verb,
                FEATURES[feature].id if isinstance(feature, str) else feature,
                item["flags"],
                item["seq"],
                bytes.fromhex(item["body"]),
            )
            yield Recorded(item["time"], item["conn"], item["name"], item["dir"], frame)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {count} is no recorded frame: {error}") from error


def to_json(frame: Frame) -> dict[str, Any]:
    """A frame's meaning, without its number: {"verb": "SET", "feature": "iface", "object":
    {...}}.
    """
    f = BY_ID.get(frame.feature)
    shown: dict[str, Any] = {
        "verb": Verb(frame.verb).name if frame.verb in Verb else frame.verb,
        "feature": f.name if f else frame.feature,
    }
    if frame.flags:
        shown["flags"] = [flag.name for flag in Flag(frame.flags)]
    match frame.verb:
        case Verb.SET if f:
            shown["object"] = decode(f, frame.body)
        case Verb.DEL if f:
            shown["key"] = decode_key(f, frame.body)
        case Verb.HELLO:
            _, role, name = HELLO.unpack(filled(frame.body, HELLO.size))
            shown["role"], shown["name"] = role, name.rstrip(b"\0").decode(errors="replace")
        case Verb.ACK:
            ack = Ack.parse(frame)
            shown |= {"errno": ack.errno, "field": ack.field, "text": ack.text}
        case Verb.EVENT:
            shown["event"] = Event.parse(frame).kind
        case _ if frame.body:
            shown["body"] = frame.body.hex()
    return shown


def from_json(shown: dict[str, Any]) -> Frame:
    """The frame that to_json showed (SET, DEL, SYNC_BEGIN, SYNC_END, DUMP)."""
    name = shown.get("feature", 0)
    f = FEATURES[name] if isinstance(name, str) else BY_ID.get(name)
    verb, body = Verb[shown["verb"]], b""
    if verb == Verb.SET and f:
        body = encode(f, **shown["object"])
    elif verb == Verb.DEL and f:
        body = encode_key(f, **shown["key"])
    flags = 0
    for flag in shown.get("flags", []):
        flags |= Flag[flag]
    return Frame(verb, f.id if f else 0, flags, 0, body)


def replay(recorded: Iterable[Recorded], path: str | Path) -> int:
    """Send fpmd what clients sent it, in order, on connections of the same roles and names.
    Returns how many frames it refused.
    """
    refused = 0
    connections: dict[int, Connection] = {}
    try:
        for item in recorded:
            if item.direction != "in":
                continue
            frame = item.frame
            if frame.verb == Verb.HELLO:
                _, role, name = HELLO.unpack(filled(frame.body, HELLO.size))
                for conn in [c for c, old in connections.items() if old.role == role]:
                    connections.pop(conn).close()
                connections[item.conn] = Connection(
                    path, Role(role), name=name.rstrip(b"\0").decode(errors="replace")
                )
            elif item.conn in connections:
                connections[item.conn].post(
                    frame.verb, frame.feature, frame.body, flags=frame.flags
                )
        # Its answers say that it has taken everything.
        for connection in connections.values():
            connection.dump()
            refused += len(connection.refused)
        return refused
    finally:
        for connection in connections.values():
            connection.close()


def main() -> int:
    """Command line, see the module's text."""
    parser = argparse.ArgumentParser(
        prog="sluice.fpc.record", description="Look at or replay a recording of FPC."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    show = commands.add_parser("show", help="print frames with their fields in words")
    send = commands.add_parser("replay", help="send what clients sent")
    for command in (show, send):
        command.add_argument("file", type=Path, help="the recording")
    send.add_argument("socket", type=Path, help="fpmd's socket")
    arguments = parser.parse_args()
    try:
        with arguments.file.open(encoding="utf-8") as lines:
            if arguments.command == "replay":
                replay(read(lines), arguments.socket)
                return 0
            for item in read(lines):
                line = {
                    "time": item.time,
                    "name": item.name,
                    "dir": item.direction,
                    "seq": item.frame.seq,
                }
                print(json.dumps(line | to_json(item.frame)))
    except (OSError, ValueError, FpcError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
