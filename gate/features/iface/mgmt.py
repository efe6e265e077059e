# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces: made, named, set up and given addresses as the configuration says. What it doesn't speak of stays."""

import ipaddress
from pathlib import Path
from typing import Any, ClassVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from sluice.features.iface import pci
from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError, at
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch

LIST = "/sluice-vrf:vrf/sluice-iface:interface/"
KINDS = ("physical", "loopback", "vlan", "veth")
LINUX = {"loopback": "dummy", "vlan": "vlan", "veth": "veth"}


class Interfaces(Applier):
    name: ClassVar[str] = "interface"
    order: ClassVar[int] = 30
    # Its ports' TAPs may be others.
    again: ClassVar[tuple[str, ...]] = ("fast path",)
    watches = tuple(Watch(LIST + kind) for kind in KINDS)

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.new is None:
                continue
            for text in addresses(entry.new):
                try:
                    ipaddress.ip_interface(text)
                except ValueError:
                    raise ConfigError(
                        f"{text} isn't an address", tag="invalid-value", path=entry.path
                    ) from None

    async def prepare(self, entries: list[Entry]) -> None:
        for entry in entries:
            vrf, name = entry.keys
            if entry.new is None or kind_of(entry) != "physical":
                continue
            # Refused now rather than half-way: nobody can make a card. One that another VRF gives up goes to main.
            going = {one.keys[-1] for one in entries if one.new is None}
            if name not in going and pci.find(vrf, name, entry.new.get("pci-address")) is None:
                raise ConfigError(missing(entry), tag="data-missing", path=entry.path)

    async def remove(self, entries: list[Entry]) -> None:
        for entry in entries:
            vrf, name = entry.keys
            if not kernel.exists(vrf):
                continue
            try:
                with kernel.iproute(vrf) as ipr:
                    link = find(ipr, name)
                    if link is None:
                        continue
                    if kind_of(entry) == "physical":
                        for text in addresses(entry.old or {}):
                            forget(ipr, link["index"], text)
                        if vrf != kernel.MAIN:
                            move(ipr, link["index"], kernel.MAIN)
                    elif linux_kind(link) == LINUX[kind_of(entry)]:
                        ipr.link("del", index=link["index"])
            except ConfigError as error:
                raise at(error, entry.path) from error

    async def apply(self, entries: list[Entry]) -> None:
        # A VLAN last: what it's on may be made here too.
        for entry in sorted(entries, key=lambda entry: kind_of(entry) == "vlan"):
            try:
                if kind_of(entry) == "physical":
                    fetch(entry)
                with kernel.iproute(entry.keys[0]) as ipr:
                    link = self.made(ipr, entry)
                    self.set(ipr, link, entry)
            except ConfigError as error:
                raise at(error, entry.path) from error

    def made(self, ipr: IPRoute, entry: Entry) -> Any:
        """The interface, made if it isn't there; made anew if it's another than what is wanted."""
        name = entry.keys[-1]
        new, kind = entry.new or {}, kind_of(entry)
        link = find(ipr, name)
        if kind == "physical":
            if link is None:
                raise ConfigError(missing(entry), tag="data-missing")
            return link
        if link is not None and linux_kind(link) != LINUX[kind]:
            raise ConfigError(
                f"Linux has another interface {name}, of kind {linux_kind(link)}",
                tag="data-exists",
            )
        if link is not None and kind == "vlan" and not same_vlan(ipr, link, new):
            ipr.link("del", index=link["index"])
            link = None
        if link is not None:
            return link
        if kind == "loopback":
            ipr.link("add", ifname=name, kind="dummy")
        elif kind == "vlan":
            below = find(ipr, new["link-interface"])
            if below is None:
                raise ConfigError(
                    f"there's no interface {new['link-interface']}", tag="data-missing"
                )
            ipr.link("add", ifname=name, kind="vlan", link=below["index"], vlan_id=new["vlan-id"])
        else:
            self.cable(ipr, name, new["peer-vrf"], new["peer-interface"])
        return find(ipr, name)

    @staticmethod
    def cable(ipr: IPRoute, name: str, peer_vrf: str, peer: str) -> None:
        """Make a pair; the other end goes to its VRF at once."""
        if not kernel.exists(peer_vrf):
            raise ConfigError(f"the VRF {peer_vrf} isn't there", tag="data-missing")
        with kernel.namespace(peer_vrf) as there:
            far = {"ifname": peer, "net_ns_fd": there}
            ipr.link("add", ifname=name, kind="veth", peer=far)

    def set(self, ipr: IPRoute, link: Any, entry: Entry) -> None:
        """Make its settings and addresses what the entry says; others' addresses stay."""
        new, old = entry.new or {}, entry.old or {}
        index = link["index"]
        if new.get("mtu") and link.get_attr("IFLA_MTU") != new["mtu"]:
            ipr.link("set", index=index, mtu=new["mtu"])
        elif old.get("mtu") and not new.get("mtu"):
            ipr.link("set", index=index, mtu=1500)
        up = bool(link["flags"] & 1)
        if up != new["enabled"]:
            ipr.link("set", index=index, state="up" if new["enabled"] else "down")
        wanted = addresses(new)
        for text in addresses(old):
            if text not in wanted:
                forget(ipr, index, text)
        for text in wanted:
            given = ipaddress.ip_interface(text)
            try:
                ipr.addr(
                    "add", index=index, address=str(given.ip), prefixlen=given.network.prefixlen
                )
            except NetlinkError as error:
                if error.code != 17:  # EEXIST
                    raise ConfigError(
                        f"Linux refuses the address {text}: {error.args[1]}"
                    ) from error


def missing(entry: Entry) -> str:
    """What isn't there, in words."""
    address = (entry.new or {}).get("pci-address")
    where = f" at PCI address {address}" if address else f" {entry.keys[-1]}"
    return f"there's no interface{where}"


def fetch(entry: Entry) -> None:
    """Bring a physical interface into its VRF and give it its name."""
    vrf, name = entry.keys
    address = (entry.new or {}).get("pci-address")
    found = pci.find(vrf, name, address)
    if found is None:
        raise ConfigError(missing(entry), tag="data-missing")
    if found.name != name and found.port:
        raise ConfigError(
            f"the port at {address} is called {found.name} by the fast path: "
            "call it so here too, or name it in system/fast-path/port",
            tag="invalid-value",
        )
    if found.name != name:
        with kernel.iproute(found.vrf) as ipr:
            ipr.link("set", index=found.index, ifname=name)
    if found.vrf != vrf:
        with kernel.iproute(found.vrf) as ipr:
            move(ipr, found.index, vrf)


def move(ipr: IPRoute, index: int, vrf: str) -> None:
    """Into another VRF. Linux takes its addresses and routes away."""
    with kernel.namespace(vrf) as there:
        ipr.link("set", index=index, net_ns_fd=there)


def kind_of(entry: Entry) -> str:
    return entry.schema.rpartition("/")[2]


def addresses(value: dict[str, Any]) -> list[str]:
    return [
        entry["ip"]
        for family in ("ipv4", "ipv6")
        for entry in value.get(family, {}).get("address", [])
    ]


def find(ipr: IPRoute, name: str) -> Any:
    """An interface by its name, or None."""
    found = ipr.link_lookup(ifname=name)
    return ipr.get_links(found[0])[0] if found else None


def linux_kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return (info.get_attr("IFLA_INFO_KIND") if info else None) or "ether"


def same_vlan(ipr: IPRoute, link: Any, new: dict[str, Any]) -> bool:
    data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    below = find(ipr, new["link-interface"])
    return bool(
        data
        and below
        and data.get_attr("IFLA_VLAN_ID") == new["vlan-id"]
        and link.get_attr("IFLA_LINK") == below["index"]
    )


def forget(ipr: IPRoute, index: int, text: str) -> None:
    """Remove an address; fine if it's gone."""
    given = ipaddress.ip_interface(text)
    try:
        ipr.addr("del", index=index, address=str(given.ip), prefixlen=given.network.prefixlen)
    except NetlinkError as error:
        if error.code not in kernel.GONE:
            raise


def state() -> dict[str, Any]:
    """All interfaces of all VRFs."""
    found = []
    for vrf in sorted(kernel.vrfs):
        if kernel.exists(vrf):
            found.append(
                {"name": vrf, "sluice-iface:interface-state": {"interface": interfaces(vrf)}}
            )
    return {"sluice-vrf:vrf": found}


COUNTERS = {
    "in-octets": "rx_bytes",
    "in-pkts": "rx_packets",
    "in-discards": "rx_dropped",
    "in-errors": "rx_errors",
    "out-octets": "tx_bytes",
    "out-pkts": "tx_packets",
    "out-discards": "tx_dropped",
    "out-errors": "tx_errors",
}


def interfaces(vrf: str) -> list[dict[str, Any]]:
    with kernel.iproute(vrf) as ipr:
        links, given = list(ipr.get_links()), list(ipr.get_addr())
    by_index: dict[int, list[str]] = {}
    for message in given:
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        by_index.setdefault(message["index"], []).append(f"{text}/{message['prefixlen']}")
    found = []
    ports = pci.fast_path_ports()
    for link in links:
        numbers = link.get_attr("IFLA_STATS64") or {}
        one: dict[str, Any] = {
            "name": link.get_attr("IFLA_IFNAME"),
            "kind": linux_kind(link),
            "if-index": link["index"],
            "enabled": bool(link["flags"] & 1),
            "oper-status": str(link.get_attr("IFLA_OPERSTATE") or "UNKNOWN").lower(),
            "mtu": link.get_attr("IFLA_MTU") or 0,
            "address": by_index.get(link["index"], []),
            "statistics": {ours: str(numbers.get(its, 0)) for ours, its in COUNTERS.items()},
        }
        if bus := pci.address_of(vrf, one["name"], ports):
            one["pci-address"] = bus
        mac = link.get_attr("IFLA_ADDRESS")
        if mac:
            one["phys-address"] = mac
        found.append(one)
    return found


FEATURE = Feature(
    name="iface",
    models=(Path(__file__).parent / "sluice-iface.yang",),
    appliers=(Interfaces(),),
    states=(State("/sluice-vrf:vrf/sluice-iface:interface-state", state),),
)
