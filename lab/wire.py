"""Links and hosts: bridges, veth pairs and TAPs in namespaces.

The rack namespace `lab-<name>` has one bridge per link; hosts and (in the container form) the
appliance have namespaces of their own, joined by veth pairs. The machine's own network namespace is
never touched.

A wire carries whole frames: veth and bridges would otherwise hand over packets longer than the MTU
and with partial checksums, which no real NIC would, so offloads are off on both sides.
"""

from lab.netns import create, in_namespace, ip_batch, namespace, sysctl
from lab.proc import run
from lab.topology import Host, Topology

QUIET = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    # Bridged packets are the hosts' and the appliance's business, never our netfilter's.
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-arptables": "0",
}
HOST_SYSCTLS = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    # A test that counts ICMP errors must get all of them.
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.icmp_msgs_per_sec": "1000000",
    "net.ipv4.icmp_msgs_burst": "1000000",
    "net.ipv6.icmp.ratelimit": "0",
}
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")


def bridge_of(link: str) -> str:
    return f"br-{link}"


def tap_of(port: str) -> str:
    return f"tap-{port}"


def set_up_rack(lab: str, topology: Topology) -> None:
    """The rack and its links."""
    rack = namespace(lab)
    create(rack)
    sysctl(rack, QUIET)
    lines = ["link set lo up"]
    for link in topology.links:
        bridge = bridge_of(link.name)
        # Without snooping, or multicast (IPv6 neighbour discovery) waits for a querier.
        lines.append(f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        lines.append(f"link set {bridge} up")
    ip_batch(rack, lines)


def set_up_host(lab: str, host: Host) -> None:
    """A host's namespace, its interface (named as the link), addresses and routes."""
    home = namespace(lab, host.name)
    create(home)
    sysctl(home, HOST_SYSCTLS)
    plug_veth(lab, member=host.name, interface=host.link, link=host.link, mac=host.mac)
    lines = ["link set lo up", f"link set {host.link} up"]
    lines += [
        f"address add {address} dev {host.link}{nodad(address)}" for address in host.addresses
    ]
    lines += [f"address add {address} dev lo{nodad(address)}" for address in host.loopback]
    lines += [f"route replace {route.destination} via {route.via}" for route in host.routes]
    ip_batch(home, lines)


def plug_veth(lab: str, *, member: str, interface: str, link: str, mac: str) -> None:
    """Connect a member's namespace to a link with a veth pair; its end is left down."""
    rack, home = namespace(lab), namespace(lab, member)
    far = f"{member}-{interface}"[:15]
    ip_batch(
        rack,
        [
            f"link add {far} type veth peer name {interface} address {mac} netns {home}",
            f"link set {far} master {bridge_of(link)} up",
        ],
    )
    offloads_off(rack, far)
    offloads_off(home, interface)


def plug_tap(lab: str, *, port: str, link: str) -> str:
    """A TAP on a link, for a virtual machine's NIC; returns its name."""
    tap = tap_of(port)
    ip_batch(
        namespace(lab),
        [
            f"tuntap add dev {tap} mode tap vnet_hdr",
            f"link set {tap} master {bridge_of(link)} up",
        ],
    )
    return tap


def offloads_off(home: str, interface: str) -> None:
    words = [word for offload in OFFLOADS for word in (offload, "off")]
    run(in_namespace(home, ["ethtool", "--offload", interface, *words]), check=False)


def nodad(address: str) -> str:
    """Duplicate address detection would make a new IPv6 address unusable for a second or two."""
    return " nodad" if ":" in address else ""
