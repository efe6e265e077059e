"""SR-IOV in the appliance: physical functions back to Linux, virtual functions to the fast path.

What an administrator would do by hand; the fast path then gets the VFs by their PCI addresses.
"""

from lab.appliance import Appliance
from lab.errors import LabError
from lab.topology import Port

# Gives a PCI device back to the driver Linux has for it; prints the name of its interface.
TO_LINUX = """\
set -e
cd /sys/bus/pci/devices/$1
if [ ! -d net ]; then
	[ ! -e driver ] || echo "$1" >driver/unbind
	echo >driver_override
	echo "$1" >/sys/bus/pci/drivers_probe
fi
for try in $(seq 50); do
	[ ! -d net ] || break
	sleep 0.1
done
# udev renames it.
udevadm settle
ls net
"""
# One VF with a MAC address of our choice; prints its PCI address. The PF must be up for its VFs to hear
# anything. It hears broadcasts too, and must not answer ARP for the VF's addresses (Linux answers for all
# its addresses on every interface), or hosts send their packets to the PF and past the fast path.
MAKE_VF = """\
set -e
cd /sys/bus/pci/devices/$1
[ "$(cat sriov_numvfs)" = 1 ] || echo 1 >sriov_numvfs
udevadm settle
sysctl --quiet --write net.ipv4.conf.$2.arp_ignore=8 net.ipv6.conf.$2.disable_ipv6=1
ip link set "$2" up
ip link set "$2" vf 0 mac "$3"
ip link set "$2" vf 0 spoofchk off
basename "$(readlink virtfn0)"
"""
ENV = "/etc/sluice/fast-path.env"
DAEMONS = "fp-rte.service sluice-ports.service"


def give_vfs_to_the_fast_path(appliance: Appliance) -> None:
    """Make one VF on each port's NIC, and restart the fast path on these."""
    ports = appliance.topology.appliance.ports
    addresses = pci_addresses(appliance)
    appliance.run(["systemctl", "stop", *DAEMONS.split()], timeout=120)
    settings = []
    for port in ports:
        address = pci_address(addresses, port)
        physical = script(appliance, TO_LINUX, address).split()[0]
        virtual = script(appliance, MAKE_VF, address, physical, port.mac)
        settings.append(f"{port.name}={virtual}")
    line = f'FP_PORTS="{" ".join(settings)}"'
    appliance.sh(f"mkdir -p /etc/sluice; sed -i '/^FP_PORTS=/d' {ENV}; echo '{line}' >>{ENV}")
    appliance.run(["systemctl", "start", *reversed(DAEMONS.split())], timeout=240)


def pci_addresses(appliance: Appliance) -> list[str]:
    """Ethernet NICs in PCI order, without VFs."""
    listed = appliance.sh(
        "cd /sys/bus/pci/devices; for d in *; do"
        ' case $(cat $d/class) in 0x0200*) [ -e $d/physfn ] || echo "$d";; esac; done'
    )
    return listed.split()


def pci_address(addresses: list[str], port: Port) -> str:
    """The NIC of a port: the domain has them in this order, management first."""
    # Ports are numbered p1, p2, ... in the order of the topology.
    index = int(port.name[1:])
    if index >= len(addresses):
        raise LabError(f"the appliance has no NIC for port {port.name}: {addresses}")
    return addresses[index]


def script(appliance: Appliance, text: str, *words: str) -> str:
    return appliance.run(["sh", "-c", text, "sh", *words], timeout=120).stdout.strip()
