"""The appliance as a libvirt domain: from topology and image to XML, without side effects.

PCI order matters: the fast path takes every NIC but the first, so the management NIC comes first.
Each device sits behind a root port of its own, numbered in that order.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lab import wire
from lab.topology import Appliance, NicModel

MANAGEMENT_TAP = "management"
MANAGEMENT_MAC = "02:00:00:00:00:02"
MANAGEMENT_HOST = "10.255.255.1/30"
MANAGEMENT_ADDRESS = "10.255.255.2/30"
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
FIRMWARE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


@dataclass(frozen=True, kw_only=True)
class DirectKernel:
    """Boot this kernel instead of what the disk holds."""

    kernel: Path
    initrd: Path
    cmdline: str


@dataclass(frozen=True, kw_only=True)
class Export:
    """A folder of this machine that the guest can mount over 9p by its tag."""

    tag: str
    source: Path
    readonly: bool = True


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything about the domain that isn't in the topology."""

    name: str
    type: str  # kvm or qemu
    disk: Path
    nvram: Path
    console_socket: Path
    console_log: Path
    credentials: Mapping[str, str]
    bios: bool = False  # instead of UEFI
    direct: DirectKernel | None = None
    exports: tuple[Export, ...] = ()
    extra_cmdline: str = ""


def management_network() -> str:
    """The network configuration of the management NIC, for systemd-networkd in the guest."""
    return (
        f"[Match]\nMACAddress={MANAGEMENT_MAC}\n"
        "[Link]\nRequiredForOnline=no\n"
        f"[Network]\nAddress={MANAGEMENT_ADDRESS}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )


def domain_xml(appliance: Appliance, machine: Machine) -> str:
    domain = Element("domain", type=machine.type)
    SubElement(domain, "name").text = machine.name
    SubElement(domain, "memory", unit="MiB").text = str(appliance.memory_mib)
    SubElement(domain, "vcpu").text = str(appliance.vcpus)
    add_os(domain, machine)
    add_cpu(domain, machine.type)
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    # Interrupt remapping needs the I/O APIC in QEMU, not in KVM.
    SubElement(features, "ioapic", driver="qemu")
    SubElement(domain, "clock", offset="utc")
    SubElement(domain, "on_poweroff").text = "destroy"
    SubElement(domain, "on_reboot").text = "restart"
    SubElement(domain, "on_crash").text = "destroy"
    devices = SubElement(domain, "devices")
    slots = add_nics(devices, appliance)
    add_disk(devices, machine.disk, slots + 1)
    for export in machine.exports:
        add_export(devices, export)
    add_console(devices, machine)
    # DPDK uses a NIC only behind an IOMMU (there is no VFIO_NOIOMMU in Debian's kernel).
    iommu = SubElement(devices, "iommu", model="intel")
    SubElement(iommu, "driver", intremap="on", caching_mode="on")
    rng = SubElement(devices, "rng", model="virtio")
    SubElement(rng, "backend", model="random").text = "/dev/urandom"
    SubElement(devices, "memballoon", model="none")
    SubElement(devices, "controller", type="usb", model="none")
    add_credentials(domain, machine)
    indent(domain)
    return tostring(domain, encoding="unicode")


def add_os(domain: Element, machine: Machine) -> None:
    system = SubElement(domain, "os")
    SubElement(system, "type", arch="x86_64", machine="q35").text = "hvm"
    if machine.direct:
        SubElement(system, "kernel").text = str(machine.direct.kernel)
        SubElement(system, "initrd").text = str(machine.direct.initrd)
        SubElement(system, "cmdline").text = f"{machine.direct.cmdline} {machine.extra_cmdline}"
    elif machine.bios:
        SubElement(system, "boot", dev="hd")
    else:
        loader = SubElement(system, "loader", readonly="yes", type="pflash")
        loader.text = str(FIRMWARE)
        nvram = SubElement(system, "nvram", template=str(FIRMWARE_VARIABLES))
        nvram.text = str(machine.nvram)
        SubElement(system, "boot", dev="hd")
    SubElement(system, "smbios", mode="sysinfo")


def add_cpu(domain: Element, kind: str) -> None:
    if kind == "kvm":
        SubElement(domain, "cpu", mode="host-passthrough")
        return
    # The oldest model that has what DPDK needs (SSE 4.2): less to emulate, and faster for it.
    cpu = SubElement(domain, "cpu", mode="custom", match="exact")
    SubElement(cpu, "model").text = "Nehalem"
    # Timers that run while a processor sleeps. Without, it's woken by the one timer behind the I/O APIC,
    # whose interrupt emulated interrupt remapping can lose: then the guest stands still (seen on a busy
    # machine: endless RCU stalls, or a panic of the kernel's timer check).
    SubElement(cpu, "feature", policy="require", name="arat")


def add_nics(devices: Element, appliance: Appliance) -> int:
    """All NICs, management first; returns how many root ports they took."""
    SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
    slot = 1
    nic = add_nic(devices, MANAGEMENT_TAP, MANAGEMENT_MAC, slot)
    SubElement(nic, "model", type="virtio")
    for port in appliance.ports:
        slot += 1
        nic = add_nic(devices, wire.tap_of(port.name), port.nic_mac, slot)
        SubElement(nic, "model", type=port.model.value)
        if port.model is NicModel.VIRTIO:
            driver = SubElement(nic, "driver", iommu="on")
            # As on a wire: whole frames with real checksums.
            off = {"csum": "off", "tso4": "off", "tso6": "off", "ecn": "off", "ufo": "off"}
            SubElement(driver, "host", off | {"gso": "off", "mrg_rxbuf": "on"})
            SubElement(driver, "guest", off)
    return slot


def add_nic(devices: Element, tap: str, mac: str, slot: int) -> Element:
    add_root_port(devices, slot)
    nic = SubElement(devices, "interface", type="ethernet")
    SubElement(nic, "mac", address=mac)
    SubElement(nic, "target", dev=tap, managed="no")
    SubElement(nic, "address", type="pci", bus=f"0x{slot:02x}", slot="0x00", function="0x0")
    # No option ROM: nothing boots from these.
    SubElement(nic, "rom", enabled="no")
    return nic


def add_root_port(devices: Element, slot: int) -> None:
    SubElement(devices, "controller", type="pci", index=str(slot), model="pcie-root-port")


def add_disk(devices: Element, path: Path, slot: int) -> None:
    add_root_port(devices, slot)
    disk = SubElement(devices, "disk", type="file", device="disk")
    # The disk is a copy that is thrown away: nothing is lost if the host crashes.
    SubElement(disk, "driver", name="qemu", type="qcow2", cache="unsafe", discard="unmap")
    SubElement(disk, "source", file=str(path))
    SubElement(disk, "target", dev="vda", bus="virtio")
    SubElement(disk, "address", type="pci", bus=f"0x{slot:02x}", slot="0x00", function="0x0")


def add_export(devices: Element, export: Export) -> None:
    system = SubElement(
        devices, "filesystem", type="mount", accessmode="passthrough", multidevs="remap"
    )
    SubElement(system, "source", dir=str(export.source))
    SubElement(system, "target", dir=export.tag)
    if export.readonly:
        SubElement(system, "readonly")


def add_console(devices: Element, machine: Machine) -> None:
    serial = SubElement(devices, "serial", type="unix")
    SubElement(serial, "source", mode="bind", path=str(machine.console_socket))
    SubElement(serial, "log", file=str(machine.console_log), append="on")
    SubElement(serial, "target", port="0")


def add_credentials(domain: Element, machine: Machine) -> None:
    """SMBIOS strings with systemd credentials: the guest's network, and who may log in."""
    sysinfo = SubElement(domain, "sysinfo", type="smbios")
    strings = SubElement(sysinfo, "oemStrings")
    for name, text in machine.credentials.items():
        value = base64.b64encode(text.encode()).decode()
        SubElement(strings, "entry").text = f"io.systemd.credential.binary:{name}={value}"
    if machine.extra_cmdline and not machine.direct:
        SubElement(
            strings, "entry"
        ).text = f"io.systemd.stub.kernel-cmdline-extra={machine.extra_cmdline}"
