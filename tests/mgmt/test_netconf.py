"""NETCONF's own ground: hello, framing, sessions, locks, operations, errors (RFC 6241, RFC 6242)."""

from collections.abc import Callable

import pytest

from tests.mgmt.client import NC, Client, ClosedError
from tests.mgmt.conftest import Daemon

pytestmark = pytest.mark.functional
Connect = Callable[..., Client]


def test_hello_names_capabilities_and_a_session(client: Client) -> None:
    found = [element.text for element in client.hello.iter(f"{{{NC}}}capability")]
    assert "urn:ietf:params:netconf:base:1.1" in found
    assert "urn:ietf:params:netconf:capability:confirmed-commit:1.1" in found
    assert not any(":writable-running" in text for text in found)
    assert client.session > 0


def test_old_framing_works(connect: Connect) -> None:
    client = connect(version="1.0")
    client.edit("<top><name>old</name></top>")
    assert "<name>old</name>" in client.config()


def test_chunks_may_be_cut_anywhere(client: Client) -> None:
    message = f'<rpc xmlns="{NC}" message-id="7"><get-config><source><running/></source></get-config></rpc>'
    data = b"".join(b"\n#%d\n%b" % (1, bytes([byte])) for byte in message.encode()) + b"\n##\n"
    for at in range(0, len(data), 7):
        client.sock.sendall(data[at : at + 7])
    assert client.receive().get("message-id") == "7"


@pytest.mark.parametrize(
    "garbage",
    [b"<rpc/>]]>]]>", b"\n#0\n", b"\n##\n", b"\n#99999999999\n", b"\n#4294967296\n", b"x" * 40],
)
def test_what_is_not_a_chunk_ends_the_session(client: Client, garbage: bytes) -> None:
    client.sock.sendall(garbage)
    with pytest.raises(ClosedError):
        client.receive()


@pytest.mark.parametrize(
    "hello",
    [
        "<hello/>",
        f'<hello xmlns="{NC}"><capabilities><capability>x</capability></capabilities></hello>',
        f'<hello xmlns="{NC}"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability>'
        "</capabilities><session-id>4</session-id></hello>",
        "no xml",
    ],
)
def test_a_wrong_hello_ends_the_session(connect: Connect, hello: str) -> None:
    client = connect(hello=hello)
    with pytest.raises(ClosedError):
        client.receive()


def test_malformed_messages_get_an_answer_and_the_session_goes_on(client: Client) -> None:
    for text in ("<rpc", "<!DOCTYPE rpc [<!ENTITY x SYSTEM '/etc/passwd'>]><rpc>&x;</rpc>"):
        client.send(text)
        answer = client.receive()
        assert answer.findtext(f".//{{{NC}}}error-tag") == "malformed-message"
    client.ok("<discard-changes/>")


def test_a_missing_message_id_is_named(client: Client) -> None:
    client.send(f'<rpc xmlns="{NC}"><get/></rpc>')
    answer = client.receive()
    assert answer.findtext(f".//{{{NC}}}error-tag") == "missing-attribute"
    assert answer.findtext(f".//{{{NC}}}bad-attribute") == "message-id"


def test_a_reply_carries_the_attributes_of_its_rpc(client: Client) -> None:
    answer = client.rpc("<discard-changes/>", ' xmlns:ex="urn:x" ex:user-id="fred"')
    assert answer.get("{urn:x}user-id") == "fred"


def test_unknown_operations_and_parameters_are_refused(client: Client) -> None:
    assert client.error("<frobnicate/>")["tag"] == "operation-not-supported"
    assert client.error('<x xmlns="urn:nowhere"/>')["tag"] == "unknown-namespace"
    error = client.error("<get><colour/></get>")
    assert (error["tag"], error["info"]["bad-element"]) == ("unknown-element", "colour")
    error = client.error("<get-config/>")
    assert (error["tag"], error["info"]["bad-element"]) == ("missing-element", "source")
    error = client.error("<get-config><source><moon/></source></get-config>")
    assert error["info"]["bad-element"] == "moon"


def test_running_is_not_written(client: Client) -> None:
    edit = "<edit-config><target><running/></target><config/></edit-config>"
    assert client.error(edit)["tag"] == "operation-not-supported"
    copy = "<copy-config><target><running/></target><source><candidate/></source></copy-config>"
    assert client.error(copy)["tag"] == "operation-not-supported"
    delete = "<delete-config><target><running/></target></delete-config>"
    assert client.error(delete)["tag"] == "invalid-value"


def test_edit_validate_commit_discard(client: Client, daemon: Daemon) -> None:
    client.edit("<top><user><name>fred</name><id>1</id></user></top>")
    assert "fred" not in client.config("running")
    client.ok("<validate><source><candidate/></source></validate>")
    client.ok('<commit><comment xmlns="urn:sluice:mgmt">first</comment></commit>')
    assert "<name>fred</name>" in client.config("running")
    assert '"fred"' in daemon.things
    client.edit("<top><mtu>900</mtu></top>")
    client.ok("<discard-changes/>")
    assert "900" not in client.config()


def test_errors_name_tag_app_tag_and_path(client: Client) -> None:
    client.edit("<top><limit>11</limit></top>")
    error = client.error("<commit/>")
    assert error["tag"] == "operation-failed"
    assert error["app-tag"] == "too-much"
    assert error["path"] == "/example:top/example:limit"
    assert error["message"] == "more than 10 only in mode fast"
    client.ok("<discard-changes/>")
    error = client.edit("<top><user><name>a</name><id>x</id></user></top>", call="error")
    assert error["tag"] == "invalid-value"
    assert error["path"] == "/example:top/example:user[example:name='a']/example:id"
    error = client.edit("<top><colour>x</colour></top>", call="error")
    assert error["tag"] == "unknown-element"
    assert error["info"]["bad-element"] == "colour"


def test_several_broken_constraints_are_all_told(client: Client) -> None:
    client.edit("<top><limit>11</limit><boss>nobody</boss><strict/></top>")
    tags = sorted(error["tag"] for error in client.errors("<commit/>"))
    assert tags == ["data-missing", "data-missing", "operation-failed"]


def test_locks(connect: Connect) -> None:
    one, two = connect(), connect()
    one.ok("<lock><target><candidate/></target></lock>")
    error = two.error("<lock><target><candidate/></target></lock>")
    assert error["tag"] == "lock-denied"
    assert error["info"]["session-id"] == str(one.session)
    error = two.edit("<top><name>x</name></top>", call="error")
    assert (error["tag"], error["type"]) == ("in-use", "protocol")
    assert str(one.session) in error["message"]
    assert two.error("<unlock><target><candidate/></target></unlock>")["tag"] == "operation-failed"
    one.edit("<top><name>mine</name></top>")
    one.ok("<unlock><target><candidate/></target></unlock>")
    assert "mine" not in one.config(), "unlock discards what the lock's owner hasn't committed"
    one.edit("<top><name>dirty</name></top>")
    assert two.error("<lock><target><candidate/></target></lock>")["tag"] == "lock-denied"
    two.ok("<discard-changes/>")
    one.ok("<lock><target><running/></target></lock>")
    assert two.error("<commit/>")["tag"] == "in-use"


def test_a_lock_goes_with_its_session(connect: Connect) -> None:
    one, two = connect(), connect()
    one.ok("<lock><target><running/></target></lock>")
    one.ok("<close-session/>")
    with pytest.raises(ClosedError):
        one.receive()
    two.settle()
    two.ok("<lock><target><running/></target></lock>")


def test_kill_session(connect: Connect) -> None:
    one, two = connect(), connect()
    one.ok("<lock><target><startup/></target></lock>")
    two.ok(f"<kill-session><session-id>{one.session}</session-id></kill-session>")
    with pytest.raises(ClosedError):
        one.receive()
    two.ok("<lock><target><startup/></target></lock>")
    kill = "<kill-session><session-id>{}</session-id></kill-session>"
    assert two.error(kill.format(two.session))["tag"] == "invalid-value"
    assert two.error(kill.format(4711))["tag"] == "invalid-value"
    assert two.error(kill.format("x"))["tag"] == "invalid-value"


def test_startup_is_copied_and_deleted(client: Client) -> None:
    delete = "<delete-config><target><startup/></target></delete-config>"
    assert client.error(delete)["tag"] == "data-missing"
    client.edit("<top><name>start</name></top>")
    copy = "<copy-config><target><{}/></target><source>{}</source></copy-config>"
    client.ok(copy.format("startup", "<candidate/>"))
    assert "<name>start</name>" in client.config("startup")
    client.ok("<discard-changes/>")
    client.ok(copy.format("candidate", "<startup/>"))
    assert "<name>start</name>" in client.config()
    inline = '<config><top xmlns="urn:example:config"><name>inline</name></top></config>'
    client.ok(copy.format("candidate", inline))
    assert client.config() == "<top><name>inline</name></top>"
    client.ok(delete)


def test_confirmed_commit_over_sessions(connect: Connect) -> None:
    one, two = connect(), connect()
    one.edit("<top><name>try</name></top>")
    one.ok(
        "<commit><confirmed/><confirm-timeout>600</confirm-timeout><persist>p</persist></commit>"
    )
    one.drop()
    two.settle()
    assert "try" in two.config("running")
    assert two.error("<commit/>")["tag"] == "in-use"
    assert two.error("<commit><persist-id>q</persist-id></commit>")["tag"] == "invalid-value"
    assert two.error("<cancel-commit/>")["tag"] == "invalid-value"
    two.ok("<cancel-commit><persist-id>p</persist-id></cancel-commit>")
    assert "try" not in two.config("running")
    assert two.error("<cancel-commit/>")["tag"] == "operation-failed"


def test_private_candidates(connect: Connect) -> None:
    one, two = connect(private=True), connect()
    one.edit("<top><name>private</name></top>")
    assert "private" not in two.config()
    one.ok("<commit/>")
    assert "private" in two.config()


def test_rollback_and_checkpoints(client: Client) -> None:
    client.edit("<top><name>one</name></top>")
    client.ok("<commit/>")
    client.ok('<checkpoint xmlns="urn:sluice:mgmt"><name>good</name></checkpoint>')
    client.edit("<top><name>two</name></top>")
    client.ok("<commit/>")
    client.ok('<rollback xmlns="urn:sluice:mgmt"><commits>1</commits></rollback>')
    assert "one" in client.config()
    client.ok("<discard-changes/>")
    client.ok('<rollback xmlns="urn:sluice:mgmt"><checkpoint>good</checkpoint></rollback>')
    client.ok("<commit/>")
    assert "one" in client.config("running")
    error = client.error(
        '<rollback xmlns="urn:sluice:mgmt"><checkpoint>bad</checkpoint></rollback>'
    )
    assert error["tag"] == "invalid-value"
    client.ok('<delete-checkpoint xmlns="urn:sluice:mgmt"><name>good</name></delete-checkpoint>')
    state = client.data('<get><filter><management xmlns="urn:sluice:mgmt"/></filter></get>')
    assert "<revision>" in state
    assert "<checkpoint>" not in state


def test_an_operation_of_a_feature(client: Client) -> None:
    greet = '<greet xmlns="urn:example:config">{}</greet>'
    answer = client.rpc(greet.format("<name>fred</name>"))
    assert answer.findtext("{urn:example:config}text") == "hello fred"
    assert client.error(greet.format(""))["tag"] == "data-missing"
    assert client.error(greet.format("<nam/>"))["tag"] == "unknown-element"


def test_schemas_can_be_fetched(client: Client) -> None:
    get = '<get-schema xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">{}</get-schema>'
    text = "".join(client.rpc(get.format("<identifier>example</identifier>")).itertext())
    assert "leaf-list step" in text
    wrong = client.error(
        get.format("<identifier>example</identifier><version>1999-01-01</version>")
    )
    assert wrong["tag"] == "invalid-value"


def test_monitoring_and_library(connect: Connect) -> None:
    client = connect(host="192.0.2.7")
    state = client.data(
        '<get><filter><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">'
        "<sessions/><statistics/></netconf-state></filter></get>"
    )
    assert "<source-host>192.0.2.7</source-host>" in state
    assert f"<session-id>{client.session}</session-id>" in state
    library = client.data(
        '<get><filter><yang-library xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"/></filter></get>'
    )
    assert "<name>example</name>" in library
    assert "<content-id>" in library


def test_state_is_read_only_when_selected(client: Client) -> None:
    def counted() -> str:
        return client.data(
            '<get><filter type="xpath" xmlns:e="urn:example:config" select="/e:top/e:counters"/></get>'
        )

    assert counted() == "<top><counters><packets>42</packets><errors>0</errors></counters></top>"
    client.edit("<top><name>n</name></top>")
    client.ok("<commit/>")
    name = '<get><filter><top xmlns="urn:example:config"><name/></top></filter></get>'
    assert client.data(name) == "<top><name>n</name></top>"
