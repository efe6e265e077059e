# SPDX-License-Identifier: BSD-3-Clause
"""DHCP for IPv4: busybox's udhcpc for an interface's own address, dnsmasq as a VRF's server."""

import ipaddress
import re
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Entry, Feature, State, Watch
from sluice.mgmt.host import SYSTEMD, host, lines, read, remove, run, write
from sluice.mgmt.service import DaemonApplier, Service, pid_file

INTERFACE = "/sluice-vrf:vrf/sluice-iface:interface/"
HEAD = "# Made by yamsd from its configuration; a change here is lost."
# CAP_NET_ADMIN CAP_NET_RAW: packet sockets; the client's script sets addresses and routes.
# CAP_NET_BIND_SERVICE: ports 67, 68.
CLIENT_SANDBOX = (
    "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE",
    "NoNewPrivileges=yes",
    "ProtectSystem=full",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectKernelModules=yes",
    "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_PACKET",
)
# CAP_SETUID CAP_SETGID: dnsmasq becomes the user dnsmasq.
SERVER_SANDBOX = (
    "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID",
    "NoNewPrivileges=yes",
    "ProtectSystem=full",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6 AF_PACKET",
)


class Client(DaemonApplier):
    name: ClassVar[str] = "DHCP client"
    order: ClassVar[int] = 50
    watches = tuple(
        Watch(f"{INTERFACE}{kind}/ipv4/sluice-dhcp:dhcp") for kind in ("physical", "vlan", "veth")
    )

    def service_name(self, entry: Entry) -> str:
        return client_name(*entry.keys)

    def service(self, entry: Entry, value: dict[str, Any]) -> Service:
        vrf, interface = entry.keys
        name = client_name(vrf, interface)
        index = kernel.indexes(vrf).get(interface)
        if index is None:
            raise ConfigError(f"there's no interface {interface} in {vrf}", tag="data-missing")
        return Service(
            name=name,
            text=f"DHCP client of {interface} in VRF {vrf}",
            command=(
                *("/usr/bin/env", f"SLUICE_LEASE={lease_file(vrf, interface)}"),
                *(f"SLUICE_METRIC={value['metric']}", f"SLUICE_VRF={vrf}"),
                # -R: gives the address back at its end; -A: asks again after 10 seconds.
                *("/sbin/udhcpc", "-f", "-R", "-t5", "-A10", "-i", interface),
                *("-s", str(host.lib / "dhcp-lease"), "-p", str(pid_file(name))),
                *("-x", f"hostname:{value.get('hostname') or socket.gethostname()}"),
                *("-O", "staticroutes", "-O", "search"),
            ),
            vrf=vrf,
            stamp=str(index),  # one that was made anew is another one
            sandbox=CLIENT_SANDBOX,
        )

    async def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            await ours(*entry.keys)
        await super().apply(entries)

    async def remove(self, entries: list[Entry]) -> None:
        await super().remove(entries)
        for entry in entries:
            vrf, interface = entry.keys
            if vrf == kernel.MAIN and remove(unmanaged(interface)):
                await run(["networkctl", "reload"])


def client_name(vrf: str, interface: str) -> str:
    return f"dhcp-client-{vrf}-{interface}"


def lease_file(vrf: str, interface: str) -> Path:
    return host.files / f"{client_name(vrf, interface)}.lease"


def unmanaged(interface: str) -> Path:
    return Path(f"/run/systemd/network/05-sluice-{interface}.network")


async def ours(vrf: str, interface: str) -> None:
    """Two clients on an interface would fight: systemd-networkd lets go of it."""
    if vrf != kernel.MAIN or not SYSTEMD.is_dir():
        return
    index = kernel.indexes(vrf).get(interface)
    known = read(Path(f"/run/systemd/netif/links/{index}")) or ""
    if re.search(r"^ADMIN_STATE=(configured|configuring|degraded)$", known, re.MULTILINE):
        text = lines(HEAD, "[Match]", f"Name={interface}", "[Link]", "Unmanaged=yes")
        if write(unmanaged(interface), text):
            await run(["networkctl", "reload"])


class Server(DaemonApplier):
    name: ClassVar[str] = "DHCP server"
    watches = (Watch("/sluice-vrf:vrf/sluice-dhcp:dhcp-server"),)

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            for subnet in (entry.new or {}).get("subnet", []):
                check(subnet, f"{entry.path}/subnet[prefix='{subnet['prefix']}']")

    def service_name(self, entry: Entry) -> str:
        return f"dhcp-server-{entry.keys[0]}"

    def service(self, entry: Entry, value: dict[str, Any]) -> Service:
        (vrf,) = entry.keys
        name = self.service_name(entry)
        leases(vrf).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Service(
            name=name,
            text=f"DHCP server of VRF {vrf}",
            command=(
                *(
                    "/usr/sbin/dnsmasq",
                    "--keep-in-foreground",
                    "--log-facility=-",
                    "--user=dnsmasq",
                ),
                f"--conf-file={host.files / name}.conf",
                f"--pid-file={pid_file(name)}",
            ),
            vrf=vrf,
            files={f"{name}.conf": configuration(value, leases(vrf))},
            sandbox=SERVER_SANDBOX,
        )


def check(subnet: dict[str, Any], path: str) -> None:
    """Raises if addresses aren't where they must be."""
    network = ipaddress.ip_network(subnet["prefix"], strict=False)

    def inside(text: str, what: str) -> ipaddress.IPv4Address:
        address = ipaddress.IPv4Address(text)
        if address not in network:
            raise ConfigError(
                f"{what} {text} isn't in {subnet['prefix']}", tag="invalid-value", path=path
            )
        return address

    for one in subnet.get("range", []):
        first, last = inside(one["start"], "the range's start"), inside(one["end"], "its end")
        if first > last:
            raise ConfigError(
                f"the range begins with {first}, behind its end {last}",
                tag="invalid-value",
                path=path,
            )
    for one in subnet.get("host", []):
        inside(one["address"], "the host's address")
    if "gateway" in subnet:
        inside(subnet["gateway"], "the gateway")


def leases(vrf: str) -> Path:
    """They outlive a boot: hosts keep their addresses."""
    return host.state / "dhcp" / f"{vrf}.leases"


def configuration(value: dict[str, Any], lease_path: Path) -> str:
    """Dnsmasq's."""
    text = [
        HEAD,
        "port=0",  # no DNS
        "bind-dynamic",
        "dhcp-authoritative",
        f"dhcp-leasefile={lease_path}",
        "dhcp-lease-max=100000",
    ]
    text += sorted({f"interface={subnet['interface']}" for subnet in value["subnet"]})
    for number, subnet in enumerate(value["subnet"]):
        tag, network = f"subnet{number}", ipaddress.ip_network(subnet["prefix"], strict=False)
        end = f"{network.netmask},{subnet['lease-time']}"
        ranges = [f"{one['start']},{one['end']}" for one in subnet.get("range", [])]
        # Without a range only the hosts that are named get something.
        for one in ranges or [f"{network.network_address},static"]:
            text.append(f"dhcp-range=set:{tag},{one},{end}")
        # An option without a value isn't sent; dnsmasq would tell its own address.
        text.append(option(tag, "router", [subnet["gateway"]] if "gateway" in subnet else []))
        text.append(option(tag, "dns-server", subnet.get("dns-server", [])))
        if subnet.get("ntp-server"):
            text.append(option(tag, "ntp-server", subnet["ntp-server"]))
        if subnet.get("domain"):
            text.append(option(tag, "domain-name", [subnet["domain"]]))
        for known in subnet.get("host", []):
            name = f",{known['name']}" if known.get("name") else ""
            text.append(f"dhcp-host={known['mac']},{known['address']}{name}")
    return lines(text)


def option(tag: str, name: str, values: list[str]) -> str:
    return ",".join([f"dhcp-option=tag:{tag}", f"option:{name}", *values])


def parsed_leases(text: str) -> list[dict[str, str]]:
    """A lease file of dnsmasq's: seconds, MAC, address, name, client id."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or not words[0].isdigit() or ":" not in words[1]:
            continue
        one = {"address": words[2], "mac": words[1]}
        if words[3] != "*":
            one["name"] = words[3]
        if words[0] != "0":
            when = datetime.fromtimestamp(int(words[0]), UTC)
            one["expires"] = when.isoformat(timespec="seconds").replace("+00:00", "Z")
        found.append(one)
    return found


async def server_state() -> dict[str, Any]:
    found = []
    for vrf in sorted(kernel.vrfs):
        text = read(leases(vrf))
        status = await host.services.status(f"dhcp-server-{vrf}")
        if text is None and not status.running:
            continue
        found.append(
            {
                "name": vrf,
                "sluice-dhcp:dhcp-server-state": {
                    "running": status.running,
                    "lease": parsed_leases(text or ""),
                },
            }
        )
    return {"sluice-vrf:vrf": found}


ASSIGNMENT = re.compile(r"^lease_(\w+)='([^']*)'$", re.MULTILINE)


async def client_state() -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {}
    for vrf in sorted(kernel.vrfs):
        start = f"dhcp-client-{vrf}-"
        for path in sorted(host.files.glob(f"{start}*.stamp")):
            interface = path.stem.removeprefix(start)
            if interface not in kernel.indexes(vrf):
                continue
            one: dict[str, Any] = {
                "name": interface,
                "running": (await host.services.status(path.stem)).running,
            }
            lease = dict(ASSIGNMENT.findall(read(lease_file(vrf, interface)) or ""))
            if lease.get("ip"):
                one |= {
                    "address": str(ipaddress.ip_interface(f"{lease['ip']}/{lease['mask']}")),
                    "gateway": lease["router"].split(),
                    "dns-server": lease["dns"].split(),
                    "lease-time": int(lease["time"]),
                }
                if lease["server"]:
                    one["server"] = lease["server"]
            found.setdefault(vrf, []).append(one)
    return {
        "sluice-vrf:vrf": [
            {"name": vrf, "sluice-dhcp:dhcp-client-state": {"interface": some}}
            for vrf, some in found.items()
        ]
    }


FEATURE = Feature(
    name="dhcp",
    models=(Path(__file__).parent / "sluice-dhcp.yang",),
    appliers=(Client(), Server()),
    states=(
        State("/sluice-vrf:vrf/sluice-dhcp:dhcp-server-state", server_state),
        State("/sluice-vrf:vrf/sluice-dhcp:dhcp-client-state", client_state),
    ),
)
