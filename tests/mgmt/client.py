"""A NETCONF client with nothing in the way: raw bytes over yamsd's socket."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from lxml import etree
from sluice.mgmt.netconf.framing import Framing

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
NAMES = {"nc": NC, "ex": "urn:example:config"}


class ClosedError(Exception):
    """The daemon has closed the connection."""


class Client:
    def __init__(
        self,
        path: Path,
        *,
        version: str = "1.1",
        private: bool = False,
        host: str = "",
        uid: int = 0,
        hello: str | None = None,
    ) -> None:
        self.number = 0
        self.notifications: list[Any] = []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        if uid:
            # SO_PEERCRED is of the moment of connect.
            os.seteuid(uid)
        try:
            self.sock.connect(str(path))
        finally:
            if uid:
                os.seteuid(0)
        if host:
            self.sock.sendall(json.dumps({"host": host}).encode() + b"\n")
        self.framing = Framing()
        mine = [f"urn:ietf:params:netconf:base:{version}"]
        if private:
            mine.append("urn:ietf:params:netconf:capability:private-candidate:1.0")
        listed = "".join(f"<capability>{text}</capability>" for text in mine)
        self.send(hello or f'<hello xmlns="{NC}"><capabilities>{listed}</capabilities></hello>')
        self.hello = self.receive()
        self.framing.chunked = version == "1.1"
        self.session = int(self.hello.findtext(f"{{{NC}}}session-id"))

    @staticmethod
    def wait(path: Path, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                try:
                    sock.connect(str(path))
                except OSError:
                    if process.poll() is not None:
                        raise AssertionError(f"ended with {process.returncode}") from None
                    time.sleep(0.02)
                else:
                    return
        raise AssertionError(f"no answer at {path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def drop(self) -> None:
        self.sock.close()

    def send(self, text: str | bytes) -> None:
        self.sock.sendall(self.framing.wrap(text.encode() if isinstance(text, str) else text))

    def receive(self) -> Any:
        while True:
            for data in self.framing.messages():
                return etree.fromstring(data)
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionError:
                more = b""
            if not more:
                raise ClosedError
            self.framing.feed(more)

    def rpc(self, body: str, attributes: str = "") -> Any:
        """Call an operation; returns the rpc-reply."""
        self.number += 1
        self.send(
            f'<rpc xmlns="{NC}" xmlns:nc="{NC}" message-id="{self.number}"{attributes}>{body}</rpc>'
        )
        while True:
            answer = self.receive()
            if etree.QName(answer).localname == "notification":
                self.notifications.append(answer)
                continue
            assert answer.get("message-id") == str(self.number)
            return answer

    def ok(self, body: str) -> None:
        answer = self.rpc(body)
        assert answer.find("nc:ok", NAMES) is not None, etree.tostring(answer).decode()

    def data(self, body: str) -> str:
        """The reply's data, without the noise of namespaces."""
        answer = self.rpc(body)
        data = next((child for child in answer if etree.QName(child).localname == "data"), None)
        assert data is not None, etree.tostring(answer).decode()
        return "".join(compact(child) for child in data)

    def errors(self, body: str) -> list[dict[str, Any]]:
        """The rpc-errors as dicts; error-info as a dict of its own."""
        answer = self.rpc(body)
        found = []
        for error in answer.findall("nc:rpc-error", NAMES):
            one: dict[str, Any] = {"info": {}}
            for part in error:
                name = etree.QName(part).localname.removeprefix("error-")
                if name == "info":
                    one["info"] = {etree.QName(p).localname: p.text for p in part}
                else:
                    one[name] = part.text
            found.append(one)
        assert found, etree.tostring(answer).decode()
        return found

    def error(self, body: str) -> dict[str, Any]:
        found = self.errors(body)
        assert len(found) == 1, found
        return found[0]

    def edit(self, inner: str, *, options: str = "", call: str = "ok") -> Any:
        """edit-config of the candidate; top and routes are in the example's namespace."""
        inner = inner.replace("<top", '<top xmlns="urn:example:config"')
        inner = inner.replace("<routes", '<routes xmlns="urn:example:config"')
        body = (
            f"<edit-config><target><candidate/></target>{options}"
            f'<config xmlns:yang="urn:ietf:params:xml:ns:yang:1" xmlns:ex="urn:example:config">'
            f"{inner}</config></edit-config>"
        )
        return getattr(self, call)(body)

    def config(self, source: str = "candidate", more: str = "") -> str:
        """A datastore's example part."""
        return self.data(
            f"<get-config><source><{source}/></source>"
            f'<filter><top xmlns="urn:example:config"/></filter>{more}</get-config>'
        )

    def notification(self) -> Any:
        """The next notification."""
        if self.notifications:
            return self.notifications.pop(0)
        answer = self.receive()
        assert etree.QName(answer).localname == "notification", etree.tostring(answer)
        return answer

    def settle(self) -> None:
        """Wait until other sessions' ends have been noticed."""
        end = time.monotonic() + 20
        filter_ = (
            '<filter><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">'
            "<sessions><session><session-id/></session></sessions></netconf-state></filter>"
        )
        while time.monotonic() < end:
            if self.data(f"<get>{filter_}</get>").count("<session-id>") == 1:
                return
            time.sleep(0.02)
        raise AssertionError("other sessions are still there")


def compact(element: Any) -> str:
    """XML with local names only."""
    name = etree.QName(element).localname
    attributes = "".join(
        f' {etree.QName(key).localname}="{value}"' for key, value in element.attrib.items()
    )
    inner = (element.text or "").strip() + "".join(compact(child) for child in element)
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"
