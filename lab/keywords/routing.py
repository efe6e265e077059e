"""Keywords: the image's FRR, with a neighbour on h2, and what it makes of the fast path."""

from contextlib import ExitStack

from lab import paths, proc, traffic
from lab.frr import Frr
from lab.keywords.forwarding import carried
from lab.keywords.session import SESSION

__all__ = [
    "announced_network_should_be_carried",
    "frr_runs_on_the_appliance",
    "neighbour_announces_networks",
    "neighbour_is_gone",
    "withdrawn_network_should_vanish",
]

# What h2 announces by each protocol: the family, the network, an address in it.
ANNOUNCED = {
    "OSPF": (4, "198.18.2.0/24", "198.18.2.1"),
    "BGP": (4, "198.18.1.0/24", "198.18.1.1"),
    "OSPFv3": (6, "2001:db8:d::/64", "2001:db8:d::1"),
    "BGP for IPv6": (6, "2001:db8:e::/64", "2001:db8:e::1"),
}
DAEMONS = ("ospfd", "ospf6d", "bgpd")
OSPF = """
interface {interface}
 ip ospf area 0
 ip ospf hello-interval 2
 ip ospf dead-interval 20
 ipv6 ospf6 area 0
 ipv6 ospf6 hello-interval 2
 ipv6 ospf6 dead-interval 20
exit
"""
APPLIANCE = """
router bgp 65001
 bgp router-id 198.51.100.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 198.51.100.2 remote-as 65002
 neighbor 2001:db8:2::2 remote-as 65002
 address-family ipv4 unicast
  neighbor 198.51.100.2 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 2001:db8:2::2 activate
 exit-address-family
exit
router ospf
 ospf router-id 198.51.100.1
exit
router ospf6
 ospf6 router-id 198.51.100.1
exit
"""
NEIGHBOUR = """
ip prefix-list OSPF permit 198.18.2.0/24
ipv6 prefix-list OSPF permit 2001:db8:d::/64
route-map OSPF permit 10
 match ip address prefix-list OSPF
exit
route-map OSPF6 permit 10
 match ipv6 address prefix-list OSPF
exit
router bgp 65002
 bgp router-id 198.51.100.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 198.51.100.1 remote-as 65001
 neighbor 198.51.100.1 timers connect 2
 neighbor 2001:db8:2::1 remote-as 65001
 neighbor 2001:db8:2::1 timers connect 2
 address-family ipv4 unicast
  neighbor 198.51.100.1 activate
  network 198.18.1.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor 2001:db8:2::1 activate
  network 2001:db8:e::/64
 exit-address-family
exit
router ospf
 ospf router-id 198.51.100.2
 redistribute connected route-map OSPF
exit
router ospf6
 ospf6 router-id 198.51.100.2
 redistribute connected route-map OSPF6
exit
"""
neighbour = ExitStack()


def frr_runs_on_the_appliance() -> None:
    """As its user would: daemons named, one configuration file, the package's own unit."""
    appliance = SESSION.appliance
    interface = appliance.device("p2")
    text = OSPF.format(interface=interface) + APPLIANCE
    appliance.run(["tee", "/etc/frr/frr.conf"], stdin=text)
    wanted = "".join(f"s/^{daemon}=no/{daemon}=yes/;" for daemon in DAEMONS)
    appliance.run(["sed", "-i", wanted, "/etc/frr/daemons"])
    appliance.run(["systemctl", "start", "frr"], timeout=240)


def neighbour_announces_networks() -> None:
    """FRR on h2, with a network for each protocol behind it."""
    h2 = SESSION.host("h2")
    for family, _, address in ANNOUNCED.values():
        length, extra = ("24", []) if family == 4 else ("64", ["nodad"])
        h2.run(["ip", "address", "add", f"{address}/{length}", "dev", "lo", *extra])
    frr = neighbour.enter_context(
        Frr(h2.namespace, DAEMONS, paths.work_dir(SESSION.current.name) / "frr")
    )
    frr.configure(OSPF.format(interface=h2.interface) + NEIGHBOUR)


def neighbour_is_gone() -> None:
    neighbour.close()


def announced_network_should_be_carried(protocol: str, count: int = 50) -> None:
    """The appliance learns the network, and the fast path carries pings to it, both ways."""
    family, network, address = ANNOUNCED[protocol]
    h1 = SESSION.host("h1")

    def learnt() -> bool:
        shown = SESSION.appliance.sh(f"ip -{family} route show {network}")
        return f"proto {'bgp' if 'BGP' in protocol else 'ospf'} " in shown

    proc.wait_for(learnt, f"{network} by {protocol}", timeout=120, interval=1)
    traffic.wait_until_pings(h1, address)

    def send() -> int:
        result = traffic.ping(h1, address, count=count, interval=0.05)
        assert result.loss == 0, f"{result.received} of {result.sent} pings answered"
        return 2 * result.received

    carried(send)


def withdrawn_network_should_vanish(protocol: str) -> None:
    """The neighbour loses the network: the route goes, in Linux and in the fast path."""
    _, network, address = ANNOUNCED[protocol]
    length = network.partition("/")[2]
    SESSION.host("h2").run(["ip", "address", "del", f"{address}/{length}", "dev", "lo"])

    def gone() -> bool:
        return all(route["prefix"] != network for route in SESSION.appliance.fp_cli("routes"))

    proc.wait_for(gone, f"the end of {network} in the fast path", timeout=60, interval=1)
