"""RFC 6241's own examples, with candidate where the RFC edits running, and the operations of edit-config.

Not here: section 6.4.9 (filters by XML attributes, which YANG data doesn't have), 8.8 (URLs).
"""

import pytest

from tests.mgmt.client import Client

pytestmark = pytest.mark.functional
NS = "http://example.com/schema/1.2/config"

USERS = f"""
<top xmlns="{NS}"><users>
<user><name>root</name><type>superuser</type><full-name>Charlie Root</full-name>
<company-info><dept>1</dept><id>1</id></company-info></user>
<user><name>fred</name><type>admin</type><full-name>Fred Flintstone</full-name>
<company-info><dept>2</dept><id>2</id></company-info></user>
<user><name>barney</name><type>admin</type><full-name>Barney Rubble</full-name>
<company-info><dept>2</dept><id>3</id></company-info></user>
</users></top>"""
ROOT = (
    "<user><name>root</name><type>superuser</type><full-name>Charlie Root</full-name>"
    "<company-info><dept>1</dept><id>1</id></company-info></user>"
)
FRED = (
    "<user><name>fred</name><type>admin</type><full-name>Fred Flintstone</full-name>"
    "<company-info><dept>2</dept><id>2</id></company-info></user>"
)
BARNEY = (
    "<user><name>barney</name><type>admin</type><full-name>Barney Rubble</full-name>"
    "<company-info><dept>2</dept><id>3</id></company-info></user>"
)


@pytest.fixture
def users(client: Client) -> Client:
    edit(client, USERS)
    return client


def edit(client: Client, config: str, options: str = "", call: str = "ok") -> object:
    return getattr(client, call)(
        f"<edit-config><target><candidate/></target>{options}<config>{config}</config></edit-config>"
    )


def get(client: Client, inner: str) -> str:
    """get-config with a subtree filter."""
    return client.data(
        f'<get-config><source><candidate/></source><filter type="subtree">{inner}</filter></get-config>'
    )


def users_of(inner: str) -> str:
    return f"<top><users>{inner}</users></top>"


# Section 6.4


def test_6_4_2_select_the_entire_namespace(users: Client) -> None:
    assert get(users, f'<top xmlns="{NS}"/>') == users_of(ROOT + FRED + BARNEY)


def test_6_4_3_empty_filter(users: Client) -> None:
    assert get(users, "") == ""


def test_6_4_4_select_the_entire_users_subtree(users: Client) -> None:
    assert get(users, f'<top xmlns="{NS}"><users/></top>') == users_of(ROOT + FRED + BARNEY)
    assert get(users, f'<top xmlns="{NS}"><users><user/></users></top>') == users_of(
        ROOT + FRED + BARNEY
    )


def test_6_4_5_select_all_names(users: Client) -> None:
    found = get(users, f'<top xmlns="{NS}"><users><user><name/></user></users></top>')
    assert found == users_of(
        "".join(f"<user><name>{n}</name></user>" for n in ("root", "fred", "barney"))
    )


def test_6_4_6_one_specific_entry(users: Client) -> None:
    found = get(users, f'<top xmlns="{NS}"><users><user><name>fred</name></user></users></top>')
    assert found == users_of(FRED)


def test_6_4_7_specific_elements_from_an_entry(users: Client) -> None:
    wanted = "<user><name>fred</name><type/><full-name/></user>"
    assert get(users, f'<top xmlns="{NS}"><users>{wanted}</users></top>') == users_of(
        "<user><name>fred</name><type>admin</type><full-name>Fred Flintstone</full-name></user>"
    )


def test_6_4_8_multiple_subtrees(users: Client) -> None:
    wanted = (
        "<user><name>root</name><company-info/></user>"
        "<user><name>fred</name><company-info><id/></company-info></user>"
        "<user><name>barney</name><type>superuser</type><company-info><dept/></company-info></user>"
    )
    assert get(users, f'<top xmlns="{NS}"><users>{wanted}</users></top>') == users_of(
        "<user><name>root</name><company-info><dept>1</dept><id>1</id></company-info></user>"
        "<user><name>fred</name><company-info><id>2</id></company-info></user>"
    )


def test_a_filter_without_namespace_matches_any(users: Client) -> None:
    wanted = '<top xmlns=""><users><user><name>fred</name><type/></user></users></top>'
    assert get(users, wanted) == users_of("<user><name>fred</name><type>admin</type></user>")


def test_8_9_xpath(users: Client) -> None:
    filter_ = (
        f"""<filter xmlns:t="{NS}" type="xpath" select="/t:top/t:users/t:user[t:name='fred']"/>"""
    )
    assert users.data(
        f"<get-config><source><candidate/></source>{filter_}</get-config>"
    ) == users_of(FRED)
    wrong = '<filter type="xpath" select="/x:top"/>'
    error = users.error(f"<get-config><source><candidate/></source>{wrong}</get-config>")
    assert error["tag"] == "bad-attribute"


# Section 7.2


def test_7_2_set_the_mtu(client: Client) -> None:
    edit(
        client,
        f'<top xmlns="{NS}"><interface><name>Ethernet0/0</name><mtu>1500</mtu></interface></top>',
    )
    assert (
        get(client, f'<top xmlns="{NS}"/>')
        == "<top><interface><name>Ethernet0/0</name><mtu>1500</mtu></interface></top>"
    )


def test_7_2_add_an_interface_replacing_any_previous_content(client: Client) -> None:
    name = "<name>Ethernet0/0</name>"
    edit(client, f'<top xmlns="{NS}"><interface>{name}<mtu>9</mtu></interface></top>')
    address = "<address><name>192.0.2.4</name><prefix-length>24</prefix-length></address>"
    replace = f'<interface nc:operation="replace">{name}<mtu>1500</mtu>{address}</interface>'
    edit(client, f'<top xmlns="{NS}">{replace}</top>')
    assert (
        get(client, f'<top xmlns="{NS}"/>')
        == f"<top><interface>{name}<mtu>1500</mtu>{address}</interface></top>"
    )


OSPF = (
    "<protocols><ospf><area><name>0.0.0.0</name><interfaces{}>"
    "<interface{}><name>192.0.2.4</name></interface>{}</interfaces></area></ospf></protocols>"
)


def test_7_2_delete_an_interface_from_ospf(client: Client) -> None:
    other = "<interface><name>192.0.2.1</name></interface>"
    edit(client, f'<top xmlns="{NS}">{OSPF.format("", "", other)}</top>')
    delete = OSPF.format("", ' nc:operation="delete"', "")
    edit(
        client,
        f'<top xmlns="{NS}">{delete}</top>',
        "<default-operation>none</default-operation>",
    )
    found = get(client, f'<top xmlns="{NS}"><protocols/></top>')
    assert "192.0.2.1" in found
    assert "192.0.2.4" not in found
    error = edit(
        client,
        f'<top xmlns="{NS}">{delete}</top>',
        "<default-operation>none</default-operation>",
        call="error",
    )
    assert isinstance(error, dict)
    assert error["tag"] == "data-missing"
    assert error["path"].endswith("rfc6241:interface[rfc6241:name='192.0.2.4']")


# Operations and options, with the example model


def test_create_delete_remove(client: Client) -> None:
    user = '<top><user nc:operation="{}"><name>a</name></user></top>'
    client.edit(user.format("create"))
    assert client.edit(user.format("create"), call="error")["tag"] == "data-exists"
    client.edit(user.format("delete"))
    assert client.edit(user.format("delete"), call="error")["tag"] == "data-missing"
    client.edit(user.format("remove"))
    client.edit("<top><mtu>900</mtu></top>")
    client.edit('<top><mtu nc:operation="delete"/></top>')
    assert (
        client.edit('<top><mtu nc:operation="delete"/></top>', call="error")["tag"]
        == "data-missing"
    )
    assert client.edit(user.format("explode"), call="error")["tag"] == "bad-attribute"


def test_a_leaf_can_be_created_over_its_default(client: Client) -> None:
    client.edit('<top><mtu nc:operation="create">1500</mtu></top>')
    assert client.config() == "<top><mtu>1500</mtu></top>"
    assert (
        client.edit('<top><mtu nc:operation="create">1</mtu></top>', call="error")["tag"]
        == "data-exists"
    )


def test_default_operations(client: Client) -> None:
    client.edit("<top><name>a</name><user><name>u</name></user></top>")
    none = "<default-operation>none</default-operation>"
    client.edit("<top><name>b</name></top>", options=none)
    assert "<name>a</name>" in client.config()
    missing = client.edit(
        '<top><user><name>v</name><id nc:operation="create">1</id></user></top>',
        options=none,
        call="error",
    )
    assert missing["tag"] == "data-missing"
    client.edit(
        "<top><name>c</name></top>", options="<default-operation>replace</default-operation>"
    )
    assert client.config() == "<top><name>c</name></top>"


def test_replacing_keeps_an_entrys_place(client: Client) -> None:
    rules = "".join(f"<rule><seq>{n}</seq><action>a{n}</action></rule>" for n in (3, 1, 2))
    client.edit(f"<top>{rules}</top>")
    client.edit('<top><rule nc:operation="replace"><seq>1</seq><action>new</action></rule></top>')
    assert [part[0] for part in client.config().split("<seq>")[1:]] == ["3", "1", "2"]
    assert "new" in client.config()


def test_inserting_where_the_user_orders(client: Client) -> None:
    def steps() -> str:
        return "".join(part[0] for part in client.config().split("<step>")[1:])

    client.edit("<top><step>b</step><step>c</step></top>")
    client.edit('<top><step yang:insert="first">a</step></top>')
    client.edit('<top><step yang:insert="before" yang:value="c">x</step></top>')
    client.edit('<top><step yang:insert="after" yang:value="c">y</step></top>')
    client.edit('<top><step yang:insert="last">z</step></top>')
    assert steps() == "abxcyz"
    client.edit('<top><step yang:insert="first">z</step></top>')
    assert steps() == "zabxcy"
    for n in (1, 2):
        client.edit(f"<top><rule><seq>{n}</seq><action>x</action></rule></top>")
    client.edit(
        """<top><rule yang:insert="before" yang:key="[ex:seq='1']"><seq>9</seq><action>x</action></rule></top>"""
    )
    assert [part[0] for part in client.config().split("<seq>")[1:]] == ["9", "1", "2"]
    error = client.edit(
        '<top><step yang:insert="after" yang:value="q">p</step></top>', call="error"
    )
    assert (error["tag"], error["app-tag"]) == ("bad-attribute", "missing-instance")
    error = client.edit('<top><step yang:insert="after">p</step></top>', call="error")
    assert error["tag"] == "missing-attribute"
    error = client.edit('<top><tag yang:insert="first">p</tag></top>', call="error")
    assert error["tag"] == "unknown-attribute"


def test_a_case_replaces_another(client: Client) -> None:
    client.edit("<top><tcp-port>1</tcp-port><tcp-window>2</tcp-window></top>")
    client.edit("<top><udp-port>3</udp-port></top>")
    assert client.config() == "<top><udp-port>3</udp-port></top>"
    client.edit('<top><tcp-port nc:operation="create">4</tcp-port></top>')
    assert client.config() == "<top><tcp-port>4</tcp-port></top>"
    both = client.edit("<top><tcp-port>1</tcp-port><udp-port>3</udp-port></top>", call="error")
    assert both["tag"] == "bad-element"


def test_error_options(client: Client) -> None:
    inner = (
        "<top><name>fine</name><mtu>1</mtu><user><name>u</name><id>x</id><type>t</type></user>"
        "<user><name>v</name></user></top>"
    )
    for option in ("stop-on-error", "rollback-on-error"):
        error = client.edit(inner, options=f"<error-option>{option}</error-option>", call="error")
        assert error["tag"] == "invalid-value"
        assert client.config() == "", "nothing half-made"
    errors = client.edit(
        inner, options="<error-option>continue-on-error</error-option>", call="errors"
    )
    assert {error["path"].rpartition(":")[2] for error in errors} == {"mtu", "id"}
    config = client.config()
    assert "<name>fine</name>" in config
    assert "<name>u</name><type>t</type>" in config
    assert "<name>v</name>" in config


def test_test_options(client: Client) -> None:
    broken = "<top><boss>nobody</boss></top>"
    option = "<test-option>{}</test-option>"
    assert (
        client.edit(broken, options=option.format("test-then-set"), call="error")["tag"]
        == "data-missing"
    )
    assert client.config() == ""
    client.edit("<top><name>n</name></top>", options=option.format("test-only"))
    assert client.config() == ""
    client.edit(broken, options=option.format("set"))
    assert "nobody" in client.config()


def test_missing_keys_wrong_namespaces_state(client: Client) -> None:
    error = client.edit("<top><user><id>1</id></user></top>", call="error")
    assert (error["tag"], error["info"]["bad-element"]) == ("missing-element", "name")
    error = client.edit('<top><user nc:operation="delete"><id>1</id></user></top>', call="error")
    assert (error["tag"], error["info"]["bad-element"]) == ("missing-element", "name")
    error = client.edit('<x xmlns="urn:nowhere"/>', call="error")
    assert (error["tag"], error["info"]["bad-namespace"]) == ("unknown-namespace", "urn:nowhere")
    error = client.edit("<top><counters><packets>1</packets></counters></top>", call="error")
    assert (error["tag"], error["info"]["bad-element"]) == ("unknown-element", "counters")
