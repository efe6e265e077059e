"""Notifications: RFC 5277's subscription, filters and replay, and the events of RFC 6470."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree

from tests.mgmt.client import Client, compact

pytestmark = pytest.mark.functional
NS = "urn:ietf:params:xml:ns:netconf:notification:1.0"
EVENTS = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
Connect = Callable[..., Client]


def subscribe(inner: str = "") -> str:
    return f'<create-subscription xmlns="{NS}">{inner}</create-subscription>'


def name_of(notice: object) -> str:
    return etree.QName(notice[1]).localname  # type: ignore[index]


def test_2_1_a_subscription_gets_events(connect: Connect) -> None:
    listener, writer = connect(), connect(host="192.0.2.9")
    listener.ok(subscribe("<stream>NETCONF</stream>"))
    writer.edit("<top><user><name>a</name></user><mtu>900</mtu></top>")
    writer.ok("<commit/>")
    notice = listener.notification()
    assert notice.tag == f"{{{NS}}}notification"
    assert notice.findtext(f"{{{NS}}}eventTime").endswith("Z")
    text = compact(notice[1])
    assert text.startswith("<netconf-config-change><changed-by><username>root</username>")
    assert f"<session-id>{writer.session}</session-id><source-host>192.0.2.9</source-host>" in text
    assert "<datastore>running</datastore>" in text
    assert "<operation>create</operation>" in text
    assert "user" in text


def test_interleave_and_one_subscription_only(connect: Connect) -> None:
    client = connect()
    client.ok(subscribe())
    assert client.error(subscribe())["tag"] == "operation-failed"
    client.edit("<top><name>x</name></top>")
    client.ok("<commit/>")
    assert name_of(client.notification()) == "netconf-config-change"


def test_5_filters_choose_events(connect: Connect) -> None:
    listener, writer = connect(), connect()
    listener.ok(
        subscribe(f'<filter type="subtree"><netconf-session-end xmlns="{EVENTS}"/></filter>')
    )
    writer.edit("<top><name>x</name></top>")
    writer.ok("<commit/>")
    writer.ok("<close-session/>")
    notice = listener.notification()
    assert name_of(notice) == "netconf-session-end"
    assert "<termination-reason>closed</termination-reason>" in compact(notice)
    other, third = connect(), connect()
    other.ok(
        subscribe(
            f"""<filter type="xpath" xmlns:e="{EVENTS}" select="/e:netconf-session-end[e:username='root']"/>"""
        )
    )
    third.ok("<close-session/>")
    assert name_of(other.notification()) == "netconf-session-end"


def test_3_3_replay(connect: Connect) -> None:
    writer = connect()
    writer.ok("<discard-changes/>")  # its start has been told
    begin = datetime.now(UTC)
    writer.edit("<top><name>replayed</name></top>")
    writer.ok("<commit/>")
    listener = connect()
    listener.ok(subscribe(f"<startTime>{begin.isoformat()}</startTime>"))
    names = []
    while "replayComplete" not in names:
        names.append(name_of(listener.notification()))
    assert names[0] == "netconf-config-change"
    assert "netconf-session-start" in names
    again = connect()
    end = datetime.now(UTC) + timedelta(seconds=1)
    again.ok(
        subscribe(
            f"<startTime>{begin.isoformat()}</startTime><stopTime>{end.isoformat()}</stopTime>"
        )
    )
    while (name := name_of(again.notification())) != "notificationComplete":
        assert name in (*names, "netconf-session-end")
    again.ok(subscribe())


def test_wrong_subscriptions(client: Client) -> None:
    now = datetime.now(UTC)
    late, early = (now + timedelta(hours=1)).isoformat(), (now - timedelta(hours=1)).isoformat()
    for inner, tag in (
        ("<stream>moon</stream>", "invalid-value"),
        ("<startTime>yesterday</startTime>", "invalid-value"),
        (f"<startTime>{late}</startTime>", "bad-element"),
        (f"<stopTime>{late}</stopTime>", "missing-element"),
        (f"<startTime>{now.isoformat()}</startTime><stopTime>{early}</stopTime>", "bad-element"),
    ):
        assert client.error(subscribe(inner))["tag"] == tag, inner


def test_3_2_streams_are_listed(client: Client) -> None:
    state = client.data(
        '<get><filter><netconf xmlns="urn:ietf:params:xml:ns:netmod:notification"><streams/></netconf></filter></get>'
    )
    assert "<name>NETCONF</name>" in state
    assert "<replaySupport>true</replaySupport>" in state


def test_an_expired_confirmed_commit_is_told_to_everyone(connect: Connect) -> None:
    listener, writer = connect(), connect()
    listener.ok(subscribe())
    writer.edit("<top><name>short</name></top>")
    writer.ok("<commit><confirmed/><confirm-timeout>1</confirm-timeout></commit>")
    text = "".join(compact(listener.notification()) for _ in range(4))
    assert "<confirm-event>start</confirm-event><timeout>1</timeout>" in text
    assert "<confirm-event>timeout</confirm-event>" in text
    assert text.count("<netconf-config-change>") == 2
