"""Network cards of the seat (lab/topologies/seat.py): p1 and p2 are on one cable, p3 is spare.

The image's own fast path has been stopped, but still holds the cards' drivers; here they are given
back to the kernel, and told apart by their MAC addresses.
"""

from pathlib import Path

from lab.proc import run, wait_for

DEVICES = Path("/sys/bus/pci/devices")
# Of lab/topologies/seat.py; chosen as the rig's are.
CABLED = ("02:00:00:00:01:01", "02:00:00:00:01:02")
DPDK = ("vfio-pci", "uio_pci_generic", "igb_uio")
NETWORK_CLASS = "0x020000"


def write(path: Path, text: str) -> None:
    path.write_text(text)


def driver_of(address: str) -> str:
    link = DEVICES / address / "driver"
    return link.resolve().name if link.exists() else ""


def bind(address: str, driver: str) -> None:
    """Give a device to a driver; "" gives it back to the kernel's own."""
    if driver:
        run(["modprobe", driver])
    write(DEVICES / address / "driver_override", f"{driver}\n")
    if driver_of(address):
        write(DEVICES / address / "driver/unbind", address)
    write(Path("/sys/bus/pci/drivers_probe"), address)
    if driver:
        assert driver_of(address) == driver, f"{address} isn't with {driver}"


def interface_of(address: str) -> str | None:
    """The kernel's name for a card, None if it has none (it's with DPDK, or in another namespace)."""
    found = [path.name for path in (DEVICES / address).glob("**/net/*")]
    return found[0] if found else None


def all_to_the_kernel() -> dict[str, str]:
    """Addresses of network cards by MAC address, after each of them has the kernel's driver."""
    cards = {}
    for path in sorted(DEVICES.iterdir()):
        if (path / "class").read_text().strip() != NETWORK_CLASS:
            continue
        if driver_of(path.name) in ("", *DPDK):
            bind(path.name, "")
        wait_for(
            lambda path=path: interface_of(path.name),  # type: ignore[misc]
            f"the kernel's interface of {path.name}",
            timeout=20,
        )
        name = interface_of(path.name)
        cards[(Path("/sys/class/net") / str(name) / "address").read_text().strip()] = path.name
    return cards
