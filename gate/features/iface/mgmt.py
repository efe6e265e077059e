# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces: made, named, set up and given addresses as the configuration says. What it doesn't speak of stays."""

import ipaddress
from pathlib import Path
from typing import Any, ClassVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError, at
from sluice.mgmt.feature import Applier, Entry, Feature, State, Watch

LIST = "/sluice-vrf:vrf/sluice-iface:interface/"
KINDS = ("physical", "loopback", "vlan", "veth")
LINUX = {"loopback": "dummy", "vlan": "vlan", "veth": "veth"}


class Interfaces(Applier):
    name: ClassVar[str] = "interface"
    order: ClassVar[int] = 30
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
        made = {entry.keys for entry in entries if entry.new is not None}
        for entry in entries:
            vrf, name = entry.keys
            if entry.new is None or kind_of(entry) != "physical" or not kernel.exists(vrf):
                continue
            # Refused now rather than half-way: nobody can make a card.
            if name not in kernel.indexes(vrf) and (vrf == kernel.MAIN or entry.keys not in made):
                raise ConfigError(
                    f"there's no interface {name}", tag="data-missing", path=entry.path
                )

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
                    elif linux_kind(link) == LINUX[kind_of(entry)]:
                        ipr.link("del", index=link["index"])
            except ConfigError as error:
                raise at(error, entry.path) from error

    async def apply(self, entries: list[Entry]) -> None:
        # A VLAN last: what it's on may be made here too.
        for entry in sorted(entries, key=lambda entry: kind_of(entry) == "vlan"):
            try:
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
                raise ConfigError(f"there's no interface {name}", tag="data-missing")
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
        far: dict[str, Any] = {"ifname": peer}
        with kernel.entered(peer_vrf), Path("/proc/thread-self/ns/net").open() as there:
            # A descriptor of the namespace itself, main's included.
            far["net_ns_fd"] = there.fileno()
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
