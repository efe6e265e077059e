# SPDX-License-Identifier: BSD-3-Clause
"""cmgrd's socket for who looks on (fp-sync): /run/sluice/INSTANCE/cmgrd.sock. A client sends one line, `{"do": WHAT}`,
and gets lines of JSON:

    status   one line, what fp-sync's module says
    monitor  a line for each effective change, until the client hangs up; `lost` lines say how many it was too slow for
    audit    all families are audited now; then as status

Nothing that a client does can hold cmgrd up: what it doesn't read in time is left out.
"""

import asyncio
import contextlib
import grp
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sluice.cmgrd.core import Core, Seen
from sluice.fpc.objects import BY_ID

log = logging.getLogger("cmgrd")

GROUP = "sluice"
WAITING_MOST = 1 << 20  # bytes that may wait for a client
CLIENTS_MOST = 16

Status = Callable[[], dict[str, Any]]


def listen(path: Path) -> socket.socket:
    """A socket in place of a dead one's: the caller holds the instance's lock. Root and group sluice may connect."""
    path.unlink(missing_ok=True)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o117)
    try:
        opened.bind(str(path))
    finally:
        os.umask(mask)
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
    return opened


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def as_json(seen: Seen) -> dict[str, Any]:
    """A change, as `fp-sync monitor -j` shows it; body and key are those of FPC, in hex."""
    shown: dict[str, Any] = {
        "verb": "DEL" if seen.body is None else "SET",
        "feature": BY_ID[seen.feature].name,
        "object": seen.text,
        "cause": seen.cause,
    }
    return shown | {"body": (seen.body or seen.key).hex()}


class Window:
    """Serves until cancelled."""

    def __init__(
        self, path: Path, core: Core, status: Status, audit: Callable[[], Awaitable[None]]
    ) -> None:
        self.path = path
        self.core = core
        self.status = status
        self.audit = audit
        self.clients = 0

    async def run(self) -> None:
        server = await asyncio.start_unix_server(self.client, sock=listen(self.path), limit=4096)
        try:
            async with server:
                await server.serve_forever()
        finally:
            self.path.unlink(missing_ok=True)

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients += 1
        try:
            if self.clients > CLIENTS_MOST:
                writer.write(line({"error": "too many clients"}))
                return
            async with asyncio.timeout(5):
                asked = json.loads(await reader.readline())
            await self.answer(asked["do"], reader, writer)
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
            log.debug("a client of %s: %s", self.path, error)
        except Exception:
            log.exception("a client of %s couldn't be answered", self.path)
        finally:
            self.clients -= 1
            writer.close()

    async def answer(
        self, what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match what:
            case "status":
                writer.write(line(self.status()))
            case "audit":
                await self.audit()
                writer.write(line(self.status()))
            case "monitor":
                await self.monitor(reader, writer)
            case _:
                writer.write(line({"error": f"there's no '{what}'"}))

    async def monitor(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lost = 0

        def show(seen: Seen) -> None:
            nonlocal lost
            if writer.transport.get_write_buffer_size() > WAITING_MOST:
                lost += 1
                return
            if lost:
                writer.write(line({"lost": lost}))
                lost = 0
            writer.write(line(as_json(seen)))

        self.core.watch(show)
        try:
            writer.write(line({"monitor": True}))
            while await reader.read(4096):
                pass
        finally:
            self.core.unwatch(show)
