# SPDX-License-Identifier: BSD-3-Clause
"""One client: hello, its RPCs one after the other, its notifications."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lxml import etree
from sluice.mgmt.edit import BASE, Element, split
from sluice.mgmt.engine import Author, Candidate
from sluice.mgmt.error import ConfigError
from sluice.mgmt.nacm import Access
from sluice.mgmt.netconf import message
from sluice.mgmt.netconf.framing import Framing, FramingError
from sluice.mgmt.netconf.operations import Operations

if TYPE_CHECKING:
    from sluice.mgmt.netconf.server import Peer, Server

log = logging.getLogger("yamsd")

BASE_10, BASE_11 = "urn:ietf:params:netconf:base:1.0", "urn:ietf:params:netconf:base:1.1"
PRIVATE = "urn:ietf:params:netconf:capability:private-candidate:1.0"
HELLO_TIMEOUT = 60
READ = 1 << 16
# A client that doesn't read its notifications is cut off at this much.
BACKLOG = 64 << 20


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Session:
    """Lives as long as the connection."""

    def __init__(
        self,
        server: "Server",
        number: int,
        peer: "Peer",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server = server
        self.id = number
        self.peer = peer
        self.author = Author(peer.user, number, peer.host)
        self.reader, self.writer = reader, writer
        self.framing = Framing()
        self.private = False
        self.candidate: Candidate = server.engine.shared
        self.login_time = now()
        self.closing: str = ""  # why the session ends, RFC 6470's words
        self.killed_by: int = 0
        self.counts = {"in-rpcs": 0, "in-bad-rpcs": 0, "out-rpc-errors": 0, "out-notifications": 0}
        self.task: asyncio.Task[None] | None = None
        self.operations = Operations(self)

    def access(self) -> Access:
        """What the user may do, by the rules that run now."""
        return self.server.access(self.peer)

    def count(self, what: str) -> None:
        self.counts[what] += 1
        self.server.counts[what] += 1

    async def run(self, early: bytes) -> None:
        """Serve until the client leaves, is killed, or sends what isn't NETCONF."""
        self.task = asyncio.current_task()
        self.framing.feed(early)
        try:
            self.send(message.hello(self.id, self.server.capabilities()))
            await self.writer.drain()
            async with asyncio.timeout(HELLO_TIMEOUT):
                greeting = await self.receive()
            if greeting is None or not self.greeted(greeting):
                self.closing = "bad-hello"
                return
            self.server.started(self)
            while not self.closing:
                data = await self.receive()
                if data is None:
                    self.closing = self.closing or "dropped"
                    return
                answer = await self.answer(data)
                if answer:
                    self.send(answer)
                await self.writer.drain()
        except TimeoutError:
            self.closing = "bad-hello"
        except FramingError as error:
            log.warning("session %d of %s: %s", self.id, self.peer.user, error)
            self.closing = "other"
        except (ConnectionError, asyncio.IncompleteReadError):
            self.closing = self.closing or "dropped"
        except asyncio.CancelledError:
            if not self.closing:
                raise

    async def receive(self) -> bytes | None:
        """The next message; None at the end."""
        while True:
            for data in self.framing.messages():
                return data
            more = await self.reader.read(READ)
            if not more:
                return None
            self.framing.feed(more)

    def greeted(self, data: bytes) -> bool:
        """RFC 6241 section 8.1: versions in common, and no session-id from a client."""
        try:
            root = message.parse(data)
        except message.MalformedError:
            return False
        if split(root) != (BASE, "hello") or root.find(f"{{{BASE}}}session-id") is not None:
            return False
        theirs = {(element.text or "").strip() for element in root.iter(f"{{{BASE}}}capability")}
        if BASE_11 in theirs:
            self.framing.chunked = True
        elif BASE_10 not in theirs:
            return False
        if PRIVATE in theirs:
            self.private = True
            self.candidate = Candidate()
        return True

    async def answer(self, data: bytes) -> bytes:
        """The reply to one message."""
        rpc: Element | None = None
        try:
            try:
                rpc = message.parse(data)
            except message.MalformedError as error:
                raise ConfigError(
                    f"this isn't well-formed XML: {error}", tag="malformed-message", type="rpc"
                ) from None
            body = await self.call(rpc)
            self.count("in-rpcs")
        except ConfigError as error:
            for _ in error.faults:
                self.count("out-rpc-errors")
            body = message.faults(self.server.engine.schema, error)
        except Exception as error:
            # Our own mistake; the client gets one line, the log the rest.
            log.exception("session %d: an RPC couldn't be answered", self.id)
            self.count("out-rpc-errors")
            failure = ConfigError(f"internal error: {type(error).__name__}")
            body = message.faults(self.server.engine.schema, failure)
        return message.reply(rpc, body)

    async def call(self, rpc: Element) -> str:
        if split(rpc) != (BASE, "rpc"):
            self.count("in-bad-rpcs")
            name = etree.QName(rpc).localname
            raise ConfigError(
                f"{name!r} isn't an rpc",
                tag="unknown-element",
                type="rpc",
                info=(("bad-element", name),),
            )
        if rpc.get("message-id") is None:
            self.count("in-bad-rpcs")
            raise ConfigError(
                "the rpc has no message-id",
                tag="missing-attribute",
                type="rpc",
                info=(("bad-attribute", "message-id"), ("bad-element", "rpc")),
            )
        operations = [child for child in rpc if isinstance(child.tag, str)]
        if len(operations) != 1:
            self.count("in-bad-rpcs")
            raise ConfigError(
                "an rpc holds one operation",
                tag="missing-element",
                type="rpc",
                info=(("bad-element", "rpc"),),
            )
        return await self.operations.run(operations[0])

    def send(self, data: bytes) -> None:
        self.writer.write(self.framing.wrap(data))

    def notify(self, data: bytes) -> None:
        """Send a notification, unless the client is beyond help."""
        if self.closing:
            return
        self.count("out-notifications")
        self.send(data)
        if self.writer.transport.get_write_buffer_size() > BACKLOG:
            log.warning("session %d of %s doesn't read: cut off", self.id, self.peer.user)
            self.closing = "dropped"
            self.writer.transport.abort()

    def kill(self, killer: "Session") -> None:
        """kill-session: what's running in it is broken off, its locks go."""
        self.closing, self.killed_by = "killed", killer.id
        if self.task is not None:
            self.task.cancel()
