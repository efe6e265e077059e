"""Access control: the rules of RFC 8341's appendix A, with users that this machine has, and the factory's groups."""

from collections.abc import Callable

import pytest

from tests.mgmt.client import Client

pytestmark = pytest.mark.functional
Connect = Callable[..., Client]
NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
# Debian's own: daemon is in admin, bin in limited, nobody in guest.
ADMIN, LIMITED, GUEST = 1, 2, 65534

GROUPS = """
<groups>
<group><name>admin</name><user-name>daemon</user-name></group>
<group><name>limited</name><user-name>bin</user-name></group>
<group><name>guest</name><user-name>nobody</user-name></group>
</groups>"""


def rule(name: str, what: str, operations: str, action: str) -> str:
    return (
        f"<rule><name>{name}</name>{what}<access-operations>{operations}</access-operations>"
        f"<action>{action}</action></rule>"
    )


def rules(name: str, groups: str, *listed: str) -> str:
    named = "".join(f"<group>{group}</group>" for group in groups.split())
    return f"<rule-list><name>{name}</name>{named}{''.join(listed)}</rule-list>"


def install(client: Client, lists: str, defaults: str = "") -> None:
    client.ok(
        "<edit-config><target><candidate/></target><config>"
        f'<nacm xmlns="{NACM}" nc:operation="replace">{defaults}{GROUPS}{lists}</nacm>'
        "</config></edit-config>"
    )
    client.ok("<commit/>")


MONITORING = "<module-name>ietf-netconf-monitoring</module-name>"
STATE = (
    '<get><filter><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">'
    "<statistics/></netconf-state></filter></get>"
)


def test_a2_module_rules(connect: Connect) -> None:
    install(
        connect(),
        rules("guest-acl", "guest", rule("deny-ncm", MONITORING, "*", "deny"))
        + rules("limited-acl", "limited", rule("permit-ncm", MONITORING, "read", "permit"))
        + rules(
            "admin-acl", "admin", rule("permit-all", "<module-name>*</module-name>", "*", "permit")
        ),
        "<read-default>deny</read-default>",
    )
    assert connect(uid=GUEST).data(STATE) == ""
    assert "<in-sessions>" in connect(uid=LIMITED).data(STATE)
    assert "<in-sessions>" in connect(uid=ADMIN).data(STATE)


def test_a3_protocol_operation_rules(connect: Connect) -> None:
    nc = "<module-name>ietf-netconf</module-name><rpc-name>{}</rpc-name>"
    install(
        connect(),
        rules(
            "guest-limited-acl",
            "limited guest",
            rule("deny-kill-session", nc.format("kill-session"), "exec", "deny"),
            rule("deny-delete-config", nc.format("delete-config"), "exec", "deny"),
        )
        + rules(
            "limited-acl",
            "limited",
            rule("permit-edit-config", nc.format("edit-config"), "exec", "permit"),
        ),
        "<exec-default>deny</exec-default>",
    )
    edit = "<edit-config><target><candidate/></target><config/></edit-config>"
    limited, guest = connect(uid=LIMITED), connect(uid=GUEST)
    limited.ok(edit)
    error = guest.error(edit)
    assert (error["tag"], error["type"]) == ("access-denied", "protocol")
    kill = "<kill-session><session-id>4711</session-id></kill-session>"
    assert limited.error(kill)["tag"] == "access-denied"
    guest.ok("<close-session/>")


def test_kill_session_is_denied_unless_permitted(connect: Connect) -> None:
    install(connect(), "")
    kill = "<kill-session><session-id>4711</session-id></kill-session>"
    assert connect(uid=GUEST).error(kill)["tag"] == "access-denied"
    assert connect().error(kill)["tag"] == "invalid-value", "root is the recovery session"


def test_a4_data_node_rules(connect: Connect) -> None:
    path = f'<path xmlns:n="{NACM}" xmlns:e="urn:example:config">{{}}</path>'
    admin = connect()
    admin.edit(
        "<top><name>n</name><user><name>dummy</name></user><user><name>x</name></user></top>"
    )
    admin.ok("<commit/>")
    install(
        admin,
        rules("guest-acl", "guest", rule("deny-nacm", path.format("/n:nacm"), "*", "deny"))
        + rules(
            "limited-acl",
            "limited",
            rule("permit-mtu", path.format("/e:top/e:mtu"), "read create update", "permit"),
            rule(
                "permit-dummy",
                path.format("/e:top/e:user[e:name='dummy']"),
                "read update create",
                "permit",
            ),
            rule("hide-x", path.format("/e:top/e:user[e:name='x']"), "read", "deny"),
        ),
    )
    guest, limited = connect(uid=GUEST), connect(uid=LIMITED)
    nacm = f'<get-config><source><running/></source><filter><nacm xmlns="{NACM}"/></filter></get-config>'
    assert guest.data(nacm) == ""
    limited.edit("<top><mtu>900</mtu></top>")
    limited.edit("<top><user><name>dummy</name><id>5</id></user></top>")
    error = limited.edit("<top><name>no</name></top>", call="error")
    assert error["tag"] == "access-denied"
    assert error["path"] == "/example:top/example:name"
    assert (
        limited.edit('<top><mtu nc:operation="delete"/></top>', call="error")["tag"]
        == "access-denied"
    )
    seen = limited.config()
    assert "dummy" in seen
    assert "<name>x</name>" not in seen
    assert limited.edit("<top><name>n</name></top>") is None, (
        "what changes nothing needs no permission"
    )


def test_commit_is_judged_by_what_it_changes(connect: Connect) -> None:
    admin = connect()
    install(admin, "")
    admin.edit("<top><name>by-admin</name></top>")
    error = connect(uid=GUEST).error("<commit/>")
    assert (error["tag"], error["path"]) == ("access-denied", "/example:top/example:name")
    admin.ok("<commit/>")


def test_a5_notification_rules(connect: Connect) -> None:
    what = (
        "<module-name>ietf-netconf-notifications</module-name>"
        "<notification-name>netconf-config-change</notification-name>"
    )
    install(
        connect(), rules("sys-acl", "limited", rule("deny-config-change", what, "read", "deny"))
    )
    limited, writer = connect(uid=LIMITED), connect()
    limited.ok('<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>')
    writer.edit("<top><name>quiet</name></top>")
    writer.ok("<commit/>")
    writer.ok("<close-session/>")
    notice = limited.notification()
    assert notice[1].tag.endswith("netconf-session-end")


def test_the_factorys_groups(connect: Connect) -> None:
    """Nobody in particular may do nothing; root everything."""
    stranger = connect(uid=GUEST)
    assert stranger.error("<get/>")["tag"] == "access-denied"
    state = connect().data(f'<get><filter><nacm xmlns="{NACM}"/></filter></get>')
    assert "<group>sluice-operator</group>" in state
    assert "<denied-operations>" in state
