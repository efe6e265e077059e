"""Keywords: the fast path on virtual functions."""

from lab import sriov
from lab.keywords.session import SESSION

__all__ = [
    "fast_path_has_virtual_functions",
    "hosts_know_the_appliances_ipv6_neighbours",
    "ports_should_be_virtual_functions",
]


def fast_path_has_virtual_functions() -> None:
    """Make VFs in the appliance, and start the fast path on them."""
    sriov.give_vfs_to_the_fast_path(SESSION.appliance)


def ports_should_be_virtual_functions() -> None:
    """Each of the fast path's ports is a VF, and its PF belongs to Linux."""
    appliance = SESSION.appliance
    ports = appliance.fp_cli("ports")
    expected = {port.mac for port in SESSION.current.topology.appliance.ports}
    assert {row["mac"] for row in ports} == expected, f"the ports are {ports}"
    for row in ports:
        base = f"/sys/bus/pci/devices/{row['device']}"
        physical = appliance.sh(f"ls {base}/physfn/net", check=False)
        assert physical, f"{row['name']} ({row['device']}) is no VF of a NIC that Linux has"


def hosts_know_the_appliances_ipv6_neighbours() -> None:
    """Tell the hosts what they'd ask by multicast.

    QEMU's igb gives no multicast to a VF that asked for all of it (it knows VMOLR.ROMPE with the hash
    table, but not VMOLR.MPME), so neighbour solicitations don't arrive. Real NICs deliver them.
    """
    lab = SESSION.current
    for port in lab.topology.appliance.ports:
        for host in lab.hosts.values():
            if host.plan.link == port.link:
                for address in port.addresses:
                    if ":" in address:
                        words = ["ip", "neigh", "replace", address.partition("/")[0], "lladdr"]
                        host.run([*words, port.mac, "nud", "permanent", "dev", host.interface])
