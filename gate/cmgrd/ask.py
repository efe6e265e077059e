# SPDX-License-Identifier: BSD-3-Clause
"""Asks cmgrd through its socket (window.py)."""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any, Self

from sluice.cli.error import CliError
from sluice.cli.view import View

CONNECT_SECONDS = 5.0


class Answers:
    """What cmgrd answers to one question, an object a line."""

    def __init__(self, view: View, what: str, *, seconds: float | None = None) -> None:
        path = view.run_dir / "cmgrd.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(CONNECT_SECONDS)
        try:
            self.socket.connect(str(path))
            self.socket.sendall(json.dumps({"do": what}).encode() + b"\n")
        except OSError as error:
            self.socket.close()
            if not view.run_dir.exists():
                view.require(view.config_path, "fpmd")
            why = os.strerror(error.errno) if error.errno else str(error)
            hint = "is cmgrd running? See `fp-cli status`"
            if isinstance(error, PermissionError):
                hint = "run it as root, or as a member of the group sluice"
            raise CliError(f"can't ask cmgrd at {path}: {why}", hint=hint) from None
        self.socket.settimeout(seconds)
        self.rest = b""

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.socket.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The answers; TimeoutError after `seconds` without one, the end when cmgrd hangs up."""
        while True:
            while b"\n" not in self.rest:
                try:
                    data = self.socket.recv(1 << 16)
                except ConnectionResetError:
                    return
                if not data:
                    return
                self.rest += data
            line, _, self.rest = self.rest.partition(b"\n")
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise CliError(f"cmgrd says: {answer['error']}")
            yield answer
