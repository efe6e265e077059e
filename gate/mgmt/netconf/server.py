# SPDX-License-Identifier: BSD-3-Clause
"""The UNIX socket, who is behind a connection, and what the server says about itself (RFC 6022, RFC 8525)."""

import asyncio
import grp
import hashlib
import json
import logging
import os
import pwd
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _libyang import ffi, lib
from sluice.mgmt import yang
from sluice.mgmt.engine import Datastore, Engine, boot_time
from sluice.mgmt.feature import State
from sluice.mgmt.nacm import Access, Counts
from sluice.mgmt.netconf.hub import Hub
from sluice.mgmt.netconf.session import BASE_10, BASE_11, PRIVATE, Session, now
from sluice.mgmt.yang import Tree

log = logging.getLogger("yamsd")

CAPABILITY = "urn:ietf:params:netconf:capability"
CAPABILITIES = (
    BASE_10,
    BASE_11,
    f"{CAPABILITY}:candidate:1.0",
    f"{CAPABILITY}:confirmed-commit:1.1",
    f"{CAPABILITY}:rollback-on-error:1.0",
    f"{CAPABILITY}:validate:1.1",
    f"{CAPABILITY}:startup:1.0",
    f"{CAPABILITY}:xpath:1.0",
    f"{CAPABILITY}:notification:1.0",
    f"{CAPABILITY}:interleave:1.0",
    f"{CAPABILITY}:with-defaults:1.0?basic-mode=explicit&also-supported=report-all,report-all-tagged,trim",
    PRIVATE,
)
HEADER_MOST = 1024
VERSION_11 = 2  # LYS_VERSION_1_1
SESSIONS_MOST = 256


@dataclass(frozen=True)
class Peer:
    """Who is connected: the user that the kernel says, and where they come from as the relay says."""

    user: str
    uid: int
    groups: frozenset[str]
    host: str = ""
    transport: str = "ietf-netconf-monitoring:netconf-ssh"


class Server:
    """All sessions of one daemon."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sessions: dict[int, Session] = {}
        self.operations: dict[str, Callable[[dict[str, Any]], Any]] = {
            name: handler
            for feature in engine.features
            for name, handler in feature.operations.items()
        }
        self.denied = Counts()
        self.counts = {
            "in-rpcs": 0,
            "in-bad-rpcs": 0,
            "out-rpc-errors": 0,
            "out-notifications": 0,
            "in-bad-hellos": 0,
            "in-sessions": 0,
            "dropped-sessions": 0,
        }
        self.start_time = now()
        self.hub = Hub(self)
        self._last = 0
        self._access: dict[tuple[str, int], tuple[Tree, Access]] = {}
        engine.listeners.append(self.hub.engine_event)
        for path, read in (
            ("/ietf-netconf-monitoring:netconf-state", self.monitoring),
            ("/nc-notifications:netconf", self.hub.state),
            ("/ietf-yang-library:yang-library", self.library),
            ("/sluice-mgmt:management", self.management),
            ("/ietf-netconf-acm:nacm", self.nacm),
        ):
            engine.add_state(State(path, read))
        # With their texts: clients that keep models must notice one that has changed without a new revision.
        models = sorted(
            f"{(name := yang.text_of(module.name))}@{(revision := yang.text_of(module.revision))}"
            f"\n{engine.schema.source(name, revision, 'yang')}"
            for module in engine.schema.modules()
        )
        self.content_id = hashlib.sha256("\n".join(models).encode()).hexdigest()[:16]

    async def listen(self, path: Path) -> asyncio.Server:
        """Everybody may connect: what they may do is NACM's business."""
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._connected, path)
        path.chmod(0o666)
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        except Exception:
            log.exception("a session broke")
        finally:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its first byte to its last."""
        if len(self.sessions) >= SESSIONS_MOST:
            log.warning("more than %d sessions: one is refused", SESSIONS_MOST)
            return
        sock = writer.get_extra_info("socket")
        uid, gid = credentials(sock)
        early = await reader.read(HEADER_MOST)
        host = ""
        if early.startswith(b"{"):
            # The relay's line: only hints, the kernel says who it is.
            while b"\n" not in early and len(early) < HEADER_MOST:
                more = await reader.read(HEADER_MOST)
                if not more:
                    return
                early += more
            line, _, early = early.partition(b"\n")
            try:
                host = str(json.loads(line).get("host", ""))[:64]
            except (ValueError, AttributeError):
                log.warning("a connection of uid %d began with a wrong line", uid)
                return
        self._last += 1
        session = Session(self, self._last, peer_of(uid, gid, host), reader, writer)
        self.sessions[session.id] = session
        try:
            await session.run(early)
        finally:
            self.ended(session)
        if not writer.transport.is_closing():
            await writer.drain()

    def started(self, session: Session) -> None:
        self.counts["in-sessions"] += 1
        log.info("session %d of %s begins", session.id, session.peer.user)
        self.hub.session_event(session, "netconf-session-start")

    def ended(self, session: Session) -> None:
        self.sessions.pop(session.id, None)
        self.hub.ended(session)
        self.engine.ended(session.id)
        if session.closing == "bad-hello":
            self.counts["in-bad-hellos"] += 1
            return
        if session.closing not in ("closed", "killed"):
            self.counts["dropped-sessions"] += 1
        log.info("session %d of %s ends (%s)", session.id, session.peer.user, session.closing)
        self.hub.session_event(session, "netconf-session-end")

    def access(self, peer: Peer) -> Access:
        """Remembered until another configuration runs."""
        key = (peer.user, peer.uid)
        found = self._access.get(key)
        if found is None or found[0] is not self.engine.running:
            made = Access(
                self.engine.schema,
                self.engine.running,
                peer.user,
                peer.groups,
                self.denied,
                recovery=peer.uid == 0,
            )
            found = self._access[key] = (self.engine.running, made)
        return found[1]

    # What it says about itself

    def capabilities(self) -> list[str]:
        result = list(CAPABILITIES)
        result.append(
            f"{CAPABILITY}:yang-library:1.1?revision=2019-01-04&content-id={self.content_id}"
        )
        for module in self.engine.schema.implemented():
            if module.parsed != ffi.NULL and module.parsed.version == VERSION_11:
                continue  # YANG 1.1 modules are in the library only (RFC 7950 section 5.6.4)
            text = f"{yang.text_of(module.ns)}?module={yang.text_of(module.name)}"
            if module.revision != ffi.NULL:
                text += f"&revision={yang.text_of(module.revision)}"
            if yang.text_of(module.name) == "ietf-netconf":
                text += (
                    "&features=candidate,confirmed-commit,rollback-on-error,validate,startup,xpath"
                )
            result.append(text)
        return result

    def library(self) -> Tree:
        out = ffi.new("struct lyd_node **")
        schema = self.engine.schema
        schema.check(
            lib.ly_ctx_get_yanglib_data(
                schema.ctx, out, b"%s", ffi.new("char[]", self.content_id.encode())
            )
        )
        return Tree(schema, out[0])

    def monitoring(self) -> dict[str, Any]:
        datastores = []
        for name in (Datastore.RUNNING, Datastore.CANDIDATE, Datastore.STARTUP):
            entry: dict[str, Any] = {"name": str(name)}
            owner = self.engine.locks.get(name)
            if owner is not None:
                entry["locks"] = {
                    "global-lock": {
                        "locked-by-session": owner,
                        "locked-time": self.engine.lock_times[name],
                    }
                }
            datastores.append(entry)
        sessions = [
            {
                "session-id": session.id,
                "transport": session.peer.transport,
                "username": session.peer.user,
                **({"source-host": session.peer.host} if session.peer.host else {}),
                "login-time": session.login_time,
                **session.counts,
            }
            for session in self.sessions.values()
        ]
        schemas = [
            {
                "identifier": yang.text_of(module.name),
                "version": yang.text_of(module.revision),
                "format": f"ietf-netconf-monitoring:{form}",
                "namespace": yang.text_of(module.ns),
                "location": ["NETCONF"],
            }
            for module in self.engine.schema.modules()
            for form in ("yang", "yin")
        ]
        return {
            "ietf-netconf-monitoring:netconf-state": {
                "capabilities": {"capability": self.capabilities()},
                "datastores": {"datastore": datastores},
                "schemas": {"schema": schemas},
                "sessions": {"session": sessions},
                "statistics": {"netconf-start-time": self.start_time, **self.counts},
            }
        }

    def nacm(self) -> dict[str, Any]:
        return {
            "ietf-netconf-acm:nacm": {
                "denied-operations": self.denied.operations,
                "denied-data-writes": self.denied.writes,
                "denied-notifications": self.denied.notifications,
            }
        }

    def management(self) -> dict[str, Any]:
        store = self.engine.store
        value: dict[str, Any] = {
            "counters": dict(self.engine.counts),
            "revision": store.listed(store.revisions),
            "checkpoint": store.listed(store.checkpoints),
        }
        pending = self.engine.pending
        if pending is not None:
            value["confirmed-commit"] = {
                "user": pending.author.user,
                "session-id": pending.author.session,
                "seconds-left": max(0, round(pending.deadline - boot_time())),
            }
        return {"sluice-mgmt:management": value}


def credentials(sock: socket.socket) -> tuple[int, int]:
    """User and group of the process at the other end (SO_PEERCRED), which it can't choose."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, gid = struct.unpack("3i", data)
    return uid, gid


def peer_of(uid: int, gid: int, host: str) -> Peer:
    try:
        name = pwd.getpwuid(uid).pw_name
        numbers = os.getgrouplist(name, gid)
    except KeyError:
        return Peer(str(uid), uid, frozenset(), host)
    groups = set()
    for number in numbers:
        try:
            groups.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return Peer(name, uid, frozenset(groups), host)
