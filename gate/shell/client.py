# SPDX-License-Identifier: BSD-3-Clause
"""A NETCONF client: yamsd's UNIX socket, or any NETCONF server through OpenSSH.

A thread reads: replies wait for the caller, notifications go to `heard`, which that thread calls.
"""

import contextlib
import os
import queue
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree
from sluice.mgmt.netconf.framing import Framing, FramingError

Element = Any  # lxml's

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
BASE_10, BASE_11 = "urn:ietf:params:netconf:base:1.0", "urn:ietf:params:netconf:base:1.1"
PRIVATE = "urn:ietf:params:netconf:capability:private-candidate:1.0"
SOCKET = Path("/run/sluice-mgmt/netconf.sock")
PORT = 830
HELLO_TIMEOUT = 20.0
REPLY_TIMEOUT = 600.0


class Offline(Exception):  # noqa: N818 (a state, as users see it)
    """Nobody answers: what isn't reachable, why, and what to do about it."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True)
class Fault:
    """One rpc-error (RFC 6241 section 4.3). `info` are error-info's elements by name."""

    tag: str
    message: str
    path: str
    app_tag: str
    info: dict[str, str]


class RpcError(Exception):
    """The server's answer is one error or several."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.message or fault.tag for fault in faults))
        self.faults = faults


@dataclass(frozen=True)
class Target:
    """Who is to be talked to: yamsd's socket, or `host` over SSH as `user`, its own default if empty."""

    path: Path = SOCKET
    host: str = ""
    user: str = ""
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> "Target":
        """[USER@]HOST[:PORT]; an IPv6 address with a port is in brackets. Raises ValueError."""
        user, _, rest = text.rpartition("@")
        host, port = rest, ""
        if rest.startswith("["):
            host, _, port = rest[1:].partition("]")
            port = port.removeprefix(":")
        elif rest.count(":") == 1:
            host, _, port = rest.partition(":")
        if not host or host.startswith("-") or user.startswith("-"):
            raise ValueError(f"{text!r} isn't [USER@]HOST[:PORT]")
        if port and not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{port!r} isn't a port")
        return cls(host=host, user=user, port=int(port or PORT))

    def __str__(self) -> str:
        return f"{self.host}, port {self.port}" if self.host else f"{self.path}"


class Client:
    """One session. `traced` gets each message that's sent ("out") or received ("in")."""

    def __init__(self, target: Target, *, private: bool = True) -> None:
        self.target = target
        self.traced: Callable[[str, bytes], None] | None = None
        self.heard: Callable[[Element], None] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.sock = self._dial()
        self._framing = Framing()
        self._replies: queue.Queue[Element | None] = queue.Queue()
        self._number = 0
        self._lost = ""
        self._thread = threading.Thread(target=self._read, daemon=True, name="netconf")
        self._thread.start()
        capabilities = [BASE_10, BASE_11, *([PRIVATE] if private else [])]
        listed = "".join(f"<capability>{text}</capability>" for text in capabilities)
        self._send(f'<hello xmlns="{BASE}"><capabilities>{listed}</capabilities></hello>'.encode())
        hello = self._reply(HELLO_TIMEOUT)
        self.capabilities = [
            (element.text or "").strip() for element in hello.iter(f"{{{BASE}}}capability")
        ]
        self.session = int(hello.findtext(f"{{{BASE}}}session-id") or 0)
        self.private = private and PRIVATE in self.capabilities

    def _dial(self) -> socket.socket:
        target = self.target
        if target.host:
            ours, theirs = socket.socketpair()
            to = f"{target.user}@{target.host}" if target.user else target.host
            # ServerAlive: a peer that's gone is noticed.
            words = shlex.split(os.environ.get("SLUICE_SSH", "ssh"))
            words += ["-o", "ServerAliveInterval=15", "-p", str(target.port), "-s", "--", to]
            try:
                self.process = subprocess.Popen(
                    [*words, "netconf"], stdin=theirs.fileno(), stdout=theirs.fileno()
                )
            except OSError as error:
                raise Offline(
                    f"can't run ssh: {error.strerror}", "install openssh-client"
                ) from None
            theirs.close()
            return ours
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(target.path))
        except OSError as error:
            sock.close()
            raise Offline(
                f"yamsd isn't reachable at {target.path}: {error.strerror}",
                "see `systemctl status yamsd`; `systemctl restart yamsd` starts it anew",
            ) from None
        return sock

    def _read(self) -> None:
        try:
            while True:
                for data in self._framing.messages():
                    self._arrived(data)
                more = self.sock.recv(1 << 16)
                if not more:
                    break
                self._framing.feed(more)
        except (OSError, FramingError, etree.XMLSyntaxError) as error:
            self._lost = str(error)
        self._replies.put(None)

    def _arrived(self, data: bytes) -> None:
        if self.traced is not None:
            self.traced("in", data)
        # Large configurations are one text node in a deep tree; the peer is the server we asked.
        element = etree.fromstring(data, etree.XMLParser(huge_tree=True, resolve_entities=False))
        name = etree.QName(element).localname
        if name == "hello" and not self._framing.chunked:
            theirs = {(e.text or "").strip() for e in element.iter(f"{{{BASE}}}capability")}
            self._framing.chunked = BASE_11 in theirs
        if name == "notification":
            if self.heard is not None:
                self.heard(element)
        else:
            self._replies.put(element)

    def _send(self, data: bytes) -> None:
        try:
            self.sock.sendall(self._framing.wrap(data))
        except OSError:
            raise self._gone() from None

    def _reply(self, timeout: float) -> Element:
        try:
            element = self._replies.get(timeout=timeout)
        except queue.Empty:
            raise Offline(
                f"no answer from {self.target} for {timeout:.0f} seconds", "try again"
            ) from None
        if element is None:
            self._replies.put(None)  # for whoever asks next
            raise self._gone()
        return element

    def _gone(self) -> Offline:
        if self.target.host:
            return Offline(
                f"no NETCONF session with {self.target}",
                f"try `ssh -p {self.target.port} -s {self.target.host} netconf`; on the appliance "
                "`systemctl enable --now netconf-ssh` opens the port",
            )
        why = f": {self._lost}" if self._lost else ""
        return Offline(f"yamsd has closed the session{why}", "see `journalctl -u yamsd`")

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def rpc(self, body: str | bytes) -> Element:
        """Call an operation; returns its rpc-reply. Raises RpcError or Offline."""
        self._number += 1
        inner = body if isinstance(body, bytes) else body.encode()
        data = b'<rpc xmlns="%b" message-id="%d">%b</rpc>' % (BASE.encode(), self._number, inner)
        if self.traced is not None:
            self.traced("out", data)
        self._send(data)
        while True:
            reply = self._reply(REPLY_TIMEOUT)
            # An older one: its caller was interrupted.
            if reply.get("message-id") == str(self._number):
                break
        faults = [_fault(element) for element in reply.findall(f"{{{BASE}}}rpc-error")]
        if faults:
            raise RpcError(faults)
        return reply

    def close(self) -> None:
        """End the session; nobody has to be there any more."""
        with contextlib.suppress(Offline, RpcError):
            if self.alive:
                self.rpc("<close-session/>")
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def _fault(element: Element) -> Fault:
    def text(name: str) -> str:
        return (element.findtext(f"{{{BASE}}}{name}") or "").strip()

    info = {
        str(etree.QName(part).localname): (part.text or "").strip()
        for holder in element.findall(f"{{{BASE}}}error-info")
        for part in holder
    }
    return Fault(
        text("error-tag"), text("error-message"), text("error-path"), text("error-app-tag"), info
    )


def user_name() -> str:
    return os.environ.get("USER", "") or str(os.getuid())
