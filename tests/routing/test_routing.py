"""The models against real FRR: yamsd starts it, configures it over NETCONF, and routes arrive from a neighbour."""

import json
import signal
from pathlib import Path

import pytest
from sluice.features.routing.instance import SOCKETS
from sluice.mgmt.yang import Format

from lab import netns
from lab.frr import Frr
from lab.proc import wait_for
from tests.mgmt.test_linux import VRF
from tests.routing.rig import RT, Routed, router
from tests.routing.test_render import schema

pytestmark = pytest.mark.functional
__all__ = ["router"]

HERE = Path(__file__).parent
OSPF = (
    "<ospf><router-id>192.0.2.1</router-id><area><area-id>0</area-id><interface><name>eth0</name>"
    "<hello-interval>1</hello-interval><dead-interval>4</dead-interval></interface></area></ospf>"
)
BGP = (
    "<bgp><as>65001</as><ebgp-requires-policy>false</ebgp-requires-policy>"
    "<neighbor><peer>192.0.2.2</peer><remote-as>65002</remote-as>"
    "<timers><connect-retry>1</connect-retry></timers><ipv4-unicast/></neighbor></bgp>"
)
NEIGHBOUR_BGP = """
router bgp 65002
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 address-family ipv4 unicast
  neighbor 192.0.2.1 activate
  network 10.9.2.0/24
  network 10.9.3.0/24
 exit-address-family
exit
"""


def test_all_of_the_model_comes_and_goes(router: Routed) -> None:
    """Every statement of full.json stands in FRR as it was said, and is taken back."""
    tree = schema().parse((HERE / "full.json").read_text())
    body = f"<target><candidate/></target><config>{tree.print(Format.XML)}</config>"
    router.client.ok(f"<edit-config>{body}</edit-config>")
    router.client.ok("<commit/>")
    have = {line.strip() for line in router.running().splitlines()}
    for line in (HERE / "full.conf").read_text().splitlines():
        if not line.startswith(("!", "exit")):
            assert line in have
    log = router.work / "log"
    told = log.read_text().count("is told")
    assert told >= 5, "each daemon"
    router.stop()
    router.start()
    wait_for(
        lambda: "has its configuration" in log.read_text().rpartition("ready with")[2],
        "the second look at FRR",
        timeout=120,
    )
    assert log.read_text().count("is told") == told, "a restart finds all of it there"
    for module in ("bgp", "ospf", "ospfv3", "rip", "ripng", "policy"):
        router.routing(f'<{module} nc:operation="remove"/>')
    router.routing('<bfd xmlns="urn:sluice:bfd" nc:operation="remove"/>')
    router.commit()
    left = router.running()
    for word in ("router", "route-map", "prefix-list", "profile", "peer", "ip ", "ipv6 "):
        assert word not in left.replace("no ip forwarding", "").replace("no ipv6 forwarding", "")


def test_ospf_routes_arrive(router: Routed) -> None:
    with router.frr as neighbour:
        neighbour.configure(
            "interface eth0\n ip ospf area 0\n ip ospf hello-interval 1\n ip ospf dead-interval 4\nexit\n"
            "router ospf\n ospf router-id 192.0.2.2\n redistribute connected\nexit\n"
        )
        router.routing(OSPF)
        router.commit()
        router.wait_for_route("10.9.1.0/24", "proto ospf")
        # A change of cost is one line, and the neighbour stays.
        before = neighbour.show("ip ospf neighbor")
        router.routing(OSPF.replace("</interface>", "<cost>77</cost></interface>"))
        router.commit()
        assert " ip ospf cost 77\n" in router.running()
        router.wait_for_route("10.9.1.0/24", "metric")
        assert list(before) == list(neighbour.show("ip ospf neighbor"))
        router.routing('<ospf nc:operation="delete"/>')
        router.commit()
        assert "ospf" not in router.running()
        wait_for(
            lambda: "proto ospf" not in str(router.ip("route")), "the end of the route", timeout=60
        )


def test_bgp_with_a_policy(router: Routed) -> None:
    with router.frr as neighbour:
        neighbour.configure(NEIGHBOUR_BGP)
        router.routing(BGP)
        router.commit()
        router.wait_for_route("10.9.2.0/24", "proto bgp")
        router.wait_for_route("10.9.3.0/24", "proto bgp")
        router.routing(
            "<policy><ipv4-prefix-list><name>TWO</name><rule><sequence>5</sequence><action>permit</action>"
            "<prefix>10.9.2.0/24</prefix></rule></ipv4-prefix-list><route-map><name>IN</name><rule>"
            "<sequence>10</sequence><action>permit</action><match><ipv4-prefix-list>TWO</ipv4-prefix-list>"
            "</match><set><metric>42</metric></set></rule></route-map></policy>"
        )
        router.routing(
            "<bgp><neighbor><peer>192.0.2.2</peer><ipv4-unicast><route-map-in>IN</route-map-in></ipv4-unicast>"
            "</neighbor></bgp>"
        )
        router.commit()
        wait_for(lambda: metric(router, "10.9.2.0/24") == 42, "the metric", timeout=60)
        wait_for(
            lambda: "10.9.3.0" not in str(router.ip("route")), "the end of the other", timeout=30
        )
        # Another rule in its place, another action, the list gone: all in one commit.
        router.routing(
            "<policy><route-map><name>IN</name><rule><sequence>10</sequence><action>permit</action>"
            '<match nc:operation="replace"/><set><metric>43</metric></set></rule></route-map>'
            '<ipv4-prefix-list nc:operation="delete"><name>TWO</name></ipv4-prefix-list></policy>'
        )
        router.commit()
        wait_for(lambda: metric(router, "10.9.3.0/24") == 43, "the metric", timeout=60)
        assert "TWO" not in router.running()


ALL = """
<policy><route-map><name>ALL</name><rule><sequence>10</sequence><action>permit</action></rule></route-map></policy>
<bfd xmlns="urn:sluice:bfd"><profile><name>fast</name><receive-interval>500</receive-interval></profile></bfd>
<ospfv3><router-id>192.0.2.1</router-id><area><area-id>0</area-id><interface><name>eth0</name>
<hello-interval>1</hello-interval><dead-interval>4</dead-interval></interface></area></ospfv3>
<bgp><as>65001</as><neighbor><peer>eth0</peer><remote-as>external</remote-as><bfd><profile>fast</profile></bfd>
<timers><connect-retry>1</connect-retry></timers>
<ipv4-unicast><route-map-in>ALL</route-map-in></ipv4-unicast>
<ipv6-unicast><route-map-in>ALL</route-map-in></ipv6-unicast></neighbor></bgp>
<rip><timers><update-interval>5</update-interval></timers><interface><name>eth0</name></interface></rip>
<ripng><timers><update-interval>5</update-interval></timers><interface><name>eth0</name></interface></ripng>
"""
NEIGHBOUR_ALL = """
ip prefix-list RIP permit 10.9.4.0/24
ipv6 prefix-list RIP permit 2001:db8:9:4::/64
ipv6 prefix-list OSPF permit 2001:db8:9:1::/64
route-map RIP permit 10
 match ip address prefix-list RIP
exit
route-map RIP6 permit 10
 match ipv6 address prefix-list RIP
exit
route-map OSPF permit 10
 match ipv6 address prefix-list OSPF
exit
interface eth0
 ipv6 ospf6 area 0
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval 4
exit
router ospf6
 ospf6 router-id 192.0.2.2
 redistribute connected route-map OSPF
exit
router bgp 65002
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor eth0 interface v6only remote-as external
 neighbor eth0 timers connect 1
 neighbor eth0 bfd
 address-family ipv4 unicast
  neighbor eth0 activate
  network 10.9.2.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor eth0 activate
  network 2001:db8:9:2::/64
 exit-address-family
exit
router rip
 network eth0
 timers basic 5 60 30
 redistribute connected route-map RIP
exit
router ripng
 network eth0
 timers basic 5 60 30
 redistribute connected route-map RIP6
exit
"""


def test_routes_arrive_by_the_other_protocols(router: Routed) -> None:
    """OSPFv3, BGP on an interface (RFC 8950: an IPv6 next hop for IPv4), RIP, RIPng, BFD; and all of it as state."""
    with router.frr as neighbour:
        neighbour.configure(NEIGHBOUR_ALL)
        router.routing(ALL)
        router.commit()
        router.wait_for_route("2001:db8:9:1::/64", "proto ospf")
        router.wait_for_route("10.9.2.0/24", "via inet6 fe80:")
        router.wait_for_route("2001:db8:9:2::/64", "proto bgp")
        router.wait_for_route("10.9.4.0/24", "proto rip")
        router.wait_for_route("2001:db8:9:4::/64", "proto ripng")

        def state(module: str, name: str) -> str:
            node = f'<{name} xmlns="urn:sluice:{module}"/>'
            wanted = f"<vrf {VRF}><name>main</name><routing {RT}>{node}</routing></vrf>"
            return router.client.data(f"<get><filter>{wanted}</filter></get>")

        wait_for(
            lambda: "<state>up</state>" in state("bfd", "bfd-state"), "the BFD session", timeout=60
        )
        bgp = state("bgp", "bgp-state")
        assert "<peer>eth0</peer><remote-as>65002</remote-as><state>established</state>" in bgp
        assert "<name>ipv4-unicast</name><prefixes-received>1</prefixes-received>" in bgp
        assert "<neighbor-id>192.0.2.2</neighbor-id>" in state("ospf", "ospfv3-state")
        assert "<address>192.0.2.2</address>" in state("rip", "rip-state")
        assert "<address>fe80:" in state("rip", "ripng-state")


def metric(router: Routed, prefix: str) -> int | None:
    """BGP's, which isn't the kernel's."""
    paths = Frr(router.main, (), router.work).show(f"bgp ipv4 unicast {prefix}").get("paths", [])
    return paths[0].get("metric") if paths else None


def test_what_frr_refuses_changes_nothing(router: Routed) -> None:
    """A stranger's BGP is in the way: the error has path and FRR's words, and what was done before is undone."""
    router.routing(OSPF)
    router.commit()
    frr = Frr(router.main, (), router.work)
    frr.configure("router bgp 65099\nexit\nrouter ospf\n distance 99\nexit\n")
    before = router.running()
    router.routing(OSPF.replace("</ospf>", "<reference-bandwidth>10</reference-bandwidth></ospf>"))
    router.routing(
        "<policy><route-map><name>IN</name><rule><sequence>10</sequence><action>permit</action></rule>"
        "</route-map></policy>"
    )
    router.routing(BGP)
    error = router.client.error("<commit/>")
    assert error["tag"] == "operation-failed"
    assert "65099" in error["message"]
    assert error["path"].endswith("/sluice-bgp:bgp")
    assert router.running() == before
    router.client.ok("<discard-changes/>")
    # Ours goes, the stranger's stays.
    router.routing('<ospf nc:operation="delete"/>')
    router.commit()
    left = router.running()
    assert "router ospf\n distance 99" in left
    assert "router bgp 65099" in left
    assert "router-id" not in left


def test_a_daemon_that_dies_is_told_again(router: Routed) -> None:
    router.routing(OSPF)
    router.commit()
    router.kill("ospfd")
    wait_for(lambda: "ospfd" not in router.daemons(), "its end", timeout=30)
    router.routing(OSPF.replace("</interface>", "<cost>77</cost></interface>"))
    error = router.client.error("<commit/>")
    assert "ospfd doesn't run in main" in error["message"]
    assert "ospf" in error["path"]
    router.client.ok("<discard-changes/>")
    # FRR's own watchdog restarts it, without what yamsd had said, up to 120 s later: somebody must reap the dead one.
    wait_for(
        lambda: " ip ospf hello-interval 1\n" in router.running(), "its configuration", timeout=200
    )


def test_yamsd_that_dies_repairs_what_changed_meanwhile(router: Routed) -> None:
    router.routing(OSPF)
    router.commit()
    before = router.running()
    router.stop(signal.SIGKILL)
    frr = Frr(router.main, (), router.work)
    frr.configure("interface eth0\n no ip ospf hello-interval\nexit\nno router ospf\n")
    assert router.running() != before
    router.start()
    assert router.running() == before


def test_a_vrf_has_an_frr_of_its_own(router: Routed) -> None:
    blue = router.blue
    assert router.daemons() == set(), "nothing runs that isn't configured"
    ospf = OSPF.replace("eth0", "eth9")
    router.routing(ospf, vrf=blue)
    router.commit()
    assert "ospfd" in router.daemons(blue)
    assert router.daemons() == set()
    assert "ip ospf hello-interval 1" in router.running(blue)
    pid = json.loads((SOCKETS / blue / "ospfd.pid").read_text())
    there = Path(f"/proc/{pid}/ns/net").stat().st_ino
    assert there == Path(f"/run/netns/{blue}").stat().st_ino
    # Its last protocol goes, and FRR with it; and the same with the whole VRF.
    router.routing('<ospf nc:operation="delete"/>', vrf=blue)
    router.commit()
    assert router.daemons(blue) == set()
    router.routing(ospf, vrf=blue)
    router.commit()
    assert "ospfd" in router.daemons(blue)
    router.client.ok(
        "<edit-config><target><candidate/></target><config>"
        f'<vrf {VRF} nc:operation="delete"><name>{blue}</name></vrf></config></edit-config>'
    )
    router.commit()
    assert router.daemons(blue) == set()
    assert blue not in netns.existing()
