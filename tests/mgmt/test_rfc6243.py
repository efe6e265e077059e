"""RFC 6243 appendix A: one configuration in the four ways to show defaults."""

import pytest

from tests.mgmt.client import Client

pytestmark = pytest.mark.functional
NS = "http://example.com/ns/interfaces"
CONFIG = """
<interface><name>eth0</name><mtu>8192</mtu></interface>
<interface><name>eth1</name></interface>
<interface><name>eth2</name><mtu>9000</mtu><status>not feeling so good</status></interface>
<interface><name>eth3</name><mtu>1500</mtu><status>waking up</status></interface>"""


def rows(*interfaces: tuple[str, ...]) -> str:
    listed = "".join(
        f"<interface><name>{name}</name>{''.join(rest)}</interface>" for name, *rest in interfaces
    )
    return f"<interfaces>{listed}</interfaces>"


ETH2 = ("eth2", "<mtu>9000</mtu>", "<status>not feeling so good</status>")
WAKING = "<status>waking up</status>"
TAG = ' default="true"'
SHOWN = {
    "report-all": rows(
        ("eth0", "<mtu>8192</mtu>", "<status>up</status>"),
        ("eth1", "<mtu>1500</mtu>", "<status>up</status>"),
        ETH2,
        ("eth3", "<mtu>1500</mtu>", WAKING),
    ),
    "report-all-tagged": rows(
        ("eth0", "<mtu>8192</mtu>", f"<status{TAG}>up</status>"),
        ("eth1", f"<mtu{TAG}>1500</mtu>", f"<status{TAG}>up</status>"),
        ETH2,
        ("eth3", f"<mtu{TAG}>1500</mtu>", WAKING),
    ),
    "trim": rows(("eth0", "<mtu>8192</mtu>"), ("eth1",), ETH2, ("eth3", WAKING)),
    "explicit": rows(
        ("eth0", "<mtu>8192</mtu>"), ("eth1",), ETH2, ("eth3", "<mtu>1500</mtu>", WAKING)
    ),
}


@pytest.mark.parametrize("mode", SHOWN)
def test_appendix_a(client: Client, mode: str) -> None:
    client.ok(
        "<edit-config><target><candidate/></target><config>"
        f'<interfaces xmlns="{NS}">{CONFIG}</interfaces></config></edit-config>'
    )
    client.ok("<commit/>")
    wanted = f'<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">{mode}</with-defaults>'
    filter_ = f'<filter type="subtree"><interfaces xmlns="{NS}"/></filter>'
    assert client.data(f"<get>{filter_}{wanted}</get>") == SHOWN[mode]
    got = f"<get-config><source><running/></source>{filter_}{wanted}</get-config>"
    assert client.data(got) == SHOWN[mode]
    if mode == "report-all-tagged":
        tags = {name for element in client.rpc(got).iter() for name in element.attrib}
        assert "{urn:ietf:params:xml:ns:netconf:default:1.0}default" in tags


def test_an_unknown_mode_is_refused(client: Client) -> None:
    wrong = '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">some</with-defaults>'
    assert client.error(f"<get>{wrong}</get>")["tag"] == "invalid-value"


def test_a_tagged_default_in_an_edit_is_no_statement(client: Client) -> None:
    """Section 4.5.2 and A.3: a value tagged as default is what the model says."""
    client.ok(
        "<edit-config><target><candidate/></target><config>"
        f'<interfaces xmlns="{NS}" xmlns:wd="urn:ietf:params:xml:ns:netconf:default:1.0">'
        '<interface><name>eth9</name><mtu wd:default="true">1500</mtu></interface>'
        "</interfaces></config></edit-config>"
    )
    found = client.data(
        f'<get-config><source><candidate/></source><filter><interfaces xmlns="{NS}"/></filter></get-config>'
    )
    assert found == rows(("eth9",))
