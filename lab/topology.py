"""Topologies as data: links, hosts on them, and one appliance with ports.

A topology says nothing about how it is built: `lab.vm` does it with a virtual machine,
`lab.container` with processes in a network namespace. Addresses come from RFC 5737 and RFC 3849.
"""

from dataclasses import dataclass
from enum import StrEnum


class NicModel(StrEnum):
    VIRTIO = "virtio"
    IGB = "igb"  # emulated Intel 82576: the only one with SR-IOV that needs no hardware


@dataclass(frozen=True, kw_only=True)
class Link:
    """An Ethernet segment: whoever is on it hears everyone on it."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Route:
    destination: str
    via: str


@dataclass(frozen=True, kw_only=True)
class Host:
    """A Linux host on one link. `loopback` are addresses of networks behind it."""

    name: str
    link: str
    mac: str
    addresses: tuple[str, ...]
    routes: tuple[Route, ...] = ()
    loopback: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of the appliance.

    With `vf`, the fast path gets a virtual function with this MAC address instead of the NIC, whose
    physical function stays with Linux and has a MAC address of its own.
    """

    name: str
    link: str
    mac: str
    addresses: tuple[str, ...] = ()
    model: NicModel = NicModel.VIRTIO
    vf: bool = False

    @property
    def nic_mac(self) -> str:
        """MAC address of the NIC itself: with `vf`, of the physical function."""
        return "02:ff" + self.mac[5:] if self.vf else self.mac


@dataclass(frozen=True, kw_only=True)
class Appliance:
    ports: tuple[Port, ...]
    routes: tuple[Route, ...] = ()
    vcpus: int = 2
    memory_mib: int = 2048


@dataclass(frozen=True, kw_only=True)
class Topology:
    name: str
    links: tuple[Link, ...]
    hosts: tuple[Host, ...]
    appliance: Appliance

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def port(self, name: str) -> Port:
        return next(port for port in self.appliance.ports if port.name == name)

    def problems(self) -> list[str]:
        """What's wrong with it, in words; empty for a topology that can be built."""
        found = []
        links = {link.name for link in self.links}
        ends: tuple[Host | Port, ...] = (*self.hosts, *self.appliance.ports)
        for end in ends:
            if end.link not in links:
                found.append(f"{end.name} is on link {end.link}, which the topology doesn't have")
        names = [link.name for link in self.links] + [end.name for end in ends]
        for name in sorted({name for name in names if names.count(name) > 1}):
            found.append(f"{name} names more than one thing")
        # Interface names are built from these and a prefix of four letters; Linux allows 15 in all.
        found += [f"the name {name} is longer than 8 letters" for name in names if len(name) > 8]
        macs = [end.mac for end in ends]
        for mac in sorted({mac for mac in macs if macs.count(mac) > 1}):
            found.append(f"MAC address {mac} is there twice")
        return found
