# SPDX-License-Identifier: BSD-3-Clause
"""Notifications: streams, subscriptions and replay (RFC 5277), and the base notifications of RFC 6470."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluice.mgmt.engine import Event
from sluice.mgmt.error import ConfigError
from sluice.mgmt.netconf import rpc
from sluice.mgmt.netconf.message import NOTIFICATION, NOTIFICATIONS_STATE, bad_element
from sluice.mgmt.select import Filter
from sluice.mgmt.yang import Format, Tree, YangError

if TYPE_CHECKING:
    from sluice.mgmt.netconf.server import Server
    from sluice.mgmt.netconf.session import Session

log = logging.getLogger("yamsd")
STREAM = "NETCONF"
REPLAYED = 1000
BASE_NOTIFICATIONS = "ietf-netconf-notifications"


@dataclass(frozen=True)
class Notice:
    """One event: when, which notification, its content."""

    time: datetime
    module: str
    name: str
    tree: Tree


@dataclass
class Subscription:
    session: "Session"
    selection: Filter | None
    stop: datetime | None = None
    timer: asyncio.TimerHandle | None = None


def timestamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None or "T" not in text:
            raise ValueError
    except ValueError:
        raise bad_element(name, f"{text!r} isn't a date and time with a zone") from None
    return time


class Hub:
    """The one stream, NETCONF; the last REPLAYED events can be heard again."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.log: deque[Notice] = deque(maxlen=REPLAYED)
        self.created = datetime.now(UTC)
        self.subscriptions: dict[int, Subscription] = {}

    def emit(self, value: dict[str, Any]) -> None:
        """Tell all who listen; `value` is the notification as RFC 7951's JSON in Python."""
        schema = self.server.engine.schema
        try:
            tree = rpc.notification(schema, value)
        except YangError as error:
            log.error("a notification doesn't fit its model: %s", error)
            return
        module, _, name = next(iter(value)).partition(":")
        notice = Notice(datetime.now(UTC), module, name, tree)
        self.log.append(notice)
        for subscription in list(self.subscriptions.values()):
            self.send(subscription, notice)

    def send(self, subscription: Subscription, notice: Notice) -> None:
        session = subscription.session
        if subscription.stop is not None and notice.time > subscription.stop:
            return
        if not session.access().hears(notice.module, notice.name):
            return
        if subscription.selection is not None:
            try:
                if not subscription.selection.apply(notice.tree):
                    return
            except ConfigError:
                return
        # Whole: a filter chooses events, and says nothing about parts of them that other nodes need.
        session.notify(self.envelope(notice.time, notice.tree.print(Format.XML)))

    @staticmethod
    def envelope(time: datetime, body: str) -> bytes:
        return (
            f'<notification xmlns="{NOTIFICATION}"><eventTime>{timestamp(time)}</eventTime>'
            f"{body}</notification>"
        ).encode()

    def subscribe(
        self,
        session: "Session",
        stream: str,
        selection: Filter | None,
        start: str | None,
        stop: str | None,
    ) -> None:
        if stream != STREAM:
            raise bad_element("stream", f"there's no stream {stream!r}; there's {STREAM}")
        if session.id in self.subscriptions:
            raise ConfigError("this session has a subscription already", type="protocol")
        now = datetime.now(UTC)
        begin = parse_time("startTime", start) if start is not None else None
        end = parse_time("stopTime", stop) if stop is not None else None
        if begin is not None and begin > now:
            raise bad_element("startTime", "startTime is in the future", "bad-element")
        if end is not None and begin is None:
            raise ConfigError(
                "stopTime needs startTime",
                tag="missing-element",
                type="protocol",
                info=(("bad-element", "startTime"),),
            )
        if end is not None and begin is not None and end < begin:
            raise bad_element("stopTime", "stopTime is before startTime", "bad-element")
        subscription = Subscription(session, selection, end)
        self.subscriptions[session.id] = subscription
        loop = asyncio.get_running_loop()
        # After the reply.
        loop.call_soon(self.begin, subscription, begin)

    def begin(self, subscription: Subscription, start: datetime | None) -> None:
        if start is not None:
            for notice in list(self.log):
                if notice.time >= start:
                    self.send(subscription, notice)
            self.mark(subscription, "replayComplete")
        if subscription.stop is not None:
            left = (subscription.stop - datetime.now(UTC)).total_seconds()
            loop = asyncio.get_running_loop()
            subscription.timer = loop.call_later(max(0.0, left), self.complete, subscription)

    def mark(self, subscription: Subscription, name: str) -> None:
        body = f'<{name} xmlns="{NOTIFICATIONS_STATE}"/>'
        subscription.session.notify(self.envelope(datetime.now(UTC), body))

    def complete(self, subscription: Subscription) -> None:
        """StopTime has come: the session is one without a subscription again."""
        self.mark(subscription, "notificationComplete")
        self.subscriptions.pop(subscription.session.id, None)

    def ended(self, session: "Session") -> None:
        subscription = self.subscriptions.pop(session.id, None)
        if subscription is not None and subscription.timer is not None:
            subscription.timer.cancel()

    def state(self) -> dict[str, Any]:
        first = self.log[0].time if len(self.log) == REPLAYED else None
        stream: dict[str, Any] = {
            "name": STREAM,
            "description": "All events.",
            "replaySupport": True,
            "replayLogCreationTime": timestamp(self.created),
        }
        if first is not None:
            stream["replayLogAgedTime"] = timestamp(first)
        return {"nc-notifications:netconf": {"streams": {"stream": [stream]}}}

    # RFC 6470

    def session_event(self, session: "Session", kind: str) -> None:
        value: dict[str, Any] = {"username": session.peer.user, "session-id": session.id}
        if session.peer.host:
            value["source-host"] = session.peer.host
        if kind == "netconf-session-end":
            value["termination-reason"] = session.closing or "other"
            if session.killed_by:
                value["killed-by"] = session.killed_by
        self.emit({f"{BASE_NOTIFICATIONS}:{kind}": value})

    def engine_event(self, event: Event) -> None:
        by = self.by(event)
        if event.kind == "confirm":
            value: dict[str, Any] = {**by, "confirm-event": event.detail}
            if event.detail == "timeout":
                value = {"confirm-event": event.detail}
            if event.detail in ("start", "extend"):
                value["timeout"] = event.timeout
            self.emit({f"{BASE_NOTIFICATIONS}:netconf-confirmed-commit": value})
            return
        edits = [{"target": path, "operation": operation} for path, operation in event.edits]
        value = {"changed-by": by or {"server": [None]}, "datastore": str(event.datastore)}
        if edits:
            value["edit"] = edits
        self.emit({f"{BASE_NOTIFICATIONS}:netconf-config-change": value})

    @staticmethod
    def by(event: Event) -> dict[str, Any]:
        if not event.author.session:
            return {}
        who: dict[str, Any] = {
            "username": event.author.user,
            "session-id": event.author.session,
        }
        if event.author.host:
            who["source-host"] = event.author.host
        return who
