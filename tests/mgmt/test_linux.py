"""The real models and appliers against Linux: yamsd in a namespace of its own, another as VRF.

main (yamsd's namespace)            VRF blue
   eth0 -- (a cable to nowhere)
   cable0 ===== veth ============== cable1
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import netns
from lab.proc import run
from tests.mgmt.client import Client

pytestmark = pytest.mark.functional

VRF = 'xmlns="urn:sluice:vrf"'
IF = 'xmlns="urn:sluice:iface"'
RT = 'xmlns="urn:sluice:route"'


class Router:
    def __init__(self, work: Path) -> None:
        self.work = work
        self.main = f"mgmt-{os.getpid()}"
        self.blue = f"blue{os.getpid()}"
        self.socket = work / "run/netconf.sock"
        netns.create(self.main)
        netns.ip_batch(self.main, ["link set lo up", "link add eth0 type veth peer name far0"])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        with (self.work / "log").open("ab") as log:
            # Not `ip netns exec`: namespaces made by yamsd must be seen here. Its host name is its own.
            self.process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.main}", "unshare", "--uts"),
                    *(sys.executable, "-m", "sluice.mgmt.app"),
                    *("--state", str(self.work / "state"), "--run", str(self.work / "run")),
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)},
            )
        Client.wait(self.socket, self.process)
        self.client = Client(self.socket)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.client.drop()
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        self.stop()
        for name in (self.blue, self.main):
            if name in netns.existing():
                netns.remove(name)

    def edit(self, xml: str, *, vrf: str = "main") -> None:
        self.client.ok(
            "<edit-config><target><candidate/></target><config>"
            f"<vrf {VRF}><name>{vrf}</name>{xml}</vrf></config></edit-config>"
        )

    def commit(self, xml: str = "", **where: str) -> None:
        if xml:
            self.edit(xml, **where)
        self.client.ok("<commit/>")

    def refused(self, xml: str, **where: str) -> dict[str, Any]:
        self.edit(xml, **where)
        error = self.client.error("<commit/>")
        self.client.ok("<discard-changes/>")
        return error

    def ip(self, *args: str, vrf: str = "") -> Any:
        done = run(["ip", "-j", "-n", vrf or self.main, *args])
        return json.loads(done.stdout or "[]")

    def addresses(self, name: str, vrf: str = "") -> set[str]:
        (link,) = self.ip("address", "show", "dev", name, vrf=vrf)
        return {
            f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"
        }

    def routes(self, vrf: str = "") -> set[tuple[str, str]]:
        found = self.ip("route", "show", "proto", "static", vrf=vrf)
        return {(r["dst"], r.get("gateway") or r.get("dev") or r.get("type")) for r in found}


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    made = Router(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


def physical(name: str, *addresses: str, more: str = "") -> str:
    listed = "".join(f"<address><ip>{ip}</ip></address>" for ip in addresses)
    return f"<interface {IF}><physical><name>{name}</name>{more}<ipv4>{listed}</ipv4></physical></interface>"


def static(*routes: tuple[str, str], attributes: str = "") -> str:
    listed = "".join(
        f"<ipv4-route{attributes}><prefix>{prefix}</prefix><next-hop><hop>{hop}</hop></next-hop></ipv4-route>"
        for prefix, hop in routes
    )
    return f"<routing {RT}><static>{listed}</static></routing>"


def test_addresses_mtu_and_others_settings_stay(router: Router) -> None:
    netns.ip_batch(router.main, ["address add 203.0.113.7/32 dev eth0"])
    router.commit(physical("eth0", "192.0.2.1/24", more="<mtu>1400</mtu>"))
    assert router.addresses("eth0") == {"192.0.2.1/24", "203.0.113.7/32"}
    (link,) = router.ip("link", "show", "dev", "eth0")
    assert link["mtu"] == 1400
    assert "UP" in link["flags"]
    delete = '<address nc:operation="delete"><ip>192.0.2.1/24</ip></address>'
    router.commit(
        f"<interface {IF}><physical><name>eth0</name><enabled>false</enabled>"
        f"<ipv4>{delete}</ipv4></physical></interface>"
    )
    assert router.addresses("eth0") == {"203.0.113.7/32"}
    (link,) = router.ip("link", "show", "dev", "eth0")
    assert "UP" not in link["flags"]


def test_routes_several_next_hops_and_special_ones(router: Router) -> None:
    router.commit(physical("eth0", "192.0.2.1/24"))
    hops = "<next-hop><hop>192.0.2.2</hop><weight>3</weight></next-hop><next-hop><hop>192.0.2.3</hop></next-hop>"
    several = f"<routing {RT}><static><ipv4-route><prefix>10.9.0.0/16</prefix>{hops}</ipv4-route></static></routing>"
    router.edit(several)
    router.commit(
        static(("10.1.0.0/16", "192.0.2.2"), ("10.2.0.0/16", "blackhole"), ("10.3.0.0/16", "eth0"))
    )
    assert router.routes() >= {
        ("10.1.0.0/16", "192.0.2.2"),
        ("10.2.0.0/16", "blackhole"),
        ("10.3.0.0/16", "eth0"),
    }
    (route,) = router.ip("route", "show", "10.9.0.0/16")
    assert [(hop["gateway"], hop["weight"]) for hop in route["nexthops"]] == [
        ("192.0.2.2", 3),
        ("192.0.2.3", 1),
    ]
    six = "<ipv6-route><prefix>2001:db8:9::/48</prefix><next-hop><hop>unreachable</hop></next-hop></ipv6-route>"
    router.commit(f"<routing {RT}><static>{six}</static></routing>")
    assert [r["dst"] for r in router.ip("-6", "route", "show", "proto", "static")] == [
        "2001:db8:9::/48"
    ]
    remove = '<routing {}><static nc:operation="delete"/></routing>'
    router.commit(remove.format(RT))
    assert router.routes() == set()


def test_a_refused_route_leaves_nothing_behind(router: Router) -> None:
    router.edit(physical("eth0", "192.0.2.1/24"))
    good = [(f"10.{n}.0.0/16", "192.0.2.2") for n in range(200)]
    error = router.refused(static(*good, ("10.250.0.0/16", "198.51.100.1")))
    assert "10.250.0.0/16" in error["path"]
    assert "10.250.0.0/16" in error["message"]
    assert router.routes() == set()
    assert router.addresses("eth0") == set(), "the interface's changes are undone as well"


def test_routes_come_back_with_their_interface(router: Router) -> None:
    router.edit(physical("eth0", "192.0.2.1/24"))
    router.commit(static(("10.1.0.0/16", "192.0.2.2")))
    down = (
        f"<interface {IF}><physical><name>eth0</name><enabled>{{}}</enabled></physical></interface>"
    )
    error = router.refused(down.format("false"))
    assert "10.1.0.0/16" in error["path"], "a static route to nowhere is a mistake"
    assert router.routes() == {("10.1.0.0/16", "192.0.2.2")}, "the rollback has brought it back"
    (link,) = router.ip("link", "show", "dev", "eth0")
    assert "UP" in link["flags"]


def test_a_missing_interface_is_named(router: Router) -> None:
    error = router.refused(physical("eth7", "192.0.2.1/24"))
    assert (error["tag"], error["message"]) == ("data-missing", "there's no interface eth7")


def veth(name: str, vrf: str, peer: str, address: str) -> str:
    return (
        f"<interface {IF}><veth><name>{name}</name><ipv4><address><ip>{address}</ip></address></ipv4>"
        f"<peer-vrf>{vrf}</peer-vrf><peer-interface>{peer}</peer-interface></veth></interface>"
    )


def test_a_vrf_with_a_cable_to_main(router: Router) -> None:
    blue = router.blue
    router.edit(veth("cable0", blue, "cable1", "192.0.2.1/24"))
    router.edit(f"{static(('10.5.0.0/16', '192.0.2.1'))}", vrf=blue)
    error = router.client.error("<commit/>")
    assert error["app-tag"] == "one-sided"
    router.commit(veth("cable1", "main", "cable0", "192.0.2.2/24"), vrf=blue)
    assert router.addresses("cable1", vrf=blue) == {"192.0.2.2/24"}
    assert router.routes(blue) == {("10.5.0.0/16", "192.0.2.1")}
    run(["ip", "netns", "exec", router.main, "ping", "-c1", "-W5", "192.0.2.2"])
    state = router.client.data(
        f"<get><filter><vrf {VRF}><name>{blue}</name><interface-state {IF}/></vrf></filter></get>"
    )
    assert "<name>cable1</name><kind>veth</kind>" in state
    router.edit(f'<interface {IF} nc:operation="delete"/>')
    router.client.ok(
        "<edit-config><target><candidate/></target><config>"
        f'<vrf {VRF} nc:operation="delete"><name>{blue}</name></vrf></config></edit-config>'
    )
    router.commit()
    assert blue not in netns.existing()
    assert [link["ifname"] for link in router.ip("link") if link["ifname"] == "cable0"] == []


def test_a_killed_daemon_repairs_what_changed_meanwhile(router: Router) -> None:
    router.edit(physical("eth0", "192.0.2.1/24"))
    router.commit(static(("10.1.0.0/16", "192.0.2.2"), ("10.2.0.0/16", "192.0.2.2")))
    router.stop(signal.SIGKILL)
    netns.ip_batch(
        router.main, ["route del 10.1.0.0/16", "route add 10.99.0.0/16 via 192.0.2.9 proto static"]
    )
    router.start()
    assert router.routes() == {
        ("10.1.0.0/16", "192.0.2.2"),
        ("10.2.0.0/16", "192.0.2.2"),
        ("10.99.0.0/16", "192.0.2.9"),
    }, "ours are back, a stranger's stays"


def test_the_host_name(router: Router) -> None:
    router.client.ok(
        '<edit-config><target><candidate/></target><config><system xmlns="urn:sluice:system">'
        "<hostname>gw1</hostname></system></config></edit-config>"
    )
    router.client.ok("<commit/>")
    state = '<get><filter><system xmlns="urn:sluice:system"><state><hostname/></state></system></filter></get>'
    assert "<hostname>gw1</hostname>" in router.client.data(state)


LOOPBACK = (
    f"<interface {IF}><loopback><name>lo1</name>"
    "<ipv4><address><ip>192.0.2.100/32</ip></address></ipv4></loopback></interface>"
)


@pytest.mark.vm
def test_loopbacks_and_vlans(router: Router) -> None:
    vlan = (
        f"<interface {IF}><vlan><name>eth0.5</name><ipv4><address><ip>198.51.100.1/24</ip></address></ipv4>"
        "<link-interface>eth0</link-interface><vlan-id>5</vlan-id></vlan></interface>"
    )
    router.edit(physical("eth0"))
    router.edit(vlan)
    router.commit(LOOPBACK)
    assert router.addresses("lo1") == {"192.0.2.100/32"}
    assert router.addresses("eth0.5") == {"198.51.100.1/24"}
    (link,) = router.ip("-d", "link", "show", "dev", "eth0.5")
    assert link["linkinfo"]["info_data"]["id"] == 5
    router.commit(
        f"<interface {IF}><vlan><name>eth0.5</name><vlan-id>6</vlan-id></vlan></interface>"
    )
    (link,) = router.ip("-d", "link", "show", "dev", "eth0.5")
    assert link["linkinfo"]["info_data"]["id"] == 6
    assert router.addresses("eth0.5") == {"198.51.100.1/24"}
    router.commit(f'<interface {IF} nc:operation="delete"/>')
    names = {link["ifname"] for link in router.ip("link")}
    assert not names & {"lo1", "eth0.5"}
    assert "eth0" in names
